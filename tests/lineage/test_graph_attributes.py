"""What is packed in a lineage graph is used, changed, copied and kept as the dictionaries of networkx are."""

from __future__ import annotations

import copy
import json
import pickle

import networkx as nx
import pytest

from lineart.lineage.attributes import Attributes
from lineart.lineage.graph import LineageGraph, lineage_graph
from lineart.lineage.runs import read_runs
from lineart.storage.errors import IntegrityError

HOSTILE = ['"quoted"', "<script>", "line\nbreak", "\u202eright to left", "\x1b[2J", "é" * 10_000, ""]


@pytest.fixture
def graph(world):
    """raw:v0 → run → model:v0."""
    world.log("raw", "0")
    run = world.run("raw", job_type="train")
    return lineage_graph(world.catalog, [world.log("model", "1", run)])


def run_of(graph):
    return next(node for node, kind in graph.nodes(data="kind") if kind == "run")


def plain(graph):
    """Return a graph that networkx keeps in dictionaries of its own."""
    made = nx.DiGraph(**graph.graph)
    made.add_nodes_from((node, dict(data)) for node, data in graph.nodes(data=True))
    made.add_edges_from((tail, head, dict(data)) for tail, head, data in graph.edges(data=True))
    return made


# Records


def test_records_are_those_that_are_read_one_by_one(worlds):
    made = worlds.run(
        job_type="fit",
        group="a group",
        notes=HOSTILE[5],
        tags=["b", "A"],
        config={"rate": 0.1, "nested": {"words": HOSTILE}},
    )
    versions = [
        worlds.log("data", str(at), made, aliases=("best", "Also"), metadata={"says": one, "n": 2**60})
        for at, one in enumerate(HOSTILE)
    ]
    worlds.delete(versions[1])
    plain_run = worlds.run("data:v0")
    versions.append(worlds.log("other", "x", plain_run, project="team/q"))
    graph = lineage_graph(worlds.catalog, versions)
    numbers = [one.id for one in versions]
    for record in worlds.catalog.records(numbers).values():
        assert graph.nodes[record.ref]["record"] == record
    runs = worlds.database.read(lambda connection: read_runs(connection, [made, plain_run]))
    assert [graph.nodes[f"run:{one}"]["record"] for one in (made, plain_run)] == list(runs.values())
    assert graph.nodes["p/data:v1"]["newer"] == len(HOSTILE) - 1
    assert graph.nodes[f"p/data:v{len(HOSTILE) - 1}"]["newer"] is None


def test_tags_and_ends_of_runs_are_in_their_records(worlds):
    run = worlds.run(tags=["one", "Two"])
    model = worlds.log("model", "1", run)
    worlds.ledger.finish(run, -9)
    graph = lineage_graph(worlds.catalog, [model])
    record = graph.nodes[f"run:{run}"]["record"]
    assert (sorted(record.tags), record.exit_code) == (["Two", "one"], -9)
    assert record == worlds.ledger.get(run)


@pytest.mark.parametrize("damage", ["config = 'no JSON'", "code = '[]'", "summary = '7'", "created = 'never'"])
def test_a_row_that_no_run_has_is_an_error_in_a_graph_as_it_is_by_itself(world, damage):
    run = world.run()
    model = world.log("model", "1", run)
    world.database.write(lambda tx: tx.connection.exec_driver_sql(f"UPDATE run SET {damage}"))
    node = lineage_graph(world.catalog, [model]).nodes[f"run:{run}"]
    for read in (lambda: world.ledger.get(run), lambda: node["record"]):
        with pytest.raises(IntegrityError, match=f"run {run}: its row in the database is none that Lineart writes"):
            read()


# Looking


