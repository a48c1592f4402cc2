"""Walking a folder of the user's: which files belong to it and which never do.

Knows the disk and ignore rules; must not know drafts or stores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..storage.errors import InvalidInput, NotFound
from .draft import FileSource, file_source

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["DOWNLOADS", "IGNORE_FILE", "walk_tree"]

IGNORE_FILE = ".artignore"
DOWNLOADS = ".lineart-downloads"  # marks a folder that downloads made: never part of somebody's data
CHECKOUT = ".lineart-checkout"  # marks the root of a checkout
_SKIPPED_FOLDERS = frozenset({".git", ".lineart"})
_MARKS = frozenset({"lineart.json", DOWNLOADS})  # a folder that holds one is a store, or made by downloads


def walk_tree(root: str, ignore: Iterable[str] = ()) -> Iterator[tuple[str, FileSource]]:
    """Yield each file below `root` with its relative path, folders in the order of their names.

    Symbolic links are followed. `ignore` and a `.artignore` at the root hold patterns as in .gitignore. Stores, `.git`
    and folders of downloads are never entered. Raises InvalidInput for a link that is dangling or leads into itself,
    for what is neither file nor folder, and for a name that is not UTF-8.
    """
    if not os.path.isdir(root):
        raise NotFound(f"{root} is not a folder")
    ignored = _ignorer(root, list(ignore))
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        here = os.stat(folder)
        ident = (here.st_dev, here.st_ino)
        if ident in above:
            raise InvalidInput(
                f"{folder} is a symbolic link to a folder that it lies in; leave it out with ignore= or {IGNORE_FILE}"
            )
        inside = above | {ident}
        with os.scandir(folder) as found:
            listed = sorted(found, key=lambda one: one.name)
        if prefix and any(one.name in _MARKS for one in listed):
            continue
        folders: list[tuple[str, str, frozenset[tuple[int, int]]]] = []
        for one in listed:
            path = prefix + one.name
            is_folder = one.is_dir()
            if ignored is not None and ignored(path + "/" if is_folder else path):
                continue
            if is_folder:
                if one.name not in _SKIPPED_FOLDERS:
                    folders.append((one.path, path + "/", inside))
                continue
            if one.name == CHECKOUT and not prefix:
                continue
            _check_encoding(one.path, one.name)
            try:
                source = file_source(one.path, one.stat())
            except FileNotFoundError:
                raise _vanished(one) from None
            yield path, source
        waiting.extend(reversed(folders))


def _vanished(one: os.DirEntry[str]) -> Exception:
    if one.is_symlink():
        return InvalidInput(f"{one.path} is a symbolic link to nothing; leave it out with ignore= or {IGNORE_FILE}")
    return NotFound(f"{one.path} vanished while its folder was being added")


def _check_encoding(path: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise InvalidInput(
            f"the name of {shown} is not UTF-8; rename it, or leave it out with ignore= or {IGNORE_FILE}"
        ) from None


def _ignorer(root: str, patterns: list[str]) -> Callable[[str], bool] | None:
    """Return what says whether a relative path is left out; None where nothing is."""
    try:
        with open(os.path.join(root, IGNORE_FILE), encoding="utf-8") as file:
            patterns = [*file.read().splitlines(), *patterns]
    except FileNotFoundError:
        if not patterns:
            return None
    from pathspec import GitIgnoreSpec

    spec: GitIgnoreSpec = GitIgnoreSpec.from_lines(patterns)
    return spec.match_file
