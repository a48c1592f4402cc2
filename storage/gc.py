"""The collector: frees what nothing needs, safely by transactions, whoever writes meanwhile.

Knows packs, chunks and sessions, and the five steps of docs/format.md ("Collecting garbage"); what must be kept is
handed in as roots. Interrupted anywhere, the next collector goes on from the states it finds; several at once do no
harm, since each frees only what it condemned itself and what stayed condemned.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import Connection, select, tuple_

from . import packs, tables
from .checkpoint import merge_journal, mergeable
from .engine import Engine
from .errors import IntegrityError
from .marks import Marks, RootGone
from .packs import PackRow
from .repack import Repacker
from .session import PacksGone
from .strays import find_strays, list_leftovers, sweep_leftovers
from .tables import PackState

__all__ = ["Amount", "Collected", "Collector", "Marked", "Roots"]

ROWS = 20_000  # of the index, read at once
TOGETHER = 64  # packs whose objects go before their rows do
MOSTLY = 0.5  # a pack of which less than this is wanted is repacked: more is freed than is written anew
REASON = "nothing needs them"
_JUDGED = (PackState.LIVE, PackState.CONDEMNED)


class Roots(Protocol):
    """What must be kept."""

    def read(self, connection: Connection) -> set[Any]:
        """Return the roots as they are now; each is hashable, and equal roots reach the same."""

    def mark(self, root: Any, marks: Marks) -> None:
        """Mark everything that a root reaches; RootGone where it is none any more and can no longer be followed."""


@dataclass(slots=True)
class Amount:
    """So many packs, of so many bytes."""

    packs: int = 0
    size: int = 0

    def add(self, found: Iterable[PackRow]) -> None:
        """Count packs."""
        for one in found:
            self.packs += 1
            self.size += one.size


@dataclass(slots=True)
class Collected:
    """What a collection did; of a dry run, what it would do."""

    freed: Amount = field(default_factory=Amount)  # packs deleted: nothing needed them, or what was needed was copied
    kept: Amount = field(default_factory=Amount)  # packs that hold what is needed
    spared: Amount = field(default_factory=Amount)  # packs that were to go, and were needed again meanwhile
    written: int = 0  # bytes copied into new packs
    strays: Amount = field(default_factory=Amount)  # deleted objects that the database did not know
    waiting: Amount = field(default_factory=Amount)  # such objects that are not old enough
    leftovers: int = 0  # unfinished files of writers that crashed
    sessions: int = 0  # writers that were gone
    merged: int = 0  # journal objects that a checkpoint replaced
    notes: list[str] = field(default_factory=list)  # what was left alone, and why


@dataclass(slots=True)
class _Held:
    """Bytes of chunks in one pack, as stored."""

    wanted: int = 0
    stored: int = 0


class Marked:
    """What a dry run marked, for the collection that follows it: a context manager, for one collection.

    However long somebody thinks between the two, that is safe: a mark may take as long as it likes, for what came since
    is marked before anything is deleted, and who commits after packs were condemned makes live what it needs. What was
    given up since stays for the next collection.
    """

    def __init__(self) -> None:
        self.marks = Marks()
        self.roots: set[Any] = set()
        self.ready = False  # to be used by a collection, once

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.marks.__exit__(kind, error, trace)

    def start(self) -> Marks:
        """Return marks that nothing is in yet."""
        self.marks.__exit__(None, None, None)
        self.marks, self.roots, self.ready = Marks(), set(), False
        return self.marks


class Collector:
    """One collection; for one thread, and for one use.

    `tick` is told of each root that is marked.
    """

    def __init__(
        self, engine: Engine, roots: Roots, *, reason: str | None = None, tick: Callable[[], None] = lambda: None
    ) -> None:
        self._engine = engine
        self._database = engine.database
        self._place = engine.backend.origin  # footers are read where they are, not from a copy
        self._roots = roots
        self._reason = reason or REASON
        self._tick = tick
        self._stamp = uuid.uuid4().hex
        self._report = Collected()

    def run(self, marked: Marked | None = None) -> Collected:
        """Collect, and say what became of what; what a dry run `marked` is not marked again.

        Raises Conflict where the journal holds an event that the database lacks, and IntegrityError where a version
        cannot be read, so that what it needs is not known; nothing is collected then.
        """
        engine, report = self._engine, self._report
        engine.begin_writing()
        engine.journal.check_tail()
        begun = self._database.read(lambda connection: packs.packs_in(connection, [PackState.DELETING]))
        engine.journal.flush()  # behind that look: whoever gave them up may not have come to their event yet
        self._delete(begun)
        report.sessions = engine.write(packs.expire)
        with Marked() if marked is None else nullcontext(marked) as first:
            if not first.ready:
                first.roots = self._mark(self._database.read(self._roots.read), first.start())
            first.ready = False
            marks = first.marks
            known, held = self._survey(marks)
            idle = self._idle([one for one in known if not held[one.id].wanted], marks)
            needed = [one.id for one in known if held[one.id].wanted and one.state == PackState.CONDEMNED]
            engine.write(lambda tx: packs.condemn(tx, [one.id for one in idle], needed, self._stamp))
            repacker = Repacker(engine, marks, self._stamp + "+", report.notes)
            report.written = self._repack(repacker, _sparse(known, held))
            marks.begin_again()
            self._mark(self._database.read(self._roots.read) - first.roots, marks)
            self._revive(marks)
            doomed = engine.write(lambda tx: packs.sweep(tx, self._stamp, self._reason))
            doomed += repacker.sweep(self._reason)
            gone = {one.id for one in doomed}
            report.spared.add(one for one in (*idle, *repacker.condemned) if one.id not in gone)
            report.kept.add(self._database.read(lambda connection: packs.packs_in(connection, _JUDGED)))
            self._delete(doomed)
            self._sweep_strays(marks)
        report.leftovers = sweep_leftovers(engine)
        self._merge()
        return report

    def preview(self, marked: Marked | None = None) -> Collected:
        """Say what a collection would do now, and change nothing; `marked` keeps what was marked. Raises as `run`."""
        engine, report = self._engine, self._report
        engine.journal.check_tail()
        now = self._database.write(lambda tx: tx.now())  # by the database's clock
        alive = self._database.read(lambda connection: packs.living(connection, now))
        report.sessions = self._database.read(lambda connection: packs.expired(connection, now))
        given_up = self._database.read(lambda connection: packs.given_up(connection, alive))
        with Marked() if marked is None else nullcontext(marked) as first:
            marks = first.start()
            first.roots = self._mark(self._database.read(self._roots.read), marks)
            first.ready = True
            known, held = self._survey(marks)
            nobodys = [one for one in given_up if one.state == PackState.UPLOADED]
            idle = self._idle([one for one in known if not held[one.id].wanted] + nobodys, marks)
            sparse = _sparse(known, held)
            report.written = sum(held[one.id].wanted for one in sparse)
            gone = [one for one in given_up if one.state != PackState.UPLOADED] + idle + sparse
            strays = find_strays(engine, marks, now)
            report.notes += strays.notes
            report.strays.add(strays.old)
            report.waiting.add(strays.young)
        report.freed.add(gone)
        left = {one.id for one in gone}
        report.kept.add(one for one in known if one.id not in left)
        report.leftovers = len(list_leftovers(engine, now))
        report.merged = mergeable(engine)
        return report

    def _mark(self, roots: set[Any], marks: Marks) -> set[Any]:
        """Mark what roots reach, and return those roots that were: one that was given up meanwhile may be one again.

        Where one is, all that others share with it is followed again.
        """
        gone: set[Any] = set()
        while (broken := self._mark_until_gone(roots - gone, marks)) is not None:
            gone.add(broken)
            marks.follow_anew()
        return roots - gone

    def _mark_until_gone(self, roots: set[Any], marks: Marks) -> Any:
        for root in roots:
            try:
                self._roots.mark(root, marks)
            except RootGone:
                return root
            self._tick()
        return None

    def _survey(self, marks: Marks) -> tuple[list[PackRow], dict[int, _Held]]:
        """Return the packs that are live or condemned, and what each holds that is marked, and in all.

        One pass over the index beside the marks, both in the order of digests. The packs are listed first: all that the
        index will ever have of these is there by now.
        """
        known = self._database.read(lambda connection: packs.packs_in(connection, _JUDGED))
        held = {one.id: _Held() for one in known}
        marked = iter(marks)
        mark = next(marked, None)
        for digest, pack, stored in self._index():
            while mark is not None and mark < digest:
                mark = next(marked, None)
            if pack in held:
                held[pack].stored += stored
                held[pack].wanted += stored if mark == digest else 0
        return known, held

    def _index(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield digest, pack and stored bytes of every row of the index, by digest; no transaction is held open."""
        chunk = tables.chunk.c
        rows = select(chunk.digest, chunk.pack, chunk.stored).order_by(chunk.digest, chunk.pack).limit(ROWS)
        last: tuple[bytes, int] | None = None
        while True:
            part = rows if last is None else rows.where(tuple_(chunk.digest, chunk.pack) > tuple_(*last))
            found = self._database.read(lambda connection, part=part: connection.execute(part).all())  # type: ignore[misc]
            for row in found:
                yield bytes(row[0]), row[1], row[2]
            if len(found) < ROWS:
                return
            last = (bytes(found[-1][0]), found[-1][1])

    def _idle(self, suspects: list[PackRow], marks: Marks) -> list[PackRow]:
        """Return those packs whose footers hold nothing that is marked: the index may lack rows of damaged copies."""
        idle: list[PackRow] = []
        for pack, slots in self._footers(suspects):
            if slots is None:
                self._report.notes.append(f"{pack.object} cannot be read and was left alone; run `art check`")
            elif not marks.among(slots):
                idle.append(pack)
        return idle

    def _footers(self, found: Iterable[PackRow]) -> Iterator[tuple[PackRow, list[bytes] | None]]:
        """Yield packs with the digests in their footers, a few read at once."""
        remaining = iter(found)
        with ThreadPoolExecutor(self._place.parallelism) as pool:
            while part := list(islice(remaining, TOGETHER)):
                slots = pool.map(partial(packs.footer, self._place), part)
                for pack, one in zip(part, slots, strict=True):
                    yield pack, None if one is None else [slot.digest for slot in one]

    def _repack(self, repacker: Repacker, sparse: list[PackRow]) -> int:
        if not sparse:
            return 0
        try:
            return repacker.copy(sparse)
        except PacksGone as error:
            self._report.notes.append(f"nothing was repacked: {error}")
            return 0

    def _revive(self, marks: Marks) -> None:
        """Make packs live that hold what only the second mark reached."""
        late = marks.late()
        while part := list(islice(late, ROWS)):
            copies = self._engine.chunks.copies(part)
            again = {one.pack for one in copies if one.state == PackState.CONDEMNED}
            if again:
                self._engine.write(lambda tx, again=again: packs.revive(tx, again))  # type: ignore[misc]

    def _delete(self, doomed: list[PackRow]) -> None:
        """Delete objects, then rows, of packs whose event is in the journal."""
        for start in range(0, len(doomed), TOGETHER):
            part = doomed[start : start + TOGETHER]
            digests = {pack.id: slots for pack, slots in self._footers(part)}
            unread = [one.id for one in part if digests[one.id] is None and one.state != PackState.DEAD]
            held = packs.rows_of(self._database, unread) if unread else {}
            self._engine.backend.delete([one.object for one in part])
            for one in part:
                rows = digests[one.id] or held.get(one.id, [])
                self._database.write(partial(packs.drop_rows, pack=one.id, digests=rows))
            self._report.freed.add(one for one in part if digests[one.id] is not None)

    def _sweep_strays(self, marks: Marks) -> None:
        now = self._database.write(lambda tx: tx.now())
        found = find_strays(self._engine, marks, now)
        self._engine.write(found.remember)
        self._report.notes += found.notes
        self._report.waiting.add(found.young)
        if found.old:
            self._engine.journal.check_tail()
            reason = "unknown to the database for seven days"
            doomed = self._engine.write(lambda tx: packs.enter_strays(tx, found.old, reason))
            before = self._report.freed.packs, self._report.freed.size
            self._delete(doomed)
            self._report.freed = Amount(*before)
            self._report.strays.add(doomed)

    def _merge(self) -> None:
        try:
            self._report.merged = merge_journal(self._engine)
        except IntegrityError as error:
            self._report.notes.append(f"the journal was left as it is: {error}")


def _sparse(known: list[PackRow], held: dict[int, _Held]) -> list[PackRow]:
    """Return the packs that are mostly dead."""
    return [one for one in known if 0 < held[one.id].wanted < MOSTLY * held[one.id].stored]
