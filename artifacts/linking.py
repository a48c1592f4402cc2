"""How files come to their place: as copies, as clones of shared files, or as links to them.

Knows places, shared files and what disks can do; must not know versions. What is asked of the operating system is
handed in, so that every answer of a disk can be had.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

import msgspec

from ..storage.chunks import ChunkStore
from ..storage.errors import Conflict, InvalidInput, LineartError
from .download import is_there
from .entry import Entry
from .fetching import fetch
from .place import Place
from .refusal import refusal
from .shared import NO_LINKS, SharedFiles, name_of
from .upload import Progress

__all__ = ["COPIES", "LINKS", "Disk", "Link", "Placing", "check_link", "placing"]

Link = Literal["copy", "reflink", "hardlink", "symlink"]
LINKS: tuple[Link, ...] = get_args(Link)
COPIES: tuple[Link, ...] = ("copy", "reflink")  # files of their own
BATCH = 4096  # entries between which content is fetched and links are made
_FICLONE = 0x40049409  # linux/fs.h
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_CLONES = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
_REFUSED = NO_LINKS | {errno.EXDEV}


def _clone(target: int, source: int) -> None:
    fcntl.ioctl(target, _FICLONE, source)


class Disk(NamedTuple):
    """What is asked of the operating system; each raises OSError where the disk cannot."""

    link: Callable[..., None] = os.link
    symlink: Callable[..., None] = os.symlink
    clone: Callable[[int, int], None] = _clone  # descriptors: into the first, from the second


DISK = Disk()


class Placing(Protocol):
    """One way in which files come to a place."""

    def stands(self, entry: Entry) -> bool:
        """Whether an entry is there already as it is to be."""

    def fetch(self, entries: Iterable[Entry], chunks: ChunkStore, progress: Progress | None = None) -> None:
        """Put entries there, verified; what stands is left alone."""


def check_link(link: str) -> Link:
    """Return the way that a word means; InvalidInput names those that there are."""
    if link not in LINKS:
        raise InvalidInput(f"{link!r} is no way to put files somewhere; there are {', '.join(LINKS)}")
    return link


@contextmanager
def placing(link: Link, cache: Path | None, place: Place, disk: Disk = DISK) -> Iterator[Placing]:
    """Put files at a place in one way, until the place is settled: so long, no shared file is pruned.

    `cache` is the folder that shared files are below. Raises InvalidInput where there is none and links are wanted,
    Conflict where the place lies among the shared files, or their folder is not this user's alone.
    """
    shared = None if cache is None else SharedFiles(cache)
    if shared is not None and Path(shared.folder) in (whole := Path(os.path.realpath(place.root)), *whole.parents):
        raise Conflict(f"{place.root} is among the files that downloads share; choose another folder")
    if shared is None:
        if link != "copy":
            raise InvalidInput(f'link="{link}" needs a cache folder: set LINEART_CACHE_DIR, or use link="copy"')
        yield _Copies(place)
    elif link == "copy":
        # Without the lock: a clone needs its source for a moment only, and a cache that cannot be written does no harm.
        yield _Clones(place, shared, disk) if _is_usable(shared) else _Copies(place)
    else:
        with shared.used():
            yield _Reflinks(place, shared, disk) if link == "reflink" else _Links(place, shared, disk, link)


def _is_usable(shared: SharedFiles) -> bool:
    try:
        return shared.is_there()
    except (Conflict, OSError):  # said to those who need it
        return False


class _Copies:
    """Plain files, out of the store."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def stands(self, entry: Entry) -> bool:
        return is_there(entry, self._place, mend=False)

    def fetch(self, entries: Iterable[Entry], chunks: ChunkStore, progress: Progress | None = None) -> None:
        fetch(entries, chunks, self._place, progress)


class _Clones(_Copies):
    """Plain files; clones of shared files that are there already, where the disk can."""

    def __init__(self, place: Place, shared: SharedFiles, disk: Disk) -> None:
        super().__init__(place)
        self._shared = shared
        self._disk = disk
        self._can: bool | None = None  # nobody knows yet

    def fetch(self, entries: Iterable[Entry], chunks: ChunkStore, progress: Progress | None = None) -> None:
        super().fetch(self._left(entries, progress), chunks, progress)

    def _left(self, entries: Iterable[Entry], progress: Progress | None) -> Iterator[Entry]:
        """Clone what can be cloned at once, and yield the rest."""
        for entry in entries:
            is_ready = entry.size and self._can is not False and self._shared.find(entry) is not None
            if not is_ready or self._place.find(entry.path) is not None or not self._cloned(entry):
                yield entry
            elif progress is not None:
                progress(1, entry.size)

    def _cloned(self, entry: Entry) -> bool:
        """Put a clone of an entry's shared file at its place; False where that cannot be."""
        if not self._can_clone():
            return False
        try:
            source = os.open(self._shared.path(entry), _READ)
        except FileNotFoundError:  # pruned meanwhile
            return False
        mode = 0o777 if entry.executable else 0o666
        try:
            refused = _put(
                self._place, entry.path, lambda name, where: self._copy(source, name, where, mode), _NO_CLONES
            )
        finally:
            os.close(source)
        if refused is not None:
            self._can = False
        return refused is None

    def _can_clone(self) -> bool:
        """Whether the disk can clone; it is asked once, for there may be very many files."""
        if self._can is None:
            try:
                source = os.open(self._shared.trial, _READ)
                try:
                    self._place.try_out(lambda name, where: self._copy(source, name, where, 0o600))
                finally:
                    os.close(source)
                self._can = True
            except OSError:  # what else is the matter with the disk is said when files are put there
                self._can = False
        return self._can

    def _copy(self, source: int, name: str, where: int, mode: int) -> None:
        number = os.open(name, _WRITE, mode, dir_fd=where)
        try:
            self._disk.clone(number, source)
        finally:
            os.close(number)


