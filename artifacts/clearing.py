"""Taking away from a place what is not to be there: what stands in the way of files, and what belongs to no version.

Knows places and the disk; must not know versions, or whether something may go: that has been decided. What changed
since then stays.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..storage.errors import Conflict
from .agreed import has_own_name
from .place import is_store
from .refusal import refusal

if TYPE_CHECKING:
    from .agreed import Agreed
    from .place import Place

__all__ = ["Standing", "clear", "make_way", "remove", "standing", "strays"]

Standing = dict[str, tuple[int, int, int | None, int]]  # by path: size, mtime, ctime where it is its own, mode


def make_way(place: Place, paths: Iterable[str], agreed: Agreed | None = None) -> None:
    """Remove what stands in the way of files: a file or a link at a folder's place, a folder at a file's.

    Conflict, before it is removed, for something that holds what was not `agreed` upon.
    """
    wanted = list(paths)
    folders: set[str] = set()
    for path in wanted:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    for folder in sorted(folders):  # from above to below, so that no link is looked through
        found = place.find(folder)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            _require_agreed(place, folder, agreed)
            _remove(place, folder)
    for path in wanted:
        found = place.find(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            _require_agreed(place, path, agreed)
            _remove(place, path, whole=True)


def _require_agreed(place: Place, path: str, agreed: Agreed | None) -> None:
    if agreed is None:
        return
    for one in _below(place, path):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = os.lstat(place.root / one)  # not held: its folder is about to go
            if not agreed.allows(one, found):
                raise Conflict(
                    f"{place.root}/{one} was changed or put there during the work, and is in the way; it was left as "
                    "it is: move it away, or choose another folder"
                )


def standing(place: Place, path: str) -> Standing:
    """Return the state of a file or link, or of everything in a folder, each by its path; folders are not in it."""
    states: Standing = {}
    for one in _below(place, path):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = os.lstat(place.root / one)
            changed_at = found.st_ctime_ns if has_own_name(found) else None
            states[one] = found.st_size, found.st_mtime_ns, changed_at, found.st_mode
    return states


def _below(place: Place, path: str) -> list[str]:
    """Return the path itself, or of a folder those of all files and links in it."""
    whole = os.path.join(place.root, path)
    if not os.path.isdir(whole) or os.path.islink(whole):
        return [path]
    found: list[str] = []
    for folder, folders, files in os.walk(whole, onerror=place.refuse):
        prefix = os.path.relpath(folder, place.root).replace(os.sep, "/") + "/"
        found += [prefix + name for name in (*files, *_links(folder, folders))]
    return found


def _links(folder: str, folders: Iterable[str]) -> list[str]:
    """Return which of a folder's folders are links to others."""
    return [name for name in folders if os.path.islink(f"{folder}/{name}")]


def remove(place: Place, paths: dict[str, Standing]) -> None:
    """Remove files, links and whole folders, given as they were when that was decided; Conflict if one changed."""
    for path, before in paths.items():
        now = standing(place, path)
        if now != before:
            changed = min(one for one in {**now, **before} if now.get(one) != before.get(one))
            raise Conflict(
                f"{place.root}/{changed} was changed or put there during the work, and is in the way; nothing was "
                "written: move it away, or choose another folder"
            )
    for path in sorted(paths):  # from above to below, so that no link is looked through
        found = place.find(path)
        if found is not None:
            _remove(place, path, whole=stat.S_ISDIR(found.st_mode))


def strays(place: Place, paths: set[str]) -> list[str]:
    """Return every file and link that is not among `paths`.

    Raises Conflict for a folder that holds a store or a git repository: whoever asks for it to be cleared errs.
    """
    found: list[str] = []
    for folder, folders, files in os.walk(place.base, onerror=place.refuse):
        prefix = os.path.relpath(folder, place.base).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        is_git = ".git" in folders or (".git" in files and prefix + ".git" not in paths)  # a file in a worktree
        if is_git or is_store(folder):
            what = "a store of Lineart" if is_store(folder) else "a git repository"
            raise Conflict(f"{folder} is {what}, which would be cleared away; choose another folder")
        links = _links(folder, folders)
        found.extend(prefix + name for name in (*files, *links) if prefix + name not in paths)
    return found


def clear(place: Place, paths: Iterable[str]) -> None:
    """Remove files and links, and every folder that is empty then; the last thing before `settle`.

    One that may not be removed any more (`place.agreed`) stays.
    """
    place.folders.require_unmoved()
    for path in paths:
        found = place.find(path)
        if found is None or stat.S_ISDIR(found.st_mode):  # a folder has taken its place meanwhile
            continue
        if place.agreed is None or place.agreed.allows(path, found):
            _remove(place, path)
    try:
        for _, folders, _, where in os.fwalk(place.base, topdown=False):
            for name in folders:
                with suppress(FileNotFoundError, NotADirectoryError):  # a link
                    _remove_empty(name, where)
        place.folders.forget()
    except OSError as error:
        raise refusal(place.root, error) from error


def _remove(place: Place, path: str, *, whole: bool = False) -> None:
    folder, _, name = path.rpartition("/")
    try:
        with place.folders.hold(folder, make=False) as where:
            if whole:
                shutil.rmtree(name, dir_fd=where)
            else:
                os.unlink(name, dir_fd=where)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refusal(place.root, error, path) from error


def _remove_empty(name: str, where: int) -> None:
    try:
        os.rmdir(name, dir_fd=where)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
