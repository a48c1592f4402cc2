"""The files that may be replaced or removed, as they were when that was decided: each is looked at again just before.

Knows the states of files, and what is remembered of them; must not know why one may go. What a long download was free
to replace when it began may be somebody's work by the time it gets there.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .stat_cache import mistrust

if TYPE_CHECKING:
    from .remembered import Remembered

__all__ = ["Agreed", "has_own_name"]


class _State(NamedTuple):
    size: int
    mtime: int
    ctime: int | None  # None where what happens to another name of the file changes it
    inode: int


def has_own_name(found: os.stat_result) -> bool:
    """Whether nothing that happens to another name of a file can change its state: it is no link to a shared one."""
    return found.st_nlink == 1 and bool(found.st_mode & 0o222)


class Agreed:
    """What was decided of the files in a folder. Safe from many threads, once all is noted.

    A file that is as it is remembered needs no note: there may be very many.
    """

    def __init__(self, root: Path, remembered: Remembered | None) -> None:
        self._root = root
        self._remembered = remembered
        self._states: dict[str, _State] = {}
        self.left: list[str] = []  # files that were not as agreed, when it came to it

    def note(self, path: str, found: os.stat_result) -> None:
        """Agree to what becomes of a file, as it is."""
        is_own = has_own_name(found)
        if not is_own or not self._is_remembered(path, found):
            ctime = found.st_ctime_ns if is_own else None
            self._states[path] = _State(found.st_size, found.st_mtime_ns, ctime, found.st_ino)

    def allows(self, path: str, found: os.stat_result) -> bool:
        """Whether a file is still what was agreed upon; else it is one that is `left`."""
        state = self._states.get(path)
        if self._is_remembered(path, found) if state is None else self._is(state, found):
            return True
        self.left.append(path)
        return False

    def _is(self, state: _State, found: os.stat_result) -> bool:
        same = (state.size, state.mtime) == (found.st_size, found.st_mtime_ns)
        if not same or (state.ctime is not None and state.ctime != found.st_ctime_ns):
            return False
        return state.inode == found.st_ino or self._makes_up_inodes

    @cached_property
    def _makes_up_inodes(self) -> bool:
        """Whether the disk may give a file another inode number each time that it is asked."""
        return mistrust(os.fspath(self._root)) is not None

    def _is_remembered(self, path: str, found: os.stat_result) -> bool:
        return self._remembered is not None and self._remembered.digest(path, found) is not None
