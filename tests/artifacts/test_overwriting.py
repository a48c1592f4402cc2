"""Files of somebody's own work at the places of a version's files: found before anything is written."""

import os
import shutil
import threading
from types import SimpleNamespace

import pytest
from blake3 import blake3

import lineart
from lineart.artifacts import agreed, overwriting, putting
from lineart.storage.errors import Conflict

MIB = 1 << 20
FILES = {"a": b"a", "deep/b": b"b", "empty": b"", "large": blake3(b"large").digest(length=5 * MIB)}
OTHER = {**FILES, "a": b"other", "deep/b": b"another", "large": blake3(b"other").digest(length=5 * MIB)}


@pytest.fixture
def store(remembering):
    return remembering()


@pytest.fixture
def forget(store, tmp_path):
    """A function after which nobody remembers what was put where."""

    def work():
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    return work


@pytest.fixture
def old(store, make):
    return store.log(make(files=FILES))


@pytest.fixture
def new(store, old, make):
    return store.log(make(files=OTHER))


@pytest.fixture
def out(tmp_path, old):
    """A folder that the older version was downloaded to."""
    return old.download(tmp_path / "out")


def refused(version, folder, *paths, way="download"):
    """Whether a version is not put into a folder for the sake of these files, and the folder stays as it is."""
    before = {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")}
    with pytest.raises(Conflict, match="nothing was written") as error:
        getattr(version, way)(folder, overwrite=False)
    assert before == {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")}
    return all(f"'{path}'" in str(error.value) for path in paths)


# What is somebody's own


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("again", ["old", "new"])
def test_a_file_that_was_changed_is_not_replaced(old, new, out, forget, remembered, again):
    (out / "deep" / "b").write_bytes(b"x")
    if not remembered:
        forget()
    assert refused({"old": old, "new": new}[again], out, "deep/b")
    assert (out / "deep" / "b").read_bytes() == b"x"


def test_a_file_of_the_same_size_and_times_but_another_inode_is_not_taken_for_the_one_that_was_put_there(old, out):
    before = (out / "a").stat()
    (out / "new").write_bytes(b"x")
    os.utime(out / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (out / "new").replace(out / "a")
    assert refused(old, out, "a")


def test_a_file_that_no_download_put_there_is_not_replaced(old, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a").write_bytes(b"my own")
    assert refused(old, folder, "a")
    assert sorted(os.listdir(folder)) == ["a"]


def test_three_are_named_and_all_are_counted(store, make, tmp_path):
    version = store.log(make("many", {f"f{number}": b"1" for number in range(7)}))
    folder = version.download(tmp_path / "out")
    for number in range(1, 7):
        (folder / f"f{number}").write_bytes(b"22")
    with pytest.raises(Conflict, match=r"6 files that were .*: 'f1', 'f2', 'f3' and 3 more; .*--force") as error:
        version.download(folder, overwrite=False)
    assert str(folder) in str(error.value)


def test_a_link_that_somebody_made_is_his_and_what_is_no_file_is_too(old, tmp_path, special):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path)
    special("fifo", folder / "empty")
    assert refused(old, folder, "a", "empty")


def test_a_file_of_one_path_is_looked_at_alone(old, out):
    (out / "a").write_bytes(b"x")
    old.download(out, "deep", overwrite=False)
    old["deep/b"].download(out, overwrite=False)
    with pytest.raises(Conflict, match="'a'"):
        old["a"].download(out, overwrite=False)


def test_a_checkout_does_not_replace_what_was_changed_either(old, new, tmp_path):
    folder = old.checkout(tmp_path / "out")
    new.checkout(folder, overwrite=False)
    (folder / "a").write_bytes(b"x")
    assert refused(old, folder, "a", way="checkout")
    old.checkout(folder)
    assert (folder / "a").read_bytes() == FILES["a"]


def test_a_checkout_clears_away_what_was_put_there_and_nothing_that_was_changed_since(store, make, tmp_path):
    one = store.log(make("way", {"a": b"1", "b": b"1", "c/d": b"1"}))
    two = store.log(make("way", {"a": b"1"}))
    folder = one.checkout(tmp_path / "out")
    (folder / "c/d").write_bytes(b"my work")
    (folder / "own").write_bytes(b"what a checkout is asked to clear")
    assert refused(two, folder, "c/d", way="checkout")
    two.checkout(folder)
    assert sorted(os.listdir(folder)) == [".lineart-checkout", "a"]
    one.checkout(folder)
    two.checkout(folder, overwrite=False)
    assert sorted(os.listdir(folder)) == [".lineart-checkout", "a"]


def test_a_hostile_name_is_shown_escaped(store, make, tmp_path):
    name = "x\n\x1b[31m" + "y" * 100
    version = store.log(make("odd", {name: b"1"}))
    folder = version.download(tmp_path / "out")
    (folder / name).write_bytes(b"22")
    with pytest.raises(Conflict) as error:
        version.download(folder, overwrite=False)
    assert str(error.value).isprintable()


# What is not


def test_by_default_a_folder_becomes_the_version_whatever_stood_there(new, out):
    (out / "a").write_bytes(b"x")
    new.download(out)
    new.verify(out)


@pytest.mark.parametrize("remembered", [True, False])
def test_what_a_download_put_there_is_replaced_without_a_question(old, new, out, forget, remembered):
    if not remembered:
        forget()
    new.download(out, overwrite=False)
    new.verify(out)
    if not remembered:
        forget()
    old.download(out, overwrite=False)
    old.verify(out)


def test_what_a_download_put_there_is_known_when_its_version_is_deleted(store, old, new, out):
    store.delete(old.record, force=True)
    new.download(out, overwrite=False)
    new.verify(out)


def test_content_of_a_deleted_version_is_nobodys_who_remembers_nothing(store, old, new, out, forget):
    store.delete(old.record, force=True)
    forget()
    assert refused(new, out, "a", "deep/b", "large")


def test_a_folder_that_was_moved_is_known_by_its_content(new, out, tmp_path):
    moved = out.rename(tmp_path / "moved")
    new.download(moved, overwrite=False)
    new.verify(moved)


def test_content_of_any_version_that_is_there_is_known(store, old, make, tmp_path, forget):
    folder = tmp_path / "out"
    for number in range(3):
        version = store.log(make(files={"a": bytes([number]), "b": b"same"}))
        if number < 2:
            version["a"].download(folder)
    forget()
    version.download(folder, overwrite=False)
    assert (folder / "a").read_bytes() == bytes([2])


def test_a_file_that_was_logged_is_known_by_the_log(store, old, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_bytes(b"my own")
    for _ in range(2):  # at the first, it may be younger than the clock's tick
        draft = lineart.Artifact("mine", type="dataset")
        draft.add_dir(folder)
        store.log(draft)
    old.download(folder, overwrite=False)
    old.verify(folder)


def test_a_file_that_only_a_log_has_read_is_not_replaced_once_its_version_is_gone(store, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    versions = []
    for text in (b"a", b"PRECIOUS", None):  # the second time that it is logged, it is older than the clock's tick
        if text is not None:
            (folder / "w").write_bytes(text)
        draft = lineart.Artifact("mine", type="dataset")
        draft.add_dir(folder)
        versions.append(store.log(draft))
    store.delete(versions[1].record, force=True)
    assert refused(versions[0], folder, "w")
    assert (folder / "w").read_bytes() == b"PRECIOUS"


# Files where folders are to be, and the reverse


SHAPES = {
    "file": {"s": b"1", "x": b"file", "z": b"1"},
    "folder": {"s": b"2", "x/y": b"deep", "x/q/r": b"er", "z": b"2"},
}


@pytest.fixture
def shapes(store, make):
    return {name: store.log(make("shape", files)) for name, files in SHAPES.items()}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize(("first", "second"), [("file", "folder"), ("folder", "file")])
def test_an_unchanged_download_makes_way(shapes, tmp_path, forget, first, second, link, remembered, overwrite):
    folder = shapes[first].download(tmp_path / "out", link=link)
    if not remembered:
        forget()
    shapes[second].download(folder, link=link, overwrite=overwrite)
    shapes[second].verify(folder)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "work"),
    [("file", "folder", "x"), ("folder", "file", "x/y"), ("folder", "file", "x/own"), ("folder", "file", "x/q/own")],
)
def test_what_is_in_the_way_and_somebodys_own_is_refused_before_anything_is_written(
    shapes, tmp_path, forget, tree, first, second, work, remembered, overwrite
):
    folder = shapes[first].download(tmp_path / "out")
    (folder / work).write_bytes(b"my work")
    if not remembered:
        forget()
    before = tree(folder)
    with pytest.raises(Conflict, match=f"'{work}'; nothing was written: move it away"):
        shapes[second].download(folder, overwrite=overwrite)
    assert tree(folder) == before


def test_a_link_or_an_empty_folder_in_the_way_is_refused_before_anything_is_written(shapes, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "x").symlink_to(tmp_path)
    assert refused(shapes["folder"], folder, "x")
    (folder / "x").unlink()
    (folder / "x").mkdir()
    assert refused(shapes["file"], folder, "x")


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "work"),
    [("file", "folder", "x"), ("folder", "file", "x/y"), ("folder", "file", "x/own")],
)
def test_what_is_put_in_the_way_while_that_is_looked_at_stays(
    shapes, tmp_path, forget, monkeypatch, first, second, work, remembered, overwrite
):
    folder = shapes[first].download(tmp_path / "out")
    if not remembered:
        forget()
    look = overwriting._doubtful_below

    def edit(*given):
        found = look(*given)
        (folder / work).write_bytes(b"my work")
        return found

    monkeypatch.setattr(overwriting, "_doubtful_below", edit)
    with pytest.raises(Conflict, match=f"{work} .*in the way|'{work}'; nothing was written"):
        shapes[second].download(folder, overwrite=overwrite)
    assert (folder / work).read_bytes() == b"my work"


@pytest.mark.parametrize(("first", "second", "work"), [("file", "folder", "x"), ("folder", "file", "x/own")])
def test_what_is_put_in_the_way_of_a_checkout_stays(shapes, tmp_path, monkeypatch, first, second, work):
    folder = shapes[first].checkout(tmp_path / "out")
    look = putting.require_unchanged

    def edit(*given):
        look(*given)
        (folder / work).write_bytes(b"my work")

    monkeypatch.setattr(putting, "require_unchanged", edit)
    with pytest.raises(Conflict, match=f"{work} was changed or put there"):
        shapes[second].checkout(folder, overwrite=False)
    assert (folder / work).read_bytes() == b"my work"


# Checkouts that nobody remembers


@pytest.mark.parametrize("how", ["moved", "forgotten"])
@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_a_checkout_clears_nothing_away_that_was_changed_and_is_not_remembered(
    store, make, tmp_path, forget, how, link
):
    one, two = (store.log(make("way", files)) for files in ({"x/y": b"1", "x/z": b"1", "s": b"1"}, {"x": b"2"}))
    folder = one.checkout(tmp_path / "out", link=link)
    (folder / "x/y").chmod(0o644)
    (folder / "x/y").write_bytes(b"M")
    if how == "moved":
        folder = folder.rename(tmp_path / "moved")
    elif link != "symlink":  # whose content would go with the cache
        forget()
    assert refused(two, folder, "x/y", way="checkout")
    one.checkout(folder, link=link)
    two.checkout(folder, overwrite=False)
    two.verify(folder)


def test_what_is_right_already_is_no_conflict_whoever_put_it_there(old, tmp_path):
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    (folder / "a").chmod(0o755)
    old.download(folder, overwrite=False)
    old.verify(folder)
    assert (folder / "a").stat().st_mode & 0o111 == 0


def test_files_of_other_names_are_no_conflict(old, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes").write_bytes(b"my own")
    old.download(folder, overwrite=False)
    assert (folder / "notes").read_bytes() == b"my own"


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_that_a_download_placed_are_replaced(store, old, new, tmp_path, link):
    folder = old.download(tmp_path / "out", link=link)
    store.delete(old.record, force=True)  # so that no version knows the content
    new.download(folder, link=link, overwrite=False)
    new.verify(folder)
    new.download(folder, overwrite=False)
    assert not (folder / "a").is_symlink()


@pytest.mark.parametrize("link", ["copy", "symlink"])
@pytest.mark.parametrize("again", ["old", "new"])
def test_a_link_is_not_replaced_where_what_it_leads_to_was_edited(old, new, tmp_path, again, link):
    folder = old.download(tmp_path / "out", link="symlink")
    shared = (folder / "a").resolve()
    shared.chmod(0o644)
    shared.write_bytes(b"b")
    shared.chmod(0o444)
    with pytest.raises(Conflict, match=r"nothing was written"):
        {"old": old, "new": new}[again].download(folder, link=link, overwrite=False)
    assert (folder / "a").read_bytes() == b"b"


def test_links_whose_cache_is_gone_are_replaced(old, tmp_path, forget):
    folder = old.download(tmp_path / "out", link="symlink")
    forget()
    old.download(folder, overwrite=False)
    old.verify(folder)


def test_a_damaged_version_does_not_hinder_the_others(new_store, hooked, make, tmp_path):
    store = new_store(hooked)
    pages = {}
    for number in range(3):
        before = set(hooked.keys("meta/"))
        version = store.log(make(files={"a": bytes([number])}))
        pages[number] = set(hooked.keys("meta/")) - before
        if not number:
            folder = version.download(tmp_path / "out")
    for key in pages[1]:
        hooked.replace(key, bytes(len(hooked.get(key))))
    store.artifact(version.ref).download(folder, overwrite=False)
    assert (folder / "a").read_bytes() == bytes([2])


def test_a_folder_in_the_way_of_a_checkout_still_goes(store, make, tmp_path):
    one, two = store.log(make("way", {"a/x": b"1"})), store.log(make("way", {"a": b"2"}))
    folder = one.checkout(tmp_path / "out")
    two.checkout(folder, overwrite=False)
    one.checkout(folder, overwrite=False)
    one.verify(folder)


# What it costs


def test_nothing_that_is_known_is_read(old, new, out, opened_below):
    with opened_below(out) as opened:
        old.download(out, overwrite=False)
        new["deep/b"].download(out, overwrite=False)
    assert {os.path.relpath(one, out) for one in opened} <= {"deep/b"}


def test_what_is_not_known_is_read_once(old, tmp_path, monkeypatch, settle):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "large").write_bytes(FILES["large"])
    settle()
    read = []
    real = os.read
    monkeypatch.setattr(os, "read", lambda number, size: read.append(len(data := real(number, size))) or data)
    old.download(folder, "large", overwrite=False)
    assert sum(read) < 1.5 * len(FILES["large"])


# What is changed between the decision and the work


@pytest.fixture
def meanwhile(hooked, remembering, make):
    """A function that puts a version over what is there, and does something in the middle of it."""
    store = remembering(hooked)
    versions = [store.log(make(files=files)) for files in (FILES, OTHER, {"x": b"1", "a": b"1"})]

    def put(number, folder, work, *, way="download", **options):
        todo, one = [work], threading.Lock()

        def act(key, data):
            with one:  # so that no content comes before it is done
                if key.startswith("packs/") and todo:
                    todo.pop()()
            return data

        version = store.artifact(versions[number].ref)
        hooked.on_get = act
        try:
            return getattr(version, way)(folder, **{"overwrite": False, **options})
        finally:
            hooked.on_get = None
            assert todo == []

    put.versions = versions
    put.store = store
    return put


@pytest.mark.parametrize(
    ("path", "remembered", "link"),
    [
        ("a", True, "copy"),
        ("a", False, "copy"),
        ("large", True, "copy"),
        ("a", True, "hardlink"),
        ("a", False, "symlink"),
    ],
)
def test_a_file_that_is_edited_during_the_download_is_left_and_named(meanwhile, tmp_path, path, remembered, link):
    folder = meanwhile.versions[0].download(tmp_path / "out")
    if not remembered:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    with pytest.raises(Conflict, match=rf"changed or put there .*: '{path}'; .* left .* all others .*--force"):
        meanwhile(1, folder, lambda: (folder / path).write_bytes(b"my work"), link=link)
    assert {name: (folder / name).read_bytes() for name in FILES} == {**OTHER, path: b"my work"}
    assert sorted(os.listdir(folder)) == ["a", "deep", "empty", "large"]
    assert refused(meanwhile.versions[1], folder, path)
    meanwhile.versions[1].download(folder)
    meanwhile.versions[1].verify(folder)


def test_a_file_that_appears_during_the_download_is_left_and_named(meanwhile, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(Conflict, match="'a'"):
        meanwhile(0, folder, lambda: (folder / "a").write_bytes(b"my work"))
    assert (folder / "a").read_bytes() == b"my work"
    assert (folder / "deep/b").read_bytes() == b"b"


def test_a_file_that_goes_during_the_download_is_no_conflict(meanwhile, tmp_path):
    folder = meanwhile.versions[0].download(tmp_path / "out")
    meanwhile(1, folder, (folder / "a").unlink)
    meanwhile.versions[1].verify(folder)


def test_a_file_is_looked_at_again_only_where_one_is_put(old, out, monkeypatch):
    looks = []
    real = os.lstat
    (out / "deep/b").unlink()
    monkeypatch.setattr(os, "lstat", lambda path, **options: looks.append(path) or real(path, **options))
    old.download(out)
    freely = looks.count("b"), looks.count("a")
    (out / "deep/b").unlink()
    looks.clear()
    old.download(out, overwrite=False)
    assert (looks.count("b"), looks.count("a")) == (freely[0] + 2, freely[1] + 1), "one to decide, one before it is put"


def test_who_wants_it_replaced_gets_it_replaced(meanwhile, tmp_path):
    folder = meanwhile.versions[0].download(tmp_path / "out")
    meanwhile(1, folder, lambda: (folder / "a").write_bytes(b"my work"), overwrite=True)
    meanwhile.versions[1].verify(folder)


@pytest.mark.parametrize("remembered", [True, False])
def test_a_checkout_clears_nothing_away_where_a_file_was_edited_meanwhile(meanwhile, tmp_path, remembered):
    folder = meanwhile.versions[2].checkout(tmp_path / "out")
    if not remembered:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    with pytest.raises(Conflict, match=r"'x'; .* left"):
        meanwhile(0, folder, lambda: (folder / "x").write_bytes(b"my work"), way="checkout")
    assert {name: (folder / name).read_bytes() for name in (*FILES, "x")} == {**FILES, "x": b"my work"}


def test_a_checkout_that_could_not_replace_a_file_clears_nothing_away(meanwhile, tmp_path):
    folder = meanwhile.versions[2].checkout(tmp_path / "out")
    with pytest.raises(Conflict, match=r"'a'; .*nothing was cleared away"):
        meanwhile(0, folder, lambda: (folder / "a").write_bytes(b"my work"), way="checkout")
    assert ((folder / "a").read_bytes(), (folder / "x").read_bytes()) == (b"my work", b"1")


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_names_of_one_file_are_not_taken_for_edits_of_each_other(meanwhile, make, tmp_path, link):
    folder = meanwhile.versions[0].download(tmp_path / "out")
    (folder / "deep/b").unlink()
    (folder / "deep/b").hardlink_to(folder / "a")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    for number in (0, 1):
        meanwhile.store.log(make(files={**FILES, "deep/b": b"a", "number": b"%d" % number}))
    meanwhile(1, folder, lambda: None, link=link)
    meanwhile.versions[1].verify(folder)
    meanwhile.versions[0].download(folder, link=link, overwrite=False)
    meanwhile.versions[0].verify(folder)


@pytest.mark.parametrize("kind", [None, "vfat"])
def test_a_file_that_another_of_the_same_times_has_replaced_is_an_edit_where_inodes_tell(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(agreed, "mistrust", lambda root: kind)
    (tmp_path / "a").write_bytes(b"a")
    found = (tmp_path / "a").stat()
    other = SimpleNamespace(**{name: getattr(found, name) for name in dir(found) if name.startswith("st_")})
    other.st_ino += 1
    decided = agreed.Agreed(tmp_path, None)
    decided.note("a", found)
    assert decided.allows("a", found)
    assert decided.allows("a", other) == bool(kind)
    assert decided.left == ([] if kind else ["a"])
    assert not decided.allows("b", found)
