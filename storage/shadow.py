"""What a store's events say, as rows: a scratch database that they are folded into by the store's own folds.

Knows a private temporary SQLite database, which is kept in memory up to 64 MiB and on disk beyond, and is gone with the
process. What the rows mean is known to the folds that it is given.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import create_engine, insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from . import tables
from .errors import IntegrityError, StoreUnavailable
from .events import canonical
from .folding import fold_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from sqlalchemy import Connection

    from .events import Event, Fold

__all__ = ["Shadow"]

CACHE = 64 << 20  # bytes held in memory
BUFFER = 1000  # events gathered before they are entered


class Shadow:
    """The rows that a store's events make, for one thread at a time; leave it to give its room back.

    `seq` is the last event's that was folded. `created` is the store's age (µs) until an event says it.
    """

    def __init__(self, store_id: str, folds: Mapping[str, Fold], *, created: int = 0) -> None:
        self.seq = 0
        self._folds = folds
        self._waiting: list[dict[str, Any]] = []
        self._engine = create_engine("sqlite://", creator=_connect, poolclass=StaticPool)
        self._connection = self._engine.connect()
        self._connection.exec_driver_sql("BEGIN")  # one for all: each COMMIT would go through every page that is held
        tables.METADATA.create_all(self._connection)
        self._connection.execute(insert(tables.store).values(id=1, store_id=store_id, created=created))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._engine.dispose()

    @property
    def connection(self) -> Connection:
        """The rows as far as events were folded; they are there to be read."""
        if self._waiting:
            self._connection.execute(insert(tables.event), self._waiting)
            self._waiting.clear()
        return self._connection

    def fold(self, events: Iterable[Event]) -> None:
        """Apply events, each of which must follow the one before.

        Raises IntegrityError for one that does not, or cannot be applied, FormatTooNew for a kind that is unknown, and
        StoreUnavailable where there is no room; what is in the shadow then is of no use any more.
        """
        for event in events:
            if event.seq != self.seq + 1:
                missing = self.seq + 1
                raise IntegrityError(f"event {missing} is in neither journal nor database; the next is {event.seq}")
            try:
                fold_event(self._folds, self._connection, event)
                self._keep(event)
            except OperationalError as error:
                raise StoreUnavailable(f"the scratch database in the temporary folder failed: {error.orig}") from error
            self.seq = event.seq

    def _keep(self, event: Event) -> None:
        """Keep the event itself, too: who did it, and when, is what people ask first."""
        row = {name: getattr(event, name) for name in ("seq", "time", "actor", "kind", "subject", "reason")}
        self._waiting.append({**row, "data": canonical(event.data)})
        if len(self._waiting) >= BUFFER:
            _ = self.connection


def _connect() -> sqlite3.Connection:
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size = -{CACHE >> 10}")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    return connection
