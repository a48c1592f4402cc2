"""Threads and slots, at the moments when the main thread is interrupted."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lineart.storage.threads import Slots, Threads


def test_slots_are_as_many_as_were_made_and_given_back():
    slots = Slots(2)
    assert [slots.acquire(timeout=0) for _ in range(3)] == [True, True, False]
    slots.release()
    assert slots.acquire()
    assert not slots.acquire(timeout=0)


def test_a_slot_that_is_waited_for_is_taken_when_it_is_given_back():
    slots = Slots(0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slots.acquire)
        slots.release()
        assert waiting.result()


def test_workers_need_no_lock_that_an_interrupted_submit_could_keep():
    """A semaphore of `threading` has a condition, whose lock Ctrl-C can leave locked for ever."""
    with Threads(2) as pool:
        assert isinstance(pool._idle_semaphore, Slots)
        assert sorted(pool.map(lambda n: n * n, range(20))) == [n * n for n in range(20)]


def test_threads_that_are_idle_are_used_again():
    with Threads(4) as pool:
        for _ in range(3):
            done = threading.Event()
            pool.submit(done.set).result()
            assert done.is_set()
    with pytest.raises(RuntimeError):
        ThreadPoolExecutor.submit(pool, done.set)
