"""Every way in which a process ends, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import lineart.store

SCRIPT = """
import os, signal, sys, threading
from lineart.lineage import process
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
import lineart.store

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may be immune to it, and hands that on
store = lineart.store.open(sys.argv[1])
run = process.begin(lambda: start_run(store, "p", id="it", capture=Capture.none(), interval=None))
run.summary["reached"] = True
"""


def outcome(tmp_path, code, prepare=""):
    """Run the script with `code` at its end; return exit status, run and what was said."""
    url = tmp_path / "store"
    lineart.store.create(url).close()
    done = subprocess.run(
        [sys.executable, "-c", prepare + SCRIPT + code, url], capture_output=True, text=True, timeout=60, check=False
    )
    with lineart.store.open(url) as store:
        run = store.ledger.get("it")
        assert run.summary == {"reached": True}, done.stderr
        return done.returncode, run.state, run.exit_code, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("", (0, "finished", 0)),
        ("sys.exit(0)", (0, "finished", 0)),
        ("sys.exit(3)", (3, "failed", 3)),
        ("sys.exit('no')", (1, "failed", 1)),
        ("raise ValueError('no')", (1, "failed", 1)),
        ("raise KeyboardInterrupt", (-signal.SIGINT, "crashed", 130)),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", (-signal.SIGTERM, "crashed", 143)),
        ("os.kill(os.getpid(), signal.SIGHUP); signal.pause()", (-signal.SIGHUP, "crashed", 129)),
        ("run.finish(); sys.exit(3)", (3, "finished", 0)),
        ("threading.Thread(target=lambda: sys.exit(4)).start()", (0, "finished", 0)),
        ("if os.fork() == 0: sys.exit(5)\nos.wait()", (0, "finished", 0)),
        ("if os.fork() == 0: os.kill(os.getpid(), signal.SIGTERM); signal.pause()\nos.wait()", (0, "finished", 0)),
    ],
)
def test_the_end_of_the_process_is_the_end_of_the_run(tmp_path, code, ends):
    *got, said = outcome(tmp_path, code)
    assert tuple(got) == ends, said


@pytest.mark.slow
def test_a_handler_of_the_program_s_own_is_left_alone(tmp_path):
    own = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    *got, said = outcome(tmp_path, "os.kill(os.getpid(), signal.SIGTERM); signal.pause()", own)
    assert got == [7, "failed", 7], said


@pytest.mark.slow
def test_the_implicit_run_ends_with_the_process_and_joined_ones_do_not(tmp_path):
    code = """
from lineart.lineage.opening import join_run
joined = process.begin(lambda: join_run(store, "it"))
assert process.current_run() is joined
joined.summary["more"] = 1
process.finish()
assert store.ledger.get("it").state == "running"
assert process.current_run() is run
run.finish(); other = process.ensure(lambda: start_run(store, "p", id="other", capture=Capture.none(), interval=None))
assert process.ensure(lambda: 1 / 0) is other
"""
    url = tmp_path / "store"
    lineart.store.create(url).close()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + code, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    with lineart.store.open(url) as store:
        assert store.ledger.get("it").summary == {"reached": True, "more": 1}
        assert store.ledger.get("other").state == "finished"


WORKERS = """
import multiprocessing, sys
import lineart

def work(fail, begin_nothing):
    if not begin_nothing:
        run = lineart.init(id=f"of-{fail}")
        run.summary["reached"] = True
        model = lineart.Artifact(f"of-{fail}")
        model.add_bytes(bytes(2_000_000), "w")
        run.log_artifact(model, background=True)
    if fail:
        raise ValueError(fail)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] == "run":
        lineart.init(id="outer").finish()
    for fail in (0, 1):
        worker = context.Process(target=work, args=(fail, False))
        worker.start()
        worker.join()
    print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "run"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_runs_of_multiprocessing_s_workers_end_with_them(tmp_path, method, before):
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    environment = {**os.environ, "LINEART_STORE": str(tmp_path / "store"), "LINEART_PROJECT": "p"}
    done = subprocess.run(
        [sys.executable, script, method, before],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr
    with lineart.store.open(tmp_path / "store", project="p") as store:
        ended = {one.id: (one.state, one.exit_code, one.summary) for one in store.runs()}
        ended.pop("outer", None)
        reached = {"reached": True}
        assert ended == {"of-0": ("finished", 0, reached), "of-1": ("failed", 1, reached)}
        assert store.artifact("of-0").size == store.artifact("of-1").size == 2_000_000


PENDING = """
import lineart, os, signal
run = lineart.init(id="it")
model = lineart.Artifact("model")
model.add_bytes(bytes(2_000_000), "w")
run.log_artifact(model, background=True)
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""


@pytest.mark.slow
def test_what_is_logged_in_the_background_is_completed_before_a_signal_takes_effect(tmp_path):
    environment = {**os.environ, "LINEART_STORE": str(tmp_path / "store"), "LINEART_PROJECT": "p"}
    done = subprocess.run(
        [sys.executable, "-c", PENDING], env=environment, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGTERM
    with lineart.store.open(tmp_path / "store", project="p") as store:
        assert (store.ledger.get("it").state, store.artifact("model").size) == ("crashed", 2_000_000)
