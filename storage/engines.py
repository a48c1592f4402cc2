"""From a database's URL to a SQLAlchemy engine with the right settings.

Knows URLs, SQLite's pragmas and lock, and PostgreSQL's session settings; knows no table. A password never leaves the
URL: messages name the database by `Location.shown`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from .errors import InvalidInput, StoreUnavailable
from .mounts import network_filesystem
from .sqlite import READ_PATIENCE, SqliteFile, SqlitePool
from .trouble import busy, is_busy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Dialect", "Location", "locate", "make_engine", "wait_for_writing"]

Dialect = Literal["sqlite", "postgresql"]

_LOOK = 0.001  # seconds between two looks at SQLite's write lock, on average
_SQLITE = "sqlite:///"
_SECRET = ("password", "sslpassword", "passfile")
_KEEPALIVE: dict[str, Any] = {
    "application_name": "lineart",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a database is: its URL for the driver, the same without secrets for messages, and SQLite's path."""

    dialect: Dialect
    url: URL
    shown: str
    path: Path | None
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Location({self.shown!r})"

    def scrub(self, text: str) -> str:
        """Return text without any secret that the URL holds."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def locate(url: str) -> Location:
    """Read a database URL: `sqlite:///relative`, `sqlite:////absolute` or `postgresql://user@host/name`.

    Raises InvalidInput for anything else, without repeating the URL, which may hold a password.
    """
    if url.startswith(_SQLITE):
        name = url.removeprefix(_SQLITE)  # as it stands: any character may be part of a path
        if name in {"", ":memory:"}:
            raise InvalidInput("a SQLite database is a file here: sqlite:///path")
        path = Path(name).absolute()
        return Location("sqlite", make_url("sqlite://"), f"{_SQLITE}{path}", path, ())
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise InvalidInput(
            "the database URL cannot be read; give sqlite:///path or postgresql://user@host/name"
        ) from None
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        secret = [parsed.password or "", *(str(parsed.query.get(name, "")) for name in _SECRET)]
        secrets = {form for text in secret if text for form in (text, quote(text, safe=""), quote_plus(text))}
        shown = URL.create(
            "postgresql",
            parsed.username,
            host=parsed.host,
            port=parsed.port,
            database=parsed.database,
            query={name: value for name, value in parsed.query.items() if name not in _SECRET},
        ).render_as_string()
        return Location(
            "postgresql",
            parsed.set(drivername="postgresql+psycopg"),
            shown,
            None,
            tuple(sorted(secrets, key=len, reverse=True)),
        )
    raise InvalidInput(
        f"no database of the kind {parsed.drivername!r}; give sqlite:///path or postgresql://user@host/name"
    )


def make_engine(
    location: Location, patience: float, *, file: SqliteFile | None = None, mountinfo: str | None = None
) -> Engine:
    """Return an engine for a database; connections are made when they are needed.

    `patience` is seconds that a lock may be waited for. `file` is SQLite's, if it was opened before. `mountinfo` stands
    in for the text of /proc/self/mountinfo. Raises StoreUnavailable for SQLite on a network filesystem, and where
    psycopg is not installed, InvalidInput.
    """
    if location.path is not None:
        _refuse_network_filesystem(location, _mountinfo() if mountinfo is None else mountinfo)
        return _sqlite(file or SqliteFile(location.path, location.shown, create=False))
    return _postgresql(location, patience)


def wait_for_writing(
    raw: sqlite3.Connection,
    statement: str,
    location: Location,
    patience: float,
    sleep: Callable[[float], None],
    jitter: Callable[[], float],
) -> None:
    """Run a statement that needs SQLite's write lock; StoreBusy after `patience` seconds.

    SQLite's own wait sleeps for up to 100 ms between looks and so starves beside a busy writer, who lets go for some
    0.3 ms at a time; this one looks about every millisecond, at a hundredth of a processor.
    """
    deadline = time.monotonic() + patience
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                raw.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if time.monotonic() > deadline:
                    raise busy(location, patience) from error
            sleep(_LOOK * (0.5 + jitter()))
    finally:
        raw.execute(f"PRAGMA busy_timeout={READ_PATIENCE}")


def _sqlite(file: SqliteFile) -> Engine:
    return create_engine("sqlite://", creator=file.connect, poolclass=SqlitePool, hide_parameters=True)


def _postgresql(location: Location, patience: float) -> Engine:
    options = {name: value for name, value in _KEEPALIVE.items() if name not in location.url.query}
    try:
        engine = create_engine(
            location.url,
            connect_args=options,
            isolation_level="READ COMMITTED",
            pool_timeout=patience,
            max_overflow=15,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise InvalidInput("PostgreSQL needs psycopg: pip install 'lineart[postgres]'") from None

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: object) -> None:
        # Outside of a transaction: a rollback would take the settings back. The server finds a dead client by
        # keepalives and then lets its locks go.
        connection.autocommit = True
        connection.execute(
            f"SET lock_timeout = {int(patience * 1000)};"
            "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
        )
        connection.autocommit = False

    return engine


def _mountinfo() -> str:
    if sys.platform != "linux":
        return ""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _refuse_network_filesystem(location: Location, mountinfo: str) -> None:
    assert location.path is not None
    kind = network_filesystem(os.path.realpath(location.path), mountinfo)
    if kind is not None:
        raise StoreUnavailable(
            f"{location.path} is on a network filesystem ({kind}), where SQLite's locks and shared memory do not hold"
            " between machines; put the database on a local disk (--database sqlite:////local/path.db) or use"
            " PostgreSQL (--database postgresql://user@host/name)"
        )
