"""Rebuilding a lost or outdated database from the bucket alone.

Knows packs' footers and the journal; what an event means is for its fold to know. Never deletes, and may be interrupted
and called again: the index comes first, and as long as the journal holds an event that the database lacks, nobody can
write with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import insert, select, update

from . import tables
from .backends.base import Backend
from .bulk import insert_many
from .database import Database, Transaction
from .engine import read_marker
from .errors import Conflict, IntegrityError, NotFound
from .events import Fold
from .journal import Journal
from .layout import PackName, pack_folder, pack_key, parse_pack_key
from .pack import PackKind, Slot, read_slots
from .session import CHUNK_COLUMNS
from .tables import PackState, rows

__all__ = ["Repaired", "repair_database"]

_pack = rows(tables.Pack)
_WAITING = (PackState.UPLOADING, PackState.UPLOADED, PackState.CONDEMNED, PackState.MISSING)


@dataclass(slots=True)
class Repaired:
    """What a repair brought back: counts, and the packs that could not be read, with the reason."""

    events: int = 0
    packs: int = 0
    chunks: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)


def repair_database(backend: Backend, url: str, *, actor: str, folds: Mapping[str, Fold]) -> Repaired:
    """Make the database at `url` know everything that the bucket holds; it may be absent, empty, or an older backup.

    Raises NotFound where the bucket holds no store, Conflict where the database belongs to another store or has events
    that the journal contradicts, and IntegrityError for a journal that cannot be read.
    """
    marker = read_marker(backend)
    if marker is None:
        raise NotFound(f"no store at {backend.url}: its marker is the first thing that is needed to rebuild a database")
    try:
        database = Database.create_blank(url, store_id=marker.store_id, actor=actor, folds=folds)
    except Conflict:
        database = Database.open(url, actor=actor, folds=folds)
    try:
        found = database.store()
        if found.store_id != marker.store_id:
            raise Conflict(
                f"{database.url} belongs to store {found.store_id[:8]}, {backend.url} holds {marker.store_id[:8]}"
            )
        repaired = Repaired()
        for kind in PackKind:
            _index_packs(backend, database, kind, repaired)
        repaired.events = Journal(backend, database).replay() - found.seq
        return repaired
    finally:
        database.close()


def _index_packs(backend: Backend, database: Database, kind: PackKind, repaired: Repaired) -> None:
    """Enter every pack of a kind that the database does not know as readable."""
    wanted = select(_pack.c.key).where(_pack.c.kind == kind, _pack.c.state.not_in(_WAITING))
    settled = set(database.read(lambda connection: connection.execute(wanted).scalars().all()))
    new = [
        (name, one.size)
        for one in backend.list(pack_folder(kind))
        if (name := parse_pack_key(one.key)) is not None and name.id not in settled
    ]
    with ThreadPoolExecutor(backend.parallelism) as pool:
        for (name, size), slots in zip(new, pool.map(lambda one: _slots(backend, *one), new), strict=True):
            if isinstance(slots, str):
                repaired.damaged.append((pack_key(name.kind, name.id), slots))
                continue
            database.write(partial(_enter, name=name, size=size, slots=slots))
            repaired.packs += 1
            repaired.chunks += len(slots)


def _slots(backend: Backend, name: PackName, size: int) -> list[Slot] | str:
    key = pack_key(name.kind, name.id)
    try:
        return read_slots(lambda start, length: backend.get(key, start, length), size, name.id, PackKind(name.kind))
    except (IntegrityError, NotFound) as error:
        return str(error)


def _enter(tx: Transaction, name: PackName, size: int, slots: list[Slot]) -> None:
    here = _pack.c.key == name.id
    number = tx.execute(select(_pack.c.id).where(here)).scalar_one_or_none()
    if number is None:
        row = {"key": name.id, "kind": name.kind, "state": PackState.LIVE, "size": size}
        number = tx.execute(insert(_pack).values(**row).returning(_pack.c.id)).scalar_one()
    else:
        tx.execute(update(_pack).where(here).values(state=PackState.LIVE, stamp=None, session=None, size=size))
    found = [(digest, number, *place) for digest, *place in slots]
    insert_many(tx.connection, rows(tables.Chunk), CHUNK_COLUMNS, found, ignore=True)
