"""Applying an event that came from outside, from a journal that anybody may have written to.

Knows which failures mean that an event makes no sense; must not know what any event means. What a database is busy
with, or has no room for, is no fault of the event and passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exc

from .errors import FormatTooNew, IntegrityError, LineartError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from .events import Event, Fold

__all__ = ["fold_event"]

_SENSELESS = (
    LineartError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    exc.InvalidRequestError,  # no row, or several, where there should be one
    exc.IntegrityError,
    exc.DataError,
    exc.ProgrammingError,  # a value of a kind that the column does not take
)


def fold_event(folds: Mapping[str, Fold], connection: Connection, event: Event) -> None:
    """Apply an event; FormatTooNew for a kind that is unknown, and IntegrityError for one that cannot be applied."""
    fold = folds.get(event.kind)
    if fold is None:
        raise FormatTooNew(f"event {event.seq} is of a kind that is not known here: {event.kind}; upgrade Lineart")
    try:
        fold(connection, event)
    except (IntegrityError, StoreUnavailable):
        raise
    except _SENSELESS as error:
        raise IntegrityError(f"event {event.seq} ({event.kind}) cannot be applied: {error!r}") from error
