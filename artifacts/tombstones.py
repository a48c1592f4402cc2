"""Deleting versions, bringing them back, and freeing what nothing needs.

Knows versions, their names and the collector; must not know runs: which versions were made from which is handed in. A
deleted version keeps its number, its words and its bytes until a collection after its grace has purged it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, exists, func, select

from ..storage import tables as storage_tables
from ..storage.database import Transaction
from ..storage.errors import Conflict, InvalidInput, NotFound
from ..storage.gc import Collected, Collector, Marked
from . import tables
from .catalog import Catalog
from .collection import CollectionRow, move_alias, open_collection, remove_alias
from .history import BY_DELETION, taken_aliases
from .reading import read_records, read_versions
from .records import VersionRecord
from .ref import LATEST, Ref, fold_name
from .roots import Named, StoreRoots
from .upload import Progress

__all__ = [
    "GRACE",
    "Cleanup",
    "InGrace",
    "Needed",
    "aliases_taken",
    "blockers",
    "collect",
    "delete_versions",
    "restore_version",
]

GRACE = timedelta(days=7)
Needed = Callable[[Connection, int], Sequence[int]]  # from a version's row id to those of what was made from it
_DELETED, _RESTORED = BY_DELETION, "was restored"  # how the reasons end for which `latest` moves by itself
_version, _collection = tables.version, tables.collection
_event, _pin, _session = storage_tables.event, storage_tables.pin, storage_tables.session


class InGrace(NamedTuple):
    """Versions that are deleted and whose bytes are kept: until their grace is over, or a writer is done with them."""

    versions: int
    size: int  # bytes, of which others may need some
    first: int | None  # when the first may go: µs since the epoch
    last: int | None  # when the last may
    in_use: int  # versions besides whose grace is over, and on which a living session builds


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What a collection did, or would do: the versions that are gone for good now, and what became of packs."""

    purged: list[VersionRecord]
    packs: Collected
    in_grace: InGrace


# Deleting


def delete_versions(
    catalog: Catalog, versions: Sequence[VersionRecord], *, force: bool, reason: str | None, needed: Needed
) -> list[VersionRecord]:
    """Leave tombstones in the place of versions, all or none, in one transaction; what is deleted already stays so.

    Raises Conflict where an alias means one of them, or a version that is not among them was made from one, unless
    `force`, which takes the aliases away. `latest` moves to the newest version that is left, or goes with the last one.
    """
    ordered = sorted(versions, key=lambda one: (one.project, one.collection, one.number))
    ids = [one.id for one in ordered]

    def work(tx: Transaction) -> list[VersionRecord]:
        held = {(one.project, one.collection) for one in ordered}
        collections = {name: open_collection(tx, *name, None) for name in sorted(held)}
        current = list(read_records(tx.connection, ids).values())
        living = [one for one in current if one.state == "live"]
        why = blockers(tx.connection, living, needed)
        if why and not force:
            raise Conflict(f"{'; '.join(why)}; force deletes it all the same")
        for one in living:
            _bury(tx, collections[one.project, one.collection], one, reason)
        for name in sorted({(one.project, one.collection) for one in living if LATEST in one.aliases}):
            _settle_latest(tx, collections[name], living)
        return list(read_records(tx.connection, ids).values())

    return catalog.engine.write(work)


def blockers(connection: Connection, versions: Sequence[VersionRecord], needed: Needed) -> list[str]:
    """Say what needs each of some versions that are to go together: aliases, and what was made from it."""
    together = {one.id for one in versions}
    found = []
    for one in versions:
        aliases = [alias for alias in one.aliases if alias != LATEST]
        made = read_records(connection, [other for other in needed(connection, one.id) if other not in together])
        users = [other.ref for other in made.values() if other.state == "live"]
        why = [f"it is {' and '.join(aliases)}"] if aliases else []
        if users:
            more = f" and {len(users) - 3} more" if len(users) > 3 else ""
            why.append(f"{', '.join(users[:3])}{more} {'was' if len(users) == 1 else 'were'} made from it")
        if why:
            found.append(f"{one.ref} is needed: {'; '.join(why)}")
    return found


def _bury(tx: Transaction, collection: CollectionRow, version: VersionRecord, reason: str | None) -> None:
    for alias in version.aliases:
        if alias != LATEST:
            remove_alias(tx, collection, alias, reason=reason or f"{version.version} {_DELETED}")
    tx.record("version.deleted", collection.subject, _address(version), reason)


def _settle_latest(tx: Transaction, collection: CollectionRow, gone: Sequence[VersionRecord]) -> None:
    of = select(func.max(_version.c.number)).where(_version.c.collection == collection.id, _version.c.state == "live")
    newest = tx.execute(of).scalar_one()
    was = next(one for one in gone if LATEST in one.aliases and (one.project, one.collection) == collection[1:3])
    because = f"{was.version} {_DELETED}"
    if newest is None:
        remove_alias(tx, collection, LATEST, reason=because)
    else:
        move_alias(tx, collection, LATEST, newest, reason=because)


# Bringing back


def restore_version(catalog: Catalog, version: VersionRecord, *, reason: str | None) -> VersionRecord:
    """Make a deleted version live again, and `latest` if only deletions have moved that since; a live one stays.

    NotFound where it was purged: its bytes may be gone.
    """

    def work(tx: Transaction) -> VersionRecord:
        collection = open_collection(tx, version.project, version.collection, None)
        current = read_records(tx.connection, [version.id])[version.id]
        if current.state == "purged":
            raise NotFound(f"{version.ref} cannot be restored: its grace is over, and its bytes were given up")
        if current.state == "deleted":
            tx.record("version.restored", collection.subject, _address(version), reason)
            if _was_latest(tx.connection, collection, current):
                move_alias(tx, collection, LATEST, version.number, reason=f"{version.version} {_RESTORED}")
        return read_records(tx.connection, [version.id])[version.id]

    return catalog.engine.write(work)


