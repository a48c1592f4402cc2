"""Packs as a collector sees them: their rows, their footers, and the transactions that move them between states.

Knows the states of docs/format.md ("Collecting garbage") and the order in which rows are locked: packs by id. Which
packs are wanted is for `gc` to say. Every function that takes a transaction may be called again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, exists, select, update

from . import tables
from .backends.base import Backend
from .database import Database, Transaction
from .errors import IntegrityError, NotFound
from .layout import pack_key
from .pack import PackKind, Slot, read_slots
from .tables import PackState
from .transaction import PACKS, PACKS_DELETING

__all__ = [
    "PackRow",
    "condemn",
    "condemn_copied",
    "drop_rows",
    "enter_strays",
    "expire",
    "expired",
    "footer",
    "given_up",
    "living",
    "packs_in",
    "revive",
    "rows_of",
    "sweep",
    "sweep_copied",
]

BATCH = 500  # packs in one statement, and in one event
_pack, _pin, _session = tables.pack, tables.pin, tables.session
_COLUMNS = (_pack.c.id, _pack.c.key, _pack.c.kind, _pack.c.state, _pack.c.size)


class PackRow(NamedTuple):
    """A registered pack."""

    id: int
    key: bytes
    kind: int
    state: int
    size: int

    @property
    def object(self) -> str:
        """The key of its object in the bucket."""
        return pack_key(self.kind, self.key)


def packs_in(connection: Connection, states: Iterable[int]) -> list[PackRow]:
    """Return the packs in some states, by id."""
    wanted = select(*_COLUMNS).where(_pack.c.state.in_(list(states))).order_by(_pack.c.id)
    return [PackRow(*row) for row in connection.execute(wanted)]


def footer(backend: Backend, pack: PackRow) -> list[Slot] | None:
    """Return where a pack's chunks lie; None where the object is gone or is no sound pack."""
    try:
        return read_slots(
            lambda start, length: backend.get(pack.object, start, length), pack.size, pack.key, PackKind(pack.kind)
        )
    except (IntegrityError, NotFound):
        return None


# Writers that are gone


def living(connection: Connection, now: int) -> set[str]:
    """Return the sessions that live at a time."""
    return set(connection.execute(select(_session.c.id).where(_session.c.expires > now)).scalars())


def expired(connection: Connection, now: int) -> int:
    """Return how many sessions are past their expiry."""
    return len(connection.execute(select(_session.c.id).where(_session.c.expires <= now)).all())


def given_up(connection: Connection, alive: set[str]) -> list[PackRow]:
    """Return the packs that belong to no living session and to no version, those included that are dead already."""
    waiting = (PackState.UPLOADING, PackState.UPLOADED)
    owners = dict(connection.execute(select(_pack.c.id, _pack.c.session).where(_pack.c.state.in_(waiting))).all())
    found = packs_in(connection, (*waiting, PackState.DEAD))
    return [one for one in found if one.state == PackState.DEAD or owners.get(one.id) not in alive]


def expire(tx: Transaction) -> int:
    """End every session past its expiry, and return how many there were.

    What belongs to no living session then, be it that the session never was or has closed, is nobody's: packs that are
    `uploaded` become `condemned`, and those that are `uploading` `dead`, so that a writer who comes back late finds
    that it must begin again. An upload may still be under way; what lands then is unknown to the database.
    """
    waiting = (PackState.UPLOADING, PackState.UPLOADED)
    found = tx.lock(
        select(_pack.c.id, _pack.c.state, _pack.c.session).where(_pack.c.state.in_(waiting)).order_by(_pack.c.id)
    ).all()
    alive = living(tx.connection, tx.now())
    for before, after in ((PackState.UPLOADED, PackState.CONDEMNED), (PackState.UPLOADING, PackState.DEAD)):
        gone = [row.id for row in found if row.state == before and row.session not in alive]
        for part in _parts(gone):
            tx.execute(update(_pack).where(_pack.c.id.in_(part)).values(state=after, stamp=None, session=None))
    ended = tx.execute(delete(_session).where(_session.c.expires <= tx.now())).rowcount
    tx.execute(delete(_pin).where(~exists().where(_session.c.id == _pin.c.session)))
    return int(ended)


# From live to gone


def condemn(tx: Transaction, idle: Iterable[int], wanted: Iterable[int], stamp: str) -> None:
    """Condemn idle packs under a stamp, whoever condemned them before; wanted ones that are condemned become live.

    Only packs that are live or condemned are touched.
    """
    change = dict.fromkeys(idle, PackState.CONDEMNED) | dict.fromkeys(wanted, PackState.LIVE)
    for part in _parts(sorted(change)):
        now = _locked(tx, part)
        doomed = [one for one in now if change[one] == PackState.CONDEMNED and now[one] in _TAKEN]
        kept = [one for one in now if change[one] == PackState.LIVE and now[one] == PackState.CONDEMNED]
        _set(tx, doomed, PackState.CONDEMNED, stamp)
        _set(tx, kept, PackState.LIVE, None)


def revive(tx: Transaction, packs: Iterable[int]) -> int:
    """Make condemned packs live again; return how many were."""
    count = 0
    for part in _parts(sorted(set(packs))):
        condemned = [one for one, state in _locked(tx, part).items() if state == PackState.CONDEMNED]
        _set(tx, condemned, PackState.LIVE, None)
        count += len(condemned)
    return count


