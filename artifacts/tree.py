"""Walking a folder of the user's: which files belong to it and which never do.

Knows the disk and ignore rules; must not know drafts or stores.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING

from ..storage.errors import InvalidInput, NotFound, SourceChanged
from ..storage.layout import MARKER
from .place import is_store
from .source import FileSource, file_source

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["DOWNLOADS", "IGNORE_FILE", "walk_tree"]

IGNORE_FILE = ".artignore"
DOWNLOADS = ".lineart-downloads"  # marks a folder that downloads made: never part of somebody's data
CHECKOUT = ".lineart-checkout"  # marks the root of a checkout
_SKIPPED = frozenset({".git", ".lineart", CHECKOUT})  # `.git` is a file in a worktree
MANY = 100_000  # of one folder, held at once: some 30 MiB
_name_of = attrgetter("name")
# What a download left that was killed: within the folder that it put files into, and beside the one that it built.
_UNFINISHED = re.compile(r"\.lineart-(?:[0-9a-f]{16}-[0-9a-f]+|unfinished)")
_BESIDE = re.compile(r"(\..+\.lineart-)(?:[0-9a-f]{8}|(lock))", re.DOTALL)


def walk_tree(root: str, ignore: Iterable[str] = (), many: int = MANY) -> Iterator[tuple[str, FileSource]]:
    """Yield each file below `root` with its relative path, folders in the order of their names.

    Of a folder with more than `many` files and folders, so many are held at once; it comes in no certain order.

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
        ident = _identity(folder)
        if ident in above:
            raise InvalidInput(
                f"{folder} is a symbolic link to a folder that it lies in; leave it out with ignore= or {IGNORE_FILE}"
            )
        inside = above | {ident}
        portions = _listed(folder, many)
        first = next(portions, [])
        names = {one.name for one in first}
        if len(first) == many:
            names.update(name for name in (MARKER, DOWNLOADS) if os.path.lexists(os.path.join(folder, name)))
        if MARKER in names and is_store(folder):
            if prefix:
                continue
            raise InvalidInput(f"{root} is a store of Lineart, which cannot be its own data")
        if prefix and DOWNLOADS in names:
            continue
        folders: list[tuple[str, str, frozenset[tuple[int, int]]]] = []
        for listed in chain([first], portions):
            for one, path, is_folder in _kept(listed, prefix, ignored):
                if is_folder:
                    folders.append((one.path, path + "/", inside))
                else:
                    yield path, _source(one)
        waiting.extend(reversed(folders))


def _identity(folder: str) -> tuple[int, int]:
    """Return what makes a folder the same folder."""
    try:
        here = os.stat(folder)
    except OSError as error:
        raise _unreadable(folder, error) from None
    return here.st_dev, here.st_ino


def _listed(folder: str, many: int) -> Iterator[list[os.DirEntry[str]]]:
    """Yield what is in a folder, sorted, so many at a time."""
    try:
        with os.scandir(folder) as found:
            while some := sorted(islice(found, many), key=_name_of):
                yield some
    except OSError as error:
        raise _unreadable(folder, error) from None


def _kept(
    listed: list[os.DirEntry[str]], prefix: str, ignored: Callable[[str], bool] | None
) -> list[tuple[os.DirEntry[str], str, bool]]:
    """Return what of a folder belongs to the data, with its relative path, and whether it is a folder."""
    kept = []
    for one in listed:
        name = one.name
        path = prefix + name
        if name in _SKIPPED or (not prefix and name == DOWNLOADS):
            continue
        if name[0] == "." and ".lineart-" in name and _is_left(one, listed):
            continue
        is_folder = _is_folder(one)
        if ignored is None or not ignored(path + "/" if is_folder else path):
            kept.append((one, path, is_folder))
    _check_encoding([one for one, _, _ in kept])
    return kept


def _is_left(one: os.DirEntry[str], listed: list[os.DirEntry[str]]) -> bool:
    """Whether a download that was killed left this, and it is not only named so."""
    if _UNFINISHED.fullmatch(one.name):
        return True
    found = _BESIDE.fullmatch(one.name)
    if found is None:
        return False
    if found[2]:
        return one.is_file(follow_symlinks=False)
    return one.is_dir(follow_symlinks=False) and any(other.name == f"{found[1]}lock" for other in listed)


def _source(one: os.DirEntry[str]) -> FileSource:
    try:
        found = one.stat()
    except OSError as error:
        raise _unreadable(one.path, error) from None
    return file_source(one.path, found)


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


def _check_encoding(kept: Sequence[os.DirEntry[str]]) -> None:
    try:
        "".join([one.name for one in kept]).encode()
    except UnicodeEncodeError:
        path = next(one.path for one in kept if not _is_utf8(one.name))
        raise InvalidInput(
            f"the name of {_shown(path)} is not UTF-8; rename it, or leave it out with ignore= or {IGNORE_FILE} "
            "(`?` and `*` stand for what cannot be typed)"
        ) from None


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
