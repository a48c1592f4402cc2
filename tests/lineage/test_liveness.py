"""When a run is taken for crashed: after a silence, or at once where its process can be seen to be gone."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys

import pytest

import lineart.lineage.liveness as module
from lineart.lineage.capture import Captured
from lineart.lineage.liveness import LOST, death_of, identity, patience_of, process_age

NOW = 10**15
IDENTITY = identity()


def test_this_process_is_alive_and_so_is_its_parent():
    assert IDENTITY["pid"] == os.getpid()
    assert death_of(NOW, {"process": IDENTITY}, NOW) is None
    assert death_of(NOW, {"process": identity(os.getppid())}, NOW) is None


def test_a_process_that_has_ended_is_gone():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = {"process": identity(process.pid)}
    assert death_of(NOW, alive, NOW) is None
    process.communicate()
    assert death_of(NOW, alive, NOW) == "its process is gone"


def test_a_process_that_nobody_has_waited_for_is_gone_too():
    child = os.fork()
    if child == 0:
        os.read(os.open("/dev/zero", os.O_RDONLY), 1)
        os._exit(0)
    known = None
    while known is None or death_of(NOW, {"process": known}, NOW) is None:
        known = known or identity(child) or {**IDENTITY, "pid": child}
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"start": IDENTITY["start"] + 1}, True),  # its number was given to another
        ({"boot": "another machine", "pid": 2**22 + 1}, False),
        ({"namespaces": "pid:[1]", "pid": 2**22 + 1}, False),
        ({"pid": 2**22 + 1}, True),
        ({"pid": 0}, False),
        ({"pid": -1}, False),
        ({"pid": "1"}, False),
        ({"pid": 2**70}, False),
    ],
)
def test_only_what_is_certain_counts(changed, gone):
    assert (death_of(NOW, {"process": {**IDENTITY, **changed}}, NOW) is not None) == gone


@pytest.mark.parametrize("process", [None, 3, [], {}, {"pid": None}])
def test_who_says_nothing_of_its_process_is_believed(process):
    assert death_of(NOW, {"process": process}, NOW) is None


def test_a_silence_is_believed_for_five_minutes_or_as_long_as_was_said():
    assert death_of(NOW - LOST, {}, NOW) is None
    assert death_of(NOW - LOST - 1, {}, NOW) == "no heartbeat for 300 s"
    assert death_of(NOW - LOST - 1, {"patience": 600}, NOW) is None
    assert patience_of({"patience": 1}) == patience_of({"patience": "x"}) == LOST
    for odd in (float("nan"), float("inf"), -float("inf"), 1e308, 10**400, True):
        assert patience_of({"patience": odd}) == LOST


def test_the_age_of_this_process_is_some_seconds():
    assert 0 < process_age() < 3600 * 24


def test_a_system_that_does_not_tell_is_no_reason_to_fail(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PROC", tmp_path)
    assert identity() is None
    (tmp_path / "self").symlink_to("1")  # that of another namespace
    assert identity() is None
    assert module.boot() is None
    assert process_age() >= 0
    assert death_of(NOW, {"process": {**IDENTITY, "pid": 2**22 + 1}}, NOW) is None


def test_runs_of_this_machine_that_are_gone_are_recorded_as_crashed_by_the_next_and_others_are_not(worlds):
    dead = {"process": {**IDENTITY, "pid": 2**22 + 1}}
    gone = worlds.run(captured=Captured({}, dead))
    other = worlds.run(captured=Captured({}, {"process": {**dead["process"], "boot": "other"}}))
    patient = worlds.run(captured=Captured({}, {"patience": 86400}))
    assert worlds.ledger.get(gone).state == "crashed"
    worlds.run()
    (event,) = worlds.events("run.crashed")
    assert (event.data["id"], event.reason) == (gone, "its process is gone")
    assert {worlds.ledger.get(one).state for one in (other, patient)} == {"running"}


def test_a_run_between_whose_steps_nobody_lives_is_crashed_when_its_time_is_over_and_a_use_is_a_sign_of_life(world):
    from lineart.artifacts.ref import Ref

    world.log("dataset", "a")
    run = world.run(captured=Captured({}, {"patience": 3600}))
    world.wait(3000)
    world.ledger.use(run, Ref.parse("dataset"), "p")
    world.wait(3000)
    world.run()
    assert world.ledger.get(run).state == "running"
    world.wait(700)
    world.run()
    assert world.ledger.get(run).state == "crashed"
    reasons = {event.data["id"]: event.reason for event in world.events("run.crashed")}
    assert reasons[run] == "no heartbeat for 3700 s"


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
