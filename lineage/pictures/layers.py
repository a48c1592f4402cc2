"""The order in which a layered picture has its nodes: which column, and where in it.

Knows numbered nodes and edges; must not know sizes or words. Pure; nothing recurses. The steps are those of Sugiyama,
Tagawa and Toda (1981): cycles are broken, nodes get layers, long edges pass through the layers between by way of bends,
and layers are put in an order in which few edges cross.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layered", "crossings", "layered"]

SWEEPS = 12  # over all layers, each way in turn, while crossings go down
WORK = 400_000  # vertices and edges that sweeps may visit in all; big graphs get fewer of them
BENDS = 4  # bends for every node and edge, on average; the longest edges go without if there would be more

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Layered:
    """Layers of vertices, left to right and top to bottom. Vertices from `count` on are bends.

    `chains` has for each edge the vertices it passes through, from left to right, and `reversed` says which edges lead
    from right to left. The chain of an edge from a node to itself is that node alone.
    """

    count: int
    layers: list[list[int]]
    chains: list[list[int]]
    reversed: list[bool]

    def segments(self) -> list[tuple[int, int]]:
        """Return the steps of all chains from one layer to the next."""
        layer_of = {vertex: at for at, layer in enumerate(self.layers) for vertex in layer}
        steps = ((left, right) for chain in self.chains for left, right in pairwise(chain))
        return [(left, right) for left, right in steps if layer_of[right] - layer_of[left] == 1]


def layered(count: int, edges: Pairs) -> Layered:
    """Return the layers of nodes 0…count-1; edges that make a cycle are taken to lead the other way."""
    back = _back_edges(count, edges)
    ways = [(head, tail) if turned else (tail, head) for (tail, head), turned in zip(edges, back, strict=True)]
    layer = _layers(count, [(tail, head) for tail, head in ways if tail != head])
    layers: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    chains: list[list[int]] = [[tail] if tail == head else [tail, head] for tail, head in ways]
    spans = sorted(range(len(ways)), key=lambda one: layer[ways[one][1]] - layer[ways[one][0]])
    left = BENDS * (count + len(edges)) + 1000
    vertices = count
    for one in spans:
        tail, head = ways[one]
        bends = layer[head] - layer[tail] - 1
        if bends > 0 and bends <= left:
            left -= bends
            chains[one] = [tail, *range(vertices, vertices + bends), head]
            layer.extend(range(layer[tail] + 1, layer[head]))
            vertices += bends
    found = Layered(count, layers, chains, back)
    _order(found, layer)
    return found


def _back_edges(count: int, edges: Pairs) -> list[bool]:
    """Return for each edge whether it closes a cycle, going depth first from nodes that nothing leads to."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    entered = [0] * count
    for at, (tail, head) in enumerate(edges):
        if tail != head:
            leaving[tail].append(at)
            entered[head] += 1
    back = [False] * len(edges)
    state = [0] * count  # 1 while on the way that is being followed, 2 when done
    for start in sorted(range(count), key=lambda node: entered[node] > 0):
        if state[start]:
            continue
        state[start] = 1
        way = [(start, iter(leaving[start]))]
        while way:
            node, rest = way[-1]
            for at in rest:
                head = edges[at][1]
                if state[head] == 1:
                    back[at] = True
                elif state[head] == 0:
                    state[head] = 1
                    way.append((head, iter(leaving[head])))
                    break
            else:
                state[node] = 2
                way.pop()
    return back


def _layers(count: int, edges: Pairs) -> list[int]:
    """Return the layer of each node: as far left as may be, then right where that makes edges shorter."""
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for tail, head in edges:
        after[tail].append(head)
        before[head].append(tail)
    missing = [len(one) for one in before]
    order = [node for node in range(count) if not missing[node]]
    layer = [0] * count
    for node in order:  # grows while it is read
        for head in after[node]:
            layer[head] = max(layer[head], layer[node] + 1)
            missing[head] -= 1
            if not missing[head]:
                order.append(head)
    for node in reversed(order):
        if after[node] and len(after[node]) > len(before[node]):
            layer[node] = min(layer[head] for head in after[node]) - 1
    return layer


def _order(found: Layered, layer: Sequence[int]) -> None:
    """Put every layer in order, in place: first as a walk meets the vertices, then by their neighbours' places."""
    near: list[list[int]] = [[] for _ in layer]
    left: list[list[int]] = [[] for _ in layer]
    right: list[list[int]] = [[] for _ in layer]
    steps = 0
    for chain in found.chains:
        for one, other in pairwise(chain):
            near[one].append(other)
            near[other].append(one)
            if layer[other] - layer[one] == 1:
                right[one].append(other)
                left[other].append(one)
                steps += 1
    for vertex in _met(near):
        found.layers[layer[vertex]].append(vertex)
    best, fewest = [list(one) for one in found.layers], sum(_crossings_between(found.layers, right))
    sweeps = min(SWEEPS, WORK // (len(layer) + steps + 1))
    for sweep in range(sweeps):
        if not fewest:
            break
        _sweep(found.layers, left if sweep % 2 == 0 else right, forwards=sweep % 2 == 0)
        now = sum(_crossings_between(found.layers, right))
        if now < fewest:
            best, fewest = [list(one) for one in found.layers], now
    found.layers[:] = best


def _met(near: Sequence[Sequence[int]]) -> Iterable[int]:
    """Yield every vertex once, going depth first, so that what hangs together is met together."""
    seen = [False] * len(near)
    for start in range(len(near)):
        todo = [start]
        while todo:
            vertex = todo.pop()
            if not seen[vertex]:
                seen[vertex] = True
                yield vertex
                todo += reversed([one for one in near[vertex] if not seen[one]])


def _sweep(layers: list[list[int]], beside: Sequence[Sequence[int]], *, forwards: bool) -> None:
    """Order each layer by the mean place of its vertices' neighbours in the layer before it."""
    place: dict[int, int] = {}
    for members in layers if forwards else reversed(layers):
        own = {vertex: at for at, vertex in enumerate(members)}
        means = {
            vertex: sum(place[one] for one in beside[vertex]) / len(beside[vertex]) if beside[vertex] else own[vertex]
            for vertex in members
        }
        members.sort(key=lambda vertex: (means[vertex], own[vertex]))
        place = {vertex: at for at, vertex in enumerate(members)}


def crossings(found: Layered) -> int:
    """Return how often steps from one layer to the next cross."""
    right: list[list[int]] = [[] for _ in range(sum(map(len, found.layers)))]
    for left, other in found.segments():
        right[left].append(other)
    return sum(_crossings_between(found.layers, right))


def _crossings_between(layers: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> Iterable[int]:
    """Yield the number of crossings behind each layer, counted with a tree of partial sums (Barth, Jünger, Mutzel)."""
    for members, following in pairwise(layers):
        place = {vertex: at for at, vertex in enumerate(following)}
        sums = [0] * (len(following) + 1)
        passed = 0
        found = 0
        for vertex in members:
            ends = [place[one] + 1 for one in right[vertex]]
            for end in ends:
                found += passed
                at = end
                while at:
                    found -= sums[at]
                    at &= at - 1
            for end in ends:
                passed += 1
                at = end
                while at < len(sums):
                    sums[at] += 1
                    at += at & -at
        yield found
