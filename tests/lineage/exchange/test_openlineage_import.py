"""Runs of other tools in the graph: what events come to, on both databases."""

from __future__ import annotations

import itertools
import json
import random

import networkx as nx
import pytest

from lineart.artifacts.catalog import Catalog
from lineart.artifacts.folds import FOLDS as ARTIFACT_FOLDS
from lineart.artifacts.ref import Ref
from lineart.lineage.exchange.importing import collection_name, import_openlineage
from lineart.lineage.exchange.names import run_uuid
from lineart.lineage.exchange.openlineage import event_lines
from lineart.lineage.graph import lineage_graph
from lineart.lineage.runs import FOLDS
from lineart.storage.database import Database
from lineart.storage.engine import Engine
from lineart.storage.errors import InvalidInput

RUN = "0192d8c4-0000-7000-8000-00000000000"
AIRFLOW = "https://airflow.example/2.10"
NOW = 1_800_000_000  # the world's clock, seconds


def when(seconds):
    return f"2026-05-01T12:{seconds // 60:02}:{seconds % 60:02}+00:00"


BEGAN = 1_777_636_800_000_000  # 2026-05-01T12:00:00Z in µs


def dataset(name, version=None, namespace="s3://lake", **facets):
    base = {"_producer": AIRFLOW, "_schemaURL": "https://x.example/s.json"}
    if version is not None:
        facets["version"] = {"datasetVersion": version}
    return {"namespace": namespace, "name": name, "facets": {key: base | one for key, one in facets.items()}}


def event(run, kind, seconds=0, inputs=(), outputs=(), job="etl.load", run_facets=None, job_facets=None):
    return {
        "eventType": kind,
        "eventTime": when(seconds),
        "producer": AIRFLOW,
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": f"{RUN}{run}", "facets": run_facets or {}},
        "job": {"namespace": "prod", "name": job, "facets": job_facets or {}},
        "inputs": list(inputs),
        "outputs": list(outputs),
    }


def lines(*events):
    return [json.dumps(one) for one in events]


def bring(world, *events, **options):
    return import_openlineage(world.catalog, lines(*events), "p", **options)


def run_of(world, number=1):
    return world.ledger.get(f"ol-{RUN}{number}")


def everything(world):
    """Return the graph of all that there is."""
    found = [one for name in world.catalog.collections() for one in versions(world, name.name, name.project)]
    return lineage_graph(world.catalog, found, up=True, down=True)


def versions(world, name, project="p"):
    return world.catalog.versions(Ref(project, name), project)


def state_of(world):
    """Return everything that an import writes, without row ids."""
    graph = everything(world)
    nodes = sorted((node, str({**data, "record": 0}), plain(data["record"])) for node, data in graph.nodes(data=True))
    edges = sorted((a, b, data["kind"], data["time"]) for a, b, data in graph.edges(data=True))
    return nodes, edges


def plain(record):
    return json.dumps(
        {**record.to_json(), "digest": None, "created": None, "number": None, "version": None}, sort_keys=True
    )


def journal(world):
    return [(one.kind, one.data) for one in world.engine.journal.events()]


ETL = (
    event(1, "START", 0, [dataset("raw/orders", "7")]),
    event(
        1,
        "COMPLETE",
        90,
        [dataset("raw/orders", "7")],
        [dataset("clean/orders", "3", schema={"fields": [{"name": "id", "type": "int"}]})],
        run_facets={"parent": {"run": {"runId": RUN + "9"}, "job": {"namespace": "prod", "name": "etl"}}},
        job_facets={
            "sourceCodeLocation": {
                "type": "git",
                "url": "https://host/etl/tree/main",
                "repoUrl": "https://ci:s3cret@host/etl.git",
                "version": "ab" * 20,
                "branch": "main",
            },
            "documentation": {"description": "loads orders"},
        },
    ),
    event(2, "START", 100, [dataset("clean/orders", "3")], job="etl.report"),
    event(2, "FAIL", 160, [dataset("clean/orders", "3")], [dataset("report")], job="etl.report"),
)


def test_runs_and_datasets_appear_in_the_graph(worlds):
    done = bring(worlds, *ETL)
    assert (done.events, done.runs, done.updated, done.versions, done.edges) == (4, 2, 0, 3, 4)
    report = versions(worlds, collection_name("s3://lake", "report"))[0]
    graph = lineage_graph(worlds.catalog, [report])
    names = [collection_name("s3://lake", one) for one in ("raw/orders", "clean/orders", "report")]
    assert set(graph) == {
        *(f"p/{one}:v0" for one in names),
        *(f"run:ol-{RUN}{number}" for number in (1, 2)),
        "s3://lake/raw/orders",
        "s3://lake/clean/orders",
        "s3://lake/report",
    }
    assert nx.has_path(graph, f"p/{names[0]}:v0", f"p/{names[2]}:v0")


