"""The journal: the events' copy in the bucket, which outlives the database.

Knows the objects below `journal/` (docs/format.md, "Journal") and how the outbox empties into them; what an event
means is for its fold to know.
"""

from __future__ import annotations

import io
import threading
from array import array
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

import zstandard
from sqlalchemy import exists, select, update

from . import forking, tables
from .digest import Hasher
from .errors import Conflict, IntegrityError, NotFound
from .events import LINE_LIMIT, Event, line
from .layout import CHECKPOINTS, JOURNAL, JOURNAL_SPAN, JournalName, journal_folder, journal_key, parse_journal_key
from .transaction import STORE_CREATED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from sqlalchemy import Connection

    from .backends.base import Backend
    from .database import Database, Transaction

__all__ = ["OBJECT_LIMIT", "Journal", "checksum"]

BATCH = 1000  # events folded in one transaction of a replay
_LISTINGS = 5  # of the journal's objects, while checkpoints take their places
AHEAD = 16  # objects asked for before they are needed
_PIECE = 1 << 10  # bytes of a checkpoint that are unpacked at once to be checked: they come to 50 MB at worst
OBJECT_LIMIT = 64 << 20  # bytes of an object: any line, and what stands before it when it is closed

_COLUMNS = [tables.event.c[name] for name in ("seq", "time", "actor", "kind", "subject", "reason", "data")]


