"""An order in which everything stands behind what it needs, where there is one.

Knows nodes and what comes before them; must not know what they are. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

import networkx as nx

__all__ = ["in_order"]

T = TypeVar("T", bound=Hashable)


def in_order(before: Mapping[T, Collection[T]], key: Callable[[T], Any]) -> list[T]:
    """Return the keys of `before`, each behind those that are named for it, and else by `key`.

    What is named and is no key itself does not count. The members of a circle stand together, by `key`. Takes time
    and memory linear in nodes and what is named for them, but for the sorting.

    >>> in_order({"model": ["data"], "data": ["raw"], "raw": [], "a": ["z"], "z": ["a"]}, str)
    ['a', 'z', 'raw', 'data', 'model']
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(before)
    graph.add_edges_from((one, node) for node, needed in before.items() for one in needed if one in before)
    circles = nx.condensation(graph)
    members = {number: sorted(found, key=key) for number, found in circles.nodes(data="members")}
    order = nx.lexicographical_topological_sort(circles, key=lambda number: key(members[number][0]))
    return [one for number in order for one in members[number]]
