"""Layers and places: what must hold of every picture, whatever it shows."""

from __future__ import annotations

import random

import pytest

from lineart.lineage.pictures.layers import crossings, layered
from lineart.lineage.pictures.placing import Size, place

BOX = Size(120, 40)


def layers_of(found):
    return {vertex: at for at, layer in enumerate(found.layers) for vertex in layer}


def graphs():
    yield 0, []
    yield 1, []
    yield 1, [(0, 0)]
    yield 2, [(0, 1), (1, 0)]
    yield 3, [(0, 1), (1, 2), (2, 0), (1, 1)]
    yield 5, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 4)]
    chance = random.Random(7)
    for size in (10, 40, 120):
        yield size, sorted({(chance.randrange(size), chance.randrange(size)) for _ in range(size * 2)})


@pytest.mark.parametrize(("count", "edges"), list(graphs()))
def test_every_vertex_has_one_layer_and_chains_go_from_layer_to_layer(count, edges):
    found = layered(count, edges)
    layer = layers_of(found)
    assert len(layer) == sum(map(len, found.layers)) == max([count, *(v + 1 for c in found.chains for v in c)])
    for (tail, head), chain, turned in zip(edges, found.chains, found.reversed, strict=True):
        assert [chain[0], chain[-1]] == ([head, tail] if turned else [tail, head])
        assert [layer[one] for one in chain] == list(range(layer[chain[0]], layer[chain[0]] + len(chain)))


@pytest.mark.parametrize(("count", "edges"), list(graphs()))
def test_no_two_boxes_overlap_and_arrows_touch_their_boxes(count, edges):
    layout = place([Size(100 + 10 * (n % 5), 30 + 7 * (n % 3), n % 2 == 0) for n in range(count)], edges)
    for at, one in enumerate(layout.boxes):
        assert -0.01 <= one.x <= one.x + one.width <= layout.width + 0.01
        assert -0.01 <= one.y <= one.y + one.height <= layout.height + 0.01
        for other in layout.boxes[at + 1 :]:
            across = one.x < other.x + other.width - 0.01 and other.x < one.x + one.width - 0.01
            down = one.y < other.y + other.height - 0.01 and other.y < one.y + one.height - 0.01
            assert not (across and down)
    for (tail, head), route in zip(edges, layout.routes, strict=True):
        assert (route == []) == (tail == head)
        for node, (x, y) in zip((tail, head), (route[0], route[-1]), strict=True) if route else ():
            box = layout.boxes[node]
            assert x == pytest.approx(box.x) or x == pytest.approx(box.x + box.width)
            assert box.y <= y <= box.y + box.height


def test_an_edge_that_closes_a_cycle_leads_back_and_others_lead_on():
    found = layered(3, [(0, 1), (1, 2), (2, 0)])
    assert found.reversed == [False, False, True]
    layout = place([BOX] * 3, [(0, 1), (1, 2), (2, 0)])
    assert layout.routes[0][0][0] < layout.routes[0][-1][0]
    assert layout.routes[2][0][0] > layout.routes[2][-1][0]


def test_what_is_used_late_stands_next_to_its_use():
    layer = layers_of(layered(5, [(0, 1), (1, 2), (2, 3), (4, 3)]))
    assert layer[4] == layer[2]


def test_edges_that_need_not_cross_do_not():
    edges = [(0, 5), (1, 4), (2, 3), (3, 6), (4, 7), (5, 8)]
    assert crossings(layered(9, edges)) == 0
    tree = [(child, (child - 1) // 2) for child in range(1, 63)]
    assert crossings(layered(63, tree)) == 0
    assert crossings(layered(9, [(2, 6), (3, 6), (0, 8), (2, 8), (0, 5)])) == 0


def test_crossings_are_counted():
    found = layered(4, [(0, 2), (1, 3)])
    found.layers[:] = [[0, 1], [3, 2]]
    assert crossings(found) == 1
    assert crossings(layered(6, [(a, b) for a in range(3) for b in range(3, 6)])) == 9


def test_a_straight_chain_is_straight():
    layout = place([BOX] * 20, [(n, n + 1) for n in range(19)])
    assert len({box.y for box in layout.boxes}) == 1
    assert [box.x for box in layout.boxes] == sorted(box.x for box in layout.boxes)


def test_a_hub_stands_in_the_middle_of_its_fan():
    layout = place([BOX] * 10, [(n, 9) for n in range(9)])
    assert layout.boxes[9].y == pytest.approx(layout.boxes[4].y)


def test_elastic_boxes_of_a_layer_are_equally_wide():
    sizes = [Size(100, 40, elastic=True), Size(180, 40, elastic=True), Size(90, 40), BOX]
    layout = place(sizes, [(0, 3), (1, 3), (2, 3)])
    assert [box.width for box in layout.boxes] == [180, 180, 90, 120]


def test_parts_are_packed_and_not_strung_out():
    layout = place([BOX] * 900, [])
    assert 0.5 < layout.width / layout.height < 4


def test_the_same_graph_always_looks_the_same():
    edges = [(n, (n * 7) % 40) for n in range(40)]
    assert place([BOX] * 40, edges) == place([BOX] * 40, edges)


def ladder(length):
    """A chain in which everything is also used by what comes much later: bends by the square of its length."""
    return length, [(n, n + 1) for n in range(length - 1)] + [(0, n) for n in range(2, length)]


SHAPES = {
    "chain": lambda n: (n, [(one, one + 1) for one in range(n - 1)]),
    "fan": lambda n: (n, [(one, n - 1) for one in range(n - 1)]),
    "ring": lambda n: (n, [(one, (one + 1) % n) for one in range(n)]),
    "ladder": ladder,
    "lone": lambda n: (n, []),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_grows_hardly_faster_than_the_picture(shape, lines_run):
    def work(size):
        count, edges = SHAPES[shape](size)
        return lines_run(lambda: place([BOX] * count, edges))

    assert work(1000) < 2.6 * work(500)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "size"), [("chain", 5000), ("ring", 5000), ("fan", 10_000), ("ladder", 5000)])
def test_big_shapes_are_laid_out_whole(shape, size):
    count, edges = SHAPES[shape](size)
    layout = place([BOX] * count, edges)
    assert len(layout.boxes) == count
    assert all(layout.routes)
