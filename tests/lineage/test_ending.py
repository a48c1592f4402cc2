"""Every way in which a process ends, in real processes."""

from __future__ import annotations

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
from lineart.lineage.run import join_run
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
