"""Making a database's rows what its events say, where somebody or something has changed them without an event.

Knows what it is told of tables (`Compared`) and the events. Rows that are right are not touched and keep their ids,
which other processes may be holding. What no event made goes; of the events only what has no event's number.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, Select, Text, cast, delete, insert, literal, select, update

from . import tables
from .errors import Conflict, IntegrityError
from .recorded import PIECE, Recorded, events_between, recorded, unnumbered
from .rows import Difference, Look, Plan, plans
from .rows_check import LISTED, NOW, THEN, RowReport, WrongRow, find_wrong
from .shadow import Shadow
from .sqlite import raw_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from .backends.base import Backend
    from .database import Database, Transaction
    from .journal import Journal
    from .rows import Compared
    from .rows_check import Tense

__all__ = ["find_changes", "folded", "mend", "mend_rows"]

BATCH = 10_000  # differences held at once
_event, _store = tables.event, tables.store


def mend_rows(
    backend: Backend,
    journal: Journal,
    database: Database,
    compared: Sequence[Compared],
    *,
    listed: int | None = LISTED,
) -> RowReport:
    """Make the rows of some tables what the events say, and bring back events that only the journal has.

    It is done as of the database's last event: what the journal has behind that is not looked at. Returns what was
    changed, of which at most `listed` rows are described. Where the journal lacks an event that the database has, the
    database's counts: so nothing is dropped because the bucket has lost it. Raises Conflict where the two have
    different events, and IntegrityError where an event is in neither, or cannot be applied; nothing is changed then.
    """
    store = database.store()
    with folded(backend, journal, database, store.seq, store.created) as shadow:
        ordered = plans(compared)

        def look(connection: Connection) -> RowReport:
            until: int = connection.execute(select(_store.c.seq)).scalar_one()
            return find_changes(connection, shadow, ordered, until, tense=THEN, listed=listed)

        # Rows are described before others have to wait: each takes a look at the history.
        found = database.read(look)
        return database.write(lambda tx: mend(tx, shadow, ordered, found)) if found.counts else found


@contextmanager
def folded(backend: Backend, journal: Journal, database: Database, until: int, created: int) -> Iterator[Shadow]:
    """Lend what the events up to one say, whether journal or database has them; raises as `mend_rows`.

    `created` is the store's age (µs) where no event says it yet.
    """
    with Shadow(database.store_id, database.folds, created=created) as shadow:
        events = takewhile(lambda one: one.seq <= until, recorded(backend, journal, database, lambda _, __: None))
        shadow.fold(one.event for one in _agreeing(database, events))
        yield shadow


def _agreeing(database: Database, events: Iterable[Recorded]) -> Iterator[Recorded]:
    for one in events:
        if not one.same:
            raise Conflict(
                f"event {one.seq} is another in the journal than in {database.url}, and which of the two is right is"
                " not for a program to say; if it is the journal, move this database away and rebuild it:"
                " `art repair database`"
            )
        yield one


def mend(tx: Transaction, shadow: Shadow, ordered: Sequence[Plan], seen: RowReport) -> RowReport:
    """Make rows what a shadow says in one transaction, which may be begun again; no event can be added meanwhile.

    `seen` is what was found before the transaction, and is returned unless something else is found now.
    """
    until: int = tx.lock(select(_store.c.seq)).scalar_one()
    found = find_changes(tx.connection, shadow, ordered, until, listed=0)
    if found.counts == seen.counts:
        found = seen
    else:  # somebody else was at work
        found = find_changes(tx.connection, shadow, ordered, until, tense=THEN, listed=seen.listed)
    mender = _Mender(tx.connection, shadow.connection)
    tx.execute(delete(_event).where(_event.c.seq < 1))
    for seqs in _missing(tx.connection, shadow.connection):
        mender.bring_back(seqs)
    for plan in ordered:  # what a row refers to comes before it
        mender.each(plan, lambda one: one.journal is not None, mender.put)
    for plan in reversed(ordered):
        mender.each(plan, lambda one: one.journal is None, mender.remove)
    return found


def find_changes(
    connection: Connection,
    shadow: Shadow,
    ordered: Sequence[Plan],
    until: int,
    *,
    tense: Tense = NOW,
    listed: int | None = LISTED,
) -> RowReport:
    """Return which rows are to be changed, those of events among them, once a shadow has all events up to one.

    Raises IntegrityError where there are not as many events. A row that hangs on one that is gone is counted, even if
    it turns out that nothing but that one is to be brought back.
    """
    shadow.fold(events_between(connection, shadow.seq, until))
    if shadow.seq != until:
        raise IntegrityError(f"the database counts {until} events, and there are {shadow.seq}")
    found = RowReport(until, listed=listed)
    for seq in unnumbered(connection):
        what = f"{tense.only_here.format('')}; the first event is 1"
        found.add(WrongRow("event", f"event {seq}", what, {}, None))
    for seqs in _missing(connection, shadow.connection):
        for row in shadow.connection.execute(select(_event).where(_event.c.seq.in_(seqs)).order_by(_event.c.seq)):
            what = tense.only_there.format(f" ({row.kind} of {row.subject})")
            values = {"kind": row.kind, "subject": row.subject}
            found.add(WrongRow("event", f"event {row.seq}", what, None, values, row.time, row.actor))
    find_wrong(found, Look(connection, shadow.connection), ordered, tense)
    return found


def _missing(connection: Connection, shadow: Connection) -> Iterator[list[int]]:
    """Yield the numbers of the events that have no row, a piece at a time."""
    last = 0
    while seqs := shadow.execute(_seqs(last)).scalars().all():
        here = set(connection.execute(_seqs(last).where(_event.c.seq <= seqs[-1])).scalars())
        if len(here) < len(seqs):
            yield [seq for seq in seqs if seq not in here]
        last = seqs[-1]


class _Mender:
    """Changes rows of a database by those of a shadow."""

    def __init__(self, connection: Connection, shadow: Connection) -> None:
        self._connection = connection
        self._shadow = shadow

    def each(
        self, plan: Plan, wanted: Callable[[Difference], bool], change: Callable[[Plan, Difference], None]
    ) -> None:
        """Change every row of a table that differs in some way.

        Looks again until none does; raises IntegrityError for one that would not change.
        """
        before: set[tuple[Any, ...]] = set()
        while True:
            # Read before any is changed: a cursor over a table that is written to may see rows twice.
            with closing(plan.differences(self._connection, self._shadow)) as found:
                some = list(islice(filter(wanted, found), BATCH))
            if not some:
                return
            if some[0].key in before:
                raise _unchanged(some[0])
            for one in some:
                change(plan, one)
            before = {one.key for one in some}

    def bring_back(self, seqs: Sequence[int]) -> None:
        """Insert event rows."""
        rows = self._shadow.execute(select(_event).where(_event.c.seq.in_(seqs))).mappings()
        self._connection.execute(insert(_event), list(map(dict, rows)))

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
