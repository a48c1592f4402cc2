"""What happened to a collection, read from its events: all of it, what moved an alias, what an alias once meant.

Knows the event rows and how events of aliases are written; changes nothing.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from ..storage import tables as storage_tables
from ..storage.events import Event
from . import tables

__all__ = ["last_move", "number_at", "read_history"]

SET, REMOVED = "alias.set", "alias.removed"
_project, _collection, _event = tables.project, tables.collection, storage_tables.event


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


def number_at(connection: Connection, collection: int, alias: str, time: int) -> int | None:
    """Return the number of the version that an alias meant at a time (µs); None where it meant none."""
    wanted = _of(connection, collection).where(_event.c.time <= time, _event.c.kind.in_([SET, REMOVED]), _about(alias))
    row = connection.execute(wanted.order_by(_event.c.seq.desc()).limit(1)).first()
    number: int | None = None if row is None else _event_of(row).data["to"]
    return number


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
