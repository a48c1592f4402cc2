"""The lineage graph: what lies upstream and downstream of versions, as a networkx.DiGraph.

Knows edges; must not know how a graph is shown. Data flows along the graph's edges: version → run (used) → version
(produced). The closure is found breadth first, one batch of statements a step, with a set of what was visited: cycles
end, and nothing recurses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx as nx

from ..storage.database import select_in
from .runs import PRODUCED, USED, RunRecord, read_runs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..artifacts.catalog import Catalog
    from ..artifacts.records import VersionRecord

__all__ = ["RUN", "VERSION", "lineage_graph", "run_key"]

VERSION, RUN = "version", "run"

_OF_VERSIONS = "SELECT id, run, version, direction, time, data FROM edge WHERE version {in} AND direction = "
_OF_RUNS = "SELECT id, run, version, direction, time, data FROM edge WHERE run {in} AND direction = "
_NEWEST = "SELECT collection, max(number) FROM version WHERE collection {in} AND state = 'live' GROUP BY collection"
_COLLECTIONS = "SELECT id, collection FROM version WHERE id {in}"


class _Edge(NamedTuple):
    id: int
    run: str
    version: int
    direction: str
    time: int
    data: str | None


@dataclass
class _Found:
    """What a walk has met so far, in the order of meeting it."""

    versions: dict[int, None] = field(default_factory=dict)
    runs: dict[str, None] = field(default_factory=dict)
    edges: dict[int, _Edge] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)  # versions beyond which there is more


def run_key(run: str) -> str:
    """Return the node of a run; a version's node is its ref, which has a `/` before any colon."""
    return f"run:{run}"


def lineage_graph(
    catalog: Catalog, roots: Iterable[VersionRecord], *, up: bool = True, down: bool = False, depth: int | None = None
) -> nx.DiGraph:
    """Return the closure of versions over edges, upstream, downstream or both.

    A node is a version's ref (`digits/model:v7`) or `run:ID`. Its attributes are `kind` ("version" or "run") and
    `record` (VersionRecord, RunRecord); a version also has `newer`, the number of the newest version of its collection
    where that is higher, and `cut`, True where `depth` ended the walk and there is more. An edge has `kind` ("used",
    "produced"), `time` (µs), `order` (of recording) and `data`. `graph.graph` holds `roots` (nodes), `up`, `down` and
    `depth`. `depth` counts steps of version → run → version; None is all. Deleted versions are there, and are not
    walked past any differently.
    """
    starts = list(roots)

    def work(connection: Connection) -> tuple[_Found, dict[str, RunRecord], dict[int, int]]:
        found = _Found({one.id: None for one in starts})
        if up:
            _walk(connection, found, [one.id for one in starts], depth, (PRODUCED, USED))
        if down:
            _walk(connection, found, [one.id for one in starts], depth, (USED, PRODUCED))
        return found, read_runs(connection, found.runs), _newest(connection, found.versions)

    found, runs, newest = catalog.engine.database.read(work)
    records = catalog.records(found.versions)
    graph = nx.DiGraph(roots=[records[one.id].ref for one in starts], up=up, down=down, depth=depth)
    for number, record in records.items():
        newer = newest.get(number)
        newer = newer if newer is not None and newer > record.number else None
        graph.add_node(record.ref, kind=VERSION, record=record, newer=newer, cut=number in found.cut)
    for run in runs.values():
        graph.add_node(run_key(run.id), kind=RUN, record=run)
    for edge in sorted(found.edges.values()):
        version, run_node = records[edge.version].ref, run_key(edge.run)
        ends = (version, run_node) if edge.direction == USED else (run_node, version)
        attributes: dict[str, Any] = {"kind": edge.direction, "time": edge.time, "order": edge.id}
        graph.add_edge(*ends, **attributes, data=json.loads(edge.data) if edge.data else {})
    return graph


def _walk(
    connection: Connection, found: _Found, starts: list[int], depth: int | None, directions: tuple[str, str]
) -> None:
    """Go from versions to the runs on one side of them and on to those runs' versions, until there is nothing new."""
    near, far = directions
    frontier, seen_versions, seen_runs = starts, set(starts), set[str]()
    step = 0
    while frontier and (depth is None or step < depth):
        runs: list[str] = []
        for edge in _edges(connection, _OF_VERSIONS, frontier, near):
            found.edges[edge.id] = edge
            if edge.run not in seen_runs:
                seen_runs.add(edge.run)
                runs.append(edge.run)
        found.runs.update(dict.fromkeys(runs))
        frontier = []
        for edge in _edges(connection, _OF_RUNS, runs, far):
            found.edges[edge.id] = edge
            if edge.version not in seen_versions:
                seen_versions.add(edge.version)
                frontier.append(edge.version)
        found.versions.update(dict.fromkeys(frontier))
        step += 1
    if frontier and depth is not None:
        beyond = _edges(connection, _OF_VERSIONS, frontier, near)
        found.cut.update(edge.version for edge in beyond if edge.run not in seen_runs)


def _edges(connection: Connection, sql: str, values: list[Any], direction: str) -> list[_Edge]:
    """Return edges in the order in which they were recorded; `direction` is a constant of the program."""
    return sorted(_Edge(*row) for row in select_in(connection, f"{sql}'{direction}'", values))


def _newest(connection: Connection, versions: Iterable[int]) -> dict[int, int]:
    """Return for each version the highest number of a live version in its collection."""
    collections = {int(row[0]): int(row[1]) for row in select_in(connection, _COLLECTIONS, versions)}
    highest = {int(row[0]): int(row[1]) for row in select_in(connection, _NEWEST, set(collections.values()))}
    return {version: highest[one] for version, one in collections.items() if one in highest}
