"""The heartbeat: something done now and every so often, in a thread of its own, that never raises.

Knows threads and patience; must not know what is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Heartbeat"]

log = logging.getLogger("lineart")


class Heartbeat:
    """Calls `beat` at once and then every `interval` seconds until it is stopped; a daemon, so that it holds nobody up.

    A failure is logged when the first of a row happens, and when the row ends. `wait(seconds)` says whether it was
    stopped meanwhile; a test gives its own.
    """

    def __init__(
        self,
        beat: Callable[[], None],
        interval: float,
        *,
        name: str = "lineart-heartbeat",
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._beat = beat
        self._interval = interval
        self._stopped = threading.Event()
        self._wait = wait if wait is not None else self._stopped.wait
        self._failing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin; where no thread is to be had, say so and go on without."""
        try:
            self._thread.start()
        except RuntimeError as error:
            log.warning("no heartbeat: %s", error)

    def stop(self) -> None:
        """Beat no more after the beat that is under way, which is not waited for."""
        self._stopped.set()

    def once(self) -> None:
        """Beat once; never raises."""
        try:
            self._beat()
        except Exception as error:  # noqa: BLE001 - obligation: nothing may reach the program that is recorded
            if not self._failing:
                log.warning("a heartbeat failed, and is tried again every %g s: %s", self._interval, error)
            self._failing = True
        else:
            if self._failing:
                log.warning("the heartbeat is back")
            self._failing = False

    def _work(self) -> None:
        self.once()
        while not self._wait(self._interval):
            self.once()
