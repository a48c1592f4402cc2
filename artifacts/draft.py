"""The draft: where the bytes of a version-to-be will come from.

Knows sources on this machine and the paths they will have; must not know stores. Nothing is read before it is logged,
but every file's identity is remembered, so that one that changes in between is found out. A writer through a memory
map is not: the kernel may leave all times of such a file as they are.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from ..storage.errors import Conflict, InvalidInput, InvalidName, NotFound, SourceChanged
from .entry import check_path, check_paths, shown

__all__ = ["BytesSource", "Draft", "FileSource", "Source", "file_source", "open_source", "require_same"]

_EXECUTABLE = 0o100  # for its owner
_REPLACED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}  # ENXIO: a socket, or a device that is not there
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO put in a file's place must not hang


class FileSource(NamedTuple):
    """A regular file as it was when it was added."""

    path: str
    size: int
    mtime: int  # nanoseconds
    changed_at: int  # nanoseconds: of its inode, which nobody can set back as the mtime can be; a new hard link sets it
    inode: int
    device: int
    executable: bool

    def matches(self, found: os.stat_result) -> bool:
        """Whether an opened file is still the one that was added, as far as its inode tells."""
        return (
            found.st_size == self.size
            and found.st_mtime_ns == self.mtime
            and (found.st_ctime_ns == self.changed_at or found.st_nlink == 0)  # its last name was just taken away
            and found.st_ino == self.inode
            and found.st_dev == self.device
            and stat.S_ISREG(found.st_mode)
        )

    def changed(self) -> SourceChanged:
        """Return the error that says it is not."""
        return SourceChanged(
            f"{self.path} changed since it was added; nothing was logged, add it again with overwrite=True"
        )


class BytesSource(NamedTuple):
    """Content from memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)


Source = FileSource | BytesSource


def file_source(path: str, found: os.stat_result) -> FileSource:
    """Describe a file; InvalidInput where it is not a regular one."""
    if stat.S_ISDIR(found.st_mode):
        raise InvalidInput(f"{path} is a folder; add it with add_dir")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{path} is neither a file nor a folder; leave it out with ignore= or .artignore")
    executable = bool(found.st_mode & _EXECUTABLE)
    return FileSource(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, executable)


def open_source(source: FileSource) -> int:
    """Open a file for reading, whatever is there now; SourceChanged where nothing can be read."""
    try:
        return os.open(source.path, _OPEN)
    except OSError as error:
        if error.errno in _REPLACED:
            raise source.changed() from None
        raise


def require_same(source: FileSource, number: int) -> None:
    """Raise SourceChanged where an open file is not the one that was added.

    What was read of it before is good: its identity was taken when it was added, and is the same still.
    """
    if not source.matches(os.fstat(number)):
        raise source.changed()


