"""How many events a database counts, and how many there are: the two numbers that decide what is written next.

Knows the store's row, the numbers of the event rows, and how far the bucket goes. Who counts wrong writes an event over
another, so this comes before everything else that a repair does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select, update

from . import tables
from .errors import IntegrityError
from .rows_check import NOW, Tense, WrongRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .transaction import Transaction

__all__ = ["Counters", "count_events", "counters_said", "mend_counters"]

_store, _event = tables.store.c, tables.event.c


class Counters(NamedTuple):
    """The number of the last event, and of the last one that is in the journal."""

    seq: int
    journalled: int


def count_events(connection: Connection, newest: int) -> tuple[Counters, Counters]:
    """Return what the store's row counts, and what it should, where the bucket has events up to `newest`.

    IntegrityError where event rows are missing between those that are counted and others.
    """
    known = Counters(*connection.execute(select(_store.seq, _store.journalled)).one())
    seq, journalled = known
    rows = select(
        func.coalesce(func.max(_event.seq), 0).label("last"), func.count().filter(_event.seq > seq).label("more")
    )
    found = connection.execute(rows).one()
    last: int = found.last
    if last > seq and found.more != last - seq:
        raise IntegrityError(
            f"the database has an event {last} behind {seq}, and lacks some between; move it away and make a new one"
            " from the bucket: `art repair database`"
        )
    counted = max(last, min(seq, newest))
    return known, Counters(counted, journalled if journalled <= counted else min(counted, newest))


def counters_said(known: Counters, right: Counters, newest: int, tense: Tense = NOW) -> list[WrongRow]:
    """Say what is wrong with the store's row: nothing, or one thing.

    A database that is barred, since it ends at a hole of the journal, counts as it should (`repair_hole`).
    """
    if known == right or (known.seq == right.seq and known.journalled == newest):
        return []
    labels = {"seq": "its number of events", "journalled": "how many of them are in the journal"}
    said = [
        f"{label}: the database {tense.says} {getattr(known, name)}, there are {getattr(right, name)}"
        for name, label in labels.items()
        if getattr(known, name) != getattr(right, name)
    ]
    here, there = ({name: getattr(one, name) for name in labels} for one in (known, right))
    return [WrongRow("store", "store", "; ".join(said), here, there)]


def mend_counters(tx: Transaction, newest: int) -> tuple[Counters, Counters]:
    """Make the store's row count the events that there are; return what it counted, and what it counts now."""
    tx.lock(select(_store.seq))
    known, right = count_events(tx.connection, newest)
    if known != right:
        tx.execute(update(tables.store).values(seq=right.seq, journalled=right.journalled))
    return known, right
