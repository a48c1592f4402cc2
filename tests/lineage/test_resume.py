"""Going on with a run, and runs within runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import lineart
from lineart.artifacts.artifact import Artifact
from lineart.lineage.capture import Capture, Captured
from lineart.lineage.opening import check_resume, resume_run
from lineart.lineage.run import start_run
from lineart.storage.errors import Conflict, InvalidInput, InvalidName, NotFound


def resume(world, id, *, must=False, environment=None, **options):  # noqa: A002
    capture = Capture.none(Captured({}, environment or {}))
    return resume_run(world.home, "p", id=id, must=must, capture=capture, interval=None, **options)


def first(world, **options):
    world.log("dataset", "a")
    run = start_run(
        world.home, "p", id="exp", name="first", tags=["a"], config={"lr": 0.1, "seed": 7}, interval=None,
        capture=Capture.none(Captured({"command": ["old"]}, {"host": "old"})), **options,
    )  # fmt: skip
    run.use_artifact("dataset")
    run.summary["step"] = 10
    return run


@pytest.mark.parametrize(
    ("ends", "state"), [({}, "finished"), ({"exit_code": 1}, "failed"), ({"state": "crashed"}, "crashed")]
)
def test_a_run_that_ended_runs_again_and_ends_again(worlds, ends, state):
    first(worlds).end(**ends)
    assert worlds.ledger.get("exp").state == state
    run = resume(worlds, "exp", must=True, config={"lr": 0.2, "api_key": "x"}, environment={"host": "new"})
    kept = worlds.ledger.get("exp")
    assert (kept.state, kept.ended, kept.exit_code) == ("running", None, None)
    assert (kept.name, kept.tags, kept.summary) == ("first", ("a",), {"step": 10})
    assert kept.config == {"lr": 0.2, "seed": 7, "api_key": "***"}
    assert (kept.code, kept.environment) == ({}, {"host": "new"})
    assert (dict(run.config), dict(run.summary)) == ({"lr": 0.2, "seed": 7, "api_key": "x"}, {"step": 10})
    run.summary["step"] = 20
    run.finish()
    kept = worlds.ledger.get("exp")
    assert (kept.state, kept.summary, len(worlds.ledger.list())) == ("finished", {"step": 20}, 1)


def test_an_alias_means_what_it_meant_before(world):
    first(world).finish()
    world.log("dataset", "b")
    assert resume(world, "exp").use_artifact("dataset").version == "v0"


def test_words_that_are_given_replace_and_others_stay(world):
    first(world, notes="n").finish()
    run = resume(world, "exp", name="second", tags=["b"])
    assert (run.name, run.tags, run.notes) == ("second", ("b",), "n")


def test_a_run_that_was_killed_a_moment_ago_can_be_gone_on_with(world):
    first(world)
    run = resume(world, "exp", environment={"host": "new"})
    run.finish()
    assert world.ledger.get("exp").state == "finished"


def test_one_that_is_not_there_is_begun_or_missed(world):
    with pytest.raises(NotFound, match="no run 'exp'"):
        resume(world, "exp", must=True)
    assert world.ledger.list() == []
    assert resume(world, "exp", config={"a": 1}).state == "running"
    assert world.ledger.get("exp").config == {"a": 1}
    with pytest.raises(Conflict, match='resume="allow"'):
        start_run(world.home, "p", id="exp", capture=Capture.none(), interval=None)


def test_what_makes_no_sense_is_refused(world):
    with pytest.raises(InvalidInput, match="give its id"):
        check_resume("must", None)
    with pytest.raises(InvalidInput, match="never, allow, must"):
        check_resume("auto", "exp")
    with pytest.raises(InvalidName):
        resume(world, "a b")
    with pytest.raises(InvalidInput, match="disabled"):
        start_run(world.home, "p", id="disabled", capture=Capture.none(), interval=None)


def test_a_database_rebuilt_from_the_journal_knows_that_it_went_on(world, tmp_path):
    from lineart.storage.database import Database

    first(world).finish(1)
    world.wait(5)
    resume(world, "exp", config={"lr": 0.3}).finish()
    copy = Database.create_blank(
        f"sqlite:///{tmp_path}/copy.sqlite", store_id="5" * 32, actor="x", folds=world.database.folds
    )
    copy.write(lambda tx: tx.restore(world.engine.journal.events()))
    dump = lambda c: c.exec_driver_sql("SELECT * FROM run").all()  # noqa: E731
    assert copy.read(dump) == world.database.read(dump)
    copy.close()


# As users do


@pytest.fixture
def environment(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LINEART_")}
    cache = {"LINEART_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    return {**kept, **cache, "LINEART_STORE": str(tmp_path / "store"), "LINEART_PROJECT": "p"}


def python(code, environment):
    return subprocess.run(
        [sys.executable, "-c", "import lineart\n" + code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_training_that_was_killed_goes_on_in_the_same_run(tmp_path, environment):
    code = """
