"""Reading a manifest: walking, looking up and listing, page by page.

Knows how to descend and which pages need not be read; must not know how trees are made or where pages are kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple, cast

from ..storage.errors import IntegrityError, InvalidName
from .entry import Entry, PathOrder, check_path, path_of
from .manifest_page import (
    BATCH,
    Child,
    GetPages,
    PageReader,
    Place,
    child_place,
    child_places,
    top_place,
    total,
)

__all__ = ["Folder", "Manifest"]

_INNER_BATCH = 4  # while a walk is below an inner page it holds the next ones, on every level


class Folder(NamedTuple):
    """A folder as a listing shows it: its own name, and the entries and bytes of everything below."""

    name: str
    entries: int
    size: int


class _Want(Enum):
    NOTHING = 0
    TOTALS = 1
    ITEMS = 2


class Manifest:
    """A manifest that can be read: `root` is its root page's digest, `get` returns verified pages by digest.

    Pages are read when they are needed, so making one costs nothing; all methods may be used from many threads. Each
    raises IntegrityError for a page that breaks the format's rules, and whatever `get` raises. A rule between two
    pages (a file that is also a folder) is seen by whoever reads both: `walk` always does.

    >>> from lineart.artifacts.manifest import build
    >>> pages: dict[bytes, bytes] = {}
    >>> root = build([Entry("a/b", 0, 5, bytes(32))], pages.__setitem__)
    >>> list(Manifest(root.digest, lambda digests: {d: pages[d] for d in digests}).children())
    [Folder(name='a', entries=1, size=5)]
    """

    def __init__(self, root: bytes, get: GetPages) -> None:
        self.root = bytes(root)
        self.reader = PageReader(get)

    @property
    def top(self) -> Place:
        """The place of the root page."""
        return top_place(self.root)

    @property
    def entries(self) -> int:
        """How many entries there are; reads the root page."""
        level, items = self.reader.one(self.top)
        return total(items, level)[0]

    @property
    def size(self) -> int:
        """The bytes of all entries; reads the root page."""
        level, items = self.reader.one(self.top)
        return total(items, level)[1]

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the entries in the order of their paths' bytes: all, or those that `prefix` names.

        A prefix is whole path parts: the entry of that path or everything in that folder; where there is neither,
        nothing is yielded. InvalidName if it is not a path.
        """
        if prefix:
            check_path(prefix)
        return self._walk(prefix)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        start, stop = f"{prefix}/", f"{prefix}0"  # "0" is the character behind "/"

        def choose(after: str, until: str) -> _Want:
            outside = until < prefix or after >= stop or (after >= prefix and until < start)
            return _Want.NOTHING if prefix and outside else _Want.ITEMS

        order = PathOrder()
        for place, items in self._visit([self.top], choose):
            assert items is not None
            chosen = items
            if prefix:
                low, high = _bounds(items, start, stop)
                index = bisect_left(items, prefix, key=path_of)
                named = items[index : index + 1] if index < len(items) and items[index].path == prefix else ()
                chosen = [*named, *items[low:high]]
            _follow(order, place, [entry.path for entry in chosen])
            yield from chosen

    def lookup(self, path: str) -> Entry | None:
        """Return the entry of a path, or None; reads one page a level."""
        place = self.top
        while True:
            level, items = self.reader.one(place)
            index = bisect_left(items, path, key=path_of)
            if index == len(items):
                return None
            if not level:
                return cast("Entry", items[index]) if items[index].path == path else None
            place = child_place(place, level, items, index)

    def children(self, folder: str = "") -> Iterator[Folder | Entry]:
        """Yield what lies right in a folder (the top one: ""), in the order of the paths' bytes.

        Files come as their entries, folders with their totals; pages that lie wholly inside one folder are counted
        from their parent, unread. Where there is no such folder nothing is yielded. InvalidName if it is not a path.
        """
        if folder:
            check_path(folder)
        return self._children(f"{folder}/" if folder else "", f"{folder}0" if folder else "")

    def _children(self, head: str, stop: str) -> Iterator[Folder | Entry]:
        skip = len(head)

        def choose(after: str, until: str) -> _Want:
            if until < head or (stop and after >= stop):
                return _Want.NOTHING
            slash = after.find("/", skip) + 1
            inside = slash and after.startswith(head) and until.startswith(after[:slash])
            return _Want.TOTALS if inside else _Want.ITEMS

        order = PathOrder()
        pending: Folder | None = None
        for place, items in self._visit([self.top], choose):
            found = [_counted(place, skip)] if items is None else _listed(items, head, stop)
            paths: list[str] = []
            listing: list[Folder | Entry] = []
            for item in found:
                if isinstance(item, Folder) and pending is not None and item.name == pending.name:
                    pending = Folder(item.name, pending.entries + item.entries, pending.size + item.size)
                    continue
                if pending is not None:
                    listing.append(pending)
                    pending = None
                if isinstance(item, Folder):
                    pending = item
                    paths.append(f"{head}{item.name}/")
                else:
                    listing.append(item)
                    paths.append(item.path)
            _follow(order, place, paths)
            yield from listing
        if pending is not None:
            yield pending

    def pages(self) -> Iterator[bytes]:
        """Yield the digest of every page once, parents first; leaf pages are not read."""
        yield self.root
        yield from self._pages_below([self.top])

    def _pages_below(self, places: Sequence[Place]) -> Iterator[bytes]:
        for place, level, items in self.reader.fetch(places, _INNER_BATCH):
            if level:
                below = child_places(place, level, items)
                yield from [child.digest for child in below]
                if level > 1:
                    yield from self._pages_below(below)

    def _visit(
        self, places: Sequence[Place], choose: Callable[[str, str], _Want]
    ) -> Iterator[tuple[Place, Sequence[Entry] | None]]:
        """Yield the leaf pages wanted, in order: with their items, or with None where totals do.

        `choose` is given the path before a page's first (or "") and its last.
        """
        wants = [
            (place, choose(place.after or "", place.child.path) if place.child else _Want.ITEMS) for place in places
        ]
        wants = [(place, want) for place, want in wants if want is not _Want.NOTHING]
        batch = _INNER_BATCH if places[0].level else BATCH
        opened = self.reader.fetch([place for place, want in wants if want is _Want.ITEMS], batch)
        for place, want in wants:
            if want is _Want.TOTALS:
                yield place, None
                continue
            _, level, items = next(opened)
            if level:
                yield from self._visit(child_places(place, level, items), choose)
            else:
                yield place, cast("Sequence[Entry]", items)


def _bounds(items: Sequence[Entry], start: str, stop: str) -> tuple[int, int]:
    low = bisect_left(items, start, key=path_of)
    return low, bisect_left(items, stop, low, key=path_of) if stop else len(items)


def _counted(place: Place, skip: int) -> Folder:
    assert isinstance(place.child, Child)
    child = place.child
    return Folder(child.path[skip : child.path.index("/", skip)], child.entries, child.size)


def _listed(items: Sequence[Entry], head: str, stop: str) -> Iterator[Folder | Entry]:
    index, high = _bounds(items, head, stop)
    skip = len(head)
    while index < high:
        entry = items[index]
        slash = entry.path.find("/", skip)
        if slash < 0:
            yield entry
            index += 1
        else:
            beyond = bisect_left(items, f"{entry.path[:slash]}0", index, high, key=path_of)
            yield Folder(entry.path[skip:slash], beyond - index, sum([below.size for below in items[index:beyond]]))
            index = beyond


def _follow(order: PathOrder, place: Place, paths: Sequence[str]) -> None:
    try:
        order.feed(paths)
    except InvalidName as error:
        raise IntegrityError(f"manifest page b3:{place.digest.hex()} is damaged: {error}") from None