def sweep(tx: Transaction, stamp: str, reason: str) -> list[PackRow]:
    """Give up what is still condemned under a stamp, and what is dead; the event of it is part of the transaction."""
    ours = (_pack.c.state == PackState.CONDEMNED) & (_pack.c.stamp == stamp)
    found = tx.lock(select(*_COLUMNS).where(ours | (_pack.c.state == PackState.DEAD)).order_by(_pack.c.id)).all()
    return _give_up(tx, [PackRow._make(row) for row in found], reason)


def condemn_copied(tx: Transaction, pack: int, wanted: Sequence[bytes], stamp: str) -> bool:
    """Condemn a live pack whose wanted chunks all lie in other live packs, too; False where they do not."""
    state = _state_if_spare(tx, pack, wanted)
    if state == PackState.LIVE:
        _set(tx, [pack], PackState.CONDEMNED, stamp)
    return state == PackState.LIVE


def sweep_copied(tx: Transaction, pack: PackRow, wanted: Sequence[bytes], stamp: str, reason: str) -> list[PackRow]:
    """Give up a pack condemned under a stamp, if its wanted chunks still lie in other live packs; else it lives on."""
    state = _state_if_spare(tx, pack.id, wanted)
    mine = select(_pack.c.id).where(_pack.c.id == pack.id, _pack.c.stamp == stamp)
    if state == PackState.CONDEMNED and tx.execute(mine).first() is not None:
        return _give_up(tx, [pack], reason)
    if state is None:
        revive(tx, [pack.id])
    return []


def enter_strays(tx: Transaction, packs: Iterable[PackRow], reason: str) -> list[PackRow]:
    """Register objects that nobody knows as packs that are being deleted; those known by now are left out.

    So a repair beside this collector finds them settled, and takes none of them for a pack.
    """
    found = {pack.key: pack for pack in packs}
    rows = [(pack.key, pack.kind, PackState.DELETING, pack.size) for pack in found.values()]
    tx.insert_many(_pack, ("key", "kind", "state", "size"), rows, ignore=True)
    entered = tx.select_in("SELECT id, key, kind, state, size FROM pack WHERE key {in}", found)
    objects = [pack.object for pack in found.values()]
    for part in _parts(objects):
        tx.execute(delete(tables.stray).where(tables.stray.c.key.in_(part)))
    return _give_up(tx, [PackRow._make(row) for row in entered if row.state == PackState.DELETING], reason)


def drop_rows(tx: Transaction, pack: int, digests: Iterable[bytes]) -> None:
    """Remove a deleted pack's rows: those of its chunks, and its own."""
    rows = [(digest, pack) for digest in digests]
    mark = "%b" if tx.dialect == "postgresql" else "?"
    if rows:
        tx.connection.exec_driver_sql(f"DELETE FROM chunk WHERE digest = {mark} AND pack = {mark}", rows)  # noqa: S608
    tx.execute(delete(_pack).where(_pack.c.id == pack, _pack.c.state == PackState.DELETING))


def rows_of(database: Database, packs: Iterable[int]) -> dict[int, list[bytes]]:
    """Return the digests that the index has of packs whose footers are gone; it reads the whole index."""
    wanted = list(packs)
    found: dict[int, list[bytes]] = {one: [] for one in wanted}
    for part in _parts(wanted):
        sql = select(tables.chunk.c.digest, tables.chunk.c.pack).where(tables.chunk.c.pack.in_(part))
        for digest, pack in database.read(lambda connection, sql=sql: connection.execute(sql).all()):  # type: ignore[misc]
            found[pack].append(digest)
    return found


_TAKEN = (PackState.LIVE, PackState.CONDEMNED)


def _locked(tx: Transaction, packs: Sequence[int]) -> dict[int, int]:
    """Lock packs in the order of their ids, and return their states."""
    found = tx.lock(select(_pack.c.id, _pack.c.state).where(_pack.c.id.in_(packs)).order_by(_pack.c.id))
    return {row.id: row.state for row in found}


def _set(tx: Transaction, packs: Sequence[int], state: PackState, stamp: str | None) -> None:
    if packs:
        tx.execute(update(_pack).where(_pack.c.id.in_(packs)).values(state=state, stamp=stamp, session=None))


def _state_if_spare(tx: Transaction, pack: int, wanted: Sequence[bytes]) -> int | None:
    """Return a pack's state, if another live pack holds each wanted chunk; all of them are locked from here on.

    Two collectors that each lean on the other's pack would otherwise both be right, and lose both.
    """
    copies = tx.select_in("SELECT digest, pack FROM chunk WHERE digest {in}", wanted)
    states: dict[int, int] = {}
    for part in _parts(sorted({pack, *(row[1] for row in copies)})):
        states |= _locked(tx, part)
    held = {row[0] for row in copies if row[1] != pack and states.get(row[1]) == PackState.LIVE}
    return states.get(pack) if held.issuperset(wanted) else None


def _give_up(tx: Transaction, packs: list[PackRow], reason: str) -> list[PackRow]:
    """Record that packs are about to be deleted; the event's fold makes them `deleting`."""
    for part in _parts(packs):
        data = {"packs": [one.key.hex() for one in part], "size": sum(one.size for one in part)}
        tx.record(PACKS_DELETING, PACKS, data, reason)
    return packs


def _parts(items: Sequence) -> Iterator[list]:  # type: ignore[type-arg]
    for start in range(0, len(items), BATCH):
        yield list(items[start : start + BATCH])
