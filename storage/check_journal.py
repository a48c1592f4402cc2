"""Checking the journal: whether the events in the bucket are those of the database, and its rows what events say.

Knows events, and of tables what it is told; changes nothing. Others may be writing meanwhile.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import IntegrityError
from .recorded import Recorded, recorded, unnumbered
from .rows_check import compare_rows
from .shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .check import CheckReport
    from .engine import Engine
    from .rows import Compared

__all__ = ["ANOTHER", "check_journal"]

ANOTHER = "is another in the bucket than in the database"  # how what is said of an event ends
LISTED = 20  # events that are named one by one
SUBJECTS = 3  # of events that are missing together
STEP = 1000  # events between two words about progress


def check_journal(
    engine: Engine,
    report: CheckReport,
    compared: Sequence[Compared] = (),
    tell: Callable[[int], None] = lambda _: None,
    look: Callable[[Recorded], None] = lambda _: None,
) -> None:
    """Compare the journal in the bucket with the events in the database; with `compared`, its rows with both.

    Rows are compared with what the journal says, and where that lacks an event, with the database's. `tell` is told of
    how many events more it is through, and `look` is shown each of them. Raises FormatTooNew for a kind of event that
    is not known.
    """
    walk = _Events(engine, report).each(tell, look)
    if not compared:
        deque(walk, maxlen=0)
        return
    with Shadow(engine.database.store_id, engine.database.folds) as shadow:
        try:
            shadow.fold(one.event for one in walk)
            report.rows = compare_rows(engine.database, shadow, compared)
        except IntegrityError as error:
            report.wrong("database", f"its rows cannot be compared with the journal: {error}")
            deque(walk, maxlen=0)
            return
    for row in report.rows.wrong:
        report.wrong(row.thing, row.what)
    if report.rows.more:
        counts = ", ".join(f"{table} {count:,}" for table, count in report.rows.counts.items())
        report.wrong(
            "database",
            f"{report.rows.more:,} more rows are not what the journal says; of each table: {counts};"
            " `art repair database --dry-run --all` lists every one",
        )


@dataclass(slots=True)
class _Span:
    """Events in a row, and the first few things that they happened to."""

    first: int
    last: int
    subjects: list[str]
    others: bool = False

    def add(self, seq: int, subject: str) -> None:
        self.last = seq
        if subject not in self.subjects:
            self.others = self.others or len(self.subjects) == SUBJECTS
            self.subjects = [*self.subjects, subject][:SUBJECTS]

    def __str__(self) -> str:
        some = ", ".join(self.subjects) + (" and others" if self.others else "")
        if self.first == self.last:
            return f"event {self.first} ({some}) is"
        return f"events {self.first} to {self.last} ({some}) are"


class _Events:
    """The walk through all events; what is wrong with them is said on the way and at its end."""

    def __init__(self, engine: Engine, report: CheckReport) -> None:
        self._engine = engine
        self._report = report
        store = engine.database.store()
        self._seq, self._journalled = store.seq, store.journalled
        self._counted = self._differing = self._last = 0
        self._unknown: list[_Span] = []  # that the journal has and the database has not
        self._missing: list[_Span] = []  # the other way round
        if self._journalled < self._seq:
            waiting = self._seq - self._journalled
            report.notes.append(f"{waiting} events are not in the journal yet; the next write puts them there")

    def each(self, tell: Callable[[int], None], look: Callable[[Recorded], None]) -> Iterator[Recorded]:
        """Yield every event."""
        engine, done = self._engine, 0
        for one in recorded(engine.backend, engine.journal, engine.database, self._trouble):
            self._look(one)
            look(one)
            yield one
            done += 1
            if done == STEP:
                tell(done)
                done = 0
        tell(done)
        self._conclude()

    def _trouble(self, last: int, why: str) -> None:
        if last < self._journalled:
            self._report.wrong("journal", why)
        else:
            self._report.notes.append(f"the next write mends this: {why}")  # half of a flush, which nobody was promised

    def _look(self, one: Recorded) -> None:
        if one.row is None:
            _add(self._unknown, one)
            return
        self._report.events += 1
        self._counted += one.seq <= self._seq
        self._last = one.seq
        if one.journal is None and one.seq <= self._journalled:
            _add(self._missing, one)
        elif not one.same:
            self._differing += 1
            if self._differing <= LISTED:
                self._report.wrong("journal", f"event {one.seq} {ANOTHER}")

    def _conclude(self) -> None:
        wrong = self._report.wrong
        none = self._engine.database.read(unnumbered)
        if none:
            what = f"{len(none):,} rows of events have a number that no event has, {none[0]} among them"
            wrong("database", f"{what}; `art repair database` removes them")
        if self._differing > LISTED:
            wrong("journal", f"{self._differing - LISTED:,} more events are others in the bucket than in the database")
        if self._counted != self._seq or self._last > self._engine.database.store().seq:
            wrong("database", f"{self._report.events} events are there, {self._seq} were recorded")
        if self._journalled > self._seq:
            wrong("database", f"{self._seq} events were recorded, and {self._journalled} are said to be in the journal")
        for span in self._unknown[:LISTED]:
            wrong("database", f"{span} in the journal and not in the database; `art repair database` brings them back")
        for span in self._missing[:LISTED]:
            lacks = "a database that is rebuilt from the bucket would lack what they say"
            wrong(
                "journal", f"{span} in the database and not in the journal; {lacks}; `art repair journal` writes them"
            )
        for where, more in (("database", self._unknown[LISTED:]), ("journal", self._missing[LISTED:])):
            if more:
                wrong(where, f"{sum(one.last - one.first + 1 for one in more):,} more events are missing")


def _add(spans: list[_Span], one: Recorded) -> None:
    if spans and spans[-1].last == one.seq - 1:
        spans[-1].add(one.seq, one.subject)
    else:
        spans.append(_Span(one.seq, one.seq, [one.subject]))
