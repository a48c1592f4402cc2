"""Which run is current: nested, replaced, implicit, in threads, tasks and children."""

from __future__ import annotations

import asyncio
import os
import threading

from lineart.lineage.current import Current, in_notebook


class FakeRun:
    def __init__(self, name="run"):
        self.name = name
        self.ended = False
        self.forks = 0

    def __call__(self):
        return self

    def finish(self, exit_code=0):
        self.ended = True

    def after_fork(self):
        self.forks += 1


def in_thread(call):
    got = []
    thread = threading.Thread(target=lambda: got.append(call()))
    thread.start()
    thread.join()
    return got[0]


def test_there_is_none_at_first_and_none_after_the_end():
    current = Current()
    assert current.get() is None
    run = current.begin(FakeRun())
    assert current.get() is run
    current.finish()
    assert run.ended
    assert current.get() is None
    current.finish()


def test_runs_nest_in_a_script():
    current = Current()
    outer, inner = current.begin(FakeRun()), current.begin(FakeRun())
    assert current.get() is inner
    inner.finish()
    assert current.get() is outer
    outer.finish()
    assert current.get() is None


def test_ending_the_outer_one_first_leaves_the_inner_one_current():
    current = Current()
    outer, inner = current.begin(FakeRun()), current.begin(FakeRun())
    outer.finish()
    assert current.get() is inner


def test_in_a_notebook_the_second_replaces_the_first():
    current = Current()
    first = current.begin(FakeRun(), replace=True)
    second = current.begin(FakeRun(), replace=True)
    assert first.ended
    assert current.get() is second


def test_the_implicit_run_is_opened_once_and_ended_by_the_next_init():
    current = Current()
    opened = []
    first = current.get_or_open(lambda: opened.append(1) or FakeRun())
    assert current.get_or_open(lambda: opened.append(1) or FakeRun()) is first
    assert in_thread(current.get) is first
    second = current.begin(FakeRun())
    assert first.ended
    assert len(opened) == 1
    assert current.get_or_open(FakeRun) is second


def test_an_implicit_run_that_was_finished_is_followed_by_another():
    current = Current()
    first = current.get_or_open(FakeRun)
    current.finish()
    assert current.get_or_open(FakeRun) is not first


def test_many_threads_open_one_implicit_run():
    current, start, opened = Current(), threading.Barrier(8), []

    def work():
        start.wait()
        current.get_or_open(lambda: opened.append(1) or FakeRun())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1


def test_threads_see_the_process_s_run_and_keep_their_own_to_themselves():
    current = Current()
    main = current.begin(FakeRun("main"))
    assert in_thread(current.get) is main
    own = FakeRun("own")
    assert in_thread(lambda: (current.begin(own), current.get())[1]) is own
    assert current.get() is main


def test_tasks_keep_their_own():
    current = Current()

    async def task(run):
        current.begin(run)
        await asyncio.sleep(0)
        return current.get() is run

    async def both():
        return await asyncio.gather(task(FakeRun("a")), task(FakeRun("b")))

    assert asyncio.run(both()) == [True, True]


def test_a_forked_child_goes_on_with_the_run_under_new_locks():
    current = Current()
    run = current.begin(FakeRun())
    with current._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if current.get() is run and run.forks == 1 and current._lock.acquire(blocking=False) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert run.forks == 0


def test_this_is_no_notebook():
    assert not in_notebook()
