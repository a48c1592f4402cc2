"""The catalog: finds versions by ref, lists them, moves their names, and logs new ones.

Knows collections and the engine; must not know runs: who logs on behalf of a run hands in what else belongs to the
transaction. Records are read in batches, so that a graph of many versions costs a few statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Select, func, select

from ..storage.database import Transaction
from ..storage.engine import Engine
from ..storage.errors import Conflict
from ..storage.events import Event
from ..storage.session import Session
from . import tables
from .collection import (
    NewVersion,
    make_project,
    move_alias,
    open_collection,
    remove_alias,
    require_type,
    settle_version,
)
from .history import last_move, number_at, read_history
from .reading import read_collections, read_previous, read_records, read_references, read_type, read_versions
from .records import CollectionRecord, ExternalRecord, VersionRecord
from .ref import LATEST, Ref, check_alias, check_name, check_project, check_tag, fold_name
from .suggest import absent_collection, absent_version

if TYPE_CHECKING:
    from .change import Change

__all__ = ["Also", "Catalog"]

T = TypeVar("T")
Also = Callable[[Transaction, int, bool], None]  # the version's row id, and whether it is new
BATCH = 500
_project, _collection, _version = tables.project, tables.collection, tables.version
_alias, _reference = tables.alias, tables.reference


class Catalog:
    """Projects, collections and versions of one store."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # Finding

    def resolve(self, ref: Ref, project: str, *, guess: bool = True) -> VersionRecord:
        """Return the version that a ref means, deleted ones included; NotFound says what there is instead.

        `project` is where a bare name is looked for first; with `guess`, which is not for who is about to write, a name
        that is absent there and exists in exactly one other project is taken from it.
        """
        return self.engine.database.read(lambda connection: self.resolve_in(connection, ref, project, guess=guess))

    def meant(self, version: str | Ref | VersionRecord, project: str, *, guess: bool = True) -> VersionRecord:
        """Return the version that a text or a ref means, as `resolve` does; a record means itself."""
        if isinstance(version, VersionRecord):
            return version
        return self.resolve(Ref.parse(version) if isinstance(version, str) else version, project, guess=guess)

    def records(self, ids: Iterable[int]) -> dict[int, VersionRecord]:
        """Return versions by row id."""
        return self.engine.database.read(lambda connection: read_records(connection, list(ids)))

    def projects(self) -> list[str]:
        """Return the names of all projects."""
        wanted = select(_project.c.name).order_by(_project.c.name)
        return self.engine.database.read(lambda connection: list(connection.execute(wanted).scalars()))

    def collections(self, project: str | None = None) -> list[CollectionRecord]:
        """Return the collections of a project, or of all, in the order of their names."""
        return self.engine.database.read(lambda connection: read_collections(connection, project))

    def versions(self, ref: Ref, project: str) -> list[VersionRecord]:
        """Return every version of a collection in the order of their numbers, deleted ones included."""

        def work(connection: Connection) -> list[VersionRecord]:
            return read_versions(connection, self.find_collection(connection, ref, project))

        return self.engine.database.read(work)

    def previous(self, version: VersionRecord) -> VersionRecord | None:
        """Return the version before one in its collection whose content is still there, deleted or not."""
        return self.engine.database.read(lambda connection: read_previous(connection, version))

    def references_of(self, digest: bytes) -> list[ExternalRecord]:
        """Return the places outside the store that the version of a manifest refers to, by URL."""
        return self.engine.database.read(lambda connection: read_references(connection, digest))

    def referring(self) -> list[int]:
        """Return the row ids of versions that have external entries."""
        found = select(_reference.c.version).distinct().order_by(_reference.c.version)
        return self.engine.database.read(lambda connection: list(connection.execute(found).scalars()))

    def count_external(self) -> int:
        """Return how many external entries the versions have that are not purged."""
        there = _reference.join(_version, _version.c.id == _reference.c.version)
        counted = select(func.sum(_reference.c.objects)).select_from(there).where(_version.c.state != "purged")
        return self.engine.database.read(lambda connection: int(connection.execute(counted).scalar() or 0))

    def type_of(self, project: str, name: str) -> str | None:
        """Return the type of a collection; None where there is no such collection."""
        return self.engine.database.read(lambda connection: read_type(connection, project, name))

    def history(self, ref: Ref, project: str, alias: str | None = None) -> list[Event]:
        """Return the events of a collection, oldest first; with `alias`, those that moved it."""

        def work(connection: Connection) -> list[Event]:
            return read_history(connection, self.find_collection(connection, ref, project), alias)

        return self.engine.database.read(work)

    def moves(self, version: VersionRecord) -> list[Event]:
        """Return the event that gave each of a version's aliases but `latest` to it, in the order of the aliases."""
        ref = Ref(version.project, version.collection)

        def work(connection: Connection) -> list[Event]:
            found = self.find_collection(connection, ref, version.project)
            moves = [last_move(connection, found, one) for one in version.aliases if one != LATEST]
            return [one for one in moves if one is not None]

        return self.engine.database.read(work)

    # Changing

    def prepare(
        self, project: str, name: str, type_: str | None, aliases: Sequence[str] = (), tags: Sequence[str] = ()
    ) -> None:
        """Raise what `log` would raise for these names, before hours of uploading instead of after."""
        check_project(project)
        check_name("collection name", name)
        for alias in aliases:
            check_alias(alias)
        for tag in tags:
            check_tag(tag)
        self.engine.database.read(lambda connection: require_type(connection, project, name, type_))

    def log(
        self,
        project: str,
        name: str,
        type_: str | None,
        new: NewVersion,
        session: Session,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        also: Also | None = None,
    ) -> tuple[VersionRecord, bool]:
        """Commit uploaded content as a version, with its aliases and whatever `also` records, in one transaction.

        Returns the version, and whether it is new: equal content in a collection is one version. PacksGone asks the
        caller to upload again.
        """

        def work(tx: Transaction) -> tuple[VersionRecord, bool]:
            collection = open_collection(tx, project, name, type_)
            session.commit(tx)
            version, is_new = settle_version(tx, collection, new, aliases)
            if tags:
                known = read_records(tx.connection, [version])[version].tags
                self._edit(tx, version, {"tags": sorted({*known, *tags})})
            if also is not None:
                also(tx, version, is_new)
            return read_records(tx.connection, [version])[version], is_new

        return self.engine.write(work)

    def set_alias(
        self, version: VersionRecord, alias: str, *, reason: str | None = None, expect: str | None = None
    ) -> VersionRecord:
        """Make an alias mean a version; see `move_alias` for `expect`. Conflict where the version is deleted."""

        def work(tx: Transaction) -> VersionRecord:
            collection = open_collection(tx, version.project, version.collection, None)
            current = read_records(tx.connection, [version.id])[version.id]
            if current.state != "live":
                raise Conflict(f"{version.ref} is {current.state}; an alias cannot mean it")
            move_alias(tx, collection, alias, version.number, reason=reason, expect=expect)
            return read_records(tx.connection, [version.id])[version.id]

        return self.engine.write(work)

    def drop_alias(self, version: VersionRecord, alias: str, *, reason: str | None = None) -> VersionRecord:
        """Take an alias away from the collection of a version; NotFound where there is none."""

        def work(tx: Transaction) -> VersionRecord:
            collection = open_collection(tx, version.project, version.collection, None)
            remove_alias(tx, collection, alias, reason=reason)
            return read_records(tx.connection, [version.id])[version.id]

        return self.engine.write(work)

    def change(self, version: VersionRecord, change: Change) -> VersionRecord:
        """Change a version's words, tags and aliases in one transaction, and let stand what others changed meanwhile.

        An alias that is to be taken away and means another version by now is left to that one. Raises Conflict for a
        word that somebody else has given another value since; nothing is changed then.
        """
        for tag in change.tags.given:
            check_tag(tag)

        def work(tx: Transaction) -> VersionRecord:
            collection = open_collection(tx, version.project, version.collection, None)
            current = read_records(tx.connection, [version.id])[version.id]
            edited = change.words(current)
            tags = ({*current.tags} | {*change.tags.given}) - {*change.tags.taken}
            if tags != {*current.tags}:
                edited["tags"] = sorted(tags)
            if edited:
                self._edit(tx, version.id, edited)
            if change.aliases.given and current.state != "live":
                raise Conflict(f"{version.ref} is {current.state}; an alias cannot mean it")
            for alias in change.aliases.given:
                move_alias(tx, collection, alias, version.number)
            for alias in change.aliases.taken:
                if alias in current.aliases:
                    remove_alias(tx, collection, alias)
            return read_records(tx.connection, [version.id])[version.id]

        return self.engine.write(work)

    def project_id(self, tx: Transaction, name: str) -> int:
        """Return the row id of a project, making it where it is absent."""
        return make_project(tx, name)

    def _edit(self, tx: Transaction, version: int, changes: Mapping[str, Any]) -> None:
        record = read_records(tx.connection, [version])[version]
        data = {"project": record.project, "collection": record.collection, "number": record.number, **changes}
        tx.record("version.edited", f"{record.project}/{record.collection}", data)

    def resolve_in(self, connection: Connection, ref: Ref, project: str, *, guess: bool = True) -> VersionRecord:
        """Do what `resolve` does within somebody's transaction."""
        collection = self.find_collection(connection, ref, project, guess=guess)
        found = _choose(connection, collection, ref)
        if found is None:
            raise absent_version(connection, collection, ref)
        return read_records(connection, [found])[found]

    def find_collection(self, connection: Connection, ref: Ref, project: str, *, guess: bool = True) -> int:
        """Return the row id of the collection that a ref names, by the rule for bare names."""
        joined = _collection.join(_project, _project.c.id == _collection.c.project)
        wanted = select(_collection.c.id, _project.c.key, _project.c.name).select_from(joined)
        found = connection.execute(wanted.where(_collection.c.key == fold_name(ref.name))).all()
        here = fold_name(ref.project or project)
        for row in found:
            if row.key == here:
                return int(row.id)
        if ref.project is None and len(found) == 1 and guess:
            return int(found[0].id)
        raise absent_collection(connection, ref, project, [row.name for row in found])


