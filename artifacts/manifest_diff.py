"""What differs between two manifests, without reading the pages that they share.

Knows how to pair pages and entries; must not know where versions come from or how differences are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from .entry import Entry
from .manifest_page import PageReader, Place, child_places
from .manifest_read import Manifest

__all__ = ["Change", "Rename", "diff", "renames"]


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
        level = max(old_level, new_level)
        if old_level == level:
            old, old_level = _below(a.reader, old), level - 1
        if new_level == level:
            new, new_level = _below(b.reader, new), level - 1
        if old_level == new_level:
            shared = {place.digest for place in old} & {place.digest for place in new}
            old = [place for place in old if place.digest not in shared]
            new = [place for place in new if place.digest not in shared]
    yield from _changes(_entries(a.reader, old), _entries(b.reader, new))


def _below(reader: PageReader, places: Sequence[Place]) -> list[Place]:
    return [below for place, level, items in reader.fetch(places) for below in child_places(place, level, items)]


def _entries(reader: PageReader, leaves: Sequence[Place]) -> Iterator[Entry]:
    for _, _, items in reader.fetch(leaves):
        yield from cast("Sequence[Entry]", items)


def _changes(old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[Change]:
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before.path < after.path):
            assert before is not None
            yield Change(before.path, before, None)
            before = next(old, None)
        elif before is None or after.path < before.path:
            yield Change(after.path, None, after)
            after = next(new, None)
        else:
            if before != after:
                yield Change(before.path, before, after)
            before, after = next(old, None), next(new, None)


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