def test_a_run_has_the_times_words_and_code_of_its_events(worlds):
    bring(worlds, *ETL)
    run = run_of(worlds)
    assert (run.state, run.exit_code, run.created, run.ended) == ("finished", None, BEGAN, BEGAN + 90_000_000)
    assert (run.job_type, run.name, run.notes) == ("etl.load", "prod/etl.load", "loads orders")
    assert run.commit == "ab" * 20
    assert run.code["git"]["remote"] == "https://ci:***@host/etl.git"
    assert run.code["openlineage"]["runId"] == RUN + "1"
    assert run.code["openlineage"]["facets"]["parent"]["run"] == {"runId": RUN + "9"}
    assert (run_of(worlds, 2).state, run_of(worlds, 2).duration) == ("failed", 60_000_000)


def test_edges_have_the_times_of_the_events_that_first_name_them(worlds):
    bring(worlds, *ETL)
    graph = everything(worlds)
    found = sorted(data["time"] - BEGAN for _, _, data in graph.edges(data=True) if data["kind"] != "refers")
    assert found == [0, 90_000_000, 100_000_000, 160_000_000]


def test_a_dataset_is_a_collection_and_each_version_one_external_entry(worlds):
    bring(worlds, *ETL, event(3, "COMPLETE", 200, [], [dataset("clean/orders", "4")]))
    first, second = versions(worlds, collection_name("s3://lake", "clean/orders"))
    assert (first.type, first.file_count, first.state) == ("dataset", 1, "live")
    assert [one.metadata["openlineage"]["version"] for one in (first, second)] == ["3", "4"]
    assert first.metadata["openlineage"]["facets"]["schema"]["fields"] == [{"name": "id", "type": "int"}]
    from lineart.artifacts.content import Content

    (entry,) = Content(first.digest, worlds.engine.chunks).walk()
    assert (entry.external.url, entry.external.version, entry.size) == ("s3://lake/clean/orders", "3", 0)


def test_importing_again_changes_nothing(worlds):
    bring(worlds, *ETL)
    before, events = state_of(worlds), journal(worlds)
    worlds.wait(3600)
    again = bring(worlds, *ETL)
    assert (again.events, again.runs, again.updated, again.versions, again.edges) == (4, 0, 0, 0, 0)
    assert (state_of(worlds), journal(worlds)) == (before, events)


@pytest.mark.parametrize("seed", range(6))
def test_order_and_files_do_not_matter(world, another, seed):
    more = (
        *ETL,
        event(3, "RUNNING", 210, [dataset("report")]),
        event(3, "START", 205, [dataset("report")], run_facets={"nominalTime": {"nominalStartTime": when(0)}}),
        event(4, "FAIL", 300),
        event(4, "COMPLETE", 320),  # tried again under the same id: the later end holds
        event(5, "ABORT", 400, [], [dataset("half")]),
    )
    bring(world, *more)
    shuffled = list(more)
    random.Random(seed).shuffle(shuffled)
    for one in shuffled if seed % 2 else [shuffled]:
        bring(another, *(one if isinstance(one, list) else [one]))
    assert state_of(another) == state_of(world)
    for number in range(1, 6):
        mine, others = run_of(world, number).to_json(), run_of(another, number).to_json()
        assert mine == others


def test_a_run_whose_end_comes_in_a_later_file_ends_when_it_did(worlds):
    bring(worlds, ETL[0])
    assert run_of(worlds).state == "crashed", "nothing was heard of it for months"
    worlds.ledger.start("p")  # which records that it has vanished
    assert [one.data["id"] for one in worlds.events("run.crashed")] == [f"ol-{RUN}1"]
    done = bring(worlds, ETL[1])
    assert (done.runs, done.updated) == (0, 1)
    assert (run_of(worlds).state, run_of(worlds).ended) == ("finished", BEGAN + 90_000_000)
    bring(worlds, ETL[0])
    assert run_of(worlds).state == "finished"


def test_an_end_without_a_start_is_a_run_and_the_start_may_follow(worlds):
    bring(worlds, ETL[1])
    assert run_of(worlds).created == BEGAN + 90_000_000
    assert bring(worlds, ETL[0]).updated == 1
    assert (run_of(worlds).created, run_of(worlds).state) == (BEGAN, "finished")


def test_an_aborted_run_is_not_revived_by_what_comes_later(worlds):
    bring(worlds, event(1, "ABORT", 60))
    bring(worlds, event(1, "START", 0), event(1, "RUNNING", 30))
    bring(worlds, event(1, "RUNNING", 90))
    assert (run_of(worlds).state, run_of(worlds).ended) == ("crashed", BEGAN + 60_000_000)


