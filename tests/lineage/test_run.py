"""The run as a program holds it: uses, products, config, summary, heartbeat and end."""

from __future__ import annotations

import argparse
import doctest
import os
import threading

import pytest

import lineart.lineage.outcome as module
from lineart.artifacts.artifact import Artifact
from lineart.lineage.capture import Capture, Captured, Collected
from lineart.lineage.ending import Ending
from lineart.lineage.opening import join_run
from lineart.lineage.run import start_run
from lineart.storage.errors import Conflict, InvalidInput, InvalidName, NotFound, StoreUnavailable


def start(world, **options):
    options.setdefault("capture", Capture.none())
    options.setdefault("interval", None)
    return start_run(world.home, "p", **options)


def draft(text, name="model", **options):
    artifact = Artifact(name, **options)
    artifact.add_bytes(text.encode(), "file")
    return artifact


def test_a_run_uses_and_logs_and_ends(world):
    world.log("dataset", "a")
    with start(world, name="n", job_type="train", group="g", tags=["t"], notes="w", config={"lr": 0.1}) as run:
        assert (run.name, run.job_type, run.group, run.tags, run.notes) == ("n", "train", "g", ("t",), "w")
        assert (run.project, run.state, run.config.lr) == ("p", "running", 0.1)
        used = run.use_artifact("dataset")
        made = run.log_artifact(draft("m"), aliases=["best"], tags="gold")
    assert used.ref == "p/dataset:v0"
    assert (made.ref, made.aliases, made.tags) == ("p/model:v0", ["best", "latest"], ["gold"])
    assert run.state == world.ledger.get(run.id).state == "finished"
    assert world.ledger.edges(run.id) == ([used.record.id], [made.record.id])


def test_a_path_is_logged_under_its_name_or_another(world, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"w")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"x")
    run = start(world)
    assert run.log_artifact(tmp_path / "weights.bin").ref == "p/weights.bin:v0"
    logged = run.log_artifact(str(tmp_path / "folder"), "data", "dataset")
    assert (logged.ref, logged.type, [one.path for one in logged.files()]) == ("p/data:v0", "dataset", ["x"])
    with pytest.raises(NotFound, match="gone does not exist"):
        run.log_artifact(tmp_path / "gone")
    with pytest.raises(InvalidName):
        run.log_artifact(tmp_path / "folder", "a b")
    with pytest.raises(InvalidInput, match="has a name and a type already"):
        run.log_artifact(draft("m"), name="other")


def test_a_logged_artifact_may_be_used_again_and_a_path_of_one_may_not(world):
    run = start(world)
    made = run.log_artifact(draft("m"))
    assert run.use_artifact(made).ref == made.ref
    with pytest.raises(InvalidInput, match="drop /file"):
        run.use_artifact("model:v0/file")
    with pytest.raises(Conflict, match="of type"):
        run.use_artifact("model:v0", type="dataset")


def test_content_that_exists_with_other_metadata_warns(world, caplog):
    run = start(world)
    run.log_artifact(draft("m", metadata={"acc": 1}))
    assert not caplog.records
    again = run.log_artifact(draft("m", metadata={"acc": 2}))
    assert (again.version, dict(again.metadata)) == ("v0", {"acc": 1})
    assert "model:v0 existed already with other metadata" in caplog.text


@pytest.mark.parametrize("config", [{"lr": 0.1}, argparse.Namespace(lr=0.1)])
def test_config_and_summary_are_saved_at_the_end(world, config):
    run = start(world, config=config)
    run.config.seed = 7
    run.config["api_token"] = "x"
    run.summary["acc"] = 0.5
    run.summary.update(loss=float("nan"))
    run.finish()
    kept = world.ledger.get(run.id)
    assert kept.config == {"lr": 0.1, "seed": 7, "api_token": "***"}
    assert kept.summary == {"acc": 0.5, "loss": "NaN"}
    assert run.config.api_token == "x", "masked where it is kept, not where it is used"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("log", r"run\.summary\['loss'\] = "),
        ("log_code", "by themselves"),
        ("watch", r"run\.summary"),
        ("odd", "no attribute 'odd'"),
    ],
)
def test_what_others_call_it_is_answered_with_what_it_is_called_here(world, name, said):
    with start(world) as run:
        with pytest.raises(AttributeError, match=said):
            getattr(run, name)({"loss": 0.5})
        assert not hasattr(run, name)
        assert name not in dir(run)


def test_a_beat_saves_what_changed_and_says_that_the_run_lives(world):
    run = start(world)
    world.wait(100)
    run.beat()
    assert world.ledger.get(run.id).heartbeat == world.time // 1000
    assert world.events("run.updated") == []
    run.summary["step"] = 1
    run.beat()
    run.beat()
    assert len(world.events("run.updated")) == 1
    assert world.ledger.get(run.id).summary == {"step": 1}


def test_after_the_end_nothing_more_is_recorded(world):
    run = start(world)
    run.end(130, state="crashed", reason="KeyboardInterrupt")
    run.beat()
    run.finish(1)
    assert run.ended
    assert world.ledger.get(run.id).state == "crashed"
    with pytest.raises(Conflict, match="has ended"):
        run.use_artifact("dataset")
    with pytest.raises(Conflict, match="has ended"):
        run.log_artifact(draft("m"))


