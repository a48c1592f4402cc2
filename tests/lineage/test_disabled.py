"""Runs that record nothing, runs that are kept on this machine, and stores that can only be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lineart
from lineart import environment as surroundings
from lineart.artifacts.artifact import Artifact
from lineart.lineage.disabled import DISABLED, disabled_run
from lineart.lineage.run import Run
from lineart.settings import Settings, offline_settings
from lineart.storage.errors import Conflict, InvalidInput, InvalidName, NotFound, NotLogged


def nowhere():
    raise NotFound("no store")


def draft(text="a", name="model"):
    artifact = Artifact(name)
    artifact.add_bytes(text.encode(), "file")
    return artifact


@pytest.fixture
def store(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as made:
        made.log(draft("1", "dataset"), aliases=["best"])
        yield made


def everything(store):
    events = len(list(store.engine.journal.events()))
    return events, store.runs(), [one.updated for one in store.collections()]


def test_it_behaves_as_any_run():
    with disabled_run(
        nowhere, "p", name="n", job_type="train", group="g", tags=["t"], notes="w", config={"lr": 0.1}
    ) as run:
        assert isinstance(run, Run)
        assert (run.id, run.name, run.project, run.job_type, run.group) == (DISABLED, "n", "p", "train", "g")
        assert (run.tags, run.notes, run.state, run.url, run.owned) == (("t",), "w", "running", None, True)
        run.config.seed = 7
        run.summary["loss"] = float("nan")
        run.tags, run.notes = ["b", "a"], "better"
        run.save()
        run.beat()
        assert (run.config, list(run.summary)) == ({"lr": 0.1, "seed": 7}, ["loss"])
        assert (run.tags, run.notes) == (("a", "b"), "better")
    assert (run.state, run.ended) == ("finished", True)
    with pytest.raises(Conflict, match="has ended"):
        run.log_artifact(draft())
    failed = disabled_run(nowhere, "p")
    failed.finish(3)
    assert (failed.name, failed.state) == (DISABLED, "failed")


def test_what_is_logged_stays_a_draft_that_can_be_waited_for(tmp_path):
    run = disabled_run(nowhere, "p")
    (tmp_path / "file").write_bytes(b"x")
    for background in (False, True):
        logged = run.log_artifact(draft(), aliases=["best"], background=background)
        assert logged.wait() is logged
        assert (logged.name, logged.state) == ("model", "draft")
        for ask in (lambda one=logged: one.version, lambda one=logged: one.download(tmp_path)):
            with pytest.raises(NotLogged, match="model was not stored, since this run is disabled"):
                ask()
    assert run.log_artifact(tmp_path / "file", "named").name == "named"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("options", [{"aliases": ["v1"]}, {"tags": ["a/b"]}])
def test_names_are_refused_as_a_store_would(options):
    with pytest.raises(InvalidName):
        disabled_run(nowhere, "p").log_artifact(draft(), **options)
    with pytest.raises(NotFound):
        disabled_run(nowhere, "p").log_artifact("/nothing/there")


def test_versions_are_read_and_leave_no_trace(store, tmp_path):
    before = everything(store)
    run = disabled_run(lambda: store, "p")
    used = run.use_artifact("dataset:best")
    assert used.read_bytes("file") == b"1"
    assert (used.download(tmp_path / "here") / "file").read_bytes() == b"1"
    assert used.upstream().number_of_nodes() == 1
    with pytest.raises(NotFound, match="nothing"):
        run.use_artifact("nothing")
    with pytest.raises(Conflict, match="of type"):
        run.use_artifact("dataset", type="model")
    used.metadata["a"] = 1
    used.aliases.append("production")
    used.save()
    used.delete()
    run.finish()
    assert everything(store) == before
    assert store.artifact("dataset").state == "live"


def test_without_a_store_only_reading_fails():
    run = disabled_run(nowhere, "p")
    with pytest.raises(NotFound, match="no store"):
        run.use_artifact("dataset")
    run.finish()


# Modes


def test_the_mode_is_what_was_given_else_the_environment_s(monkeypatch):
    for name in ("LINEART_MODE", "LINEART_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert surroundings.mode_here() == "online"
    monkeypatch.setenv("LINEART_MODE", "offline")
    assert (surroundings.mode_here(), surroundings.mode_here("online")) == ("offline", "online")
    monkeypatch.setenv("LINEART_RUN_ID", DISABLED)
    assert (surroundings.mode_here(), surroundings.inherited_run()) == ("disabled", None)
    assert surroundings.DISABLED == DISABLED
    monkeypatch.delenv("LINEART_RUN_ID")
    monkeypatch.setenv("LINEART_MODE", "of")
    with pytest.raises(InvalidInput, match="LINEART_MODE is 'of'; there are online, offline, disabled"):
        surroundings.mode_here()
    with pytest.raises(InvalidInput, match="mode= is 'x'"):
        surroundings.mode_here("x")


@pytest.mark.parametrize(
    ("url", "database", "stays"),
    [
        ("/data/store", None, True),
        ("/data/store", "sqlite:////x.db", True),
        ("/data/store", "postgresql://h/db", False),
        ("s3://bucket/team", "postgresql://h/db", False),
        ("s3://bucket/team", None, False),
    ],
)
def test_offline_a_store_of_this_machine_is_itself_and_any_other_has_one_in_its_place(url, database, stays):
    settings = Settings(url, database, "p", Path("artifacts"), {"endpoint_url": "x"}, cache=Path("cache"))
    found = offline_settings(settings, Path("/home/data"))
    if stays:
        assert found is settings
        return
    assert found.url.startswith("/home/data/offline/")
    assert (found.database, found.storage_options, found.implicit, found.project) == (None, {}, True, "p")
    assert found == offline_settings(settings, Path("/home/data"))
    others = {
        offline_settings(Settings(u, d, "p", Path("a")), Path("/")).url
        for u in ("s3://b", "s3://c")
        for d in (None, "postgresql://h/d")
    }
    assert len(others) == 4


def python(code, tmp_path, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LINEART_", "XDG_"))}
    (tmp_path / "home").mkdir(exist_ok=True)
    environment = {**kept, "HOME": str(tmp_path / "home"), **more}
    done = subprocess.run(
        [sys.executable, "-c", "import lineart\n" + code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


SCRIPT = """
import subprocess, sys
run = lineart.init(project="q", config={"a": 1}%s)
assert lineart.run is run and lineart.config.a == 1
draft = lineart.Artifact("model")
draft.add_bytes(b"x", "w")
lineart.log_artifact(draft).wait()
lineart.log_artifact(draft, background=True).wait()
child = "import lineart; d = lineart.Artifact('of-child'); lineart.log_artifact(d); print(lineart.run.id)"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.strip())
run.finish()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("given", "more"), [(', mode="disabled"', {}), ("", {"LINEART_MODE": "disabled"})])
def test_disabled_code_runs_unchanged_children_included_and_no_disk_is_touched(tmp_path, given, more):
    code, out, err = python(SCRIPT % given, tmp_path, **more)
    assert (code, out) == (0, "disabled\n"), err
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.slow
def test_an_implicit_run_is_disabled_too(tmp_path):
    code = "d = lineart.Artifact('a'); lineart.log_artifact(d); print(lineart.run.id)"
    assert python(code, tmp_path, LINEART_MODE="disabled")[:2] == (0, "disabled\n")
    code, _, err = python(code, tmp_path, LINEART_MODE="odd")
    assert "there are online, offline, disabled" in err


