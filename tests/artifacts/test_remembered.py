"""A version put where it is already: what is there as it was left is not read again."""

import os
import shutil

import pytest
from blake3 import blake3

import lineart
from lineart.storage.errors import VerifyError

MIB = 1 << 20
FILES = {"a": b"a", "deep/b": b"b", "deep/er/c": b"", "large": blake3(b"large").digest(length=5 * MIB)}


@pytest.fixture
def store(remembering):
    return remembering()


@pytest.fixture
def version(store, make):
    return store.log(make(files=FILES))


@pytest.fixture
def out(tmp_path, version):
    """A folder that the version was downloaded to."""
    return version.download(tmp_path / "out")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_download_opens_no_file(version, out, opened_below):
    with opened_below(out) as opened:
        version.download(out)
    assert opened == []


def test_a_second_download_asks_the_store_for_no_page(remembering, hooked, make, tmp_path):
    store = remembering(hooked)
    version = store.log(make(files=FILES))
    version.download(tmp_path / "out")
    asked = []
    hooked.on_get = lambda key, data: asked.append(key) or data
    store.artifact(version.ref).download(tmp_path / "out")
    assert asked == []


def test_the_second_download_of_one_file_does_not_read_it(version, tmp_path, opened_below):
    there = version["large"].download(tmp_path / "one")
    with opened_below(tmp_path / "one") as opened:
        version["large"].download(tmp_path / "one")
    assert opened == []
    there.write_bytes(b"x" * 5 * MIB)
    version["large"].download(tmp_path / "one")
    assert there.read_bytes() == FILES["large"]


@pytest.mark.parametrize("harm", ["edit", "replace", "remove", "mode", "folder is a link", "same time"])
def test_whatever_is_done_to_a_file_the_next_download_mends_it(version, out, tmp_path, harm):
    path = out / "deep" / "b"
    before = path.stat()
    if harm == "edit":
        path.write_bytes(b"x")
    elif harm == "replace":
        path.with_name("new").write_bytes(b"y")
        path.with_name("new").replace(path)
    elif harm == "remove":
        path.unlink()
    elif harm == "mode":
        path.chmod(0o755)
    elif harm == "same time":
        path.write_bytes(b"z")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        shutil.move(out / "deep" / "er", tmp_path / "elsewhere")
        (out / "deep" / "er").mkdir()
    version.download(out)
    assert contents(out) == FILES
    assert not path.stat().st_mode & 0o100
    version.verify(out)


def test_only_what_was_touched_is_opened(version, out, opened_below):
    (out / "a").write_bytes(b"b")
    with opened_below(out) as opened:
        version.download(out)
    assert {os.path.relpath(one, out) for one in opened} <= {"a"}
    with opened_below(out) as opened:
        version.download(out)
    assert opened == []


def test_another_version_in_the_same_folder_is_not_taken_for_the_first(store, version, out, make):
    other = store.log(make(files={**FILES, "a": b"other"}))
    other.download(out)
    assert (out / "a").read_bytes() == b"other"
    version.download(out)
    assert contents(out) == FILES


def test_verify_reads_whatever_is_remembered(version, out, opened_below):
    with opened_below(out) as opened:
        version.verify(out)
    assert len(opened) == 4


def test_a_writer_through_a_map_is_found_by_verify(version, out):
    path = out / "a"
    before = path.stat()
    path.write_bytes(b"m")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(VerifyError):
        version.verify(out)


def test_a_folder_that_was_logged_need_not_be_read_to_download_the_same_version_to_it(store, tmp_path, opened_below):
    root = tmp_path / "data"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    for _ in range(2):  # at the first, some files may be younger than the clock's tick
        draft = lineart.Artifact("data", type="dataset")
        draft.add_dir(root)
        version = store.log(draft)
    with opened_below(root) as opened:
        version.download(root)
    assert opened == []


def test_copies_take_the_place_of_links_also_where_all_is_remembered(store, version, tmp_path):
    out = version.download(tmp_path / "out", link="hardlink")
    store.status(out, version.ref)
    assert (out / "a").stat().st_nlink > 1
    version.download(out)
    assert (out / "a").stat().st_nlink == 1
    assert contents(out) == FILES