class _Reflinks(_Clones):
    """Clones of shared files, which are made for it; copies where the disk cannot clone."""

    def fetch(self, entries: Iterable[Entry], chunks: ChunkStore, progress: Progress | None = None) -> None:
        waiting = iter(entries)
        while self._can_clone() and (batch := list(islice(waiting, BATCH))):
            todo = [entry for entry in batch if entry.size and not is_there(entry, self._place)]
            made = _make(todo, self._shared, chunks, progress)
            left = [entry for entry in batch if not entry.size]
            left += [entry for entry in todo if not self._cloned(entry)]
            fetch(left, chunks, self._place)
            _tell(progress, batch, made)
        fetch(waiting, chunks, self._place, progress)


class _Links:
    """Hard or symbolic links to shared files, which are made for it."""

    def __init__(self, place: Place, shared: SharedFiles, disk: Disk, link: Link) -> None:
        self._place = place
        self._shared = shared
        self._disk = disk
        self._is_hard = link == "hardlink"
        self._tried = False

    def stands(self, entry: Entry) -> bool:
        if not entry.size:
            return is_there(entry, self._place, mend=False)
        kept = self._shared.find(entry)
        return kept is not None and self._leads(entry, kept)

    def fetch(self, entries: Iterable[Entry], chunks: ChunkStore, progress: Progress | None = None) -> None:
        if not self._is_hard:
            self._shared.note(self._place.root)
        waiting = iter(entries)
        while batch := list(islice(waiting, BATCH)):
            todo = [entry for entry in batch if entry.size and (self._place.fresh or not self.stands(entry))]
            if todo and not self._tried:  # before content is fetched for nothing
                self._try_out()
            made = _make(todo, self._shared, chunks, progress)
            for entry in todo:
                self._put(entry, chunks)
            fetch([entry for entry in batch if not entry.size], chunks, self._place)
            _tell(progress, batch, made)

    def _leads(self, entry: Entry, kept: os.stat_result) -> bool:
        """Whether what is at an entry's place is a link to its shared file."""
        if not self._is_hard:
            return self._place.target(entry.path) == self._shared.path(entry)
        found = self._place.find(entry.path)
        return found is not None and (found.st_dev, found.st_ino) == (kept.st_dev, kept.st_ino)

    def _put(self, entry: Entry, chunks: ChunkStore) -> None:
        refused = self._linked(entry)
        if refused is not None and refused.errno == errno.EMLINK:
            kept = self._shared.find(entry)
            if kept is not None:  # it has as many names as a file can have: another takes its place
                self._shared.retire(entry, kept.st_ino)
            _make([entry], self._shared, chunks)
            refused = self._linked(entry)
        if refused is not None:
            raise self._refusal(refused)

    def _linked(self, entry: Entry) -> OSError | None:
        """Put a link at an entry's place; return why it cannot be."""
        target = self._shared.path(entry)
        return _put(self._place, entry.path, lambda name, where: self._make_link(target, name, where), _REFUSED)

    def _make_link(self, target: str, name: str, where: int) -> None:
        if self._is_hard:
            self._disk.link(target, name, dst_dir_fd=where, follow_symlinks=False)
        else:
            self._disk.symlink(target, name, dir_fd=where)

    def _try_out(self) -> None:
        try:
            self._place.try_out(lambda name, where: self._make_link(self._shared.trial, name, where))
        except OSError as error:
            raise self._refusal(error) from error
        self._tried = True

    def _refusal(self, error: OSError) -> LineartError:
        root, shared = self._place.root, self._shared.folder
        if error.errno not in _REFUSED:
            return refusal(root, error)
        if error.errno == errno.EXDEV:
            return Conflict(
                f"{root} is on another disk than {shared}, and a hard link cannot lead to another disk; "
                'set LINEART_CACHE_DIR to a folder on its disk, or use link="copy" or "symlink"'
            )
        kind = "hard" if self._is_hard else "symbolic"
        return Conflict(f'the disk of {root} takes no {kind} links to {shared} ({error.strerror}); use link="copy"')


def _put(place: Place, path: str, make: Callable[[str, int], None], known: Collection[int]) -> OSError | None:
    """Put what `make` makes at a path; return what the disk refused, where that is one of the errors that are known."""
    refused: list[OSError] = []

    def attempt(name: str, where: int) -> None:
        try:
            make(name, where)
        except OSError as error:
            refused.append(error)
            raise

    try:
        place.put(path, attempt)
    except LineartError:
        if not refused or refused[0].errno not in known:
            raise
        return refused[0]
    return None


def _make(
    entries: Iterable[Entry], shared: SharedFiles, chunks: ChunkStore, progress: Progress | None = None
) -> dict[str, Entry]:
    """Make the shared files of entries that have none, verified, and return these by name."""
    missing: dict[str, Entry] = {}
    for entry in entries:
        if shared.find(entry) is None:
            missing.setdefault(name_of(entry), entry)
    if missing:
        with shared.staging() as folder:
            with Place(folder) as place:
                staged = (msgspec.structs.replace(entry, path=name) for name, entry in missing.items())
                fetch(staged, chunks, place, progress)
                place.settle()
            for name, entry in missing.items():
                shared.keep(f"{folder}/{name}", entry)
    return missing


def _tell(progress: Progress | None, batch: list[Entry], told: dict[str, Entry]) -> None:
    """Tell of a batch what was not told when content was fetched for it."""
    if progress is not None:
        size = sum(entry.size for entry in batch) - sum(entry.size for entry in told.values())
        progress(len(batch) - len(told), size)
