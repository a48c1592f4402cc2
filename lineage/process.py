"""The runs of this process: one current run, and one end for all of them.

Knows the two parts that there is one of in a process, and puts every run that begins here under both.
"""

from __future__ import annotations

from collections.abc import Callable

from .current import Current, in_notebook
from .ending import Ending
from .run import Run

__all__ = ["begin", "current_run", "ensure", "finish"]

_current: Current[Run] = Current()
_ending = Ending()


def current_run() -> Run | None:
    """Return the run that a module-level call belongs to now; None where there is none."""
    return _current.get()


def begin(open_: Callable[[], Run], *, notebook: Callable[[], bool] = in_notebook) -> Run:
    """Open a run and make it current; in a notebook it replaces the one before, in a script it nests."""
    return _current.begin(lambda: _watched(open_), replace=notebook())


def ensure(open_: Callable[[], Run]) -> Run:
    """Return the current run; where there is none, open the implicit one, which `begin`, `finish` or the exit ends."""
    return _current.get_or_open(lambda: _watched(open_))


def finish(exit_code: int = 0) -> None:
    """End the current run; does nothing where there is none."""
    _current.finish(exit_code)


def _watched(open_: Callable[[], Run]) -> Run:
    run = open_()
    _ending.watch(run)
    return run
