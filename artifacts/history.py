"""What happened to a collection, read from its events: all of it, what moved an alias, what an alias once meant.

Knows the event rows and how events of aliases are written; changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from ..storage import tables as storage_tables
from ..storage.errors import InvalidInput
from ..storage.events import Event
from . import tables
from .ref import LATEST, Ref
from .suggest import absent_version

if TYPE_CHECKING:
    from .catalog import Catalog
    from .records import VersionRecord

__all__ = ["BY_DELETION", "Held", "alias_at", "end_of", "last_move", "number_at", "read_history", "taken_aliases"]

SET, REMOVED = "alias.set", "alias.removed"
DELETED, PURGED = "version.deleted", "version.purged"
BY_DELETION = "was deleted"  # how the reason ends for which an alias moves or goes by itself
_project, _collection, _event = tables.project, tables.collection, storage_tables.event


@dataclass(frozen=True, slots=True)
class Held:
    """What an alias meant at a time (µs), and the events between which it did; None: not yet, or still."""

    project: str
    collection: str
    alias: str
    at: int
    version: VersionRecord | None  # as it is now; None where the alias meant no version then
    since: Event | None
    until: Event | None


def read_history(connection: Connection, collection: int, alias: str | None = None) -> list[Event]:
    """Return the events of a collection, oldest first; with an alias, those that moved it."""
    wanted = _of(connection, collection)
    if alias is not None:
        wanted = wanted.where(_event.c.kind.in_([SET, REMOVED]), _about(alias))
    return [_event_of(row) for row in connection.execute(wanted.order_by(_event.c.seq))]


def last_move(connection: Connection, collection: int, alias: str) -> Event | None:
    """Return the event that last gave an alias to a version of a collection."""
    wanted = _of(connection, collection).where(_event.c.kind == SET, _about(alias))
    row = connection.execute(wanted.order_by(_event.c.seq.desc()).limit(1)).first()
    return None if row is None else _event_of(row)


def end_of(connection: Connection, version: VersionRecord) -> list[Event]:
    """Return what became of a version that is not live: the event that last deleted it, and the one that purged it."""
    here = select(_event).where(
        _event.c.subject == f"{version.project}/{version.collection}",
        _event.c.kind.in_([DELETED, PURGED]),
        _event.c.data.contains(f'"number":{version.number},'),
    )
    rows = connection.execute(here.order_by(_event.c.seq.desc()).limit(1 + (version.state == "purged")))
    return [_event_of(row) for row in reversed(rows.all())]


def taken_aliases(connection: Connection, collection: int, number: int) -> list[str]:
    """Return the aliases but `latest` that the last deletion of a version took from it, in the order of their names.

    They were removed in the transaction that deleted it: right before, one after the other, and for the same reason.
    """
    here = _of(connection, collection)
    numbered = _event.c.data.contains(f'"number":{number},')
    last = here.where(_event.c.kind == DELETED, numbered).order_by(_event.c.seq.desc()).limit(1)
    deletion = connection.execute(last).first()
    if deletion is None:
        return []
    because = deletion.reason or f"v{number} {BY_DELETION}"
    before = here.where(_event.c.kind == REMOVED, _event.c.reason == because, _event.c.seq < deletion.seq)
    found: list[str] = []
    for event in map(_event_of, connection.execute(before.order_by(_event.c.seq.desc()))):
        if event.seq != deletion.seq - len(found) - 1:
            break
        found.append(event.data["alias"])
    return sorted(one for one in found if one != LATEST)


def number_at(connection: Connection, collection: int, alias: str, time: int) -> int | None:
    """Return the number of the version that an alias meant at a time (µs); None where it meant none."""
    event = _in_force(connection, collection, alias, time)
    number: int | None = None if event is None else event.data["to"]
    return number


def alias_at(catalog: Catalog, wanted: str | Ref, project: str) -> Held:
    """Return what the alias of a ref meant at the ref's time; without an alias, `latest`.

    NotFound where the collection never had it, InvalidInput where the ref has no time.
    """
    ref = wanted if isinstance(wanted, Ref) else Ref.parse(wanted)
    at, alias = ref.at, ref.alias or LATEST
    if at is None:
        raise InvalidInput(f"{ref} has no time; write NAME:ALIAS@TIME, such as {ref.name}:{alias}@2026-05-01")

    def work(connection: Connection) -> Held:
        collection = catalog.find_collection(connection, ref, project)
        since = _in_force(connection, collection, alias, at)
        until = _next_move(connection, collection, alias, 0 if since is None or since.seq is None else since.seq)
        event = since or until
        if event is None:
            raise absent_version(connection, collection, ref)
        owner, _, name = event.subject.rpartition("/")
        number = None if since is None else since.data["to"]
        version = None if number is None else catalog.resolve_in(connection, Ref(owner, name, number), project)
        return Held(owner, name, alias, at, version, since, until)

    return catalog.engine.database.read(work)


def _in_force(connection: Connection, collection: int, alias: str, time: int) -> Event | None:
    """Return the event that said what an alias meant at a time."""
    wanted = _moves(connection, collection, alias).where(_event.c.time <= time)
    row = connection.execute(wanted.order_by(_event.c.seq.desc()).limit(1)).first()
    return None if row is None else _event_of(row)


def _next_move(connection: Connection, collection: int, alias: str, seq: int) -> Event | None:
    """Return the first event behind one that moved an alias."""
    wanted = _moves(connection, collection, alias).where(_event.c.seq > seq)
    row = connection.execute(wanted.order_by(_event.c.seq).limit(1)).first()
    return None if row is None else _event_of(row)


def _moves(connection: Connection, collection: int, alias: str) -> Select[Any]:
    return _of(connection, collection).where(_event.c.kind.in_([SET, REMOVED]), _about(alias))


def _of(connection: Connection, collection: int) -> Select[Any]:
    joined = _collection.join(_project, _project.c.id == _collection.c.project)
    names = select(_project.c.name, _collection.c.name).select_from(joined).where(_collection.c.id == collection)
    project, name = connection.execute(names).one()
    return select(_event).where(_event.c.subject == f"{project}/{name}")


def _about(alias: str) -> ColumnElement[bool]:
    # The database picks them out: of ten thousand events, few are about one alias. Data are canonical JSON, and no
    # name has a quotation mark in it, so nothing else can read like this.
    return _event.c.data.icontains(f'"alias":"{alias}"', autoescape=True)


def _event_of(row: Row[Any]) -> Event:
    return Event(row.kind, row.subject, json.loads(row.data), row.reason, row.time, row.actor, row.seq)
