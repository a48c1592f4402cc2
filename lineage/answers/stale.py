"""What is out of date: versions made from inputs of which there are newer versions by now.

Knows edges, collections and numbers of versions; must not know how an answer is shown.
The rule is that of `stale_judge.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from ...artifacts import tables as artifact_tables
from ...artifacts.reading import read_records
from ...artifacts.ref import Ref, fold_name
from ...storage.bulk import select_in
from ..closure import UP, Found, walk
from ..newest import Member, newest_of
from .chosen import chosen_ids
from .ordering import in_order
from .stale_judge import Judge

if TYPE_CHECKING:
    from ...artifacts.catalog import Catalog
    from ...artifacts.records import VersionRecord
    from .stale_outside import Outside

__all__ = ["Behind", "StaleVersion", "Staleness", "stale_versions"]

_version, _collection, _project = artifact_tables.version, artifact_tables.collection, artifact_tables.project
_alias = artifact_tables.alias
_MEMBERS = "SELECT id, collection, number FROM version WHERE id {in}"
_LIVE = "SELECT id FROM version WHERE state = 'live' AND id {in}"


@dataclass(frozen=True, slots=True)
class Behind:
    """An input of which there is a newer version: what was used, and what there is."""

    used: VersionRecord
    newest: VersionRecord


@dataclass(frozen=True, slots=True)
class StaleVersion:
    """A version that is out of date, by the run that produced it last, if any is known."""

    version: VersionRecord
    run: str | None
    behind: tuple[Behind, ...]  # inputs that have newer versions
    through: tuple[VersionRecord, ...]  # inputs that have none, and are out of date themselves
    outside: tuple[Outside, ...] = ()  # places it refers to that changed since, where they were asked


@dataclass(frozen=True, slots=True)
class Staleness:
    """What is out of date of the versions that were asked for, in the order in which it would have to be made again."""

    versions: tuple[StaleVersion, ...]
    judged: int  # live versions that were looked at
    deleted: int  # that were asked for and are not judged
    unasked: tuple[str, ...] = ()  # why places could not be asked

    def __iter__(self) -> Iterator[StaleVersion]:
        return iter(self.versions)

    def __len__(self) -> int:
        return len(self.versions)


def stale_versions(catalog: Catalog, wanted: str | Ref | None, project: str, *, externals: bool = False) -> Staleness:
    """Return which versions are out of date, of those that a ref or a selector means.

    Without one: of the versions of the project that hold an alias, `latest` included. With `externals` the places
    outside the store are asked, over the network, whether they are what the newest versions that refer to them saw.
    Raises InvalidSelector, and NotFound for names that mean nothing.
    """
    chosen = None if wanted is None else chosen_ids(catalog, wanted, project)
    read = catalog.engine.database.read
    moved: dict[int, tuple[Outside, ...]] = {}
    unasked: tuple[str, ...] = ()
    if externals:
        from .stale_outside import look_outside  # who does not want it need not load it

        moved, unasked = look_outside(catalog, read(lambda connection: _referring(connection, chosen, project)))

    def work(connection: Connection) -> Staleness:
        live, deleted = _asked(connection, chosen, project)
        judge = _judge(connection, live, moved)
        order = in_order({one: judge.needs(one) for one in judge.roots}, judge.place)
        wanted_ids = [one for one in order if one in live]
        return Staleness(tuple(_told(connection, judge, wanted_ids, moved)), len(live), deleted, unasked)

    return read(work)


def _asked(connection: Connection, chosen: set[int] | None, project: str) -> tuple[set[int], int]:
    """Return the live versions to be judged, and how many are not live."""
    asked = _named(connection, project) if chosen is None else chosen
    live = {int(row[0]) for row in select_in(connection, _LIVE, asked)}
    return live, len(asked) - len(live)


def _referring(connection: Connection, chosen: set[int] | None, project: str) -> list[VersionRecord]:
    """Return the versions whose places matter: the newest of their collections, among those that are judged upon."""
    _, _, newest = _history(connection, _asked(connection, chosen, project)[0])
    records = read_records(connection, sorted(one.id for one in newest.values()))
    return [one for one in records.values() if one.refers]


def _named(connection: Connection, project: str) -> set[int]:
    """Return the versions of a project that hold an alias."""
    owned = select(_alias.c.version).join(_collection, _collection.c.id == _alias.c.collection)
    here = owned.join(_project, _project.c.id == _collection.c.project).where(_project.c.key == fold_name(project))
    return set(connection.execute(here).scalars())


def _judge(connection: Connection, versions: set[int], moved: Collection[int]) -> Judge:
    judge = Judge(*_history(connection, versions), moved)
    judge.judge()
    return judge


def _history(connection: Connection, versions: set[int]) -> tuple[Found, dict[int, Member], dict[int, Member]]:
    """Return versions and all that is upstream of them and of the newest versions of what they were made from."""
    found = Found()
    walk(connection, found, versions, None, UP)
    members = _members(connection, found.versions)
    newest = newest_of(connection, {one.collection for one in members.values()})
    more = {one.id for one in newest.values()} - found.versions.keys()
    if more:  # whether those came of what is judged, and whether they are out of date themselves
        walk(connection, found, more, None, UP)
        members = _members(connection, found.versions)
        newest = newest_of(connection, {one.collection for one in members.values()})
    return found, members, newest


def _members(connection: Connection, versions: Iterable[int]) -> dict[int, Member]:
    return {row[0]: Member(*row) for row in select_in(connection, _MEMBERS, versions)}


def _told(
    connection: Connection, judge: Judge, versions: Sequence[int], moved: Mapping[int, tuple[Outside, ...]]
) -> Iterator[StaleVersion]:
    """Yield what is known of versions that are out of date, with the records of all that is named."""
    reasons = {one: judge.reasons(one, judge.last_run(one)) for one in versions}
    ids = dict.fromkeys(versions)
    for one in reasons.values():
        ids.update(dict.fromkeys(number for pair in one.behind for number in pair))
        ids.update(dict.fromkeys(one.through))
    records = read_records(connection, list(ids))
    for version, one in reasons.items():
        yield StaleVersion(
            version=records[version],
            run=judge.last_run(version),
            behind=tuple(Behind(records[used], records[newest]) for used, newest in one.behind),
            through=tuple(records[number] for number in one.through),
            outside=moved.get(version, ()),
        )