def test_attributes_are_looked_at_as_dictionaries_are(graph):
    node, edge = graph.nodes["p/raw:v0"], graph.edges["p/raw:v0", run_of(graph)]
    assert list(node) == ["kind", "record", "newer", "cut"]
    assert list(graph.nodes[run_of(graph)]) == ["kind", "record"]
    assert list(edge) == ["kind", "time", "order", "data"]
    assert (len(node), "cut" in node, "colour" in node, node.get("colour", "red")) == (4, True, False, "red")
    assert edge == {"kind": "used", "time": edge["time"], "order": 1, "data": {"aliases": ["latest"]}}
    assert {"kind": "used", **edge} == edge == dict(edge)
    assert repr(edge) == repr(dict(edge))
    assert edge | {"weight": 1} == {**edge, "weight": 1}
    assert {"weight": 1, "kind": "mine"} | edge == {"weight": 1, **edge}
    assert json.loads(json.dumps(edge.copy())) == edge
    with pytest.raises(KeyError, match="colour"):
        node["colour"]
    with pytest.raises(KeyError, match="colour"):
        edge["colour"]
    with pytest.raises(TypeError):
        edge | [1]


def test_both_ends_of_an_edge_see_the_same(graph):
    run = run_of(graph)
    graph.succ["p/raw:v0"][run]["weight"] = 7
    assert graph.pred[run]["p/raw:v0"]["weight"] == 7
    assert list(graph.in_edges(run, data="weight")) == [("p/raw:v0", run, 7)]


# Changing


def test_what_users_add_to_a_node_or_an_edge_stays(graph):
    run = run_of(graph)
    before = dict(graph.nodes["p/raw:v0"])
    graph.nodes["p/raw:v0"]["colour"] = "red"
    assert dict(graph.nodes["p/raw:v0"]) == {**before, "colour": "red"}
    nx.set_node_attributes(graph, 3, "size")
    nx.set_edge_attributes(graph, {("p/raw:v0", run): {"weight": 2}})
    graph.add_node(run, label="fit")
    graph.add_edge("p/raw:v0", run, label="in")
    assert graph.nodes(data="size")[run] == 3
    assert (graph.nodes[run]["label"], graph.nodes[run]["kind"]) == ("fit", "run")
    edge = graph.edges["p/raw:v0", run]
    assert (edge["weight"], edge["label"], edge["kind"]) == (2, "in", "used")
    assert nx.shortest_path_length(graph, "p/raw:v0", run, weight="weight") == 2
    assert "colour" not in graph.nodes["p/model:v0"]
    assert "weight" not in graph.edges[run, "p/model:v0"]


def test_attributes_are_replaced_and_removed(graph):
    node = graph.nodes["p/raw:v0"]
    node["kind"] = "mine"
    del node["newer"]
    node |= {"shape": "box"}
    assert list(graph.nodes["p/raw:v0"]) == ["kind", "record", "cut", "shape"]
    assert node.pop("shape") == "box"
    assert node.setdefault("kind", "other") == "mine"
    with pytest.raises(KeyError):
        del graph.nodes["p/model:v0"]["colour"]
    assert len(graph.nodes["p/model:v0"]) == 4


def test_what_is_changed_within_the_data_of_an_edge_stays_with_that_edge(world):
    world.log("raw", "0")
    runs = [world.run("raw"), world.run("raw")]
    models = [world.log("model", str(at), run) for at, run in enumerate(runs)]
    graph = lineage_graph(world.catalog, models)
    edges = [graph.edges["p/raw:v0", f"run:{run}"] for run in runs]
    edges[0]["data"]["note"] = "mine"
    assert edges[0]["data"] == {"aliases": ["latest"], "note": "mine"}
    assert edges[1]["data"] == {"aliases": ["latest"]}
    made = graph.edges[f"run:{runs[0]}", "p/model:v0"]["data"]
    made["note"] = "mine"
    assert graph.edges[f"run:{runs[1]}", "p/model:v1"]["data"] == {}


