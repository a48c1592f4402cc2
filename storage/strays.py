"""Objects of the bucket that the database does not know: uploads that came too late, and what crashes left.

Knows listings, the rows of packs, and when an object was first seen; must not know what is wanted beyond the marks that
it is given. An object's age is counted by the store's clock from the collection that first saw it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from sqlalchemy import Connection, delete, select

from . import packs, tables
from .backends.base import is_unfinished
from .bulk import select_in
from .database import Transaction
from .engine import Engine
from .layout import pack_folder, parse_pack_key
from .marks import Marks
from .pack import PackKind
from .packs import PackRow

__all__ = ["Strays", "find_strays", "list_leftovers", "sweep_leftovers"]

AGE = 7 * 24 * 3600 * 1_000_000  # µs for which an object that nobody knows is left alone
BATCH = 500
_stray = tables.stray


@dataclass(slots=True)
class Strays:
    """Unknown packs: those to delete, those to wait for, and what was left alone for another reason."""

    old: list[PackRow] = field(default_factory=list)
    young: list[PackRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)  # the keys of all of them

    def remember(self, tx: Transaction) -> None:
        """Note when unknown objects were first seen, and forget those that are unknown no more."""
        _remember(tx, self.unknown, temporary=False)


def find_strays(engine: Engine, marks: Marks, now: int) -> Strays:
    """List the packs in the bucket that have no row; `now` is the database's time.

    One that cannot be read is left alone, and so is one that holds a wanted chunk that no other pack has: the database
    may have lost its row, and a repair brings it back.
    """
    found = Strays()
    seen = _seen(engine)
    for pack in _unknown(engine):
        found.unknown.add(pack.object)
        if seen.get(pack.object, now) > now - AGE:
            found.young.append(pack)
            continue
        slots = packs.footer(engine.backend.origin, pack)
        if slots is None:
            found.notes.append(f"{pack.object} is unknown to the database and no sound pack; it was left alone")
        elif not _spare(engine, marks.among(one.digest for one in slots)):
            found.notes.append(
                f"{pack.object} is unknown to the database and holds what a version needs; `art repair database`"
            )
        else:
            found.old.append(pack)
    return found


def _spare(engine: Engine, wanted: set[bytes]) -> bool:
    return engine.chunks.locate(wanted).keys() >= wanted


def _unknown(engine: Engine) -> Iterator[PackRow]:
    """Yield objects that are named as packs are and have no row."""
    for kind in PackKind:
        listed = (
            PackRow(0, name.id, name.kind, 0, one.size)
            for one in engine.backend.origin.list(pack_folder(kind))
            if (name := parse_pack_key(one.key)) is not None
        )
        while part := list(islice(listed, BATCH)):
            # Asked after the listing: whatever a writer has put there was registered before.
            known = engine.database.read(partial(_registered, keys=[one.key for one in part]))
            yield from (one for one in part if one.key not in known)


def _registered(connection: Connection, keys: list[bytes]) -> set[bytes]:
    return {bytes(row[0]) for row in select_in(connection, "SELECT key FROM pack WHERE key {in}", keys)}


def list_leftovers(engine: Engine, now: int) -> list[str]:
    """Return unfinished files, of a backend that has such, that were first seen seven days ago or more."""
    seen = _seen(engine)
    return [name for name in engine.backend.origin.unfinished() if seen.get(name, now) <= now - AGE]


def sweep_leftovers(engine: Engine) -> int:
    """Remove unfinished files whose writer crashed long ago; return how many there were."""
    now = engine.database.write(lambda tx: tx.now())
    old = list_leftovers(engine, now)
    engine.backend.origin.discard(old)
    there = set(engine.backend.origin.unfinished())
    if there or old:
        engine.database.write(lambda tx: _remember(tx, there, temporary=True))
    return len(old)


def _seen(engine: Engine) -> dict[str, int]:
    wanted = select(_stray.c.key, _stray.c.seen)
    return {row.key: row.seen for row in engine.database.read(lambda connection: connection.execute(wanted).all())}


def _remember(tx: Transaction, there: set[str], *, temporary: bool) -> None:
    """Make the rows of one sort of unknown object those that are there; what has a row keeps its time."""
    rows = tx.execute(select(_stray.c.key)).scalars().all()
    ours = {key for key in rows if is_unfinished(key) == temporary}
    gone = sorted(ours - there)
    for start in range(0, len(gone), BATCH):
        tx.execute(delete(_stray).where(_stray.c.key.in_(gone[start : start + BATCH])))
    tx.insert_many(_stray, ("key", "seen"), [(key, tx.now()) for key in sorted(there - ours)], ignore=True)
