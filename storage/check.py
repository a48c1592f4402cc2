"""Checking packs and index: whether bucket and database say the same; the journal is looked at in `check_journal.py`.

Knows storage only; which chunks are needed is known to those who hand out `SoundChunks`. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from . import tables
from .chunks import READABLE, ChunkStore, Location
from .digest import Digest
from .engine import Engine
from .errors import IntegrityError, NotFound, StoreUnavailable
from .layout import MARKER, pack_folder, parse_pack_key
from .marker import LARGEST, Marker
from .pack import PackKind, Slot
from .packs import PackRow
from .rows_check import RowReport
from .tables import PackState
from .verify import ahead, damaged_chunks, locations, slots_of

__all__ = [
    "CheckReport",
    "Problem",
    "SoundChunks",
    "check_marker",
    "check_packs",
    "list_packs",
    "read_chunks",
    "registered",
]

BATCH = 4096  # chunks looked up at once
_pack, _chunk = tables.pack, tables.chunk


class Problem(NamedTuple):
    """One thing that is wrong: where, and what."""

    where: str
    what: str


@dataclass(slots=True)
class CheckReport:
    """What was looked at, what is wrong (`problems`), and what is merely left over (`notes`)."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    packs: int = 0
    chunks: int = 0
    versions: int = 0
    events: int = 0
    read_bytes: int = 0
    pack_bytes: int = 0  # of the packs that may be read
    rows: RowReport | None = None  # of a check that compared the database's rows with the events

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def wrong(self, where: str, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, what))


class SoundChunks(ChunkStore):
    """Reads chunks as the store does, but offers no copy that was found bad, and keeps every index row."""

    def __init__(self, chunks: ChunkStore) -> None:
        super().__init__(chunks.backend.origin, chunks.database)
        self.there: dict[int, int] = {}  # of packs that are missing or cut short: how many bytes there are
        self.bad: set[tuple[bytes, int]] = set()  # digest and pack of copies that are damaged
        self.spare: set[tuple[bytes, int]] = set()  # of copies that the index does not offer, as another pack's serves

    def copies(self, digests: Iterable[bytes]) -> list[Location]:
        """Return the copies that nothing was found wrong with."""
        return [
            one
            for one in super().copies(digests)
            if (one.digest, one.pack) not in self.bad
            and one.offset + one.stored <= self.there.get(one.pack, one.offset + one.stored)
        ]

    def forget(self, location: Location) -> None:
        """Remember a damaged copy."""
        self.bad.add((location.digest, location.pack))


def check_marker(engine: Engine, report: CheckReport) -> None:
    """Compare the marker in the bucket with the store that was opened.

    Raises StoreUnavailable for a bucket with nothing in it at all: that is a disk that is not mounted.
    """
    try:
        found = Marker.decode(engine.backend.get(MARKER, 0, LARGEST + 1), engine.backend.url)
    except NotFound:
        if next(engine.backend.list(""), None) is None:
            raise StoreUnavailable(f"{engine.backend.url} is empty; is the bucket mounted?") from None
        report.wrong(MARKER, f"the marker is missing; its store id is {engine.database.store_id}")
    except IntegrityError as error:
        report.wrong(MARKER, str(error))
    else:
        if found.store_id != engine.database.store_id:
            report.wrong(MARKER, f"it is of store {found.store_id}, the database of {engine.database.store_id}")


def check_packs(engine: Engine, report: CheckReport, sound: SoundChunks) -> list[PackRow]:
    """Compare every pack that may be read with its row, its footer and its chunks in the index; return the whole ones.

    What is wrong with copies of chunks is noted in `sound`, too.
    """
    known, indexed = engine.database.read(registered)  # one snapshot: others may be writing
    there = list_packs(engine)
    offered = [row for row in known if row.state in READABLE]
    kept = _still_offered(engine, [row for row in offered if there.get(row.object) != row.size])
    whole = []
    for row in offered:
        size = there.get(row.object)
        if size == row.size:
            whole.append(row)
        elif row.id in kept:
            sound.there[row.id] = size or 0
            trouble = f"the pack has {size} bytes, {row.size} were written"
            report.wrong(row.object, "the pack is missing from the bucket" if size is None else trouble)
    report.packs += len(whole) + len(kept)
    report.pack_bytes += sum(row.size for row in whole)
    _note_leftovers(engine, report, known, there)
    stray = sum(count for pack, count in indexed.items() if pack not in {row.id for row in known})
    if stray:
        report.wrong("index", f"{stray} chunks are said to lie in packs that nobody registered")
    with ThreadPoolExecutor(engine.backend.parallelism) as pool:
        for row, slots in ahead(pool, lambda row: slots_of(engine.backend, row), whole):
            if isinstance(slots, list):
                _check_index(report, sound, row, slots, indexed.get(row.id, 0))
            elif _still_offered(engine, [row]):
                report.wrong(row.object, slots)
    return whole


