from __future__ import annotations

import os
import threading

import pytest

from lineart.artifacts.folders import Folders
from lineart.storage.errors import Conflict


@pytest.fixture
def folders(tmp_path):
    made = Folders(os.fspath(tmp_path), "out", limit=4)
    yield made
    made.close()


def count():
    return len(os.listdir("/dev/fd"))


def touch(folders, folder, name="x"):
    with folders.hold(folder, make=True) as where:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=where))


def test_descriptors_are_few_and_closed_in_the_end(tmp_path):
    before = count()
    folders = Folders(os.fspath(tmp_path), "out", limit=4)
    for number in range(100):
        touch(folders, f"{number % 7}/{number}")
        assert count() <= before + 1 + 4
    folders.close()
    assert count() == before
    assert len(list(tmp_path.glob("*/*/x"))) == 100


def test_a_folder_in_use_is_not_closed(folders, tmp_path):
    with folders.hold("used", make=True) as where:
        for number in range(20):
            touch(folders, f"other/{number}")
        os.close(os.open("x", os.O_WRONLY | os.O_CREAT, dir_fd=where))
    assert (tmp_path / "used" / "x").exists()


def test_a_path_deeper_than_the_limit_is_reached(folders, tmp_path):
    before = count()
    deep = "/".join("d" * 300)
    touch(folders, deep)
    assert count() <= before + 4
    assert (tmp_path / deep / "x").exists()


@pytest.mark.parametrize("make", [True, False])
def test_a_link_is_never_entered_however_late_it_comes(folders, tmp_path, make):
    outside = tmp_path / "outside"
    outside.mkdir()
    touch(folders, "a/b")
    for number in range(10):  # so that `a` is closed
        touch(folders, f"{number}")
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "a").symlink_to(outside)
    with pytest.raises(Conflict if make else NotADirectoryError):
        folders.hold("a/b", make=make)
    assert list(outside.iterdir()) == []
    with pytest.raises(Conflict, match="out/a was moved or replaced"):
        folders.require_unmoved()


def test_what_is_not_there_is_made_only_when_asked_for(folders, tmp_path):
    with pytest.raises(FileNotFoundError):
        folders.hold("a/b", make=False)
    assert list(tmp_path.iterdir()) == []
    touch(folders, "a/b")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        folders.hold("file/x", make=False)
    with pytest.raises(Conflict, match="out/file is a file where a folder is needed"):
        folders.hold("file/x", make=True)


def test_many_threads_share_the_folders(tmp_path):
    before = count()
    folders = Folders(os.fspath(tmp_path), "out", limit=4)
    failures = []

    def work(me):
        try:
            for number in range(200):
                touch(folders, f"{number % 11}/{number % 5}", f"{me}-{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 1200
    folders.require_unmoved()
    folders.close()
    assert count() == before
