from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from blake3 import blake3

import lineart
from lineart.artifacts.collection import NewVersion
from lineart.artifacts.content import Content
from lineart.artifacts.fetching import EMPTY, fetch
from lineart.artifacts.place import Place
from lineart.storage import recipe, tables
from lineart.storage.errors import Conflict, IntegrityError, InvalidName, LineartError, NotFound, VerifyError
from lineart.storage.pack import PackKind, encode

MIB = 1 << 20


def noise(size, seed=b"0"):
    return blake3(seed).digest(length=size)


FILES = {
    "a.txt": b"alpha",
    "empty": b"",
    "sub/b.bin": noise(200_000),
    "sub/deep/c": b"c" * 10,
    "sub/twin": b"alpha",
    "large": noise(9 * MIB, b"l"),
    "subject": b"not in sub",
}


# What a download is


def test_a_download_is_what_was_logged(store, log, tmp_path, tree):
    log(files=FILES)
    got = store.artifact("data").download(tmp_path / "deep" / "out")
    assert got == tmp_path / "deep" / "out"
    assert tree(got) == FILES
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_without_a_place_it_goes_below_the_download_folder(store, log, tmp_path):
    logged = log(files=FILES)
    assert logged.download() == tmp_path / "artifacts" / "p" / "data-v0"
    assert logged.verify().name == "data-v0"
    other = log(files={"x": b"1"}, project="team/project")
    assert other.download() == tmp_path / "artifacts" / "team" / "project" / "data-v0"


def test_an_empty_version_is_an_empty_folder(log, tmp_path):
    logged = log(files={})
    assert (logged.size, logged.file_count) == (0, 0)
    assert list(logged.download(tmp_path / "out").iterdir()) == []
    logged.verify(tmp_path / "out")


def test_what_is_right_already_is_not_written_again(log, tmp_path):
    logged = log(files=FILES)
    logged.download(tmp_path / "out")
    before = {path: path.stat() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    logged.download(tmp_path / "out")
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in before} == {
        path: (found.st_ino, found.st_mtime_ns) for path, found in before.items()
    }


def test_what_is_wrong_is_mended_and_what_else_is_there_stays(log, tmp_path, tree):
    logged = log(files=FILES)
    out = logged.download(tmp_path / "out")
    (out / "a.txt").write_bytes(b"wrong")  # of equal length
    (out / "sub" / "b.bin").write_bytes(b"short")
    (out / "large").unlink()
    (out / "sub" / "mine").write_bytes(b"mine")
    (out / "subject").chmod(0o755)
    logged.download(out)
    assert tree(out) == {**FILES, "sub/mine": b"mine"}
    assert not os.access(out / "subject", os.X_OK) or not (out / "subject").stat().st_mode & 0o111


def test_the_mode_bit_of_a_file_with_another_name_is_not_changed_there(log, tmp_path):
    logged = log(files={"a": b"1"})
    (tmp_path / "theirs").write_bytes(b"1")
    (tmp_path / "theirs").chmod(0o755)
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "theirs", tmp_path / "out" / "a")
    logged.download(tmp_path / "out")
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "out" / "a").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("sub", {"sub/b.bin", "sub/deep/c", "sub/twin"}),
        ("sub/deep", {"sub/deep/c"}),
        ("sub/deep/c", {"sub/deep/c"}),
        ("large", {"large"}),
        (None, set(FILES)),
    ],
)
def test_a_prefix_is_whole_path_parts(log, tmp_path, tree, prefix, expected):
    got = log(files=FILES).download(tmp_path / "out", path_prefix=prefix)
    assert set(tree(got)) == expected


@pytest.mark.parametrize("prefix", ["su", "sub/dee", "nothing", "a.txt/x"])
def test_a_prefix_that_means_nothing_says_what_there_is(log, tmp_path, prefix):
    with pytest.raises(NotFound, match=r"a\.txt, empty, large, sub/, subject"):
        log(files=FILES).download(tmp_path / "out", path_prefix=prefix)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prefix", ["../x", "/", "sub/", "."])
