"""Logging in the background: secured at once, committed in order, waited for at the end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import lineart
from lineart.artifacts.artifact import Artifact
from lineart.artifacts.staging import Staging, secure
from lineart.lineage.background import PENDING
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.settings import Settings
from lineart.storage.errors import Conflict, InvalidName, NotLogged, SourceChanged
from lineart.store import create_settings

STAGING = f"lineart-staging-{os.getuid()}"


class Gate:
    """A store that logs when it is let to, and fails for what is named `bad`."""

    def __init__(self, store):
        self.store = store
        self.open = threading.Event()
        self.begun = []

    def __getattr__(self, name):
        return getattr(self.store, name)

    def log(self, artifact, **options):
        self.begun.append(artifact.collection)
        assert self.open.wait(20)
        if artifact.collection == "bad":
            raise OSError("the disk is on fire")
        return self.store.log(artifact, **options)


@pytest.fixture
def store(tmp_path):
    settings = Settings(str(tmp_path / "store"), None, "p", tmp_path / "downloads", cache=tmp_path / "cache")
    with create_settings(settings) as made:
        yield made


@pytest.fixture
def gate(store):
    made = Gate(store)
    yield made
    made.open.set()


def start(home, **options):
    return start_run(home, "p", capture=Capture.none(), interval=None, **options)


def draft(text, name="model", **options):
    artifact = Artifact(name, **options)
    artifact.add_bytes(text.encode(), "file")
    return artifact


def staged(tmp_path):
    return [path for path in (tmp_path / "cache" / STAGING).rglob("*") if path.is_file()]


def test_it_returns_at_once_and_the_version_is_there_when_it_was_waited_for(store, gate):
    run = start(gate)
    artifact = draft("a", metadata={"acc": 1})
    assert run.log_artifact(artifact, aliases=["best"], background=True) is artifact
    assert (artifact.state, artifact.name) == ("draft", "model")
    with pytest.raises(TimeoutError, match=r"model is not logged after 0\.01 s; that goes on"):
        artifact.wait(0.01)
    gate.open.set()
    assert artifact.wait() is artifact
    assert (artifact.state, artifact.ref, artifact.aliases) == ("live", "p/model:v0", ["best", "latest"])
    assert artifact.read_bytes("file") == b"a"
    run.finish()
    assert store.ledger.edges(run.id)[1] == [artifact.record.id]


def test_what_needs_the_version_waits_for_it(store, gate):
    run = start(gate)
    artifact = run.log_artifact(draft("a"), background=True)
    threading.Timer(0.05, gate.open.set).start()
    assert artifact.version == "v0"
    run.finish()


def test_files_may_be_overwritten_and_removed_meanwhile(store, gate, tmp_path):
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"first")
    (folder / "sub" / "b").write_bytes(bytes(9_000_000))
    (folder / "sub" / "b").chmod(0o755)
    run = start(gate)
    logged = run.log_artifact(folder, "out", background=True)
    (folder / "a").write_bytes(b"2nd")
    (folder / "sub" / "b").unlink()
    gate.open.set()
    run.finish()
    assert {one.path: one.size for one in logged.files()} == {"a": 5, "sub/b": 9_000_000}
    assert logged.read_bytes("a") == b"first"
    assert os.access(logged.download(tmp_path / "again") / "sub" / "b", os.X_OK)
    assert staged(tmp_path) == []


def test_metadata_is_what_it_was_at_the_call_and_the_draft_takes_nothing_more(store, gate):
    run = start(gate)
    artifact = draft("a", metadata={"acc": 1})
    run.log_artifact(artifact, background=True)
    artifact.metadata["acc"] = 2
    for call in (lambda: artifact.add_bytes(b"", "x"), lambda: run.log_artifact(artifact)):
        with pytest.raises(Conflict, match="is being logged in the background"):
            call()
    gate.open.set()
    run.finish()
    assert artifact.metadata == {"acc": 1}


def test_content_written_through_the_draft_is_not_copied(store, gate, tmp_path):
    artifact = Artifact("model")
    with artifact.new_file("x") as file:
        file.write("through")
    run = start(gate)
    run.log_artifact(artifact, background=True)
    assert staged(tmp_path) == []
    gate.open.set()
    run.finish()
    assert artifact.read_bytes("x") == b"through"


def test_the_next_version_of_one_is_logged_too(store, gate):
    gate.open.set()
    run = start(gate)
    first = run.log_artifact(draft("a"))
    second = first.new_draft()
    second.add_bytes(b"more", "more")
    second.remove("file")
    run.log_artifact(second, background=True)
    run.finish()
    assert (second.version, [one.path for one in second.files()]) == ("v1", ["more"])


def test_versions_are_numbered_in_the_order_of_the_calls(store, gate):
    run = start(gate)
    behind = [run.log_artifact(draft(str(n)), background=True) for n in range(3)]
    threading.Timer(0.05, gate.open.set).start()
    last = run.log_artifact(draft("now"))
    assert [one.version for one in (*behind, last)] == ["v0", "v1", "v2", "v3"]
    run.finish()


def test_who_logs_faster_than_the_store_waits(store, gate):
    run = start(gate)
    for n in range(PENDING):
        run.log_artifact(draft(str(n)), background=True)
    one_more = threading.Thread(target=lambda: run.log_artifact(draft("more"), background=True))
    one_more.start()
    one_more.join(0.1)
    assert one_more.is_alive()
    gate.open.set()
    one_more.join(20)
    run.finish()
    assert len(store.versions("model")) == PENDING + 1


def test_the_end_raises_the_first_error_and_the_run_has_failed(store, gate):
    gate.open.set()
    run = start(gate)
    bad, good = run.log_artifact(draft("a", "bad"), background=True), run.log_artifact(draft("b"), background=True)
    with pytest.raises(OSError, match="on fire"):
        run.finish()
    run.finish()
    assert good.version == "v0"
    ended = store.ledger.get(run.id)
    assert (ended.state, ended.exit_code, run.state) == ("failed", 1, "failed")
    (event,) = [one for one in store.engine.journal.events() if one.kind == "run.finished"]
    assert event.reason == "logging in the background: OSError: the disk is on fire"
    for ask in (bad.wait, lambda: bad.version):
        with pytest.raises(OSError, match="on fire"):
            ask()


def test_an_error_that_somebody_was_told_of_is_theirs(store, gate):
    gate.open.set()
    with start(gate) as run:
        bad = run.log_artifact(draft("a", "bad"), background=True)
        with pytest.raises(OSError, match="on fire"):
            bad.wait()
    assert run.state == "finished"
    bad.add_bytes(b"", "more")  # a draft again


def test_the_places_that_a_draft_refers_to_are_recorded(store, gate, tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.txt").write_text("one")
    (tmp_path / "bucket" / "b.txt").write_text("two")
    gate.open.set()
    run = start(gate)
    first = draft("own")
    first.add_reference(tmp_path / "bucket", "there")
    version = run.log_artifact(first, background=True).wait()
    second = version.new_draft()
    second.remove("there/b.txt")
    run.log_artifact(second, background=True)
    run.finish()
    url = f"file://{tmp_path}/bucket/"
    assert [
        [(one.url, one.objects, one.size) for one in store.catalog.references_of(store.artifact(ref).record.digest)]
        for ref in ("model:v0", "model:v1")
    ] == [[(url, 2, 6)], [(url, 1, 3)]]


def test_what_failed_can_be_logged_again(store, gate):
    gate.open.set()
    run = start(gate)
    bad = run.log_artifact(draft("a", "bad"), background=True)
    with pytest.raises(OSError, match="on fire"):
        bad.wait()
    store.log(bad)
    assert bad.wait().version == "v0"
    run.finish()


@pytest.mark.parametrize(
    ("error", "state", "code"), [(KeyboardInterrupt(), "crashed", 130), (ValueError("x"), "failed", 1)]
)
def test_what_is_under_way_when_a_program_fails_is_completed(store, gate, error, state, code):
    gate.open.set()
    run = start(gate)
    logged = run.log_artifact(draft("a"), background=True)
    with pytest.raises(type(error)), run:
        raise error
    assert (store.ledger.get(run.id).state, store.ledger.get(run.id).exit_code) == (state, code)
    assert logged.version == "v0"


def test_a_run_that_a_signal_ends_is_recorded_before_what_is_under_way(store, gate):
    run = start(gate)
    logged = run.log_artifact(draft("a"), background=True)
    ending = threading.Thread(target=lambda: run.end_quietly(143, state="crashed", reason="SIGTERM"))
    ending.start()
    while not run.ended:
        ending.join(0.01)
    assert store.ledger.get(run.id).state == "crashed"
    assert ending.is_alive()
    gate.open.set()
    ending.join(20)
    assert logged.version == "v0"


def test_names_are_refused_at_the_call(store, gate):
    store.log(draft("a", "typed", type="model"))
    run = start(gate)
    for artifact, options in ((draft("a"), {"aliases": ["v1"]}), (draft("a"), {"tags": ["a/b"]})):
        with pytest.raises(InvalidName):
            run.log_artifact(artifact, background=True, **options)
    with pytest.raises(Conflict, match="type"):
        run.log_artifact(draft("b", "typed", type="dataset"), background=True)
    assert gate.begun == []
    run.finish()


def test_a_file_that_changed_before_the_call_is_found_out_at_the_call(store, gate, tmp_path):
    (tmp_path / "file").write_bytes(b"a")
    artifact = Artifact("model")
    artifact.add_file(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"bb")
    run = start(gate)
    with pytest.raises(SourceChanged):
        run.log_artifact(artifact, background=True)
    artifact.add_file(tmp_path / "file", overwrite=True)
    gate.open.set()
    run.log_artifact(artifact, background=True)
    run.finish()
    assert artifact.read_bytes("file") == b"bb"


def test_where_nothing_can_be_copied_aside_it_is_logged_now(store, tmp_path, caplog):
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / STAGING).write_text("no folder")
    (tmp_path / "file").write_bytes(b"a")
    run = start(store)
    logged = run.log_artifact(tmp_path / "file", background=True)
    assert logged.state == "live"
    assert "file is logged now, not in the background" in caplog.text
    run.finish()


def test_a_forked_child_logs_at_once_and_does_not_wait_for_its_parent_s(store, gate, tmp_path):
    run = start(gate)
    pending = run.log_artifact(draft("a"), background=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run.after_fork()
            gate.open.set()
            try:
                pending.wait()
            except Conflict:
                code = 2 if run.log_artifact(draft("c", "theirs"), background=True).state != "live" else 0
            run.finish()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    gate.open.set()
    run.finish()
    assert pending.version == "v0"
    assert store.artifact("theirs").version == "v0"


def test_after_the_end_nothing_more_is_taken(store, gate):
    run = start(gate)
    run.finish()
    with pytest.raises(Conflict, match="has ended"):
        run.log_artifact(draft("a"), background=True)


def test_what_comes_while_the_run_ends_is_refused_and_not_lost_without_a_word(store, gate, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    late = Artifact("late")
    late.add_file(tmp_path / "file")
    copying, over, said = threading.Event(), threading.Event(), []

    def slow(artifact, folder):
        copying.set()
        assert over.wait(20)
        return secure(artifact, folder)

    def log_late():
        with pytest.raises(Conflict, match="has ended") as caught:
            run.log_artifact(late, background=True)
        said.append(caught.value)

    run = start(gate)
    gate.open.set()
    run.log_artifact(draft("first"), background=True)
    monkeypatch.setattr("lineart.lineage.background.secure", slow)
    thread = threading.Thread(target=log_late)
    thread.start()
    assert copying.wait(20)
    run.finish()
    over.set()
    thread.join(20)
    assert len(said) == 1
    assert gate.begun == ["model"]
    assert staged(tmp_path) == []


# Copies


def test_folders_of_killed_processes_are_swept_and_those_in_use_are_not(tmp_path):
    root = tmp_path / STAGING
    for name in ("dead", "alive"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("x")
    held = os.open(root / "alive", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    staging = Staging(tmp_path)
    folder = staging.new()
    assert not (root / "dead").exists()
    assert (root / "alive" / "file").exists()
    assert folder.stat().st_mode & 0o777 == 0o700
    staging.close()
    assert [one.name for one in root.iterdir()] == ["alive"]
    assert staging.new().is_dir()
    staging.close()
    os.close(held)


def test_a_copy_does_not_follow_what_is_written_in_place(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "aside").mkdir()
    artifact = Artifact("model", metadata={"a": 1}, description="d")
    artifact.add_file(tmp_path / "file")
    secured = secure(artifact, tmp_path / "aside")
    with (tmp_path / "file").open("r+b") as file:
        file.write(b"xyz")
    (source,) = [one for _, one in secured.take_draft().ordered()]
    assert Path(source.path).read_bytes() == b"abc"
    assert (secured.metadata, secured.description, secured.collection) == ({"a": 1}, "d", "model")


def test_many_files_are_spread_over_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("lineart.artifacts.staging.PARTS", 3)
    (tmp_path / "in").mkdir()
    for n in range(8):
        (tmp_path / "in" / f"{n}").write_bytes(b"%d" % n)
    (tmp_path / "aside").mkdir()
    artifact = Artifact("model")
    artifact.add_dir(tmp_path / "in")
    secured = secure(artifact, tmp_path / "aside")
    assert [Path(one.path).read_bytes() for _, one in secured.take_draft().ordered()] == [b"%d" % n for n in range(8)]
    assert len(list((tmp_path / "aside").iterdir())) == 3


def test_a_draft_that_nobody_logs_waits_for_nothing():
    with pytest.raises(NotLogged):
        Artifact("model").wait()


# Whole processes

NO_FINISH = """
import lineart
run = lineart.init(project="p")
for n in range(6):
    model = lineart.Artifact("model")
    model.add_bytes(bytes([n]) * 3_000_000, "weights")
    run.log_artifact(model, background=True)
