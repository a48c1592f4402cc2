"""A journal with a hole, and no database that could fill it: what came before it, and what is known of the rest.

Knows the journal's objects and the two counters of a database. Nothing behind a hole is ever applied, for what it would
build on is not known; and a database that ends at one is barred from writing, however far behind the next event lies.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import update

from . import tables
from .errors import IntegrityError
from .journal import Journal
from .recorded import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .backends.base import Backend
    from .database import Database
    from .events import Event
    from .transaction import Transaction

__all__ = ["Hole", "UpToHole", "bar_writing", "look_behind"]


class Hole(NamedTuple):
    """Where a journal cannot be read on, and what is behind that and was not applied; times are µs, UTC."""

    after: int  # the last event before it
    since: int | None  # when that was
    why: str
    behind: int  # events behind it that can be read
    first: int | None  # the first of them
    last: int  # the last event that an object of the bucket is named for
    times: tuple[int, int] | None  # of the first and the last of those that can be read
    kinds: Mapping[str, int]  # how many there are of each


class UpToHole(Journal):
    """A journal that ends where it cannot be read on; `hole` says why, where that is before its end."""

    hole: str | None = None

    def events(self, after: int = 0) -> Iterator[Event]:
        """Yield the events behind one, up to a hole."""
        try:
            yield from super().events(after)
        except IntegrityError as error:
            self.hole = str(error)


def look_behind(backend: Backend, journal: UpToHole, database: Database, after: int, newest: int) -> Hole:
    """Say what is known of what comes behind the last event that could be applied."""
    since, kinds, times, first = None, Counter[str](), None, None
    for one in recorded(backend, journal, database, lambda _, __: None):
        if one.seq == after:
            since = one.event.time
        if one.seq > after and one.journal is not None:
            kinds[one.kind] += 1
            first = first or one.seq
            times = (times[0] if times else one.journal.time, one.journal.time)
    return Hole(after, since, journal.hole or "", kinds.total(), first, newest, times, kinds)


def bar_writing(tx: Transaction, newest: int) -> None:
    """Make whoever would write refuse to: more events are said to be in the journal than the database has.

    A look at the journal's tail is not enough: it sees the rest of ten thousand events, and a hole may be longer. A
    database without an event is not written with anyway.
    """
    store = tables.store
    tx.execute(update(store).values(journalled=newest).where(store.c.seq > 0, store.c.seq < newest))