def test_a_checkout_is_remembered_too(version, tmp_path, opened_below):
    there = version.checkout(tmp_path / "out")
    with opened_below(there) as opened:
        version.checkout(there)
    assert {os.path.relpath(one, there) for one in opened} <= {".lineart-checkout"}
    with opened_below(there) as opened:
        version.download(there)
    assert opened == []


def test_status_knows_what_a_folder_was_downloaded_from(store, version, out):
    found, status = store.status(out)
    assert (found.ref, bool(status)) == (version.ref, False)


def test_without_a_cache_folder_every_download_reads_what_is_there(new_store, make, tmp_path, opened_below):
    store = new_store()
    version = store.log(make(files=FILES))
    out = version.download(tmp_path / "out")
    with opened_below(out) as opened:
        version.download(out)
    assert len(opened) == 4


@pytest.mark.parametrize("order", ["folder first", "file first"])
def test_a_file_logged_under_another_name_is_put_where_the_version_says(store, tmp_path, order):
    root = tmp_path / "data"
    root.mkdir()
    (root / "x").write_bytes(b"x")
    (root / "y").write_bytes(b"y")
    for _ in range(2):  # at the first, the files may be younger than the clock's tick
        draft = lineart.Artifact("data", type="dataset")
        if order == "folder first":
            draft.add_dir(root)
            draft.remove("x")
            draft.add_file(root / "x", name="other")
        else:
            draft.add_file(root / "x", name="other")
            draft.add_dir(root, ignore=["x"])
        version = store.log(draft)
    version.download(root)
    assert contents(root) == {"x": b"x", "y": b"y", "other": b"x"}


def test_a_small_file_is_put_into_a_large_folder_without_a_look_at_what_is_remembered(
    version, out, store, opened_below
):
    with opened_below(store.cache) as opened:
        version["deep/b"].download(out)
    assert opened == []


def test_what_another_collection_put_there_is_still_known_when_its_version_is_gone(store, make, tmp_path):
    one, two, words = (store.log(make(*of)) for of in (("m", {"w": b"1"}), ("m", {"w": b"2"}), ("t", {"words": b"3"})))
    out = one.download(tmp_path / "out")
    words.download(out)
    store.delete(one.record, force=True)
    two.download(out, overwrite=False)
    assert contents(out) == {"w": b"2", "words": b"3"}


def test_a_version_beside_another_is_not_taken_for_whole_when_a_file_of_it_was_touched(store, make, tmp_path):
    one, words = store.log(make("m", {"w": b"1"})), store.log(make("t", {"words": b"3", "more": b"4"}))
    out = one.download(tmp_path / "out")
    for harm in ("edit", "remove"):
        words.download(out)
        (out / "more").write_bytes(b"x") if harm == "edit" else (out / "more").unlink()
        words.download(out)
        assert contents(out) == {"w": b"1", "words": b"3", "more": b"4"}


# What stays of another version


@pytest.mark.parametrize("remembered", [True, False])
def test_what_stays_is_the_same_whether_it_is_remembered_or_both_versions_are_compared(
    store, make, tmp_path, remembered
):
    one = store.log(make("m", dict.fromkeys(("a", "b/c", "b/d", "m", "n", "z/y", "z/z"), b"1")))
    two = store.log(make("m", dict.fromkeys(("A", "b/c", "m", "o", "p"), b"2")))
    for prefix, stay in ((None, "5 files stay"), ("b", "1 file stays")):
        folder = one.checkout(tmp_path / str(prefix))
        if not remembered:
            shutil.rmtree(tmp_path / "cache")
        with pytest.warns(UserWarning, match=f"^{stay} of p/m:v0"):
            two.download(folder, path_prefix=prefix)


def test_what_stays_of_a_version_is_not_what_was_beside_it(store, make, tmp_path):
    words = [store.log(make("t", files)) for files in ({"words": b"1", "more": b"1"}, {"words": b"2"})]
    out = store.log(make("m", {"w": b"1"})).download(tmp_path / "out")
    words[0].download(out)
    with pytest.warns(UserWarning, match="^1 file stays of p/t:v0"):
        words[1].download(out)
