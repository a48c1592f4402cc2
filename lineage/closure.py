"""The closure over edges: what is reached from versions in one direction, breadth first, each node visited once.

Knows the rows of edges; must not know what a node is. A step is version → run → version. Wide graphs are read a step
at a time, in statements of many values; where a narrow one turns out to be deep, so that every step would be two
statements for a few rows, the database is asked once for all that is left, and the walk goes on in memory. Either way
cycles end, nothing recurses, and every edge is read once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..storage.database import select_in
from .found import Edge, Edges, Found
from .runs import PRODUCED, USED

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["DOWN", "UP", "Edge", "Found", "edges_of_runs", "edges_of_versions", "reached", "walk"]

N = TypeVar("N", int, str)

NARROW = 500  # versions of a step: as many as one statement takes
PATIENCE = 8  # narrow steps before what is left is asked for at once
BATCH = 10_000  # ends of edges asked for at once, so that not all of a wide step are rows at one time

_OF_VERSIONS = "SELECT id, run, version, time, data FROM edge WHERE version {{in}} AND direction = '{way}'"
_OF_RUNS = "SELECT id, run, version, time, data FROM edge WHERE run {{in}} AND direction = '{way}'"
_REST = """
WITH RECURSIVE reached(run) AS (
  SELECT run FROM edge WHERE version {{in}} AND direction = '{near}'
  UNION
  SELECT beside.run FROM reached
  JOIN edge AS beyond ON beyond.run = reached.run AND beyond.direction = '{far}'
  JOIN edge AS beside ON beside.version = beyond.version AND beside.direction = '{near}'
)
SELECT {columns} FROM reached JOIN edge ON edge.run = reached.run AND edge.direction IN ({directions})
"""
_BESIDE = "SELECT run FROM edge WHERE version {in} AND direction = "
_BEYOND = "SELECT version FROM edge WHERE run {in} AND direction = "


class Way(NamedTuple):
    """A direction to walk in: that of the edges between a version and its runs, and of those beyond the runs."""

    near: str
    far: str


UP, DOWN = Way(PRODUCED, USED), Way(USED, PRODUCED)


def walk(
    connection: Connection,
    found: Found,
    starts: Iterable[int],
    depth: int | None,
    way: Way,
    *,
    patience: int = PATIENCE,
    onward: bool = False,
) -> None:
    """Add what is reached from versions in at most `depth` steps to what was found; None is all.

    Of walks that go the same way, a later one may go `onward` from new versions alone, past what was found before.
    """
    frontier = [one for one in dict.fromkeys(starts) if not onward or one not in found.versions]
    met = found if onward else Found(edges=found.edges)
    met.versions.update(dict.fromkeys(frontier))
    source = _Source(connection, way, patience)
    step = 0
    while frontier and (depth is None or step < depth):
        before = met.edges.added
        source.beside(frontier, met.edges)
        runs = _new(met.edges.runs_since(before), met.runs)
        before = met.edges.added
        source.beyond(runs, met.edges)
        frontier = _new(met.edges.versions_since(before), met.versions)
        step += 1
    if frontier and depth is not None:
        further = Edges()
        source.beside(frontier, further)
        found.cut.update(edge.version for edge in further if edge.run not in met.runs)
    if found.versions or found.runs:
        found.versions.update(met.versions)
        found.runs.update(met.runs)
    else:
        found.versions, found.runs = met.versions, met.runs


def _new(some: Iterable[N], known: dict[N, Any]) -> list[N]:
    """Return what is not known yet, and let it be known."""
    found = []
    for one in some:
        if one not in known:
            known[one] = None
            found.append(one)
    return found


def reached(
    connection: Connection, starts: Iterable[int], depth: int | None, way: Way, *, patience: int = PATIENCE
) -> set[int]:
    """Return the versions that `walk` would find: only them, and so in a fraction of its time and memory."""
    versions, runs = set(starts), set[str]()
    frontier = set(versions)
    step = 0
    while frontier and (depth is None or step < depth):
        if step >= patience and len(frontier) <= NARROW:
            if depth is None:
                sql = _REST.format(near=way.near, far=way.far, columns="edge.version", directions=f"'{way.far}'")
                return versions.union(row[0] for row in select_in(connection, sql, frontier))
            found = Found()
            walk(connection, found, frontier, depth - step, way, patience=0)
            return versions.union(found.versions)
        beside = {row[0] for row in select_in(connection, f"{_BESIDE}'{way.near}'", frontier)} - runs
        runs |= beside
        frontier = {row[0] for row in select_in(connection, f"{_BEYOND}'{way.far}'", beside)} - versions
        versions |= frontier
        step += 1
    return versions


class _Source:
    """Where a walk gets its edges from."""

    def __init__(self, connection: Connection, way: Way, patience: int) -> None:
        self._connection = connection
        self._way = way
        self._patience = patience  # narrow steps that are still taken one by one
        self._rest: _Rest | None = None

    def beside(self, versions: list[int], edges: Edges) -> None:
        """Add the edges between versions and the runs on this side of them."""
        if self._rest is None and len(versions) <= NARROW:
            self._patience -= 1
            if self._patience < 0:
                self._rest = _Rest(self._connection, versions, self._way)
        if self._rest is None:
            _add(edges, self._connection, _OF_VERSIONS, versions, self._way.near)
        else:
            edges.copy(self._rest.edges, self._rest.beside(versions))

    def beyond(self, runs: list[str], edges: Edges) -> None:
        """Add the edges between runs and the versions on the far side of them."""
        if self._rest is None:
            _add(edges, self._connection, _OF_RUNS, runs, self._way.far)
        else:
            edges.copy(self._rest.edges, self._rest.beyond(runs))


class _Rest:
    """All edges that a walk is still to meet, and their places by what they are met from."""

    def __init__(self, connection: Connection, versions: list[int], way: Way) -> None:
        self.edges = Edges()
        self._beside: dict[int, list[int]] = defaultdict(list)
        self._beyond: dict[str, list[int]] = defaultdict(list)
        columns = "edge.id, edge.run, edge.version, edge.time, edge.data, edge.direction"
        sql = _REST.format(near=way.near, far=way.far, columns=columns, directions=f"'{way.near}', '{way.far}'")
        rows = select_in(connection, sql, versions)
        near, far = ([row for row in rows if row[5] == one] for one in way)
        for at, row in enumerate(near):
            self._beside[row[2]].append(at)
        for at, row in enumerate(far, len(near)):
            self._beyond[row[1]].append(at)
        self.edges.add(near, way.near)
        self.edges.add(far, way.far)

    def beside(self, versions: Iterable[int]) -> Iterator[int]:
        """Yield the places of the edges between versions and the runs on this side of them."""
        return chain.from_iterable(self._beside.get(one, ()) for one in versions)

    def beyond(self, runs: Iterable[str]) -> Iterator[int]:
        """Yield the places of the edges between runs and the versions on the far side of them."""
        return chain.from_iterable(self._beyond.get(one, ()) for one in runs)


def edges_of_versions(connection: Connection, versions: Iterable[int], direction: str) -> list[Edge]:
    """Return the edges of versions in one direction, in the order of recording; a constant of the program."""
    edges = Edges()
    _add(edges, connection, _OF_VERSIONS, versions, direction)
    return list(edges)


def edges_of_runs(connection: Connection, runs: Iterable[str], direction: str) -> list[Edge]:
    """Return the edges of runs in one direction, in the order of recording."""
    edges = Edges()
    _add(edges, connection, _OF_RUNS, runs, direction)
    return list(edges)


def _add(edges: Edges, connection: Connection, sql: str, ends: Iterable[N], direction: str) -> None:
    """Add the edges of some ends, of which not too many are rows at one time."""
    ordered = iter(sorted(ends))
    while some := list(islice(ordered, BATCH)):
        edges.add(select_in(connection, sql.format(way=direction), some), direction)
