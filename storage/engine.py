"""The engine: a bucket and a database that belong together, opened as one.

Knows how the two are made, matched and written in order; must not know artifacts or runs, whose folds are given to it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self, TypeVar

from blake3 import blake3

from . import forking
from .backends.base import Backend
from .chunks import ChunkStore
from .database import Database, Transaction
from .engines import locate
from .errors import Conflict, IntegrityError, NotFound
from .events import Fold
from .journal import Journal
from .layout import JOURNAL, MARKER
from .marker import LARGEST, Marker
from .pack import PackKind
from .session import PacksGone, Session

__all__ = ["TRIES", "Engine", "read_marker"]

T = TypeVar("T")
TRIES = 5  # of work whose packs are collected under it


class Engine:
    """One opened store below artifacts: `backend`, `database`, `chunks` and `journal`.

    Where the backend that it is given keeps copies, only `chunks` reads them; `backend` is the place itself. Safe from
    many threads. The first write looks at the journal's tail, so that a database that lacks events (a restored backup,
    an empty one) is refused before it can give a number twice.
    """

    def __init__(self, backend: Backend, database: Database, marker: Marker, actor: str) -> None:
        self.backend = backend.origin
        self.database = database
        self.marker = marker
        self.actor = actor
        self.chunks = ChunkStore(backend, database)
        self.journal = Journal(self.backend, database)
        self._lock = threading.Lock()
        self._writing = False
        forking.watch(self)

    def after_fork(self) -> None:
        """Take a new lock in a child process: the parent's may be held by a thread that is not there."""
        self._lock = threading.Lock()

    @classmethod
    def create(
        cls, backend: Backend, database_url: str, *, actor: str, folds: Mapping[str, Fold], single_machine: bool = False
    ) -> Self:
        """Make a store: rows first, then the marker, so that a crash between them is finished by the next try.

        Raises Conflict where the bucket or the database holds a store already.
        """
        journal = next(backend.list(JOURNAL), None)  # looked for first: a store that is being made has its marker first
        if read_marker(backend) is not None:
            raise Conflict(f"{backend.url} holds a store already; open it instead")
        if journal is not None:
            raise Conflict(
                f"{backend.url} holds the journal of a store whose marker {MARKER} is gone; bring the marker back from "
                f"a backup, or choose another place"
            )
        marker = Marker(uuid.uuid4().hex, single_machine)
        try:
            database = Database.create(database_url, store_id=marker.store_id, actor=actor, folds=folds)
        except Conflict:
            database = Database.open(database_url, actor=actor, folds=folds)
            row = database.store()
            if row.journalled > 0:
                database.close()
                raise
            marker = Marker(row.store_id, single_machine)  # its creator stopped before the marker was written
        try:
            engine = cls(backend, database, _put_marker(backend, marker), actor)
            engine.begin_writing()
        except BaseException:
            database.close()
            raise
        return engine

    @classmethod
    def open(cls, backend: Backend, database_url: str, *, actor: str, folds: Mapping[str, Fold]) -> Self:
        """Open a store.

        Raises NotFound where the bucket or the database holds none, and Conflict where they hold different ones.
        """
        marker = read_marker(backend)
        if marker is None:
            raise NotFound(f"no store at {backend.url}; `art init` makes one")
        try:
            database = Database.open(database_url, actor=actor, folds=folds)
        except NotFound:
            raise NotFound(
                f"{backend.url} holds a store, but its database is not in {locate(database_url).shown}; "
                "if that is the right place, `art repair database` rebuilds it from the bucket"
            ) from None
        store_id = database.store_id
        if database.blank:
            database.close()
            raise NotFound(
                f"{backend.url} holds a store, and {database.url} nothing of it yet: a repair of it has not come to an "
                "end; `art repair database` goes on with it"
            )
        if store_id != marker.store_id:
            database.close()
            raise Conflict(
                f"{backend.url} holds store {marker.store_id[:8]} and {database.url} belongs to store {store_id[:8]}; "
                f"one of the two addresses is wrong"
            )
        return cls(backend, database, marker, actor)

    def begin_writing(self) -> None:
        """Check the journal's tail and flush what a crash left in the outbox; does so once."""
        with self._lock:
            if not self._writing:
                self.journal.check_tail()
                self.journal.flush()
                self._writing = True

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run one transaction, and return once its events are in the journal; `work` may be called again."""
        self.begin_writing()
        result = self.database.write(work)
        self.journal.flush()
        return result

    def session(self, pins: Iterable[bytes] = ()) -> Session:
        """Register a writer that builds on the manifest roots `pins`."""
        self.begin_writing()
        return Session(self.chunks, self.actor, pins)

    def put_blobs(self, blobs: Sequence[bytes], also: Callable[[Transaction, list[bytes]], T]) -> T:
        """Store small contents as chunks, and name their digests in the transaction that commits them."""
        digests = [blake3(blob).digest() for blob in blobs]

        def attempt() -> T:
            with self.session() as session:
                for digest, blob in zip(digests, blobs, strict=True):
                    session.put(digest, blob, PackKind.META)
                session.flush()

                def work(tx: Transaction) -> T:
                    session.commit(tx)
                    return also(tx, digests)

                return self.write(work)

        return self.insist(attempt)

    @staticmethod
    def insist(attempt: Callable[[], T]) -> T:
        """Do the whole of a write again from its sources, TRIES times in all, while packs are collected under it."""
        for _ in range(TRIES - 1):
            try:
                return attempt()
            except PacksGone:
                continue
        return attempt()

    def close(self) -> None:
        """Release connections; may be called again."""
        self.database.close()
        self.backend.close()


def _put_marker(backend: Backend, marker: Marker) -> Marker:
    """Write the marker unless there is one, and return what stands there then: `put_new` need not be atomic."""
    backend.put_new(MARKER, marker.encode())
    written = read_marker(backend)
    if written is None or written.store_id != marker.store_id:
        raise Conflict(f"{backend.url}: another store was made here at the same moment; open it instead")
    return written


def read_marker(backend: Backend) -> Marker | None:
    """Return what a bucket says it is; None where it holds no store."""
    try:
        try:
            return Marker.decode(backend.get_at_most(MARKER, 0, LARGEST + 1), backend.url)
        except IntegrityError:  # what came wrong is asked for once more before it is called damaged
            return Marker.decode(backend.get_at_most(MARKER, 0, LARGEST + 1), backend.url)
    except NotFound:
        return None
