"""SQLite's file: connections to it that end cleanly, and whether it is still the one that was opened.

Knows the sqlite3 module and the file's identity; knows no table and no transaction. SQLite goes on writing to a file
that was deleted or replaced, and nobody would ever see what it writes.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import ref

from sqlalchemy.pool import ConnectionPoolEntry, Pool

from . import forking
from .errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

__all__ = ["READ_PATIENCE", "SqliteFile", "any_text", "as_text", "raw_text"]

READ_PATIENCE = 5000  # ms that a reader waits while another process recovers or removes the write-ahead log
_CURSORS = 64  # remembered before those that are gone are forgotten
_IDLE = 5  # connections that wait for their next use
_NOWHERE = (-1, -1)  # of a file that was gone before it could be looked at
_FORKED = (
    "this process was forked while the database {} was in use, and SQLite's locks do not survive a fork; open the"
    " store only in the child, fork while no other thread is using it, or use multiprocessing's spawn start method"
)


@contextmanager
def any_text(connection: Connection) -> Iterator[None]:
    """Read text that is not UTF-8, too: its bytes stand there as surrogates. PostgreSQL holds no such text."""
    raw: Any = connection.connection.dbapi_connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return
    before, raw.text_factory = raw.text_factory, as_text
    try:
        yield
    finally:
        raw.text_factory = before


def as_text(data: bytes) -> str:
    r"""Return text of any bytes, so that other bytes are other text.

    >>> as_text(bytes([97, 255]))
    'a\udcff'
    """
    return data.decode(errors="surrogateescape")


def raw_text(text: str) -> bytes:
    """Return the bytes of what `as_text` made."""
    return text.encode(errors="surrogateescape")


class _Connection(sqlite3.Connection):
    """Undoes its transaction when it is closed, and does nothing in a process that inherited it.

    SQLite's own close leaves the file open, with all its locks, for as long as a statement is alive: and a statement is
    for as long as the traceback of an interrupt refers to its cursor.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.process = os.getpid()
        self.identity: tuple[int, int] | None = None
        self.shown = ""
        self._cursors: list[ref[sqlite3.Cursor]] = []  # no WeakSet, which swallows interrupts
        super().__init__(*args, **options)

    def cursor(self, *args: Any) -> Any:
        self._require_own()
        cursor = super().cursor(*args)
        if len(self._cursors) >= _CURSORS:
            self._cursors = [one for one in self._cursors if one() is not None]
        self._cursors.append(ref(cursor))
        return cursor

    def execute(self, *args: Any) -> Any:
        return self.cursor().execute(*args)  # which the module's own would make without telling

    def commit(self) -> None:
        self._require_own()
        super().commit()

    def rollback(self) -> None:
        if os.getpid() == self.process:
            self._close_cursors()
            super().rollback()

    def close(self) -> None:
        if os.getpid() != self.process:
            return
        with suppress(sqlite3.Error):
            self._close_cursors()
            if self.in_transaction:
                super().rollback()
        super().close()
        forking.closed(self)

    def _close_cursors(self) -> None:
        for one in self._cursors:
            cursor = one()
            if cursor is not None:
                cursor.close()
        self._cursors = []

    def _require_own(self) -> None:
        if os.getpid() != self.process:
            raise StoreUnavailable(_FORKED.format(self.shown))


class SqlitePool(Pool):
    """Connections that are idle, for as many threads as ask; a limit would let threads wait for one another's.

    No lock of it can be left locked by an interrupt, as that of SQLAlchemy's QueuePool can: then every other thread
    would wait for ever.
    """

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options)
        self._idle: deque[ConnectionPoolEntry] = deque()

    def status(self) -> str:
        return f"SqlitePool, idle: {len(self._idle)}"

    def dispose(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def recreate(self) -> SqlitePool:
        return type(self)(
            self._creator,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return self._idle.pop()
        except IndexError:
            return self._create_connection()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(record)
        else:
            record.close()


class SqliteFile:
    """The file of one opened database: what is at `path` at the first connection must stay there.

    `create` lets the first connection make the file. `shown` names the database in messages.
    """

    def __init__(self, path: Path, shown: str, *, create: bool) -> None:
        self.path = path
        self.shown = shown
        self._create = create
        self._identity: tuple[int, int] | None = None

    def connect(self) -> sqlite3.Connection:
        """Return a new connection; StoreUnavailable where the file is another by now, or belongs to a fork's parent."""
        if forking.withheld(self._look()):
            raise StoreUnavailable(_FORKED.format(self.shown))
        self.require()
        mode = "rwc" if self._create and self._identity is None else "rw"
        # isolation_level=None: the driver begins nothing by itself; Database says BEGIN, and which.
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(self.path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        try:
            connection.shown = self.shown
            connection.identity = self._look()
            forking.opened(connection)
            self._identity = self._identity or connection.identity or _NOWHERE
            self.require()
            connection.execute(f"PRAGMA busy_timeout={READ_PATIENCE}")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA cache_size=-32768")
        except BaseException:
            connection.close()
            raise
        return connection

    def require(self) -> None:
        """Raise StoreUnavailable unless the file at the path is the one that was opened; it costs one stat."""
        if self._identity is None:
            return
        found = self._look()
        if found != self._identity:
            happened = "was deleted" if found is None else "was replaced by another file"
            raise StoreUnavailable(
                f"the database {self.shown} {happened} while this process had it open, so nothing more is written; put"
                " the file back, or rebuild it from the bucket: `art repair database`; then open the store again"
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            there = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"the database {self.shown} cannot be looked at: {error}") from error
        return there.st_dev, there.st_ino
