"""Making the chunk index say what the packs hold: `art repair index`, below versions.

Knows packs, their footers and the index; which chunks are needed is not asked. Deletes no object. A row is added only
once the bytes that it names were read and are right, so nobody is offered a copy that is known to be damaged; a pack is
changed only under its lock and in a state that a repair may leave, so writers and collectors may be at work meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update

from . import tables
from .bulk import select_in
from .check import Problem, list_packs, registered
from .chunks import READABLE, ChunkStore, Location
from .database import Transaction
from .digest import Digest
from .engine import Engine, read_marker
from .errors import NotFound, StoreUnavailable
from .layout import parse_pack_key
from .pack import Slot
from .packs import PackRow, drop_rows, rows_of
from .quarantine import quarantine, release, rescue
from .session import CHUNK_COLUMNS
from .tables import PackState
from .transaction import was_deleted
from .verify import ahead, damaged_chunks, locations, share_of, slots_of

__all__ = ["Reindexed", "Reindexer"]

BATCH = 4096  # chunks looked up at once
_KNOWN = (*READABLE, PackState.MISSING, PackState.QUARANTINED)  # whose rows a repair may change
_pack = tables.pack


@dataclass(slots=True)
class Reindexed:
    """What a repair of the index did; keys of packs, counts of rows, and bytes."""

    packs: int = 0  # looked at
    added: int = 0  # rows that were missing
    removed: int = 0  # rows that pointed wrongly or nowhere
    adopted: list[str] = field(default_factory=list)  # packs that the database did not know
    missing: list[str] = field(default_factory=list)  # packs whose object is gone
    back: list[str] = field(default_factory=list)  # packs that were missing or in quarantine, and are whole again
    quarantined: list[Problem] = field(default_factory=list)
    damaged: list[Problem] = field(default_factory=list)  # copies of chunks that are offered no more
    rescued: int = 0  # chunks copied out of packs that went into quarantine
    read_bytes: int = 0
    notes: list[str] = field(default_factory=list)


class Reindexer:
    """One repair of an index; for one thread, and for one use. May be interrupted and done again.

    `damaged` says, by digest, where copies lay that are no good: copies of them on this machine may be. `tell` is told
    of bytes that were read.
    """

    def __init__(self, engine: Engine, tell: Callable[[int], None] = lambda _: None) -> None:
        self._engine = engine
        self._tell = tell
        self._place = engine.backend
        self._chunks = ChunkStore(engine.backend, engine.database)
        self._report = Reindexed()
        self._suspects: list[tuple[PackRow, list[Slot]]] = []  # of which the index has more than their footers
        self.damaged: dict[bytes, list[Location]] = defaultdict(list)

    def run(self, share: float = 0.0, seed: int = 0) -> Reindexed:
        """Repair; with a `share` above 0, that share of all bytes is read and verified, too (see `share_of`).

        Raises StoreUnavailable where the marker is gone: that is a bucket that is not mounted, and says nothing of any
        pack. Raises Conflict where the journal holds an event that the database lacks.
        """
        engine = self._engine
        self._require_bucket()
        engine.begin_writing()
        engine.journal.check_tail()
        known, indexed = engine.database.read(registered)
        there = list_packs(engine)
        sound = self._examine([row for row in known if row.state in _KNOWN], there, indexed)
        self._drop_unknown({row.id for row in known}, indexed)
        self._drop_extras()
        sound += self._adopt(known, there)
        if share:
            for row in share_of(sound, share, seed):
                self._verify(row, slots_of(self._place, row))
        return self._report

    # Packs that the database knows

    def _examine(self, packs: list[PackRow], there: dict[str, int], indexed: dict[int, int]) -> list[PackRow]:
        """Look at every pack that a repair may touch; return those that are offered and sound."""
        report = self._report
        report.packs += len(packs)
        sound: list[PackRow] = []
        broken: list[tuple[PackRow, str]] = []
        with ThreadPoolExecutor(self._place.parallelism) as pool:
            for row, slots in ahead(pool, lambda row: self._footer(row, there.get(row.object)), packs):
                if slots is None:
                    self._miss(row)
                elif isinstance(slots, str):
                    if row.state != PackState.QUARANTINED:
                        broken.append((row, slots))
                elif self._take(row, slots, indexed.get(row.id, 0)):
                    sound.append(row)
        if broken:
            report.rescued += rescue(self._engine, [row for row, _ in broken])
            done = quarantine(self._engine, [row for row, _ in broken])
            report.quarantined += [Problem(row.object, why) for row, why in broken if row.key in done]
        return sound

    def _footer(self, row: PackRow, listed: int | None) -> list[Slot] | str | None:
        """Return a pack's slots, or what is wrong with it; None where there is no object."""
        if listed != row.size:  # a listing may be behind; and what it lacks may be on its way
            try:
                listed = self._place.size(row.object)
            except NotFound:
                return None
        return slots_of(self._place, row) if listed == row.size else f"it has {listed} bytes, {row.size} were written"

    def _take(self, row: PackRow, slots: list[Slot], indexed: int) -> bool:
        """Make the rows of a sound pack right, and offer it again if it was not; say whether it is offered."""
        if row.state == PackState.QUARANTINED:
            self._verify(row, slots)  # it was no good once: it is offered again when all of it was read
        found = 0
        for start in range(0, len(slots), BATCH):
            found += self._compare(row, slots[start : start + BATCH])
        if indexed > found:
            self._suspects.append((row, slots))
        if row.state in READABLE:
            return True
        if row.state == PackState.MISSING:
            back = self._move(row, PackState.LIVE, [PackState.MISSING])
        else:
            back = release(self._engine, row)
        if back:
            self._report.back.append(row.object)
        return back

    def _compare(self, row: PackRow, slots: list[Slot]) -> int:
        """Compare part of a footer with the index, and mend that; return how many of its rows the index had."""
        own = {one.digest: one for one in self._chunks.copies(slot.digest for slot in slots) if one.pack == row.id}
        known = {digest: (one.offset, one.stored, one.size, one.codec) for digest, one in own.items()}
        wrong = [one for one in slots if one.digest in known and known[one.digest] != one[1:]]
        lacking = [one for one in slots if one.digest not in known]
        if wrong or lacking:
            good = self._good(row, [*wrong, *lacking])
            removed, added = self._engine.database.write(lambda tx: _replace(tx, row, wrong, good))
            self._report.removed += removed
            self._report.added += added
        return len(own)

    def _good(self, row: PackRow, slots: list[Slot]) -> list[Slot]:
        """Return those slots whose bytes are what they should be."""
        bad = set()
        for length, damaged in damaged_chunks(self._place, locations(row, slots)):
            self._count(length)
            for one in damaged:
                self.damaged[one.digest].append(one)
                bad.add(one.digest)
        return [one for one in slots if one.digest not in bad]

    def _verify(self, row: PackRow, slots: list[Slot] | str) -> None:
        """Read every chunk of a pack; what is damaged loses its row."""
        if isinstance(slots, str):
            return  # it became so, or went, since it was looked at: the next repair finds it
        for length, damaged in damaged_chunks(self._place, locations(row, slots)):
            self._count(length)
            if not damaged:
                continue
            if not self._is_there(row):  # what is gone is not damaged: it may come back
                self._miss(row)
                return
            if not self._engine.database.write(lambda tx, bad=damaged: _replace(tx, row, bad, []))[0]:  # type: ignore[misc]
                return  # a collector's by now
            for one in damaged:
                self.damaged[one.digest].append(one)
                what = f"chunk {Digest(one.digest)} at {one.offset} is damaged"
                self._report.damaged.append(Problem(row.object, what))

    def _count(self, size: int) -> None:
        self._report.read_bytes += size
        self._tell(size)

    def _is_there(self, row: PackRow) -> bool:
        try:
            return self._place.size(row.object) > 0
        except NotFound:
            return False

    def _miss(self, row: PackRow) -> None:
        """Offer a pack no more whose object is gone, while the store's marker is there."""
        self._require_bucket()
        if row.state in READABLE and self._move(row, PackState.MISSING, READABLE):
            self._report.missing.append(row.object)

    def _require_bucket(self) -> None:
        if read_marker(self._place) is None:
            raise StoreUnavailable(f"{self._place.url}: the store's marker is gone; is the bucket mounted?")

    def _move(self, row: PackRow, state: PackState, among: Iterable[int]) -> bool:
        """Give a pack another state, if nobody else has changed it meanwhile."""
        here = update(_pack).where(_pack.c.id == row.id, _pack.c.state.in_(list(among)))
        return self._engine.database.write(lambda tx: tx.execute(here.values(state=state)).rowcount == 1)

    # Rows that belong to no chunk

    def _drop_unknown(self, known: set[int], indexed: dict[int, int]) -> None:
        """Remove the rows of packs that nobody registered: a pack's row comes before its chunks' and goes last."""
        strays = [pack for pack in indexed if pack not in known]
        for pack, digests in rows_of(self._engine.database, strays).items() if strays else ():
            self._engine.database.write(lambda tx, p=pack, d=digests: drop_rows(tx, p, d))  # type: ignore[misc]
            self._report.removed += len(digests)

    def _drop_extras(self) -> None:
        """Remove rows that the footers of their packs do not have."""
        suspects = self._suspects
        held = rows_of(self._engine.database, [row.id for row, _ in suspects]) if suspects else {}
        for row, slots in suspects:
            extra = [Slot(one, 0, 0, 0, 0) for one in set(held[row.id]).difference(slot.digest for slot in slots)]
            self._report.removed += self._engine.database.write(lambda tx, r=row, e=extra: _replace(tx, r, e, []))[0]  # type: ignore[misc]

    # Packs that the database does not know

    def _adopt(self, known: list[PackRow], there: dict[str, int]) -> list[PackRow]:
        """Register sound packs that nobody knows, as what an interrupted log has uploaded; return them."""
        ours = {row.object for row in known}
        found = {
            name.id: (name, size) for key, size in there.items() if key not in ours and (name := parse_pack_key(key))
        }
        sql = "SELECT key FROM pack WHERE key {in}"
        for taken in self._engine.database.read(lambda connection: select_in(connection, sql, found)):
            del found[bytes(taken[0])]  # registered meanwhile
        adopted = []
        for name, size in found.values():
            row = PackRow(0, name.id, name.kind, PackState.UPLOADED, size)
            if self._engine.database.read(lambda connection, key=name.id: was_deleted(connection, key)):  # type: ignore[misc]
                continue  # a collector's, and on its way out
            slots = slots_of(self._place, row)
            if isinstance(slots, str):
                self._report.notes.append(f"{row.object} is unknown to the database and no sound pack: {slots}")
                continue
            good = self._good(row, slots)
            number = self._engine.database.write(lambda tx, row=row, good=good: _enter(tx, row, good))  # type: ignore[misc]
            if number is not None:
                self._report.adopted.append(row.object)
                self._report.added += len(good)
                adopted.append(row._replace(id=number))
        self._report.packs += len(adopted)
        return adopted


