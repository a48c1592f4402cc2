"""Threads for work that waits: a pool that still works while the process ends.

Knows the interpreter's rules about threads; must not know what the work is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

__all__ = ["Slots", "Threads"]

P = ParamSpec("P")
T = TypeVar("T")


class Slots:
    """A semaphore that an interrupt leaves whole.

    One of `threading` may be left locked by Ctrl-C in the main thread, and then whoever gives a slot back waits for
    ever. A queue of the interpreter's has no such moment.
    """

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def acquire(self, timeout: float | None = None) -> bool:
        """Take a slot; False where none came free in `timeout` seconds."""
        try:
            self._free.get(timeout=timeout)
        except Empty:
            return False
        return True

    def release(self) -> None:
        """Give a slot back; never waits."""
        self._free.put(None)


class Threads(ThreadPoolExecutor):
    """A ThreadPoolExecutor that does the work itself, at once, when the interpreter starts no more threads.

    That is so from the end of the main thread on: for whatever a program, or a run, still has to store at its exit.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Where the main thread asks for an idle thread, and idle threads say that they are.
        self._idle_semaphore = Slots(0)  # type: ignore[assignment]  # it is asked for these two methods

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call, or make it."""
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result is told
            done.set_exception(error)
        return done
