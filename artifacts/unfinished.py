"""What downloads that were killed have left: named by the record that each keeps while it works, removed by the next.

Knows records, the locks on them, and names of temporary files; must not know what is downloaded. A record says whose
temporary files are where. Its writer holds a lock on it, which ends with the process: who gets the lock knows that the
writer is gone. Where a lock may be one machine's only, what is left is a day old before it goes. See design note 0017.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from ..storage.errors import LineartError
from ..storage.mounts import network_filesystem
from .entry import check_path
from .folders import Folders

__all__ = ["SIGN", "Record", "Sign", "machine", "remove_aside", "sweep"]

SIGN = ".lineart-unfinished"  # the record in a folder that files are put into
DAY = 86_400  # seconds that nothing happened to what nobody can be known to have left
_LARGEST = 1 << 26  # bytes of a record that is read
_HEAD = re.compile(rb"([0-9a-f]{16}) ([!-~]{1,255})\n")
_LOOK = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Record(NamedTuple):
    """What a download says of itself: a mark that its temporary names bear, where it runs, the folders it writes into.

    >>> record = Record("0123456789abcdef", "here", ["", "deep/er"])
    >>> Record.parse(record.pack()) == record
    True
    """

    mark: str
    machine: str
    folders: list[str]

    def pack(self) -> bytes:
        """Return its bytes; folders may be added behind them, each with a zero byte at its end."""
        return f"{self.mark} {self.machine}\n".encode() + b"".join(map(_packed, self.folders))

    @classmethod
    def parse(cls, data: bytes) -> Record | None:
        """Read one; None for what is none."""
        head = _HEAD.match(data)
        if head is None or b"\0\0\0" in data:  # the root is named once at most
            return None
        folders = [os.fsdecode(one) for one in data[head.end() :].split(b"\0")[:-1]]
        return cls(head[1].decode(), head[2].decode(), folders)


def _packed(folder: str) -> bytes:
    return os.fsencode(folder) + b"\0"


class Sign:
    """The record that a download keeps in the folder that it puts files into. Safe from many threads.

    Without it everything goes on as it would, but nobody clears up after a download that is killed: so what the disk
    refuses is no error here.
    """

    def __init__(self, mark: str, folders: Folders) -> None:
        self._mark = mark
        self._folders = folders
        self._lock = Lock()
        self._noted: set[str] = set()
        self._number: int | None = None  # of the open record; -1 where there can be none

    def note(self, folder: str) -> None:
        """Say that temporary files will be in a folder, before there is one."""
        if folder in self._noted:
            return
        with self._lock, suppress(OSError):
            if self._number is None:
                self._number = self._begin()
            self._noted.add(folder)
            if self._number >= 0:
                os.write(self._number, _packed(folder))

    def close(self) -> None:
        """Take the record away; once, when no temporary file is left."""
        if self._number is None or self._number < 0:
            return
        with suppress(OSError):
            _unlink_same(self._folders, self._number)
        os.close(self._number)

    def _begin(self) -> int:
        try:
            with self._folders.hold("", make=False) as root:
                number = os.open(SIGN, _MAKE, 0o666, dir_fd=root)
        except OSError:  # another download's, for one: of two at once in one folder only the first has a record
            return -1
        with suppress(OSError):  # a disk without locks
            fcntl.flock(number, fcntl.LOCK_EX)
        with suppress(OSError):  # a full one
            os.write(number, Record(self._mark, machine(), []).pack())
        return number


def sweep(base: str) -> None:
    """Remove what a download that was killed has left in a folder; one look, where none was."""
    try:
        number = os.open(f"{base}/{SIGN}", _LOOK)
    except OSError:
        return
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return
        is_sure = _locked(number)
        record = _read(number)
        if is_sure is None or record is None:
            return
        least = 0 if not record.mark or _is_gone(record, base, is_sure=is_sure) else DAY
        folders = Folders(base, base)
        try:
            if _remove(record, folders, least):
                _unlink_same(folders, number)
        finally:
            folders.close()
    except OSError:  # it is not worth a download
        return
    finally:
        os.close(number)


def remove_aside(aside: Path, record: Record, *, is_sure: bool) -> bool:
    """Remove the folder that a killed download was building beside its place; False where it may be still at it."""
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(aside).st_mode):
            least = 0 if _is_gone(record, os.fspath(aside), is_sure=is_sure) else DAY
            if least and any(_is_younger(found, least) for found in _below(aside)):
                return False
            shutil.rmtree(aside, ignore_errors=True)
    return True


@cache
def machine() -> str:
    """Return a word that tells this machine, since it was started, from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    except OSError:  # not Linux
        return os.uname().nodename


def _is_gone(record: Record, folder: str, *, is_sure: bool) -> bool:
    """Whether the lock that was got says that its last holder is gone, on whatever machine that was."""
    if not is_sure or record.machine == machine():
        return is_sure
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return network_filesystem(os.path.realpath(folder), mounts) is None


def _locked(number: int) -> bool | None:
    """Lock an open file: whether that says that nobody else holds it; None where somebody does."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _read(number: int) -> Record | None:
    """Read a record; one without a mark where a download was killed before it could write it."""
    size = os.fstat(number).st_size
    return Record.parse(os.pread(number, min(size, _LARGEST), 0)) if size else Record("", "", [])


def _remove(record: Record, folders: Folders, least: int) -> bool:
    """Remove a download's temporary files that are so many seconds old; whether none is left."""
    name = re.compile(rf"\.lineart-{record.mark}-[0-9a-f]+")
    done = True
    for folder in record.folders:
        with suppress(OSError, LineartError):  # gone, or not a folder any more
            if folder:
                check_path(folder)
            with folders.hold(folder, make=False) as where:
                for one in _named(where, name):
                    if least and _is_younger(os.lstat(one, dir_fd=where), least):
                        done = False
                    else:
                        os.unlink(one, dir_fd=where)
    return done


def _named(where: int, name: re.Pattern[str]) -> list[str]:
    """Return the files and links in a folder that are named so."""
    number = os.open(".", _LIST, dir_fd=where)
    try:
        with os.scandir(number) as listed:
            return [
                one.name
                for one in listed
                if name.fullmatch(one.name) and (one.is_symlink() or one.is_file(follow_symlinks=False))
            ]
    finally:
        os.close(number)


def _below(folder: Path) -> Iterator[os.stat_result]:
    for here, _, files in os.walk(folder):
        yield os.lstat(here)
        for name in files:
            yield os.lstat(f"{here}/{name}")


def _is_younger(found: os.stat_result, seconds: int) -> bool:
    return found.st_ctime > time.time() - seconds


def _unlink_same(folders: Folders, number: int) -> None:
    """Remove the sign, if it still is the file that is open."""
    with folders.hold("", make=False) as root:
        found, own = os.lstat(SIGN, dir_fd=root), os.fstat(number)
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            os.unlink(SIGN, dir_fd=root)
