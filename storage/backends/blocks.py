"""Blocks of objects as files of a folder on this machine: bounded, shared by processes, verified as they are read.

Knows files; must not know where the objects are, or what is in them. Nothing here is needed: whatever is wrong with a
file makes it a miss, and whatever is wrong with the disk makes the folder be left alone. Hence nothing is synchronised.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from .. import forking
from .base import TEMPORARY
from .disk import Disk

__all__ = ["BLOCK", "BLOCKS", "Block", "BlockFolder", "Usage"]

BLOCK = 1 << 20  # bytes of an object that are kept together
BLOCKS = "blocks"  # the folder for them, within the one for what can be had again
log = logging.getLogger("lineart")

_HEAD = struct.Struct("<8s32sIIQB7x")  # magic, digest of the key, bytes of a block, bytes of this one, its number, last
_MAGIC = b"LABLOCK1"
_LAST = 56  # where the head says that nothing of the object comes behind
_DATA = _HEAD.size + 32  # where the content begins, behind the BLAKE3 of head and content
_STEP = 256 << 20  # bytes that a process writes at most before it looks how much is there
_RECENT = 3600.0  # seconds in which a block counts as used just now
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # what is no file must neither be followed nor wait
_NO_FILE = {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENODEV}
_OUTER, _INNER = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(rf"[0-9]+|{re.escape(TEMPORARY)}.+")


class Block(NamedTuple):
    """The bytes of a block, or the first of them; with `last`, the object ends behind them."""

    data: memoryview
    last: bool


class Usage(NamedTuple):
    """What is kept: bytes, of how many objects, in how many blocks."""

    size: int
    objects: int
    blocks: int


class _File(NamedTuple):
    """A file of the folder; they sort by when they were last used."""

    used: float  # seconds since the epoch
    size: int
    path: str


class PrivateDisk(Disk):
    """A disk on which only the user may look at what is made."""

    def create(self, path: str) -> int:
        """Create a file that must not exist and return a descriptor for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def make_folder(self, path: str) -> None:
        """Make a folder; FileExistsError if there is something of that name."""
        os.mkdir(path, 0o700)

    def touch(self, descriptor: int) -> None:
        """Say that a file was used just now."""
        os.utime(descriptor)


