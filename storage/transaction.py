"""One writing transaction: statements, the database's clock, and the events that it records.

Knows the `store` and `event` rows; what an event changes is for its fold to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, text, update

from . import tables
from .bulk import insert_many, select_in
from .errors import Conflict, IntegrityError, InvalidInput
from .events import Event, canonical, line, plain
from .folding import fold_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Executable, Row, Select, Table

    from .engines import Dialect
    from .events import Fold

__all__ = [
    "PACKS",
    "PACKS_DELETING",
    "PACKS_QUARANTINED",
    "PACKS_RELEASED",
    "SERVER_CLOCK",
    "STORAGE_FOLDS",
    "STORE_CREATED",
    "Transaction",
    "was_deleted",
]

STORE_CREATED = "store.created"
PACKS_DELETING = "packs.deleting"
PACKS_QUARANTINED = "packs.quarantined"
PACKS_RELEASED = "packs.released"
PACKS = "packs"  # the subject of what happens to packs

_LONGEST = 10**12  # a seq as long as any

SERVER_CLOCK = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")


class Transaction:
    """What `Database.write` hands to its work; it ends when the work returns or raises.

    Rows are locked in one order everywhere: collection, packs by id, and last the event counter, which this class
    takes when the work has returned.
    """

    def __init__(
        self, connection: Connection, dialect: Dialect, actor: str, folds: Mapping[str, Fold], clock: Callable[[], int]
    ) -> None:
        self.connection = connection
        self.dialect = dialect
        self.actor = actor
        self._folds = folds
        self._clock = clock
        self._now: int | None = None
        self._recorded: list[dict[str, Any]] = []

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement; a list of parameters runs it once for each."""
        return self.connection.execute(statement, parameters)

    def select_in(
        self, sql: str, values: Iterable[bytes] | Iterable[int] | Iterable[str]
    ) -> list[Row[*tuple[Any, ...]]]:
        """Look many values up; see `bulk.select_in`."""
        return select_in(self.connection, sql, values)

    def insert_many(
        self, table: Table, columns: Sequence[str], values: Iterable[Sequence[Any]], *, ignore: bool = False
    ) -> None:
        """Insert many rows; see `bulk.insert_many`."""
        insert_many(self.connection, table, columns, values, ignore=ignore)

    def lock(self, statement: Select[Any]) -> CursorResult[Any]:
        """Select rows and keep others from changing them until the end (FOR UPDATE; on SQLite nobody else writes).

        `now()` is read anew afterwards, so that times are in the order of the lock.
        """
        self._now = None
        if self.dialect == "postgresql":
            statement = statement.with_for_update()
        return self.execute(statement)

    def now(self) -> int:
        """Return the time by the database's clock, in µs since the epoch; the same until `lock` is called again."""
        if self._now is None:
            if self.dialect == "postgresql":
                self._now = int(self.connection.execute(SERVER_CLOCK).scalar_one())
            else:
                self._now = self._clock() // 1000
        return self._now

    def record(self, kind: str, subject: str, data: dict[str, Any], reason: str | None = None) -> Event:
        """Apply an event by its fold, now, and append it to the store's history when the transaction ends.

        The event has no `seq` yet. Raises InvalidInput for data that is not JSON, and for text that no database keeps
        (NUL, lone surrogates).
        """
        encoded, data = plain(data)
        for part in (subject, reason or "", self.actor):
            canonical(part)
            if "\0" in part:
                raise InvalidInput(f"event {kind}: text with a NUL character cannot be kept: {part!r:.80}")
        event = Event(kind, subject, data, reason, self.now(), self.actor)
        line(_LONGEST, event.time, self.actor, kind, subject, reason, encoded)  # so that it can be journalled
        self._folds[kind](self.connection, event)
        self._recorded.append(_row(event, encoded))
        return event

    def restore(self, events: Iterable[Event]) -> int:
        """Apply events of the journal that are not here yet, in order, and return the last one's `seq`.

        Those that are here must be the same. Raises Conflict where they differ or one is missing between, FormatTooNew
        for a kind of event that this Lineart does not know, and IntegrityError for one that cannot be applied.
        """
        store = tables.store
        table = tables.event
        restored: list[dict[str, Any]] = []
        seq: int = self.lock(select(store.c.seq)).scalar_one()
        for event in events:
            row = _row(event, canonical(event.data))
            if event.seq is None or event.seq > seq + 1:
                raise Conflict(f"event {event.seq} of the journal cannot follow event {seq} of the database")
            if event.seq <= seq:
                here = self.execute(select(table).where(table.c.seq == event.seq)).mappings().one_or_none()
                if here is None:
                    raise IntegrityError(
                        f"event {event.seq} of {seq} is missing in the database; move it away and make a new one from"
                        " the bucket: `art repair database`"
                    )
                if dict(here) != row:
                    raise Conflict(
                        f"event {seq} is another in the journal than in the database: both went on from one backup;"
                        " make a new database and rebuild it from the journal: `art repair database`"
                    )
                continue
            fold_event(self._folds, self.connection, event)
            restored.append(row)
            seq = event.seq
        if restored:
            self.execute(insert(table), restored)
        self.execute(update(store).values(seq=seq, journalled=seq).where(store.c.seq < seq))
        return seq

    def finish(self) -> None:
        """Insert what was recorded under its numbers: last of all, since everybody waits for the counter."""
        if not self._recorded:
            return
        store = tables.store
        count = len(self._recorded)
        last: int = self.execute(update(store).values(seq=store.c.seq + count).returning(store.c.seq)).scalar_one()
        for seq, row in enumerate(self._recorded, last - count + 1):
            row["seq"] = seq
        self.execute(insert(tables.event), self._recorded)


