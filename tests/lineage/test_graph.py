"""The closure over edges: complete, bounded where asked, and at an end where the graph has none."""

from __future__ import annotations

import networkx as nx
import pytest

from lineart.lineage.graph import lineage_graph
from lineart.lineage.render import lineage_document, lineage_tree
from lineart.lineage.starting import Captured


def nodes(graph):
    return set(graph.nodes)


def pipeline(world):
    """raw:v0 → r1 → clean:v0 → r2 → model:v0 → r3 (no output); clean:v0 → r4 → report:v0."""
    world.log("raw", "0")
    r1 = world.run("raw")
    world.log("clean", "1", r1)
    r2 = world.run("clean")
    model = world.log("model", "2", r2)
    r3 = world.run("model")
    r4 = world.run("clean")
    world.log("report", "3", r4)
    return (r1, r2, r3, r4), model


def test_upstream_is_all_that_a_version_came_from(worlds):
    (r1, r2, _, _), model = pipeline(worlds)
    graph = lineage_graph(worlds.catalog, [model])
    assert nodes(graph) == {"p/raw:v0", "p/clean:v0", "p/model:v0", f"run:{r1}", f"run:{r2}"}
    assert list(nx.topological_sort(graph)) == ["p/raw:v0", f"run:{r1}", "p/clean:v0", f"run:{r2}", "p/model:v0"]
    assert graph.nodes["p/model:v0"]["kind"] == "version"
    assert graph.nodes["p/model:v0"]["record"] == worlds.catalog.records([model.id])[model.id]
    assert graph.nodes[f"run:{r1}"]["kind"] == "run"
    assert graph.nodes[f"run:{r1}"]["record"] == worlds.ledger.get(r1)
    assert graph.edges["p/raw:v0", f"run:{r1}"]["kind"] == "used"
    assert graph.edges["p/raw:v0", f"run:{r1}"]["data"] == {"aliases": ["latest"]}
    assert graph.edges[f"run:{r2}", "p/model:v0"]["kind"] == "produced"


def test_downstream_is_all_that_was_made_of_it_and_who_only_looked(worlds):
    (r1, r2, r3, r4), _ = pipeline(worlds)
    raw = worlds.catalog.records([1])[1]
    graph = lineage_graph(worlds.catalog, [raw], up=False, down=True)
    runs = {f"run:{one}" for one in (r1, r2, r3, r4)}
    assert nodes(graph) == {"p/raw:v0", "p/clean:v0", "p/model:v0", "p/report:v0"} | runs


def test_both_ways_are_joined_in_one_graph(world):
    (r1, r2, _, _), _ = pipeline(world)
    clean = world.catalog.records([2])[2]
    graph = lineage_graph(world.catalog, [clean], up=True, down=True)
    assert len(graph) == 8
    assert set(nx.ancestors(graph, "p/model:v0")) == {"p/raw:v0", f"run:{r1}", "p/clean:v0", f"run:{r2}"}


def test_depth_counts_steps_from_version_to_version_and_says_where_it_cut(world):
    (_, r2, _, _), model = pipeline(world)
    graph = lineage_graph(world.catalog, [model], depth=1)
    assert nodes(graph) == {"p/clean:v0", "p/model:v0", f"run:{r2}"}
    assert graph.nodes["p/clean:v0"]["cut"]
    assert not graph.nodes["p/model:v0"]["cut"]
    assert not lineage_document(graph)["complete"]
    assert "depth 1: 1 version has more upstream" in lineage_tree(graph)
    whole = lineage_graph(world.catalog, [model], depth=2)
    assert lineage_document(whole)["complete"], "raw:v0 has nothing beyond it"
    alone = lineage_graph(world.catalog, [model], depth=0)
    assert nodes(alone) == {"p/model:v0"}
    assert alone.nodes["p/model:v0"]["cut"]


def test_cycles_end(world):
    a = world.log("a", "0")
    run = world.run("a")
    world.log("a", "0", run)
    world.log("b", "1", run)
    other = world.run("b")
    world.log("a", "0", other)
    for graph in (
        lineage_graph(world.catalog, [a]),
        lineage_graph(world.catalog, [a], up=False, down=True),
        lineage_graph(world.catalog, [a], up=True, down=True),
    ):
        assert nodes(graph) == {"p/a:v0", "p/b:v0", f"run:{run}", f"run:{other}"}
        lineage_tree(graph)
        lineage_tree(graph, down=True)


def test_deleted_versions_stay_in_the_graph(world):
    _, model = pipeline(world)
    world.delete(world.catalog.records([2])[2])
    graph = lineage_graph(world.catalog, [model])
    assert graph.nodes["p/clean:v0"]["record"].state == "deleted"
    assert "p/raw:v0" in graph
    assert "deleted" in lineage_tree(graph)


def test_a_newer_version_of_an_input_is_known(world):
    _, model = pipeline(world)
    world.log("raw", "new")
    gone = world.log("raw", "newer still")
    world.delete(gone)
    graph = lineage_graph(world.catalog, [model])
    assert graph.nodes["p/raw:v0"]["newer"] == 1
    assert graph.nodes["p/clean:v0"]["newer"] is None
    assert "newer: v1" in lineage_tree(graph)


def test_what_only_a_repetition_made_is_no_newer_version(worlds):
    _, model = pipeline(worlds)
    worlds.log("raw", "0, made again", worlds.run(captured=Captured({"again": ["some-run"]})), quiet=True)
    assert lineage_graph(worlds.catalog, [model]).nodes["p/raw:v0"]["newer"] is None


@pytest.mark.slow
def test_a_long_chain_and_a_wide_fan_need_no_recursion(world):
    def rows(tx):
        now = tx.now()
        run = (
            "INSERT INTO run (id, project, name, state, created, heartbeat, actor, config, summary, code, environment)"
        )
        tx.connection.exec_driver_sql(
            "INSERT INTO version (id, collection, number, digest, size, file_count, state, created, actor, data) "
            f"WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM n WHERE i < 15099) "
            f"SELECT i, 1, i, X'{'00' * 32}', 1, 1, 'live', {now}, 'a', '{{}}' FROM n"
        )
        values = ((f"c{i}", now) for i in range(5001))
        for id_, at in values:
            tx.connection.exec_driver_sql(
                run + " VALUES (?, 1, 'n', 'finished', ?, ?, 'a', '{}', '{}', '{}', '{}')", (id_, at, at)
            )
        edges = [(f"c{i}", 100 + i, "used") for i in range(4999)] + [
            (f"c{i}", 101 + i, "produced") for i in range(4999)
        ]
        edges += [("c5000", 5100 + i, "used") for i in range(9999)] + [("c5000", 100, "produced")]
        for run_id, version, direction in edges:
            tx.connection.exec_driver_sql(
                "INSERT INTO edge (run, version, direction, time) VALUES (?, ?, ?, 0)", (run_id, version, direction)
            )

    world.log("x", "0")
    world.database.write(rows)
    last = world.catalog.records([5099])[5099]
    graph = lineage_graph(world.catalog, [last])
    assert len(graph) == 5000 + 9999 + 5000
    text = lineage_tree(graph)
    assert "raw, 9999 versions" in text
    assert "19,999 nodes: 14,999 versions, 5,000 runs · nothing left out" in text
