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
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text, update

from . import tables
from .backends.base import Backend
from .database import Database, Transaction
from .engine import read_marker
from .errors import Conflict, IntegrityError, NotFound
from .events import Fold
from .journal import Journal
from .layout import JOURNAL, PackName, pack_folder, pack_key, parse_journal_key, parse_pack_key
from .marker import Marker
from .pack import PackKind, Slot, read_slots
from .recorded import events_between
from .repair_counters import Counters, counters_said, mend_counters
from .repair_hole import Hole, UpToHole, bar_writing, look_behind
from .rows import Compared
from .rows_check import THEN, RowReport
from .rows_mend import mend_rows
from .session import CHUNK_COLUMNS
from .tables import PackState
from .transaction import was_deleted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

__all__ = [
    "NAMED",
    "Repaired",
    "newest_event",
    "repair_database",
    "require_marker",
    "require_same_history",
    "require_store",
    "require_whole",
    "unknown_packs",
    "waiting",
]

_pack = tables.pack
NAMED = 1000  # rows that are described, of those that were changed
BATCH = 64  # packs whose footers are read before their chunks are entered: a few megabytes each at most
_WAITING = (PackState.UPLOADING, PackState.UPLOADED, PackState.CONDEMNED, PackState.MISSING)


@dataclass(slots=True)
class Repaired:
    """What a repair brought back: counts, and the packs that could not be read, with the reason."""

    events: int = 0
    packs: int = 0
    chunks: int = 0
    made: bool = False  # there was no database
    changed: RowReport = field(default_factory=RowReport)  # rows of one that was there, and were not what events say
    damaged: list[tuple[str, str]] = field(default_factory=list)
    hole: Hole | None = None  # behind which nothing was applied

    @property
    def rows(self) -> int:
        """How many rows were not what the events say."""
        return self.changed.counts.total()


def repair_database(
    backend: Backend,
    url: str,
    *,
    actor: str,
    folds: Mapping[str, Fold],
    compared: Sequence[Compared] = (),
    kind: type[Database] = Database,
    listed: int | None = NAMED,
    up_to_hole: bool = False,
) -> Repaired:
    """Make the database at `url` know everything that the bucket holds; it may be absent, empty, or an older backup.

    Raises NotFound where the bucket holds no store, Conflict where the database belongs to another store or has events
    that the journal contradicts, and IntegrityError for a journal that cannot be read. Rows of `compared` that are not
    what the events say are made so, in a database that was there, before later events build on them; at most `listed`
    of them are described. Where the journal has a hole, nothing is folded, or with `up_to_hole` what comes before it:
    such a database is there to be read, and refuses to be written with until a repair with the whole journal. `kind` is
    the class that opens the database.
    """
    marker = require_marker(backend)
    repaired = Repaired(changed=RowReport(listed=listed))
    try:
        database = kind.create_blank(url, store_id=marker.store_id, actor=actor, folds=folds)
        repaired.made = True
    except Conflict:
        database = kind.open(url, actor=actor, folds=folds)
    try:
        require_store(backend, database, marker)
        journal, newest = UpToHole(backend, database), newest_event(backend)
        bar = partial(bar_writing, newest=newest)  # until the last event is there, whatever ends this before

        def count(tx: Transaction) -> tuple[Counters, Counters]:
            known, right = mend_counters(tx, newest)
            if known.journalled > known.seq:
                bar(tx)  # as it was
            return known, right

        known, counted = database.write(count)
        for one in counters_said(known, counted, newest, THEN):
            repaired.changed.add(one)
        require_same_history(backend, database, counted.journalled)
        if counted.journalled == counted.seq:  # else it has events of its own, and may be refused as it is
            database.write(bar)
        if counted.seq < newest and not up_to_hole:
            require_whole(journal, counted.journalled)
        for packs in PackKind:
            _index_packs(backend, database, packs, repaired)
        if compared and not repaired.made:  # rows that are made now are what the events say
            room = repaired.changed.room
            repaired.changed.join(mend_rows(backend, journal, database, compared, listed=room))
        last = journal.replay(counted.journalled, bar)
        repaired.events = last - counted.seq
        if journal.hole is not None and last < newest:
            if last == 0:
                raise IntegrityError(f"{journal.hole}; nothing came before that")
            database.write(bar)
            repaired.hole = look_behind(backend, journal, database, last, newest)
        return repaired
    finally:
        database.close()


