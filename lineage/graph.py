"""The lineage graph: what lies upstream and downstream of versions, as a networkx.DiGraph.

Knows what is found by walking edges; must not know how a graph is shown, or how rows are packed. Data flows along the
graph's edges: version → run (used) → version (produced).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx

from ..storage.errors import InvalidInput
from .attributes import RUN, VERSION, Attributes, EdgeAttributes, Words
from .closure import DOWN, UP, Found, walk
from .externals import EXTERNAL, REFERS, add_externals
from .packing import pack_runs, pack_versions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..artifacts.catalog import Catalog
    from ..artifacts.records import VersionRecord

__all__ = ["EXTERNAL", "REFERS", "RUN", "VERSION", "LineageGraph", "assemble", "lineage_graph", "reach", "run_key"]


class LineageGraph(nx.DiGraph):  # type: ignore[misc] # networkx has no types
    """A networkx.DiGraph that a notebook shows as a picture; its copies and its parts are such graphs, too."""

    @classmethod
    def made_of(
        cls, nodes: Iterable[tuple[str, Attributes]], edges: Iterable[tuple[str, str, Attributes]]
    ) -> LineageGraph:
        """Return a graph that takes attributes as they are given, where `add_node` and `add_edge` make dictionaries.

        Every node is taken before the first edge. What is added to the graph later is kept as networkx keeps it.
        """
        graph = cls()
        known, after, before = graph._node, graph._succ, graph._pred
        for node, attributes in nodes:
            known[node], after[node], before[node] = attributes, {}, {}
        for tail, head, attributes in edges:
            after[tail][head] = before[head][tail] = attributes
        return graph

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
    found = Found()
    for side, depth, way in zip(sides, (up, down), (UP, DOWN), strict=True):
        if side:
            walk(connection, found, starts, depth, way)
    found.versions.update(dict.fromkeys(starts))  # if there was no walk
    depths = {depth for side, depth in zip(sides, (up, down), strict=True) if side}
    words = {"up": sides[0], "down": sides[1], "depth": depths.pop() if len(depths) == 1 else None}
    return assemble(connection, found, starts, words)


def assemble(connection: Connection, found: Found, roots: Iterable[int], words: Mapping[str, Any]) -> nx.DiGraph:
    """Return the graph of what was found, which is used up by it; `words` are its `up`, `down` and `depth`."""
    versions: dict[int, str] = found.versions  # of big graphs there is no room for everything twice
    runs = {run: run_key(run) for run in found.runs}
    referring: dict[int, str] = {}
    shared = Words()

    def nodes() -> Iterator[tuple[str, Attributes]]:
        for one in pack_versions(connection, found.versions, found.cut, shared):
            versions[one.id] = one.ref
            if one.refers:
                referring[one.id] = one.ref
            yield one.ref, one.attributes
        for run, attributes in pack_runs(connection, runs, shared):
            yield runs[run], attributes

    def edges() -> Iterator[tuple[str, str, Attributes]]:
        facts = found.edges.facts
        for at, run, version in found.edges.ends():
            ends = (versions[version], runs[run]) if facts.used[at] else (runs[run], versions[version])
            yield *ends, EdgeAttributes(at, facts)

    graph = LineageGraph.made_of(nodes(), edges())
    graph.graph |= {"roots": [versions[one] for one in roots], **words}
    graph.graph["store"] = connection.exec_driver_sql("SELECT store_id FROM store").scalar_one()
    add_externals(connection, graph, referring)
    return graph