def test_a_prefix_outside_the_rules_is_refused(log, tmp_path, prefix):
    with pytest.raises(InvalidName):
        log(files=FILES).download(tmp_path / "out", path_prefix=prefix)
    assert not (tmp_path / "out").exists()


def test_one_entry_can_be_fetched_alone(log, tmp_path):
    entry = log(files=FILES)["sub/deep/c"]
    path = entry.download(tmp_path / "out")
    assert path == tmp_path / "out" / "sub" / "deep" / "c"
    assert path.read_bytes() == b"c" * 10
    assert not (tmp_path / "out" / "a.txt").exists()


def test_progress_adds_up(store, log, tmp_path):
    logged = log(files=FILES)
    seen = []
    store.watch = lambda what: lambda files, size: seen.append((files, size))
    for _ in range(2):  # fetched, then found
        seen.clear()
        logged.download(tmp_path / "out")
        assert tuple(map(sum, zip(*seen, strict=True))) == (len(FILES), sum(map(len, FILES.values())))


# Checkout


def test_a_checkout_is_exactly_the_version(log, tmp_path, tree):
    first = log(files=FILES)
    second = log(files={"a.txt": b"2", "new/x": b"3"})
    out = first.checkout(tmp_path / "out")
    (out / "stray").write_bytes(b"")
    (out / "sub" / "stray").mkdir()
    (out / "link").symlink_to("sub")
    for version, files in ((second, {"a.txt": b"2", "new/x": b"3"}), (first, FILES)):
        version.checkout(out)
        found = tree(out)
        assert f'"{version.ref}"'.encode() in found.pop(".lineart-checkout")
        assert found == files
        version.verify(out)


def test_a_file_becomes_a_folder_and_a_folder_a_file(log, tmp_path, tree):
    first = log(files={"a": b"1", "b/x": b"2", "b/y/z": b"3"})
    second = log(files={"a/x/y": b"4", "b": b"5"})
    out = first.checkout(tmp_path / "out")
    second.checkout(out)
    assert tree(out).keys() == {".lineart-checkout", "a/x/y", "b"}
    first.checkout(out)
    assert tree(out).keys() == {".lineart-checkout", "a", "b/x", "b/y/z"}


def test_a_folder_of_somebody_elses_is_refused_unless_forced(log, tmp_path, tree):
    logged = log(files=FILES)
    out = tmp_path / "out"
    out.mkdir()
    logged.checkout(out)  # empty is fine
    other = tmp_path / "other"
    (other / "a.txt").parent.mkdir()
    (other / "a.txt").write_bytes(b"mine")
    with pytest.raises(Conflict, match=r"no checkout put there \('a\.txt'\); choose"):
        logged.checkout(other)
    assert tree(other) == {"a.txt": b"mine"}
    logged.checkout(other, force=True)
    assert tree(other).keys() == {*FILES, ".lineart-checkout"}


def test_of_many_files_of_somebody_elses_three_are_named(log, tmp_path):
    for name in "edcba":
        (tmp_path / name).touch()
    with pytest.raises(Conflict, match=r"\('a', 'b', 'c' and \d+ more\); choose another folder; --force"):
        log().checkout(tmp_path)


def test_a_download_is_not_a_checkout(log, tmp_path):
    logged = log(files=FILES)
    logged.download(tmp_path / "out")
    with pytest.raises(Conflict):
        logged.checkout(tmp_path / "out")


@pytest.mark.parametrize("target", ["precious", "nowhere"])
def test_a_link_at_the_marks_place_is_no_mark_and_not_written_through(log, tmp_path, tree, target):
    logged = log(files=FILES)
    (tmp_path / "precious").write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lineart-checkout").symlink_to(tmp_path / target)
    with pytest.raises(Conflict):
        logged.checkout(out)
    logged.checkout(out, force=True)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()
    assert not (out / ".lineart-checkout").is_symlink()


