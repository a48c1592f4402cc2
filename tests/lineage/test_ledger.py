"""Runs and edges as transactions: what is recorded, once, and what is not."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from lineart.artifacts.ref import Ref
from lineart.lineage.capture import Captured, chunks_named
from lineart.lineage.edges import edges_of
from lineart.lineage.ledger import LOST, Ledger, new_run_id
from lineart.lineage.runs import FOLDS
from lineart.lineage.values import Changes
from lineart.storage import tables as storage_tables
from lineart.storage.database import Database
from lineart.storage.errors import Conflict, InvalidInput, InvalidName, NotFound


def test_a_run_reads_back_as_it_was_started(worlds):
    ledger = worlds.ledger
    run = ledger.start(
        "team/p",
        name="cosine-3e4",
        job_type="train",
        group="g",
        tags=["gold", "needs review", "gold"],
        notes="ünï\0",
        config={"lr": 0.1, "api_key": "x", "nan": float("nan")},
        captured=Captured({"command": ["a"]}, {"host": "h"}),
    )
    assert ledger.get(run.id) == run
    assert (run.project, run.name, run.job_type, run.group, run.state) == (
        "team/p",
        "cosine-3e4",
        "train",
        "g",
        "running",
    )
    assert run.tags == ("gold", "needs review")
    assert run.notes == "ünï\\0"
    assert run.config == {"lr": 0.1, "api_key": "***", "nan": "NaN"}
    assert (run.code, run.environment) == ({"command": ["a"]}, {"host": "h"})
    assert run.to_json()["created"].endswith("Z")


def test_a_run_without_a_name_is_called_by_its_id(world):
    run = world.ledger.start("p")
    assert run.name == run.id
    assert run.id.startswith("r")
    assert len({new_run_id() for _ in range(100)}) == 100


def test_an_id_that_is_taken_is_refused_when_asked_for_and_passed_over_when_rolled(world):
    world.ledger.start("p", id="exp-1")
    with pytest.raises(Conflict, match="exp-1"):
        world.ledger.start("p", id="exp-1")
    with pytest.raises(InvalidName):
        world.ledger.start("p", id="a b")
    ids = iter(["exp-1", "exp-1", "exp-2"])
    assert Ledger(world.catalog, new_id=lambda: next(ids)).start("p").id == "exp-2"


def test_bad_words_are_refused_before_anything_is_recorded(world):
    with pytest.raises(InvalidName):
        world.ledger.start("p", tags=["a/b"])
    with pytest.raises(InvalidInput):
        world.ledger.start("p", name=3)
    with pytest.raises(InvalidName):
        world.ledger.start("p/q/r")
    assert world.ledger.list() == []


def test_a_reason_that_no_database_takes_as_it_is_ends_a_run_all_the_same(worlds):
    run = worlds.ledger.start("p").id
    worlds.ledger.finish(run, 1, reason="FileNotFoundError: b\udcff.txt\0")
    assert worlds.ledger.get(run).state == "failed"
    ends = select(storage_tables.event.c.reason).where(storage_tables.event.c.kind == "run.finished")
    said = worlds.engine.database.read(lambda connection: connection.execute(ends).scalars().all())
    assert said == ["FileNotFoundError: b\\udcff.txt\\0"]


def test_runs_are_listed_newest_first(world):
    for project, name in [("p", "a"), ("q", "b"), ("P2", "c"), ("p", "d")]:
        world.wait(1)
        world.ledger.start(project, name=name)
    assert [run.name for run in world.ledger.list()] == ["d", "c", "b", "a"]
    assert [run.name for run in world.ledger.list("p")] == ["d", "a"]
    assert [run.name for run in world.ledger.list(limit=2)] == ["d", "c"]
    assert world.ledger.list("absent") == []


def test_updates_record_what_differs_and_only_that(world):
    ledger = world.ledger
    run = ledger.start("p", config={"lr": 0.1, "seed": 7})
    ledger.update(run.id, config=Changes({"lr": 0.1}))
    assert world.events("run.updated") == []
    ledger.update(run.id, config=Changes({"lr": 0.2, "token": "x"}, frozenset({"seed"})), summary=Changes({"acc": 1.0}))
    ledger.update(run.id, notes="n", tags=["b", "a"])
    got = ledger.get(run.id)
    assert (got.config, got.summary) == ({"lr": 0.2, "token": "***"}, {"acc": 1.0})
    assert (got.notes, got.tags, got.name) == ("n", ("a", "b"), run.name)
    assert [sorted(event.data) for event in world.events("run.updated")] == [
        ["config", "id", "summary"],
        ["id", "notes", "tags"],
    ]


def test_captured_texts_are_chunks_that_the_run_names(world):
    run = world.ledger.start("p")
    captured = Captured(
        {"git": {"commit": "c" * 40}}, {"host": "h"}, {"code.diff": b"diff", "environment.packages": b"a==1\n"}
    )
    world.ledger.update(run.id, captured=captured)
    got = world.ledger.get(run.id)
    assert got.commit == "c" * 40
    named = chunks_named(got.code, got.environment)
    assert list(world.engine.chunks.get_many(named).values()) == [b"diff", b"a==1\n"]
    world.ledger.update(run.id, captured=captured)
    assert len(world.events("run.updated")) == 1


@pytest.mark.parametrize(
    ("code", "state", "ends"),
    [(0, None, "finished"), (3, None, "failed"), (-15, "crashed", "crashed"), (1 << 40, None, "failed")],
)
def test_a_run_ends_once(world, code, state, ends):
    run = world.ledger.start("p").id
    world.wait(90)
    ended = world.ledger.finish(run, code, state=state, reason="why")
    assert (ended.state, ended.duration) == (ends, 90_000_000)
    assert world.ledger.finish(run, 7) == ended or ends == "crashed"
    event = world.events("run.crashed" if ends == "crashed" else "run.finished")[0]
    assert event.reason == "why"
    assert event.subject == f"run:{run}"


def test_an_unknown_state_or_run_is_refused(world):
    run = world.ledger.start("p").id
    with pytest.raises(InvalidInput):
        world.ledger.finish(run, state="tired")
    for call in (world.ledger.get, world.ledger.heartbeat, world.ledger.finish, world.ledger.update):
        with pytest.raises(NotFound, match="no run 'nope'"):
            call("nope")


def test_a_run_whose_heartbeat_vanished_is_shown_and_later_recorded_as_crashed(world):
    run = world.run()
    world.wait(LOST / 1e6)
    assert world.ledger.get(run).state == "running"
    world.wait(1)
    assert world.ledger.get(run).state == "crashed"
    assert world.ledger.list()[0].state == "crashed"
    assert world.events("run.crashed") == []
    world.run()
    event = world.events("run.crashed")[0]
    assert event.reason == "no heartbeat for 301 s"
    lost = world.ledger.get(run)
    assert (lost.state, lost.exit_code, lost.ended) == ("crashed", None, lost.heartbeat)


def test_a_heartbeat_keeps_a_run_alive_without_an_event_and_revives_one_taken_for_crashed(world):
    run = world.run()
    world.wait(200)
    world.ledger.heartbeat(run)
    world.wait(200)
    assert world.ledger.get(run).state == "running"
    assert world.events("run.updated") == []
    world.wait(200)
    world.run()
    assert world.ledger.get(run).ended is not None
    world.ledger.heartbeat(run)
    got = world.ledger.get(run)
    assert (got.state, got.ended) == ("running", None)
    assert world.events("run.updated")[0].data == {"id": run, "state": "running"}


def test_a_run_taken_for_crashed_may_finish_or_be_updated(world):
    first, second = world.run(), world.run()
    world.wait(301)
    world.run()
    assert world.ledger.finish(first).state == "finished"
    world.ledger.update(second, summary=Changes({"a": 1}))
    assert world.ledger.get(second).state == "running"


def test_a_use_is_one_edge_however_often_it_is_made(worlds):
    version = worlds.log("dataset", "a")
    run = worlds.run("dataset:v0", "dataset:v0", "p/dataset:v0")
    assert worlds.ledger.edges(run) == ([version.id], [])
    assert len(worlds.events("version.used")) == 1
    assert [one.id for one in worlds.ledger.consumers(version.id)] == [run]


def test_an_alias_means_the_same_version_to_a_run_until_it_ends(worlds):
    old = worlds.log("dataset", "a")
    run = worlds.ledger.start("p").id
    other = worlds.ledger.start("p").id
    assert worlds.ledger.use(run, Ref.parse("dataset"), "p").number == 0
    new = worlds.log("dataset", "b")
    assert worlds.ledger.use(run, Ref.parse("dataset:latest"), "p").id == old.id
    assert worlds.ledger.use(run, Ref.parse("p/Dataset:LATEST"), "p").id == old.id
    assert worlds.ledger.use(other, Ref.parse("dataset"), "p").id == new.id
    assert worlds.ledger.use(run, Ref.parse("dataset:v1"), "p").id == new.id
    assert worlds.ledger.edges(run)[0] == [old.id, new.id]


def test_an_alias_is_pinned_even_where_its_version_was_used_by_number_before(world):
    world.log("dataset", "a", aliases=("best",))
    run = world.run("dataset:v0", "dataset:best")
    world.log("dataset", "b", aliases=("best",))
    assert world.ledger.use(run, Ref.parse("dataset:best"), "p").number == 0
    assert world.ledger.use(run, Ref.parse("dataset:latest"), "p").number == 1, "another alias is another question"
    assert len(world.events("version.used")) == 3


def test_what_cannot_be_used_leaves_no_edge(world):
    version = world.log("dataset", "a")
    world.delete(version)
    run = world.run()
    with pytest.raises(NotFound, match=r"p/dataset:v0 is deleted.*; `art restore p/dataset:v0`"):
        world.ledger.use(run, Ref.parse("dataset:v0"), "p")
    with pytest.raises(NotFound):
        world.ledger.use(run, Ref.parse("absent"), "p")
    world.log("dataset", "b")
    with pytest.raises(Conflict, match="of type 'artifact', not 'model'"):
        world.ledger.use(run, Ref.parse("dataset"), "p", "model")
    assert world.ledger.edges(run) == ([], [])


def test_a_product_is_recorded_with_its_version(worlds):
    run = worlds.run()
    version = worlds.log("model", "a", run, metadata={"acc": 1})
    again = worlds.log("model", "a", run, metadata={"acc": 1})
    assert (version.id, worlds.ledger.edges(run)) == (again.id, ([], [version.id]))
    assert worlds.ledger.producer(version.id).id == run
    assert worlds.ledger.producer(worlds.log("raw", "x").id) is None
    assert len(worlds.events("version.produced")) == 1


def test_other_metadata_for_content_that_exists_stays_on_the_edge(world):
    differs = []
    world.log("model", "a", metadata={"acc": 1})
    run = world.run()
    world.log("model", "a", run, metadata={"acc": 2}, differs=differs)
    world.log("model", "a", run, metadata={"acc": 2}, differs=differs)
    world.log("model", "a", run, differs=differs)
    assert differs == ["model", "model"]
    (event,) = world.events("version.produced")
    assert event.data["metadata"] == {"acc": 2}
    rows = world.database.read(lambda c: c.exec_driver_sql("SELECT data FROM edge").scalars().all())
    assert rows == ['{"metadata":{"acc":2}}']


def test_the_version_a_run_logged_may_be_used_by_it(world):
    run = world.run()
    version = world.log("model", "a", run)
    assert world.ledger.use(run, Ref.parse("model"), "p").id == version.id
    assert world.ledger.edges(run) == ([version.id], [version.id])


def test_ranks_that_use_an_alias_at_once_get_one_version(worlds):
    worlds.log("dataset", "0")
    run = worlds.run()
    got, start = [], threading.Barrier(4)

    def rank(number):
        start.wait()
        worlds.log("dataset", f"r{number}")
        got.append(worlds.ledger.use(run, Ref.parse("dataset"), "p").id)

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1


def test_rebuilt_from_the_journal_runs_and_edges_are_the_same(world, tmp_path):
    world.log("raw", "a", metadata={"n": 1})
    run = world.run("raw", job_type="prep", config={"a": [1, {"b": None}]}, tags=["x"])
    world.wait(5)
    world.log("clean", "b", run, metadata={"m": 2})
    world.log("raw", "a", run, metadata={"n": 2}, differs=[])
    world.ledger.update(run, summary=Changes({"loss": 0.5}), tags=["y"])
    world.ledger.finish(run, 1)
    copy = Database.create_blank(
        f"sqlite:///{tmp_path}/copy.sqlite", store_id="5" * 32, actor="x", folds={**world.database.folds, **FOLDS}
    )
    copy.write(lambda tx: tx.restore(world.engine.journal.events()))
    for table in ("run", "run_tag", "edge"):
        dump = lambda c, table=table: c.exec_driver_sql(f"SELECT * FROM {table}").all()  # noqa: E731
        assert copy.read(dump) == world.database.read(dump)
    assert copy.read(lambda c: edges_of(c, run)) == world.ledger.edges(run)
    copy.close()
