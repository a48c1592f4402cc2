"""Errors of the database drivers: what may be done about them, and what they are called here.

Knows both drivers' error codes; knows no table and no transaction.
"""

from __future__ import annotations

import sqlite3
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .errors import IntegrityError, LineartError, StoreBusy, StoreUnavailable
from .mounts import lock_holder

if TYPE_CHECKING:
    from .engines import Location

__all__ = ["Trouble", "busy", "diagnose", "is_busy", "translate"]

# Byte of SQLite's -shm file that a writer locks (https://www.sqlite.org/walformat.html, "WAL Locks").
_WRITE_LOCK = 120

_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_UNAVAILABLE = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_PROTOCOL,
}
# Shutdowns, a server that starts or has no connection left, a session that was ended for idling in its transaction.
_LOST = {"57P01", "57P02", "57P03", "57P05", "25P03", "53300"}
_REFUSED = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied", "not permitted")


class Trouble(Enum):
    """What an error from below lets one do."""

    AGAIN = "again"  # the transaction was undone so that another could go on: repeat it
    LOST = "lost"  # there is no connection; whether a COMMIT that was under way took place is not known
    FINAL = "final"  # repeating does not help


def diagnose(error: BaseException) -> Trouble:
    """Say what may be done about an error of a driver, plain or wrapped by SQLAlchemy."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not _from_psycopg(cause):
        return Trouble.FINAL
    state: str | None = getattr(cause, "sqlstate", None)
    if state in {"40001", "40P01"}:
        return Trouble.AGAIN
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Trouble.LOST
    if state is None:  # said by the client's side: the connection was not made, or broke
        from psycopg import OperationalError

        refused = any(word in str(cause) for word in _REFUSED)
        return Trouble.LOST if isinstance(cause, OperationalError) and not refused else Trouble.FINAL
    return Trouble.LOST if state in _LOST or state.startswith("08") else Trouble.FINAL


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether SQLite refused only because somebody else holds a lock."""
    return _sqlite_code(error) in _SQLITE_BUSY


def busy(location: Location, patience: float) -> StoreBusy:
    """Return the error for a lock that others held for longer than `patience` seconds."""
    waited = f"the database {location.shown} was locked by others for more than {patience:g} s"
    if location.path is None:
        return StoreBusy(f"{waited}; pg_stat_activity shows who holds locks: let it finish or end it, then try again")
    holder = _holder(location.path)
    who = f"process {holder}" if holder else "another process"
    return StoreBusy(
        f"{waited}: by {who} (an `art` command, a script that logs, or a tool that has the file open for writing);"
        " let it finish or end it, then try again; for many writers use PostgreSQL"
    )


def translate(error: BaseException, location: Location, patience: float) -> BaseException:
    """Return our error for a driver's, or the error itself where it is a fault of the caller's statement."""
    if isinstance(error, PoolTimeoutError):
        return StoreBusy(f"no connection to {location.shown} became free in {patience:g} s: too many threads use it")
    cause = error.orig if isinstance(error, StatementError) else error
    if isinstance(cause, LineartError):
        return cause
    said = location.scrub(str(cause).strip().replace("\n", "; "))
    if isinstance(cause, sqlite3.Error):
        return _from_sqlite(cause, said, location, patience) or error
    if _from_psycopg(cause):
        return _from_postgresql(error, cause, said, location, patience) or error
    return error


def _from_sqlite(cause: sqlite3.Error, said: str, location: Location, patience: float) -> LineartError | None:
    code = _sqlite_code(cause)
    if code in _SQLITE_BUSY:
        return busy(location, patience)
    if "Could not decode to UTF-8" in said:
        return IntegrityError(
            f"the database {location.shown} holds text that is not UTF-8 ({said}); `art check --journal` says where,"
            " and `art repair database` mends it"
        )
    if code in _SQLITE_DAMAGED or "no such table" in said or "no such column" in said:
        return IntegrityError(
            f"the database {location.shown} is damaged ({said}); move it away and rebuild it from the bucket:"
            " `art repair database`"
        )
    if code in _SQLITE_UNAVAILABLE:
        return StoreUnavailable(
            f"the database {location.shown} cannot be used: {said}; look at the permissions of the file and its folder"
            " and at the space left on the disk"
        )
    return None


def _from_postgresql(
    error: BaseException, cause: BaseException | None, said: str, location: Location, patience: float
) -> LineartError | None:
    state: str = getattr(cause, "sqlstate", None) or ""
    trouble = diagnose(error)
    if state == "55P03":
        return busy(location, patience)
    if trouble is Trouble.AGAIN:
        return StoreBusy(f"transactions on {location.shown} kept getting into each other's way: {said}")
    if trouble is Trouble.LOST:
        return StoreUnavailable(f"no connection to {location.shown}: {said}", transient=True)
    if not state and any(word in said for word in _REFUSED):
        return StoreUnavailable(
            f"{location.shown} refused the connection: {said}; check the user, the password (PGPASSWORD or ~/.pgpass"
            " keep it out of URLs) and the database's name"
        )
    if state.startswith(("28", "3D")) or state in {"42501", "25006"}:
        return StoreUnavailable(f"{location.shown} refused the request: {said}; check the user's rights and the server")
    if state.startswith(("53", "58")):
        return StoreUnavailable(f"the server of {location.shown} is in trouble: {said}; look at its disk and its log")
    if state.startswith("XX00") or state in {"42P01", "42703"}:  # a table, a column that is not there
        return IntegrityError(
            f"the database {location.shown} is damaged: {said}; rebuild it in an empty one: `art repair database`"
        )
    return None


def _from_psycopg(cause: BaseException | None) -> bool:
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(cause, psycopg.Error)


def _sqlite_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # absent on errors of the module itself
    return code & 0xFF


def _holder(path: Path) -> int | None:
    # The -shm file is only looked at, never opened: closing it would drop this process's own locks on it.
    try:
        there = Path(f"{path}-shm").stat()
        return lock_holder(Path("/proc/locks").read_text(encoding="ascii"), there.st_dev, there.st_ino, _WRITE_LOCK)
    except (OSError, ValueError):
        return None