@pytest.mark.parametrize("name", [".lineart-checkout", ".lineart-checkout/x"])
def test_a_version_that_holds_the_marks_name_cannot_be_checked_out(log, tmp_path, name):
    logged = log(files={name: b"1", "sub/.lineart-checkout": b"2"})
    with pytest.raises(Conflict, match="download it instead"):
        logged.checkout(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    logged.download(tmp_path / "out")


def test_a_checkout_that_was_interrupted_goes_on_without_force(new_store, hooked, make, tmp_path, tree):
    store = new_store(hooked)
    logged = store.log(make(files=FILES))
    out = tmp_path / "out"
    out.mkdir()

    def on_get(key, data):
        if key.startswith("packs"):
            raise ConnectionResetError(key)
        return data

    hooked.on_get = on_get
    with pytest.raises(ConnectionResetError):
        logged.checkout(out)
    hooked.on_get = None
    logged.checkout(out)
    assert tree(out).keys() == {*FILES, ".lineart-checkout"}


# Verify


def test_verify_reports_what_is_missing_changed_and_extra(log, tmp_path, special):
    logged = log(files=FILES)
    out = logged.download(tmp_path / "out")
    assert logged.verify(out) == out
    (out / "a.txt").write_bytes(b"wrong")
    (out / "empty").unlink()
    special("fifo", out / "empty")
    (out / "large").unlink()
    (out / "stray").touch()
    (out / "subject").unlink()
    (out / "subject").symlink_to("a.txt")
    with pytest.raises(VerifyError) as caught:
        logged.verify(out)
    report = caught.value.report
    assert report.missing == ["large"]
    assert report.changed == ["a.txt", "empty", "subject"]
    assert report.extra == ["stray"]


def test_verify_is_about_content_and_not_about_the_mode_bit(log, tmp_path):
    logged = log(files=FILES)
    out = logged.download(tmp_path / "out")
    (out / "a.txt").chmod(0o755)
    assert logged.verify(out) == out


def test_a_folder_that_is_not_there_lacks_everything(log, tmp_path):
    with pytest.raises(VerifyError, match="7 missing"):
        log(files=FILES).verify(tmp_path / "nothing")


# Symbolic links at the destination


@pytest.fixture
def outside(tmp_path):
    made = tmp_path / "outside"
    made.mkdir()
    (made / "b.bin").write_bytes(b"precious")
    return made


@pytest.mark.parametrize("link", ["sub", "sub/deep"])
@pytest.mark.parametrize("way", ["download", "checkout"])
def test_links_in_the_tree_are_never_written_through(log, tmp_path, outside, tree, link, way):
    logged = log(files=FILES)
    out = tmp_path / "out"
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(outside)
    if way == "download":
        with pytest.raises(Conflict, match="symbolic link"):
            logged.download(out)
    else:
        logged.checkout(out, force=True)
        assert tree(out).keys() == {*FILES, ".lineart-checkout"}
    assert tree(outside) == {"b.bin": b"precious"}


def test_links_at_files_places_are_replaced(log, tmp_path, outside, tree):
    logged = log(files=FILES)
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "b.bin").symlink_to(outside / "b.bin")
    (out / "large").symlink_to(outside)
    (out / "empty").symlink_to("nowhere")
    logged.download(out)
    assert tree(out) == FILES
    assert tree(outside) == {"b.bin": b"precious"}


def test_a_link_to_a_file_that_would_be_right_is_not_taken_for_it(log, tmp_path):
    logged = log(files={"a": b"1"})
    (tmp_path / "right").write_bytes(b"1")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "right")
    logged.download(tmp_path / "out")
    assert not (tmp_path / "out" / "a").is_symlink()


@pytest.mark.parametrize("link", ["p", "p/data-v0", "p/.lineart-downloads"])
def test_a_link_that_nobody_named_in_the_download_folder_is_not_followed(store, log, tmp_path, outside, tree, link):
    logged = log(files=FILES)
    (store.downloads / link).parent.mkdir(parents=True, exist_ok=True)
    target = outside if "." not in link else outside / "new"
    (store.downloads / link).symlink_to(target)
    if "." in link:
        logged.download()
    else:
        with pytest.raises(Conflict, match="symbolic link"):
            logged.download()
    assert tree(outside) == {"b.bin": b"precious"}


