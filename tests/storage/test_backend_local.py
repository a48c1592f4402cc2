"""A folder on a local disk keeps the contract, survives bad disks, and says what is wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lineart.storage.backends import open_backend
from lineart.storage.backends.disk import Disk
from lineart.storage.backends.local import LocalBackend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.errors import InvalidInput, InvalidName, NotFound, StoreUnavailable


class BadDisk(Disk):
    """A disk whose calls of one kind raise an error number, from the n-th on, so many times."""

    def __init__(self, call: str, number: int, first: int = 1, times: int = 10**9) -> None:
        self.call, self.number, self.first, self.times, self.seen = call, number, first, times, 0
        self.calls: list[str] = []

    def _meet(self, call: str, *paths: str) -> None:
        self.calls.append(call)
        if call == self.call:
            self.seen += 1
            if self.first <= self.seen < self.first + self.times:
                raise OSError(
                    self.number, os.strerror(self.number), *(paths[:1]), *([None, paths[1]] if paths[1:] else [])
                )

    def create(self, path):
        self._meet("create", path)
        return super().create(path)

    def write(self, descriptor, parts):
        self._meet("write")
        super().write(descriptor, parts)

    def sync(self, descriptor):
        self._meet("sync")
        super().sync(descriptor)

    def rename(self, source, target):
        self._meet("rename", source, target)
        super().rename(source, target)

    def link(self, source, target):
        self._meet("link", source, target)
        super().link(source, target)

    def sync_folder(self, path):
        self._meet("sync_folder", path)
        Disk.sync_folder(Disk(), path)


def test_a_folder_keeps_the_contract(tmp_path, clause):
    clause(LocalBackend(tmp_path / "new" / "store"))


def leftovers(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names if name.startswith(".tmp-")]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "reports an error"),
    ],
)
@pytest.mark.parametrize("call", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_failing_disk_is_named_and_leaves_nothing_behind(tmp_path, number, says, call):
    backend = LocalBackend(tmp_path, BadDisk(call, number))
    with pytest.raises(StoreUnavailable, match=says) as caught:
        backend.put("packs/aa/1", [b"x"])
    assert str(tmp_path / "packs" / "aa" / "1") in str(caught.value)
    assert not caught.value.transient
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_the_old_object(tmp_path):
    LocalBackend(tmp_path).put("packs/aa/1", [b"old"])
    with pytest.raises(StoreUnavailable):
        LocalBackend(tmp_path, BadDisk("write", errno.ENOSPC)).put("packs/aa/1", [b"new"])
    assert LocalBackend(tmp_path).get("packs/aa/1") == b"old"


def test_after_a_failed_fsync_the_file_is_written_anew(tmp_path):
    disk = BadDisk("sync", errno.EIO, times=1)
    LocalBackend(tmp_path, disk).put("a", [b"x"])
    assert disk.calls == ["create", "write", "sync", "create", "write", "sync", "rename", "sync_folder"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("first", [1, 2, 3])
def test_after_a_failed_fsync_of_a_folder_the_file_is_written_anew(tmp_path, first):
    for operation in (lambda b: b.put("a/b", [b"x"]), lambda b: b.put_new("c/d", b"x")):
        disk = BadDisk("sync_folder", errno.EIO, first=first, times=1)
        backend = LocalBackend(tmp_path, disk)
        operation(backend)
        operation(backend)
        assert disk.calls[-1] == "sync_folder"
    assert backend.get("a/b") == backend.get("c/d") == b"x"
    assert leftovers(tmp_path) == []


def test_put_new_is_ours_even_if_the_folder_could_not_be_synchronised_at_first(tmp_path):
    (tmp_path / "a").mkdir()
    disk = BadDisk("sync_folder", errno.EIO, first=2, times=1)
    assert LocalBackend(tmp_path, disk).put_new("a/b", b"x")
    assert disk.seen == 3


def test_a_file_system_without_links_is_named(tmp_path):
    backend = LocalBackend(tmp_path, BadDisk("link", errno.EPERM))
    with pytest.raises(StoreUnavailable, match="hard links"):
        backend.put_new("lineart.json", b"{}")


def test_parents_are_made_durable_from_the_top(tmp_path):
    class Watched(Disk):
        def __init__(self):
            self.seen = []

        def make_folder(self, path):
            self.seen.append(f"make {Path(path).name}")
            super().make_folder(path)

        def sync_folder(self, path):
            self.seen.append(f"sync {Path(path).name}")
            super().sync_folder(path)

    disk = Watched()
    backend = LocalBackend(tmp_path / "up" / "root", disk)
    backend.put("packs/aa/1", [b"x"])
    above = tmp_path.name
    assert disk.seen == [
        "make up",
        f"sync {above}",
        "make root",
        "sync up",
        "make packs",
        "sync root",
        "make aa",
        "sync packs",
        "sync aa",
    ]
    disk.seen.clear()
    backend.put("packs/aa/2", [b"x"])
    assert disk.seen == ["sync aa"]


def test_a_folder_that_vanished_is_made_again(tmp_path):
    backend = LocalBackend(tmp_path)
    backend.put("packs/aa/1", [b"x"])
    (tmp_path / "packs" / "aa" / "1").unlink()
    (tmp_path / "packs" / "aa").rmdir()
    backend.put("packs/aa/1", [b"y"])
    assert backend.get("packs/aa/1") == b"y"


def test_unfinished_files_are_never_listed(tmp_path):
    backend = LocalBackend(tmp_path)
    backend.put("packs/aa/1", [b"x"])
    (tmp_path / "packs" / "aa" / ".tmp-1-2").write_bytes(b"half")
    assert [info.key for info in backend.list("")] == ["packs/aa/1"]


def test_a_file_in_a_folders_place_is_named(tmp_path):
    (tmp_path / "packs").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="is a file, not a folder"):
        LocalBackend(tmp_path).put("packs/aa/1", [b"x"])


def test_partial_writes_are_continued(tmp_path, monkeypatch):
    parts = [bytes([number % 256]) * (number % 11) for number in range(2000)]
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [memoryview(b"".join(buffers))[:777]]))
    backend = LocalBackend(tmp_path)
    backend.put("a", parts)
    assert backend.get("a") == b"".join(parts)


def test_a_large_read_is_put_together_from_what_the_system_gives(tmp_path, monkeypatch):
    backend = LocalBackend(tmp_path)
    data = bytes(range(256)) * 40
    backend.put("a", [data])
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 1000), at))
    assert backend.get("a") == data
    assert backend.get("a", 5, 5000) == data[5:5005]


def test_paths_and_file_urls_are_local(tmp_path):
    for url in (str(tmp_path), f"file://{tmp_path}", tmp_path.as_uri(), f"local://{tmp_path}"):
        backend = open_backend(url)
        assert isinstance(backend, LocalBackend)
        assert backend.url == str(tmp_path)
    spaced = tmp_path / "a b%c"
    assert open_backend(spaced.as_uri()).url == str(spaced)
    assert isinstance(open_backend("memory://x"), MemoryBackend)
    for url in ("", "file://", "file://elsewhere/path"):
        with pytest.raises(InvalidInput):
            open_backend(url)


def test_nothing_is_made_by_looking(tmp_path):
    backend = LocalBackend(tmp_path / "absent")
    assert list(backend.list("")) == []
    with pytest.raises(NotFound):
        backend.get("lineart.json")
    assert not (tmp_path / "absent").exists()


def test_unfinished_files_can_be_found_and_removed_and_nothing_else(tmp_path):
    backend = LocalBackend(tmp_path)
    backend.put("packs/aa/bb", [b"1"])
    (tmp_path / "packs" / "aa" / ".tmp-1-ab").write_bytes(b"half")
    (tmp_path / ".tmp-2-cd").write_bytes(b"half")
    assert sorted(backend.unfinished()) == [".tmp-2-cd", "packs/aa/.tmp-1-ab"]
    backend.discard([*backend.unfinished(), "packs/aa/.tmp-9-gone"])
    assert list(backend.unfinished()) == []
    for name in ("packs/aa/bb", "../.tmp-1", "packs/../../.tmp-1"):
        with pytest.raises(InvalidName):
            backend.discard([name])
    assert backend.get("packs/aa/bb") == b"1"
