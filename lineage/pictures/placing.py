"""Where the boxes and arrows of a layered picture lie.

Knows sizes and the order that `layers.py` finds; must not know what is drawn. Pure; nothing recurses. x grows to the
right and y downwards, in pixels. Parts that hang together are laid out by themselves and then packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .layers import Layered, layered

__all__ = ["Box", "Layout", "Size", "place"]

BETWEEN_LAYERS, FURTHEST = 64.0, 224.0
SLOPE = 0.06  # by which layers are further apart for every pixel that an arrow between them climbs
BETWEEN_NODES, BETWEEN_BENDS, BETWEEN_PARTS = 16.0, 8.0, 40.0
ROUNDS = 6  # of pulling vertices towards their neighbours
STIFF = 4.0  # how much more a bend pulls: long edges run straight
ASPECT = 1.6  # of the page that parts are packed on
ASIDE = 9.0  # how far beside the middle an edge that leads back leaves and arrives

Point = tuple[float, float]


class Size(NamedTuple):
    """How much room a box needs, and whether it may have more."""

    width: float
    height: float
    elastic: bool = False


class Box(NamedTuple):
    """Where a box lies: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float


class Layout(NamedTuple):
    """A box for each node, and for each edge the points it passes: start, in and out of every bend, end.

    A node of an edge to itself is passed on no point: its list is empty.
    """

    boxes: list[Box]
    routes: list[list[Point]]
    width: float
    height: float


def place(sizes: Sequence[Size], edges: Sequence[tuple[int, int]]) -> Layout:
    """Return the layout of nodes of given sizes, edges leading from left to right.

    Boxes that are `elastic` are as wide as the widest of these in their layer.
    """
    parts = _parts(len(sizes), edges)
    laid = [_place_part([sizes[one] for one in nodes], links) for nodes, links, _ in parts]
    boxes: list[Box] = [Box(0, 0, 0, 0)] * len(sizes)
    routes: list[list[Point]] = [[] for _ in edges]
    corners = list(_packed([(one.width, one.height) for one in laid]))
    for (nodes, _, numbers), part, (x, y) in zip(parts, laid, corners, strict=True):
        for node, box in zip(nodes, part.boxes, strict=True):
            boxes[node] = box._replace(x=box.x + x, y=box.y + y)
        for number, route in zip(numbers, part.routes, strict=True):
            routes[number] = [(across + x, down + y) for across, down in route]
    width = max((x + one.width for (x, _), one in zip(corners, laid, strict=True)), default=0.0)
    height = max((y + one.height for (_, y), one in zip(corners, laid, strict=True)), default=0.0)
    return Layout(boxes, routes, width, height)


Part = tuple[list[int], list[tuple[int, int]], list[int]]


def _parts(count: int, edges: Sequence[tuple[int, int]]) -> list[Part]:
    """Return the parts that hang together: their nodes, their edges by place among these, and the edges' numbers."""
    leader = list(range(count))

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for tail, head in edges:
        first, second = sorted((find(tail), find(head)))
        leader[second] = first
    parts: dict[int, Part] = {}
    local = [0] * count
    for node in range(count):
        nodes = parts.setdefault(find(node), ([], [], []))[0]
        local[node] = len(nodes)
        nodes.append(node)
    for number, (tail, head) in enumerate(edges):
        _, links, numbers = parts[find(tail)]
        links.append((local[tail], local[head]))
        numbers.append(number)
    return list(parts.values())


def _packed(sizes: Sequence[tuple[float, float]]) -> Iterator[Point]:
    """Yield a corner for each part, in rows about as wide as the whole becomes high."""
    area = sum((width + BETWEEN_PARTS) * (height + BETWEEN_PARTS) for width, height in sizes)
    room = max(max((width for width, _ in sizes), default=0.0), (area * ASPECT) ** 0.5)
    x = y = tallest = 0.0
    for width, height in sizes:
        if x and x + width > room:
            x, y, tallest = 0.0, y + tallest + BETWEEN_PARTS, 0.0
        yield x, y
        x += width + BETWEEN_PARTS
        tallest = max(tallest, height)