def test_a_named_root_that_is_a_link_to_a_folder_is_followed(log, tmp_path, outside, tree):
    (tmp_path / "out").symlink_to(outside)
    log(files={"a": b"1"}).download(tmp_path / "out")
    assert tree(outside) == {"a": b"1", "b.bin": b"precious"}


def test_a_folder_that_becomes_a_link_meanwhile_is_not_written_through(
    new_store, hooked, make, tmp_path, tree, outside
):
    store = new_store(hooked)
    logged = store.log(make(files={"sub/a": b"1", "sub/b.bin": b"evil"}))
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)

    def on_get(key, data):
        if key.startswith("packs") and not (out / "sub").is_symlink():
            (out / "sub").rename(out / "moved")
            (out / "sub").symlink_to(outside)
        return data

    hooked.on_get = on_get
    with pytest.raises(Conflict, match="out/sub was moved or replaced"):
        logged.download(out)
    assert tree(outside) == {"b.bin": b"precious"}


@pytest.mark.parametrize("way", ["download", "checkout"])
def test_a_root_that_is_no_folder_is_refused(log, tmp_path, way):
    logged = log()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for root in ("file", "dangling"):
        with pytest.raises(Conflict):
            getattr(logged, way)(tmp_path / root)
    assert not (tmp_path / "nowhere").exists()


# Names that the platform cannot hold


