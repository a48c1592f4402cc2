"""The heartbeat beats at once and again, says once that it fails, and never raises."""

from __future__ import annotations

import threading

from lineart.lineage.heartbeat import Heartbeat


def run_to_the_end(beat, stops):
    """Run a heartbeat whose waits answer `stops`, and wait for it."""
    answers = iter(stops)
    done = threading.Event()
    waited = []

    def wait(seconds):
        waited.append(seconds)
        stop = next(answers)
        if stop:
            done.set()
        return stop

    heart = Heartbeat(beat, 30.0, wait=wait)
    heart.start()
    assert done.wait(10)
    return waited


def test_it_beats_at_once_and_after_every_interval():
    beats = []
    assert run_to_the_end(lambda: beats.append(1), [False, False, True]) == [30.0] * 3
    assert len(beats) == 3


def test_failures_are_said_once_and_so_is_their_end(caplog):
    outcomes = iter([True, False, False, True])

    def beat():
        if not next(outcomes):
            raise OSError("store away")

    run_to_the_end(beat, [False, False, False, True])
    assert [record.getMessage() for record in caplog.records] == [
        "a heartbeat failed, and is tried again every 30 s: store away",
        "the heartbeat is back",
    ]


def test_stop_ends_the_wait():
    beaten = threading.Event()
    heart = Heartbeat(beaten.set, 3600.0)
    heart.start()
    assert beaten.wait(10)
    heart.stop()
    heart._thread.join(10)
    assert not heart._thread.is_alive()