def require_marker(backend: Backend) -> Marker:
    """Return the marker of a store; NotFound where the bucket holds none."""
    marker = read_marker(backend)
    if marker is None:
        raise NotFound(f"no store at {backend.url}: its marker is the first thing that is needed to rebuild a database")
    return marker


def require_store(backend: Backend, database: Database, marker: Marker) -> None:
    """Raise Conflict where a database belongs to another store than the bucket."""
    store_id = database.store().store_id
    if store_id != marker.store_id:
        raise Conflict(f"{database.url} belongs to store {store_id[:8]}, {backend.url} holds {marker.store_id[:8]}")


def newest_event(backend: Backend) -> int:
    """Return the number of the last event that an object of the journal is named for."""
    return max((name.last for one in backend.list(JOURNAL) if (name := parse_journal_key(one.key))), default=0)


def require_whole(journal: UpToHole, after: int) -> None:
    """Raise IntegrityError where the journal cannot be read to its end; so before anything is made of it."""
    for _ in journal.events(after):
        continue
    if journal.hole is not None:
        raise IntegrityError(
            f"{journal.hole}; `art repair database --up-to-hole` makes a database of what came before, to be read only"
        )


def require_same_history(backend: Backend, database: Database, journalled: int) -> None:
    """Raise Conflict where the database's last event in the journal is another there: nothing may be added to it then.

    One that cannot be read any more is not needed, either: the events behind it are.
    """
    if journalled == 0:
        return
    try:
        first = next(Journal(backend, database).events(after=journalled - 1), None)
    except IntegrityError:
        return
    if first is None:
        raise Conflict(
            f"{database.url} has {journalled} events of the journal, and the bucket has fewer: it is not this store's"
            " bucket of today, but an older copy of it; or it has lost them: `art repair journal` writes them again"
        )

    def last(connection: Connection) -> bytes | None:
        return next((one.to_line() for one in events_between(connection, journalled - 1, journalled)), None)

    here = database.read(last)
    if here is not None and here != first.to_line():
        raise Conflict(
            f"event {journalled} is another in the journal than in {database.url}: both went on from one backup; move"
            " this database away, and make a new one from the journal: `art repair database`"
        )


def _index_packs(backend: Backend, database: Database, kind: PackKind, repaired: Repaired) -> None:
    """Enter every pack of a kind that the database does not know as readable."""
    for name, size, slots in unknown_packs(backend, database, kind):
        if isinstance(slots, str):
            repaired.damaged.append((pack_key(name.kind, name.id), slots))
        elif database.write(partial(_enter, name=name, size=size, slots=slots)):
            repaired.packs += 1
            repaired.chunks += len(slots)


def unknown_packs(
    backend: Backend, database: Database, kind: PackKind
) -> Iterator[tuple[PackName, int, list[Slot] | str]]:
    """Yield every pack of a kind that the database does not know as readable: its size, its slots or what is wrong."""
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
                yield name, size, slots


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
    if not waiting(tx.connection, name.id):
        return False
    if found is None:
        row = {"key": name.id, "kind": name.kind, "state": PackState.LIVE, "size": size}
        number = tx.execute(insert(_pack).values(**row).returning(_pack.c.id)).scalar_one()
    else:
        number = found.id
        tx.execute(update(_pack).where(here).values(state=PackState.LIVE, stamp=None, session=None, size=size))
    places = [(digest, number, *place) for digest, *place in slots]
    tx.insert_many(tables.chunk, CHUNK_COLUMNS, places, ignore=True)
    return True


def waiting(connection: Connection, key: bytes) -> bool:
    """Whether a pack is to be entered: nobody has settled what becomes of it, as a collector beside a repair does."""
    state = connection.execute(select(_pack.c.state).where(_pack.c.key == key)).scalar_one_or_none()
    return not was_deleted(connection, key) if state is None else state in _WAITING