OFFLINE = """
import subprocess, sys
with lineart.init(project="p", mode="offline") as run:
    draft = lineart.Artifact("model")
    draft.add_bytes(b"x", "w")
    run.log_artifact(draft)
    lineart.init(mode="offline").finish()
    child = "import lineart; d = lineart.Artifact('of-child'); d.add_bytes(b'', 'x'); lineart.log_artifact(d)"
    subprocess.run([sys.executable, "-c", child], check=True)
print(run.url.partition("#")[0])
"""


@pytest.mark.slow
def test_offline_a_run_is_kept_in_a_store_of_this_user_s_whose_place_is_said_once(tmp_path):
    far = {"LINEART_STORE": "s3://far/away", "LINEART_DATABASE": "postgresql://nobody@127.0.0.1:1/x"}
    code, out, err = python(OFFLINE, tmp_path, **far)
    assert code == 0, err
    place = out.strip()
    assert place.startswith(str(tmp_path / "home"))
    assert (
        err.splitlines()[0] == f"lineart: offline: runs are recorded in {place}, and only what is logged there is found"
    )
    with lineart.open(place, project="p") as store:
        assert {one.name for one in store.collections()} == {"model", "of-child"}
        assert [one.state for one in store.runs()] == ["finished", "finished"]


# A store that can only be read

READ = """
import sys
found = [lineart.use_artifact("dataset").read_bytes("file"), lineart.use_artifact("dataset:v0").read_bytes("file")]
print(found, lineart.run.id)
"""


@pytest.mark.slow
def test_a_store_that_can_only_be_read_is_read_without_an_edge_and_with_one_warning(tmp_path, postgres_url):
    import psycopg

    with lineart.create(tmp_path / "bucket", postgres_url, project="p") as store:
        store.log(draft("1", "dataset"))
        role = f"reader_{os.getpid()}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            here = {"LINEART_STORE": str(tmp_path / "bucket"), "LINEART_PROJECT": "p"}
            here["LINEART_DATABASE"] = postgres_url.replace("postgres:@", f"{role}:@")
            assert here["LINEART_DATABASE"] != postgres_url
            code, out, err = python(READ, tmp_path, **here)
            assert (code, out) == (0, "[b'1', b'1'] disabled\n"), err
            assert err.count("\n") == 1
            assert "nothing is recorded of what is used" in err
            code, _, err = python("lineart.init()", tmp_path, **here)
            assert code == 1
            assert "StoreUnavailable" in err
            assert store.runs() == []
        finally:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(f"DROP OWNED BY {role}")
                connection.execute(f"DROP ROLE {role}")
