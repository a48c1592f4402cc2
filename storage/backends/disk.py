"""The file-system calls that decide whether a write survives a crash, in one small object.

Knows the operating system; must not know keys. It is an object so that a simulated disk can stand in for it and lose
what was not synchronised. Paths are absolute; every method raises OSError.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence

__all__ = ["Disk"]

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves data in the drive's cache
_BATCH = 512  # buffers in one call, below every system's limit


class Disk:
    """The real thing."""

    def create(self, path: str) -> int:
        """Create a file that must not exist and return a descriptor for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
        """Write all the parts, end to end, without joining them; the interpreter's lock is released."""
        for start in range(0, len(parts), _BATCH):
            some = parts[start : start + _BATCH]
            left = sum(map(len, some)) - os.writev(descriptor, some)
            if left:  # a disk that is nearly full, a signal
                rest = memoryview(b"".join(some))[-left:]
                while rest:
                    rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Make the file's content durable."""
        if _FULL_SYNC is None:
            os.fsync(descriptor)
        else:
            fcntl.fcntl(descriptor, _FULL_SYNC)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, source: str, target: str) -> None:
        """Give the file another name, in place of what had that name."""
        os.replace(source, target)

    def link(self, source: str, target: str) -> None:
        """Give the file a second name; FileExistsError if that is taken."""
        os.link(source, target)

    def remove(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        """Make a folder; FileExistsError if there is something of that name."""
        os.mkdir(path)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)
