"""External entries on their way: into a folder, or into a stream of bytes.

Knows entries, the places that they are read from and the place they go to; must not know chunks or versions.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import NamedTuple, Self

from blake3 import blake3

from ..storage.threads import Threads
from .download import is_there
from .entry import EXTERNAL, FILE, UNSEEN, Entry
from .external import Places
from .place import Place
from .reader import Reader
from .sightings import Sightings
from .stat_cache import StatCache
from .upload import Progress

__all__ = ["ExternalReader", "Gathering"]

THREADS = 8  # that wait for other places; each holds one part of an object
WINDOW = 4 * THREADS  # objects under way


class _Fetched(NamedTuple):
    entry: Entry
    file: Entry  # what it is in the folder
    written: os.stat_result | None


class Gathering:
    """Fetches external entries into a place while others fetch what the store has; use it as a context manager.

    Nothing that is not what was logged gets a file's name. Until `finish` was called, files are still to come.
    """

    def __init__(self, place: Place, progress: Progress | None = None) -> None:
        self._place = place
        self._remembered = place.remembered
        none = Sightings(StatCache(None), place.root)
        self._sightings = none if place.remembered is None else place.remembered.sightings
        self._progress = progress
        self._places = Places()
        self._pool: Threads | None = None
        self._under_way: deque[Future[_Fetched]] = deque()
        self._ended = threading.Event()  # then what is under way is of no use

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for one in self._under_way:
            one.cancel()
        if self._pool is not None:
            self._pool.shutdown()

    def apart(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the entries that the store has the bytes of, and begin to fetch the others."""
        for entry in entries:
            if entry.kind != EXTERNAL:
                yield entry
            else:
                self._begin(entry)

    def finish(self) -> None:
        """Wait until all is there; raises what a fetch failed with."""
        while self._under_way:
            self._next()

    def _begin(self, entry: Entry) -> None:
        file = self._sightings.as_file(entry)
        if file is not None and is_there(file, self._place):
            self._tell(file)
            return
        if self._pool is None:
            self._pool = Threads(THREADS, thread_name_prefix="lineart-outside")
        self._under_way.append(self._pool.submit(self._fetch, entry))
        if len(self._under_way) > WINDOW:
            self._next()

    def _next(self) -> None:
        entry, file, written = self._under_way.popleft().result()
        self._sightings.learn(entry, file.size, file.digest)
        if self._remembered is not None and written is not None:
            self._remembered.learn(file, written)
        self._tell(file)

    def _fetch(self, entry: Entry) -> _Fetched:
        hasher = blake3()
        sizes: list[int] = []

        def parts() -> Iterator[bytes]:
            for part in self._places.stream(entry):
                if self._ended.is_set():
                    raise CancelledError
                hasher.update(part)
                sizes.append(len(part))
                yield part

        written = self._place.write(entry.path, parts(), executable=entry.executable)
        return _Fetched(entry, Entry(entry.path, FILE, sum(sizes), hasher.digest(), None, entry.executable), written)

    def _tell(self, file: Entry) -> None:
        if self._progress is not None:
            self._progress(1, file.size)


class ExternalReader(Reader):
    """A seekable stream over an object where it is, verified as `Places.stream` says; each jump asks anew."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry
        self._places = Places()
        self._size = None if entry.digest == UNSEEN else entry.size
        self._parts: Iterator[bytes] | None = None
        self._part = memoryview(b"")
        self._place = 0  # of the next byte that the parts give

    def _end(self) -> int:
        if self._size is None:
            self._size = self._places.size(self._entry)
        return self._size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer with what has come; 0 at the end."""
        if self._parts is None or self._place != self._at:
            self._stop()
            self._parts, self._part, self._place = self._places.stream(self._entry, self._at), memoryview(b""), self._at
        if not self._part:
            self._part = memoryview(next(self._parts, b""))
        some = self._part[: len(buffer)]
        buffer[: len(some)] = some
        self._part = self._part[len(some) :]
        self._at = self._place = self._at + len(some)
        return len(some)

    def close(self) -> None:
        """Let go of the place."""
        self._stop()
        super().close()

    def _stop(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()
        self._parts = None
