"""What a version touches: all that was made from it, and which of that holds an alias, so that somebody relies on it.

Knows aliases, places outside the store and running runs; must not know how versions are reached from one another
(`impact_reach.py`), or how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from ...artifacts import tables as artifact_tables
from ...artifacts.reading import read_records
from ...artifacts.ref import LATEST, Ref
from ...storage.bulk import select_in
from ...storage.errors import NotFound
from ..runs import RUNNING, RunRecord
from .chosen import chosen_ids
from .impact_past import HeldBefore, held_before
from .impact_reach import DRAFT, RUN, SAME, Step, reach, steps_of

if TYPE_CHECKING:
    from ...artifacts.records import VersionRecord
    from ..ledger import Ledger

__all__ = ["DRAFT", "RUN", "SAME", "HeldBefore", "Impact", "Touched", "impact_of"]

_reference = artifact_tables.reference
_REFERRING = "SELECT version FROM reference WHERE url {in}"
_JOBS = "SELECT id, job_type FROM run WHERE id {in}"
_RUNNING = "SELECT id FROM run WHERE state = 'running' AND id {in}"


@dataclass(frozen=True, slots=True)
class Touched:
    """A version that something is made from or is, how far from there it stands, and by which step it was reached.

    `steps` counts runs and drafts on the shortest way. `how` is its last step: a `run` used the version `before`, a
    `draft` was changed from that, or it holds the `same` files, which is no step; None for what was asked for.
    `names` are its aliases but `latest`.
    """

    version: VersionRecord
    steps: int
    how: str | None
    before: str | None  # the ref of the version that the last step leads from
    run: str | None
    job_type: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Its aliases, which somebody gave it; `latest` is given by itself."""
        return tuple(one for one in self.version.aliases if one != LATEST)


@dataclass(frozen=True, slots=True)
class Impact:
    """What versions touch, they themselves included, each part nearest first."""

    of: tuple[VersionRecord, ...]
    same: tuple[VersionRecord, ...]  # what else holds the same files as one of these, by project, name and number
    named: tuple[Touched, ...]  # what holds an alias other than `latest`
    others: tuple[Touched, ...]
    running: tuple[RunRecord, ...]  # runs that have used any of it and have not ended
    held_before: tuple[HeldBefore, ...]  # aliases that any of it held and lost, what was lost last first

    def __len__(self) -> int:
        return len(self.named) + len(self.others)

    def ways(self, those: Iterable[Touched]) -> dict[str, tuple[str, ...]]:
        """Return the shortest way to each, by its ref: refs of versions from one that was asked for to itself."""
        before = {one.version.ref: one.before for one in (*self.named, *self.others)}
        return {one.version.ref: _way(before, one.version.ref) for one in those}


def impact_of(ledger: Ledger, wanted: str | Ref, project: str) -> Impact:
    """Return what the versions that a ref or a selector means touch, deleted ones included.

    What holds the same files is the same data, under whatever name, and what a draft was changed from is touched by it.
    A URL means the versions that refer to it: to that object, to a folder that it lies in, or to something below it.
    Raises InvalidSelector, and NotFound for names that mean nothing and URLs that nothing refers to.
    """
    url = wanted if isinstance(wanted, str) and "://" in wanted else None
    named = set() if url is not None else chosen_ids(ledger.catalog, wanted, project)

    def work(connection: Connection) -> tuple[list[VersionRecord], list[Touched], list[str], list[HeldBefore]]:
        chosen = sorted(named if url is None else _referring(connection, url))
        reached = reach(connection, chosen)
        found = reached.found
        records = read_records(connection, list(found.versions))
        jobs: dict[str, str | None] = {row[0]: row[1] for row in select_in(connection, _JOBS, found.runs)}
        touched = [_touched(step, records, jobs) for step in steps_of(reached, chosen)]
        running = sorted(row[0] for row in select_in(connection, _RUNNING, found.runs))
        return [records[one] for one in chosen], touched, running, held_before(connection, records.values())

    of, touched, running, past = ledger.catalog.engine.database.read(work)
    touched.sort(key=lambda one: (one.steps, one.version.project, one.version.collection, one.version.number))
    judged = (ledger.get(one) for one in running)  # one whose heartbeat has vanished is not running
    return Impact(
        of=tuple(of),
        same=tuple(one.version for one in touched if one.steps == 0 and one.how == SAME),
        named=tuple(one for one in touched if one.names),
        others=tuple(one for one in touched if not one.names),
        running=tuple(one for one in judged if one.state == RUNNING),
        held_before=tuple(past),
    )


def _referring(connection: Connection, url: str) -> set[int]:
    """Return the versions that refer to a place outside the store."""
    places = connection.execute(select(_reference.c.url).distinct()).scalars()
    meant = [one for one in places if _is_within(url, one) or _is_within(one, url)]
    found = {int(row[0]) for row in select_in(connection, _REFERRING, meant)}
    if not found:
        raise NotFound(f"no version refers to {url}")
    return found


def _is_within(url: str, place: str) -> bool:
    """Whether a URL is a place or lies below it.

    >>> _is_within("s3://corpus/web/1.txt", "s3://corpus/web/"), _is_within("s3://corpus/website/1", "s3://corpus/web")
    (True, False)
    """
    folder = place.rstrip("/")
    return url.rstrip("/") == folder or url.startswith(f"{folder}/")


def _touched(step: Step, records: Mapping[int, VersionRecord], jobs: Mapping[str, str | None]) -> Touched:
    before = None if step.before is None else records[step.before].ref
    job = None if step.run is None else jobs.get(step.run)
    return Touched(records[step.version], step.steps, step.how, before, step.run, job)


def _way(before: Mapping[str, str | None], ref: str) -> tuple[str, ...]:
    way = [ref]
    while (one := before[way[-1]]) is not None:
        way.append(one)
    return tuple(reversed(way))
