"""One run, whole: its record, how it ended, the runs around it, what it used and what it made; and which run is meant.

Knows runs, edges and events; must not know how a run is shown, or the texts that it recorded. Changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Select, select

from ..artifacts.reading import read_records
from ..storage import tables as storage_tables
from ..storage.errors import Conflict, NotFound
from . import tables
from .closure import edges_of_runs
from .runs import CRASHED, PRODUCED, USED, RunRecord, iso_time, read_runs, subject_of

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from .ledger import Ledger

__all__ = ["Account", "Made", "Used", "account_of", "find_run"]

PREFIX = "run:"  # as graphs and events write it
SHOWN = 5  # runs that a message names
RECENT = 2000  # runs among which the nearest are looked for
_run, _event = tables.run, storage_tables.event


class Used(NamedTuple):
    """A version that a run used, and the aliases under which it asked for it."""

    version: VersionRecord
    aliases: tuple[str, ...]


class Made(NamedTuple):
    """A version that a run produced; `metadata` is what it gave where the content existed with other metadata."""

    version: VersionRecord
    metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of one run. `reason` says why it failed or crashed, where that was recorded.

    `parent` is the run in which it began, `children` those that began in it; `repeats` are runs that it makes again,
    and `repeated` those that make it again.
    """

    record: RunRecord
    reason: str | None
    parent: RunRecord | None
    children: tuple[RunRecord, ...]
    repeats: tuple[RunRecord, ...]
    repeated: tuple[RunRecord, ...]
    used: tuple[Used, ...]
    made: tuple[Made, ...]

    def __repr__(self) -> str:
        from ..storage.brief import brief, names

        sides = [
            names(what, [one.version.ref for one in side]) for what, side in (("used", self.used), ("made", self.made))
        ]
        return brief(f"Account of run {self.record.id}", self.record.state, self.reason, *sides)


def find_run(ledger: Ledger, text: str) -> RunRecord:
    """Return the run that an id means, or a prefix that no other id has; `run:` may stand in front.

    NotFound names the nearest runs, Conflict those that the prefix could mean.
    """
    wanted = text.removeprefix(PREFIX)
    return ledger.get(ledger.catalog.engine.database.read(lambda connection: _find(connection, wanted)))


def account_of(ledger: Ledger, run: str) -> Account:
    """Return what is known of the run that an id, or a unique prefix of one, means; raises what `find_run` does."""
    record = find_run(ledger, run)
    return ledger.catalog.engine.database.read(lambda connection: _account(connection, record))


def _account(connection: Connection, record: RunRecord) -> Account:
    used = edges_of_runs(connection, [record.id], USED)
    made = edges_of_runs(connection, [record.id], PRODUCED)
    versions = read_records(connection, sorted({edge.version for edge in (*used, *made)}))
    known = {edge.id: json.loads(edge.data) if edge.data else {} for edge in (*used, *made)}
    outer = record.code.get("parent")
    parent = read_runs(connection, [outer]) if isinstance(outer, str) else {}
    return Account(
        record,
        _reason(connection, record),
        parent.get(outer) if isinstance(outer, str) else None,
        _naming(connection, record.id, "parent"),
        tuple(read_runs(connection, record.repeats).values()),
        _naming(connection, record.id, "again"),
        tuple(Used(versions[edge.version], tuple(known[edge.id].get("aliases", ()))) for edge in used),
        tuple(Made(versions[edge.version], known[edge.id].get("metadata")) for edge in made),
    )


def _reason(connection: Connection, record: RunRecord) -> str | None:
    """Return why a run ended as it did; of one that is only taken for crashed, why it is."""
    if record.state == CRASHED and record.ended is None:
        return f"it is taken for crashed: its last sign of life was at {iso_time(record.heartbeat)}"
    kinds = ("run.finished", "run.crashed")
    ends = select(_event.c.reason).where(_event.c.subject == subject_of(record.id), _event.c.kind.in_(kinds))
    found: str | None = connection.execute(ends.order_by(_event.c.seq.desc()).limit(1)).scalar_one_or_none()
    return found if record.ended is not None else None


def _naming(connection: Connection, run: str, key: str) -> tuple[RunRecord, ...]:
    """Return the runs that name a run under a key of what they recorded of their code, oldest first."""
    quoted = json.dumps(run)
    text = _run.c.code.contains(quoted, autoescape=True)
    ids = connection.execute(select(_run.c.id).where(text, _run.c.id != run).order_by(_run.c.created, _run.c.id))
    found = read_runs(connection, ids.scalars().all()).values()
    return tuple(one for one in found if _names(one.code.get(key), run))


def _names(value: Any, run: str) -> bool:
    return value == run or (isinstance(value, list) and run in value)


# Finding


def _find(connection: Connection, wanted: str) -> str:
    if not wanted or not wanted.isprintable():  # no id is; and no database can be asked for some of that
        raise _absent(connection, wanted, [])
    if connection.execute(select(_run.c.id).where(_run.c.id == wanted)).first() is not None:
        return wanted
    begin = _run.c.id.startswith(wanted, autoescape=True)
    rows = connection.execute(_newest().where(begin)).all()
    meant = [row for row in rows if row.id.startswith(wanted)]  # databases do not agree on case
    if len(meant) == 1:
        return str(meant[0].id)
    if meant:
        more = f" and {len(meant) - SHOWN:,} more" if len(meant) > SHOWN else ""
        raise Conflict(f"{wanted!r} could be {len(meant):,} runs: {_listed(meant)}{more}; give more of the id")
    raise _absent(connection, wanted, connection.execute(_newest().where(_run.c.name == wanted).limit(SHOWN + 1)).all())


def _absent(connection: Connection, wanted: str, named: Sequence[Any]) -> NotFound:
    """Say that no run has an id, and which bear it as a name, or have one like it."""
    if named:
        more = "" if len(named) <= SHOWN else " and more"
        return NotFound(f"no run has the id {wanted!r}, but that name: {_listed(named)}{more}")
    recent = connection.execute(_newest().limit(RECENT)).all()
    if not recent:
        return NotFound(f"no run {wanted!r}: the store has no runs")
    close = get_close_matches(wanted, [row.id for row in recent], n=SHOWN, cutoff=0.5)
    near = [row for row in recent if row.id in close] or recent[:SHOWN]
    which = "near it" if close else "the newest"
    return NotFound(f"no run {wanted!r}; {which}: {_listed(near)}; `art runs` lists them")


def _newest() -> Select[Any]:
    return select(_run.c.id, _run.c.name).order_by(_run.c.created.desc(), _run.c.id)


def _listed(rows: Any) -> str:
    return ", ".join(row.id if row.name == row.id else f'{row.id} "{row.name}"' for row in rows[:SHOWN])
