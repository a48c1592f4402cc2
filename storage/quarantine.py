"""Quarantine: packs that are no sound packs any more are offered to nobody, and never deleted by a program.

Knows packs, the index and events. What is still good in such a pack is copied out before it is set aside, so that
nobody who reads or writes meanwhile misses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import select

from . import tables
from .chunks import READABLE, ChunkStore, Location, plan
from .database import Transaction
from .engine import Engine
from .errors import NotFound
from .pack import Encoded, PackKind
from .packs import PackRow, rows_of
from .tables import PackState
from .transaction import PACKS, PACKS_QUARANTINED, PACKS_RELEASED

__all__ = ["quarantine", "release", "rescue"]

BATCH = 500  # packs in one event
_pack = tables.pack


def rescue(engine: Engine, broken: Sequence[PackRow]) -> int:
    """Copy the good chunks of packs into new ones, unless another live pack has them; return how many were copied.

    Where they lie is what the index says, since the footer cannot be trusted; each is verified.
    """
    chunks = ChunkStore(engine.backend, engine.database)
    ids = {row.id for row in broken}
    held = rows_of(engine.database, ids)

    def attempt() -> int:
        with engine.session() as session:
            for row in broken:
                copies = chunks.copies(held[row.id])
                safe = {one.digest for one in copies if one.state == PackState.LIVE and one.pack not in ids}
                own = [one for one in copies if one.pack == row.id and one.digest not in safe]
                session.add(_readable(engine, own), PackKind(row.kind))
            session.flush()
            engine.write(session.commit)
        return session.new_chunks

    return engine.insist(attempt)


def _readable(engine: Engine, located: Iterable[Location]) -> Iterator[Encoded]:
    for read in plan(located):
        try:
            raw = memoryview(engine.backend.get(read.key, read.start, read.length))
        except NotFound:
            continue
        for one in read.chunks:
            stored = raw[one.offset - read.start :][: one.stored]
            if ChunkStore.verified(one, stored) is not None:
                yield Encoded(one.digest, bytes(stored), one.size, one.codec)


def quarantine(engine: Engine, broken: Sequence[PackRow]) -> set[bytes]:
    """Set packs aside, unless a collector took them meanwhile; return the ids of those that were."""
    done: set[bytes] = set()
    for start in range(0, len(broken), BATCH):
        part = broken[start : start + BATCH]
        done |= engine.write(
            lambda tx, part=part: _record(  # type: ignore[misc]
                tx, PACKS_QUARANTINED, part, (*READABLE, PackState.MISSING), "no sound pack: damaged, or cut short"
            )
        )
    return done


def release(engine: Engine, pack: PackRow) -> bool:
    """Offer a pack again that was in quarantine; False where it is not there any more."""
    return bool(
        engine.write(lambda tx: _record(tx, PACKS_RELEASED, [pack], (PackState.QUARANTINED,), "it reads well again"))
    )


def _record(tx: Transaction, kind: str, packs: Sequence[PackRow], among: Sequence[int], reason: str) -> set[bytes]:
    """Record an event of those packs that are in one of some states; its fold changes them."""
    ids = [one.id for one in packs]
    rows = tx.lock(select(_pack.c.key, _pack.c.state).where(_pack.c.id.in_(ids)).order_by(_pack.c.id)).all()
    keys = {bytes(row.key) for row in rows if row.state in among}
    found = [one for one in packs if one.key in keys]
    if found:
        data = {"packs": [one.key.hex() for one in found], "size": sum(one.size for one in found)}
        tx.record(kind, PACKS, data, reason)
    return keys
