"""Objects as files below a folder of a local disk.

Knows how to make a file durable; must not know what is in it. The order of writing is normative (docs/format.md,
"Writing a version"): a temporary file in the target folder, written and synchronised, then renamed or linked, then the
folder synchronised and every parent that is new.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import InvalidName, LineartError, NotFound, StoreUnavailable
from .base import TEMPORARY, Backend, ObjectInfo, check_key, check_prefix, check_slice, is_unfinished
from .disk import Disk

__all__ = ["LocalBackend"]

T = TypeVar("T")
_TRIES = 3  # of a write whose file or folder could not be synchronised, or whose folder was removed meanwhile
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space and try again",
    errno.EDQUOT: "the disk quota is used up: free some space and try again",
    errno.EROFS: "it is on a read-only file system",
    errno.EACCES: "permission denied: check who owns the folder and its mode",
    errno.EPERM: "the operation is not permitted here",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many open files in this process: raise the limit (ulimit -n)",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class _NotDurableError(Exception):
    """A synchronisation failed: what it covered must be written anew, for the system may have dropped it."""


class LocalBackend(Backend):
    """A folder, made with its parents by the first write.

    Use one for a folder that only this machine writes. `disk` makes the system calls that durability depends on.

    >>> import tempfile
    >>> backend = LocalBackend(Path(tempfile.mkdtemp()))
    >>> backend.put_new("lineart.json", b"{}"), backend.put_new("lineart.json", b"{}")
    (True, False)
    """

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self._root = os.path.abspath(root)
        self.url = self._root
        self._disk = Disk() if disk is None else disk
        self._durable: set[str] = set()  # folders whose own names are known to be durable

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of a file by one open and, nearly always, one read."""
        path = self._path(key)
        check_slice(start, length)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                rest = os.fstat(descriptor).st_size - start
                wanted = max(0, rest if length is None else min(length, rest))
                return _read(descriptor, start, wanted)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._translate(error, "read", key) from error

    def size(self, key: str) -> int:
        """Return the file's size in bytes."""
        path = self._path(key)
        try:
            status = os.stat(path)
        except OSError as error:
            raise self._translate(error, "read", key) from error
        if not os.path.isfile(path):
            raise NotFound(f"no object {key} in {self.url}")
        return status.st_size

    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write a file durably, in place of what was there."""
        target = self._path(key)

        def place(temporary: str) -> bool:
            self._disk.rename(temporary, target)
            return False

        self._insist(lambda: self._write(target, parts, place), "write", key)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write a file durably unless there is one; a link decides who was first."""
        target = self._path(key)
        ours = False

        def place(temporary: str) -> bool:
            nonlocal ours
            if ours:  # linked by the last try, whose folder could not be synchronised
                self._disk.rename(temporary, target)
                return False
            self._disk.link(temporary, target)
            ours = True
            return True

        def attempt() -> bool:
            if not ours and os.path.lexists(target):
                self._sync_folder(os.path.dirname(target))  # its writer may not have come to that yet
                return False
            try:
                self._write(target, [data], place)
            except FileExistsError:
                self._sync_folder(os.path.dirname(target))
                return False
            return True

        return self._insist(attempt, "write", key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield files folder by folder, holding no more than one path of folders in memory."""
        check_prefix(prefix)
        return self._walk(os.path.join(self._root, prefix), prefix)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files. It is not made durable: a crash may bring a file back, whole."""
        for key in keys:
            path = self._path(key)
            try:
                self._disk.remove(path)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise self._translate(error, "delete", key) from error

    def unfinished(self) -> Iterator[str]:
        """Yield every temporary file, by its path below the root."""
        for folder, _, files in os.walk(self._root):
            for name in files:
                if is_unfinished(name):
                    yield os.path.relpath(os.path.join(folder, name), self._root).replace(os.sep, "/")

    def discard(self, names: Sequence[str]) -> None:
        """Remove temporary files."""
        for name in names:
            folder, _, last = name.rpartition("/")
            if not is_unfinished(last):
                raise InvalidName(f"not an unfinished file: {name!r}")
            path = os.path.join(self._path(folder) if folder else self._root, last)
            try:
                self._disk.remove(path)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise self._translate(error, "delete", name) from error

    def _path(self, key: str) -> str:
        check_key(key)
        return os.path.join(self._root, key)

    def _insist(self, attempt: Callable[[], T], what: str, key: str) -> T:
        for tries_left in reversed(range(_TRIES)):
            try:
                return attempt()
            except _NotDurableError as error:
                if not tries_left:
                    cause = error.__cause__
                    raise self._translate(cause if isinstance(cause, OSError) else OSError(), what, key) from cause
            except FileNotFoundError as error:  # somebody removed the folder under us
                self._durable.clear()
                if not tries_left:
                    raise StoreUnavailable(f"cannot {what} {self._where(key)}: its folder keeps vanishing") from error
            except OSError as error:
                raise self._translate(error, what, key) from error
        raise AssertionError("unreachable")

    def _write(self, target: str, parts: Sequence[bytes | memoryview], place: Callable[[str], bool]) -> None:
        """Write beside the target, durably; `place` then names the file, and says whether the old name is left."""
        folder = os.path.dirname(target)
        self._make_folder(folder)
        temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")
        remains = True
        try:
            descriptor = self._disk.create(temporary)
            try:
                self._disk.write(descriptor, parts)
                try:
                    self._disk.sync(descriptor)
                except OSError as error:
                    raise _NotDurableError from error
            finally:
                self._disk.close(descriptor)
            remains = place(temporary)
        finally:
            if remains:
                self._forget(temporary)
        self._sync_folder(folder)

    def _forget(self, temporary: str) -> None:
        try:
            self._disk.remove(temporary)
        except OSError:
            return  # what hindered the write is the error to report; an unfinished file is never listed

    def _make_folder(self, folder: str) -> None:
        """Make a folder and its parents; the name of each is durable in its parent when this returns."""
        if folder in self._durable:
            return
        parent = os.path.dirname(folder)
        if folder == self._root:
            if os.path.isdir(folder):  # whoever made the store's folder made it last
                self._durable.add(folder)
                return
            if not os.path.isdir(parent):
                self._make_parents(parent)
        else:
            self._make_folder(parent)
        self._make_one(folder)
        self._durable.add(folder)

    def _make_parents(self, folder: str) -> None:
        parent = os.path.dirname(folder)
        if not os.path.isdir(parent):
            self._make_parents(parent)
        self._make_one(folder)

    def _make_one(self, folder: str) -> None:
        try:
            self._disk.make_folder(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
        # Also where another made it: they may not have come to that yet.
        self._sync_folder(os.path.dirname(folder))

    def _sync_folder(self, folder: str) -> None:
        try:
            self._disk.sync_folder(folder)
        except OSError as error:
            raise _NotDurableError from error

    def _walk(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(folder) as entries:
                found = [(f"{prefix}{e.name}/" if e.is_dir() else f"{prefix}{e.name}", e) for e in entries]
        except OSError as error:
            if error.errno in _ABSENT:
                return
            raise self._translate(error, "list", prefix) from error
        found.sort(key=lambda pair: pair[0])
        for name, entry in found:
            if entry.name.startswith(TEMPORARY):
                continue
            if name.endswith("/"):
                yield from self._walk(entry.path, name)
                continue
            try:
                size = entry.stat().st_size
            except FileNotFoundError:
                continue  # deleted since the folder was read
            yield ObjectInfo(name, size)

    def _where(self, key: str) -> str:
        return os.path.join(self._root, key)

    def _translate(self, error: OSError, what: str, key: str) -> LineartError:
        if what == "read" and error.errno in _ABSENT:
            return NotFound(f"no object {key} in {self.url}")
        advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        if error.errno in _NO_LINKS and error.filename2 is not None:
            advice = "this file system cannot make hard links, which a store needs to decide who wrote first"
        return StoreUnavailable(f"cannot {what} {self._where(key)}: {advice}")


def _read(descriptor: int, start: int, wanted: int) -> bytes:
    data = os.pread(descriptor, wanted, start)
    if len(data) == wanted:
        return data
    pieces = [data]  # the system's limit for one call, or a file that was cut short
    have = len(data)
    while have < wanted and pieces[-1]:
        pieces.append(os.pread(descriptor, wanted - have, start + have))
        have += len(pieces[-1])
    return b"".join(pieces)
