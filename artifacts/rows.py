"""What is compared of the rows of projects, collections, versions and their names, and how people call one.

Knows columns and words; how rows are compared is for storage. What is not compared is named here, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select

from ..storage import tables as storage_tables
from ..storage.rows import ROW_ID, Compared, Difference, Look, shown, times
from . import tables
from .tables import collection as _collection
from .tables import project as _project

if TYPE_CHECKING:
    from sqlalchemy import Table

__all__ = ["COMPARED", "collection_called", "version_about", "version_called"]

_event = storage_tables.event


def _said_version(column: str, value: Any) -> str | None:
    """Print what an alias means as people write it: `v7`."""
    if column == "version" and isinstance(value, tuple) and value[-1] is not None:
        return f"v{value[-1]}"
    return shown(column, value)


def collection_called(look: Look, project: str | None, key: str | None) -> str:
    """Return a collection's address as people write it; of one that is unknown, what there is of it."""
    owner = _name(look, _project, _project.c.key == project) or project
    inside = _project.join(_collection, _collection.c.project == _project.c.id)
    same = and_(_project.c.key == project, _collection.c.key == key)
    names = select(_collection.c.name).select_from(inside).where(same)
    name = next((found for one in (look.journal, look.here) if (found := one.execute(names).scalar())), key)
    return f"{'?' if owner is None else owner}/{'?' if name is None else name}"


def version_called(look: Look, key: tuple[Any, ...]) -> str:
    """Return a version's address as people write it."""
    project, collection, number = key
    return f"{collection_called(look, project, collection)}:v{'?' if number is None else number}"


def version_about(look: Look, key: tuple[Any, ...], *kinds: str) -> ColumnElement[bool]:
    """Say which events are about a version: those of its collection that have its number."""
    project, collection, number = key
    # Data are canonical JSON: within a text its quotation marks would be escaped, so nothing else can read like this.
    ends = or_(*(_event.c.data.contains(f'"number":{number}{end}') for end in ",}"))
    return and_(_event.c.subject == collection_called(look, project, collection), _event.c.kind.in_(kinds), ends)


def _name(look: Look, table: Table, condition: ColumnElement[bool]) -> str | None:
    wanted = select(table.c.name).where(condition)
    return next((name for one in (look.journal, look.here) if (name := one.execute(wanted).scalar())), None)


def _project_called(one: Difference, look: Look) -> str:
    return f"project {_name(look, _project, _project.c.key == one.key[0]) or one.key[0]}"


def _project_about(one: Difference, look: Look) -> ColumnElement[bool]:
    return and_(
        _event.c.kind == "project.created", _event.c.subject == _project_called(one, look).removeprefix("project ")
    )


def _collection_about(one: Difference, look: Look) -> ColumnElement[bool]:
    kinds = ("collection.created", "version.logged")
    return and_(_event.c.subject == collection_called(look, *one.key), _event.c.kind.in_(kinds))


def _alias_called(one: Difference, look: Look) -> str:
    return f"alias {one.value('name') or one.key[2]} of {collection_called(look, *one.key[:2])}"


def _alias_about(one: Difference, look: Look) -> ColumnElement[bool]:
    named = _event.c.data.icontains(f'"alias":"{one.key[2]}"', autoescape=True)
    kinds = ("alias.set", "alias.removed")
    return and_(_event.c.subject == collection_called(look, *one.key[:2]), _event.c.kind.in_(kinds), named)


_LIFE = ("version.logged", "version.edited", "version.deleted", "version.restored", "version.purged")

COMPARED = (
    Compared(
        tables.project,
        ("key",),
        passed={"id": ROW_ID},
        called=_project_called,
        about=_project_about,
        said=times("created"),
    ),
    Compared(
        tables.collection,
        ("project", "key"),
        passed={"id": ROW_ID},
        called=lambda one, look: f"collection {collection_called(look, *one.key)}",
        about=_collection_about,
        labels={"next_number": "its next number"},
        said=times("created"),
    ),
    Compared(
        tables.version,
        ("collection", "number"),
        passed={"id": ROW_ID},
        called=lambda one, look: f"version {version_called(look, one.key)}",
        about=lambda one, look: version_about(look, one.key, *_LIFE),
        labels={"data": "its metadata", "file_count": "its number of files"},
        said=times("created", "deleted"),
    ),
    Compared(
        tables.alias,
        ("collection", "key"),
        called=_alias_called,
        about=_alias_about,
        labels={"version": ""},
        said=_said_version,
    ),
    Compared(
        tables.tag,
        ("version", "name"),
        called=lambda one, look: f"tag {one.key[3]} of {version_called(look, one.key[:3])}",
        about=lambda one, look: version_about(look, one.key[:3], "version.edited"),
    ),
    Compared(
        tables.reference,
        ("version", "url"),
        called=lambda one, look: f"place {one.key[3]} of {version_called(look, one.key[:3])}",
        about=lambda one, look: version_about(look, one.key[:3], "version.logged"),
        labels={"objects": "its number of objects"},
    ),
)