def store_created(connection: Connection, event: Event) -> None:
    """Fold of the first event: the store's age is the event's time."""
    connection.execute(update(tables.store).values(created=event.time))


def packs_deleting(connection: Connection, event: Event) -> None:
    """Fold: nobody may rely on these packs any more, even where a rebuild found their objects still in the bucket."""
    _set_packs(connection, event, tables.PackState.DELETING)


def packs_quarantined(connection: Connection, event: Event) -> None:
    """Fold: nobody is offered these packs any more; those on their way out stay on it."""
    _set_packs(connection, event, tables.PackState.QUARANTINED, unless=_LEAVING)


def packs_released(connection: Connection, event: Event) -> None:
    """Fold: these packs read well again, and are offered."""
    others = [one for one in tables.PackState if one != tables.PackState.QUARANTINED]
    _set_packs(connection, event, tables.PackState.LIVE, unless=others)


_LEAVING = (tables.PackState.DELETING, tables.PackState.DEAD)


def _set_packs(
    connection: Connection, event: Event, state: tables.PackState, *, unless: Sequence[tables.PackState] = ()
) -> None:
    pack = tables.pack
    named = pack.c.key.in_([bytes.fromhex(one) for one in event.data["packs"]]) & pack.c.state.not_in(unless)
    connection.execute(update(pack).where(named).values(state=state, stamp=None, session=None))


def was_deleted(connection: Connection, key: bytes) -> bool:
    """Whether an event says that a pack is deleted: whatever still lies there under its name is no longer a pack."""
    event = tables.event
    named = select(event.c.seq).where(event.c.subject == PACKS, event.c.kind == PACKS_DELETING)
    return connection.execute(named.where(event.c.data.contains(key.hex())).limit(1)).first() is not None


STORAGE_FOLDS: dict[str, Fold] = {
    STORE_CREATED: store_created,
    PACKS_DELETING: packs_deleting,
    PACKS_QUARANTINED: packs_quarantined,
    PACKS_RELEASED: packs_released,
}


def _row(event: Event, data: str) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "time": event.time,
        "actor": event.actor,
        "kind": event.kind,
        "subject": event.subject,
        "reason": event.reason,
        "data": data,
    }
