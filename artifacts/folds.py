"""Folds: from events of projects, collections, versions and aliases to rows.

The only code that writes these rows. Folds run again after years, on another database, so they use natural keys only.
A rebuild runs them by the hundred thousand: a statement is made once, here, and holds places for its values, for making
one takes ten times as long as running it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..storage.digest import Digest
from . import tables
from .ref import fold_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..storage.events import Event, Fold

__all__ = ["FOLDS", "project_row", "version_row"]

_project, _collection, _version = tables.project, tables.collection, tables.version
_alias, _tag, _reference = tables.alias, tables.tag, tables.reference
_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

_PROJECT = select(_project.c.id).where(_project.c.key == bindparam("project"))
_COLLECTION = (
    select(_collection.c.id)
    .join(_project, _project.c.id == _collection.c.project)
    .where(_project.c.key == bindparam("project"), _collection.c.key == bindparam("collection"))
)
_VERSION = _COLLECTION.join(_version, _version.c.collection == _collection.c.id).where(
    _version.c.number == bindparam("number")
)
_VERSION_ROW = _VERSION.with_only_columns(_version.c.id)
_VERSION_AND_COLLECTION = _VERSION.with_only_columns(_version.c.id, _collection.c.id)

_NEW_PROJECT, _NEW_COLLECTION, _NEW_VERSION = insert(_project), insert(_collection), insert(_version)
_NEW_ALIAS, _NEW_TAG, _NEW_REFERENCE = insert(_alias), insert(_tag), insert(_reference)
# What is set are the columns that a fold gives values for.
_CHANGE_COLLECTION = update(_collection).where(_collection.c.id == bindparam("at"))
_CHANGE_VERSION = update(_version).where(_version.c.id == bindparam("at"))
_MOVE_ALIAS = update(_alias).where(_alias.c.collection == bindparam("at"), _alias.c.key == bindparam("named"))
_DROP_ALIAS = delete(_alias).where(_alias.c.collection == bindparam("at"), _alias.c.key == bindparam("named"))
_DROP_TAGS = delete(_tag).where(_tag.c.version == bindparam("at"))


def project_row(connection: Connection, name: str) -> int:
    """Return the row id of a project by its name; NoResultFound where there is none."""
    return int(connection.execute(_PROJECT, {"project": fold_name(name)}).scalar_one())


def version_row(connection: Connection, data: Mapping[str, Any]) -> int:
    """Return the row id of the version that an event names by project, collection and number; NoResultFound."""
    return int(connection.execute(_VERSION_ROW, _named(data, number=data["number"])).scalar_one())


def _collection_row(connection: Connection, data: Mapping[str, Any]) -> int:
    return int(connection.execute(_COLLECTION, _named(data)).scalar_one())


def _named(data: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"project": fold_name(data["project"]), "collection": fold_name(data["collection"]), **more}


def _fold_project(connection: Connection, event: Event) -> None:
    name = event.data["project"]
    connection.execute(_NEW_PROJECT, {"name": name, "key": fold_name(name), "created": event.time})


def _fold_collection(connection: Connection, event: Event) -> None:
    data = event.data
    row = {
        "project": project_row(connection, data["project"]),
        "name": data["collection"],
        "key": fold_name(data["collection"]),
        "type": data["type"],
        "next_number": 0,
        "created": event.time,
    }
    connection.execute(_NEW_COLLECTION, row)


def _fold_version(connection: Connection, event: Event) -> None:
    data = event.data
    collection = _collection_row(connection, data)
    row = {
        "collection": collection,
        "number": data["number"],
        "digest": bytes(Digest.parse(data["digest"])),
        "size": data["size"],
        "file_count": data["file_count"],
        "state": "live",
        "created": event.time,
        "actor": event.actor,
        "description": data["description"],
        "data": _json(data["metadata"]),
    }
    connection.execute(_NEW_VERSION, row)
    places: Sequence[Mapping[str, Any]] = data.get("references", ())
    if places:
        version = version_row(connection, data)
        rows = [{"version": version, **{name: one[name] for name in ("url", "objects", "size")}} for one in places]
        connection.execute(_NEW_REFERENCE, rows)
    connection.execute(_CHANGE_COLLECTION, {"at": collection, "next_number": data["number"] + 1})


def _fold_alias_set(connection: Connection, event: Event) -> None:
    data = event.data
    version, collection = connection.execute(_VERSION_AND_COLLECTION, _named(data, number=data["to"])).one()
    key, row = fold_name(data["alias"]), {"name": data["alias"], "version": version}
    if connection.execute(_MOVE_ALIAS, {"at": collection, "named": key, **row}).rowcount == 0:
        connection.execute(_NEW_ALIAS, {"collection": collection, "key": key, **row})


def _fold_alias_removed(connection: Connection, event: Event) -> None:
    collection = _collection_row(connection, event.data)
    connection.execute(_DROP_ALIAS, {"at": collection, "named": fold_name(event.data["alias"])})


def _fold_edited(connection: Connection, event: Event) -> None:
    data = event.data
    version = version_row(connection, data)
    changed: dict[str, Any] = {}
    if "description" in data:
        changed["description"] = data["description"]
    if "metadata" in data:
        changed["data"] = _json(data["metadata"])
    if changed:
        connection.execute(_CHANGE_VERSION, {"at": version, **changed})
    if "tags" in data:
        connection.execute(_DROP_TAGS, {"at": version})
        tags: Sequence[str] = data["tags"]
        if tags:
            connection.execute(_NEW_TAG, [{"version": version, "name": tag} for tag in tags])


def _fold_deleted(connection: Connection, event: Event) -> None:
    _set_state(connection, event, state="deleted", deleted=event.time)


def _fold_restored(connection: Connection, event: Event) -> None:
    _set_state(connection, event, state="live", deleted=None)


def _fold_purged(connection: Connection, event: Event) -> None:
    _set_state(connection, event, state="purged")


def _set_state(connection: Connection, event: Event, **values: Any) -> None:
    connection.execute(_CHANGE_VERSION, {"at": version_row(connection, event.data), **values})


FOLDS: dict[str, Fold] = {
    "project.created": _fold_project,
    "collection.created": _fold_collection,
    "version.logged": _fold_version,
    "version.edited": _fold_edited,
    "version.deleted": _fold_deleted,
    "version.restored": _fold_restored,
    "version.purged": _fold_purged,
    "alias.set": _fold_alias_set,
    "alias.removed": _fold_alias_removed,
}
