"""Whether files are what external entries bring: compared with what their places send, of which nothing is kept.

Knows external entries, the places that they are read from and files at a place; must not know versions, or what
follows from it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import CancelledError
from threading import Event
from typing import TYPE_CHECKING

from blake3 import blake3

from ..storage.threads import Threads
from .entry import FILE, UNSEEN, Entry
from .external import Places
from .refusal import refusal
from .stat_cache import clock

if TYPE_CHECKING:
    from .place import Place

__all__ = ["are_brought", "can_be_brought"]

THREADS = 8  # that wait for other places


def can_be_brought(entry: Entry, size: int, place: Place) -> bool:
    """Whether a file of this size may be what an entry brings, and only the place that it brings it from can tell."""
    if entry.external is None or size < 0 or (entry.digest != UNSEEN and entry.size != size):
        return False
    return place.remembered is None or place.remembered.sightings.as_file(entry) is None


def are_brought(files: Collection[tuple[Entry, int]], place: Place) -> set[str]:
    """Return the paths of those files that hold what their entries bring, and remember them as if put there.

    Each is given with its size. A file is read as far as it agrees with what comes. Raises IntegrityError where an
    object is not what was logged any more, StoreUnavailable where its place does not answer.
    """
    places = Places()
    ended = Event()  # then what is under way is of no use

    def is_brought(entry: Entry, size: int) -> bool:
        return not ended.is_set() and _is_brought(entry, size, place, places, ended)

    with Threads(THREADS, thread_name_prefix="lineart-compare") as pool:
        try:
            found = pool.map(is_brought, [entry for entry, _ in files], [size for _, size in files])
            return {entry.path for (entry, _), same in zip(files, found, strict=True) if same}
        finally:
            ended.set()


def _is_brought(entry: Entry, size: int, place: Place, places: Places, ended: Event) -> bool:
    known_at = clock()
    opened = place.open_found(entry.path, size)
    if opened is None:
        return False
    number = opened[0]
    hasher = blake3()
    try:
        for part in places.stream(entry):
            if ended.is_set():
                raise CancelledError
            if _read(number, len(part)) != part:
                return False
            hasher.update(part)
        if _read(number, 1):
            return False
        found = os.fstat(number)
    except OSError as error:
        raise refusal(place.root, error, entry.path) from error
    finally:
        os.close(number)
    if place.remembered is not None:
        place.remembered.sightings.learn(entry, size, hasher.digest())
        same = Entry(entry.path, FILE, size, hasher.digest(), None, entry.executable)
        place.remembered.learn(same, found, known_at, placed=True)
    return True


def _read(number: int, size: int) -> bytes:
    """Read so many bytes, less only at the end."""
    data = b""
    while len(data) < size and (more := os.read(number, size - len(data))):
        data += more
    return data
