"""The folders below one root, each held by a descriptor, so that none of them can become a link under our hands.

Knows the disk only; must not know files or versions. A folder is opened relative to its parent's descriptor and never
through a link; what is done with `dir_fd=` then stays in that very folder, whatever happens to its name.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from contextlib import suppress
from threading import Lock

from ..storage.errors import Conflict

__all__ = ["Folders", "Held"]

LIMIT = 64  # descriptors kept; more only while as many are in use at once
_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC  # O_PATH asks for no right to list


class Held:
    """A folder's descriptor, not closed before it is let go of: a context manager that returns the number."""

    __slots__ = ("_lock", "number", "users")

    def __init__(self, number: int, lock: Lock) -> None:
        self.number = number
        self.users = 0
        self._lock = lock

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.users -= 1


class Folders:
    """Descriptors by relative path; `""` is the root, which may itself be a link. Safe from many threads.

    `base` is where the root is, `root` what it is called in messages.
    """

    def __init__(self, base: str, root: str, limit: int = LIMIT) -> None:
        self._base = base
        self._root = root
        self._limit = limit
        self._lock = Lock()
        self._top = Held(os.open(base, _FLAGS), self._lock)
        self._open: OrderedDict[str, Held] = OrderedDict()  # the one unused for longest first
        self._entered: set[str] = set()

    def close(self) -> None:
        """Close every descriptor; once."""
        for held in (self._top, *self._open.values()):
            os.close(held.number)
        self._open.clear()

    def hold(self, folder: str, *, make: bool) -> Held:
        """Hold a folder, for use in a `with`.

        Raises FileNotFoundError or NotADirectoryError where there is none; with `make` it is made, and a link or a
        file in the way is a Conflict.
        """
        with self._lock:
            held = self._top if not folder else self._open.get(folder)
            if held is not None:
                held.users += 1
                if folder:
                    self._open.move_to_end(folder)
                return held
            above = folder.rpartition("/")[0]
            while above and above not in self._open:
                above = above.rpartition("/")[0]
            held = self._open[above] if above else self._top
            held.users += 1
        while above != folder:  # step by step: a deep path needs two descriptors at a time, not one for each part
            with held as parent:
                end = folder.find("/", len(above) + 1 if above else 0)
                inner = folder if end < 0 else folder[:end]
                number = self._enter(parent, inner, make=make)
            held, above = self._admit(inner, number), inner
        return held

    def require_unmoved(self) -> None:
        """Raise Conflict where a folder that was entered is no folder any more, so that its files are elsewhere."""
        for folder in ("", *sorted(self._entered)):
            whole = f"{self._base}/{folder}"
            try:
                is_there = stat.S_ISDIR(os.lstat(whole).st_mode) if folder else os.path.isdir(self._base)
            except (FileNotFoundError, NotADirectoryError):
                is_there = False
            if not is_there:
                raise Conflict(
                    f"{self._named(folder)} was moved or replaced while files were being put there; look at it, then "
                    "try again"
                )

    def forget(self) -> None:
        """Take the folders that were entered for ones that may go."""
        with self._lock:
            self._entered.clear()

    def _named(self, folder: str) -> str:
        return f"{self._root}/{folder}" if folder else self._root

    def _enter(self, parent: int, folder: str, *, make: bool) -> int:
        name = folder.rpartition("/")[2]
        try:
            return self._opened(parent, name)
        except FileNotFoundError:
            if not make:
                raise
        except NotADirectoryError:
            if not make:
                raise
            raise self._in_the_way(parent, folder) from None
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        try:
            return self._opened(parent, name)
        except NotADirectoryError:
            raise self._in_the_way(parent, folder) from None

    @staticmethod
    def _opened(parent: int, name: str) -> int:
        try:
            return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as error:
            if stat.S_ISLNK(_mode(parent, name)):  # ELOOP or ENOTDIR, as the system likes
                raise NotADirectoryError(*error.args) from None
            raise

    def _in_the_way(self, parent: int, folder: str) -> Conflict:
        whole = self._named(folder)
        if stat.S_ISLNK(_mode(parent, folder.rpartition("/")[2])):
            return Conflict(
                f"{whole} is a symbolic link; nothing is written through it: remove the link or choose another folder"
            )
        return Conflict(f"{whole} is a file where a folder is needed; move it away or choose another folder")

    def _admit(self, folder: str, number: int) -> Held:
        """Keep a descriptor, or the one that another thread was first with; it is held then."""
        with self._lock:
            held = self._open.get(folder)
            if held is None:
                held = self._open[folder] = Held(number, self._lock)
                self._entered.add(folder)
            else:
                os.close(number)
            held.users += 1
            if len(self._open) > self._limit:
                idle = next((name for name, one in self._open.items() if not one.users), None)
                if idle is not None:
                    os.close(self._open.pop(idle).number)
        return held


def _mode(parent: int, name: str) -> int:
    try:
        return os.lstat(name, dir_fd=parent).st_mode
    except FileNotFoundError:
        return 0
