"""Sources: where the bytes of one path will come from, or stay.

Knows files of this machine and content in memory, and what is to be said of bytes that are not read: those at other
places, and those that a store has. Must not know drafts or stores. Nothing is read before it is logged, but the
identity of every file is remembered, so that one that changes in between is found out. A writer through a memory map is
not: the kernel may leave all times of such a file as they are.
"""

from __future__ import annotations

import errno
import os
import stat

import msgspec
from blake3 import blake3

from ..storage.errors import InvalidInput, SourceChanged

__all__ = [
    "BytesSource",
    "ExternalSource",
    "FileSource",
    "Source",
    "StoredSource",
    "digest_of",
    "file_source",
    "have_same_content",
    "open_source",
    "require_same",
]

_EXECUTABLE = 0o100  # for its owner
_REPLACED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}  # ENXIO: a socket, or a device that is not there
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO put in a file's place must not hang


class FileSource(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A regular file as it was when it was added."""

    path: str
    size: int
    mtime: int  # nanoseconds
    changed_at: int  # nanoseconds: of its inode, which nobody can set back as the mtime can be; a new hard link sets it
    inode: int
    device: int
    executable: bool

    def __str__(self) -> str:
        """Return where it is."""
        return self.path

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


class BytesSource(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Content from memory."""

    data: bytes

    def __str__(self) -> str:
        """Say how much it is, and nothing of it."""
        return f"{self.size} bytes in memory"

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def executable(self) -> bool:
        """Content from memory never is."""
        return False


class ExternalSource(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """An object that stays where it is; `digest` is that of an external entry (docs/format.md, "External entries")."""

    url: str
    size: int
    digest: bytes
    etag: str | None
    version: str | None

    def __str__(self) -> str:
        """Return where it is."""
        return self.url

    @property
    def executable(self) -> bool:
        """Nobody knows that of an object."""
        return False


class StoredSource(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """A file of another version, whose content the same store has."""

    origin: str  # `project/name:v3/path`, for messages
    store: str  # its id
    size: int
    digest: bytes
    recipe: bytes | None
    executable: bool

    def __str__(self) -> str:
        """Return which file of which version it is."""
        return self.origin


Source = FileSource | BytesSource | ExternalSource | StoredSource


def file_source(path: str, found: os.stat_result) -> FileSource:
    """Describe a file; InvalidInput where it is not a regular one."""
    mode = found.st_mode
    if not stat.S_ISREG(mode):
        if stat.S_ISDIR(mode):
            raise InvalidInput(f"{path} is a folder; add it with add_dir")
        raise InvalidInput(f"{path} is neither a file nor a folder; leave it out with ignore= or .artignore")
    executable = mode & _EXECUTABLE != 0
    return FileSource(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, executable)


def open_source(source: FileSource, name: str = "", folder: int | None = None) -> int:
    """Open a file for reading, whatever is there now; SourceChanged where nothing can be read.

    By its path, or by its name in an open folder.
    """
    try:
        return os.open(name or source.path, _OPEN, dir_fd=folder)
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


def have_same_content(a: Source, b: Source) -> bool:
    """Whether two sources hold the same bytes; they are read only where nothing else tells."""
    if a == b:
        return True
    if isinstance(a, ExternalSource) or isinstance(b, ExternalSource):
        return False  # where bytes stay is part of what is kept
    try:
        return a.size == b.size and digest_of(a) == digest_of(b)
    except SourceChanged:
        return False  # what was added first is no longer there to be compared


def digest_of(source: Source) -> bytes:
    """Return the digest of a source's content; SourceChanged where it is not what was added."""
    if isinstance(source, BytesSource):
        return blake3(source.data).digest()
    if isinstance(source, (ExternalSource, StoredSource)):
        return source.digest
    hasher = blake3()
    number = open_source(source)
    try:
        require_same(source, number)
        while part := os.read(number, 1 << 22):  # never mapped: a file cut short under a map kills the process
            hasher.update(part)
        require_same(source, number)
    finally:
        os.close(number)
    return hasher.digest()
