"""Every event of a store once, in order: as the journal has it, and as the database has it.

Knows the journal's objects and the event rows; what an event means is for its fold to know. Changes nothing, and holds
a piece at a time. Others may be writing: an event is in the database before it is in the bucket.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from . import tables
from .errors import IntegrityError
from .events import Event, canonical, line, parse
from .layout import JOURNAL, parse_journal_key
from .sqlite import any_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from .backends.base import Backend
    from .database import Database
    from .journal import Journal

__all__ = ["PIECE", "Recorded", "events_between", "recorded", "unnumbered"]

PIECE = 1000  # events held at once
Row = tuple[Any, ...]  # of the event table, in the order of _COLUMNS
_event = tables.event
_COLUMNS = [_event.c[name] for name in ("seq", "time", "actor", "kind", "subject", "reason", "data")]


class Recorded(NamedTuple):
    """One event in two places: the journal's, and the database's row; None where one of them lacks it."""

    seq: int
    journal: Event | None
    row: Row | None
    same: bool  # whether the two, where both are there, say the same

    @property
    def event(self) -> Event:
        """The event: the journal's word counts, where it has one. IntegrityError for a row that is no event."""
        if self.journal is not None:
            return self.journal
        assert self.row is not None
        return _event_of(self.row)

    @property
    def kind(self) -> str:
        """What happened."""
        return self.journal.kind if self.journal is not None else str((self.row or ())[3])

    @property
    def subject(self) -> str:
        """What it happened to."""
        return self.journal.subject if self.journal is not None else str((self.row or ())[4])


def recorded(
    backend: Backend, journal: Journal, database: Database, trouble: Callable[[int, str], None]
) -> Iterator[Recorded]:
    """Yield every event that the journal or the database has, in the order of `seq`.

    Where the journal cannot be read on, `trouble` is told the last event before that, and why; it goes on behind.
    """
    last = 0
    found = _readable(backend, journal, trouble)
    while piece := list(islice(found, PIECE)):
        until = piece[-1][0].seq
        yield from _joined(piece, _rows(database, last, until))
        last = until or last
    yield from _joined([], _rows(database, last, None))


def events_between(connection: Connection, after: int, until: int) -> Iterator[Event]:
    """Yield the database's events behind one and up to another, a piece at a time."""
    while rows := _select(connection, after, until):
        yield from map(_event_of, rows)
        after = rows[-1][0]


def unnumbered(connection: Connection) -> list[int]:
    """Return the numbers of event rows that are no event's: those count from 1."""
    return list(connection.execute(select(_event.c.seq).where(_event.c.seq < 1).order_by(_event.c.seq)).scalars())


def _joined(piece: list[tuple[Event, bytes]], rows: Iterator[Row]) -> Iterator[Recorded]:
    waiting = deque(piece)
    for row in rows:
        while waiting and (waiting[0][0].seq or 0) < row[0]:
            event = waiting.popleft()[0]
            yield Recorded(event.seq or 0, event, None, same=True)
        if waiting and waiting[0][0].seq == row[0]:
            event, text = waiting.popleft()
            yield Recorded(row[0], event, row, _same(event, text, row))
        else:
            yield Recorded(row[0], None, row, same=True)
    for event, _ in waiting:
        yield Recorded(event.seq or 0, event, None, same=True)


def _same(event: Event, text: bytes, row: Row) -> bool:
    """Whether they are equal, also where another writer has spelled the line in another way."""
    fields = (event.seq, event.time, event.actor, event.kind, event.subject, event.reason)
    try:
        return line(*row) == text or (*fields, canonical(event.data)) == row
    except (TypeError, ValueError):  # what no program of ours has written
        return False


def _event_of(row: Row) -> Event:
    seq, time, actor, kind, subject, reason, data = row
    if any(isinstance(one, str) and not one.isascii() and not _is_unicode(one) for one in row):
        raise IntegrityError(f"event {seq} in the database has text that is not UTF-8")
    return Event(kind, subject, parse(data, f"the data of event {seq} in the database"), reason, time, actor, seq)


def _is_unicode(text: str) -> bool:
    return text.encode(errors="replace").decode() == text


def _rows(database: Database, after: int, until: int | None) -> Iterator[Row]:
    """Yield the event rows behind one, and up to another if it is given; read late, so that none is missed."""
    while rows := database.read(lambda connection, after=after: _select(connection, after, until)):  # type: ignore[misc]
        yield from rows
        after = rows[-1][0]


def _select(connection: Connection, after: int, until: int | None) -> list[Row]:
    wanted = select(*_COLUMNS).where(_event.c.seq > after).order_by(_event.c.seq).limit(PIECE)
    if until is not None:
        wanted = wanted.where(_event.c.seq <= until)
    with any_text(connection):
        return [tuple(row) for row in connection.execute(wanted)]


def _readable(backend: Backend, journal: Journal, trouble: Callable[[int, str], None]) -> Iterator[tuple[Event, bytes]]:
    """Yield what the bucket has, passing over what cannot be read."""
    after = 0
    said: set[str] = set()
    while True:
        begun = after
        try:
            for event, text in journal.lines(after):
                after = event.seq or 0
                yield event, text
        except IntegrityError as error:
            if str(error) not in said:
                said.add(str(error))
                trouble(after, str(error))
            if after > begun:
                continue  # what disagreed may lie behind it by now
            behind = _next_start(backend, after)
            if behind is None:
                return
            after = behind
        else:
            return


def _next_start(backend: Backend, after: int) -> int | None:
    """Return the next event behind which an object of the journal begins or ends; None: there is none."""
    names = (parse_journal_key(info.key) for info in backend.list(JOURNAL))
    ends = (end for name in names if name is not None for end in (name.first - 1, name.last))
    return min((end for end in ends if end > after), default=None)
