from __future__ import annotations

import os
import shutil

import pytest

import lineart
from lineart.artifacts.tree import walk_tree
from lineart.storage.errors import InvalidInput, NotFound, SourceChanged


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


def fill(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def walked(folder, ignore=()):
    return [path for path, _ in walk_tree(str(folder), ignore)]


def test_every_file_is_found_once_hidden_ones_included(folder):
    fill(folder, "b", "a/2", "a/1", ".hidden", "a/.h/x", "a-b", "empty/../c")
    assert sorted(walked(folder)) == [".hidden", "a-b", "a/.h/x", "a/1", "a/2", "b", "c"]


def test_an_empty_folder_has_no_files(folder):
    (folder / "nothing").mkdir()
    assert walked(folder) == []


def test_symbolic_links_are_followed(folder, tmp_path):
    fill(tmp_path, "outside/x", "single")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "twin").symlink_to(tmp_path / "outside")
    (folder / "file").symlink_to(tmp_path / "single")
    (tmp_path / "root").symlink_to(folder)
    assert walked(tmp_path / "root") == ["file", "link/x", "twin/x"]


@pytest.mark.parametrize("target", [".", "..", "../sub"])
def test_a_link_into_a_folder_that_it_lies_in_is_named(folder, target):
    fill(folder, "sub/a")
    (folder / "sub" / "loop").symlink_to(target)
    with pytest.raises(InvalidInput, match=r"loop.*ignore"):
        walked(folder)
    assert walked(folder, ["loop"]) == ["sub/a"]


def test_two_links_into_each_other_are_named(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(InvalidInput, match=r"/a is a symbolic link that leads nowhere"):
        walked(folder)
    assert walked(folder, ["a", "b"]) == []


def test_a_dangling_link_is_named_and_can_be_ignored(folder):
    (folder / "dangling").symlink_to("nowhere")
    with pytest.raises(InvalidInput, match=r"dangling is a symbolic link to nothing.*ignore"):
        walked(folder)
    assert walked(folder, ["dangling"]) == []


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_neither_file_nor_folder_is_named_and_can_be_ignored(folder, special, kind):
    fill(folder, "a")
    special(kind, folder / "odd")
    with pytest.raises(InvalidInput, match=r"odd is neither a file nor a folder.*ignore"):
        walked(folder)
    assert walked(folder, ["odd"]) == ["a"]


@pytest.mark.parametrize("path", [b"caf\xe9.txt", b"caf\xe9/inside.txt", b"sub/\xff\xfe"])
def test_a_name_that_is_not_utf8_is_shown_escaped_and_can_be_ignored(folder, path):
    whole = os.fsencode(folder) + b"/" + path
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "wb"):
        pass
    fill(folder, "good")
    with pytest.raises(InvalidInput) as caught:
        walked(folder)
    message = str(caught.value)
    message.encode()
    assert "\\xe9" in message or "\\xff\\xfe" in message
    assert "ignore=" in message
    assert walked(folder, ["caf?*", "sub/*"]) == ["good"]
    (folder / ".artignore").write_bytes(path.split(b"/")[0] + b"\n.artignore\n")
    assert walked(folder) == ["good"]


def test_ignore_takes_patterns_as_git_does(folder):
    fill(folder, "a.tmp", "keep.tmp", "sub/b.tmp", "cache/x", "sub/cache/y", "top/z", "sub/top/z", "data.bin")
    patterns = ["*.tmp", "!keep.tmp", "cache/", "/top", "# a comment", ""]
    assert walked(folder, patterns) == ["data.bin", "keep.tmp", "sub/top/z"]


def test_artignore_in_the_folder_is_honoured_and_is_itself_a_file(folder):
    fill(folder, "a.tmp", "b", "sub/.artignore", "sub/c")
    (folder / ".artignore").write_text("*.tmp\r\n")
    (folder / "sub" / ".artignore").write_text("c\n")  # only the one at the root counts
    assert walked(folder) == [".artignore", "b", "sub/.artignore", "sub/c"]
    assert walked(folder, ["b"]) == [".artignore", "sub/.artignore", "sub/c"]


@pytest.mark.parametrize("kind", ["fifo", "folder", "dangling"])
def test_an_artignore_that_is_no_file_does_not_hang(folder, kind):
    path = folder / ".artignore"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    fill(folder, "a")
    assert walked(folder, [".artignore"]) == ["a"]


def test_a_pattern_that_means_nothing_is_refused(folder):
    with pytest.raises(InvalidInput, match="pattern"):
        walked(folder, ["!"])


def test_a_single_pattern_may_be_text(folder):
    fill(folder, "a", "b")
    draft = lineart.Artifact("x")
    draft.add_dir(folder, ignore="a")
    assert [path for path, _ in draft.take_draft().ordered()] == ["b"]


