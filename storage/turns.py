"""Whose turn it is to write: SQLite has one writer, and threads wait here rather than by polling.

Knows threads and pauses; knows no statement.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Turns"]

T = TypeVar("T")

_ROW, _MOMENT = 0.05, 0.002  # seconds: others look about every millisecond


class Turns:
    """The turns of one process's threads on one database; `single` where there is one writer."""

    def __init__(self, *, single: bool, patience: float, sleep: Callable[[float], None]) -> None:
        self._single = single
        self._patience = patience
        self._sleep = sleep
        # Reentrant, so that whoever was interrupted just before he let go can take it again.
        self._writing = threading.RLock()
        self._local = threading.local()
        self._released = self._since = 0.0  # when this process last wrote, and when it began to without a pause

    @property
    def mine(self) -> bool:
        """Whether this thread is writing."""
        return getattr(self._local, "writing", False)

    def take(self, work: Callable[[], T], late: Callable[[], Exception]) -> T:
        """Run work when it is this thread's turn; raises what `late` returns when `patience` is at its end.

        An interrupt at any moment gives the turn back: there is nothing that may be interrupted outside of the `try`.
        """
        try:
            if self._single and not self._writing.acquire(timeout=self._patience):
                raise late()
            self._local.writing = True
            if self._single:
                self._let_others()
            result = work()
            self._released = time.monotonic()
            return result
        finally:
            self._local.writing = False
            with suppress(RuntimeError):  # it is not this thread's
                while True:
                    self._writing.release()

    def _let_others(self) -> None:
        """Leave SQLite's lock alone for a moment after a long row of transactions without a pause.

        Other processes can only look whether it is free; between two transactions they would hardly ever see it so.
        """
        now = time.monotonic()
        if now - self._released > _MOMENT:
            self._since = now
        elif now - self._since > _ROW:
            self._sleep(_MOMENT)
            self._since = time.monotonic()
