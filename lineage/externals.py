"""Places outside the store in a lineage graph: what the versions of it refer to, where a trace goes on beyond them.

Knows the rows of references and graphs as `graph.py` makes them; must not know entries. Places are nodes without
predecessors, so they are looked for among versions that are upstream of the roots, and nothing is walked past them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..artifacts.records import ExternalRecord
from ..storage.database import select_in

if TYPE_CHECKING:
    import networkx as nx
    from sqlalchemy import Connection

__all__ = ["add_externals"]

EXTERNAL, REFERS = "external", "refers"
_PLACES = "SELECT version, url, objects, size FROM reference WHERE version {in}"


def add_externals(connection: Connection, graph: nx.DiGraph, versions: Mapping[int, str]) -> None:
    """Add the places that versions refer to, given by row id and node; of a graph walked both ways, those upstream.

    A place's node is its URL, of kind `external`; its `record` says what the newest of these versions saw there. An
    edge of kind `refers` leads from it to each version that refers to it, at the time when that was logged. Where no
    version does, nothing is asked.
    """
    referring = [number for number, node in versions.items() if graph.nodes[node]["record"].refers]
    if not graph.graph["up"] or not referring:
        return
    rows = select_in(connection, _PLACES, referring)
    upstream = _upstream(graph) if rows and graph.graph["down"] else None
    found = [(versions[row[0]], str(row[1]), ExternalRecord(*row[1:])) for row in rows]
    found = [one for one in found if upstream is None or one[0] in upstream]
    for version, url, record in sorted(found, key=lambda one: (graph.nodes[one[0]]["record"].created, one[0], one[1])):
        graph.add_node(url, kind=EXTERNAL, record=record)  # the newest comes last, and stays
        graph.add_edge(url, version, kind=REFERS, time=graph.nodes[version]["record"].created, order=0, data={})


def _upstream(graph: nx.DiGraph) -> set[str]:
    """Return everything from which a root is reached, and the roots."""
    seen: set[str] = set(graph.graph["roots"])
    todo: Iterable[str] = seen
    while todo:
        todo = {before for one in todo for before in graph.predecessors(one)} - seen
        seen |= todo
    return seen