"""


@pytest.mark.slow
def test_what_is_under_way_at_exit_is_completed(tmp_path):
    environment = {**os.environ, "LINEART_STORE": str(tmp_path / "store"), "LINEART_PROJECT": "p"}
    done = subprocess.run(
        [sys.executable, "-c", NO_FINISH], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    with lineart.open(tmp_path / "store", project="p") as store:
        assert [one.state for one in store.runs()] == ["finished"]
        assert [one.version for one in store.versions("model")] == [f"v{n}" for n in range(6)]
        assert store.artifact("model:v5").read_bytes("weights") == b"\5" * 3_000_000


@pytest.mark.slow
def test_a_process_that_is_killed_loses_only_what_was_not_committed(tmp_path):
    code = NO_FINISH + "model.wait(); model = lineart.Artifact('model'); model.add_bytes(bytes(50_000_000), 'w')\n"
    code += "run.log_artifact(model, background=True); import os; os.kill(os.getpid(), 9)\n"
    environment = {**os.environ, "LINEART_STORE": str(tmp_path / "store"), "LINEART_PROJECT": "p"}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=120, check=False)
    with lineart.open(tmp_path / "store", project="p") as store:
        assert len(store.versions("model")) in {6, 7}
        assert store.check(read_data=True).clean


def test_uploads_of_one_name_alone_are_waited_for_by_it():
    from lineart.lineage.background import Background

    background = Background(SimpleNamespace(cache=None))
    background.settle("anything")
    assert background.finish() is None
