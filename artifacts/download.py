"""Whether entries can go to a place, and whether they are there already.

Knows entries and the files of a place; must not know chunks or versions.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from ..storage.errors import Conflict, InvalidInput, InvalidName
from .entry import UNSEEN, Entry, shown
from .place import Place, is_store
from .portable import LONGEST_PART, Platform, Twins, why_unwritable
from .refusal import refusal
from .shared import is_sealed, leads_to
from .stat_cache import clock

__all__ = ["Report", "compare", "digest_at", "has_content", "is_there", "platform_here", "require_writable", "sparing"]

_AT_ONCE = 1 << 22  # bytes of a file that is there
ASIDE = 32  # bytes by which the name of what is not finished may be longer
LONGEST_PATH: dict[Platform, int] = {"posix": 4095 - ASIDE, "macos": 1023 - ASIDE, "windows": 32_767 - ASIDE}
_OWNED = {".git": "a git repository", ".lineart": "a configuration of Lineart"}  # where it is there already
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class Report:
    """How files on disk differ from a version: paths by kind."""

    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.missing or self.changed or self.extra)


def platform_here() -> Platform:
    """Return whose naming rules this machine's disks follow."""
    return "windows" if sys.platform == "win32" else "macos" if sys.platform == "darwin" else "posix"


def require_writable(entries: Iterable[Entry], platform: Platform, root: str = "") -> None:
    """Refuse a tree that this platform cannot hold below `root` under its own names, before anything is written."""
    twins = Twins(platform)
    room = LONGEST_PATH[platform] - len(os.fsencode(root)) - 1
    short = min(room, LONGEST_PART) if platform == "posix" else 0  # a path that has no part or whole too long
    for entry in entries:
        if len(entry.path) <= short and entry.path.isascii():
            continue
        why = why_unwritable(entry.path, platform)
        if why is not None:
            raise InvalidName(f"{shown(entry.path)} cannot be written here: {why}; nothing was written")
        if len(entry.path.encode()) > room:
            raise InvalidName(
                f"{shown(entry.path)} cannot be written here: with the folder's it is a path of more than "
                f"{LONGEST_PATH[platform]} bytes; choose a folder with a shorter one; nothing was written"
            )
        pair = twins.feed(entry.path)
        if pair is not None:
            raise InvalidName(f"{shown(pair[0])} and {shown(pair[1])} would be one file here; nothing was written")


def sparing(entries: Iterable[Entry], place: Place, stands: Callable[[Entry], bool]) -> Iterator[Entry]:
    """Pass entries on; Conflict at one that would change what a download must not, before anything is written.

    That is a store below the place, and a repository or configuration that is there (`.git`, `.lineart`, at any depth).
    An entry that `stands`, there as it is to be, changes nothing.
    """
    if place.fresh:
        yield from entries
        return
    owners: dict[str, str | None] = {"": None}  # by folder
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if folder not in owners:
            _own(folder, place, owners)
        owner = owners[folder]
        if owner is None and name.casefold() in _OWNED:
            owner = _owner(entry.path, place)
        if owner is not None and not stands(entry):
            raise Conflict(f"{shown(entry.path)} would be put into {owner}; choose another folder; nothing was written")
        yield entry


def _own(folder: str, place: Place, owners: dict[str, str | None]) -> None:
    """Note whose a folder is, and the folders above it."""
    end = 0
    above = ""
    while above != folder:
        end = folder.find("/", end + 1)
        part = folder if end < 0 else folder[:end]
        if part not in owners:
            owners[part] = owners[above] or _owner(part, place)
        above = part


def _owner(path: str, place: Place) -> str | None:
    whole = f"{place.root}/{path}"
    what = _OWNED.get(path.rpartition("/")[2].casefold())  # of a disk that does not tell case apart, `.GIT` is `.git`
    if what is not None and place.find(path) is not None:
        return f"{whole}, {what}"
    return f"{whole}, a store of Lineart" if is_store(whole) else None


