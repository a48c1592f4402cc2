"""What drivers' errors are called here, and which of them are worth another try."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from lineart.storage.engines import locate
from lineart.storage.errors import IntegrityError, StoreBusy, StoreUnavailable
from lineart.storage.trouble import Trouble, diagnose, translate

SQLITE = locate("sqlite:////nowhere/store.db")
POSTGRESQL = locate("postgresql://ann:hunter2@host/store")


def server(state, said="the server's words hunter2"):
    return psycopg.errors.lookup(state)(said)


def sqlite(code):
    error = sqlite3.OperationalError("SQLite's words")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("state", "trouble", "kind", "transient"),
    [
        ("40001", Trouble.AGAIN, StoreBusy, True),
        ("40P01", Trouble.AGAIN, StoreBusy, True),
        ("55P03", Trouble.FINAL, StoreBusy, True),
        ("57P01", Trouble.LOST, StoreUnavailable, True),
        ("57P03", Trouble.LOST, StoreUnavailable, True),
        ("08006", Trouble.LOST, StoreUnavailable, True),
        ("25P03", Trouble.LOST, StoreUnavailable, True),
        ("53300", Trouble.LOST, StoreUnavailable, True),
        ("53100", Trouble.FINAL, StoreUnavailable, False),
        ("58030", Trouble.FINAL, StoreUnavailable, False),
        ("28P01", Trouble.FINAL, StoreUnavailable, False),
        ("3D000", Trouble.FINAL, StoreUnavailable, False),
        ("42501", Trouble.FINAL, StoreUnavailable, False),
        ("25006", Trouble.FINAL, StoreUnavailable, False),
        ("XX001", Trouble.FINAL, IntegrityError, None),
    ],
)
def test_states_of_postgresql(state, trouble, kind, transient):
    error = server(state)
    wrapped = OperationalError("SELECT 1", {}, error)
    assert diagnose(error) is diagnose(wrapped) is trouble
    for one in (error, wrapped):
        known = translate(one, POSTGRESQL, 60.0)
        assert type(known) is kind
        assert getattr(known, "transient", None) is transient
        assert "hunter2" not in str(known)
        assert "postgresql://ann@host/store" in str(known)


@pytest.mark.parametrize(
    ("said", "trouble", "advice"),
    [
        ("connection refused", Trouble.LOST, "no connection"),
        ('FATAL:  password authentication failed for user "ann"', Trouble.FINAL, "PGPASSWORD"),
        ('FATAL:  database "store" does not exist', Trouble.FINAL, "database's name"),
    ],
)
def test_connections_that_were_not_made(said, trouble, advice):
    error = psycopg.OperationalError(said)
    assert diagnose(error) is trouble
    assert advice in str(translate(error, POSTGRESQL, 60.0))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy),
        (sqlite3.SQLITE_CORRUPT, IntegrityError),
        (sqlite3.SQLITE_NOTADB, IntegrityError),
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable),
    ],
)
def test_codes_of_sqlite(code, kind):
    error = sqlite(code)
    assert diagnose(error) is Trouble.FINAL
    known = translate(OperationalError("SELECT 1", {}, error), SQLITE, 60.0)
    assert type(known) is kind
    assert "/nowhere/store.db" in str(known)


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), sqlite(sqlite3.SQLITE_ERROR), sqlite3.ProgrammingError("x"), server("42601"), server("23505")],
)
def test_mistakes_of_the_program_stay_what_they_are(error):
    assert translate(error, POSTGRESQL if isinstance(error, psycopg.Error) else SQLITE, 60.0) is error
    assert diagnose(error) is Trouble.FINAL


def test_threads_that_wait_for_a_connection_are_told():
    assert isinstance(translate(PoolTimeoutError(), POSTGRESQL, 1.0), StoreBusy)
