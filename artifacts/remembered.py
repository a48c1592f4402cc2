"""What is known of the files below a folder that versions are put into: so that what is there is not read again.

Knows the stat cache and entries; must not know chunks or how files are put there. Nothing is believed of a shared file
that others link to: whoever wants copies shall get copies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from .entry import Entry
from .shared import is_sealed
from .sightings import Sightings
from .source import FileSource, file_source
from .stat_cache import MOST, Known, Origin, Row, Snapshot, StatCache, clock, prefix_of, settled

__all__ = ["Remembered"]

_TICK = 0.05  # seconds: longer than any tick of a clock that does not count in whole seconds


class Remembered:
    """The memory of one folder while a version is put there; `learn` may be called from many threads.

    Files of less than `least` bytes are passed by: to read one of them costs less than to look it up in a large folder,
    and the memory is not even loaded for them.

    >>> Remembered(StatCache(None), Path("data")).is_whole(bytes(32), 3)
    False
    """

    def __init__(self, cache: StatCache, root: Path, least: int = 0) -> None:
        self._cache = cache
        self._root = os.fspath(root)
        self._head = prefix_of(self._root)
        self._least = least
        self._learned: dict[str, Row] = {}
        self._written: list[tuple[Entry, os.stat_result]] = []
        self._known_at = 0
        self.sightings = Sightings(cache, root)  # what external entries are there

    @cached_property
    def _before(self) -> Snapshot:
        return self._cache.load(self._root)

    @property
    def origin(self) -> Origin | None:
        """The version that the folder was last, as a whole."""
        return self._before.origin

    def paths(self, digest: bytes, count: int) -> list[str] | None:
        """Return the paths of the version that the folder was last, in no order; None unless all are remembered.

        As many rows as it has files are its own: others are kept only beside all of these (see `save`).
        """
        origin = self._before.origin
        if origin is None or origin.digest != digest or len(self._before) != count:
            return None
        return [path[len(self._head) :] for path in self._before.rows]

    def is_whole(self, digest: bytes, count: int) -> bool:
        """Whether all files of a version, given by its manifest's digest, are there as they were left."""
        origin = self._before.origin
        if origin is None or origin.digest != digest or len(self._before) != count:
            return False
        try:
            return all(_is(file, os.lstat(path), known) for path, (file, known) in self._before.rows.items())
        except OSError:
            return False

    def is_known(self, path: str, found: os.stat_result) -> bool:
        """Whether a file is as it was when a download put it there, whatever it holds."""
        row = self._before.rows.get(self._head + path)
        return row is not None and row[1].placed and row[0].matches(found)

    def was_file(self, path: str) -> bool:
        """Whether a file is known to have stood at a path; of a part of a version nothing is looked up for that."""
        return not self._least and self._head + path in self._before.rows

    def digest(self, path: str, found: os.stat_result) -> bytes | None:
        """Return what a file holds that is as it was when it was put there or read."""
        row = self._before.rows.get(self._head + path)
        return row[1].digest if row is not None and row[0].matches(found) else None

    def is_changed(self, path: str, found: os.stat_result) -> bool:
        """Whether a file is known not to be as a download left it or a log read it."""
        row = self._before.rows.get(self._head + path)
        return row is not None and not row[0].matches(found)

    def holds(self, entry: Entry, found: os.stat_result) -> bool:
        """Whether a file that is at an entry's place is known to be what the entry says."""
        if entry.size < self._least:
            return False
        path = self._head + entry.path
        row = self._learned.get(path) or self._before.rows.get(path)
        if row is None or row[1].digest != entry.digest or row[0].executable != entry.executable:
            return False
        if not _is(row[0], found, row[1]):
            return False
        self._learned[path] = row
        return True

    def learn(self, entry: Entry, found: os.stat_result, known_at: int | None = None, *, placed: bool = False) -> None:
        """Note what a file holds that was read at a time of `clock()`, or, without one, was written just now.

        One that was read is as good as `placed` here where it is known that nobody has only this copy.
        """
        if self._cache.off or entry.size < self._least or len(self._learned) + len(self._written) >= MOST:
            return
        if known_at is None:
            self._written.append((entry, found))
        else:
            self._learned.update((row[0].path, row) for row in self._rows([(entry, found)], known_at, placed=placed))

    def wait(self) -> None:
        """Wait until the clock has moved on since the last file was written; the last thing before all appear."""
        newest = max([found.st_ctime_ns for _, found in self._written], default=0)
        deadline = time.monotonic() + _TICK
        while self._written and clock() <= newest and time.monotonic() < deadline:
            time.sleep(0.001)
        self._known_at = clock()

    def save(self, origin: Origin, *, count: int | None) -> None:
        """Remember what was learned, once all has appeared; `count` files were put there as a whole version.

        None is for a part of one. What else was put there before, and is there as it was, is still known.
        """
        self.sightings.save()
        written = {row[0].path: row for row in self._rows(self._written, self._known_at, placed=True)}
        rows = list((self._learned | written).values())
        if count is None and not rows:
            return
        before = self._before
        if count is not None:
            if len(rows) == count:  # else more rows could be taken for the missing ones by `is_whole`
                rows += self._others_standing({file.path for file, _ in rows})
            if not self._written and len(rows) == len(before) and before.origin == origin:
                return
            self._cache.save(self._root, rows, origin)
        else:
            paths = {file.path for file, _ in rows}
            rows += [row for path, row in before.rows.items() if path not in paths]
            same = before.origin is not None and before.origin.digest == origin.digest
            self._cache.save(self._root, rows, before.origin if same else None)

    def _others_standing(self, paths: set[str]) -> list[Row]:
        """Return the rows of other files that are there as they were."""
        standing: list[Row] = []
        for path, row in self._before.rows.items():
            if path not in paths:
                with suppress(OSError):  # gone
                    if row[0].matches(os.lstat(path)):
                        standing.append(row)
        return standing

    def _rows(self, found: Iterable[tuple[Entry, os.stat_result]], known_at: int, *, placed: bool) -> Iterator[Row]:
        for entry, status in found:
            file = file_source(self._head + entry.path, status)
            if settled(file, known_at):
                yield file, Known(entry.digest, entry.recipe, placed)


def _is(file: FileSource, found: os.stat_result, known: Known) -> bool:
    return file.matches(found) and not is_sealed(found, known.digest)
