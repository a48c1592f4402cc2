"""A program that is run in the foreground, as if a shell had started it: streams, signals, exit code.

Knows processes, signals and terminals; must not know runs. The program inherits the streams. What a terminal sends
(Ctrl-C) goes to the program by itself, since it is of the same process group, and is not sent twice; any other signal
that is meant to end this process, or is for the program's own use, is passed on, and the program decides.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Self

__all__ = ["run_program", "shell_code"]

AT_MOST = 0.5  # seconds: a signal that comes just before a wait, or to another thread, is seen after it only
_KEYS = (signal.SIGINT, signal.SIGQUIT)  # that a terminal sends to all of its foreground
_OTHERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run_program(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end, whatever signals come meanwhile; return its exit code, or less than 0 for a signal.

    Raises FileNotFoundError where there is no such program, and PermissionError where it is none.
    """
    with _Passing() as passing:
        process = subprocess.Popen(command, env=dict(environment))
        passing.to(process)
        waiting = threading.Thread(target=process.wait, daemon=True)
        waiting.start()
        while waiting.is_alive():
            waiting.join(AT_MOST)
        return process.wait()


def shell_code(status: int) -> int:
    """Return what a shell would say of an exit status: 128 and the number of a signal.

    >>> shell_code(3), shell_code(-15)
    (3, 143)
    """
    return status if status >= 0 else 128 - status


class _Passing:
    """Passes signals on to a process while it lasts; those that come before there is one are kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python lets nobody see signals
            for one in (*_KEYS, *_OTHERS):
                if signal.getsignal(one) is not signal.SIG_IGN:  # what is ignored (nohup), the program ignores, too
                    self._before[one] = signal.signal(one, self._pass)
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]  # what `signal` returned for it

    def to(self, process: subprocess.Popen[bytes]) -> None:
        """Pass signals on to this process from now on."""
        self._process = process
        for number in self._early:
            process.send_signal(number)

    def _pass(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's arguments
        if number in _KEYS and _in_foreground():
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


def _in_foreground() -> bool:
    """Whether this process is in its terminal's foreground: then the terminal sends its signals to all that are."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
