"""Editing a manifest: the pages that a set of changes touches are cut again, level by level.

Knows how to find those pages and when the cuts agree with the old ones again; must not know what the changes are for.
The result is the manifest that building from scratch would give: a page's end depends on nothing before its start, so
cutting again from the start of a changed page until an old page ends where a new one does is enough. Where there are
too many changes for memory, `overlay` makes a stream of them and of everything else, to be built from.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

from ..storage.errors import InvalidInput, InvalidName
from .entry import Entry, PathOrder, check_paths, encode_entries, path_of, shown
from .manifest_build import Cutter, Levels, Root, root_of
from .manifest_page import (
    Child,
    GetPages,
    Item,
    PageReader,
    Place,
    PutPage,
    child_place,
    encode_child,
    top_place,
    total,
)

__all__ = ["edit", "overlay"]


def edit(root: bytes, changes: Mapping[str, Entry | None], get: GetPages, put: PutPage) -> Root:
    """Return the manifest that has `changes` made: an entry is added or replaced, None removes the path if it is there.

    Equal to building the changed set from scratch, at the cost of what changes; exactly the pages that the old manifest
    does not have are put. Raises InvalidName for a path outside the grammar or that would be both a file and a folder,
    InvalidInput for fields that cannot be stored, IntegrityError for a damaged old page. Pages put before an error are
    of no use.

    >>> from lineart.artifacts.manifest import build
    >>> pages: dict[bytes, bytes] = {}
    >>> old = build([Entry("a", 0, 1, bytes(32))], pages.__setitem__)
    >>> changes = {"a": None, "b": Entry("b", 0, 7, bytes(32))}
    >>> edit(old.digest, changes, lambda digests: {d: pages[d] for d in digests}, pages.__setitem__)[1:]
    (1, 7)
    """
    keys = sorted(changes)
    check_paths(keys)
    added = [key for key in keys if changes[key] is not None]
    for key in added:
        if cast("Entry", changes[key]).path != key:
            raise InvalidInput(f"the change of {shown(key)} is an entry of another path")
    PathOrder().feed(added)
    return _Edit(top_place(bytes(root)), PageReader(get), put).run(keys, changes)


def overlay(old: Iterable[Entry], removed: Collection[str], new: Iterable[Entry]) -> Iterator[Entry]:
    """Yield sorted entries with others laid over them, sorted too: those replace, and `removed` files and folders go.

    >>> one, two, three = (Entry(path, 0, 1, bytes(32)) for path in ("a/1", "b", "c"))
    >>> [entry.path for entry in overlay([one, two], {"a"}, [three])]
    ['b', 'c']
    """
    coming = iter(new)
    following = next(coming, None)
    for entry in old:
        while following is not None and following.path < entry.path:
            yield following
            following = next(coming, None)
        if following is not None and following.path == entry.path:
            continue
        if not removed or not _is_below(entry.path, removed):
            yield entry
    if following is not None:
        yield following
    yield from coming


def _is_below(path: str, tops: Collection[str]) -> bool:
    end = path.find("/")
    while end >= 0:
        if path[:end] in tops:
            return True
        end = path.find("/", end + 1)
    return path in tops


class _Span(NamedTuple):
    place: Place
    low: int  # of the keys that belong to this page
    high: int


class _Recut(NamedTuple):
    gone: list[Child]  # old pages that were taken in
    made: list[Child]  # the pages cut from them
    whole: bool  # the old level was taken in from its first page to its last
    only: Child | None  # the level would be one page with this single item: it is not needed


class _Edit:
    def __init__(self, top: Place, reader: PageReader, put: PutPage) -> None:
        self._top = top
        self._reader = reader
        self._put = put
        self._known: set[bytes] = set()  # old pages that were taken in; they need not be put again

    def run(self, keys: Sequence[str], changes: Mapping[str, Item | None]) -> Root:
        height, items = self._reader.one(self._top)
        for level in range(height + 1):
            if not keys:
                return Root(self._top.digest, *total(items, height))
            recut = self._recut(level, keys, changes)
            if recut.only is not None:
                return root_of(self._descend(recut.only, level - 1), self._put_new)
            if recut.whole and len(recut.made) < 2:
                return root_of(recut.made[0] if recut.made else None, self._put_new)
            if level == height:
                above = Levels(self._put_new, level + 1)
                above.feed(recut.made, list(map(encode_child, recut.made)))
                return root_of(above.finish(), self._put_new)
            kept = set(recut.gone) & set(recut.made)
            changes = {child.path: None for child in recut.gone if child not in kept}
            changes |= {child.path: child for child in recut.made if child not in kept}
            keys = sorted(changes)
        raise AssertionError("the top level is always taken in whole")

    def _put_new(self, digest: bytes, page: bytes) -> None:
        if digest not in self._known:
            self._put(digest, page)

    def _descend(self, child: Child, level: int) -> Child:
        """Skip single items from the top: a root above level 0 has two items. The page is an old one."""
        while level:
            _, items = self._reader.one(Place(child.digest, level, None, child, last=True))
            if len(items) > 1:
                break
            child, level = cast("Child", items[0]), level - 1
        return child

    def _recut(self, level: int, keys: Sequence[str], changes: Mapping[str, Item | None]) -> _Recut:
        """Cut the pages again that hold the keys, each run of them until the cuts agree with the old ones."""
        spans = self._spans(level, keys)
        cutter = Cutter(level, self._put_new)
        probes = _Probes(changes)
        taken: list[Place] = []
        made: list[Child] = []

        def take(place: Place, items: Sequence[Item]) -> None:
            taken.append(place)
            self._known.add(place.digest)
            made.extend(cutter.feed(items, _encoded(level, items)))

        for index, (place, _, items) in enumerate(self._reader.fetch([span.place for span in spans])):
            _, low, high = spans[index]
            if not level:
                probes.note(place, items, keys[low:high])
            take(place, _merged(items, keys[low:high], changes))
            following = spans[index + 1].place if index + 1 < len(spans) else None
            while cutter.open_items and (after := self._following(taken[-1])) not in {None, following}:
                assert after is not None
                take(after, self._reader.one(after)[1])
        self._refuse_clashes(probes)
        whole = taken[0].after is None and taken[-1].last
        whole = whole and all(a.child and a.child.path == b.after for a, b in pairwise(taken))
        if level and whole and not cutter.made and len(cutter.open_items) == 1:
            return _Recut([], [], whole, cast("Child", cutter.open_items[0]))
        made.extend(cutter.finish())
        return _Recut([place.child for place in taken if place.child], made, whole, None)

    def _spans(self, level: int, keys: Sequence[str]) -> list[_Span]:
        """Return the old pages of a level that hold the keys or would: those past the last path go to the last page."""
        spans = [_Span(self._top, 0, len(keys))]
        for _ in range(self._reader.one(self._top)[0] - level):
            below: list[_Span] = []
            for span, (place, above, items) in zip(spans, self._reader.fetch([s.place for s in spans]), strict=True):
                low = span.low
                while low < span.high:
                    index = bisect_left(items, keys[low], key=path_of)
                    if index < len(items) - 1:
                        high = bisect_right(keys, items[index].path, low, span.high)
                    else:
                        index, high = len(items) - 1, span.high
                    below.append(_Span(child_place(place, above, items, index), low, high))
                    low = high
            spans = below
        return spans

    def _following(self, page: Place) -> Place | None:
        """Return the page after one on its level, if there is one."""
        if page.child is None:
            return None
        place = self._top
        while place.level != page.level:
            level, items = self._reader.one(place)
            index = bisect_right(items, page.child.path, key=path_of)
            if index == len(items):
                return None
            place = child_place(place, level, items, index)
        return place

    def _refuse_clashes(self, probes: _Probes) -> None:
        """Look up what the pages taken in did not show: old files where folders come, old folders where files come."""
        keys = sorted(probes.files)
        for span, (_, _, items) in self._fetched(keys):
            for key in keys[span.low : span.high]:
                index = bisect_left(items, key, key=path_of)
                if index < len(items) and items[index].path == key:
                    raise _clash(key, probes.files[key])
        keys = sorted(f"{path}/" for path in probes.folders)
        for span, (place, _, items) in self._fetched(keys):
            for key in keys[span.low : span.high]:
                for path in self._paths_in(key, place, items):
                    if path not in probes.changes:
                        raise _clash(key[:-1], path)

    def _fetched(self, keys: Sequence[str]) -> Iterator[tuple[_Span, tuple[Place, int, Sequence[Item]]]]:
        spans = self._spans(0, keys) if keys else []
        return zip(spans, self._reader.fetch([span.place for span in spans]), strict=True)

    def _paths_in(self, folder: str, page: Place, items: Sequence[Item]) -> Iterator[str]:
        """Yield the old paths that begin with `folder`, which ends in a slash; the first would be in `page`."""
        index = bisect_left(items, folder, key=path_of)
        place: Place | None = page
        while place is not None:
            for item in items[index:]:
                if not item.path.startswith(folder):
                    return
                yield item.path
            place, index = self._following(place), 0
            items = self._reader.one(place)[1] if place is not None else ()


class _Probes:
    """Finds, from an added path's old neighbours, what could make a path both a file and a folder.

    If an old file `q` is a folder of the added path, everything between them begins with `q`; so does the path before
    the added one, and only one `q` can be meant: the added path up to where the two part. If the added path `p` is an
    old folder, the path behind it begins with `p`. So nearly always the neighbours rule it out, and nothing is read.
    """

    def __init__(self, changes: Mapping[str, Item | None]) -> None:
        self.changes = changes
        self.files: dict[str, str] = {}  # may be an old file -> the added path below it
        self.folders: list[str] = []  # added paths that may be old folders

    def note(self, place: Place, items: Sequence[Item], keys: Sequence[str]) -> None:
        """Look at the changes that belong to one old leaf page."""
        for path in keys:
            index = bisect_left(items, path, key=path_of)
            behind = items[index].path if index < len(items) else ""
            if behind == path or self.changes[path] is None:
                continue
            before = items[index - 1].path if index else place.after or ""
            slash = path.find("/")
            while slash >= 0 and before.startswith(path[: slash + 1]):
                slash = path.find("/", slash + 1)
            if slash >= 0 and before.startswith(path[:slash]) and path[:slash] not in self.changes:
                self.files[path[:slash]] = path
            if behind.startswith(path):
                self.folders.append(path)


def _merged(items: Sequence[Item], keys: Sequence[str], changes: Mapping[str, Item | None]) -> list[Item]:
    merged = {item.path: item for item in items}
    for key in keys:
        item = changes[key]
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = item
    return [merged[path] for path in sorted(merged)]


def _encoded(level: int, items: Sequence[Item]) -> list[bytes]:
    if level:
        return list(map(encode_child, items))
    return encode_entries(cast("Sequence[Entry]", items))


def _clash(file: str, below: str) -> InvalidName:
    return InvalidName(f"{shown(file)} is a file and also the folder of {shown(below)}")
