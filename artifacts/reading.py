"""Versions and collections as records, read in batches.

Knows rows and how they join; changes nothing. A graph of many versions costs a few statements.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from ..storage.tables import rows
from . import tables
from .records import CollectionRecord, VersionRecord
from .ref import LATEST, fold_name

__all__ = ["read_collections", "read_records"]

BATCH = 500
_project, _collection, _version = rows(tables.Project), rows(tables.Collection), rows(tables.Version)
_alias, _tag = rows(tables.Alias), rows(tables.Tag)


def read_records(connection: Connection, ids: Sequence[int]) -> dict[int, VersionRecord]:
    """Return versions by row id, in the order asked for."""
    joined = _version.join(_collection, _collection.c.id == _version.c.collection).join(
        _project, _project.c.id == _collection.c.project
    )
    wanted = select(
        _version, _collection.c.name.label("name"), _collection.c.type, _project.c.name.label("owner")
    ).select_from(joined)
    found: dict[int, VersionRecord] = {}
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        aliases, tags = (
            _names(connection, part, _alias.c.version, _alias.c.name),
            _names(connection, part, _tag.c.version, _tag.c.name),
        )
        for row in connection.execute(wanted.where(_version.c.id.in_(part))):
            found[row.id] = VersionRecord(
                id=row.id,
                project=row.owner,
                collection=row.name,
                type=row.type,
                number=row.number,
                digest=row.digest,
                size=row.size,
                file_count=row.file_count,
                state=row.state,
                created=row.created,
                deleted=row.deleted,
                actor=row.actor,
                description=row.description,
                metadata=json.loads(row.data),
                aliases=tuple(aliases[row.id]),
                tags=tuple(tags[row.id]),
            )
    return {one: found[one] for one in ids if one in found}


def _names(connection: Connection, ids: Sequence[int], version: Any, name: Any) -> dict[int, list[str]]:
    out: dict[int, list[str]] = defaultdict(list)
    for row in connection.execute(select(version, name).where(version.in_(ids)).order_by(name)):
        out[row[0]].append(row[1])
    return out


def read_collections(connection: Connection, project: str | None) -> list[CollectionRecord]:
    """Return the collections of a project, or of all, in the order of their names."""
    joined = _collection.join(_project, _project.c.id == _collection.c.project)
    wanted = select(_collection, _project.c.name.label("owner")).select_from(joined)
    if project is not None:
        wanted = wanted.where(_project.c.key == fold_name(project))
    found = connection.execute(wanted.order_by(_project.c.key, _collection.c.key)).all()
    ids = [row.id for row in found]
    live = select(_version.c.collection, func.count().label("n"), func.max(_version.c.created).label("updated"))
    counted = {
        row.collection: row
        for row in connection.execute(
            live.where(_version.c.collection.in_(ids), _version.c.state == "live").group_by(_version.c.collection)
        )
    }
    named = select(_alias.c.collection, _alias.c.name, _version.c.number, _version.c.size).join(
        _version, _version.c.id == _alias.c.version
    )
    aliases: dict[int, dict[str, int]] = defaultdict(dict)
    sizes: dict[int, int] = {}
    for row in connection.execute(named.where(_alias.c.collection.in_(ids)).order_by(_alias.c.name)):
        aliases[row.collection][row.name] = row.number
        if row.name == LATEST:
            sizes[row.collection] = row.size
    return [
        CollectionRecord(
            project=row.owner,
            name=row.name,
            type=row.type,
            description=row.description,
            versions=counted[row.id].n if row.id in counted else 0,
            latest=aliases[row.id].get(LATEST),
            size=sizes.get(row.id, 0),
            updated=counted[row.id].updated if row.id in counted else row.created,
            aliases=aliases[row.id],
        )
        for row in found
    ]
