"""What a download would take away: files of somebody's own work at the places of a version's files.

Knows entries, places and what is remembered of them; must not know versions: what other versions hold is handed in. A
file may be replaced without a question if a download put it there and it is as it was then; or if a version that is
still there holds it, for then nothing is lost with it. Nothing is written here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ..storage.errors import Conflict, IntegrityError, InvalidInput, SourceChanged
from .agreed import has_own_name
from .brought import are_brought, can_be_brought
from .clearing import Standing, standing
from .download import digest_at, has_content
from .entry import Entry, shown
from .manifest import Manifest, diff
from .place import Place
from .shared import is_sealed, leads_to
from .source import digest_of, file_source

if TYPE_CHECKING:
    from pathlib import Path

    from .agreed import Agreed

__all__ = ["require_agreed", "require_unchanged", "some_of", "sparing_way", "sparing_work"]

SHOWN = 3  # files that a message names
HELD = Callable[[], Iterable[Manifest]]  # versions that may hold a file, the likeliest first


def some_of(paths: list[str]) -> str:
    """Name up to three paths.

    >>> some_of(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    more = f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
    return ", ".join(map(shown, paths[:SHOWN])) + more


def sparing_work(
    entries: Iterable[Entry], place: Place, wanted: Manifest, others: HELD, agreed: Agreed
) -> Iterator[Entry]:
    """Pass entries on; Conflict behind the last of them where a file in their place is nobody's but its owner's.

    `wanted` is the manifest that the entries are of. A file that is known costs one look at its state, one that is not
    is read. What may be replaced is `agreed` upon as it is.
    """
    doubtful: dict[str, int] = {}  # sizes by path; of what is no file, -1
    outside: dict[str, Entry] = {}  # of those, what only another place knows
    remembered = place.remembered
    for entry in entries:
        yield entry  # first, for its name may be one that the disk cannot even be asked about
        found = place.find(entry.path)
        if found is None or stat.S_ISDIR(found.st_mode):  # a folder is never replaced by a file, or cleared on purpose
            continue
        if remembered is not None and has_own_name(found) and remembered.is_known(entry.path, found):
            continue  # what hardly ever costs anything: such a file needs no note
        size = _doubtful(entry, found, place)
        agreed.note(entry.path, found)
        if size is not None:
            doubtful[entry.path] = size
            if can_be_brought(entry, size, place):
                outside[entry.path] = entry
    if doubtful:
        _forget_held(doubtful, place, wanted, others, _digest_in_place)
    if doubtful and doubtful.keys() <= outside.keys():  # else nothing is put there anyway
        for path in are_brought([(outside[path], size) for path, size in doubtful.items()], place):
            del doubtful[path]
    if doubtful:
        many = len(doubtful) > 1
        what = f"{len(doubtful):,} files that were" if many else "a file that was"
        raise Conflict(
            f"{place.root} holds {what} changed, or that no download put there: {some_of(list(doubtful))}; nothing was "
            f"written: --force (overwrite=True) replaces {'them' if many else 'it'}, or choose another folder"
        )


def sparing_way(
    entries: Iterable[Entry], place: Place, wanted: Manifest, others: HELD, in_the_way: dict[str, Standing]
) -> Iterator[Entry]:
    """Pass entries on, and note the folders in the place of files and the files and links in the place of folders.

    Each is noted as it stands there, before anything of it is read, which may take long.
    Conflict behind the last entry where one of them is not what a download put there and left as it is.
    """
    noted: dict[str, str] = {}  # what each is
    doubtful: dict[str, int] = {}  # as in `sparing_work`
    folders: set[str] = set()
    remembered = place.remembered
    for entry in entries:
        yield entry
        if remembered is not None and remembered.was_file(entry.path):  # a look at each would cost as much as a fetch
            continue
        _look_above(entry.path, place, folders, noted)
        found = place.find(entry.path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            noted[entry.path] = "a folder where a file is to be"
    for path in noted:
        in_the_way[path] = standing(place, path)
        doubtful |= _doubtful_below(path, place, in_the_way[path])
    if doubtful:
        _forget_held(doubtful, place, wanted, others, lambda path, _, at: _digest_aside(path, at))
    for path, what in noted.items() if doubtful else ():
        below = [one for one in doubtful if one == path or one.startswith(f"{path}/")]
        if below:
            raise Conflict(
                f"{place.root}/{path} is {what}, and not, or not only, what a download put there: {some_of(below)}; "
                "nothing was written: move it away or choose another folder"
            )


def require_unchanged(
    strays: Iterable[str], place: Place, before: Callable[[], Manifest | None], agreed: Agreed
) -> None:
    """Raise Conflict where files that are to be cleared away were put there and changed since.

    What nobody remembers is read, and compared with what the place was `before`. What may go is `agreed` upon as it is.
    """
    remembered = place.remembered
    if remembered is None:
        return
    changed: list[str] = []
    unknown: set[str] = set()
    for path in strays:
        with suppress(FileNotFoundError, NotADirectoryError):  # gone meanwhile
            found = os.lstat(place.root / path)
            agreed.note(path, found)
            if stat.S_ISLNK(found.st_mode):
                target = os.readlink(place.root / path)
                is_changed = _shared_digest(target) is not None and not _is_untouched(target)
            else:
                is_changed = remembered.is_changed(path, found)
                if not is_changed and remembered.digest(path, found) is None:
                    unknown.add(path)
            if is_changed:
                changed.append(path)
    manifest = before() if unknown else None
    if manifest is not None:
        with suppress(IntegrityError):  # what it held is not known, so it tells nothing
            for entry in manifest.walk():
                file = remembered.sightings.as_file(entry) if entry.path in unknown else None
                if file is not None and file.digest != _digest_aside(entry.path, place):
                    changed.append(entry.path)
    if changed:
        many = len(changed) > 1
        raise Conflict(
            f"{place.root} holds {f'{len(changed):,} files' if many else 'a file'} of another version that "
            f"{'were' if many else 'was'} changed: {some_of(changed)}; nothing was written: --force (overwrite=True) "
            f"removes {'them' if many else 'it'}, or choose another folder"
        )


def require_agreed(agreed: Agreed | None, root: Path, what: str) -> None:
    """Raise Conflict where files were left because they changed meanwhile; `what` says what was done."""
    if agreed is None or not agreed.left:
        return
    many = len(agreed.left) > 1
    raise Conflict(
        f"{root} holds {f'{len(agreed.left):,} files that were' if many else 'a file that was'} changed or put there "
        f"during the work: {some_of(sorted(agreed.left))}; {'they were' if many else 'it was'} left as "
        f"{'they are' if many else 'it is'}, {what}: --force (overwrite=True) replaces {'them' if many else 'it'}, or "
        "choose another folder"
    )


def _doubtful(entry: Entry, found: os.stat_result, place: Place) -> int | None:
    """Return the size of a file that may be somebody's work; None where nothing would be lost."""
    if stat.S_ISLNK(found.st_mode):
        target = place.target(entry.path)
        return -1 if target is not None and not _is_untouched(target) else None
    if not stat.S_ISREG(found.st_mode):
        return -1
    remembered = place.remembered
    if remembered is not None and remembered.is_known(entry.path, found):
        return None
    file = entry if remembered is None else remembered.sightings.as_file(entry)
    if remembered is not None and file is not None and remembered.digest(entry.path, found) == file.digest:
        return None
    if file is not None and file.external is None and has_content(file, place):
        return None
    if not found.st_mode & 0o222 and _is_sealed_one(entry.path, found.st_size, place):
        return None
    return found.st_size


def _look_above(path: str, place: Place, folders: set[str], noted: dict[str, str]) -> None:
    """Note what is no folder among those that a file is to be in; each is looked at once."""
    end = path.find("/")
    while end >= 0:
        folder = path[:end]
        if folder not in folders:
            folders.add(folder)
            found = place.find(folder)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a file"
                noted[folder] = f"{what} where a folder is needed"
        end = path.find("/", end + 1)


def _doubtful_below(path: str, place: Place, found: Standing) -> dict[str, int]:
    """Return what may be somebody's work of a file, a link, or all that is in a folder; of an empty one, itself."""
    doubtful = {} if found else {path: -1}
    for one in found:
        with suppress(FileNotFoundError, NotADirectoryError):
            state = os.lstat(place.root / one)
            if stat.S_ISLNK(state.st_mode):
                if not _is_untouched(os.readlink(place.root / one)):
                    doubtful[one] = -1
            elif not stat.S_ISREG(state.st_mode):
                doubtful[one] = -1
            elif place.remembered is None or not place.remembered.is_known(one, state):
                digest = None if state.st_mode & 0o222 else _digest_aside(one, place)
                if digest is None or not is_sealed(state, digest):
                    doubtful[one] = state.st_size
    return doubtful


def _digest_in_place(path: str, size: int, place: Place) -> bytes | None:
    """Return what a file holds: what is remembered of it, or what is read."""
    found = place.find(path)
    known = None if found is None or place.remembered is None else place.remembered.digest(path, found)
    if known is not None:
        return known
    read = digest_at(path, size, place)
    return None if read is None else read[0]


def _digest_aside(path: str, place: Place) -> bytes | None:
    """Read a file that may go, and do not hold its folder as one that has to stay; None where it cannot be read."""
    whole = os.path.join(place.root, path)
    try:
        return digest_of(file_source(whole, os.lstat(whole)))
    except (OSError, InvalidInput, SourceChanged):
        return None


def _forget_held(
    doubtful: dict[str, int],
    place: Place,
    wanted: Manifest,
    others: HELD,
    digest: Callable[[str, int, Place], bytes | None],
) -> None:
    """Take out the files that other versions hold; each is read once, and only if one has a file of its size there."""
    digests: dict[str, bytes | None] = {}
    for manifest in others():
        try:
            for change in diff(manifest, wanted):
                old, size = change.old, doubtful.get(change.path)
                if old is None or size is None or old.external is not None or old.size != size:
                    continue
                if change.path not in digests:
                    digests[change.path] = digest(change.path, size, place)
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


def _is_untouched(target: str) -> bool:
    """Whether a symbolic link leads to a shared file that nobody has written to, or that is gone with its cache."""
    digest = _shared_digest(target)
    if digest is None:
        return False
    try:
        return is_sealed(os.lstat(target), digest)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _shared_digest(target: str) -> bytes | None:
    """Return what the shared file is to hold that a link's target is named as; None where it is not named so."""
    try:
        digest = bytes.fromhex(os.path.basename(target)[:64])
    except ValueError:
        return None
    return digest if os.path.isabs(target) and leads_to(target, digest) else None
