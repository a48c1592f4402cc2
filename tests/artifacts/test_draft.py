from __future__ import annotations

import os

import pytest

import lineart
from lineart.artifacts.draft import Draft
from lineart.artifacts.source import BytesSource
from lineart.storage.errors import Conflict, Frozen, InvalidInput, InvalidName, NotFound, SourceChanged


@pytest.fixture
def draft():
    return lineart.Artifact("data", type="dataset")


def sources(artifact):
    return dict(artifact.take_draft().ordered())


def paths(artifact):
    return list(sources(artifact))


def test_a_file_is_added_under_its_own_name_or_another(draft, tmp_path):
    (tmp_path / "a.txt").write_text("alpha")
    draft.add_file(tmp_path / "a.txt")
    draft.add_file(str(tmp_path / "a.txt"), name="sub/b.txt")
    assert paths(draft) == ["a.txt", "sub/b.txt"]


def test_adding_the_same_content_twice_is_fine(draft, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"alpha")
    (tmp_path / "twin.txt").write_bytes(b"alpha")
    draft.add_file(tmp_path / "a.txt")
    draft.add_file(tmp_path / "a.txt")
    draft.add_file(tmp_path / "twin.txt", name="a.txt")
    draft.add_bytes(b"alpha", "a.txt")
    assert paths(draft) == ["a.txt"]


def test_adding_other_content_names_both_and_overwrite_allows_it(draft, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"alpha")
    draft.add_file(tmp_path / "a.txt")
    with pytest.raises(Conflict) as caught:
        draft.add_bytes(b"other", "a.txt")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert "5 bytes in memory" in str(caught.value)
    draft.add_bytes(b"other", "a.txt", overwrite=True)
    assert sources(draft)["a.txt"] == BytesSource(b"other")
    with pytest.raises(Conflict):
        draft.add_file(tmp_path / "a.txt")
    draft.add_file(tmp_path / "a.txt", overwrite=True)
    with pytest.raises(Conflict), draft.new_file("a.txt") as file:
        file.write("third")
    with draft.new_file("a.txt", overwrite=True) as file:
        file.write("third")


