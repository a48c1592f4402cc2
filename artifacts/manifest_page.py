"""One page of a manifest tree: its bytes, where it must end, and everything a reader checks about it.

Knows the encoding, the cutting rule and the checks; must not know how trees are built or walked. Format:
docs/format.md, "Manifest".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, compress
from operator import ne
from typing import Annotated, NamedTuple

import msgspec
from blake3 import blake3

from ..storage.errors import FormatTooNew, IntegrityError, InvalidName
from .entry import MAX_INTEGER, Count, Entry, Hash, PathOrder, check_paths, misfit, path_of, shown

__all__ = [
    "BATCH",
    "FORMAT",
    "MAX_BYTES",
    "MAX_ITEMS",
    "MAX_LEVEL",
    "MAX_PAGE",
    "MIN_ITEMS",
    "Beside",
    "Child",
    "GetPages",
    "Item",
    "PageReader",
    "Place",
    "PutPage",
    "child_place",
    "child_places",
    "encode_child",
    "end_by_bytes",
    "first_end",
    "page_bytes",
    "top_place",
    "total",
]

FORMAT = 1
MIN_ITEMS = 128  # before these, no item ends a page
MAX_ITEMS = 2048
MAX_BYTES = 1 << 20  # a page ends after the item with which its items come to this
MAX_PAGE = MAX_BYTES + (1 << 15)  # no item can be longer than 32 KiB
MAX_LEVEL = 15
THRESHOLD = -(-(1 << 32) // 384)
BATCH = 64  # pages asked for in one call: bounds memory, hides latency

PutPage = Callable[[bytes, bytes], None]
"""Called with (digest, page) for a page that is new; may be called twice with the same page."""
GetPages = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]
"""Given digests, returns their pages, verified against them; raises NotFound or IntegrityError itself."""


class Child(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """One item of an inner page: the last path below a page, its digest, and how many entries and bytes lie there."""

    path: str
    digest: Hash
    entries: Count
    size: Count


Item = Entry | Child


class Place(NamedTuple):
    """Where a page stands in its tree, and so what it must be.

    `after` is the path before its first (None: there is none); `child` is what its parent says of it (None for the
    root, whose `level` is not known either: None); `last` is true of the last page of its level.
    """

    digest: bytes
    level: int | None
    after: str | None
    child: Child | None
    last: bool


class _Leaf(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    format: int
    level: Annotated[int, msgspec.Meta(ge=0, le=0)]
    items: Annotated[list[Entry], msgspec.Meta(max_length=MAX_ITEMS)]


class _Inner(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    format: int
    level: Annotated[int, msgspec.Meta(ge=1, le=MAX_LEVEL)]
    items: Annotated[list[Child], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]


_encode = msgspec.msgpack.Encoder().encode
_decode_leaf = msgspec.msgpack.Decoder(_Leaf).decode
_decode_inner = msgspec.msgpack.Decoder(_Inner).decode


def encode_child(child: Item) -> bytes:
    """Encode one item of an inner page."""
    return _encode(child)


def page_bytes(level: int, encoded: Sequence[bytes]) -> bytes:
    """Join encoded items into a page: `[format, level, items]` in the shortest msgpack form."""
    count = len(encoded)
    array = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return b"".join((bytes([0x93, FORMAT, level]), array, *encoded))


def first_end(level: int, items: Sequence[Item], start: int, stop: int) -> int:
    """Return how many items the first page of `items` has by their paths' hashes alone; 0 if no path ends it.

    Only items start … stop - 1 are looked at. An item ends a page when `blake3(level byte ‖ path)`, first four bytes
    little-endian, is below 2³²/384, once the page holds 128 items.
    """
    start = max(start, MIN_ITEMS - 1)
    level_byte = bytes([level])
    hasher = blake3()  # one used again costs half of what making one a path does
    reset, update, finish = hasher.reset, hasher.update, hasher.digest
    for position, path in enumerate(map(path_of, items[start:stop]), start=start + 1):
        reset()
        update(level_byte + path.encode())
        digest = finish()
        # The threshold is below 2**24, so the fourth byte settles nearly every case.
        if not digest[3] and int.from_bytes(digest[:4], "little") < THRESHOLD:
            return position
    return 0


def total(items: Sequence[Item], level: int) -> tuple[int, int]:
    """Return the entries and bytes below items of one level."""
    size = sum([item.size for item in items])
    return (sum([item.entries for item in items if isinstance(item, Child)]) if level else len(items)), size


def top_place(root: bytes) -> Place:
    """Return the place of a root page."""
    return Place(root, None, None, None, last=True)


def child_place(place: Place, level: int, items: Sequence[Item], index: int) -> Place:
    """Return the place of one page below a page of the given level (1 or more)."""
    child = items[index]
    assert isinstance(child, Child)
    after = items[index - 1].path if index else place.after
    return Place(child.digest, level - 1, after, child, place.last and index == len(items) - 1)


def child_places(place: Place, level: int, items: Sequence[Item]) -> list[Place]:
    """Return the places of all pages right below a page of the given level (1 or more), in order."""
    return [child_place(place, level, items, index) for index in range(len(items))]


class Alike(NamedTuple):
    """What the paths of a page have in common with those of a page that was checked and has `others` of them.

    The first `start` are the same, and so are the last `end`.
    """

    start: int = 0
    end: int = 0
    others: int = 0

    def unproved(self, count: int) -> tuple[int, int]:
        """Return from where up to where the items of a page of so many may end it before its last one does.

        A path that is in the other page, too, ends none, or that page would have ended with it; but nothing is known of
        the last one there, and of the first ones, which may end a page here where they stand further behind.
        """
        start = min(self.start, max(self.others - 1, 0))
        return start, min(max(count - self.end, MIN_ITEMS - 1 + count - self.others), count - 1)


class Beside:
    """Pages of one level of two trees that are read side by side: most of a page that differs is in both.

    Where a page begins behind the same path as one of the other tree, paths that both have are checked once. A page is
    held until its counterpart comes, or too many others have come before that.
    """

    KEEP = 32

    def __init__(self) -> None:
        self._checked: dict[str | None, list[str]] = {}  # the paths of a page, by the path before them

    def alike(self, place: Place, paths: list[str]) -> Alike:
        """Return what a page's paths have in common with those of its counterpart."""
        others = self._checked.pop(place.after, None)
        if others is None:
            return Alike()
        least = min(len(paths), len(others))
        start = _same(paths, others, least)
        return Alike(start, _same(paths[::-1], others[::-1], least - start), len(others))

    def keep(self, place: Place, paths: list[str]) -> None:
        """Keep the paths of a page that was checked for its counterpart."""
        if len(self._checked) >= self.KEEP:
            del self._checked[next(iter(self._checked))]
        self._checked[place.after] = paths


