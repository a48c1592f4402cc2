"""Rebuilding a lost or outdated database from the bucket alone.

Knows packs' footers and the journal; what an event means is for its fold to know. Never deletes, and may be interrupted
and called again: the index comes first, and as long as the journal holds an event that the database lacks, nobody can
write with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from sqlalchemy import func, insert, select, text, update

from . import tables
from .backends.base import Backend
from .database import Database, Transaction
from .engine import read_marker
from .errors import Conflict, IntegrityError, NotFound
from .events import Fold
from .journal import Journal
from .layout import JOURNAL, PackName, pack_folder, pack_key, parse_journal_key, parse_pack_key
from .pack import PackKind, Slot, read_slots
from .rows import Compared
from .rows_mend import mend_rows
from .session import CHUNK_COLUMNS
from .tables import PackState
from .transaction import was_deleted

__all__ = ["Repaired", "repair_database"]

_pack = tables.pack
BATCH = 64  # packs whose footers are read before their chunks are entered: a few megabytes each at most
_WAITING = (PackState.UPLOADING, PackState.UPLOADED, PackState.CONDEMNED, PackState.MISSING)


@dataclass(slots=True)
class Repaired:
    """What a repair brought back: counts, and the packs that could not be read, with the reason."""

    events: int = 0
    packs: int = 0
    chunks: int = 0
    rows: int = 0  # that were not what the events say
    damaged: list[tuple[str, str]] = field(default_factory=list)


def repair_database(
    backend: Backend,
    url: str,
    *,
    actor: str,
    folds: Mapping[str, Fold],
    compared: Sequence[Compared] = (),
    kind: type[Database] = Database,
) -> Repaired:
    """Make the database at `url` know everything that the bucket holds; it may be absent, empty, or an older backup.

    Raises NotFound where the bucket holds no store, Conflict where the database belongs to another store or has events
    that the journal contradicts, and IntegrityError for a journal that cannot be read. Rows of `compared` that are not
    what the events say are made so, in a database that was there. `kind` is the class that opens the database.
    """
    marker = read_marker(backend)
    if marker is None:
        raise NotFound(f"no store at {backend.url}: its marker is the first thing that is needed to rebuild a database")
    try:
        database = kind.create_blank(url, store_id=marker.store_id, actor=actor, folds=folds)
        compared = ()  # rows that are made now are what the events say
    except Conflict:
        database = kind.open(url, actor=actor, folds=folds)
    try:
        found = database.store()
        if found.store_id != marker.store_id:
            raise Conflict(
                f"{database.url} belongs to store {found.store_id[:8]}, {backend.url} holds {marker.store_id[:8]}"
            )
        journal = Journal(backend, database)
        newest = max((name.last for one in backend.list(JOURNAL) if (name := parse_journal_key(one.key))), default=0)
        counters = database.write(lambda tx: _mend_counters(tx, newest))
        found = database.store()
        _require_same_history(journal, database, found.journalled)
        repaired = Repaired(rows=counters)
        for packs in PackKind:
            _index_packs(backend, database, packs, repaired)
        repaired.events = journal.replay() - found.seq
        if compared:
            repaired.rows += mend_rows(backend, journal, database, compared)
        return repaired
    finally:
        database.close()


def _mend_counters(tx: Transaction, newest: int) -> int:
    """Make the store's row count the events that there are, up to `newest` in the bucket; return how many rows changed.

    IntegrityError where event rows are missing between those that are counted and others.
    """
    store, event = tables.store.c, tables.event.c
    row = tx.lock(select(store.seq, store.journalled)).one()
    seq, journalled = row.seq, row.journalled
    rows = select(
        func.coalesce(func.max(event.seq), 0).label("last"), func.count().filter(event.seq > seq).label("more")
    )
    found = tx.execute(rows).one()
    last: int = found.last
    if last > seq and found.more != last - seq:
        raise IntegrityError(
            f"the database has an event {last} behind {seq}, and lacks some between; move it away and make a new one"
            " from the bucket: `art repair database`"
        )
    counted = max(last, min(seq, newest))
    known = journalled if journalled <= counted else min(counted, newest)
    if (counted, known) == (seq, journalled):
        return 0
    tx.execute(update(tables.store).values(seq=counted, journalled=known))
    return 1


def _require_same_history(journal: Journal, database: Database, journalled: int) -> None:
    """Raise Conflict where the database's last event in the journal is another there: nothing may be added to it then.

    One that cannot be read any more is not needed, either: the events behind it are.
    """
    if journalled == 0:
        return
    try:
        first = next(journal.events(after=journalled - 1), None)
    except IntegrityError:
        return
    if first is None:
        raise Conflict(
            f"{database.url} has {journalled} events of the journal, and the bucket has fewer: it is not this store's"
            " bucket of today, but an older copy of it; or it has lost them: `art repair journal` writes them again"
        )
    database.write(lambda tx: tx.restore([first]))  # changes nothing but refuses one that differs


def _index_packs(backend: Backend, database: Database, kind: PackKind, repaired: Repaired) -> None:
    """Enter every pack of a kind that the database does not know as readable."""
    wanted = select(_pack.c.key).where(_pack.c.kind == kind, _pack.c.state.not_in(_WAITING))
    settled = set(database.read(lambda connection: connection.execute(wanted).scalars().all()))
    new = (
        (name, one.size)
        for one in backend.list(pack_folder(kind))
        if (name := parse_pack_key(one.key)) is not None and name.id not in settled
    )
    with ThreadPoolExecutor(backend.parallelism) as pool:
        while batch := list(islice(new, BATCH)):
            for (name, size), slots in zip(batch, pool.map(lambda one: _slots(backend, *one), batch), strict=True):
                if isinstance(slots, str):
                    repaired.damaged.append((pack_key(name.kind, name.id), slots))
                elif database.write(partial(_enter, name=name, size=size, slots=slots)):
                    repaired.packs += 1
                    repaired.chunks += len(slots)


def _slots(backend: Backend, name: PackName, size: int) -> list[Slot] | str:
    key = pack_key(name.kind, name.id)
    try:
        return read_slots(lambda start, length: backend.get(key, start, length), size, name.id, PackKind(name.kind))
    except (IntegrityError, NotFound) as error:
        return str(error)


def _enter(tx: Transaction, name: PackName, size: int, slots: list[Slot]) -> bool:
    """Make a pack and its chunks known; False where somebody else has settled what becomes of it."""
    if tx.dialect == "postgresql":  # a pack has no row yet that two repairs could wait for
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('lineart.repair'))"))
    here = _pack.c.key == name.id
    found = tx.lock(select(_pack.c.id, _pack.c.state).where(here)).one_or_none()
    if found is None:
        if was_deleted(tx.connection, name.id):  # by a collector that runs beside this repair
            return False
        row = {"key": name.id, "kind": name.kind, "state": PackState.LIVE, "size": size}
        number = tx.execute(insert(_pack).values(**row).returning(_pack.c.id)).scalar_one()
    elif found.state in _WAITING:
        number = found.id
        tx.execute(update(_pack).where(here).values(state=PackState.LIVE, stamp=None, session=None, size=size))
    else:
        return False
    places = [(digest, number, *place) for digest, *place in slots]
    tx.insert_many(tables.chunk, CHUNK_COLUMNS, places, ignore=True)
    return True