def list_packs(engine: Engine) -> dict[str, int]:
    """Return the key and the size, in bytes, of every object that lies where packs do."""
    return {one.key: one.size for kind in PackKind for one in engine.backend.list(pack_folder(kind))}


def registered(connection: Connection) -> tuple[list[PackRow], dict[int, int]]:
    """Return every pack, and how many chunks the index has of each."""
    packs = select(_pack.c.id, _pack.c.key, _pack.c.kind, _pack.c.state, _pack.c.size).order_by(_pack.c.id)
    counts = select(_chunk.c.pack, func.count()).group_by(_chunk.c.pack)
    return [PackRow(*row) for row in connection.execute(packs)], {row[0]: row[1] for row in connection.execute(counts)}


def _still_offered(engine: Engine, suspects: Iterable[PackRow]) -> set[int]:
    """Return which of the packs may still be read: a collector may have taken some while they were looked for."""
    sql = "SELECT id, state FROM pack WHERE id {in}"
    ids = [row.id for row in suspects]
    found = engine.database.read(lambda connection: engine.database.select_in(connection, sql, ids))
    return {row[0] for row in found if row[1] in READABLE}


def _note_leftovers(engine: Engine, report: CheckReport, known: Iterable[PackRow], there: dict[str, int]) -> None:
    waiting = [row for row in known if row.state == PackState.UPLOADED]
    if waiting:
        size = sum(row.size for row in waiting)
        what = f"{len(waiting)} packs ({size:,} bytes) belong to no version yet"
        report.notes.append(f"{what}: of a log under way, or of one that was interrupted")
    away = [row for row in known if row.state == PackState.MISSING]
    if away:
        back = sum(there.get(row.object) == row.size for row in away)
        report.notes.append(f"{len(away)} packs were missing when they were read; {back} of them are there again")
    aside = [row for row in known if row.state == PackState.QUARANTINED]
    if aside:
        size = sum(row.size for row in aside)
        what = f"{len(aside)} packs ({size:,} bytes) are damaged and in quarantine"
        report.notes.append(f"{what}, {aside[0].object} among them; `art repair index` takes up again what reads well")
    ours = {row.object for row in known}
    names = {parsed.id: key for key in there if key not in ours and (parsed := parse_pack_key(key)) is not None}
    sql = "SELECT key FROM pack WHERE key {in}"
    for row in engine.database.read(lambda connection: engine.database.select_in(connection, sql, names)):
        del names[bytes(row[0])]  # registered meanwhile
    if names:
        size = sum(there[key] for key in names.values())
        report.notes.append(f"{len(names)} packs ({size:,} bytes) in the bucket are unknown to the database")


def _check_index(report: CheckReport, sound: SoundChunks, row: PackRow, slots: list[Slot], indexed: int) -> None:
    """Compare a pack's footer with its rows in the index; there is no way to ask for these but by digest."""
    report.chunks += len(slots)
    found = spare = 0
    for start in range(0, len(slots), BATCH):
        part = slots[start : start + BATCH]
        copies = sound.copies(slot.digest for slot in part)
        own = {one.digest: one for one in copies if one.pack == row.id}
        elsewhere = {one.digest for one in copies if one.pack != row.id and one.state in READABLE}
        found += len(own)
        for slot in part:
            one = own.get(slot.digest)
            if one is None and slot.digest in elsewhere:
                spare += 1
                sound.spare.add((slot.digest, row.id))
            elif one is None:
                report.wrong(row.object, f"the index lacks chunk {Digest(slot.digest)}, which the pack holds")
            elif (one.offset, one.stored, one.size, one.codec) != slot[1:]:
                report.wrong(row.object, f"the index is wrong about chunk {Digest(slot.digest)}")
                sound.bad.add((slot.digest, row.id))
    if indexed > found:
        report.wrong(row.object, f"the index has {indexed - found} chunks of this pack that it does not hold")
    if spare:
        report.notes.append(f"{row.object}: {spare} chunks are not used, since other packs hold them too")


def read_chunks(engine: Engine, report: CheckReport, sound: SoundChunks, packs: Iterable[PackRow]) -> None:
    """Read every chunk of some packs, and verify it; what is damaged is noted in `sound`, too."""
    for row in packs:
        slots = slots_of(engine.backend, row)
        if not isinstance(slots, list):
            continue  # said before
        for length, damaged in damaged_chunks(engine.backend, locations(row, slots)):
            report.read_bytes += length
            for one in damaged:
                if (one.digest, one.pack) in sound.spare:
                    report.notes.append(f"{row.object}: the unused chunk {Digest(one.digest)} is damaged")
                elif _still_offered(engine, [row]):
                    report.wrong(row.object, f"chunk {Digest(one.digest)} at {one.offset} is damaged")
                    sound.forget(one)