@pytest.mark.parametrize("path", ["x" * 300, "b/" + "ä" * 128])
@pytest.mark.parametrize("exists", [True, False])
def test_names_too_long_for_a_disk_are_refused_before_anything_is_written(log, tmp_path, tree, path, exists):
    logged = log(files={"a": b"1", path: b"2"})
    if exists:
        (tmp_path / "out").mkdir()
    for way in (logged.download, logged.checkout):
        with pytest.raises(InvalidName, match="at most 255"):
            way(tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    assert tree(logged.download(tmp_path / "out", path_prefix="a")) == {"a": b"1"}


def test_paths_too_long_for_the_system_are_refused_before_anything_is_written(log, tmp_path):
    logged = log(files={"a": b"1", "/".join(["d" * 100] * 40): b"2"})
    with pytest.raises(InvalidName, match="shorter"):
        logged.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_odd_names_that_posix_can_hold_are_written(log, tmp_path, tree):
    files = dict.fromkeys(
        ["%2e%2e", "a\\b", "C:\\x", "CON", "a.", "A", "nl\n", "\x1b[2J", "-rf", "~", "ä", "a\u0308"], b"1"
    )
    assert tree(log(files=files).download(tmp_path / "out")) == files


# Hostile content, with right digests


class Forger:
    """Logs manifests and recipes put together freely, as somebody could who writes to the bucket and the database."""

    def __init__(self, store):
        self.store = store

    def chunk(self, data, kind=PackKind.DATA):
        digest = blake3(data).digest()
        self._chunks.append((digest, data, kind))
        return digest

    def entry(self, path, data=b"x", **other):
        known = {"path": path, "kind": 0, "size": len(data), "digest": self.chunk(data) if data else EMPTY}
        return list({**known, "recipe": None, "executable": False, "external": None, **other}.values())

    def log(self, make_page, name="forged"):
        self._chunks = []
        page = make_page(self)
        page = page if isinstance(page, bytes) else msgspec.msgpack.encode([1, 0, page])
        root = self.chunk(page, PackKind.META)
        with self.store.engine.session() as session:
            for digest, data, kind in self._chunks:
                if not session.known([digest]):
                    session.add([encode(digest, data)], kind)
            session.flush()
            new = NewVersion(root, 1, 1, None, {})
            self.store.catalog.log("p", name, None, new, session)
        return self.store.artifact(name)


@pytest.fixture
def forger(store):
    return Forger(store)


PATHS = ["../evil", "/evil", "a/../../evil", "..", ".", "", "a//b", "a/", "./a", "a\0b", "x" * 5000]


def refused(version, tmp_path, tree, *errors):
    """Nothing comes of it, by any way, with the folder there or not."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "out").mkdir()
    (here / "out" / "mine").write_bytes(b"mine")
    for way in (
        lambda: version.download(here / "new"),
        lambda: version.download(here / "out"),
        lambda: version.checkout(here / "new"),
        lambda: version.checkout(here / "out", force=True),
    ):
        with pytest.raises(errors or IntegrityError):
            way()
        found = tree(here)
        found.pop("out/.lineart-checkout", None)
        assert found == {"out/mine": b"mine"}


@pytest.mark.parametrize("path", PATHS)
def test_a_manifest_with_a_path_outside_the_rules_is_refused(forger, tmp_path, tree, path):
    version = forger.log(lambda f: sorted([f.entry("good"), f.entry(path)]))
    refused(version, tmp_path, tree)
    for read in (lambda: list(version.files()), lambda: version.read_bytes("good"), lambda: version["good"]):
        with pytest.raises(IntegrityError):
            read()


def test_a_manifest_that_is_none_is_refused(forger, tmp_path, tree):
    for number, page in enumerate(
        [b"", b"\x00", b"not msgpack", b"\x93\x01\x00", noise(2 * MIB), b"\x93\x01\x00\xdd\xff\xff\xff\xff"]
    ):
        if page:
            version = forger.log(lambda f, page=page: page, name=f"forged-{number}")
            with pytest.raises(IntegrityError):
                version.download(tmp_path / "out")
            assert not (tmp_path / "out").exists()


def test_entries_twice_out_of_order_and_a_file_as_a_folder_are_refused(forger, tmp_path, tree):
    for number, paths in enumerate((["a", "a"], ["b", "a"], ["a", "a/b"], ["a", "a-b", "a/b"])):
        version = forger.log(lambda f, paths=paths: [f.entry(path) for path in paths], name=f"forged-{number}")
        with pytest.raises(IntegrityError):
            version.download(tmp_path / "out")
        assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize("size", [0, 1, 5, 4 * MIB, 2**63 - 1])
def test_a_size_that_is_not_the_contents_is_refused(forger, tmp_path, tree, size):
    version = forger.log(lambda f: [f.entry("a", b"ten bytes!", size=size)])
    refused(version, tmp_path, tree)
    with pytest.raises(IntegrityError):
        version.read_bytes("a")


@pytest.mark.parametrize("size", [1, 5, 4 * MIB, 2**63 - 1])
def test_a_stream_of_a_file_with_another_size_hands_out_nothing(forger, size):
    version = forger.log(lambda f: [f.entry("a", b"ten bytes!", size=size)])
    with version.open("a") as file, pytest.raises(IntegrityError):
        file.read()


def test_a_digest_that_no_pack_holds_is_refused(forger, tmp_path, tree):
    version = forger.log(lambda f: [f.entry("a", b"x", digest=bytes(32))])
    refused(version, tmp_path, tree)


def test_a_large_file_with_another_files_digest_is_refused(forger, tmp_path, tree):
    one, two = noise(MIB), noise(MIB, b"2")

    def page(f):
        items = [(f.chunk(one), MIB), (f.chunk(two), MIB)]
        root = f.chunk(recipe.encode(recipe.Recipe(0, items)), PackKind.META)
        return [f.entry("a", b"", size=2 * MIB, digest=bytes(32), recipe=root)]

    refused(forger.log(page), tmp_path, tree)


def forged_recipe(change):
    """Return a page of one file whose recipe was changed by `change(f, items) -> recipe bytes or items`."""

    def page(f):
        datas = [noise(MIB, bytes([number])) for number in range(3)]
        made = change(f, [(f.chunk(data), MIB) for data in datas])
        data = made if isinstance(made, bytes) else msgspec.msgpack.encode([1, 0, made])
        root = f.chunk(data, PackKind.META)
        return [f.entry("a", b"", size=3 * MIB, digest=blake3(b"".join(datas)).digest(), recipe=root)]

    return page


RECIPES = {
    "a total that is too small": lambda f, items: items[:2],
    "a total that is too large": lambda f, items: [*items, items[0]],
    "the same chunks in another order": lambda f, items: items[::-1],
    "sizes that are wrong one by one": lambda f, items: [(items[0][0], MIB - 1), (items[1][0], MIB + 1), items[2]],
    "a size of nothing": lambda f, items: [*items, (items[0][0], 0)],
    "a size below nothing": lambda f, items: [*items[:2], (items[2][0], 2 * MIB), (items[0][0], -MIB)],
    "a chunk larger than any": lambda f, items: [(items[0][0], 3 * MIB), (items[1][0], 0)],
    "one item": lambda f, items: [(items[0][0], 3 * MIB)],
    "no items": lambda f, items: [],
    "a chunk that is lost": lambda f, items: [*items[:2], (bytes(32), MIB)],
    "no recipe at all": lambda f, items: b"not a recipe",
    "an announced million of items": lambda f, items: b"\x93\x01\x00\xdd\x00\x0f\xff\xff",
    "levels that never end": lambda f, items: msgspec.msgpack.encode([1, 200, items]),
    "a level above chunks": lambda f, items: msgspec.msgpack.encode([1, 1, items]),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_forged_is_refused(forger, tmp_path, tree, name):
    refused(forger.log(forged_recipe(RECIPES[name])), tmp_path, tree)


def test_the_forger_can_write_what_is_right(forger, tmp_path, tree):
    version = forger.log(forged_recipe(lambda f, items: items))
    assert set(tree(version.download(tmp_path / "out"))) == {"a"}


def test_a_file_without_bytes_and_with_a_digest_is_refused(forger, tmp_path, tree):
    refused(forger.log(lambda f: [f.entry("a", b"", digest=bytes(32))]), tmp_path, tree)


def test_nothing_is_ever_unpickled(forger, tmp_path, tree):
    planted = tmp_path / "planted"
    bomb = f"cos\nsystem\n(S'touch {planted}'\ntR.".encode()
    version = forger.log(lambda f: bomb)
    with pytest.raises(IntegrityError):
        version.download(tmp_path / "out")
    assert not planted.exists()


# Damage


def damage(hooked, *, drop=False):
    """Spoil every data pack in the bucket."""
    for key in hooked.keys("packs/"):
        if drop:
            hooked.delete([key])
        else:
            data = bytearray(hooked.get(key))
            data[len(data) // 2] ^= 1
            hooked.replace(key, bytes(data))


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("files", [{"a": noise(100_000), "b": b"1"}, {"a": noise(9 * MIB), "b": b"1"}])
def test_damage_leaves_nothing_wrong_and_no_temporary_files(new_store, hooked, make, tmp_path, tree, drop, files):
    store = new_store(hooked)
    logged = store.log(make(files=files))
    damage(hooked, drop=drop)
    out = tmp_path / "out"
    with pytest.raises(IntegrityError, match="damaged"):
        logged.download(out)
    assert list(tmp_path.glob("*out*")) == []
    out.mkdir()
    (out / "a").write_bytes(b"old")
    with pytest.raises(IntegrityError):
        logged.download(out)
    found = tree(out)
    assert found.pop("a") == b"old"
    assert found in ({}, {"b": b"1"})
    with pytest.raises(IntegrityError):
        logged.read_bytes("a")
    with logged.open("a") as file, pytest.raises(IntegrityError):
        file.read()
    assert not store.check(read_data=True).clean


def test_logging_the_good_content_again_heals_it(new_store, hooked, make, tmp_path, tree):
    store = new_store(hooked)
    files = {"a": noise(100_000), "large": noise(3 * MIB, b"2")}
    logged = store.log(make(files=files))
    damage(hooked)
    with pytest.raises(IntegrityError):
        logged.download(tmp_path / "out")
    assert store.log(make(files=files)).version == "v0"
    assert tree(logged.download(tmp_path / "out")) == files


def test_a_version_whose_pages_are_damaged_is_refused_before_anything_is_written(new_store, hooked, make, tmp_path):
    store = new_store(hooked)
    logged = store.log(make())
    for key in hooked.keys("meta/"):
        hooked.delete([key])
    with pytest.raises(IntegrityError):
        logged.download(tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


def test_a_bucket_that_is_gone_damages_nothing(new_store, hooked, make, tmp_path, tree):
    store = new_store(hooked)
    logged = store.log(make())
    held = {key: hooked.get(key) for key in hooked.keys("")}
    hooked.delete(list(held))
    with pytest.raises(LineartError, match="is the bucket mounted"):
        logged.download(tmp_path / "out")
    for key, data in held.items():
        hooked.replace(key, data)
    assert tree(logged.download(tmp_path / "out")) == {"a.txt": b"alpha"}


def test_an_index_that_lies_about_a_chunk_is_found_out(store, log, tmp_path):
    logged = log(files={"a": noise(1000), "b": noise(1000, b"b")})
    chunk = tables.chunk
    digest = bytes(logged["a"].digest)
    other = bytes(logged["b"].digest)

    def swap(tx):
        found = {
            row.digest: row.offset
            for row in tx.execute(chunk.select().where(chunk.c.digest.in_([digest, other]))).all()
        }
        tx.execute(chunk.update().where(chunk.c.digest == digest).values(offset=found[other]))

    store.engine.database.write(swap)
    with pytest.raises(IntegrityError):
        logged.download(tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


FULL = """
import resource, signal, sys
import lineart
from lineart.storage.errors import Conflict
version = lineart.open(sys.argv[1]).artifact("data")
list(version.files())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    version.download(sys.argv[2])
except Conflict as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_at_the_destination_leaves_no_rest(tmp_path, make, tree, exists):
    with lineart.create(tmp_path / "store") as store:
        store.log(make(files={"a": b"1", "b": noise(3 * MIB)}), project="default")
    out = tmp_path / "place" / "out"
    out.parent.mkdir()
    if exists:
        out.mkdir()
    command = [sys.executable, "-c", FULL, str(tmp_path / "store"), str(out), str(2 * MIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{out}/b cannot be written (File too large)"), done.stderr
    assert done.stdout.endswith("nothing there is left half-written\n")
    assert tree(out.parent) in ({}, {"out/": b""}, {"out/a": b"1"})


# Folders that must never be written over or cleared


@pytest.mark.parametrize("below", ["", "packs", "new/folder"])
def test_nothing_is_put_into_a_store(tmp_path, make, tree, below):
    with lineart.create(tmp_path / "store") as store:
        logged = store.log(make(files={"lineart.json": b"evil", "lineart.db": b"evil"}))
        before = set(tree(tmp_path / "store"))
        for way in (logged.download, logged.checkout, lambda root: logged.checkout(root, force=True)):
            with pytest.raises(Conflict, match="in a store"):
                way(tmp_path / "store" / below)
        (tmp_path / "link").symlink_to(tmp_path / "store")
        with pytest.raises(Conflict, match="in a store"):
            logged.download(tmp_path / "link" / below)
        assert set(tree(tmp_path / "store")) == before
        assert store.check(read_data=True).clean


def test_a_folder_that_holds_a_store_is_never_cleared(tmp_path, make, tree):
    with lineart.create(tmp_path / "work" / ".lineart" / "store") as store:
        logged = store.log(make())
        (tmp_path / "work" / "mine").touch()
        before = set(tree(tmp_path / "work"))
        with pytest.raises(Conflict, match="is a store of Lineart, which would be cleared away"):
            logged.checkout(tmp_path / "work", force=True)
        assert set(tree(tmp_path / "work")) == before
        assert store.check(read_data=True).clean
        logged.download(tmp_path / "work")


@pytest.mark.parametrize("path", ["inner/lineart.json", "inner/packs/00/x", "inner/new/x"])
def test_a_store_in_the_destination_is_never_written_into(tmp_path, make, tree, path):
    with lineart.create(tmp_path / "store") as store, lineart.create(tmp_path / "out" / "inner") as inner:
        logged = store.log(make(files={"a": b"1", path: b"evil"}))
        before = tree(tmp_path / "out")
        for way in (logged.download, lambda root: logged.checkout(root, force=True)):
            with pytest.raises(
                Conflict, match=r"would be put into .*out/inner, a store of Lineart; choose another folder"
            ):
                way(tmp_path / "out")
        assert tree(tmp_path / "out") == before
        assert inner.check(read_data=True).clean


@pytest.mark.parametrize("owned", [".git", "sub/.git", ".lineart", "sub/.lineart"])
@pytest.mark.parametrize("below", ["config", "hooks/post-checkout"])
def test_a_repository_and_a_configuration_that_are_there_are_not_written_into(log, tmp_path, tree, owned, below):
    logged = log(files={"a": b"1", f"{owned}/{below}": b"evil"})
    out = tmp_path / "out"
    (out / owned).mkdir(parents=True)
    (out / owned / "HEAD").write_bytes(b"mine")
    for way in (logged.download, lambda root: logged.checkout(root, force=True)):
        with pytest.raises(Conflict, match="choose another folder"):
            way(out)
    assert tree(out) == {f"{owned}/HEAD": b"mine"}
    assert tree(logged.download(out, path_prefix="a")) == {f"{owned}/HEAD": b"mine", "a": b"1"}


def test_the_link_to_the_repository_of_a_worktree_is_not_replaced(log, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".git").write_bytes(b"gitdir: elsewhere")
    with pytest.raises(Conflict, match="a git repository"):
        log(files={".git": b"gitdir: evil"}).download(tmp_path / "out")
    assert (tmp_path / "out" / ".git").read_bytes() == b"gitdir: elsewhere"


def test_a_version_that_holds_such_a_folder_can_be_downloaded_twice(log, tmp_path, tree):
    files = {
        "a": b"1",
        "sub/.git/config": b"2",
        ".lineart/config.toml": b"3",
        "s/lineart.json": b"4",
        "s/journal/x": b"5",
    }
    logged = log(files=files)
    for _ in range(2):
        assert tree(logged.download(tmp_path / "out")) == files
    (tmp_path / "out" / "sub" / ".git" / "config").write_bytes(b"mine")
    (tmp_path / "out" / "a").unlink()
    with pytest.raises(Conflict, match="nothing was written"):
        logged.download(tmp_path / "out")
    assert not (tmp_path / "out" / "a").exists()


def test_the_mode_bit_of_a_hook_is_not_mended(store, tmp_path):
    draft = lineart.Artifact("hook", type="t")
    (tmp_path / "hook").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "hook").chmod(0o755)
    draft.add_file(tmp_path / "hook", ".git/hooks/post-checkout")
    hook = tmp_path / "out" / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(Conflict, match="a git repository"):
        store.log(draft, project="p").download(tmp_path / "out")
    assert not hook.stat().st_mode & 0o111


def test_a_git_repository_is_never_cleared(log, tmp_path, tree):
    logged = log()
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / ".git" / "HEAD").touch()
    with pytest.raises(Conflict, match="git repository"):
        logged.checkout(tmp_path / "repo", force=True)
    assert tree(tmp_path / "repo") == {".git/HEAD": b""}
    logged.download(tmp_path / "repo")


class SlowPlace(Place):
    """A place on a disk that is waited for; notes which threads write."""

    threads: set[str]

    def write_all(self, files):
        time.sleep(0.06)
        self.threads.add(threading.current_thread().name)
        return super().write_all(files)


def test_a_disk_that_is_waited_for_is_written_to_by_several_threads(store, make, tmp_path):
    files = {f"d{number % 7}/{number:05d}": blake3(b"%d" % number).digest(length=9000) for number in range(1500)}
    version = store.log(make(files=files))
    told = []
    content = Content(version.record.digest, store.engine.chunks)
    with SlowPlace(tmp_path / "out") as place:
        place.threads = set()
        fetch(content.walk(), content.chunks, place, lambda *done: told.append(done))
        place.settle()
    out = tmp_path / "out"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*/*")} == files
    assert [sum(column) for column in zip(*told, strict=True)] == [len(files), sum(map(len, files.values()))]
    assert threading.current_thread().name in place.threads
    assert len(place.threads) > 1
