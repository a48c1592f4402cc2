"""Two versions' paths side by side: what was added, removed, changed and renamed, counted and in order.

Knows entries and how manifests are compared; must not know how differences are printed. Any number of paths may differ:
what is held in memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ..storage.errors import NotFound
from .content import Content
from .entry import check_path, shown
from .manifest import diff, renames

if TYPE_CHECKING:
    from ..storage.chunks import ChunkStore
    from .entry import Entry
    from .manifest import Change
    from .records import VersionRecord

__all__ = ["Comparison", "Count", "Delta", "Group", "Tally", "What", "aspects", "compare_versions", "fold_deltas"]

HOLD = 100_000  # differing paths that are held: among more, renames are not sought
FEW = 4  # like changes in one folder that are named; more of them are one group
MOST = 40  # groups


class What(StrEnum):
    """What happened to a path."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


class Delta(NamedTuple):
    """One path that differs: `old` is None where it was added, `new` where it was removed."""

    old: Entry | None
    new: Entry | None

    @property
    def what(self) -> What:
        """What happened to it."""
        if self.old is None:
            return What.ADDED
        if self.new is None:
            return What.REMOVED
        return What.CHANGED if self.old.path == self.new.path else What.RENAMED

    @property
    def entry(self) -> Entry:
        """What is there now, or was."""
        entry = self.old if self.new is None else self.new
        assert entry is not None
        return entry

    @property
    def path(self) -> str:
        """Where it is now, or was."""
        return self.entry.path


@dataclass(slots=True)
class Count:
    """How many paths, and their bytes before and after."""

    paths: int = 0
    old_size: int = 0
    new_size: int = 0

    def add(self, delta: Delta) -> None:
        """Count one more."""
        self.paths += 1
        self.old_size += delta.old.size if delta.old is not None else 0
        self.new_size += delta.new.size if delta.new is not None else 0


@dataclass(slots=True)
class Tally:
    """What differs, counted by what happened to it."""

    counts: dict[What, Count] = field(default_factory=lambda: {what: Count() for what in What})

    @classmethod
    def of(cls, deltas: Iterable[Delta]) -> Tally:
        """Count deltas."""
        tally = cls()
        for _ in tally.counted(deltas):
            pass
        return tally

    def counted(self, deltas: Iterable[Delta]) -> Iterator[Delta]:
        """Yield deltas as they come, and count them."""
        for delta in deltas:
            self.counts[delta.what].add(delta)
            yield delta

    @property
    def paths(self) -> int:
        """How many paths differ; a renamed one is one."""
        return sum(one.paths for one in self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it; sizes are bytes."""
        return {
            what.value: {"paths": one.paths, "old_size": one.old_size, "new_size": one.new_size}
            for what, one in self.counts.items()
        }


class Comparison:
    """How the paths of one version differ from those of an earlier one; `prefix` names a file or folder.

    Costs what differs. Up to `hold` differing paths are held in memory; where there are more, they come as they are
    found, renames are not sought among them, and whoever walks twice reads twice. Raises IntegrityError where a page
    is lost or damaged.
    """

    def __init__(self, old: Content, new: Content, prefix: str = "", *, hold: int = HOLD) -> None:
        if prefix:
            check_path(prefix)
        self._ends = old, new
        self._prefix = prefix
        self._hold = hold

    @cached_property
    def _held(self) -> list[Delta]:
        """The differing paths with renames paired, in the order of paths; of too many, the first as they came."""
        changes = list(islice(self._changes(), self._hold + 1))
        if len(changes) > self._hold:
            return [Delta(one.old, one.new) for one in changes]
        pairs = renames(changes)
        moved = {one.old.path for one in pairs} | {one.new.path for one in pairs}
        deltas = [Delta(one.old, one.new) for one in changes if one.path not in moved]
        return sorted([*deltas, *(Delta(one.old, one.new) for one in pairs)], key=lambda one: one.path)

    @property
    def complete(self) -> bool:
        """Whether all that differs is held, and renames were sought."""
        return len(self._held) <= self._hold

    @property
    def glimpse(self) -> Tally:
        """What is held, counted: where `complete` is False there is more."""
        return Tally.of(self._held)

    @cached_property
    def tally(self) -> Tally:
        """All that differs, counted."""
        return Tally.of(self)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self._held)

    def __iter__(self) -> Iterator[Delta]:
        """Yield all that differs, in the order of paths."""
        return iter(self._held) if self.complete else (Delta(one.old, one.new) for one in self._changes())

    def _changes(self) -> Iterator[Change]:
        old, new = self._ends
        changes = diff(old.manifest, new.manifest)
        if not self._prefix:
            return changes
        below = f"{self._prefix}/"
        return (one for one in changes if one.path == self._prefix or one.path.startswith(below))


def compare_versions(
    chunks: ChunkStore, old: VersionRecord, new: VersionRecord, prefix: str = "", *, hold: int = HOLD
) -> Comparison:
    """Return how the paths of a version differ from those of an earlier one, or of any other.

    Deleted versions are compared as long as their bytes are there. Raises NotFound where they are gone, or where a
    prefix means nothing in either version.
    """
    for one in (old, new):
        if one.state == "purged":
            raise NotFound(f"{one.ref} was deleted and its bytes are gone: what it held cannot be compared any more")
    ends = Content(old.digest, chunks), Content(new.digest, chunks)
    found = Comparison(*ends, prefix, hold=hold)
    if prefix and not any(next(end.manifest.walk(prefix), None) is not None for end in ends):
        raise NotFound(f"{shown(prefix)} is neither in {old.ref} nor in {new.ref}")
    return found


def aspects(old: Entry, new: Entry) -> list[str]:
    """Say in words in which ways an entry differs from another.

    >>> from lineart.artifacts.entry import Entry
    >>> aspects(Entry("a", 0, 1, bytes(32)), Entry("a", 0, 2, bytes([1] * 32), None, True))
    ['content', 'now executable']
    """
    said = []
    if (old.digest, old.size) != (new.digest, new.size):
        said.append("content")
    if old.executable != new.executable:
        said.append("now executable" if new.executable else "no longer executable")
    before, after = old.external, new.external
    if before is None or after is None:
        if before is not after:
            said.append("now a file" if after is None else "now external")
        return said
    for name in ("url", "etag", "version"):
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            said.append(f"{name} {was or 'none'} → {now or 'none'}")
    return said


@dataclass(slots=True)
class Group:
    """Like changes of one folder: of a few, `deltas` holds all; else `count` tells of them, and `deltas` of the first.

    `folder` is where they are now, or were, and `source` where renamed ones were; "" is the top one.
    """

    what: What
    folder: str
    source: str
    count: Count = field(default_factory=Count)
    deltas: list[Delta] = field(default_factory=list)


def fold_deltas(deltas: Iterable[Delta], *, few: int = FEW, most: int = MOST) -> tuple[list[Group], Tally]:
    """Return like changes of one folder together, and the count of those for which there was no room.

    Of at most `most` groups at most `few` deltas each are held, whatever comes.
    """
    groups: dict[tuple[What, str, str], Group] = {}
    rest = Tally()
    for delta in deltas:
        what, folder = delta.what, _folder(delta.path)
        source = _folder(delta.old.path) if delta.old is not None and what is What.RENAMED else folder
        group = groups.get((what, folder, source))
        if group is None:
            if len(groups) >= most:
                rest.counts[what].add(delta)
                continue
            group = groups[what, folder, source] = Group(what, folder, source)
        group.count.add(delta)
        if len(group.deltas) < few:
            group.deltas.append(delta)
    return list(groups.values()), rest


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
