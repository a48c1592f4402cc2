"""Versions and collections as records, read in batches.

Knows rows and how they join; changes nothing. Lists and graphs of many versions cost a few statements.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from sys import intern
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from . import tables
from .records import CollectionRecord, ExternalRecord, VersionRecord
from .ref import LATEST, fold_name

__all__ = [
    "COLUMNS",
    "read_collections",
    "read_previous",
    "read_records",
    "read_references",
    "read_type",
    "read_versions",
    "version_of",
]

BATCH = 500
_project, _collection, _version = tables.project, tables.collection, tables.version
_alias, _tag, _reference = tables.alias, tables.tag, tables.reference
_Names = Mapping[int, Sequence[str]]  # by the row ids of versions

COLUMNS = ("number", "digest", "size", "file_count", "state", "created", "deleted", "actor", "description", "data")
_owned = _collection.join(_project, _project.c.id == _collection.c.project)
_refers = exists().where(_reference.c.version == _version.c.id).label("refers")
_VERSIONS = select(  # in the order in which `version_of` takes them
    _version.c.id,
    _project.c.name,
    _collection.c.name,
    _collection.c.type,
    *(_version.c[one] for one in COLUMNS),
    _refers,
).select_from(_version.join(_owned, _collection.c.id == _version.c.collection))
_ALIASES = select(_alias.c.version, _alias.c.name).order_by(_alias.c.name)
_TAGS = select(_tag.c.version, _tag.c.name).order_by(_tag.c.name)


def read_records(connection: Connection, ids: Sequence[int]) -> dict[int, VersionRecord]:
    """Return versions by row id, in the order asked for."""
    found: dict[int, VersionRecord] = {}
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        aliases = _names(connection, _ALIASES.where(_alias.c.version.in_(part)))
        tags = _names(connection, _TAGS.where(_tag.c.version.in_(part)))
        rows = connection.execute(_VERSIONS.where(_version.c.id.in_(part)))
        found.update((row[0], version_of(row, aliases.get(row[0], ()), tags.get(row[0], ()))) for row in rows)
    return {one: found[one] for one in ids if one in found}


def read_versions(connection: Connection, collection: int) -> list[VersionRecord]:
    """Return all versions of a collection in the order of their numbers; three statements for any number of them."""
    tagged = _tag.join(_version, _version.c.id == _tag.c.version)
    aliases = _names(connection, _ALIASES.where(_alias.c.collection == collection))
    tags = _names(connection, _TAGS.select_from(tagged).where(_version.c.collection == collection))
    rows = connection.execute(_VERSIONS.where(_version.c.collection == collection).order_by(_version.c.number))
    return [version_of(row, aliases.get(row[0], ()), tags.get(row[0], ())) for row in rows]


def read_previous(connection: Connection, version: VersionRecord) -> VersionRecord | None:
    """Return the version before one in its collection whose content is still there."""
    same = select(_version.c.collection).where(_version.c.id == version.id).scalar_subquery()
    earlier = select(_version.c.id).where(
        _version.c.collection == same, _version.c.number < version.number, _version.c.state != "purged"
    )
    found = connection.execute(earlier.order_by(_version.c.number.desc()).limit(1)).scalar_one_or_none()
    return None if found is None else read_records(connection, [found])[found]


def read_references(connection: Connection, digest: bytes) -> list[ExternalRecord]:
    """Return the places that a version with this content refers to, by URL."""
    same = select(func.min(_reference.c.version)).join(_version, _version.c.id == _reference.c.version)
    found = select(_reference.c.url, _reference.c.objects, _reference.c.size).where(
        _reference.c.version == same.where(_version.c.digest == digest).scalar_subquery()
    )
    return [ExternalRecord(*row) for row in connection.execute(found.order_by(_reference.c.url))]


def _names(connection: Connection, wanted: Select[tuple[Any, Any]]) -> _Names:
    out: dict[int, list[str]] = defaultdict(list)
    for version, name in connection.execute(wanted):
        out[version].append(name)
    return out


def version_of(row: Sequence[Any], aliases: Iterable[str], tags: Iterable[str]) -> VersionRecord:
    """Return a row as a record: id; project, name and type of its collection; COLUMNS; whether it refers elsewhere."""
    # Taken apart at once: a look at each column by its name takes as long as all else that is done for a row.
    id_, project, name, type_, number, digest, size, count, state, created, deleted, actor, about, data, refers = row
    return VersionRecord(
        id=id_,
        project=intern(project),  # words that many rows share are held once
        collection=intern(name),
        type=intern(type_),
        number=number,
        digest=digest,
        size=size,
        file_count=count,
        state=intern(state),
        created=created,
        deleted=deleted,
        actor=intern(actor),
        description=about,
        metadata={} if data == "{}" else json.loads(data),
        aliases=tuple(aliases),
        tags=tuple(tags),
        refers=bool(refers),
    )


def read_type(connection: Connection, project: str, name: str) -> str | None:
    """Return the type of a collection; None where there is no such collection."""
    wanted = select(_collection.c.type).select_from(_owned)
    here = wanted.where(_project.c.key == fold_name(project), _collection.c.key == fold_name(name))
    return connection.execute(here).scalar_one_or_none()


def read_collections(connection: Connection, project: str | None) -> list[CollectionRecord]:
    """Return the collections of a project, or of all, in the order of their names."""
    wanted = select(_collection, _project.c.name.label("owner")).select_from(_owned)
    found = connection.execute(
        wanted.where(*_within(project, _collection.c.id)).order_by(_project.c.key, _collection.c.key)
    ).all()
    live = select(_version.c.collection, func.count(), func.max(_version.c.created)).where(
        *_within(project, _version.c.collection), _version.c.state == "live"
    )
    counted = {one: (count, last) for one, count, last in connection.execute(live.group_by(_version.c.collection))}
    named = select(_alias.c.collection, _alias.c.name, _version.c.number, _version.c.size).join(
        _version, _version.c.id == _alias.c.version
    )
    aliases: dict[int, dict[str, int]] = defaultdict(dict)
    sizes: dict[int, int] = {}
    for one, name, number, size in connection.execute(
        named.where(*_within(project, _alias.c.collection)).order_by(_alias.c.name)
    ):
        aliases[one][name] = number
        if name == LATEST:
            sizes[one] = size
    return [
        CollectionRecord(
            project=row.owner,
            name=row.name,
            type=row.type,
            description=row.description,
            versions=counted[row.id][0] if row.id in counted else 0,
            latest=aliases[row.id].get(LATEST),
            size=sizes.get(row.id, 0),
            updated=counted[row.id][1] if row.id in counted else row.created,
            aliases=aliases[row.id],
        )
        for row in found
    ]


def _within(project: str | None, collection: ColumnElement[int]) -> Iterable[ColumnElement[bool]]:
    """Return the condition that a collection is of a project: by name, since databases take so many values only."""
    if project is None:
        return []
    return [collection.in_(select(_collection.c.id).select_from(_owned).where(_project.c.key == fold_name(project)))]