class BlockFolder:
    """At most `size` bytes of blocks below `path`, which is made by the first write; those used last stay.

    Safe from many threads and processes; each process may be a sixteenth of `size` (at most 256 MiB) over it for a
    moment. `block` is the bytes of a whole block. No method but `usage` and `prune` ever raises OSError: the first one
    is logged, and from then on `usable` is false, nothing is found and nothing kept. A size below two blocks is none.
    """

    def __init__(self, path: Path, size: int, *, block: int = BLOCK, disk: PrivateDisk | None = None) -> None:
        self.path = os.path.abspath(path)
        self.size = size
        self.block = block
        self.usable = size >= 2 * (block + _DATA)
        self._disk = PrivateDisk() if disk is None else disk
        self._step = min(max(size // 16, block + _DATA), _STEP)
        self._left = 0  # bytes that may be written before the next look at how much is there
        self._lock = threading.Lock()
        forking.watch(self)

    def after_fork(self) -> None:
        """Take a new lock in a child process: the parent's may be held by a thread that is not there."""
        self._lock = threading.Lock()

    def load(self, key: str, number: int) -> Block | None:
        """Return a block of an object, or None; what proves not to be one is removed."""
        if not self.usable:
            return None
        path = self._path(key, number)
        try:
            raw = _read(path, _DATA, _DATA + self.block, self._disk)
            block = None if raw is None else self._parse(raw, key, number)
            if block is None:
                _remove(path)
            return block
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up(error)
            return None

    def store(self, key: str, number: int, data: bytes | memoryview, *, last: bool) -> None:
        """Keep a block of an object, if possible."""
        if not self.usable:
            return
        head = self._head(key, number, len(data), last=last)
        try:
            self._make_room(_DATA + len(data))
            self._write(self._path(key, number), [head, blake3(head).update(data).digest(), data])
        except FileNotFoundError:
            return  # somebody empties the folder at this moment: one block fewer
        except OSError as error:
            self._give_up(error)

    def drop(self, key: str) -> None:
        """Forget every block of an object."""
        folder = self._folder(key)
        try:
            with os.scandir(folder) as entries:
                found = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
            for path in found:
                _remove(path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._give_up(error)

    def usage(self) -> Usage:
        """Count what is there; raises OSError."""
        return _sum(list(self._files()))

    def prune(self, to: int) -> Usage:
        """Remove blocks, those used longest ago first, until at most `to` bytes are left; return what was removed.

        Waits for another process that is at it. Raises OSError.
        """
        if not os.path.lexists(self.path):
            return Usage(0, 0, 0)
        with self._alone(fcntl.LOCK_EX):
            return _evict(list(self._files()), to)

    def _folder(self, key: str) -> str:
        name = blake3(key.encode()).hexdigest(16)
        return f"{self.path}/{name[:2]}/{name}"  # of a digest, so that no key leads anywhere

    def _path(self, key: str, number: int) -> str:
        return f"{self._folder(key)}/{number}"

    def _head(self, key: str, number: int, length: int, *, last: bool) -> bytes:
        return _HEAD.pack(_MAGIC, blake3(key.encode()).digest(), self.block, length, number, last)

    def _parse(self, raw: bytes, key: str, number: int) -> Block | None:
        """Return the block that a file should hold; None where it holds anything else."""
        last = raw[_LAST] == 1
        data = memoryview(raw)[_DATA:]
        head = self._head(key, number, len(data), last=last)
        if raw[: len(head)] != head or raw[len(head) : _DATA] != blake3(head).update(data).digest():
            return None
        return Block(data, last)

    def _write(self, path: str, parts: Sequence[bytes | memoryview]) -> None:
        folder = os.path.dirname(path)
        temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
        try:
            descriptor = self._disk.create(temporary)
        except FileNotFoundError:  # the first block of its object
            self._make_folder(folder)
            descriptor = self._disk.create(temporary)
        try:
            try:
                self._disk.write(descriptor, parts)
            finally:
                self._disk.close(descriptor)
            self._disk.rename(temporary, path)
        except BaseException:
            with suppress(OSError):  # what hindered the write is the error to tell of
                self._disk.remove(temporary)
            raise

    def _make_folder(self, folder: str) -> None:
        with suppress(FileExistsError):  # another was first; what is no folder fails where it is used
            try:
                self._disk.make_folder(folder)
            except FileNotFoundError:
                self._make_folder(os.path.dirname(folder))
                self._disk.make_folder(folder)

    def _make_room(self, length: int) -> None:
        """Before the first write, and after each step: see to it that this and another step of writes will fit."""
        with self._lock:
            self._left -= length
            if self._left >= 0:
                return
            self._left = self._step - length
        self._make_folder(self.path)
        with suppress(BlockingIOError), self._alone(fcntl.LOCK_EX | fcntl.LOCK_NB):  # one process at a time is enough
            files = list(self._files())
            if _sum(files).size + self._step > self.size:
                _evict(files, min(self.size * 9 // 10, self.size - self._step))

    @contextmanager
    def _alone(self, how: int) -> Iterator[None]:
        """Hold the lock for removing blocks; reading and writing need none."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(f"{self.path}/lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, how)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile has the file open, too
        finally:
            os.close(descriptor)

    def _files(self) -> Iterator[_File]:
        """Yield what is named as blocks are, and is where blocks are; nothing else in the folder is ever touched."""
        for outer in _below(self.path, _OUTER, folders=True):
            for inner in _below(outer.path, _INNER, folders=True):
                for entry in _below(inner.path, _NAME, folders=False):
                    with suppress(FileNotFoundError):  # another process removes, too
                        found = entry.stat(follow_symlinks=False)
                        yield _File(found.st_mtime, found.st_size, entry.path)

    def _give_up(self, error: OSError) -> None:
        with self._lock:
            first, self.usable = self.usable, False
        if first:
            log.warning("the cache in %s cannot be used, and is left alone from here on: %s", self.path, error)


def _read(path: str, least: int, most: int, disk: PrivateDisk) -> bytes | None:
    """Return the bytes of a file, and note that it was used; None for what is no file, or none of such a size."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not least <= found.st_size <= most:
            return None
        if abs(time.time() - found.st_mtime) > _RECENT:
            with suppress(OSError):  # a folder that can only be read serves all the same
                disk.touch(descriptor)
        raw = os.read(descriptor, most)
        return raw if len(raw) >= least else None
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    """Remove whatever has a name, but for a folder with something in it; it may be gone already."""
    with suppress(FileNotFoundError):
        remove: Callable[[str], None] = os.rmdir if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink
        remove(path)


def _below(folder: str, name: re.Pattern[str], *, folders: bool) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [one for one in entries if name.fullmatch(one.name)]
    except FileNotFoundError:
        return
    for one in found:
        if one.is_dir(follow_symlinks=False) == folders:
            yield one


def _evict(files: Sequence[_File], to: int) -> Usage:
    """Remove the files used longest ago until at most `to` bytes are left; return what was removed."""
    left = sum(one.size for one in files)
    removed: list[_File] = []
    for one in sorted(files):
        if left <= to:
            break
        _remove(one.path)
        left -= one.size
        removed.append(one)
    for folder in {os.path.dirname(one.path) for one in removed}:
        with suppress(OSError):  # there are blocks in it still, or again
            os.rmdir(folder)
    return _sum(removed)


def _sum(files: Sequence[_File]) -> Usage:
    return Usage(sum(one.size for one in files), len({os.path.dirname(one.path) for one in files}), len(files))
