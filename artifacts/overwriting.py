"""What a download would take away: files of somebody's own work at the places of a version's files.

Knows entries, places and what is remembered of them; must not know versions: what other versions hold is handed in. A
file may be replaced without a question if a download put it there, or a log read it, and it is as it was then; or if a
version that is still there holds it, for then nothing is lost with it. Nothing is written here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from ..storage.errors import Conflict, IntegrityError
from .download import digest_at, has_content
from .entry import Entry, shown
from .manifest import Manifest, diff
from .place import Place
from .shared import is_sealed, leads_to

__all__ = ["require_unchanged", "some_of", "sparing_work"]

SHOWN = 3  # files that a message names
HELD = Callable[[], Iterable[Manifest]]  # versions that may hold a file, the likeliest first


def some_of(paths: list[str]) -> str:
    """Name up to three paths.

    >>> some_of(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    more = f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
    return ", ".join(map(shown, paths[:SHOWN])) + more


def sparing_work(entries: Iterable[Entry], place: Place, wanted: Manifest, others: HELD) -> Iterator[Entry]:
    """Pass entries on; Conflict behind the last of them where a file in their place is nobody's but its owner's.

    `wanted` is the manifest that the entries are of. A file that is known costs one look at its state, one that is not
    is read.
    """
    doubtful: dict[str, int] = {}  # sizes by path; of what is no file, -1
    for entry in entries:
        size = _doubtful(entry, place)
        if size is not None:
            doubtful[entry.path] = size
        yield entry
    if doubtful:
        _forget_held(doubtful, place, wanted, others)
    if doubtful:
        many = len(doubtful) > 1
        what = f"{len(doubtful):,} files that were" if many else "a file that was"
        raise Conflict(
            f"{place.root} holds {what} changed, or that no download put there: {some_of(list(doubtful))}; nothing was "
            f"written: --force (overwrite=True) replaces {'them' if many else 'it'}, or choose another folder"
        )


def require_unchanged(strays: Iterable[str], place: Place) -> None:
    """Raise Conflict where files that are to be cleared away were put there and changed since."""
    remembered = place.remembered
    if remembered is None:
        return
    changed: list[str] = []
    for path in strays:
        with suppress(FileNotFoundError, NotADirectoryError):  # gone meanwhile
            if remembered.is_changed(path, os.lstat(place.root / path)):
                changed.append(path)
    if changed:
        many = len(changed) > 1
        raise Conflict(
            f"{place.root} holds {f'{len(changed):,} files' if many else 'a file'} of another version that "
            f"{'were' if many else 'was'} changed: {some_of(changed)}; nothing was written: --force (overwrite=True) "
            f"removes {'them' if many else 'it'}, or choose another folder"
        )


def _doubtful(entry: Entry, place: Place) -> int | None:
    """Return the size of a file that may be somebody's work; None where nothing would be lost."""
    found = place.find(entry.path)
    if found is None or stat.S_ISDIR(found.st_mode):  # a folder is never replaced by a file, or cleared on purpose
        return None
    if stat.S_ISLNK(found.st_mode):
        target = place.target(entry.path)
        return -1 if target is not None and not _is_shared(target) else None
    if not stat.S_ISREG(found.st_mode):
        return -1
    remembered = place.remembered
    if remembered is not None and remembered.is_known(entry.path, found):
        return None
    file = entry if remembered is None else remembered.sightings.as_file(entry)
    if file is not None and file.external is None and has_content(file, place):
        return None
    if not found.st_mode & 0o222 and _is_sealed_one(entry.path, found.st_size, place):
        return None
    return found.st_size


def _forget_held(doubtful: dict[str, int], place: Place, wanted: Manifest, others: HELD) -> None:
    """Take out the files that other versions hold; each is read once, and only if one has a file of its size there."""
    digests: dict[str, bytes | None] = {}
    for manifest in others():
        try:
            for change in diff(manifest, wanted):
                old, size = change.old, doubtful.get(change.path)
                if old is None or size is None or old.external is not None or old.size != size:
                    continue
                if change.path not in digests:
                    read = digest_at(change.path, size, place)
                    digests[change.path] = None if read is None else read[0]
                if digests[change.path] == old.digest:
                    del doubtful[change.path]
        except IntegrityError:  # what it holds is not known, so it tells nothing
            continue
        if not doubtful:
            return


def _is_sealed_one(path: str, size: int, place: Place) -> bool:
    """Whether a file is a shared one as it was made: a hard link that a download placed."""
    read = digest_at(path, size, place)
    return read is not None and is_sealed(read[1], read[0])


def _is_shared(target: str) -> bool:
    """Whether a symbolic link leads to a shared file, as a download with `link="symlink"` made it."""
    try:
        return leads_to(target, bytes.fromhex(os.path.basename(target)[:64]))
    except ValueError:
        return False
