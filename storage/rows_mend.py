"""Making a database's rows what its events say, where somebody or something has changed them without an event.

Knows what it is told of tables (`Compared`) and the events. Rows that are right are not touched and keep their ids,
which other processes may be holding. What no event made goes; of the events only what has no event's number.
"""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, Select, Text, cast, delete, insert, literal, select, update

from . import tables
from .errors import Conflict, IntegrityError
from .recorded import PIECE, Recorded, events_between, recorded, unnumbered
from .rows import Difference, Plan, plans
from .shadow import Shadow
from .sqlite import raw_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from .backends.base import Backend
    from .database import Database, Transaction
    from .journal import Journal
    from .rows import Compared

__all__ = ["mend", "mend_rows"]

BATCH = 10_000  # differences held at once
_event, _store = tables.event, tables.store


def mend_rows(backend: Backend, journal: Journal, database: Database, compared: Sequence[Compared]) -> int:
    """Make the rows of some tables what the events say, and bring back events that only the journal has.

    Returns how many rows were changed. Where the journal lacks an event that the database has, the database's counts:
    so nothing is dropped because the bucket has lost it. Raises Conflict where the two have different events, and
    IntegrityError where an event is in neither, or cannot be applied; nothing is changed then.
    """
    with Shadow(database.store_id, database.folds) as shadow:
        shadow.fold(one.event for one in _agreeing(database, recorded(backend, journal, database, lambda _, __: None)))
        ordered = plans(compared)
        return database.write(lambda tx: mend(tx, shadow, ordered))


def _agreeing(database: Database, events: Iterator[Recorded]) -> Iterator[Recorded]:
    for one in events:
        if not one.same:
            raise Conflict(
                f"event {one.seq} is another in the journal than in {database.url}, and which of the two is right is"
                " not for a program to say; if it is the journal, move this database away and rebuild it:"
                " `art repair database`"
            )
        yield one


def mend(tx: Transaction, shadow: Shadow, ordered: Sequence[Plan]) -> int:
    """Do it in one transaction, which may be begun again; no event can be added meanwhile."""
    until: int = tx.lock(select(_store.c.seq)).scalar_one()
    shadow.fold(events_between(tx.connection, shadow.seq, until))
    if shadow.seq != until:
        raise IntegrityError(f"the database counts {until} events, and there are {shadow.seq}")
    mender = _Mender(tx.connection, shadow.connection)
    changed = mender.remove_unnumbered() + mender.bring_events_back()
    for plan in ordered:  # what a row refers to comes before it
        changed += mender.each(plan, lambda one: one.journal is not None, mender.put)
    for plan in reversed(ordered):
        changed += mender.each(plan, lambda one: one.journal is None, mender.remove)
    return changed


class _Mender:
    """Changes rows of a database by those of a shadow."""

    def __init__(self, connection: Connection, shadow: Connection) -> None:
        self._connection = connection
        self._shadow = shadow

    def each(self, plan: Plan, wanted: Callable[[Difference], bool], change: Callable[[Plan, Difference], None]) -> int:
        """Change every row of a table that differs in some way; return how many there were.

        Looks again until none does; raises IntegrityError for one that would not change.
        """
        changed = 0
        before: set[tuple[Any, ...]] = set()
        while True:
            # Read before any is changed: a cursor over a table that is written to may see rows twice.
            with closing(plan.differences(self._connection, self._shadow)) as found:
                some = list(islice(filter(wanted, found), BATCH))
            if not some:
                return changed
            if some[0].key in before:
                raise _unchanged(some[0])
            for one in some:
                change(plan, one)
            changed += len(some)
            before = {one.key for one in some}

    def remove_unnumbered(self) -> int:
        """Delete event rows that are no event's."""
        gone = unnumbered(self._connection)
        if gone:
            self._connection.execute(delete(_event).where(_event.c.seq < 1))
        return len(gone)

    def put(self, plan: Plan, one: Difference) -> None:
        """Insert or update a row."""
        assert one.journal is not None
        table = plan.table
        there = self._shadow.execute(select(table).where(*_is(plan, one.shadow))).mappings().one()
        if one.here is not None:
            values = {name: self._value(plan, name, there[name], one) for name in one.here}
            self._connection.execute(update(table).where(*_is(plan, one.row)).values(**values))
            return
        numbered = {column.name for column in table.primary_key if column.name in plan.compared.passed}
        row = {name: self._value(plan, name, value, one) for name, value in there.items() if name not in numbered}
        self._connection.execute(insert(table).values(**row))

    def remove(self, plan: Plan, one: Difference) -> None:
        """Delete a row that no event made."""
        self._connection.execute(delete(plan.table).where(*_is(plan, one.row)))

    def bring_events_back(self) -> int:
        """Insert the event rows that are missing."""
        changed = 0
        table, last = _event, 0
        while seqs := self._shadow.execute(_seqs(last)).scalars().all():
            here = set(self._connection.execute(_seqs(last).where(_event.c.seq <= seqs[-1])).scalars())
            missing = [seq for seq in seqs if seq not in here]
            for seq in missing:
                row = self._shadow.execute(select(table).where(_event.c.seq == seq)).mappings().one()
                self._connection.execute(insert(table).values(**row))
            changed += len(missing)
            last = seqs[-1]
        return changed

    def _value(self, plan: Plan, column: str, value: Any, one: Difference) -> Any:
        """Return a column's value for the database: in the place of a shadow's row id, that of the same row here."""
        parent = plan.parent(column)
        return value if parent is None else parent.find(self._connection, plan.meant(one, column))


def _seqs(after: int) -> Select[Any]:
    return select(_event.c.seq).where(_event.c.seq > after).order_by(_event.c.seq).limit(PIECE)


def _is(plan: Plan, identity: Sequence[Any]) -> list[ColumnElement[bool]]:
    return [column == _bound(value) for column, value in zip(plan.table.primary_key, identity, strict=True)]


def _bound(value: Any) -> Any:
    """Return what a statement can hold: text that is not UTF-8 goes as its bytes."""
    if not isinstance(value, str) or not any("\udc80" <= one <= "\udcff" for one in value):
        return value
    return cast(literal(raw_text(value), LargeBinary), Text)


def _unchanged(one: Difference) -> IntegrityError:
    named = "/".join(map(str, one.key)).encode(errors="backslashreplace").decode()
    return IntegrityError(
        f"the row {named} of {one.table} does not become what the journal says (a trigger?), and nothing was changed;"
        " move this database away and rebuild it: `art repair database`"
    )
