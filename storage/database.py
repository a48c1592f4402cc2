"""The coordinator's database: opening, creating, and transactions that end either way once.

Knows engines, locks, retries and the event counter; the statements inside a transaction belong to its callers.
SQLite serves one machine, PostgreSQL a team; the rules are docs/format.md, "Database".
"""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from sqlalchemy import insert, select, text

from . import forking
from .bulk import select_in
from .engines import Dialect, Location, locate, make_engine, wait_for_writing
from .errors import Conflict, NotFound
from .schema import HEAD, holding, lock_schema, tables, upgrade
from .sqlite import SqliteFile
from .tables import store as store_table
from .transaction import STORAGE_FOLDS, STORE_CREATED, Transaction
from .trouble import Trouble, busy, diagnose, translate
from .turns import Turns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

    from .events import Fold

__all__ = ["Database", "StoreRow", "Transaction", "select_in"]

T = TypeVar("T")

MARK_AGE = 24 * 3600 * 1_000_000  # µs: no transaction is looked up this long after its COMMIT

# A retry claims the same mark as the attempt whose COMMIT was lost. The insert waits while that attempt is still
# under way in the server, and finds its mark if it was committed: there is no moment at which the answer is a guess.
# A session whose client is gone ends itself, so that the wait has an end.
_CLAIM = text(
    "INSERT INTO commit_mark (id, time) VALUES (:mark, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))"
    " ON CONFLICT DO NOTHING RETURNING set_config('idle_in_transaction_session_timeout', :idle, true)"
)
_PRUNE = text(
    "DELETE FROM commit_mark WHERE time < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - :age"
)

# Engines inherited over a fork: never closed here, since their connections are the parent's.
_inherited: list[Engine] = []


class StoreRow(NamedTuple):
    """The row that names the store: `seq` is the last event's, `journalled` the last one's that is in the bucket."""

    store_id: str
    created: int
    seq: int
    journalled: int


