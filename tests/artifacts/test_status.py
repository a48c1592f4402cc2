"""What changed in a folder since a version."""

import os

import pytest
from blake3 import blake3

import lineart
from lineart.artifacts.stat_cache import StatCache
from lineart.storage.errors import InvalidInput, NotFound

MIB = 1 << 20


@pytest.fixture
def store(new_store, tmp_path):
    made = new_store()
    made.stat_cache = StatCache(tmp_path / "stat")
    return made


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "deep").mkdir(parents=True)
    for name in ("a", "a-b", "deep/c", "deep/d", "z"):
        (root / name).write_bytes(name.encode())
    (root / "large").write_bytes(blake3(b"large").digest(length=5 * MIB))
    return root


@pytest.fixture
def logged(store, folder, settle):
    settle()
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder)
    return store.log(draft)


def status(store, folder, against=None, **options):
    version, found = store.status(folder, against, **options)
    return version.ref, found.added, found.changed, found.removed, found.same


@pytest.mark.usefixtures("logged")
def test_a_folder_that_was_logged_is_compared_with_that_version(store, folder):
    assert status(store, folder) == ("p/data:v0", [], [], [], 6)
    (folder / "a").write_bytes(b"b")  # of the same size
    (folder / "large").write_bytes(b"small")
    (folder / "deep" / "c").unlink()
    (folder / "a-a").touch()
    (folder / "zz").touch()
    assert status(store, folder) == ("p/data:v0", ["a-a", "zz"], ["a", "large"], ["deep/c"], 3)
    assert status(store, folder) == ("p/data:v0", ["a-a", "zz"], ["a", "large"], ["deep/c"], 3)  # and that is no secret


@pytest.mark.usefixtures("logged")
def test_what_status_read_the_next_log_need_not_read(store, folder):
    store.stat_cache.forget(str(folder))
    assert status(store, folder, "data:v0") == ("p/data:v0", [], [], [], 6)
    assert len(store.stat_cache.load(str(folder))) == 6
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder)
    assert store.log(draft).version == "v0"


@pytest.mark.usefixtures("logged")
def test_a_content_that_comes_back_is_no_change(store, folder):
    (folder / "z").write_bytes(b"other")
    assert status(store, folder)[2] == ["z"]
    (folder / "z").write_bytes(b"z")
    assert status(store, folder)[2] == []


@pytest.mark.usefixtures("logged")
def test_the_executable_bit_is_a_change_as_it_is_to_a_log(store, folder):
    (folder / "a").chmod(0o755)
    assert status(store, folder)[2] == ["a"]


def test_any_version_can_be_compared_with(store, folder, logged):
    (folder / "new").touch()
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder)
    store.log(draft, aliases="best")
    assert status(store, folder)[0] == "p/data:v1"
    assert status(store, folder, logged.ref) == ("p/data:v0", ["new"], [], [], 6)
    assert status(store, folder, "data:best") == ("p/data:v1", [], [], [], 7)
    assert status(store, folder)[0] == "p/data:v1"  # to compare with another does not make it that one


def test_a_checkout_says_itself_what_it_is(store, tmp_path, logged):
    there = logged.checkout(tmp_path / "out")
    store.stat_cache.forget(str(there))
    (there / "a").unlink()
    assert status(store, there) == ("p/data:v0", [], [], ["a"], 5)


def test_ignored_files_are_not_looked_at(store, folder, logged):
    (folder / "note.txt").touch()
    (folder / ".artignore").write_text("*.txt\n")
    assert status(store, folder, logged.ref)[1] == [".artignore"]
    assert status(store, folder, logged.ref, ignore=[".artignore"])[1] == []


def test_a_folder_that_nobody_knows_asks_for_a_version(store, folder):
    with pytest.raises(NotFound, match="--against"):
        store.status(folder)


def test_the_same_name_in_another_store_is_not_taken_for_the_version(store, new_store, folder, logged, make):
    other = new_store()
    other.stat_cache = store.stat_cache
    other.log(make(files={"x": b"x"}))
    with pytest.raises(NotFound, match="--against"):
        other.status(folder)


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("mark", [b"", b"[]", b"{}", b'{"ref": 1, "digest": "xyz"}', b"\xff", b'{"ref": "data:v0"}'])
def test_a_mark_that_is_not_ours_says_nothing(store, folder, mark):
    store.stat_cache.forget(str(folder))
    (folder / ".lineart-checkout").write_bytes(mark)
    with pytest.raises(NotFound):
        store.status(folder)


def test_a_folder_that_is_not_there_or_cannot_be_walked_is_an_error(store, folder, logged, tmp_path):
    for against in (None, logged.ref):
        with pytest.raises(NotFound, match="does not exist"):
            store.status(tmp_path / "none", against)
    with pytest.raises(NotFound, match="is not a folder"):
        store.status(folder / "a")
    os.symlink("nowhere", folder / "dangling")
    with pytest.raises(InvalidInput, match="dangling"):
        store.status(folder)