def test_a_run_that_lies_ahead_of_the_clock_is_not_alive_for_ever(world):
    ahead = event(1, "START")
    ahead["eventTime"] = "9999-01-01T00:00:00Z"
    bring(world, ahead)
    assert run_of(world).heartbeat == world.time // 1000
    before = journal(world)
    world.wait(3600)
    assert run_of(world).state == "crashed"
    assert bring(world, ahead).updated == 0
    assert journal(world) == before


def test_nothing_of_an_import_can_keep_a_run_alive(world):
    facets = {"lineart_run": {"id": "x", "environment": {"heartbeat": 1e9, "process": {"pid": 1}}, "config": {"a": 1}}}
    bring(world, event(1, "START", run_facets=facets))
    assert run_of(world).environment == {}
    assert run_of(world).config == {"a": 1}
    assert run_of(world).state == "crashed"


def test_a_dataset_without_a_version_stays_one_and_gives_way_to_one_with_it_in_the_same_run(worlds):
    bring(worlds, event(1, "START", 0, [], [dataset("x")]), event(1, "COMPLETE", 9, [], [dataset("x", "snap-1")]))
    bring(worlds, event(2, "COMPLETE", 10, [dataset("y")]), event(3, "COMPLETE", 11, [dataset("y")]))
    assert [one.metadata["openlineage"]["version"] for one in versions(worlds, collection_name("s3://lake", "x"))] == [
        "snap-1"
    ]
    assert len(versions(worlds, collection_name("s3://lake", "y"))) == 1


def test_a_dataset_event_is_a_version_and_one_of_a_job_is_passed_over(worlds):
    alone = {"eventTime": when(0), "producer": AIRFLOW, "dataset": dataset("alone", "1")}
    static = {"eventTime": when(0), "producer": AIRFLOW, "job": {"namespace": "n", "name": "m"}, "inputs": []}
    done = bring(worlds, alone, static, static)
    assert (done.versions, done.runs) == (1, 0)
    assert [tuple(one) for one in done.skipped] == [("of a job, without a run", 2, 2)]


def test_a_version_that_was_deleted_is_not_logged_anew(worlds):
    bring(worlds, *ETL)
    name = collection_name("s3://lake", "report")
    worlds.delete(versions(worlds, name)[0])
    done = bring(worlds, *ETL, event(5, "COMPLETE", 300, [dataset("report")]))
    assert (done.versions, done.edges) == (0, 1)
    assert [one.state for one in versions(worlds, name)] == ["deleted"]


def test_a_dataset_of_this_store_is_its_version_and_its_own_runs_are_passed_over(worlds):
    ours = worlds.log("model", "weights")
    store = worlds.engine.marker.store_id
    reads = event(1, "COMPLETE", 5, [dataset("p/model", "v0", f"lineart://{store}")], [dataset("scores")])
    own = event(2, "START", run_facets={"lineart_run": {"id": "r8k2"}})
    own["job"]["namespace"], own["run"]["runId"] = f"lineart://{store}", run_uuid("r8k2", store)
    done = bring(worlds, reads, own)
    assert (done.versions, done.runs) == (1, 1)
    assert done.skipped[0].why == "of a run of this store"
    graph = lineage_graph(worlds.catalog, [ours], up=False, down=True)
    assert f"p/{collection_name('s3://lake', 'scores')}:v0" in graph
    unknown = event(3, "COMPLETE", 6, [dataset("p/model", "v99", f"lineart://{store}")])
    assert bring(worlds, unknown).versions == 1, "what is not here is a dataset like any other"


def test_more_runs_than_one_transaction_takes(world, monkeypatch):
    import lineart.lineage.exchange.importing as module

    monkeypatch.setattr(module, "RUNS", 3)
    monkeypatch.setattr(module, "DATASETS", 2)
    many = [event(n, "COMPLETE", n, [dataset(f"d{n}")], [dataset(f"d{n + 1}")]) for n in range(8)]
    alone = [{"eventTime": when(0), "producer": AIRFLOW, "dataset": dataset(f"alone{n}")} for n in range(5)]
    done = bring(world, *many, *alone)
    assert (done.runs, done.versions, done.edges) == (8, 9 + 5, 16)
    assert bring(world, *many, *alone).edges == 0


