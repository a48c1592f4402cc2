"""Edges between runs and versions: the statements that record and find them, inside somebody's transaction.

Knows the rows of edges and what they hang on; must not know what a run is doing. A run that used a version twice has
one edge; what it called the version (its alias) and metadata that the version itself does not have stay with the edge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from ..artifacts import tables as artifact_tables
from ..artifacts.gone import absent_bytes
from ..artifacts.reading import read_records
from ..storage.errors import NotFound
from . import tables
from .runs import PRODUCED, USED, subject_of

if TYPE_CHECKING:
    from ..storage.database import Transaction

__all__ = ["dependants", "edges_of", "lock_run", "products_of", "record_product", "record_use", "runs_of"]

_run, _edge = tables.run, tables.edge
_version, _collection = artifact_tables.version, artifact_tables.collection
_project = artifact_tables.project


def lock_run(tx: Transaction, run: str) -> Any:
    """Lock a run's row and return it; NotFound if there is none. Its place in the order of locks is after packs."""
    row = tx.lock(select(_run.c.id, _run.c.state, _run.c.exit_code).where(_run.c.id == run)).first()
    if row is None:
        raise NotFound(f"no run {run!r}; `art runs` lists them")
    return row


def record_use(tx: Transaction, run: str, version: int, alias: str | None) -> int:
    """Record that a run, locked here, used a version, and return which.

    With an alias (its key), that is the version that the run has used under it before. NotFound where it is deleted.
    """
    chosen = version
    if alias is not None:
        chosen = _pinned(tx.connection, run, version, alias) or version
    data = _address(tx.connection, chosen)
    state = data.pop("state")
    if state != "live":
        raise absent_bytes(tx.connection, read_records(tx.connection, [chosen])[chosen])
    known = _known(tx.connection, run, chosen, USED)
    if known is None or (alias is not None and alias not in known.get("aliases", ())):
        data |= {"run": run} if alias is None else {"run": run, "alias": alias}
        tx.record("version.used", subject_of(run), data)
    return chosen


def record_product(tx: Transaction, run: str, version: int, metadata: Mapping[str, Any] | None) -> bool:
    """Record that a run, locked here, produced a version; return whether `metadata` differs from the version's.

    `metadata` is what was given for content that existed already (None: it is new); what differs stays on the edge.
    """
    data = {"run": run, **_address(tx.connection, version)}
    del data["state"]
    known = _known(tx.connection, run, version, PRODUCED)
    differs = False
    if metadata:
        stored = tx.execute(select(_version.c.data).where(_version.c.id == version)).scalar_one()
        differs = bool(json.loads(stored) != metadata)
        if differs:
            data["metadata"] = dict(metadata)
    if known is None or (differs and known.get("metadata") != metadata):
        tx.record("version.produced", subject_of(run), data)
    return differs


def edges_of(connection: Connection, run: str) -> tuple[list[int], list[int]]:
    """Return the row ids of the versions that a run used and of those it produced, in the order of doing so."""
    found = connection.execute(select(_edge).where(_edge.c.run == run).order_by(_edge.c.id)).all()
    used, made = ([row.version for row in found if row.direction == one] for one in (USED, PRODUCED))
    return used, made


def runs_of(connection: Connection, version: int, direction: str, limit: int | None) -> list[str]:
    """Return the ids of the runs that used or produced a version, in the order of doing so."""
    wanted = select(_edge.c.run).where(_edge.c.version == version, _edge.c.direction == direction)
    return list(connection.execute(wanted.order_by(_edge.c.id).limit(limit)).scalars())


def products_of(connection: Connection, version: int) -> list[int]:
    """Return the row ids of the versions that runs produced which used a version, in the order of doing so."""
    users = select(_edge.c.run).where(_edge.c.version == version, _edge.c.direction == USED)
    made = select(_edge.c.version).where(_edge.c.run.in_(users), _edge.c.direction == PRODUCED)
    return list(dict.fromkeys(connection.execute(made.order_by(_edge.c.id)).scalars()))


def dependants(connection: Connection, version: int) -> list[int]:
    """Return the row ids of the versions that were made by a run that used a version."""
    used, made = _edge.alias("used"), _edge.alias("made")
    wanted = select(made.c.version).distinct().join(used, used.c.run == made.c.run)
    here = wanted.where(used.c.version == version, used.c.direction == USED, made.c.direction == PRODUCED)
    found = connection.execute(here.where(made.c.version != version).order_by(made.c.version))
    return list(found.scalars())


def _known(connection: Connection, run: str, version: int, direction: str) -> dict[str, Any] | None:
    """Return what an edge holds; None where there is no such edge."""
    here = (_edge.c.run == run, _edge.c.version == version, _edge.c.direction == direction)
    row = connection.execute(select(_edge.c.data).where(*here)).first()
    if row is None:
        return None
    known: dict[str, Any] = json.loads(row.data) if row.data else {}
    return known


def _address(connection: Connection, version: int) -> dict[str, Any]:
    """Return a version's natural key, and its state."""
    joined = _version.join(_collection, _collection.c.id == _version.c.collection).join(
        _project, _project.c.id == _collection.c.project
    )
    columns = (
        _project.c.name.label("project"),
        _collection.c.name.label("collection"),
        _version.c.number,
        _version.c.state,
    )
    row = connection.execute(select(*columns).select_from(joined).where(_version.c.id == version)).one()
    return dict(row._mapping)  # noqa: SLF001 - the documented way to a row's columns


def _pinned(connection: Connection, run: str, version: int, alias: str) -> int | None:
    """Return the version of the same collection that the run has used under this alias before."""
    same = select(_version.c.collection).where(_version.c.id == version).scalar_subquery()
    used = select(_edge.c.version, _edge.c.data).join(_version, _version.c.id == _edge.c.version)
    here = used.where(_edge.c.run == run, _edge.c.direction == USED, _version.c.collection == same)
    for row in connection.execute(here.order_by(_edge.c.id)):
        if alias in json.loads(row.data or "{}").get("aliases", ()):
            return int(row.version)
    return None
