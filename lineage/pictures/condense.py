"""A graph made smaller for a picture: equal siblings folded, and what is far from the roots put into one box a side.

Knows numbered nodes, edges between them and which are alike; must not know what they are. Pure. Nothing recurses, and
the work grows with nodes and edges, not with paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

__all__ = ["BESIDE", "DOWN", "UP", "Plan", "condense", "whole"]

UP, DOWN, BESIDE = "up", "down", "beside"
NEVER = 1 << 62  # further than any graph is long
ROUNDS = 8  # of telling siblings apart by their neighbours; lineage is settled after two or three
Links = Sequence[tuple[int, int]]


class Plan(NamedTuple):
    """What is drawn: `groups` of nodes that are one box each, then `rests`, each a side and what is left out there.

    `edges` are between boxes: first groups, then rests, by place.
    """

    groups: list[list[int]]
    rests: list[tuple[str, list[int]]]
    edges: list[tuple[int, int]]


def whole(count: int, links: Links) -> Plan:
    """Return the plan in which every node is a box."""
    return Plan([[one] for one in range(count)], [], list(links))


def condense(links: Links, alike: Sequence[Hashable], roots: Sequence[int], most_nodes: int, most_edges: int) -> Plan:
    """Return a plan within limits for nodes 0…len(alike)-1; boxes for what is left out come on top, one a side.

    Nodes are folded that are `alike`, equally far from the roots, and whose neighbours are folded the same way. Of the
    groups those nearest to the roots are kept.
    """
    count = len(alike)
    after, before = _neighbours(count, links)
    up, down = _distances(count, roots, before), _distances(count, roots, after)
    fold = _fold(alike, up, down, before, after)
    members: dict[int, list[int]] = {}
    for node, colour in enumerate(fold):
        members.setdefault(colour, []).append(node)
    ordered = sorted(members.values(), key=lambda group: (min(up[group[0]], down[group[0]]), group[0]))
    place = [0] * count
    for at, group in enumerate(ordered):
        for node in group:
            place[node] = at
    joined = list(dict.fromkeys((place[tail], place[head]) for tail, head in links))
    kept = _fit(joined, min(len(ordered), most_nodes), most_edges)
    rests: dict[str, list[int]] = {}
    side_of: dict[int, str] = {}
    for at in range(kept, len(ordered)):
        first = ordered[at][0]
        side_of[at] = _side(up[first], down[first])
        rests.setdefault(side_of[at], []).extend(ordered[at])
    sides = sorted(rests, key=(UP, DOWN, BESIDE).index)
    box = {at: kept + sides.index(side) for at, side in side_of.items()}
    edges = dict.fromkeys(
        (box.get(tail, tail), box.get(head, head))
        for tail, head in joined
        if (tail not in box or head not in box) and side_of.get(tail) != DOWN and side_of.get(head) != UP
    )
    return Plan(ordered[:kept], [(side, rests[side]) for side in sides], [one for one in edges if one[0] != one[1]])


def _neighbours(count: int, links: Links) -> tuple[list[list[int]], list[list[int]]]:
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for tail, head in links:
        after[tail].append(head)
        before[head].append(tail)
    return after, before


def _distances(count: int, roots: Iterable[int], beside: Sequence[Sequence[int]]) -> list[int]:
    """Return how far each node is from the nearest root, going one way only; NEVER where that does not lead to it."""
    found = [NEVER] * count
    todo = list(dict.fromkeys(roots))
    for root in todo:
        found[root] = 0
    steps = 0
    while todo:
        steps += 1
        reached = []
        for node in todo:
            for one in beside[node]:
                if found[one] == NEVER:
                    found[one] = steps
                    reached.append(one)
        todo = reached
    return found


def _side(up: int, down: int) -> str:
    """Return on which side of the roots a node lies; the roots themselves, and what no root reaches, lie beside."""
    if up == 0 or up == down == NEVER:
        return BESIDE
    return UP if up <= down else DOWN


def _fold(
    alike: Sequence[Hashable],
    up: Sequence[int],
    down: Sequence[int],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
) -> list[int]:
    """Return the group of each node: colours are refined by the neighbours' colours until no group falls apart."""
    colours, number = _numbered(zip(alike, up, down, strict=True))
    for _ in range(ROUNDS):
        sizes = Counter(colours)
        finer = (  # of one that is alone there is nothing to tell apart
            (own, frozenset(colours[one] for one in before[node]), frozenset(colours[one] for one in after[node]))
            if sizes[own] > 1
            else own
            for node, own in enumerate(colours)
        )
        refined, parts = _numbered(finer)
        if parts == number:
            break
        colours, number = refined, parts
    return colours


def _numbered(keys: Iterable[Hashable]) -> tuple[list[int], int]:
    numbers: dict[Hashable, int] = {}
    found = [numbers.setdefault(key, len(numbers)) for key in keys]
    return found, len(numbers)


def _fit(joined: Links, nodes: int, edges: int) -> int:
    """Return how many groups can be kept so that the arrows between them, and to what is left out, are few enough."""
    kept = nodes
    while kept > 1:
        arrows = 0
        fringe = set()
        for tail, head in joined:
            if tail < kept and head < kept:
                arrows += 1
            elif tail < kept:
                fringe.add((tail, -1))
            elif head < kept:
                fringe.add((-1, head))
        if arrows + 2 * len(fringe) <= edges:  # on one side of a box may lie two of what is left out
            break
        kept = min(kept - 1, kept * 9 // 10)
    return kept