run = lineart.init(id="exp", resume="allow", config={"lr": 0.1})
step = run.summary.get("step", 0)
run.summary["step"] = step + 1
run.save()
if step == 0: import os; os.kill(os.getpid(), 9)
run.finish()
"""
    assert python(code, environment).returncode == -9
    assert python(code, environment).returncode == 0
    refused = python('lineart.init(id="exp")', environment)
    assert "exists already" in refused.stderr
    with lineart.open(tmp_path / "store") as store:
        (run,) = store.runs()
        assert (run.state, run.summary, run.config) == ("finished", {"step": 2}, {"lr": 0.1})


@pytest.mark.slow
def test_an_inner_run_knows_the_outer_one(tmp_path, environment):
    code = """
with lineart.init(id="outer"):
    with lineart.init(id="inner") as run:
        assert lineart.run is run
    lineart.init(id="second").finish()
store = lineart.open()
store.ledger.start(store.project, id="after")
import os
os.environ["LINEART_RUN_ID"] = "after"
joined = lineart.init()
assert joined.id == "after" and not joined.owned
joined.finish()
assert lineart.init(id="after").owned is False
lineart.init(id="own").finish()
store.ledger.finish("after")
late = lineart.init()
assert late.id != "after" and late.owned
late.finish()
"""
    done = python(code, {**environment, "LINEART_CAPTURE": "none"})
    assert done.returncode == 0, done.stderr
    assert "run after has ended; this process has a run of its own" in done.stderr
    with lineart.open(tmp_path / "store") as store:
        late, *others = store.runs()
    parents = {one.id: one.code.get("parent") for one in others}
    assert parents == {"outer": None, "inner": "outer", "second": "outer", "after": None, "own": "after"}
    assert late.code["parent"] == "after"


NOTEBOOK = """
import sys, types
shell = types.SimpleNamespace(kernel=object())
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
"""


@pytest.mark.slow
def test_in_a_notebook_the_implicit_run_says_so_and_init_replaces(tmp_path, environment):
    code = (
        NOTEBOOK
        + """
draft = lineart.Artifact("words")
draft.add_bytes(b"a", "x")
lineart.log_artifact(draft)
first = lineart.run
lineart.use_artifact("words")
second = lineart.init(id="second")
third = lineart.init(id="third")
assert first.ended and second.ended and not third.ended
"""
    )
    done = python(code, environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("lineart: run ") == 1, done.stderr
    with lineart.open(tmp_path / "store") as store:
        by_id = {one.id: one for one in store.runs()}
    assert by_id["third"].code.get("parent") is None
    assert all(one.state == "finished" for one in by_id.values())


def test_a_run_s_url_names_its_store_and_itself(tmp_path):
    with lineart.create(tmp_path / "store") as store:
        run = start_run(store, "p", id="exp", capture=Capture.none(), interval=None)
        assert run.url == f"{store.url}#run=exp"
        run.log_artifact(Artifact("empty"))
        run.finish()