class Journal:
    """The journal of one store: written from the database's outbox, read to rebuild a database.

    At any moment, and after a crash at any point, what is in the bucket is a prefix of the events without gaps.
    """

    def __init__(self, backend: Backend, database: Database, *, largest: int = OBJECT_LIMIT) -> None:
        self._largest = largest
        self._backend = backend
        self._database = database
        self._flushing = threading.Lock()
        forking.watch(self)

    def after_fork(self) -> None:
        """Take a new lock in a child process; that the parent may be flushing at the same time does no harm."""
        self._flushing = threading.Lock()

    def flush(self) -> int:
        """Write every event that is committed and not yet in the bucket; return the `seq` of the last one there.

        It may be called at any time and by several processes at once: what two of them write is the same, under two
        names. After an error, what was written stays, and the next flush goes on from there.
        """
        with self._flushing:
            while True:
                journalled, outbox = self._database.read(_outbox)
                if not outbox:
                    return journalled
                first, last = outbox[0][0], outbox[-1][0]
                if first != journalled + 1 or last - first + 1 != len(outbox):
                    raise IntegrityError(
                        f"{self._database.url} lacks events after {journalled}, which are not in the journal either;"
                        " restore a backup of it"
                    )
                lines = _fitting((line(*row) for row in outbox), self._largest)
                last = first + len(lines) - 1
                self._backend.put(journal_key(first, last, checksum(b"".join(lines))), lines)
                # The next look at the outbox starts behind these only once they are durable.
                self._database.write(lambda tx, last=last: _advance(tx, last))  # type: ignore[misc]

    def check_tail(self) -> None:
        """Raise Conflict if the bucket holds an event that the database lacks, or the database not its own last one.

        It costs at most two LISTs.

        The event that would follow the database's last one can be only in the folder of its number or in a checkpoint.
        """
        seq, there = self._database.read(_counted)
        if not there:
            raise Conflict(
                f"{self._database.url} counts {seq} events, and does not have the last of them: nothing more is written"
                " with it; `art repair database` mends it"
            )
        newest = 0
        for folder in (journal_folder(seq + 1), CHECKPOINTS):
            names = (parse_journal_key(info.key) for info in self._backend.list(folder))
            newest = max([newest, *(name.last for name in names if name is not None)])
            # Others may have written since: their events were in the database before they were in the bucket.
            if newest > seq and newest > self._database.store().seq:
                raise Conflict(
                    f"{self._database.url} is older than the store: it lacks the events {seq + 1} to {newest} that"
                    f" {self._backend.url} has (a restored backup, or another database?); rebuild it first:"
                    " `art repair database`"
                )

    def events(self, after: int = 0) -> Iterator[Event]:
        """Yield the events in the bucket behind `after`, in order, each once.

        A damaged object is passed over where another has the same events. Raises IntegrityError where events are
        missing or unreadable, or where two objects do not agree on one.
        """
        for event, _ in self.lines(after):
            yield event

    def lines(self, after: int = 0) -> Iterator[tuple[Event, bytes]]:
        """Do as `events`, and yield each event's line, too."""
        for tries_left in reversed(range(_LISTINGS)):
            after, trouble, moved = yield from self._listed(after)
            if trouble is None:
                return
            if not moved or not tries_left:  # else a checkpoint took the place of what was listed: it is listed anew
                raise IntegrityError(trouble)

    def _listed(self, after: int) -> Generator[tuple[Event, bytes], None, tuple[int, str | None, bool]]:
        """Yield what one listing finds; return the last event, what is wrong, and whether objects went meanwhile."""
        found = sorted(_parsed(self._backend, JOURNAL), key=lambda one: (one[0].first, one[0].last, one[1]))
        wanted = [(name, key) for name, key in found if name.last > after]
        seen = array("q")  # of each event behind `after`, a hash of its line
        damaged: list[str] = []
        moved = False
        for name, key, data in self._fetched(wanted):
            have = after + len(seen)
            moved = moved or data is None
            if name.first > have + 1:
                break
            try:
                for seq, text in enumerate(_lines(name, data), name.first):
                    if seq <= after:
                        continue
                    if seq <= after + len(seen):
                        if seen[seq - after - 1] != hash(text):
                            raise IntegrityError(
                                f"{self._backend.url}: {key} has another event {seq} than the object before it: one of"
                                " them is damaged, or two databases have written to this store"
                            )
                        continue
                    yield _event(text, seq), text
                    seen.append(hash(text))
            except _Damaged as error:
                damaged.append(f"{key}: {error}")
        have = after + len(seen)
        newest = max((name.last for name, _ in wanted), default=have)
        if have >= newest:
            return have, None, moved
        because = f" ({'; '.join(damaged)})" if damaged else ""
        trouble = (
            f"the journal in {self._backend.url} breaks off after event {have} of {newest}{because}; a database that "
            "has the rest writes it again (`art repair journal`); else bring back what is missing from a backup"
        )
        return have, trouble, moved

    def replay(self, after: int | None = None, also: Callable[[Transaction], None] | None = None) -> int:
        """Fold what the journal has and the database lacks into the database; return the `seq` of its last event.

        It may be called again after it was interrupted. `after` is how far the database is, where its own count does
        not say so, and `also` is done in each transaction. Raises Conflict where the two do not belong together, and
        IntegrityError for a journal that cannot be read.
        """
        store = self._database.store()
        behind = self.events(after=store.journalled if after is None else after)

        def apply(tx: Transaction, batch: list[Event]) -> None:
            tx.restore(batch)
            if also is not None:
                also(tx)

        while batch := list(islice(behind, BATCH)):
            for event in batch:
                if event.kind == STORE_CREATED and event.data.get("store_id") != store.store_id:
                    raise Conflict(
                        f"the journal in {self._backend.url} is of store {event.data.get('store_id')}, and"
                        f" {self._database.url} of store {store.store_id}"
                    )
            self._database.write(lambda tx, batch=batch: apply(tx, batch))  # type: ignore[misc]
        return self._database.store().seq

    def _fetched(self, wanted: Iterable[tuple[JournalName, str]]) -> Iterator[tuple[JournalName, str, bytes | None]]:
        """Yield objects' bytes in the order wanted, some requests ahead; None for one that is gone by now."""
        from concurrent.futures import Future, ThreadPoolExecutor

        remaining = iter(wanted)
        waiting: deque[tuple[JournalName, str, Future[bytes | None]]] = deque()
        with ThreadPoolExecutor(AHEAD // 2, "lineart-journal") as pool:
            while True:
                for name, key in islice(remaining, AHEAD - len(waiting)):
                    waiting.append((name, key, pool.submit(self._get, key)))
                if not waiting:
                    return
                name, key, future = waiting.popleft()
                yield name, key, future.result()

    def _get(self, key: str) -> bytes | None:
        try:
            return self._backend.get(key, 0, self._largest + 1)  # longer ones are not what their name says
        except NotFound:
            return None


def checksum(data: bytes) -> str:
    """Return what an object's name says of its bytes; equal events so have equal names."""
    return Hasher(data).digest()[:8].hex()


def _fitting(lines: Iterable[bytes], room: int) -> list[bytes]:
    """Return the first lines, as many as one object holds."""
    held: list[bytes] = []
    for one in lines:
        room -= len(one)
        if held and room < 0:
            break
        held.append(one)
    return held


class _Damaged(Exception):
    """An object is not what its name says; another may have the same events."""


def _outbox(connection: Connection) -> tuple[int, list[tuple[Any, ...]]]:
    """Return how far the journal is, and the events behind that up to the next span's beginning."""
    journalled: int = connection.execute(select(tables.store.c.journalled)).scalar_one()
    end = ((journalled + 1) // JOURNAL_SPAN + 1) * JOURNAL_SPAN
    seq = _COLUMNS[0]
    wanted = select(*_COLUMNS).where(seq > journalled, seq < end).order_by(seq)
    return journalled, [tuple(row) for row in connection.execute(wanted)]


def _counted(connection: Connection) -> tuple[int, bool]:
    """Return how many events were recorded, and whether the last of them is there, and no more are in the journal."""
    store, event = tables.store, tables.event
    last = exists().where(event.c.seq == store.c.seq)
    seq, journalled, there = connection.execute(select(store.c.seq, store.c.journalled, last)).one()
    return seq, journalled <= seq and (bool(there) or seq == 0)


def _advance(tx: Transaction, last: int) -> None:
    store = tables.store
    tx.execute(update(store).values(journalled=last).where(store.c.journalled < last))


def _parsed(backend: Backend, folder: str) -> Iterator[tuple[JournalName, str]]:
    for info in backend.list(folder):
        name = parse_journal_key(info.key)
        if name is not None:
            yield name, info.key


def _lines(name: JournalName, data: bytes | None) -> Iterator[bytes]:
    """Yield an object's lines, in bounded memory; _Damaged unless they are as many as its name says, and whole."""
    if data is None:
        raise _Damaged("it is gone")
    if name.is_checkpoint:
        yield from _unpacked(name, data)
        return
    if checksum(data) != name.checksum:
        raise _Damaged("its bytes are not what its name says")
    if data.count(b"\n") != name.last - name.first + 1:
        raise _Damaged("it holds more events than its name says, or fewer")
    yield from _exactly(name, io.BytesIO(data))


def _unpacked(name: JournalName, data: bytes) -> Iterator[bytes]:
    """Yield a checkpoint's lines, once all of it is known to be sound: its checksum stands at its end."""
    whole = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    try:
        for start in range(0, len(data), _PIECE):
            whole.decompress(data[start : start + _PIECE])
    except zstandard.ZstdError as error:
        raise _Damaged(str(error)) from None
    if not whole.eof or whole.unused_data:
        raise _Damaged("it is cut short, or goes on behind its end")
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data)
    yield from _exactly(name, io.BufferedReader(reader))


def _exactly(name: JournalName, stream: io.BufferedIOBase) -> Iterator[bytes]:
    try:
        for _ in range(name.first, name.last + 1):
            text = stream.readline(LINE_LIMIT + 1)
            if not text.endswith(b"\n"):
                raise _Damaged("a line is cut short or too long")
            yield text
        if stream.read(1):
            raise _Damaged("it goes on behind its last event")
    except zstandard.ZstdError as error:
        raise _Damaged(str(error)) from None


def _event(text: bytes, seq: int) -> Event:
    try:
        event = Event.from_line(text)
    except IntegrityError as error:
        raise _Damaged(str(error)) from None
    if event.seq != seq:
        raise _Damaged(f"event {event.seq} stands where its name puts {seq}")
    return event
