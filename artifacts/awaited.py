"""The part of an artifact that waits: for the version that it becomes while a program goes on, or never will.

Knows that somebody works for it; must not know who or how. A base of `Artifact`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from ..storage.errors import Conflict

if TYPE_CHECKING:
    from .logged import LoggedVersion

__all__ = ["Awaited", "Task"]


class Task(Protocol):
    """What makes a version of a draft elsewhere."""

    def done(self) -> bool:
        """Whether it is over, well or not."""

    def wait(self, timeout: float | None) -> None:
        """Return once it is over; raise what it failed with, and TimeoutError after so many seconds."""

    def require(self) -> None:
        """Return once there is a version, or raise why there is none."""


class Awaited:
    """Something that may be logged in the background."""

    _task: Task | None = None
    _logged: LoggedVersion | None

    def wait(self, timeout: float | None = None) -> Self:
        """Return once it is logged: at once, unless it is being logged in the background.

        Raises what that failed with, and TimeoutError after `timeout` seconds, while it goes on; NotLogged for a draft.
        In a run that records nothing (`mode="disabled"`) it returns at once, though nothing is logged.
        """
        if self._task is not None and (self._logged is None or not self._task.done()):
            self._task.wait(timeout)
        else:
            self._held()
        return self

    def entrust(self, task: Task) -> None:
        """Leave it to a task to make a version of this draft, which takes no changes before that is over."""
        self._task = task

    def _require_idle(self) -> None:
        """Raise Conflict while a task is at work."""
        if self._task is not None and not self._task.done():
            raise Conflict(
                "this artifact is being logged in the background; wait() for it, then go on from new_draft()"
            )

    def _await(self) -> None:
        """Return once the task, if there is one, has made a version; raise why it did not."""
        if self._task is not None and (self._logged is None or not self._task.done()):
            self._task.require()

    def _held(self) -> LoggedVersion:
        """Return what is logged; NotLogged for a draft."""
        raise NotImplementedError
