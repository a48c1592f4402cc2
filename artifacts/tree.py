"""Walking a folder of the user's: which files belong to it and which never do.

Knows the disk and ignore rules; must not know drafts or stores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..storage.errors import InvalidInput, NotFound, SourceChanged
from ..storage.layout import MARKER
from .draft import FileSource, file_source
from .place import is_store

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["DOWNLOADS", "IGNORE_FILE", "walk_tree"]

IGNORE_FILE = ".artignore"
DOWNLOADS = ".lineart-downloads"  # marks a folder that downloads made: never part of somebody's data
CHECKOUT = ".lineart-checkout"  # marks the root of a checkout
_OWN = frozenset({DOWNLOADS, CHECKOUT})
_SKIPPED = frozenset({".git", ".lineart"})  # `.git` is a file in a worktree


def walk_tree(root: str, ignore: Iterable[str] = ()) -> Iterator[tuple[str, FileSource]]:
    """Yield each file below `root` with its relative path, folders in the order of their names.

    Symbolic links are followed. `ignore` and a `.artignore` at the root hold patterns as in .gitignore. Stores, `.git`
    and folders of downloads are never entered. Raises InvalidInput for a link that is dangling or leads into itself,
    for what is neither file nor folder or cannot be read, for a name that is not UTF-8, and where `root` is a store.
    """
    if not os.path.isdir(root):
        if os.path.lexists(root):
            raise InvalidInput(f"{root} is not a folder")
        raise NotFound(f"{root} does not exist")
    ignored = _ignorer(root, list(ignore))
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        ident, listed = _listed(folder)
        if ident in above:
            raise InvalidInput(
                f"{folder} is a symbolic link to a folder that it lies in; leave it out with ignore= or {IGNORE_FILE}"
            )
        inside = above | {ident}
        names = {one.name for one in listed}
        if MARKER in names and is_store(folder):
            if prefix:
                continue
            raise InvalidInput(f"{root} is a store of Lineart, which cannot be its own data")
        if prefix and DOWNLOADS in names:
            continue
        folders: list[tuple[str, str, frozenset[tuple[int, int]]]] = []
        for one in listed:
            path = prefix + one.name
            if one.name in _SKIPPED or (not prefix and one.name in _OWN):
                continue
            is_folder = _is_folder(one)
            if ignored is not None and ignored(path + "/" if is_folder else path):
                continue
            _check_encoding(one.path, one.name)
            if is_folder:
                folders.append((one.path, path + "/", inside))
                continue
            yield path, _source(one)
        waiting.extend(reversed(folders))


def _listed(folder: str) -> tuple[tuple[int, int], list[os.DirEntry[str]]]:
    """Return what makes a folder the same folder, and what is in it."""
    try:
        here = os.stat(folder)
        with os.scandir(folder) as found:
            return (here.st_dev, here.st_ino), sorted(found, key=lambda one: one.name)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _source(one: os.DirEntry[str]) -> FileSource:
    try:
        return file_source(one.path, one.stat())
    except OSError as error:
        raise _unreadable(one.path, error) from None


def _is_folder(one: os.DirEntry[str]) -> bool:
    try:
        return one.is_dir()
    except OSError:
        return False  # a link that leads to itself, for one; `stat` says so, unless it is ignored


def _unreadable(path: str, error: OSError) -> Exception:
    shown = _shown(path)
    if os.path.islink(path):
        what = "to nothing" if isinstance(error, FileNotFoundError) else f"that leads nowhere ({error.strerror})"
        return InvalidInput(f"{shown} is a symbolic link {what}; leave it out with ignore= or {IGNORE_FILE}")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return SourceChanged(f"{shown} vanished while its folder was being added")
    return InvalidInput(f"{shown} cannot be read: {error.strerror}; leave it out with ignore= or {IGNORE_FILE}")


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _check_encoding(path: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"the name of {_shown(path)} is not UTF-8; rename it, or leave it out with ignore= or {IGNORE_FILE} "
            "(`?` and `*` stand for what cannot be typed)"
        ) from None


def _ignorer(root: str, patterns: list[str]) -> Callable[[str], bool] | None:
    """Return what says whether a relative path is left out; None where nothing is."""
    file = os.path.join(root, IGNORE_FILE)
    if os.path.isfile(file):  # a FIFO of that name must not hang
        with open(file, encoding="utf-8", errors="surrogateescape") as lines:
            patterns = [*lines.read().splitlines(), *patterns]
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec

    try:
        spec: GitIgnoreSpec = GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InvalidInput(f"the patterns of ignore= or {file} cannot be understood: {error}") from None
    return spec.match_file
