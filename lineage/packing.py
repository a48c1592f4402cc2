"""Versions and runs read from their rows and packed at once, as attributes of a lineage graph's nodes.

Knows the rows and how they join; must not know which of them are wanted, or why. They are read a batch at a time, so
that what the driver makes of a row is gone when the next are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..artifacts.reading import COLUMNS as VERSION_COLUMNS
from ..storage.database import select_in
from .attributes import RunAttributes, VersionAttributes, Words
from .newest import newest_of
from .runs import COLUMNS as RUN_COLUMNS

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["PackedVersion", "pack_runs", "pack_versions"]

K = TypeVar("K", int, str)

BATCH = 2000

_VERSIONS = f"""
SELECT id, collection, {", ".join(VERSION_COLUMNS)},
  EXISTS (SELECT 1 FROM reference WHERE reference.version = version.id)
FROM version WHERE id {{in}}
"""  # noqa: S608 - names of ours
_COLLECTIONS = """
SELECT collection.id, project.name, collection.name, collection.type
FROM collection JOIN project ON project.id = collection.project WHERE collection.id {in}
"""
_ALIASES = "SELECT version, name FROM alias WHERE version {in} ORDER BY name"
_TAGS = "SELECT version, name FROM tag WHERE version {in} ORDER BY name"
_RUNS = f"""
SELECT {", ".join("project.name" if one == "project" else f'run."{one}"' for one in RUN_COLUMNS)}
FROM run JOIN project ON project.id = run.project WHERE run.id {{in}}
"""  # noqa: S608 - names of ours
_RUN_TAGS = "SELECT run, name FROM run_tag WHERE run {in} ORDER BY name"


class PackedVersion(NamedTuple):
    """A version's row id, its ref, what a graph keeps of it, and whether it refers to places outside the store."""

    id: int
    ref: str
    attributes: VersionAttributes
    refers: bool


class _Collection(NamedTuple):
    owner: tuple[str, str, str]  # project, name and type
    newest: int  # number of a version that is there; below any if there is none


def pack_versions(
    connection: Connection, ids: Iterable[int], cut: Container[int], words: Words
) -> Iterator[PackedVersion]:
    """Yield versions by row id, in the order asked for; ids that mean nothing are left out."""
    collections: dict[int, _Collection] = {}
    for some in _batches(ids):
        rows = {row[0]: row for row in select_in(connection, _VERSIONS, some)}
        aliases, tags = (_names(connection, sql, some) for sql in (_ALIASES, _TAGS))
        unknown = {row[1] for row in rows.values()} - collections.keys()
        newest = newest_of(connection, unknown)
        for number, project, name, kind in select_in(connection, _COLLECTIONS, unknown):
            collections[number] = _Collection((project, name, kind), newest[number].number if number in newest else -1)
        for one in some:
            if one in rows:
                yield _version(rows[one], collections, aliases.get(one, ()), tags.get(one, ()), one in cut, words)


def _version(
    row: Sequence[Any],
    collections: dict[int, _Collection],
    aliases: Iterable[str],
    tags: Iterable[str],
    cut: bool,
    words: Words,
) -> PackedVersion:
    id_, collection, number, *rest = row
    owner, newest = collections[collection]
    newer = newest if newest > number else None
    packed = VersionAttributes.of((id_, owner, number, *rest), aliases, tags, newer=newer, cut=cut, words=words)
    return PackedVersion(id_, f"{owner[0]}/{owner[1]}:v{number}", packed, bool(rest[-1]))


def pack_runs(connection: Connection, ids: Iterable[str], words: Words) -> Iterator[tuple[str, RunAttributes]]:
    """Yield ids of runs, in the order asked for, and what a graph keeps of each; ids that mean nothing are left out."""
    for some in _batches(ids):
        rows = {row[0]: row for row in select_in(connection, _RUNS, some)}
        tags = _names(connection, _RUN_TAGS, some)
        for one in some:
            if one in rows:
                yield one, RunAttributes.of(rows[one], tags.get(one, ()), words)


def _batches(ids: Iterable[K]) -> Iterator[list[K]]:
    left = iter(ids)
    while some := list(islice(left, BATCH)):
        yield some


def _names(connection: Connection, sql: str, ids: list[K]) -> dict[K, list[str]]:
    found: dict[K, list[str]] = defaultdict(list)
    for one, name in select_in(connection, sql, ids):
        found[one].append(name)
    return found
