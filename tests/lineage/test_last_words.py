"""What a program still says while it ends is kept: it has no more threads then."""

import subprocess
import sys

import pytest

import lineart

pytestmark = pytest.mark.slow


def run(store, code):
    environment = {"LINEART_STORE": str(store), "HOME": str(store), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_a_run_that_nobody_finishes_ends_with_its_process_and_keeps_its_summary(tmp_path):
    done = run(tmp_path / "store", "import lineart; lineart.init(project='p').summary['loss'] = 1")
    assert done.returncode == 0, done.stderr
    with lineart.open(tmp_path / "store") as store:
        (ended,) = store.runs()
        assert (ended.state, ended.summary) == ("finished", {"loss": 1})
        assert store.check().clean


def test_a_last_checkpoint_is_logged_at_exit(tmp_path):
    code = """
import atexit, lineart
def last():
    model = lineart.Artifact("model", type="model")
    model.add_bytes(bytes(3_000_000), "weights")
    lineart.log_artifact(model)
lineart.init(project="p")
atexit.register(last)
"""
    done = run(tmp_path / "store", code)
    assert done.returncode == 0, done.stderr
    with lineart.open(tmp_path / "store", project="p") as store:
        assert store.artifact("model").read_bytes("weights") == bytes(3_000_000)
        assert store.check(read_data=True).clean


def test_a_program_that_fails_at_its_first_call_leaves_a_failed_run(tmp_path):
    lineart.create(tmp_path / "store").close()
    done = run(tmp_path / "store", "import lineart; lineart.use_artifact('nothing')")
    assert "NotFound" in done.stderr
    with lineart.open(tmp_path / "store") as store:
        assert [one.state for one in store.runs()] == ["failed"]