def test_a_late_beat_does_not_revive_a_run_that_a_signal_ended(world):
    run = start(world)
    run.end(143, state="crashed")
    world.ledger.heartbeat(run.id)
    join_run(world.home, run.id).finish()
    assert world.ledger.get(run.id).state == "crashed"


def test_tags_and_notes_can_be_changed(world):
    run = start(world)
    run.tags = ["b", "a"]
    run.notes = "better"
    assert (run.tags, run.notes) == (("a", "b"), "better")
    assert world.ledger.get(run.id).notes == "better"


@pytest.mark.parametrize(
    ("error", "state", "code", "reason"),
    [
        (ValueError("bad https://u:p@h/"), "failed", 1, "ValueError: bad https://u:***@h/"),
        (SystemExit(3), "failed", 3, "exit code 3"),
        (SystemExit("text"), "failed", 1, "exit code 1"),
        (SystemExit(), "finished", 0, None),
        (KeyboardInterrupt(), "crashed", 130, "KeyboardInterrupt"),
    ],
)
def test_the_block_s_end_is_the_run_s(world, error, state, code, reason):
    with pytest.raises(type(error)), start(world) as run:
        raise error
    kept = world.ledger.get(run.id)
    assert (kept.state, kept.exit_code) == (state, code)
    assert (world.events("run.finished") + world.events("run.crashed"))[0].reason == reason


class Away:
    """A ledger whose store cannot be reached any more."""

    def __getattr__(self, name):
        def call(*_, **__):
            raise StoreUnavailable("away")

        return call


def test_a_store_that_is_away_never_hides_the_program_s_own_error(world, caplog):
    run = start(world)
    run._home.ledger = Away()
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert "could not be recorded: away" in caplog.text


def test_finish_says_that_the_store_is_away_and_can_be_asked_again(world):
    run = start(world)
    ledger, run._home.ledger = run._home.ledger, Away()
    with pytest.raises(StoreUnavailable):
        run.finish()
    run._home.ledger = ledger
    run.finish()
    assert run.state == "finished"


def test_capture_is_saved_with_the_first_beat_and_once(world, tmp_path):
    capture = Capture(
        seen=lambda: Captured({"command": ["c"]}, {"host": "h"}),
        slow=lambda _: Collected(None, b"a==1\n"),
        directory=tmp_path,
    )
    run = start(world, capture=capture)
    assert world.ledger.get(run.id).code == {"command": ["c"]}
    run.beat()
    run.beat()
    run.finish()
    assert "packages" in world.ledger.get(run.id).environment
    assert len(world.events("run.updated")) == 1


def test_a_short_run_keeps_its_capture_too(world, tmp_path):
    capture = Capture(seen=Captured, slow=lambda _: Collected(None, b"a==1\n"), directory=tmp_path)
    run = start(world, capture=capture)
    run.finish()
    assert "packages" in world.ledger.get(run.id).environment


def test_the_heartbeat_begins_at_once_and_stops_with_the_run(world):
    beaten = threading.Event()
    world.ledger.heartbeat = lambda run: beaten.set()
    run = start(world, interval=3600.0)
    assert beaten.wait(10)
    run.finish()
    run._heartbeat._thread.join(10)
    assert not run._heartbeat._thread.is_alive()


def test_a_joined_run_records_and_never_ends(world):
    run = start(world, config={"lr": 0.1})
    joined = join_run(world.home, run.id)
    assert joined.config.lr == 0.1
    joined.log_artifact(draft("m"))
    joined.summary["theirs"] = 1
    joined.finish(1)
    assert world.ledger.get(run.id).state == "running"
    run.summary["mine"] = 2
    run.finish()
    kept = world.ledger.get(run.id)
    assert (kept.state, kept.summary) == ("finished", {"theirs": 1, "mine": 2})
    assert len(world.ledger.edges(run.id)[1]) == 1
    with pytest.raises(NotFound):
        join_run(world.home, "nope")


def test_who_joins_adds_what_the_run_does_not_say_yet(world):
    run = start(world, job_type="train", tags=["a"], config={"lr": 0.1})
    words = {"name": "n", "job_type": "other", "notes": "w", "tags": ["b"], "config": {"lr": 0.2, "api_key": "x"}}
    joined = join_run(world.home, run.id, **words)
    assert (joined.config.lr, joined.config.api_key) == (0.2, "x")
    kept = world.ledger.get(run.id)
    assert (kept.name, kept.job_type, kept.notes, kept.tags) == ("n", "train", "w", ("a", "b"))
    assert kept.config == {"lr": 0.2, "api_key": "***"}
    join_run(world.home, run.id, **words)
    join_run(world.home, run.id)
    assert len(world.events("run.updated")) == 1
    with pytest.raises(NotFound):
        join_run(world.home, "nope", config={"a": 1})


def test_a_forked_child_records_and_never_ends_its_parent_s_run(world):
    world.log("dataset", "a")
    run = start(world)
    ending = Ending()
    ending._runs.append(run)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run.after_fork()
            run.beat()
            run.use_artifact("dataset")
            ending.end_all()
            code = 2 if run.ended else 0
            run.finish(1)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert world.ledger.get(run.id).state == "running"
    assert len(world.ledger.edges(run.id)[0]) == 1


def test_whoever_waits_for_the_end_is_told_once(world):
    run = start(world)
    told = []
    run.at_end.append(told.append)
    run.finish()
    run.finish()
    assert told == [run]


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
