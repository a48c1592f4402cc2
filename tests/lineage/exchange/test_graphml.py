"""GraphML, read back by networkx."""

from __future__ import annotations

import doctest
import io
import json
import time

import networkx as nx
import pytest

import lineart.lineage.exchange.graphml as module
from lineart.lineage.exchange.graphml import graphml, node_id


def read(graph):
    return nx.read_graphml(io.BytesIO(graphml(graph).encode()))


def test_nodes_and_edges_are_the_same(digits):
    back = read(digits)
    assert back.is_directed()
    assert set(back.nodes) == set(digits.nodes)
    assert set(back.edges) == set(digits.edges)
    assert [back.edges[one]["kind"] for one in digits.edges] == [digits.edges[one]["kind"] for one in digits.edges]


def test_values_keep_their_types(digits):
    back = read(digits)
    model, run = back.nodes["p/model:v0"], back.nodes["run:r2"]
    assert (model["size"], model["cut"], model["number"]) == (1 << 40, False, 0)
    assert isinstance(model["cut"], bool)
    assert json.loads(model["metadata"]) == {"acc": 0.97}
    assert (run["duration"], run["exit_code"], run["dirty"], run["commit"]) == (5.0, 0, True, "a" * 40)
    assert run["created"] == "1970-01-01T00:00:04Z"
    assert back.nodes["s3://corpus/web/"] == {
        "kind": "external",
        "url": "s3://corpus/web/",
        "objects": 4112,
        "size": 1 << 41,
    }
    assert back.graph["store"] == "5" * 32
    assert json.loads(back.graph["roots"]) == ["p/model:v0"]


def test_what_is_not_known_is_left_out(digits):
    back = read(digits)
    assert "ended" not in back.nodes["run:r3"]
    assert "newer" not in back.nodes["p/raw:v0"]
    assert "depth" not in back.graph


def test_what_xml_cannot_hold_is_written_visibly_and_joins_no_nodes(hostile):
    back = read(hostile)
    assert (back.number_of_nodes(), back.number_of_edges()) == (5, 5)
    assert set(back.nodes) == {node_id(one) for one in hostile.nodes}
    raw = back.nodes["p/raw:v0"]
    assert raw["description"].startswith("a\"'<script>&\\x00\\x01\\x1b[31m\\x0d\n\t\u202e\\ufffe]]>\\x01")
    assert len(raw["description"]) > 10_000
    assert json.loads(raw["metadata"]) == hostile.nodes["p/raw:v0"]["record"].metadata
    assert {"s3://b/\\x01", "s3://b/\\\\x01"} <= set(back.nodes)


def test_an_empty_graph_is_a_graph(maker):
    assert len(read(maker.graph)) == 0


@pytest.mark.slow
def test_a_hundred_thousand_nodes_take_seconds(maker):
    versions = [maker.version(f"a:v{number}") for number in range(50_000)]
    for number, one in enumerate(versions):
        maker.run(f"r{number}", versions[max(0, number - 1) : number], [one])
    started = time.monotonic()
    text = graphml(maker.graph)
    assert text.count("<node ") == 100_000
    assert time.monotonic() - started < 60


def test_examples_run():
    assert doctest.testmod(module).failed == 0
