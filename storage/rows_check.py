"""Whether a database's rows are what its events say: counted, and the first of what differs said in people's words.

Knows what it is told of tables (`Compared`) and the events; changes nothing. A repair says by the same words what it
would change, and what it has changed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from . import tables
from .recorded import events_between
from .rows import Compared, Difference, Look, Plan, moment, plans, times
from .sqlite import any_text, raw_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from .database import Database
    from .shadow import Shadow

__all__ = [
    "COMPARED",
    "LISTED",
    "NOW",
    "PASSED",
    "THEN",
    "RowReport",
    "Tense",
    "WrongRow",
    "compare_rows",
    "find_wrong",
]

LISTED = 20  # that are described; the others are counted
LONGEST = 60  # characters of a value that are printed
_PLAIN = re.compile(r"[\w./:@+=-]+")
_LABELS = {"created": "its creation", "deleted": "its deletion", "ended": "its end"}
_event, _store = tables.event, tables.store

COMPARED = (
    Compared(
        tables.store,
        ("store_id",),
        passed={
            "id": "there is one row",
            "seq": "a count of the events, which are compared one by one",
            "journalled": "how far the journal is known to be, which is looked at there",
        },
        called=lambda _, __: "store",
        about=lambda _, __: _event.c.kind == "store.created",
        said=times("created"),
    ),
)

# Tables that no event makes, or that are compared in another way.
PASSED: Mapping[str, str] = {
    "event": "compared with the journal line by line, before its rows are folded",
    "pack": "follows from the packs in the bucket, with which it is compared, and from writers and collectors at work",
    "chunk": "follows from the packs in the bucket, with whose footers it is compared",
    "session": "writers of the moment",
    "pin": "what writers of the moment build on",
    "stray": "when a collector first saw an object that nobody knows",
    "commit_mark": "transactions of the last day, should their connection have been lost",
}


class Tense(NamedTuple):
    """How it is said what a row is, or was: the other side is the journal, which stays as it is."""

    says: str
    only_here: str
    only_there: str
    is_another: str


NOW = Tense("says", "in the database{} and not in the journal", "in the journal{} and not in the database", "is")
THEN = Tense(
    "said", "was in the database{} and is not in the journal", "is in the journal{} and was not in the database", "was"
)


@dataclass(frozen=True, slots=True)
class WrongRow:
    """One row that is not what the events say; `what` says it in words.

    `here` is what the database has, `journal` what the events say: by column, only what differs of a row that both
    have; None where there is no such row. The last event about it was at `since` (µs, UTC), by `actor`.
    """

    table: str
    thing: str
    what: str
    here: dict[str, Any] | None
    journal: dict[str, Any] | None
    since: int | None = None
    actor: str | None = None


@dataclass(slots=True)
class RowReport:
    """What comparing rows found: the first of those that differ, how many there are by table, and up to which event.

    At most `listed` are described, or all.
    """

    seq: int = 0
    wrong: list[WrongRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    listed: int | None = LISTED

    @property
    def more(self) -> int:
        """How many differ beside those that are described."""
        return self.counts.total() - len(self.wrong)

    @property
    def room(self) -> int | None:
        """How many more are described; None: all."""
        return None if self.listed is None else max(self.listed - len(self.wrong), 0)

    def add(self, row: WrongRow) -> None:
        """Count a row, and describe it if there is room."""
        self.counts[row.table] += 1
        self.wrong += [row][: self.room]

    def join(self, later: RowReport) -> None:
        """Add what was found later."""
        self.counts += later.counts
        self.wrong += later.wrong[: self.room]


def compare_rows(database: Database, shadow: Shadow, compared: Sequence[Compared]) -> RowReport:
    """Compare a database's rows with a shadow, in one snapshot.

    Events that were committed since the shadow was made are folded into it first, from the database, so that others
    may be writing. Raises IntegrityError for an event that cannot be applied.
    """
    ordered = plans(compared)

    def work(connection: Connection) -> RowReport:  # may be called again, over a later snapshot
        until: int = connection.execute(select(_store.c.seq)).scalar_one()
        shadow.fold(events_between(connection, shadow.seq, until))
        report = RowReport(shadow.seq)
        find_wrong(report, Look(connection, shadow.connection), ordered)
        return report

    return database.read(work)


def find_wrong(report: RowReport, look: Look, ordered: Sequence[Plan], tense: Tense = NOW) -> None:
    """Add to a report which rows of some tables are not what the events say."""
    found: list[tuple[Plan, Difference]] = []
    room = report.room
    for plan in ordered:
        for one in plan.differences(look.here, look.journal):
            report.counts[one.table] += 1
            if room is None or len(found) < room:
                found.append((plan, one))
    with any_text(look.here):  # once all are read: nothing may be asked beside a cursor
        report.wrong += [_described(plan, _printable(one), look, tense) for plan, one in found]


def _described(plan: Plan, one: Difference, look: Look, tense: Tense) -> WrongRow:
    of = plan.compared
    last = select(_event.c.time, _event.c.actor).where(of.about(one, look)).order_by(_event.c.seq.desc()).limit(1)
    event = look.journal.execute(last).first()
    what = _said(of, one, tense)
    if event is not None:
        what += f" (since {moment(event.time)[:16].replace('T', ' ')} UTC by {event.actor})"
    here, journal = (None if side is None else dict(side) for side in (one.here, one.journal))
    since, actor = (None, None) if event is None else (event.time, event.actor)
    return WrongRow(one.table, _escaped(of.called(one, look)), what, here, journal, since, actor)


def _printable(one: Difference) -> Difference:
    r"""Write bytes that are no text as `\xff`: they can be neither printed nor looked up."""
    here = None if one.here is None else {name: _escaped(value) for name, value in one.here.items()}
    return replace(one, key=_escaped(one.key), here=here)


def _escaped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_escaped, value))
    return raw_text(value).decode(errors="backslashreplace") if isinstance(value, str) else value


def _said(of: Compared, one: Difference, tense: Tense) -> str:
    if one.journal is None:
        return tense.only_here.format(_what_it_is(of, one.here))
    if one.here is None:
        return tense.only_there.format(_what_it_is(of, one.journal))
    parts = []
    for column, value in one.here.items():
        label = of.labels.get(column, _LABELS.get(column, f"its {column}"))
        ours, theirs = _short(of.said(column, value)), _short(of.said(column, one.journal[column]))
        if ours is None or theirs is None:
            parts.append(f"{label or 'it'} {tense.is_another} another in the database than in the journal")
        else:
            parts.append(f"{label and label + ': '}the database {tense.says} {ours}, the journal says {theirs}")
    return "; ".join(parts)


def _what_it_is(of: Compared, row: Mapping[str, Any] | None) -> str:
    """Print what a row is for, of those that are for one thing: what an alias means."""
    found = [of.said(column, value) for column, value in (row or {}).items() if of.labels.get(column) == ""]
    return f" ({found[0]})" if found else ""


def _short(text: str | None) -> str | None:
    """Print a value; None for one that is too long for a line."""
    if text is None:
        return "nothing"
    if len(text) > LONGEST:
        return None
    return text if _PLAIN.fullmatch(text) else f'"{text}"'