def _same(paths: list[str], others: list[str], most: int) -> int:
    """Return how many paths are the same from the start on, at most so many."""
    return next(compress(range(most), map(ne, paths, others)), most)


class PageReader:
    """Pages by place, each checked whole before anything of it is used.

    IntegrityError for a page that breaks any rule of the format or is not what its parent says; FormatTooNew for a
    page of a later format. No page is decoded that is longer than a page can be, so memory stays bounded whatever
    comes. A few inner pages are kept, since every descent passes them. Safe from many threads.
    """

    KEEP = 48

    def __init__(self, get: GetPages) -> None:
        self._get = get
        self._kept: dict[Place, tuple[int, Sequence[Item]]] = {}

    def fetch(
        self, places: Sequence[Place], batch: int = BATCH, beside: Beside | None = None
    ) -> Iterator[tuple[Place, int, Sequence[Item]]]:
        """Yield (place, level, items) for each place in order; each batch of pages is asked for in one call.

        `beside` is for who reads pages of one level of two trees in turns.
        """
        for start in range(0, len(places), batch):
            opened = [(place, self._kept.get(place)) for place in places[start : start + batch]]
            wanted = [place.digest for place, kept in opened if kept is None]
            pages = dict(self._get(wanted)) if wanted else {}
            for place, kept in opened:
                level, items = kept or self._open(place, pages, beside)
                yield place, level, items

    def one(self, place: Place) -> tuple[int, Sequence[Item]]:
        """Return (level, items) of one page."""
        return self._kept.get(place) or self._open(place, self._get([place.digest]))

    def _open(
        self, place: Place, pages: Mapping[bytes, bytes], beside: Beside | None = None
    ) -> tuple[int, Sequence[Item]]:
        if place.digest not in pages:
            raise _damaged(place, "it is missing")
        opened = _parse(place, pages[place.digest], beside)
        if opened[0]:
            if len(self._kept) >= self.KEEP:
                self._kept.clear()
            self._kept[place] = opened
        return opened