def _replace(tx: Transaction, row: PackRow, old: Iterable[Any], new: list[Slot]) -> tuple[int, int]:
    """Remove a pack's rows of some digests and insert others; return how many of each, none where it is on its way out.

    A row that is there by now is as good as the one that would be added.
    """
    state = tx.lock(select(_pack.c.state).where(_pack.c.id == row.id)).scalar_one_or_none()
    if state not in _KNOWN:
        return 0, 0
    gone = {one.digest for one in old}
    drop_rows(tx, row.id, gone)
    tx.insert_many(tables.chunk, CHUNK_COLUMNS, [(one.digest, row.id, *one[1:]) for one in new], ignore=True)
    return len(gone), len(new)


def _enter(tx: Transaction, row: PackRow, slots: list[Slot]) -> int | None:
    """Register a pack that nobody knows, as uploaded by no session; None where somebody knows it by now."""
    values = (row.key, row.kind, PackState.UPLOADED, row.size)
    if tx.execute(select(_pack.c.id).where(_pack.c.key == row.key)).first() or was_deleted(tx.connection, row.key):
        return None
    tx.insert_many(_pack, ("key", "kind", "state", "size"), [values], ignore=True)
    found = tx.lock(select(_pack.c.id, _pack.c.state).where(_pack.c.key == row.key)).one()
    if found.state != PackState.UPLOADED:
        return None
    tx.insert_many(tables.chunk, CHUNK_COLUMNS, [(one.digest, found.id, *one[1:]) for one in slots], ignore=True)
    return int(found.id)
