"""Building a manifest: sorted items in, pages out, level by level.

Knows how a level's items are cut into pages and how levels are stacked; must not know how pages are read or edited.
Memory stays at a few pages a level. Format: docs/format.md, "Manifest".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from blake3 import blake3

from ..storage.errors import InvalidInput
from .entry import MAX_INTEGER, Entry, PathOrder, check_paths, encode_entries, path_of
from .manifest_page import (
    MAX_BYTES,
    MAX_ITEMS,
    Child,
    Item,
    PutPage,
    encode_child,
    end_by_bytes,
    first_end,
    page_bytes,
    total,
)

__all__ = ["Cutter", "Levels", "Root", "build", "root_of"]

_PORTION = 1024  # entries checked and encoded at once


class Root(NamedTuple):
    """A manifest: the digest of its root page (the version's digest), its entries, and their bytes."""

    digest: bytes
    entries: int
    size: int


class Cutter:
    """Cuts the items of one level into pages as they come, and puts each page as soon as its end is known."""

    def __init__(self, level: int, put: PutPage) -> None:
        self.level = level
        self.made = 0  # pages
        self.newest: Child | None = None
        self._put = put
        self._items: list[Item] = []  # of the page that is open
        self._encoded: list[bytes] = []
        self._bytes = 0
        self._seen = 0  # items whose hashes were found not to end the page

    @property
    def open_items(self) -> Sequence[Item]:
        """The items of the page that has no end yet; none when the items so far end with a page."""
        return self._items

    def feed(self, items: Sequence[Item], encoded: Sequence[bytes]) -> list[Child]:
        """Take the next items and return the pages that they complete."""
        self._items += items
        self._encoded += encoded
        self._bytes += sum(map(len, encoded))
        done: list[Child] = []
        while end := self._end():
            done.append(self._cut(end))
        return done

    def finish(self) -> list[Child]:
        """Return the page of the items left over, if there are any: the level ends here."""
        return [self._cut(len(self._items))] if self._items else []

    def _end(self) -> int:
        stop = min(len(self._items), MAX_ITEMS)
        by_bytes = end_by_bytes(self._encoded[:stop]) if self._bytes >= MAX_BYTES else 0
        stop = by_bytes or stop
        if end := first_end(self.level, self._items, self._seen, stop):
            return end
        if by_bytes or stop == MAX_ITEMS:
            return stop
        self._seen = stop
        return 0

    def _cut(self, end: int) -> Child:
        items, encoded = self._items[:end], self._encoded[:end]
        del self._items[:end], self._encoded[:end]
        self._bytes -= sum(map(len, encoded))
        self._seen = 0
        entries, size = total(items, self.level)
        if size > MAX_INTEGER:
            raise InvalidInput(f"the entries come to {size} bytes; at most {MAX_INTEGER} can be counted")
        page = page_bytes(self.level, encoded)
        digest = blake3(page).digest()
        self._put(digest, page)
        self.made += 1
        self.newest = Child(items[-1].path, digest, entries, size)
        return self.newest


class Levels:
    """The levels from `base` upwards: what one completes is fed to the next, and the single page on top is the root."""

    def __init__(self, put: PutPage, base: int = 0) -> None:
        self._put = put
        self._cutters = [Cutter(base, put)]

    def feed(self, items: Sequence[Item], encoded: Sequence[bytes]) -> None:
        """Take the next items of the base level."""
        self._rise(0, items, encoded)

    def finish(self) -> Child | None:
        """Return what the parent of the root page would say of it; None if there were no items."""
        for index, cutter in enumerate(self._cutters):
            rest = cutter.finish()
            if cutter.made < 2:
                return cutter.newest
            self._rise(index + 1, rest, list(map(encode_child, rest)))
        raise AssertionError("each level has fewer pages than the one below")

    def _rise(self, index: int, items: Sequence[Item], encoded: Sequence[bytes]) -> None:
        while items:
            if index == len(self._cutters):
                self._cutters.append(Cutter(self._cutters[-1].level + 1, self._put))
            items = self._cutters[index].feed(items, encoded)
            encoded = list(map(encode_child, items))
            index += 1


def build(entries: Iterable[Entry], put: PutPage) -> Root:
    """Build the manifest of entries that come sorted by the bytes of their paths, putting every page once.

    Streams: memory does not grow with the number of entries. Raises InvalidName for a path outside the grammar, out of
    order, there twice, or both a file and a folder; InvalidInput for fields that cannot be stored. Pages put before an
    error are of no use.

    >>> pages: dict[bytes, bytes] = {}
    >>> build([Entry("a", 0, 1, bytes(32)), Entry("b", 0, 2, bytes(32))], pages.__setitem__)[1:]
    (2, 3)
    """
    order = PathOrder()
    levels = Levels(put)
    source = iter(entries)
    while portion := list(islice(source, _PORTION)):
        paths = list(map(path_of, portion))
        check_paths(paths)
        order.feed(paths)
        levels.feed(portion, encode_entries(portion))
    return root_of(levels.finish(), put)


def root_of(top: Child | None, put: PutPage) -> Root:
    """Return the root that a top page is; without one, put the page of the empty tree."""
    if top is not None:
        return Root(top.digest, top.entries, top.size)
    page = page_bytes(0, [])
    digest = blake3(page).digest()
    put(digest, page)
    return Root(digest, 0, 0)
