"""The current run: which run a module-level call belongs to, in this thread, task and process.

Knows runs by what `Tracked` says; must not know the store or the environment, which `open` callables bring. A run that
was begun in a thread or task is current there; elsewhere the process's is, which is the last that the main thread
began or the implicit one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Generic, Protocol, TypeVar

__all__ = ["Current", "Tracked", "in_notebook"]


class Tracked(Protocol):
    """What is asked of a run here."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""

    def finish(self, exit_code: int = 0) -> None:
        """End it."""

    def after_fork(self) -> None:
        """Take new locks."""


R = TypeVar("R", bound=Tracked)


class Current(Generic[R]):
    """Keeps the runs of a process in the order in which they began; those that have ended drop out by themselves.

    Safe from many threads and over a fork: a child goes on with its parent's current run, which it cannot end.
    """

    def __init__(self) -> None:
        # What is current in a context: a tuple, so that an inner context cannot change an outer one's.
        self._here: ContextVar[tuple[R, ...]] = ContextVar("lineart_run", default=())
        self._process: list[R] = []
        self._implicit: R | None = None
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def get(self) -> R | None:
        """Return the current run; None where there is none."""
        for run in reversed(self._here.get()):
            if not run.ended:
                return run
        with self._lock:
            self._process = [run for run in self._process if not run.ended]
            return self._process[-1] if self._process else None

    def get_or_open(self, open_: Callable[[], R]) -> R:
        """Return the current run, opening the process's implicit one where there is none: one, from any thread."""
        run = self.get()
        if run is not None:
            return run
        with self._lock:
            run = self.get()
            if run is None:
                run = self._implicit = open_()
                self._process.append(run)
            return run

    def begin(self, open_: Callable[[], R], *, replace: bool = False) -> R:
        """Open a run and make it current until it ends; then the one before it is current again.

        The implicit run is ended first; with `replace` (in a notebook) whatever is current.
        """
        with self._lock:
            implicit, self._implicit = self._implicit, None
        if implicit is not None:
            implicit.finish()
        before = self.get()
        if replace and before is not None:
            before.finish()
        run = open_()
        self._here.set((*(one for one in self._here.get() if not one.ended), run))
        if threading.current_thread() is threading.main_thread():
            with self._lock:
                self._process.append(run)
        return run

    def finish(self, exit_code: int = 0) -> None:
        """End the current run; does nothing where there is none."""
        run = self.get()
        if run is not None:
            run.finish(exit_code)
            with self._lock:
                if run is self._implicit:
                    self._implicit = None

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        for run in {id(one): one for one in (*self._process, *self._here.get())}.values():
            run.after_fork()


def in_notebook() -> bool:
    """Say whether this is a notebook's kernel, where cells are run again and again in one process."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