def aliases_taken(catalog: Catalog, version: VersionRecord) -> dict[str, str | None]:
    """Return the aliases but `latest` that a version's last deletion took, and what each means now: `"v3"`, or None."""
    ref = Ref(version.project, version.collection)

    def work(connection: Connection) -> dict[str, str | None]:
        collection = catalog.find_collection(connection, ref, version.project)
        names = taken_aliases(connection, collection, version.number)
        versions = read_versions(connection, collection) if names else []
        meant = {fold_name(alias): one.version for one in versions for alias in one.aliases}
        return {alias: meant.get(fold_name(alias)) for alias in names}

    return catalog.engine.database.read(work)


def _was_latest(connection: Connection, collection: CollectionRow, version: VersionRecord) -> bool:
    """Whether a deletion took `latest` from a version, and nothing was logged since."""
    here = _event.c.subject == collection.subject
    deletion = select(func.max(_event.c.seq)).where(  # their order tells, not their times: a clock may go back
        here, _event.c.kind == "version.deleted", _event.c.data.contains(f'"number":{version.number},')
    )
    moves = select(_event.c.data, _event.c.reason).where(
        here,
        _event.c.kind.in_(("alias.set", "alias.removed")),
        _event.c.seq > deletion.scalar_subquery(),
        _event.c.data.contains(f'"alias":"{LATEST}"'),
    )
    found = connection.execute(moves.order_by(_event.c.seq)).all()
    by_itself = all((row.reason or "").endswith((_DELETED, _RESTORED)) for row in found)
    return bool(found) and by_itself and f'"from":{version.number},' in found[0].data


# Freeing


def collect(
    catalog: Catalog,
    *,
    grace: timedelta = GRACE,
    reason: str | None = None,
    named: Sequence[Named] = (),
    dry_run: bool = False,
    marked: Marked | None = None,
    progress: Progress | None = None,
) -> Cleanup:
    """Purge the versions whose grace is over, and free every byte that nothing needs; `named` are chunks of others.

    With `dry_run` it changes nothing and says what it would do; what it `marked` need not be marked by the collection
    that follows.
    """
    if grace < timedelta(0):
        raise InvalidInput("a grace period is not negative")
    engine = catalog.engine

    def tick() -> None:
        if progress is not None:
            progress(1, 0)

    span = int(grace / timedelta(microseconds=1))
    if dry_run:
        now = engine.database.write(lambda tx: tx.now())
        due = engine.database.read(lambda connection: _due(connection, now, span))
        roots = StoreRoots(engine, named, without=[one.id for one in due])
        in_grace = engine.database.read(lambda connection: _in_grace(connection, now, span))
        return Cleanup(due, Collector(engine, roots, tick=tick).preview(marked), in_grace)
    engine.begin_writing()
    engine.journal.check_tail()
    now, purged = _purge(catalog, span, reason)
    in_grace = engine.database.read(lambda connection: _in_grace(connection, now, span))
    packs = Collector(engine, StoreRoots(engine, named), reason=reason, tick=tick).run(marked)
    return Cleanup(purged, packs, in_grace)


def _purge(catalog: Catalog, span: int, reason: str | None) -> tuple[int, list[VersionRecord]]:
    """Give up the bytes of versions whose grace is over, one collection a transaction, and say what time it was."""
    engine = catalog.engine
    now = engine.database.write(lambda tx: tx.now())
    due = engine.database.read(lambda connection: _due(connection, now, span))

    def work(tx: Transaction, name: tuple[str, str], ids: frozenset[int]) -> list[VersionRecord]:
        collection = open_collection(tx, *name, None)
        still = [one for one in _due(tx.connection, tx.now(), span) if one.id in ids]  # as it is under the lock
        for one in still:
            tx.record("version.purged", collection.subject, _address(one), reason or "its grace is over")
        return still

    purged: list[VersionRecord] = []
    for name, group in groupby(due, key=lambda one: (one.project, one.collection)):
        purged += engine.write(partial(work, name=name, ids=frozenset(one.id for one in group)))
    return now, purged


def _due(connection: Connection, now: int, span: int) -> list[VersionRecord]:
    """Return the deleted versions whose grace is over and on which no living session builds, by collection."""
    wanted = select(_version.c.id).where(*_over(now, span), ~_built_on(now))
    ids = connection.execute(wanted.order_by(_version.c.collection, _version.c.number)).scalars().all()
    return list(read_records(connection, ids).values())


def _in_grace(connection: Connection, now: int, span: int) -> InGrace:
    deleted = _version.c.deleted
    what = select(func.count(), func.coalesce(func.sum(_version.c.size), 0), func.min(deleted), func.max(deleted))
    found = what.where(_version.c.state == "deleted", deleted > now - span)
    count, size, *ends = connection.execute(found).one()
    in_use = connection.execute(select(func.count()).where(*_over(now, span), _built_on(now))).scalar_one()
    first, last = (None if one is None else one + span for one in ends)
    return InGrace(count, int(size), first, last, in_use)


def _over(now: int, span: int) -> tuple[ColumnElement[bool], ...]:
    """Whether a version is deleted and its grace is over."""
    return _version.c.state == "deleted", _version.c.deleted <= now - span


def _built_on(now: int) -> ColumnElement[bool]:
    """Whether a living session builds on a version."""
    return exists().where(_pin.c.digest == _version.c.digest, _pin.c.session == _session.c.id, _session.c.expires > now)


def _address(version: VersionRecord) -> dict[str, object]:
    return {"project": version.project, "collection": version.collection, "number": version.number}
