"""Writing events into the journal again that the bucket has lost and the database still has.

Knows the journal's objects and the event rows (docs/format.md, "Journal objects"). Adds objects and deletes none; what
is written is, to the byte, what was there. May be interrupted and done again, and run while others write.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .errors import Conflict
from .events import LINE_LIMIT
from .journal import OBJECT_LIMIT, checksum
from .layout import JOURNAL_SPAN, journal_key
from .recorded import PIECE, events_between, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from .engine import Engine
    from .events import Event

__all__ = ["restore_journal"]

LARGEST = OBJECT_LIMIT - LINE_LIMIT  # bytes that are gathered before an object is closed


def restore_journal(engine: Engine, *, span: int = JOURNAL_SPAN, largest: int = LARGEST) -> int:
    """Write every event that was in the journal once, and is in the database alone now; return how many there were.

    No object reaches over a multiple of `span`, or goes on behind `largest` bytes. Raises Conflict where the two have
    different events, and writes nothing then: they are not of one history.
    """
    lost = _lost(engine)
    for first, last in lost:
        for key, lines in _objects(_events(engine, first, last), span, largest):
            engine.backend.put(key, lines)
    return sum(last - first + 1 for first, last in lost)


def _lost(engine: Engine) -> list[tuple[int, int]]:
    """Return the first and the last of events in a row that only the database has."""
    journalled = engine.database.store().journalled  # read first: behind it, others may be about to write
    lost: list[tuple[int, int]] = []
    for one in recorded(engine.backend, engine.journal, engine.database, lambda _, __: None):
        if not one.same:
            raise Conflict(
                f"event {one.seq} is another in {engine.backend.url} than in {engine.database.url}: they are of two"
                " histories, and which of them is right is not for a program to say"
            )
        if one.journal is None and one.seq <= journalled:
            first = lost.pop()[0] if lost and lost[-1][1] == one.seq - 1 else one.seq
            lost.append((first, one.seq))
    return lost


def _events(engine: Engine, first: int, last: int) -> Iterator[Event]:
    for start in range(first, last + 1, PIECE):
        yield from engine.database.read(partial(_piece, after=start - 1, until=min(last, start + PIECE - 1)))


def _piece(connection: Connection, after: int, until: int) -> list[Event]:
    return list(events_between(connection, after, until))


def _objects(events: Iterable[Event], span: int, largest: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield objects of the journal, each with its key; as a flush does, none reaches over the end of a folder."""
    lines: list[bytes] = []
    first = size = 0
    for event in events:
        seq = event.seq or 0
        if lines and (seq % span == 0 or size >= largest):
            yield _object(first, lines)
            lines, size = [], 0
        if not lines:
            first = seq
        lines.append(event.to_line())
        size += len(lines[-1])
    if lines:
        yield _object(first, lines)


def _object(first: int, lines: list[bytes]) -> tuple[str, list[bytes]]:
    return journal_key(first, first + len(lines) - 1, checksum(b"".join(lines))), lines