class Draft:
    """Paths and their sources, on top of a base version or of nothing.

    `sources` maps a path to its source; `removed` holds base paths (files or folders) that are gone. `holds` says of a
    base whether it has a path (a file or a folder). Safe from many threads.
    """

    def __init__(self, base: bytes | None = None, holds: Callable[[str], bool] | None = None) -> None:
        self.base = base  # digest of the root page that this draft changes
        self._holds = holds
        self._spooled = 0
        self.sources: dict[str, Source] = {}
        self.removed: set[str] = set()
        self._folders: set[str] = set()
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self._changing = threading.Lock()
        self._taken = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Close the draft while it is logged, and for good once it is; after an error it is open again.

        What was added meanwhile would be lost without a word. Raises Conflict where it is closed already.
        """
        with self._changing:
            self._require_open()
            self._taken = True
        try:
            yield
        except BaseException:
            self._taken = False
            raise

    def _require_open(self) -> None:
        if self._taken:
            raise Conflict("this draft is being logged, or was: it takes nothing more; start another with new_draft()")

    def add(self, path: str, source: Source, *, overwrite: bool = False) -> None:
        """Give a path its source.

        Raises InvalidName for a path outside the rules or one that would be both a file and a folder, and Conflict for
        one that is there with other content, unless `overwrite`, and while the draft is logged.
        """
        check_path(path)
        with self._changing:
            self._require_open()
            self._put(path, source, overwrite=overwrite)

    def add_all(self, found: Sequence[tuple[str, Source]], *, overwrite: bool = False) -> None:
        """Give many paths their sources, as `add` does; cheap where those of one folder follow one another."""
        check_paths([path for path, _ in found])
        with self._changing:
            self._require_open()
            settled = None  # a folder that is known to be one
            for path, source in found:
                folder = path.rpartition("/")[0]
                if folder == settled and path not in self.sources and path not in self._folders:
                    self.sources[path] = source
                else:
                    self._put(path, source, overwrite=overwrite)
                    settled = folder

    def _put(self, path: str, source: Source, *, overwrite: bool) -> None:
        known = self.sources.get(path)
        if known is not None:
            if not overwrite and not _same(known, source):
                both = f"from {_origin(known)} and now from {_origin(source)}"
                raise Conflict(f"{shown(path)} is in the draft with other content, {both}; overwrite=True replaces it")
            self.sources[path] = source
            return
        if path in self._folders:
            raise InvalidName(f"{shown(path)} is a folder of this draft already; it cannot be a file too")
        folder = path.rpartition("/")[0]
        while folder and folder not in self._folders:
            if folder in self.sources:
                raise InvalidName(
                    f"{shown(folder)} is a file of this draft already; it cannot be the folder of {shown(path)} too"
                )
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]
        self.sources[path] = source

    def remove(self, path: str) -> int:
        """Take a file or a folder out of the draft and return how many added paths went; the base's go at logging."""
        check_path(path)
        with self._changing:
            self._require_open()
            return self._remove(path)

    def _remove(self, path: str) -> int:
        below = path + "/"
        gone = [one for one in self.sources if one == path or one.startswith(below)]
        for one in gone:
            del self.sources[one]
        if gone:
            self._folders = set()  # a folder that only the removed paths had made is free to become a file
            for one in self.sources:
                self._keep_folders(one)
        if self._holds is not None and self._holds(path):
            self.removed.add(path)
        elif not gone:
            raise NotFound(f"{shown(path)} is not in the draft")
        return len(gone)

    def spool(self, name: str) -> Path:
        """Return a fresh place for the content of a path, which is written before it is logged; `close` removes it.

        Raises InvalidName for a path that could not be added: better than when all is written.
        """
        check_path(name)
        with self._changing:
            self._require_open()
            if self._spool is None:
                self._spool = tempfile.TemporaryDirectory(prefix="lineart-draft-", ignore_cleanup_errors=True)
            self._spooled += 1
        return Path(self._spool.name) / f"{self._spooled:08d}"

    def close(self) -> None:
        """Remove what was spooled; the draft is of no use then."""
        if self._spool is not None:
            self._spool.cleanup()

    def ordered(self) -> Iterator[tuple[str, Source]]:
        """Yield paths and sources in the order of a manifest: by the bytes of the path."""
        for path in sorted(self.sources):  # which is the order of the bytes of UTF-8, too
            yield path, self.sources[path]

    def _keep_folders(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        while folder and folder not in self._folders:
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]


def _origin(source: Source) -> str:
    if isinstance(source, FileSource):
        return source.path
    return f"{source.size} bytes in memory"


def _same(a: Source, b: Source) -> bool:
    if a == b:
        return True
    try:
        return a.size == b.size and _digest(a) == _digest(b)
    except SourceChanged:
        return False  # what was added first is no longer there to be compared


def _digest(source: Source) -> bytes:
    if isinstance(source, BytesSource):
        return blake3(source.data).digest()
    hasher = blake3()
    number = open_source(source)
    try:
        require_same(source, number)
        while part := os.read(number, 1 << 22):  # never mapped: a file cut short under a map kills the process
            hasher.update(part)
    finally:
        os.close(number)
    return hasher.digest()
