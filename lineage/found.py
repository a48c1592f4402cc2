"""What walks over edges have met: versions, runs, and the edges themselves in columns.

Knows no statement and no graph. Pure. Walks over hundreds of thousands of edges keep all of them until they are over,
so that edges are tuples only while somebody looks at them: in columns they take a fifth of the room.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from .runs import PRODUCED, USED

__all__ = ["Edge", "Edges", "Found"]


class Edge(NamedTuple):
    """One row of the edges; its `id` gives the order in which they were recorded."""

    id: int
    run: str
    version: int
    direction: str
    time: int
    data: str | None


@dataclass(slots=True)
class Facts:
    """Columns of what is known of edges beside their ends."""

    ids: array[int] = field(default_factory=lambda: array("q"))
    times: array[int] = field(default_factory=lambda: array("q"))
    used: bytearray = field(default_factory=bytearray)  # whether, else produced
    data: list[Any] = field(default_factory=list)  # None or JSON, which equal ones share


class Edges:
    """Edges in the order of recording; each is there once, however often it was added."""

    def __init__(self) -> None:
        self.facts = Facts()
        self._runs: list[str] = []
        self._versions = array("q")
        self._texts: dict[str, str] = {}  # which many edges share, each held once
        self._order = array("q")  # places, by id; none where edges were added since

    def __iter__(self) -> Iterator[Edge]:
        return map(self._edge, self._places())

    def ends(self) -> Iterator[tuple[int, str, int]]:
        """Yield of each edge the place among facts, its run and its version, in the order of recording."""
        return ((at, self._runs[at], self._versions[at]) for at in self._places())

    def _edge(self, at: int) -> Edge:
        facts = self.facts
        direction = USED if facts.used[at] else PRODUCED
        return Edge(facts.ids[at], self._runs[at], self._versions[at], direction, facts.times[at], facts.data[at])

    def _places(self) -> array[int]:
        if len(self._order) == 0:
            ids = self.facts.ids
            self._order = array("q", (next(same) for _, same in groupby(self._since(0), ids.__getitem__)))
        return self._order

    # What a step of a walk adds

    def add(self, rows: Sequence[Sequence[Any]], direction: str) -> None:
        """Add edges of one direction; their rows begin with id, run, version, time and data."""
        if not rows:
            return
        ids, runs, versions, times, data, *_ = zip(*rows, strict=True)
        self._order = array("q")
        self._runs += map(self._texts.setdefault, runs, runs)
        self._versions.extend(versions)
        self.facts.ids.extend(ids)
        self.facts.times.extend(times)
        self.facts.used += bytes([direction == USED]) * len(ids)
        self.facts.data += (one and self._texts.setdefault(one, one) for one in data)

    def copy(self, other: Edges, places: Iterable[int]) -> None:
        """Add edges of another by their places there."""
        self._order = array("q")
        mine, theirs = self.facts, other.facts
        for at in places:
            self._runs.append(other._runs[at])
            self._versions.append(other._versions[at])
            mine.ids.append(theirs.ids[at])
            mine.times.append(theirs.times[at])
            mine.used.append(theirs.used[at])
            mine.data.append(theirs.data[at])

    @property
    def added(self) -> int:
        """How many were added so far: the place of the next one."""
        return len(self._runs)

    def runs_since(self, place: int) -> Iterator[str]:
        """Yield the runs of the edges added since, in the order of recording."""
        return map(self._runs.__getitem__, self._since(place))

    def versions_since(self, place: int) -> Iterator[int]:
        """Yield the versions of the edges added since, in the order of recording."""
        return map(self._versions.__getitem__, self._since(place))

    def _since(self, place: int) -> Sequence[int]:
        places = range(place, len(self._runs))
        return places if len(places) < 2 else sorted(places, key=self.facts.ids.__getitem__)


@dataclass(slots=True)
class Found:
    """What walks have met so far, in the order of meeting it."""

    versions: dict[int, Any] = field(default_factory=dict)  # row ids; with them, who makes a graph notes their nodes
    runs: dict[str, None] = field(default_factory=dict)
    edges: Edges = field(default_factory=Edges)
    cut: set[int] = field(default_factory=set)  # versions beyond which there is more
