"""The right to change a folder, held by one process of this machine at a time.

Knows locks on files and the disks that have none; must not know what is done in the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..storage.errors import Conflict
from .place import beside
from .refusal import refusal

__all__ = ["hold", "locked"]

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some filesystems of clusters


def hold(number: int, how: int) -> None:
    """Lock an open file, as `flock` does, where its disk has locks.

    Without them, two downloads at once do the work twice, and each file is still whole.
    """
    try:
        fcntl.flock(number, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the right to change one folder; another process on this machine that has it is waited for."""
    try:
        path, number = _acquire(root)
    except OSError as error:
        raise refusal(root, error) from error
    try:
        yield
    finally:
        if path is not None:
            with suppress(FileNotFoundError):
                os.unlink(path)
        os.close(number)


def _acquire(root: Path) -> tuple[Path | None, int]:
    """Return the lock file, if there is one, and the descriptor that is locked."""
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
            hold(number, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                # Else its last holder has removed it meanwhile.
                if os.stat(whole if is_own else path).st_ino == os.fstat(number).st_ino:
                    return None if is_own else path, number
        except BaseException:
            os.close(number)
            raise
        os.close(number)