def test_git_and_configuration_folders_are_left_out_at_any_depth(folder):
    fill(folder, ".git/config", "sub/.git/config", ".lineart/config.toml", "module/.gitignore", "module/a")
    (folder / "module" / ".git").write_text("gitdir: elsewhere")  # of a worktree
    assert walked(folder) == ["module/.gitignore", "module/a"]


def test_stores_are_left_out_wherever_they_are(folder):
    lineart.create(folder / "deep" / "store").close()
    fill(folder, "a", "deep/b")
    assert walked(folder) == ["a", "deep/b"]
    with pytest.raises(InvalidInput, match="is a store"):
        walked(folder / "deep" / "store")


def test_a_file_that_is_merely_called_as_a_stores_marker_is_somebodys_data(folder):
    fill(folder, "sub/lineart.json", "sub/a", "lineart.json")
    assert walked(folder) == ["lineart.json", "sub/a", "sub/lineart.json"]


def test_downloads_are_left_out_wherever_they_are(folder, new_store, make):
    store = new_store()
    store.downloads = folder / "artifacts"
    store.log(make())
    got = store.artifact("data").download()
    fill(folder, "a")
    assert walked(folder) == ["a"]
    assert walked(got) == ["a.txt"]  # whoever names it means it
    assert walked(got.parent) == ["data-v0/a.txt"]


def test_a_checkouts_mark_is_no_data(folder, store, log):
    log()
    store.artifact("data").checkout(folder / "out")
    assert walked(folder / "out") == ["a.txt"]
    assert walked(folder) == ["out/a.txt"]


def test_what_vanishes_while_it_is_walked_is_named(folder):
    fill(folder, "a", "sub/b")
    found = walk_tree(str(folder))
    assert next(found)[0] == "a"
    shutil.rmtree(folder / "sub")
    with pytest.raises(SourceChanged, match="sub vanished"):
        next(found)


def test_a_folder_that_became_a_file_while_it_is_walked_is_named(folder):
    fill(folder, "a", "sub/b")
    found = walk_tree(str(folder))
    next(found)
    shutil.rmtree(folder / "sub")
    fill(folder, "sub")
    with pytest.raises(SourceChanged, match="sub vanished"):
        next(found)


def test_absent_roots_are_not_found(tmp_path):
    with pytest.raises(NotFound):
        walked(tmp_path / "nothing")


def test_the_walk_is_in_the_order_of_names_whatever_the_disk_says(folder):
    names = [f"{number % 7}/{number:03d}" for number in range(40)]
    fill(folder, *reversed(names))
    found = walked(folder)
    assert found == sorted(found)


def test_a_folder_of_very_many_files_is_walked_in_portions(folder):
    """What marks a folder as none of the data is seen all the same, wherever the disk lists it."""
    names = [f"!{number:02d}" for number in range(40)]  # before a dot, where a disk lists by name
    fill(folder, *names, *(f"sub/{name}" for name in names))
    for number in range(12):
        mark = f"downloads{number}/.lineart-downloads"
        inside = [f"downloads{number}/{name}" for name in names]
        fill(folder, *([mark, *inside] if number % 2 else [*inside, mark]))
    lineart.create(folder / "store").close()
    found = [path for path, _ in walk_tree(str(folder), many=3)]
    assert sorted(found) == walked(folder) == [*names, *(f"sub/{name}" for name in names)]


def test_deep_trees_need_no_recursion(folder):
    here = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(600):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("leaf", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    assert [len(path) for path in walked(folder)] == [2 * 600 + 4]


def test_what_a_killed_download_left_is_no_data(folder):
    (folder / "deep").mkdir()
    left = (".lineart-0123456789abcdef-0", "deep/.lineart-0123456789abcdef-1f", ".lineart-unfinished")
    for name in (*left, ".lineart-notes", "deep/kept"):
        (folder / name).write_bytes(b"1")
    (folder / "deep" / ".x.lineart-4f80157d").mkdir()
    (folder / "deep" / ".x.lineart-4f80157d" / "half").write_bytes(b"1")
    (folder / "deep" / ".x.lineart-lock").touch()
    (folder / ".x.lineart-notes").touch()
    assert {".lineart-notes", ".x.lineart-notes", "deep/kept"} == set(walked(folder))


def test_what_is_only_named_like_that_is_data(folder):
    fill(folder, ".x.lineart-lock/b", ".y.lineart-00c0ffee/c", "deep/.z.lineart-00c0ffee", "deep/.z.lineart-lock")
    found = {".x.lineart-lock/b", ".y.lineart-00c0ffee/c", "deep/.z.lineart-00c0ffee"}
    assert set(walked(folder)) == found