def _parse(place: Place, page: bytes, beside: Beside | None) -> tuple[int, Sequence[Item]]:
    """Decode a page and check it against every rule that can be seen in it and in its place."""
    if len(page) > MAX_PAGE:
        raise _damaged(place, f"it has {len(page)} bytes, more than a page can have")
    if len(page) > 2 and page[0] == 0x93 and FORMAT < page[1] <= 0x7F:
        raise FormatTooNew(f"manifest page b3:{place.digest.hex()} has format {page[1]}; this Lineart reads {FORMAT}")
    try:
        parsed = _decode_inner(page) if len(page) > 2 and page[2] else _decode_leaf(page)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, str(error)) from None
    if parsed.format != FORMAT or _encode(parsed) != page:
        raise _damaged(place, "it is not in the one form that the format allows")
    level, items = parsed.level, parsed.items
    if place.level is not None and level != place.level:
        raise _damaged(place, f"it has level {level}, its parent wants {place.level}")
    paths = list(map(path_of, items))
    alike = Alike() if beside is None else beside.alike(place, paths)
    fresh = paths[alike.start : len(paths) - alike.end]
    try:
        if fresh:  # else all of them stand in the other page, which begins behind the same path, in the same order
            check_paths(fresh)
            _check_order(place, paths)
    except InvalidName as error:
        raise _damaged(place, str(error)) from None
    if isinstance(parsed, _Leaf) and (wrong := misfit(parsed.items)) is not None:
        raise _damaged(place, f"the entry {shown(wrong.path)} mixes the fields of a file and of an external entry")
    _check_totals(place, level, items)
    _check_cuts(place, level, items, len(page), alike)
    if beside is not None and not alike.others:
        beside.keep(place, paths)
    return level, items


def _check_order(place: Place, paths: list[str]) -> None:
    order = PathOrder()
    if place.after is not None:
        order.feed([place.after])
    order.feed(paths)


def _check_totals(place: Place, level: int, items: Sequence[Item]) -> None:
    entries, size = total(items, level)
    child = place.child
    if child is None:
        if level and len(items) < 2:
            raise _damaged(place, "a root above level 0 has at least two items")
        if entries > MAX_INTEGER or size > MAX_INTEGER:
            raise _damaged(place, "its totals are out of range")
    elif not items or items[-1].path != child.path:
        raise _damaged(place, f"its last path is not {shown(child.path)}, as its parent says")
    elif (entries, size) != (child.entries, child.size):
        said = f"{child.entries} entries and {child.size} bytes"
        raise _damaged(place, f"it holds {entries} entries and {size} bytes, its parent says {said}")


def _check_cuts(place: Place, level: int, items: Sequence[Item], size: int, alike: Alike) -> None:
    """Check that a page of `size` bytes ends at the first item that ends it; a level's last page may end before."""
    count = len(items)
    filled = size - (4 if count < 16 else 6)  # without what stands before the items
    if first_end(level, items, *alike.unproved(count)):
        raise _damaged(place, "it goes on past an item that ends a page")
    if filled >= MAX_BYTES and filled - len(_encode(items[-1])) >= MAX_BYTES:
        raise _damaged(place, "it goes on past the bytes that end a page")
    if not (place.last or count == MAX_ITEMS or filled >= MAX_BYTES or first_end(level, items, count - 1, count)):
        raise _damaged(place, "it ends where no page ends")


def end_by_bytes(encoded: Sequence[bytes]) -> int:
    """Return how many items come to 1 MiB or more; 0 if all of them don't."""
    for count, size in enumerate(accumulate(map(len, encoded)), start=1):
        if size >= MAX_BYTES:
            return count
    return 0


def _damaged(place: Place, why: str) -> IntegrityError:
    return IntegrityError(f"manifest page b3:{place.digest.hex()} is damaged: {why}")