@pytest.mark.slow
@pytest.mark.parametrize("events", [[event(n, "COMPLETE", n) for n in range(9)], ETL], ids=["no datasets", "datasets"])
def test_imports_of_the_same_events_at_once_are_one(postgres_url, world_class, events):
    """Each importer has connections of its own, as processes have: within one, writes take turns anyway."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    first = world_class(postgres_url)
    first.run()  # making the project would let one at a time in
    folds = {**ARTIFACT_FOLDS, **FOLDS}
    others = [Database.open(postgres_url, actor="bo@there", folds=folds) for _ in range(3)]
    engine = first.engine
    engines = [engine, *(Engine(engine.backend, one, engine.marker, "bo@there") for one in others)]
    ready = Barrier(4)

    def work(one):
        ready.wait(60)
        return import_openlineage(Catalog(one), lines(*events), "p")

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, engines))
    runs = len({one["run"]["runId"] for one in events})
    assert sum(one.runs for one in done) == runs
    assert len(first.events("run.started")) == len(first.ledger.list()) == runs + 1
    assert sum(one.edges for one in done) == (4 if events is ETL else 0)
    for one in engines:
        one.close()


def test_a_wrong_line_stops_everything_before_anything_is_recorded(worlds):
    before = len(journal(worlds))
    with pytest.raises(InvalidInput, match="line 2 is no OpenLineage event: it has no job"):
        import_openlineage(worlds.catalog, [*lines(ETL[0]), '{"run": {}, "eventTime": "2026-05-01T12:00:00Z"}'], "p")
    assert len(journal(worlds)) == before


def test_a_database_rebuilt_from_the_journal_is_the_same(world, tmp_path):
    bring(world, ETL[0])
    bring(world, *ETL)
    blank = Database.create_blank(
        f"sqlite:///{tmp_path}/again.sqlite", store_id="5" * 32, actor="x", folds={**ARTIFACT_FOLDS, **FOLDS}
    )
    blank.write(lambda tx: tx.restore(world.engine.journal.events()))

    def rows(database, table):
        return database.read(lambda c: sorted(map(tuple, c.exec_driver_sql(f'SELECT * FROM "{table}"'))))

    for table in ("run", "edge", "version", "collection", "alias", "reference"):
        assert rows(blank, table) == rows(world.database, table), table
        assert rows(blank, table)
    blank.close()


# There and back


def shape(graph):
    """Return versions and runs without names of projects and numbers: what two stores may call differently."""
    kept = [node for node, kind in graph.nodes(data="kind") if kind != "external"]
    return nx.DiGraph(graph.subgraph(kept))


def same_node(a, b):
    if a["kind"] != b["kind"]:
        return False
    if a["kind"] == "run":
        one, other = a["record"], b["record"]
        same = ("created", "ended", "state", "commit", "config", "summary", "job_type", "name")
        return all(getattr(one, name) == getattr(other, name) for name in same)
    return True


def same_edge(a, b):
    return a["kind"] == b["kind"]


def a_store_of_ours(world):
    raw = [world.log("raw", text) for text in "ab"]
    clean = world.run("raw:v0", "raw:v1", job_type="clean", config={"lr": 0.5})
    world.wait(10)
    world.log("data", "c", clean)
    world.ledger.finish(clean)
    world.wait(5)
    train = world.run("data", "raw:v1", name="cosine")
    world.log("model", "m", train)
    world.log("data", "c", train)  # it logs what it used, too
    world.ledger.finish(train, 1)
    bad = world.run("model")
    world.ledger.finish(bad, state="crashed")
    return raw


def test_our_own_events_in_another_store_give_the_same_graph(worlds, another):
    a_store_of_ours(another)
    ours = everything(another)
    done = import_openlineage(worlds.catalog, event_lines(ours), "p")
    assert (done.runs, done.skipped, done.facets_left_out) == (3, (), 0)
    theirs = everything(worlds)
    assert nx.is_isomorphic(shape(ours), shape(theirs), node_match=same_node, edge_match=same_edge)

    names = [
        sorted((one["namespace"], one["name"], one["facets"]["version"]["datasetVersion"]) for one in datasets(graph))
        for graph in (ours, theirs)
    ]
    assert names[0] == names[1], "what is handed on keeps the names that its maker gave it"
    ids = [sorted({json.loads(line)["run"]["runId"] for line in event_lines(graph)}) for graph in (ours, theirs)]
    assert ids[0] == ids[1]


def datasets(graph):
    for line in event_lines(graph):
        one = json.loads(line)
        yield from itertools.chain(one.get("inputs", ()), one.get("outputs", ()))


def test_events_that_were_imported_and_handed_on_are_still_of_the_standard(world):
    bring(world, *ETL, event(5, "ABORT", 400, [], [dataset("half")]))
    for line in event_lines(everything(world)):
        one = json.loads(line)
        assert one["job"]["namespace"] == "prod"
        assert all(
            {"_producer", "_schemaURL"} <= set(facet)
            for part in (one["run"], one["job"], *one["inputs"], *one["outputs"])
            for facet in part["facets"].values()
        )
