"""Which places a version refers to, and how much of each: what its external entries come to.

Knows URLs as text, and entries; must not know drafts, stores or networks. Pure. A place is an object or, where its URL
ends with a slash, a folder of objects. An entry counts to the longest place that its URL is or lies below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from .entry import Entry
from .records import ExternalRecord

__all__ = ["MOST", "Tally", "are_nested", "folders"]

MOST = 1000  # places that are told apart: past that, those of a folder are one
LONGEST = 1024  # bytes of a place's URL; an index takes no keys of any length
_ODD = 256  # characters kept of what is no URL


class Tally:
    """Counts external entries by place; `known` is what was counted before.

    >>> tally = Tally(["s3://corpus/web/"])
    >>> tally.add("s3://corpus/web/a/1.txt", 10)
    >>> tally.records()
    (ExternalRecord(url='s3://corpus/web/', objects=1, size=10),)
    """

    def __init__(self, places: Iterable[str], known: Iterable[ExternalRecord] = ()) -> None:
        self._counts = {one.url: (one.objects, one.size) for one in known}
        self._places = {*places, *self._counts}
        self._last = ("", "")  # a folder and the place it belongs to: entries come in the order of their paths

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass entries on, and count those that are external."""
        for entry in entries:
            if entry.external is not None:
                self.add(entry.external.url, entry.size)
            yield entry

    def change(self, old: Entry | None, new: Entry | None) -> None:
        """Count an entry in place of another."""
        if old is not None and old.external is not None:
            self.add(old.external.url, -old.size, -1)
        if new is not None and new.external is not None:
            self.add(new.external.url, new.size)

    def add(self, url: str, size: int, objects: int = 1) -> None:
        """Count an object."""
        place = url if url in self._places else self._place_of(url)
        known = self._counts.get(place, (0, 0))
        self._counts[place] = known[0] + objects, known[1] + size

    def records(self) -> tuple[ExternalRecord, ...]:
        """Return what there is of each place, by URL; at most MOST of them."""
        found = {url: count for url, count in self._counts.items() if count[0] > 0}
        return tuple(ExternalRecord(url, *count) for url, count in sorted(_condensed(found).items()))

    def _place_of(self, url: str) -> str:
        own = _parent(url)
        if own != self._last[0]:
            self._last = own, next((one for one in _above(url) if one in self._places), own)
        return self._last[1]


def are_nested(new: Collection[str], places: Collection[str]) -> bool:
    """Whether a place that is new lies below another or has another below it, so that entries would count anew."""
    for place in places:
        for above in _above(place):
            if above in places and (place in new or above in new):
                return True
    return False


def folders(places: Iterable[str]) -> set[str]:
    """Return the folders that places lie in, for those who cannot hold so many places."""
    return {_parent(place) for place in places}


def _above(url: str) -> Iterator[str]:
    """Yield the folders that a place lies in, from the innermost."""
    folder = _parent(url)
    while folder and folder != url:
        yield folder
        url, folder = folder, _parent(folder)


def _parent(url: str) -> str:
    """Return the folder that a place lies in; `s3://` is its own."""
    if url.endswith("://"):
        return url
    end = url.rstrip("/").rfind("/")
    return url[: end + 1] if "://" in url else url[:_ODD]


def _condensed(counts: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return at most MOST places with URLs of at most LONGEST bytes: the deepest give way to the folders above them."""
    by_depth: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for url, count in counts.items():
        place = url
        while len(place.encode()) > LONGEST:
            place = _parent(place)
        _merge(by_depth, place, count)
    while sum(map(len, by_depth.values())) > MOST:
        deepest = max(by_depth)
        for url, count in by_depth.pop(deepest).items():
            _merge(by_depth, _parent(url), count)
    return {url: count for level in by_depth.values() for url, count in level.items()}


def _merge(by_depth: dict[int, dict[str, tuple[int, int]]], url: str, count: tuple[int, int]) -> None:
    level = by_depth[url.rstrip("/").count("/")]
    known = level.get(url, (0, 0))
    level[url] = known[0] + count[0], known[1] + count[1]