def _choose(connection: Connection, collection: int, ref: Ref) -> int | None:
    """Return the row id of the version that a ref means within its collection."""
    of = select(_version.c.id, _version.c.digest).where(_version.c.collection == collection)
    if ref.version is not None:
        return _one(connection, of.where(_version.c.number == ref.version))
    if ref.digest is not None:
        low, high = bytes.fromhex(ref.digest.ljust(64, "0")), bytes.fromhex(ref.digest.ljust(64, "f"))
        # Equal content may have been deleted and logged again: the version that lives is meant, or else the newest.
        order = (_version.c.state == "live").desc(), _version.c.number.desc()
        same = connection.execute(of.where(_version.c.digest.between(low, high)).order_by(*order)).all()
        if len({row.digest for row in same}) > 1:
            raise Conflict(f"{ref}: more than one version begins so; give more digits")
        return same[0].id if same else None
    alias = ref.alias or LATEST
    if ref.at is not None:
        number = number_at(connection, collection, alias, ref.at)
        return None if number is None else _one(connection, of.where(_version.c.number == number))
    meant = select(_alias.c.version).where(_alias.c.collection == collection, _alias.c.key == fold_name(alias))
    return _one(connection, meant)


def _one(connection: Connection, wanted: Select[Any]) -> int | None:
    row = connection.execute(wanted).first()
    return None if row is None else int(row[0])
