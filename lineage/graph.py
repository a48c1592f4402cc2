"""The lineage graph: what lies upstream and downstream of versions, as a networkx.DiGraph.

Knows what is found by walking edges; must not know how a graph is shown. Data flows along the graph's edges: version →
run (used) → version (produced).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx

from ..artifacts.reading import read_records
from ..storage.database import select_in
from ..storage.errors import InvalidInput
from .closure import DOWN, UP, Found, walk
from .externals import EXTERNAL, REFERS, add_externals
from .runs import PRODUCED, USED, read_runs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..artifacts.catalog import Catalog
    from ..artifacts.records import VersionRecord

__all__ = ["EXTERNAL", "REFERS", "RUN", "VERSION", "LineageGraph", "assemble", "lineage_graph", "reach", "run_key"]

VERSION, RUN = "version", "run"

_NEWEST = "SELECT collection, max(number) FROM version WHERE collection {in} AND state = 'live' GROUP BY collection"
_COLLECTIONS = "SELECT id, collection FROM version WHERE id {in}"


class LineageGraph(nx.DiGraph):  # type: ignore[misc] # networkx has no types
    """A networkx.DiGraph that a notebook shows as a picture; its copies and its parts are such graphs, too."""

    def _repr_html_(self) -> str | None:
        from .pictures.notebook import is_lineage, notebook_html

        return notebook_html(self) if is_lineage(self) else None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        from .pictures.notebook import is_lineage, notebook_text

        return {"text/plain": notebook_text(self)} if is_lineage(self) else {}


def run_key(run: str) -> str:
    """Return the node of a run; a version's node is its ref, which has a `/` before any colon."""
    return f"run:{run}"


def lineage_graph(
    catalog: Catalog, roots: Iterable[VersionRecord], *, up: bool = True, down: bool = False, depth: int | None = None
) -> nx.DiGraph:
    """Return the closure of versions over edges, upstream, downstream or both.

    A node is a version's ref (`digits/model:v7`), `run:ID`, or upstream the URL of a place outside the store that a
    version refers to. Its attributes are `kind` ("version", "run", "external") and `record` (VersionRecord, RunRecord,
    ExternalRecord: what the newest version there saw of the place); a version also has `newer`, the number of the
    newest version of its collection where that is higher, and `cut`, True where the graph ends and there is more. An
    edge has `kind` ("used", "produced", "refers"), `time` (µs), `order` (of recording) and `data`. `graph.graph` holds
    `roots` (nodes), `up`, `down` and `depth`. `depth` counts steps of version → run → version; None is all. What a
    version refers to belongs to it, and takes no step. Deleted versions are there, and are not
    walked past any differently. Raises InvalidInput for a depth below 0.
    """
    if depth is not None and depth < 0:
        raise InvalidInput(f"depth {depth}: a number of steps is 0 or more")
    starts = [one.id for one in roots]

    def work(connection: Connection) -> nx.DiGraph:
        return reach(connection, starts, depth if up else 0, depth if down else 0, sides=(up, down))

    return catalog.engine.database.read(work)


def reach(
    connection: Connection, starts: Sequence[int], up: int | None, down: int | None, *, sides: tuple[bool, bool]
) -> nx.DiGraph:
    """Return the graph of what lies so many steps up and down from versions; of `sides` that are False, nothing.

    Its `depth` is None where both sides are walked and not equally far.
    """
    found = Found(dict.fromkeys(starts))
    for side, depth, way in zip(sides, (up, down), (UP, DOWN), strict=True):
        if side:
            walk(connection, found, starts, depth, way)
    depths = {depth for side, depth in zip(sides, (up, down), strict=True) if side}
    words = {"up": sides[0], "down": sides[1], "depth": depths.pop() if len(depths) == 1 else None}
    return assemble(connection, found, starts, words)


def assemble(connection: Connection, found: Found, roots: Iterable[int], words: Mapping[str, Any]) -> nx.DiGraph:
    """Return the graph of what was found, whose edges are taken from it; `words` are its `up`, `down` and `depth`."""
    records, newest = read_records(connection, list(found.versions)), _newest(connection, found.versions)
    graph = LineageGraph(roots=[records[one].ref for one in roots], **words)
    graph.graph["store"] = connection.exec_driver_sql("SELECT store_id FROM store").scalar_one()
    versions = {number: record.ref for number, record in records.items()}
    for number, record in records.items():
        newer = newest.get(number)
        newer = newer if newer is not None and newer > record.number else None
        graph.add_node(versions[number], kind=VERSION, record=record, newer=newer, cut=number in found.cut)
    runs = {run: run_key(run) for run in found.runs}
    for run in read_runs(connection, runs).values():
        graph.add_node(runs[run.id], kind=RUN, record=run)
    for number in sorted(found.edges):
        edge = found.edges.pop(number)  # of big graphs there is no room for everything twice
        version, run_node, used = versions[edge.version], runs[edge.run], edge.direction == USED
        data = json.loads(edge.data) if edge.data else {}
        ends = (version, run_node) if used else (run_node, version)
        graph.add_edge(*ends, kind=USED if used else PRODUCED, time=edge.time, order=edge.id, data=data)
    add_externals(connection, graph, versions)
    return graph


def _newest(connection: Connection, versions: Iterable[int]) -> dict[int, int]:
    """Return for each version the highest number of a live version in its collection."""
    collections = {int(row[0]): int(row[1]) for row in select_in(connection, _COLLECTIONS, versions)}
    highest = {int(row[0]): int(row[1]) for row in select_in(connection, _NEWEST, set(collections.values()))}
    return {version: highest[one] for version, one in collections.items() if one in highest}
