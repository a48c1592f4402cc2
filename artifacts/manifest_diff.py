"""What differs between two manifests, without reading the pages that they share.

Knows how to pair pages and entries; must not know where versions come from or how differences are shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, compress, count
from operator import ne
from typing import NamedTuple, cast

from .entry import Entry, path_of
from .manifest_page import Beside, Item, PageReader, Place, child_place
from .manifest_read import Manifest

__all__ = ["Change", "Rename", "diff", "renames"]


Opened = tuple[Place, int, Sequence[Item]]


class Change(NamedTuple):
    """One path that differs: `old` is None where it was added, `new` where it was removed."""

    path: str
    old: Entry | None
    new: Entry | None


class Rename(NamedTuple):
    """A removed entry and an added one with the same content."""

    old: Entry
    new: Entry


def diff(a: Manifest, b: Manifest) -> Iterator[Change]:
    """Yield the changes that lead from `a` to `b`, in the order of their paths' bytes.

    Costs what differs: a page that both have is neither read nor descended into, wherever it stands. Raises
    IntegrityError for a page that breaks the format's rules; rules between pages that are not read are not checked.
    """
    if a.root == b.root:
        return
    old, new = [a.top], [b.top]
    old_level, new_level = a.reader.one(a.top)[0], b.reader.one(b.top)[0]
    while old_level or new_level:
        if old_level == new_level:
            beside = Beside()  # most of a page that differs is in both, and checking it is what reading it costs
            above = list(a.reader.fetch(old, beside=beside))
            opposite = list(b.reader.fetch(new, beside=beside))
            shared = _named(above) & _named(opposite)
            old, new = _below(above, shared), _below(opposite, shared)
            old_level, new_level = old_level - 1, new_level - 1
        elif old_level > new_level:
            old, old_level = _below(a.reader.fetch(old), {place.digest for place in new}), old_level - 1
        else:
            new, new_level = _below(b.reader.fetch(new), {place.digest for place in old}), new_level - 1
    beside = Beside()
    yield from _changes(_leaves(a.reader, old, beside), _leaves(b.reader, new, beside))


def _named(opened: Iterable[Opened]) -> set[bytes]:
    """Return the digests of the pages right below pages."""
    return {item.digest for _, _, items in opened for item in items}


def _below(opened: Iterable[Opened], but: AbstractSet[bytes]) -> list[Place]:
    """Return the places of the pages right below pages, but for those of some digests."""
    return [
        child_place(place, level, items, index)
        for place, level, items in opened
        for index, item in enumerate(items)
        if item.digest not in but
    ]


def _leaves(reader: PageReader, places: Sequence[Place], beside: Beside) -> Iterator[Sequence[Entry]]:
    for _, _, items in reader.fetch(places, beside=beside):
        yield cast("Sequence[Entry]", items)


def _changes(old: Iterator[Sequence[Entry]], new: Iterator[Sequence[Entry]]) -> Iterator[Change]:
    """Compare leaves stretch by stretch: each goes as far as the page that ends first."""
    before: Sequence[Entry] = ()
    after: Sequence[Entry] = ()
    while (before := before or next(old, ())) and (after := after or next(new, ())):
        until = min(before[-1].path, after[-1].path)
        gone, come = bisect_right(before, until, key=path_of), bisect_right(after, until, key=path_of)
        yield from _differing(before[:gone], after[:come])
        before, after = before[gone:], after[come:]
    for rest in chain([before], old):
        yield from [Change(entry.path, entry, None) for entry in rest]
    for rest in chain([after], new):
        yield from [Change(entry.path, None, entry) for entry in rest]


def _differing(old: Sequence[Entry], new: Sequence[Entry]) -> Iterator[Change]:
    """Compare entries of one stretch of paths; what is alike at its start and end is passed over at once."""
    start = _alike(old, new)
    old, new = old[start:], new[start:]
    rest = _alike(old[::-1], new[::-1])
    before = {entry.path: entry for entry in old[: len(old) - rest]}
    after = {entry.path: entry for entry in new[: len(new) - rest]}
    for path in sorted({**before, **after}):
        was, now = before.get(path), after.get(path)
        if was != now:
            yield Change(path, was, now)


def _alike(old: Sequence[Entry], new: Sequence[Entry]) -> int:
    """Return how many entries are the same from the start on."""
    return next(compress(count(), map(ne, old, new)), min(len(old), len(new)))


def renames(changes: Iterable[Change]) -> list[Rename]:
    """Pair removed entries with added ones of the same kind and digest, each once, in the order of the changes.

    Empty files are never paired: they are all alike.

    >>> old, new = Entry("a", 0, 1, bytes(32)), Entry("b", 0, 1, bytes(32))
    >>> [(pair.old.path, pair.new.path) for pair in renames([Change("a", old, None), Change("b", None, new)])]
    [('a', 'b')]
    """
    gone: dict[tuple[int, bytes], list[Entry]] = {}
    come: list[Entry] = []
    for _, old, new in changes:
        if new is None and old is not None and old.size:
            gone.setdefault((old.kind, old.digest), []).append(old)
        elif old is None and new is not None and new.size:
            come.append(new)
    for removed in gone.values():
        removed.reverse()
    return [Rename(found.pop(), new) for new in come if (found := gone.get((new.kind, new.digest)))]
