"""Checking packs, index and journal: whether bucket and database say the same.

Knows storage only; what must be reachable is asked of it by `reach`. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from . import tables
from .chunks import READABLE, Location, plan
from .digest import Digest
from .engine import Engine
from .errors import IntegrityError, NotFound
from .layout import pack_folder, pack_key, parse_pack_key
from .pack import PackKind, Slot, read_slots
from .tables import PackState, rows

__all__ = ["CheckReport", "Problem", "check_journal", "check_packs", "read_chunks"]

_pack, _chunk, _event = rows(tables.Pack), rows(tables.Chunk), rows(tables.Event)


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

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def wrong(self, where: str, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, what))


class _PackRow(NamedTuple):
    id: int
    key: bytes
    kind: int
    state: int
    size: int


def check_packs(engine: Engine, report: CheckReport) -> None:
    """Compare every pack that may be read with its row, its footer and its chunks in the index."""
    wanted = select(_pack.c.id, _pack.c.key, _pack.c.kind, _pack.c.state, _pack.c.size).order_by(_pack.c.id)
    known = [_PackRow(*row) for row in engine.database.read(lambda connection: connection.execute(wanted).all())]
    there = {one.key: one.size for kind in PackKind for one in engine.backend.list(pack_folder(kind))}
    counted = select(_chunk.c.pack, func.count()).group_by(_chunk.c.pack)
    indexed = {row[0]: row[1] for row in engine.database.read(lambda connection: connection.execute(counted).all())}
    readable = []
    for row in known:
        key = pack_key(PackKind(row.kind), row.key)
        size = there.pop(key, None)
        if row.state not in READABLE:
            continue
        report.packs += 1
        if size is None:
            report.wrong(key, "the pack is missing from the bucket")
        elif size != row.size:
            report.wrong(key, f"the pack has {size} bytes, {row.size} were written")
        else:
            readable.append(row)
    _note_leftovers(report, known, there)
    stray = sum(count for pack, count in indexed.items() if pack not in {row.id for row in known})
    if stray:
        report.wrong("index", f"{stray} chunks are said to lie in packs that nobody registered")
    with ThreadPoolExecutor(engine.backend.parallelism) as pool:
        for row, slots in zip(readable, pool.map(lambda row: _slots(engine, row), readable), strict=True):
            _check_index(engine, report, row, slots, indexed.get(row.id, 0))


def _note_leftovers(report: CheckReport, known: Iterable[_PackRow], there: dict[str, int]) -> None:
    waiting = [row for row in known if row.state == PackState.UPLOADED]
    if waiting:
        size = sum(row.size for row in waiting)
        what = f"{len(waiting)} packs ({size:,} bytes) belong to no version yet"
        report.notes.append(f"{what}: of a log under way, or of one that was interrupted")
    foreign = [key for key in there if parse_pack_key(key) is not None]
    if foreign:
        size = sum(there[key] for key in foreign)
        report.notes.append(f"{len(foreign)} packs ({size:,} bytes) in the bucket are unknown to the database")


def _slots(engine: Engine, row: _PackRow) -> list[Slot] | str:
    key = pack_key(PackKind(row.kind), row.key)
    try:
        return read_slots(lambda start, length: engine.backend.get(key, start, length), row.size, row.key)
    except (IntegrityError, NotFound) as error:
        return str(error)


def _check_index(engine: Engine, report: CheckReport, row: _PackRow, slots: list[Slot] | str, indexed: int) -> None:
    key = pack_key(PackKind(row.kind), row.key)
    if isinstance(slots, str):
        report.wrong(key, slots)
        return
    report.chunks += len(slots)
    if indexed != len(slots):
        report.wrong(key, f"the pack holds {len(slots)} chunks, the index knows {indexed} of them")
        return
    wanted = select(_chunk.c.digest, _chunk.c.offset, _chunk.c.stored, _chunk.c.size, _chunk.c.codec).where(
        _chunk.c.pack == row.id
    )
    for start in range(0, len(slots), 500):
        part = {slot.digest: slot for slot in slots[start : start + 500]}
        read = partial(_all, statement=wanted.where(_chunk.c.digest.in_(list(part))))
        found = {one.digest: one for one in engine.database.read(read)}
        for digest, slot in part.items():
            if digest not in found or tuple(found[digest]) != tuple(slot):
                report.wrong(key, f"the index is wrong about chunk {Digest(digest)}")


def _all(connection: Connection, statement: Select[Any]) -> Sequence[Row[Any]]:
    return connection.execute(statement).all()


def read_chunks(engine: Engine, report: CheckReport) -> None:
    """Read every chunk of every readable pack, and verify it."""
    wanted = select(_pack.c.id).where(_pack.c.state.in_(READABLE)).order_by(_pack.c.id)
    for pack in engine.database.read(lambda connection: connection.execute(wanted).scalars().all()):
        for read in plan(_located(engine, pack)):
            try:
                raw = memoryview(engine.backend.get(read.key, read.start, read.length))
            except NotFound:
                report.wrong(read.key, "the pack is missing from the bucket")
                continue
            report.read_bytes += len(raw)
            for one in read.chunks:
                at = one.offset - read.start
                if engine.chunks.verified(one, raw[at : at + one.stored]) is None:
                    report.wrong(read.key, f"chunk {Digest(one.digest)} at {one.offset} is damaged")


def _located(engine: Engine, pack: int) -> Iterator[Location]:
    joined = _chunk.join(_pack, _pack.c.id == _chunk.c.pack)
    columns = (_chunk.c.digest, _chunk.c.pack, _pack.c.key, _pack.c.kind, _pack.c.state)
    wanted = select(*columns, _chunk.c.offset, _chunk.c.stored, _chunk.c.size, _chunk.c.codec).select_from(joined)
    found = engine.database.read(lambda connection: connection.execute(wanted.where(_chunk.c.pack == pack)).all())
    return (Location(*row) for row in found)


def check_journal(engine: Engine, report: CheckReport) -> None:
    """Compare the journal in the bucket with the events in the database."""
    store = engine.database.store()
    wanted = select(_event).order_by(_event.c.seq)
    rows_ = engine.database.read(lambda connection: connection.execute(wanted).all())
    report.events = len(rows_)
    if [row.seq for row in rows_] != list(range(1, store.seq + 1)):
        report.wrong("database", f"{len(rows_)} events are there, {store.seq} were recorded")
    if store.journalled < store.seq:
        report.notes.append(
            f"{store.seq - store.journalled} events are not in the journal yet; the next write puts them there"
        )
    try:
        written = {event.seq: event for event in engine.journal.events()}
    except IntegrityError as error:
        report.wrong("journal", str(error))
        return
    missing = [seq for seq in range(1, store.journalled + 1) if seq not in written]
    if missing:
        report.wrong("journal", f"{len(missing)} events are missing, the first is {missing[0]}")
    ahead = [seq for seq in written if seq is not None and seq > store.seq]
    if ahead:
        report.wrong(
            "database", f"{len(ahead)} events of the journal are missing; `art repair database` brings them back"
        )
    for row in rows_:
        event = written.get(row.seq)
        if event is not None and (event.kind, event.subject, event.time) != (row.kind, row.subject, row.time):
            report.wrong("journal", f"event {row.seq} is another in the bucket than in the database")
