"""The end of the process: whatever it is, the runs that live in it are ended as it says.

Knows the ways in which a Python process ends; must not know how a run is recorded. An uncaught exception makes a run
failed, and so does `sys.exit(1)`; Ctrl-C, SIGTERM and SIGHUP make it crashed. Signals for which the program has a
handler of its own are left to it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn, Protocol

from .outcome import exit_code_of, outcome_of
from .runs import CRASHED

__all__ = ["Endable", "Ending"]

GRACE = 5.0  # seconds that a signal's default effect is put off for
SIGNALS = ("SIGTERM", "SIGHUP")


class Endable(Protocol):
    """What is asked of a run here."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""

    def end_quietly(self, exit_code: int = 0, *, state: str | None = None, reason: str | None = None) -> None:
        """End it; must not raise."""


class Ending:
    """Ends the runs that it watches when the process ends; the last begun ends first.

    The first `watch` puts hooks in place: `atexit`, `sys.excepthook` and `sys.exit` (both go on to what was there), and
    handlers for signals that would end the process and have none. A child made by fork ends nothing: its runs are its
    parent's.
    """

    def __init__(self) -> None:
        self._runs: list[Endable] = []
        self._pid = os.getpid()
        self._installed = False
        self._outcome: tuple[int, str | None, str | None] = (0, None, None)

    def watch(self, run: Endable) -> None:
        """End this run with the process, unless it has ended by then."""
        if self._pid != os.getpid():  # a child that begins runs of its own
            self._pid, self._runs = os.getpid(), []
            if self._installed:
                self._install_in_worker()
        self._runs = [one for one in self._runs if not one.ended]
        self._runs.append(run)
        if not self._installed:
            self._installed = True
            self._install()

    def end_all(self) -> None:
        """End what has not ended, as the process does."""
        if self._pid != os.getpid():
            return
        code, state, reason = self._outcome
        while self._runs:
            run = self._runs.pop()
            if not run.ended:
                run.end_quietly(code, state=state, reason=reason)

    def _install_in_worker(self) -> None:
        """Have runs ended at the end of a process of `multiprocessing` that was forked: it passes no other hook."""
        util = sys.modules.get("multiprocessing.util")
        process = sys.modules.get("multiprocessing.process")
        if util is not None and process is not None and process.parent_process() is not None:
            util.Finalize(None, self._end_worker, exitpriority=0)

    def _end_worker(self) -> None:
        error = sys.exc_info()[1]  # what the worker's function raised is on its way out
        if error is not None:
            self._outcome = outcome_of(error)
        self.end_all()

    def _install(self) -> None:
        atexit.register(self.end_all)
        self._install_in_worker()
        before_exception, before_exit = sys.excepthook, sys.exit

        def on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self._outcome = outcome_of(error)
            before_exception(kind, error, trace)

        def on_exit(status: Any = None, /) -> NoReturn:
            # SystemExit passes no hook on its way out, so this is the only place to learn of `sys.exit(1)`.
            if threading.current_thread() is threading.main_thread():
                code = exit_code_of(status)
                self._outcome = (code, None, f"exit code {code}" if code else None)
            before_exit(status)

        sys.excepthook, sys.exit = on_exception, on_exit
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's arguments
        """Record the end within the grace, then let the signal do what it would have done.

        In a thread: the interrupted code may hold the very locks that recording needs. Then the grace passes, and the
        vanished heartbeat tells of the end.
        """
        if self._pid == os.getpid():
            self._outcome = (128 + number, CRASHED, signal.Signals(number).name)
            thread = threading.Thread(target=self.end_all, name="lineart-end", daemon=True)
            thread.start()
            thread.join(GRACE)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