def _place_part(sizes: Sequence[Size], edges: Sequence[tuple[int, int]]) -> Layout:
    found = layered(len(sizes), edges)
    vertices = sum(map(len, found.layers))
    heights = [one.height for one in sizes] + [0.0] * (vertices - len(sizes))
    middles = _middles(found, heights)
    tops = [middle - height / 2 for middle, height in zip(middles, heights, strict=True)]
    highest = min(tops, default=0.0)
    middles = [one - highest for one in middles]
    lefts: list[float] = [0.0] * vertices
    rights: list[float] = [0.0] * vertices
    x = 0.0
    gaps = _gaps(found, middles)
    for at, layer in enumerate(found.layers):
        nodes = [one for one in layer if one < found.count]
        wide = max((sizes[one].width for one in nodes), default=0.0)
        common = max((sizes[one].width for one in nodes if sizes[one].elastic), default=0.0)
        for one in layer:
            own = wide if one >= found.count else common if sizes[one].elastic else sizes[one].width
            lefts[one] = x + (wide - own) / 2
            rights[one] = lefts[one] + own
        x += wide + gaps[at]
    boxes = [
        Box(lefts[one], middles[one] - size.height / 2, rights[one] - lefts[one], size.height)
        for one, size in enumerate(sizes)
    ]
    routes = [
        _route(chain, lefts, rights, middles, turned=turned)
        for chain, turned in zip(found.chains, found.reversed, strict=True)
    ]
    lowest = max((box.y + box.height for box in boxes), default=0.0)
    return Layout(boxes, routes, max(x - gaps[-1], 0.0), max(lowest, max(middles, default=0.0)))


def _gaps(found: Layered, middles: Sequence[float]) -> list[float]:
    """Return the room behind each layer: more where arrows climb far, which would else lie on one another."""
    layer_of = {vertex: at for at, layer in enumerate(found.layers) for vertex in layer}
    gaps = [BETWEEN_LAYERS] * max(len(found.layers), 1)
    for one, other in found.segments():
        wanted = BETWEEN_LAYERS + SLOPE * abs(middles[one] - middles[other])
        gaps[layer_of[one]] = max(gaps[layer_of[one]], min(wanted, FURTHEST))
    return gaps


def _route(
    chain: Sequence[int], lefts: Sequence[float], rights: Sequence[float], middles: Sequence[float], *, turned: bool
) -> list[Point]:
    if len(chain) == 1:
        return []
    aside = ASIDE if turned else 0.0
    points = [(rights[chain[0]], middles[chain[0]] + aside)]
    for bend in chain[1:-1]:
        points += [(lefts[bend], middles[bend]), (rights[bend], middles[bend])]
    points.append((lefts[chain[-1]], middles[chain[-1]] + aside))
    return points[::-1] if turned else points


def _middles(found: Layered, heights: Sequence[float]) -> list[float]:
    """Return the y of each vertex's middle, as near to its neighbours' as the order and the gaps allow."""
    left: list[list[tuple[int, float]]] = [[] for _ in heights]
    right: list[list[tuple[int, float]]] = [[] for _ in heights]
    for one, other in found.segments():
        pull = (STIFF if one >= found.count else 1.0) * (STIFF if other >= found.count else 1.0)
        right[one].append((other, pull))
        left[other].append((one, pull))
    offsets = [_offsets(layer, heights, found.count) for layer in found.layers]
    middles = [0.0] * len(heights)
    for layer, offset in zip(found.layers, offsets, strict=True):
        for vertex, y in zip(layer, offset, strict=True):
            middles[vertex] = y - offset[-1] / 2
    both = [one + other for one, other in zip(left, right, strict=True)]
    ways = [(left, 1), (right, -1)] * (ROUNDS // 2) + [(both, 1), (both, -1)]
    for beside, step in ways:
        for layer, offset in list(zip(found.layers, offsets, strict=True))[::step]:
            _settle(layer, offset, beside, middles)
    return middles


def _offsets(layer: Sequence[int], heights: Sequence[float], count: int) -> list[float]:
    """Return how far below the first vertex each must lie at least."""
    found = [0.0] * len(layer)
    for at in range(1, len(layer)):
        above, below = layer[at - 1], layer[at]
        gap = BETWEEN_BENDS if above >= count and below >= count else BETWEEN_NODES
        found[at] = found[at - 1] + (heights[above] + heights[below]) / 2 + gap
    return found


def _settle(
    layer: Sequence[int], offsets: Sequence[float], beside: Sequence[Sequence[tuple[int, float]]], middles: list[float]
) -> None:
    """Move a layer's vertices to where the squares of their distances from what they pull towards are least.

    Less its offset, each must lie no higher than the one above it, so this is an isotonic regression: neighbours that
    would overlap are pooled, and each pool is moved as one.
    """
    pools: list[tuple[float, float, int]] = []  # of mean, weight and size
    for vertex, offset in zip(layer, offsets, strict=True):
        pulls = beside[vertex]
        weight = sum(pull for _, pull in pulls)
        wanted = sum(middles[one] * pull for one, pull in pulls) / weight if pulls else middles[vertex]
        mean, weight, size = wanted - offset, weight or 0.01, 1
        while pools and pools[-1][0] > mean:
            other, much, many = pools.pop()
            mean = (mean * weight + other * much) / (weight + much)
            weight, size = weight + much, size + many
        pools.append((mean, weight, size))
    at = 0
    for mean, _, size in pools:
        for vertex, offset in zip(layer[at : at + size], offsets[at : at + size], strict=True):
            middles[vertex] = mean + offset
        at += size