def test_add_dir_knows_conflicts_and_overwrite_too(draft, tmp_path):
    for folder, text in (("one", "1"), ("two", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(text)
    draft.add_dir(tmp_path / "one")
    with pytest.raises(Conflict):
        draft.add_dir(tmp_path / "two")
    draft.add_dir(tmp_path / "two", overwrite=True)
    assert sources(draft)["x"].path == str(tmp_path / "two" / "x")


def test_a_file_that_changed_is_refused_again_until_overwrite_is_said(store, draft, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"1")
    draft.add_file(file)
    file.write_bytes(b"2")
    os.utime(file, ns=(1, 1))
    with pytest.raises(SourceChanged, match="overwrite=True"):
        store.log(draft)
    with pytest.raises(Conflict):
        draft.add_file(file)
    draft.add_file(file, overwrite=True)
    assert store.log(draft).read_bytes("a") == b"2"


def test_comparing_with_a_source_that_became_a_fifo_does_not_hang(draft, tmp_path):
    (tmp_path / "a").write_bytes(b"")
    draft.add_file(tmp_path / "a")
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    with pytest.raises(Conflict):
        draft.add_bytes(b"", "a")


def test_a_folder_is_added_at_the_top_or_below_a_name(draft, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a").touch()
    (tmp_path / "in" / "sub" / "b").touch()
    draft.add_dir(tmp_path / "in")
    draft.add_dir(tmp_path / "in", name="x/y/")
    assert paths(draft) == ["a", "sub/b", "x/y/a", "x/y/sub/b"]


def test_a_folder_that_cannot_be_added_whole_leaves_the_draft_as_it_was(draft, tmp_path):
    (tmp_path / "a").touch()
    os.mkfifo(tmp_path / "z")
    with pytest.raises(InvalidInput):
        draft.add_dir(tmp_path)
    assert paths(draft) == []


@pytest.mark.parametrize("absent", ["nothing", "file/below"])
def test_what_is_absent_is_not_found(draft, tmp_path, absent):
    (tmp_path / "file").touch()
    with pytest.raises(NotFound, match="does not exist"):
        draft.add_file(tmp_path / absent)
    with pytest.raises(NotFound, match="does not exist"):
        draft.add_dir(tmp_path / absent)


def test_a_folder_is_no_file_and_a_file_no_folder(draft, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="add_dir"):
        draft.add_file(tmp_path)
    with pytest.raises(InvalidInput, match="not a folder"):
        draft.add_dir(tmp_path / "file")


def test_links_to_nothing_and_to_themselves_are_named(draft, tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NotFound, match="symbolic link to nothing"):
        draft.add_file(tmp_path / "dangling")
    with pytest.raises(InvalidInput, match="loop"):
        draft.add_file(tmp_path / "loop")
    with pytest.raises(InvalidInput, match="cannot be added"):
        draft.add_file("a\0b")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_neither_file_nor_folder_is_refused(draft, tmp_path, kind, special):
    with pytest.raises(InvalidInput, match="neither a file nor a folder"):
        draft.add_file(special(kind))


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", ".", "..", "a/./b", "a/../b", "a/", "", "a\0b", "\udcff"])
def test_names_outside_the_rules_are_refused_at_once(draft, tmp_path, name):
    (tmp_path / "f").touch()
    with pytest.raises(InvalidName):
        draft.add_bytes(b"", name)
    with pytest.raises(InvalidName):
        draft.add_file(tmp_path / "f", name=name)
    with pytest.raises(InvalidName), draft.new_file(name) as file:
        file.write("never")
    assert paths(draft) == []


@pytest.mark.parametrize("name", ["../x", "/x", "/", "a//b", "."])
def test_a_folder_cannot_be_added_under_a_name_outside_the_rules(draft, tmp_path, name):
    (tmp_path / "f").touch()
    with pytest.raises(InvalidName):
        draft.add_dir(tmp_path, name=name)


@pytest.mark.parametrize("name", ["%2e%2e/x", "a\\b", "C:x", "a:b", "a\nb", "ä", "CON", "a.", "x" * 300, "~", "-rf"])
def test_plain_characters_stay_as_they_are(store, draft, name):
    draft.add_bytes(b"1", name)
    logged = store.log(draft)
    assert [entry.path for entry in logged.files()] == [name]
    assert logged.read_bytes(name) == b"1"


def test_a_path_is_not_both_a_file_and_a_folder(draft):
    draft.add_bytes(b"", "a/x/1")
    draft.add_bytes(b"", "b")
    for clash in ("a", "a/x", "b/c", "b/c/d"):
        with pytest.raises(InvalidName, match="folder"):
            draft.add_bytes(b"", clash)
        with pytest.raises(InvalidName, match="folder"):
            draft.add_bytes(b"", clash)  # a second time, too
    draft.add_bytes(b"", "a-b")
    draft.remove("a")
    draft.add_bytes(b"", "a")
    draft.remove("b")
    draft.add_bytes(b"", "b/c")
    assert paths(draft) == ["a", "a-b", "b/c"]


def test_remove_takes_a_file_or_a_folder_and_names_what_is_not_there(draft):
    for path in ("a/1", "a/2", "ab", "b"):
        draft.add_bytes(b"", path)
    draft.remove("a")
    assert paths(draft) == ["ab", "b"]
    draft.remove("b")
    for absent in ("a", "b", "nothing", "a/1"):
        with pytest.raises(NotFound):
            draft.remove(absent)
    with pytest.raises(InvalidName):
        draft.remove("../a")


def test_the_order_of_a_draft_is_that_of_the_bytes_of_its_paths():
    draft = Draft()
    for path in ("b", "a/x", "a-b", "a", "ä", "\U0001f600", "\ufffd", "Z"):
        if path != "a/x":
            draft.add(path, BytesSource(b""))
    ordered = [path for path, _ in draft.ordered()]
    assert ordered == sorted(ordered, key=str.encode)


def test_content_from_memory_is_bytes_and_is_copied(draft):
    data = bytearray(b"one")
    draft.add_bytes(data, "a")
    data[:] = b"two"
    draft.add_bytes(memoryview(b"three"), "b")
    assert sources(draft)["a"] == BytesSource(b"one")
    with pytest.raises(InvalidInput, match="str"):
        draft.add_bytes("text", "c")


def test_new_files_are_text_or_bytes_and_may_be_open_at_once(store, draft):
    with draft.new_file("a.txt") as a, draft.new_file("b.bin", "wb") as b:
        a.write("zeile\n")
        b.write(b"\r\n")
    logged = store.log(draft)
    assert logged.read_bytes("a.txt") == b"zeile\n"
    assert logged.read_bytes("b.bin") == b"\r\n"


def test_a_new_file_whose_block_fails_is_not_added(draft):
    with pytest.raises(ZeroDivisionError), draft.new_file("a") as file:
        file.write(str(1 / 0))
    assert paths(draft) == []


def test_a_new_file_is_written_and_nothing_else(draft):
    for mode in ("r", "a", "x", "w+"):
        with pytest.raises(InvalidInput), draft.new_file("a", mode) as file:
            file.write("")


def test_what_new_files_wrote_is_gone_from_the_disk_once_it_is_logged(store, draft):
    with draft.new_file("long " * 20) as file:
        file.write("x")
    where = os.path.dirname(next(iter(sources(draft).values())).path)
    assert os.path.isdir(where)
    store.log(draft)
    assert not os.path.exists(where)


def test_a_logged_artifact_takes_nothing_more(log):
    logged = log()
    for change in (
        lambda: logged.add_bytes(b"", "x"),
        lambda: logged.add_dir("."),
        lambda: logged.add_file("x"),
        lambda: logged.remove("a.txt"),
        lambda: logged.new_file("x").__enter__(),
        logged.take_draft,
    ):
        with pytest.raises(Frozen, match="new_draft"):
            change()


def test_the_next_version_starts_from_this_one(store, log):
    first = log(files={"a": b"1", "sub/b": b"2", "sub/c": b"3", "d": b"4"})
    draft = first.new_draft()
    draft.remove("sub")
    draft.add_bytes(b"new", "sub/e")
    draft.add_bytes(b"other", "a")  # what the base has may be changed without a word
    draft.remove("d")
    second = store.log(draft)
    assert {entry.path: entry.read_bytes() for entry in second.files()} == {"a": b"other", "sub/e": b"new"}
    assert {entry.path for entry in first.files()} == {"a", "sub/b", "sub/c", "d"}
    assert (second.size, second.file_count) == (8, 2)


def test_removing_from_the_next_version_what_it_does_not_have_is_not_found(log):
    draft = log(files={"a": b"1"}).new_draft()
    with pytest.raises(NotFound, match="nothing"):
        draft.remove("nothing")
    draft.add_bytes(b"2", "b")
    draft.remove("b")
    draft.remove("a")


def test_a_file_of_the_base_can_become_a_folder_and_the_other_way_round(store, log):
    first = log(files={"a": b"1", "b/x": b"2"})
    clashing = first.new_draft()
    clashing.add_bytes(b"", "a/x")
    with pytest.raises(InvalidName):
        store.log(clashing)
    draft = first.new_draft()
    draft.remove("a")
    draft.remove("b")
    draft.add_bytes(b"3", "a/x")
    draft.add_bytes(b"4", "b")
    assert [entry.path for entry in store.log(draft).files()] == ["a/x", "b"]


def test_a_draft_without_change_is_the_same_version(store, log):
    first = log(files={"a": b"1"}, description="d", metadata={"k": [1]})
    again = store.log(first.new_draft())
    assert again.version == "v0"
    assert (again.description, again.metadata) == ("d", {"k": [1]})
