"""The right to change a folder, held by one process of this machine at a time.

Knows locks on files and the disks that have none; must not know what is done in the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..storage.errors import Conflict
from .place import aside_of, beside
from .refusal import refusal
from .unfinished import Record, machine, remove_aside

__all__ = ["Claim", "hold", "locked"]

_RECORD = 1024  # bytes: more than any record without folders has
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some filesystems of clusters


class Claim:
    """The right to change one folder; its lock file says what its holder builds, for the next one if it is killed."""

    def __init__(self, root: Path, path: Path | None, number: int, *, is_sure: bool) -> None:
        self._path = path  # of the lock file, unless the folder is its own lock
        self._number = number
        is_left = path is not None and os.fstat(number).st_size > 0  # by one who could not remove it any more
        record = Record.parse(os.pread(number, _RECORD, 0)) if is_left else None
        if record is not None and not remove_aside(aside_of(root, record.mark), record, is_sure=is_sure):
            self._path = None  # it stays, until what it tells of is gone

    def note(self, mark: str) -> None:
        """Say that the folder is being built aside, under a name with a mark."""
        if self._path is not None:
            with suppress(OSError):  # as good as without, but nobody clears up
                os.ftruncate(self._number, 0)
                os.pwrite(self._number, Record(mark, machine(), []).pack(), 0)

    def release(self) -> None:
        """Let others have it; once."""
        if self._path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(self._number)


def hold(number: int, how: int) -> bool:
    """Lock an open file, as `flock` does; False where its disk has no locks.

    Without them, two downloads at once do the work twice, and each file is still whole.
    """
    try:
        fcntl.flock(number, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


@contextmanager
def locked(root: Path) -> Iterator[Claim]:
    """Hold the right to change one folder; another process on this machine that has it is waited for."""
    try:
        claim = _acquire(root)
    except OSError as error:
        raise refusal(root, error) from error
    try:
        yield claim
    finally:
        claim.release()


def _require_lock(number: int, path: Path, root: Path) -> None:
    """Raise Conflict for what is somebody's own where a lock file is to be: it would be written over, and removed."""
    found = os.fstat(number)
    if stat.S_ISREG(found.st_mode) and found.st_nlink < 2:
        head = os.pread(number, _RECORD, 0) if found.st_size else b""
        if not head.strip(b"\0") or Record.parse(head) is not None:  # zeros are what a crash of the machine may leave
            return
    raise Conflict(f"{path} is no lock file, and the lock of {root} is to be there; move it away")


def _acquire(root: Path) -> Claim:
    """Lock the lock file of a folder, or the folder itself."""
    whole = root if root.name not in {"", ".."} else root.absolute()  # the folders above may be closed to us
    whole.parent.mkdir(parents=True, exist_ok=True)
    path = beside(whole, "lock")
    while True:
        is_own = False
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Conflict(
                    f"{path} is a symbolic link where the lock of {root} is to be; remove the link"
                ) from None
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS} or not root.is_dir():
                raise
            is_own = True  # a folder that is ours in one that is not, such as a mounted volume: it is its own lock
            number = os.open(whole, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not is_own:
                _require_lock(number, path, root)
            is_sure = hold(number, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                # Else its last holder has removed it meanwhile.
                if os.stat(whole if is_own else path).st_ino == os.fstat(number).st_ino:
                    return Claim(whole, None if is_own else path, number, is_sure=is_sure)
        except BaseException:
            os.close(number)
            raise
        os.close(number)