class Database:
    """One store's database, safe for many threads; a child process makes connections of its own.

    `url` names it in messages and holds no password. `actor` signs the events. `patience` is seconds that a lock or a
    lost server is waited for. `clock`, `sleep` and `jitter` are the machine's unless a test says otherwise; on
    PostgreSQL times are the server's.
    """

    def __init__(
        self,
        location: Location,
        *,
        actor: str,
        folds: Mapping[str, Fold],
        patience: float = 60.0,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        create: bool = False,
    ) -> None:
        self.dialect: Dialect = location.dialect
        self.url = location.shown
        self.store_id = ""
        self.blank = False  # no event was in it when it was opened: a repair has not come to them yet
        self.actor = actor
        self.patience = patience
        self.folds: Mapping[str, Fold] = MappingProxyType({**STORAGE_FOLDS, **folds})
        self._location = location
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._reached = False
        self._file = None if location.path is None else SqliteFile(location.path, self.url, create=create)
        self._start()
        forking.watch_connections(self)

    @classmethod
    def create(cls, url: str, *, store_id: str, actor: str, folds: Mapping[str, Fold], **options: Any) -> Self:
        """Make the schema and the store's row in an empty database, and record `store.created`.

        Raises Conflict if the database holds a store already (of two that create at once, one makes it) or tables of
        something else; StoreUnavailable if it cannot be reached or written. Options are those of the class.
        """
        database = cls(locate(url), actor=actor, folds=folds, create=True, **options)
        database._found(store_id, lambda tx: tx.record(STORE_CREATED, "store", {"store_id": store_id}))
        return database

    @classmethod
    def create_blank(cls, url: str, *, store_id: str, actor: str, folds: Mapping[str, Fold], **options: Any) -> Self:
        """Do as `create`, but without an event: the journal's are folded into it (`Journal.replay`)."""
        database = cls(locate(url), actor=actor, folds=folds, create=True, **options)
        database._found(store_id, lambda _: None)
        return database

    @classmethod
    def open(cls, url: str, *, actor: str, folds: Mapping[str, Fold], **options: Any) -> Self:
        """Open a store's database, migrating an older schema first.

        Raises NotFound if there is no store in it, FormatTooNew for a newer schema, StoreUnavailable at once if it
        cannot be reached. Options are those of the class.
        """
        database = cls(locate(url), actor=actor, folds=folds, **options)
        path = database._location.path
        held = None
        if path is None or path.exists():
            database._persist(database._use_wal)
            held = database.read(holding)
        if held is None:
            database.close()
            raise NotFound(f"no store has its database in {database.url}; `art init` or lineart.create makes one")
        database.store_id, database.blank = held.store_id, held.seq == 0
        if held.revision != HEAD:
            database._migrate()
        return database

    def close(self) -> None:
        """Close the connections; those that threads are using, when they are returned."""
        self._enter()
        self._engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work in one read transaction, over one snapshot; it may be called again after a lost connection."""
        self._enter()

        def attempt() -> T:
            with self._begin(write=False) as connection:
                return work(connection)

        return self._persist(attempt)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run work in one writing transaction that takes place once, and return what it returned.

        Work may be called again (deadlock, lost connection), so outside of the transaction it must change nothing
        that a second call would not change back. What it raises undoes the transaction. Raises StoreBusy after
        `patience`, StoreUnavailable if the server stays away that long.
        """
        self._enter()
        mark = os.urandom(16).hex()
        results: list[
            T
        ] = []  # of attempts that came to their COMMIT; the last of them is the one that may have ended well

        def attempt() -> T:
            with self._begin(write=True) as connection:
                if self.dialect == "postgresql" and not self._claim(connection, mark):
                    return results[-1]
                tx = Transaction(connection, self.dialect, self.actor, self.folds, self._clock)
                result = work(tx)
                tx.finish()
                results.append(result)
            return result

        result = self._in_turn(attempt)
        if self.dialect == "postgresql" and mark.startswith("00"):  # now and then: one in 256
            self.prune_marks()
        return result

    # Beside `read`, for what is looked up there.
    select_in = staticmethod(select_in)

    def store(self) -> StoreRow:
        """Return the store's row as it is now."""
        row = store_table.c
        wanted = select(row.store_id, row.created, row.seq, row.journalled)
        return self.read(lambda connection: StoreRow(*connection.execute(wanted).one()))

    def prune_marks(self) -> None:
        """Remove the marks of transactions that nobody can still be unsure of."""

        def prune() -> None:
            with self._begin(write=True) as connection:
                connection.execute(_PRUNE, {"age": MARK_AGE})

        self._in_turn(prune)

    def before_fork(self) -> None:
        """Close SQLite's idle connections: none may be inherited. PostgreSQL's are left to the parent."""
        if self.dialect == "sqlite":
            self._engine.dispose()

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        _inherited.append(self._engine)
        self._start()

    def _start(self) -> None:
        self._engine = make_engine(self._location, self.patience, file=self._file)
        self._turns = Turns(single=self.dialect == "sqlite", patience=self.patience, sleep=self._sleep)
        self._pid = os.getpid()  # last: from here on, other threads use what was made above

    def _enter(self) -> None:
        if self._pid != os.getpid():  # forked by something that tells nobody
            self.after_fork()
        if self._turns.mine:
            raise RuntimeError("a transaction is open in this thread; its work must use that one")

    def _in_turn(self, attempt: Callable[[], T]) -> T:
        return self._turns.take(lambda: self._persist(attempt), lambda: busy(self._location, self.patience))

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Repeat a transaction that was undone through no fault of its own, for as long as patience lasts."""
        deadline = time.monotonic() + self.patience
        pause = 0.01
        while True:
            try:
                return attempt()
            except Exception as error:
                trouble = diagnose(error)
                hopeless = trouble is Trouble.FINAL or (trouble is Trouble.LOST and not self._reached)
                if hopeless or time.monotonic() + pause > deadline:
                    known = translate(error, self._location, self.patience)
                    if known is error:
                        raise
                    raise known from error
            self._sleep(pause * (0.5 + self._jitter()))
            pause = min(pause * 2, 2.0)

    @contextmanager
    def _connect(self) -> Iterator[tuple[Connection, Any]]:
        """Yield a connection, and the driver's below it."""
        with nullcontext() if self._file is None else forking.shelter(), self._engine.connect() as connection:
            yield connection, connection.connection.dbapi_connection

    @contextmanager
    def _begin(self, *, write: bool) -> Iterator[Connection]:
        with self._connect() as (connection, raw):
            self._require_file(connection)
            if self.dialect == "postgresql":
                _characterize(raw, write=write)
            elif write:
                self._patiently(raw, "BEGIN IMMEDIATE")
            else:
                raw.execute("BEGIN")
            with connection.begin():
                self._reached = True
                yield connection
            if write:
                self._require_file(connection)  # what went into a file that is gone is not acknowledged

    def _require_file(self, connection: Connection) -> None:
        if self._file is None:
            return
        try:
            self._file.require()
        except BaseException:
            connection.invalidate()
            self._engine.dispose()
            raise

    def _patiently(self, raw: sqlite3.Connection, statement: str) -> None:
        wait_for_writing(raw, statement, self._location, self.patience, self._sleep, self._jitter)

    def _claim(self, connection: Connection, mark: str) -> bool:
        """Insert the transaction's mark; False if an earlier attempt of it was committed after all."""
        idle = f"{max(10, int(self.patience / 2))}s"
        return connection.execute(_CLAIM, {"mark": mark, "idle": idle}).one_or_none() is not None

    def _use_wal(self) -> None:
        if self.dialect == "sqlite":
            with self._connect() as (_, raw):
                self._patiently(raw, "PRAGMA journal_mode=WAL")

    def _found(self, store_id: str, first: Callable[[Transaction], object]) -> None:
        def found() -> None:
            self.read(self._refuse_occupied)
            self._use_wal()
            with self._begin(write=True) as connection:
                lock_schema(connection)
                self._refuse_occupied(connection)
                upgrade(connection)
                tx = Transaction(connection, self.dialect, self.actor, self.folds, self._clock)
                connection.execute(insert(store_table).values(id=1, store_id=store_id, created=tx.now()))
                first(tx)
                tx.finish()

        if self._location.path is not None:
            self._location.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._persist(found)
        except BaseException:
            self.close()
            raise
        self.store_id = store_id

    def _refuse_occupied(self, connection: Connection) -> None:
        present = tables(connection)
        if not present:
            return
        held = holding(connection) if "store" in present else None
        if held is not None:
            raise Conflict(
                f"{self.url} holds a store already: {held.store_id}; open that one, or give another database"
            )
        some = ", ".join(sorted(present)[:5])
        raise Conflict(f"{self.url} holds tables of something else ({some}); give an empty database")

    def _migrate(self) -> None:
        def migrate() -> None:
            with self._begin(write=True) as connection:
                lock_schema(connection)
                held = holding(connection)
                if held is not None and held.revision != HEAD:
                    upgrade(connection)

        self._in_turn(migrate)


def _characterize(raw: Any, *, write: bool) -> None:
    # Attributes of the connection that make psycopg's next BEGIN. A read sees one snapshot, as it does on SQLite; a
    # snapshot that only reads is never refused.
    from psycopg import IsolationLevel

    raw.isolation_level = IsolationLevel.READ_COMMITTED if write else IsolationLevel.REPEATABLE_READ
    raw.read_only = not write
