"""Room that a lineage graph takes: bytes that Python hands out for each node, which do not depend on the machine."""

from __future__ import annotations

import gc
import json
import tracemalloc

import pytest

from lineart.lineage.graph import lineage_graph

VERSIONS = 2500  # and as many runs
KEPT = 850  # bytes for a node with an edge, of which networkx takes some 450 and the names 130
MEANWHILE = 6_000_000  # bytes beside, however big the graph is: rows of a batch, here of two kilobytes each
ENVIRONMENT = json.dumps({"python": "3.11.7", "packages": [f"package-{at}" for at in range(100)]})


@pytest.fixture
def chain(world):
    """Versions of which each was made from the one before, by runs of one environment; return the last."""
    first = world.log("data", "0")
    ids = [f"r{at:07d}" for at in range(VERSIONS - 1)]

    def rows(tx):
        def fill(sql, values):
            tx.connection.exec_driver_sql(sql, list(values))

        fill(
            "INSERT INTO version (id, collection, number, digest, size, file_count, state, created, actor, data) "
            "VALUES (?, 1, ?, ?, 1, 1, 'live', ?, 'ana@here', '{}')",
            ((first.id + at, at, at.to_bytes(32, "big"), 10**15 + at) for at in range(1, VERSIONS)),
        )
        fill(
            "INSERT INTO run (id, project, name, state, created, heartbeat, actor, config, summary, code, environment) "
            "VALUES (?, 1, 'fit', 'finished', ?, ?, 'ana@here', '{}', '{}', '{}', ?)",
            ((one, 10**15 + at, 10**15 + at, ENVIRONMENT) for at, one in enumerate(ids)),
        )
        fill(
            "INSERT INTO edge (run, version, direction, time, data) VALUES (?, ?, ?, ?, ?)",
            (
                edge
                for at, one in enumerate(ids)
                for edge in (
                    (one, first.id + at, "used", 10**15 + at, '{"aliases":["latest"]}'),
                    (one, first.id + at + 1, "produced", 10**15 + at, None),
                )
            ),
        )

    world.database.write(rows)
    return world.catalog.records([first.id + VERSIONS - 1])[first.id + VERSIONS - 1]


def test_a_node_and_its_edge_take_less_than_a_kilobyte(world, chain):
    lineage_graph(world.catalog, [chain])  # so that statements are compiled, and modules loaded
    gc.collect()
    tracemalloc.start()
    try:
        graph = lineage_graph(world.catalog, [chain])
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        for _, data in graph.nodes(data=True):
            assert data["record"].actor == "ana@here"
        gc.collect()
        looked, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(graph) == 2 * VERSIONS - 1
    assert graph.number_of_edges() == 2 * VERSIONS - 2
    assert kept / len(graph) < KEPT
    assert peak - kept < MEANWHILE
    assert looked - kept < 20_000, "records are not kept by having been looked at"