def test_nodes_and_edges_are_added_and_removed(graph):
    graph.add_edge("p/model:v0", "elsewhere", kind="sent")
    assert graph.nodes["elsewhere"] == {}
    graph.remove_node("p/raw:v0")
    assert [data["kind"] for _, _, data in graph.edges(data=True)] == ["sent", "produced"]


# Copies


@pytest.mark.parametrize("way", [lambda one: one.copy(), copy.deepcopy, lambda one: one.subgraph(list(one)).copy()])
def test_a_copy_is_equal_and_changes_by_itself(graph, way):
    copied = way(graph)
    assert nx.utils.graphs_equal(copied, plain(graph))
    assert isinstance(copied, LineageGraph)
    copied.nodes["p/raw:v0"]["colour"] = "red"
    copied.edges["p/raw:v0", run_of(copied)]["weight"] = 1
    copied.remove_node("p/model:v0")
    assert "colour" not in graph.nodes["p/raw:v0"]
    assert "weight" not in graph.edges["p/raw:v0", run_of(graph)]
    assert "p/model:v0" in graph


def test_a_copy_of_attributes_is_a_dictionary(graph):
    edge = graph.edges["p/raw:v0", run_of(graph)]
    for copied in (edge.copy(), copy.copy(edge), copy.deepcopy(edge)):
        assert type(copied) is dict
        assert copied == edge
    copy.deepcopy(edge)["data"]["note"] = "mine"
    assert "note" not in edge["data"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_graph_is_pickled_with_what_was_changed(graph, protocol):
    run = run_of(graph)
    graph.nodes["p/raw:v0"]["colour"] = "red"
    again = pickle.loads(pickle.dumps(graph, protocol))
    assert nx.utils.graphs_equal(again, plain(graph))
    again.edges["p/raw:v0", run]["weight"] = 1
    assert again.pred[run]["p/raw:v0"]["weight"] == 1


def test_algorithms_and_conversions_of_networkx_take_the_graph(graph):
    run = run_of(graph)
    assert nx.ancestors(graph, "p/model:v0") == {"p/raw:v0", run}
    assert [sorted(one) for one in nx.topological_generations(graph)] == [["p/raw:v0"], [run], ["p/model:v0"]]
    assert nx.has_path(graph.reverse(copy=False), "p/model:v0", "p/raw:v0")
    reverse = graph.reverse()
    assert reverse.edges[run, "p/raw:v0"] == graph.edges["p/raw:v0", run]
    assert graph.to_undirected().edges[run, "p/raw:v0"]["kind"] == "used"
    assert graph.subgraph([run]).nodes[run]["record"] == graph.nodes[run]["record"]
    told = nx.node_link_data(graph, edges="links")
    assert [one["kind"] for one in told["nodes"]] == ["version", "version", "run"]
    assert [one["kind"] for one in json.loads(json.dumps(told["links"]))] == ["used", "produced"]
    named = nx.relabel_nodes(graph, {run: "the run"})
    assert named.edges["the run", "p/model:v0"] == graph.edges[run, "p/model:v0"]
    joined = nx.compose(graph, nx.DiGraph([("p/model:v0", "elsewhere")]))
    assert joined.nodes["p/raw:v0"] == graph.nodes["p/raw:v0"]
    assert nx.utils.graphs_equal(nx.DiGraph(graph), plain(graph))
    assert nx.to_dict_of_dicts(graph)["p/raw:v0"][run]["kind"] == "used"


def test_a_frozen_graph_refuses_nodes(graph):
    nx.freeze(graph)
    with pytest.raises(nx.NetworkXError):
        graph.add_node("x")
    assert not nx.is_frozen(graph.copy())


def test_nothing_is_unpacked_by_being_looked_at(graph):
    for _, data in graph.nodes(data=True):
        dict(data)
    for _, _, data in graph.edges(data=True):
        dict(data)
    packed = [data for _, data in graph.nodes(data=True)] + [data for _, _, data in graph.edges(data=True)]
    assert all(isinstance(one, Attributes) and not isinstance(one._held, dict) for one in packed)
