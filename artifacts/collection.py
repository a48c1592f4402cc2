"""Collections: numbering, aliases, tags and what they mean to the database.

Knows the rows of projects, collections, versions, aliases and tags, and the events that change them. Must not know
chunks, files or runs. Each change is an event; its fold (`folds.py`) is the only code that writes these rows, so that a
database rebuilt from the journal is equal to the one that was lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text

from ..storage.database import Transaction
from ..storage.digest import Digest
from ..storage.errors import Conflict, InvalidInput, NotFound
from . import tables
from .records import ExternalRecord
from .ref import LATEST, Ref, check_alias, check_name, check_project, fold_name

__all__ = [
    "ABSENT",
    "CollectionRow",
    "NewVersion",
    "make_project",
    "move_alias",
    "open_collection",
    "remove_alias",
    "require_type",
    "settle_version",
]

ABSENT = "none"  # what `expect` says of an alias that must not exist yet
_project, _collection, _version = tables.project, tables.collection, tables.version
_alias = tables.alias
_NUMBER = re.compile(r"v(0|[1-9][0-9]*)")


class CollectionRow(NamedTuple):
    """A collection whose row is locked by this transaction."""

    id: int
    project: str
    name: str
    type: str
    next_number: int

    @property
    def subject(self) -> str:
        """What its events are filed under."""
        return f"{self.project}/{self.name}"


class NewVersion(NamedTuple):
    """The content and the words of a version that asks for a number."""

    digest: bytes
    size: int
    file_count: int
    description: str | None
    metadata: Mapping[str, Any]
    base: bytes | None = None  # root of the version it was made from, whose unchanged pages it relies on unseen
    references: Sequence[ExternalRecord] = ()  # the places of its external entries
    quiet: bool = False  # `latest` and aliases stay where they are: of what is only made again
    base_ref: str = ""  # the whole address of the version with the root `base`: what it was made from is kept with it


def make_project(tx: Transaction, name: str) -> int:
    """Return the row id of a project, making it where it is absent."""
    check_project(name)
    wanted = select(_project.c.id, _project.c.name).where(_project.c.key == fold_name(name))
    row = tx.execute(wanted).first()
    if row is None:
        _serialise_creation(tx)
        row = tx.execute(wanted).first()
    if row is None:
        tx.record("project.created", name, {"project": name})
        row = tx.execute(wanted).one()
    if row.name != name:
        raise Conflict(f"project {name!r} and {row.name!r} differ only by case")
    return int(row.id)


def open_collection(tx: Transaction, project: str, name: str, type_: str | None) -> CollectionRow:
    """Lock a collection's row, making it where it is absent.

    Raises Conflict where it exists with another type, or where its name differs from one that exists only by case.
    """
    check_name("collection name", name)
    owner = make_project(tx, project)
    wanted = select(_collection).where(_collection.c.project == owner, _collection.c.key == fold_name(name))
    row = tx.lock(wanted).first()
    if row is None:
        _serialise_creation(tx)
        row = tx.lock(wanted).first()
    if row is None:
        kind = type_ or "artifact"
        check_name("type", kind)
        tx.record("collection.created", f"{project}/{name}", {"project": project, "collection": name, "type": kind})
        row = tx.execute(wanted).one()
    _check_kind(project, name, type_, row)
    return CollectionRow(row.id, project, row.name, row.type, row.next_number)


def require_type(connection: Connection, project: str, name: str, type_: str | None) -> None:
    """Raise what `open_collection` would raise, and change nothing."""
    joined = _collection.join(_project, _project.c.id == _collection.c.project)
    wanted = select(_collection.c.name, _collection.c.type, _project.c.name.label("owner")).select_from(joined)
    row = connection.execute(
        wanted.where(_project.c.key == fold_name(project), _collection.c.key == fold_name(name))
    ).first()
    if row is not None:
        if row.owner != project:
            raise Conflict(f"project {project!r} and {row.owner!r} differ only by case")
        _check_kind(project, name, type_, row)


def _check_kind(project: str, name: str, type_: str | None, row: Any) -> None:
    if row.name != name:
        raise Conflict(f"{project}/{name} and {project}/{row.name} differ only by case")
    if type_ is not None and row.type != type_:
        raise Conflict(f"{project}/{name} holds versions of type {row.type!r}, not {type_!r}; log under another name")


def settle_version(
    tx: Transaction, collection: CollectionRow, new: NewVersion, aliases: Iterable[str]
) -> tuple[int, bool]:
    """Give content its number, or find the version that already has it; move `latest` and the aliases to it.

    A quiet one moves none, unless the collection has no `latest` yet.
    Returns the version's row id and whether it is new. The caller has made the packs live in this transaction.
    Raises Conflict where the base was purged.
    """
    if new.base is not None:
        stands = select(_version.c.id).where(_version.c.digest == new.base, _version.c.state != "purged").limit(1)
        if tx.execute(stands).first() is None:
            raise Conflict(
                f"the version that {collection.subject} was to follow was purged meanwhile; log it anew from its files"
            )
    same = select(_version.c.id, _version.c.number).where(
        _version.c.collection == collection.id, _version.c.digest == new.digest, _version.c.state == "live"
    )
    row = tx.execute(same.order_by(_version.c.number.desc()).limit(1)).first()
    is_new = row is None
    if row is None:
        data = {
            "project": collection.project,
            "collection": collection.name,
            "number": collection.next_number,
            "digest": str(Digest(new.digest)),
            "size": new.size,
            "file_count": new.file_count,
            "description": new.description,
            "metadata": dict(new.metadata),
        }
        if new.references:
            data["references"] = [one.to_json() for one in new.references]
        if new.base_ref:
            base = Ref.parse(new.base_ref)
            data["base"] = {"project": base.project, "collection": base.name, "number": base.version}
        tx.record("version.logged", collection.subject, data)
        row = tx.execute(same).one()
    quiet = new.quiet and _meant(tx, collection, LATEST) is not None
    for alias in () if quiet else dict.fromkeys([LATEST, *aliases]):
        move_alias(tx, collection, alias, row.number)
    return int(row.id), is_new


def move_alias(
    tx: Transaction,
    collection: CollectionRow,
    alias: str,
    number: int,
    *,
    reason: str | None = None,
    expect: str | None = None,
) -> None:
    """Make an alias mean a version; does nothing where it already does.

    `expect` is the version that the alias must mean now (`v6`), or `none`; Conflict says what it means instead.
    """
    check_alias(alias)
    if expect is not None and expect != ABSENT and not _NUMBER.fullmatch(expect):
        raise InvalidInput(f"expect is a version such as 'v6', or {ABSENT!r}, not {expect!r}")
    before = _meant(tx, collection, alias)
    if expect is not None:
        now = ABSENT if before is None else f"v{before}"
        if now != expect:
            raise Conflict(f"{collection.subject}: {alias} is {now}, not {expect}; somebody moved it meanwhile")
    if before == number:
        return
    data = {"project": collection.project, "collection": collection.name, "alias": alias, "from": before, "to": number}
    tx.record("alias.set", collection.subject, data, reason)


def remove_alias(tx: Transaction, collection: CollectionRow, alias: str, *, reason: str | None = None) -> None:
    """Take an alias away; NotFound where there is none."""
    before = _meant(tx, collection, alias)
    if before is None:
        raise NotFound(f"{collection.subject} has no alias {alias!r}")
    data = {"project": collection.project, "collection": collection.name, "alias": alias, "from": before, "to": None}
    tx.record("alias.removed", collection.subject, data, reason)


def _meant(tx: Transaction, collection: CollectionRow, alias: str) -> int | None:
    joined = _alias.join(_version, _version.c.id == _alias.c.version)
    number = tx.execute(
        select(_version.c.number)
        .select_from(joined)
        .where(_alias.c.collection == collection.id, _alias.c.key == fold_name(alias))
    ).scalar_one_or_none()
    return None if number is None else int(number)


def _serialise_creation(tx: Transaction) -> None:
    """Let one transaction at a time make projects and collections: there is no row to lock yet."""
    if tx.dialect == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('lineart.create'))"))
