"""A writer's session: new chunks go into packs, packs go to the bucket, and a commit makes them live.

Knows the order of writes of docs/format.md ("Writing a version"), which is what keeps a collector and a crash from
losing bytes. Must not know what the chunks are for. One session serves one commit, from any number of threads.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self

from sqlalchemy import delete, exists, insert, select, update

from . import tables
from .bulk import insert_many
from .chunks import READABLE, ChunkStore
from .database import Transaction
from .errors import Conflict, StoreUnavailable
from .layout import pack_key
from .pack import Encoded, PackBuilder, PackKind, SealedPack, encode
from .tables import PackState
from .threads import Slots, Threads

__all__ = ["CHUNK_COLUMNS", "PacksGone", "Session"]

EXPIRY = 3_600_000_000  # microseconds that a session outlives its last heartbeat
BEAT = 900.0  # seconds between heartbeats
CHUNK_COLUMNS = ("digest", "pack", "offset", "stored", "size", "codec")
_pack, _pin, _session = tables.pack, tables.pin, tables.session
PACKS = 4  # being filled or under way at once, and so in memory
BATCH = 500  # packs in one statement
TOGETHER = 1 << 20  # bytes: so small, the last packs share their transactions; what a crash costs is little


class PacksGone(Conflict):
    """A pack that the commit relies on was collected meanwhile: make the chunks again from their sources."""

    code = "packs_gone"


class Session:
    """Registers a writer, takes chunks, and hands over what the commit relies on.

    Use it as a context manager; leaving it without a commit leaves nothing visible, and packs that are already in the
    bucket are found by the next try until the collector takes them.
    """

    def __init__(self, chunks: ChunkStore, actor: str, pins: Iterable[bytes] = ()) -> None:
        self.id = uuid.uuid4().hex
        self._chunks = chunks
        self._database = chunks.database
        self._relied: set[int] = set()  # row ids of packs
        self._builders: dict[PackKind, PackBuilder] = {}  # those that hold chunks
        self._pending: set[bytes] = set()  # digests in packs of this session that the index does not have yet
        self._filling = threading.Lock()  # held while packs are filled and sent, so that who adds waits its turn
        self._lock = threading.Lock()  # of the sets above and the list below; never held for long
        self._sending = Threads(PACKS, thread_name_prefix="lineart-send")
        self._slots = Slots(PACKS)  # one for each pack from its first chunk to its upload's end
        self._uploads: list[Future[None]] = []
        self._failure: BaseException | None = None  # chunks were lost on their way: this session can only be closed
        self._ended = threading.Event()
        self._actor = actor
        self._pins = tuple(pins)
        self._registered = False  # it is once there is something to protect: pins at once, else the first pack
        self._committed = False  # the transaction that commits ends the registration, too
        self.new_chunks = 0
        self.new_bytes = 0  # as stored
        if self._pins:
            self._database.write(self._register)
            self._live()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._committed = self._committed and kind is None  # whatever failed may have undone it
        self.close()

    @property
    def chunks(self) -> ChunkStore:
        """What is stored already, to be read."""
        return self._chunks

    def known(self, digests: Iterable[bytes]) -> set[bytes]:
        """Return which of the digests need not be written, and rely on the packs that hold them."""
        wanted = list(digests)
        with self._lock:  # before the index is asked: what is not pending any more is there
            have = self._pending.intersection(wanted)
        found = self._chunks.holders([one for one in wanted if one not in have])
        with self._lock:
            self._relied.update(found.values())
        return have.union(found)

    def put(self, digest: bytes, data: bytes | memoryview, kind: PackKind) -> None:
        """Store one chunk unless it is known."""
        if not self.known([digest]):
            self.add([encode(digest, data)], kind)

    def add(self, chunks: Iterable[Encoded], kind: PackKind) -> None:
        """Put encoded chunks that are not known into packs, in order; blocks while too many packs are under way.

        One that became known since it was asked for may be stored twice, which does no harm. Raises what an earlier
        upload failed with; nothing more is taken then.
        """
        with self._filling, self._spoilt_by_errors():
            filled: set[bytes] = set()
            for one in chunks:
                if one.digest in self._pending or one.digest in filled:
                    continue
                filled.add(one.digest)
                if self._fill(one, kind):
                    self._await(filled)
                    filled = set()
                    if kind == PackKind.META:
                        self._drain(PackKind.DATA)  # no page is durable before what it is about
                    self._send(kind)
            self._await(filled)

    def flush(self) -> None:
        """Make every chunk durable: packs of data first, then packs of pages and recipes."""
        with self._filling, self._spoilt_by_errors():
            self._wait()
            last = [self._builders.pop(kind).seal() for kind in PackKind if kind in self._builders]
            together = [last] if sum(one.size for one in last) <= TOGETHER else [[one] for one in last]
            try:
                for packs in together:
                    self._upload(packs)
            finally:
                for _ in last:
                    self._slots.release()

    def commit(self, tx: Transaction) -> None:
        """Make every pack that is relied on live, inside the transaction that makes the content visible.

        Call it after `flush`, with the collection already locked. Raises PacksGone where a pack is being deleted or is
        gone, or where this session has expired.
        """
        with self._lock:
            relied = sorted(self._relied)
            unfinished = bool(self._builders or self._uploads)
        self._raise_failure()
        if unfinished:
            raise RuntimeError("chunks were added after the last flush(); flush again before the commit")
        if self._registered:
            row = tx.execute(select(_session.c.expires).where(_session.c.id == self.id)).first()
            if row is None or row.expires <= tx.now():
                raise PacksGone("the writing session has expired (was this machine asleep?); the work is tried again")
        for start in range(0, len(relied), BATCH):
            self._rely(tx, relied[start : start + BATCH])
        if self._registered:
            self._unregister(tx)
        self._committed = True

    @staticmethod
    def _rely(tx: Transaction, relied: list[int]) -> None:
        found = tx.lock(select(_pack.c.id, _pack.c.state).where(_pack.c.id.in_(relied)).order_by(_pack.c.id)).all()
        gone = set(relied).difference(row.id for row in found if row.state in READABLE)
        if gone:
            raise PacksGone(f"{len(gone)} packs were collected while their chunks were being relied on")
        waiting = [row.id for row in found if row.state != PackState.LIVE]
        if waiting:
            tx.execute(
                update(_pack).where(_pack.c.id.in_(waiting)).values(state=PackState.LIVE, stamp=None, session=None)
            )

    def close(self) -> None:
        """End the session; may be called again. What was uploaded and not committed stays for the next try."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._sending.shutdown(wait=True, cancel_futures=True)
        if self._registered and not self._committed:
            with suppress(StoreUnavailable):  # it expires by itself, and what the caller must hear of comes first
                self._database.write(self._unregister)

    @contextmanager
    def _spoilt_by_errors(self) -> Iterator[None]:
        """Remember any error: chunks that others believe to be stored may be lost by it."""
        self._raise_failure()
        try:
            yield
        except BaseException as error:
            with self._lock:
                self._failure = self._failure or error
            raise

    def _raise_failure(self) -> None:
        with self._lock:
            failure = self._failure
        if failure is not None:
            raise failure

    def _fill(self, chunk: Encoded, kind: PackKind) -> bool:
        """Put a chunk into the pack that is being filled; say whether that is full now."""
        if kind not in self._builders:
            self._slots.acquire()  # of four, two at most are being filled: those under way give theirs back
            self._builders[kind] = PackBuilder(kind)
        builder = self._builders[kind]
        builder.add(chunk)
        self.new_chunks += 1
        self.new_bytes += len(chunk.data)
        return builder.full

    def _await(self, filled: set[bytes]) -> None:
        """Count chunks in packs that are being filled as known from here on; before their pack is sent."""
        with self._lock:
            self._pending |= filled

    def _drain(self, kind: PackKind) -> None:
        """Send what is being filled, and wait for everything that is under way."""
        if kind in self._builders:
            self._send(kind)
        self._wait()

    def _wait(self) -> None:
        with self._lock:
            uploads, self._uploads = self._uploads, []
        for one in uploads:
            one.result()

    def _send(self, kind: PackKind) -> None:
        only = [self._builders.pop(kind).seal()]  # handed over: no frame and no task keeps what was sent in memory
        future = self._sending.submit(lambda: self._upload([only.pop()]))
        future.add_done_callback(lambda _: self._slots.release())
        with self._lock:
            self._uploads.append(future)
            ended = [one for one in self._uploads if one.done()]
            self._uploads = [one for one in self._uploads if not one.done()]
        for one in ended:
            one.result()

    def _upload(self, packs: Sequence[SealedPack]) -> None:
        """Register packs, upload them in this order, and enter their chunks in the index."""
        numbers = self._database.write(partial(self._announce, packs=packs))
        self._live()
        for pack in packs:
            self._chunks.backend.put(pack_key(pack.kind, pack.id), self._parts(pack))
        self._database.write(partial(self._index, packs=packs, numbers=numbers))
        with self._lock:
            self._relied.update(numbers)
            for pack in packs:
                self._pending.difference_update([slot.digest for slot in pack.slots])

    def _parts(self, pack: SealedPack) -> Sequence[bytes | memoryview]:
        """Return what is to be sent of a pack; it is in memory once."""
        if not self._chunks.backend.gathers:
            return pack.parts
        whole = [b"".join(pack.parts)]
        pack.parts.clear()
        return whole

    def _announce(self, tx: Transaction, packs: Sequence[SealedPack]) -> list[int]:
        if not self._registered:
            self._register(tx)
        return [
            tx.execute(
                insert(_pack)
                .values(key=one.id, kind=one.kind, state=PackState.UPLOADING, session=self.id, size=one.size)
                .returning(_pack.c.id)
            ).scalar_one()
            for one in packs
        ]

    def _index(self, tx: Transaction, packs: Sequence[SealedPack], numbers: Sequence[int]) -> None:
        alive = exists().where(_session.c.id == self.id, _session.c.expires > tx.now())
        for pack, number in zip(packs, numbers, strict=True):
            mine = update(_pack).where(_pack.c.id == number, _pack.c.state == PackState.UPLOADING, alive)
            if tx.execute(mine.values(state=PackState.UPLOADED)).rowcount != 1:
                raise PacksGone("the writing session expired while a pack was being uploaded; the work is tried again")
            slots = [(digest, number, *place) for digest, *place in pack.slots]
            insert_many(tx.connection, tables.chunk, CHUNK_COLUMNS, slots)

    def _register(self, tx: Transaction) -> None:
        """Enter this writer and its pins; two threads may come to it at once."""
        now = tx.now()
        row = (self.id, self._actor, now, now + EXPIRY)
        insert_many(tx.connection, _session, ("id", "actor", "opened", "expires"), [row], ignore=True)
        insert_many(tx.connection, _pin, ("session", "digest"), [(self.id, one) for one in self._pins], ignore=True)

    def _unregister(self, tx: Transaction) -> None:
        tx.execute(delete(_pin).where(_pin.c.session == self.id))
        tx.execute(delete(_session).where(_session.c.id == self.id))

    def _live(self) -> None:
        """Note that the registration is there, and begin to keep it alive."""
        with self._lock:
            if self._registered:
                return
            self._registered = True
        with suppress(RuntimeError):  # the interpreter is shutting down: what is left to do ends before the expiry
            threading.Thread(target=self._keep_alive, name="lineart-session", daemon=True).start()

    def _keep_alive(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self._database.write(self._renew)
            except StoreUnavailable:
                continue  # the session may expire; its commit then says so

    def _renew(self, tx: Transaction) -> None:
        tx.execute(update(_session).where(_session.c.id == self.id).values(expires=tx.now() + EXPIRY))
