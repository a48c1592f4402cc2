"""Edges that were met: in the order of recording, each once, whatever the walks were that met them."""

from __future__ import annotations

from lineart.lineage.found import Edge, Edges
from lineart.lineage.runs import PRODUCED, USED

ROWS = [(7, "b", 70, 1, None), (3, "a", 30, 2, '{"aliases":["x"]}'), (5, "a", 50, 3, None)]


def edges(rows=ROWS, direction=USED):
    made = Edges()
    made.add(rows, direction)
    return made


def test_edges_come_in_the_order_of_recording():
    assert list(edges()) == [
        Edge(3, "a", 30, USED, 2, '{"aliases":["x"]}'),
        Edge(5, "a", 50, USED, 3, None),
        Edge(7, "b", 70, USED, 1, None),
    ]
    assert list(Edges()) == []


def test_an_edge_that_is_met_twice_is_there_once():
    met = edges()
    met.add([(7, "b", 70, 1, None), (6, "c", 60, 4, None)], USED)
    met.copy(edges(), range(3))
    assert [one.id for one in met] == [3, 5, 6, 7]
    assert [(run, version) for _, run, version in met.ends()] == [("a", 30), ("a", 50), ("c", 60), ("b", 70)]


def test_edges_that_are_added_after_a_look_are_seen():
    met = edges()
    assert len(list(met)) == 3
    met.add([(1, "z", 10, 9, None)], PRODUCED)
    met.add([], PRODUCED)
    assert [(one.id, one.direction) for one in met] == [(1, PRODUCED), (3, USED), (5, USED), (7, USED)]
    met.copy(edges([(2, "y", 20, 9, None)], PRODUCED), [0])
    assert [one.id for one in met] == [1, 2, 3, 5, 7]


def test_a_step_sees_what_was_added_since_in_the_order_of_recording():
    met = edges()
    before = met.added
    assert list(met.runs_since(before)) == []
    met.add([(9, "d", 90, 1, None), (4, "c", 40, 1, None), (9, "d", 90, 1, None)], USED)
    assert list(met.runs_since(before)) == ["c", "d", "d"]
    assert list(met.versions_since(before)) == [40, 90, 90]


def test_equal_texts_are_held_once():
    first, second = "".join(["ru", "n"]), "".join(["r", "un"])
    assert first is not second
    met = edges([(1, first, 1, 1, '{"a":' + "1}"), (2, second, 2, 1, '{"a"' + ":1}")])
    runs, data = ({id(value) for value in values} for values in zip(*((one.run, one.data) for one in met), strict=True))
    assert (len(runs), len(data)) == (1, 1)