def is_there(entry: Entry, place: Place, *, mend: bool = True) -> bool:
    """Whether the right content is at an entry's place, and the right mode bit, which may be mended."""
    remembered = place.remembered
    if remembered is not None:
        at_place = place.find(entry.path)
        if at_place is None or remembered.holds(entry, at_place):
            return at_place is not None
    known_at = clock()
    opened = place.open_found(entry.path, entry.size)
    if opened is None:
        return False
    number, found = opened
    try:
        # A shared file is for who asked for links: a copy takes its place, and it is never changed itself.
        if is_sealed(found, entry.digest) or _digest(number, entry.size) != entry.digest:
            return False
        if _is_executable(found) != entry.executable and not (mend and _mended(number, executable=entry.executable)):
            return False
        if remembered is not None:
            remembered.learn(entry, os.fstat(number), known_at)
        return True
    except OSError as error:
        raise refusal(place.root, error, entry.path) from error
    finally:
        os.close(number)


def has_content(entry: Entry, place: Place) -> bool:
    """Whether a file at an entry's place has its content, whoever owns it; it is read, and left as it is."""
    known_at = clock()
    found = digest_at(entry.path, entry.size, place)
    if found is None or found[0] != entry.digest:
        return False
    if place.remembered is not None:
        place.remembered.learn(entry, found[1], known_at)
    return True


def digest_at(path: str, size: int, place: Place) -> tuple[bytes, os.stat_result] | None:
    """Read the file of a size that is at a place; None where there is none that can be read."""
    opened = place.open_found(path, size)
    if opened is None:
        return None
    try:
        return _digest(opened[0], size), os.fstat(opened[0])
    except OSError as error:
        raise refusal(place.root, error, path) from error
    finally:
        os.close(opened[0])


def _is_executable(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IXUSR)


def _mended(number: int, *, executable: bool) -> bool:
    """Give an open file the right mode bit; False where it is to be written anew, for it is not ours alone."""
    found = os.fstat(number)
    if found.st_nlink > 1:  # the bit would change under another name, too
        return False
    mode = stat.S_IMODE(found.st_mode)
    try:
        os.fchmod(number, mode | (mode & 0o444) >> 2 if executable else mode & ~0o111)
    except PermissionError:
        return False
    return True


def _digest(number: int, size: int) -> bytes:
    """Hash an open file that is expected to be of a size; in one read, where it is small."""
    if size < _AT_ONCE:
        data = os.read(number, size + 1)
        if len(data) == size:  # and not one byte more: that was its end
            return blake3(data).digest()
        hasher = blake3(data)
    else:
        hasher = blake3()
    while data := os.read(number, _AT_ONCE):
        hasher.update(data)
    return hasher.digest()


def compare(entries: Iterable[Entry], folder: Path, found: Iterable[str]) -> Report:
    """Hash the files below a folder and say how they differ from the entries; `found` are the paths that are there.

    Only content counts: the executable bit does not, for a umask, a copy or a disk without such bits changes it and the
    data is the same. Of an external entry the size counts. InvalidInput where a file cannot be read.
    """
    report = Report()
    extra = set(found)
    for entry in entries:
        if entry.path not in extra:
            report.missing.append(entry.path)
            continue
        extra.discard(entry.path)
        whole = folder / entry.path
        try:
            stands = whole.stat(follow_symlinks=False)
            if stat.S_ISLNK(stands.st_mode) and leads_to(os.readlink(whole), entry.digest):
                whole = whole.readlink()
                stands = whole.stat(follow_symlinks=False)
            is_file = stat.S_ISREG(stands.st_mode) and (stands.st_size == entry.size or entry.digest == UNSEEN)
            if not is_file or (entry.external is None and not _holds(whole, entry)):
                report.changed.append(entry.path)
        except FileNotFoundError:
            report.missing.append(entry.path)
        except OSError as error:
            raise InvalidInput(f"{whole} cannot be read: {error.strerror}; so nobody knows what is in it") from error
    report.extra = sorted(extra)
    return report


def _holds(path: Path, entry: Entry) -> bool:
    number = os.open(path, _READ)
    try:
        return _digest(number, entry.size) == entry.digest
    finally:
        os.close(number)
