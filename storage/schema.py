"""The schema of a store's database: whether it is there, how new it is, and how it is brought up to date.

Knows the revisions in migrations/ and the `store` row; knows no other rows. alembic costs a quarter of a second to
import, so only creating and migrating pay for it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from .errors import FormatTooNew, IntegrityError

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["HEAD", "REVISIONS", "Holding", "holding", "lock_schema", "tables", "upgrade"]

REVISIONS = ("0001", "0002", "0003")  # oldest first; a test compares them with migrations/versions
HEAD = REVISIONS[-1]

# Any number will do, as long as every Lineart takes the same: the advisory lock under which a schema changes.
_ADVISORY = 0x6C696E6561727401


# alembic keeps the migration that runs in module globals, which threads share.
_one_at_a_time = threading.Lock()


class Holding(NamedTuple):
    """What stands in a database that holds a store."""

    revision: str
    store_id: str
    seq: int  # of its last event; 0: none is in it yet


def tables(connection: Connection) -> set[str]:
    """Return the names of the tables in the database (on PostgreSQL, in the current schema)."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        )
    else:
        found = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"))
    return {str(name) for (name,) in found}


def holding(connection: Connection) -> Holding | None:
    """Return revision, store's id and last event, or None if there is no store; FormatTooNew for a newer schema.

    It costs one SELECT where there is a store. The transaction may be unusable afterwards where there is none.
    """
    try:
        rows = connection.execute(text("SELECT version_num, store_id, seq FROM alembic_version, store")).all()
    except DBAPIError as error:
        if _no_such_table(error):
            return None
        raise
    if not rows:
        return None
    if len(rows) > 1:
        raise IntegrityError(
            "the database says twice which store it is of; move it away and make a new one from the bucket:"
            " `art repair database`"
        )
    (row,) = rows
    if row[0] not in REVISIONS:
        raise FormatTooNew(
            f"store {row[1]}: its database has schema {row[0]}, and this Lineart knows up to {HEAD};"
            " upgrade: pip install -U lineart"
        )
    return Holding(row[0], row[1], row[2])


def lock_schema(connection: Connection) -> None:
    """Keep others from creating or migrating until the transaction ends (SQLite: BEGIN IMMEDIATE has done so)."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})


def upgrade(connection: Connection) -> None:
    """Bring the schema to HEAD inside the transaction that is open on the connection; from nothing, too."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, HEAD)


def _no_such_table(error: DBAPIError) -> bool:
    return "no such table" in str(error.orig) or getattr(error.orig, "sqlstate", None) == "42P01"
