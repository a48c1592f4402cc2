"""Rows of the storage layer: what the coordinator must know about packs, chunks, writers and events.

Knows columns only; the transactions over them stand with the parts that own them. All times are microseconds since
the Unix epoch, UTC, by the database's clock.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, Table, Text
from sqlmodel import Field, SQLModel

__all__ = ["BigId", "Chunk", "CommitMark", "Event", "Pack", "PackState", "Pin", "Session", "Store", "rows"]

# SQLite gives row ids to a column declared INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def rows(model: type[SQLModel]) -> Table:
    """Return the table behind a row class: statements are made on tables, and results are plain rows."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


class PackState(IntEnum):
    """Where a pack stands between its registration and its removal (docs/format.md, "Collecting garbage")."""

    UPLOADING = 0
    UPLOADED = 1
    LIVE = 2
    CONDEMNED = 3
    DELETING = 4
    DEAD = 5
    MISSING = 6  # a reader did not find it; taken up again when it is there again


class Store(SQLModel, table=True):
    """The single row that names the store and holds the event counter."""

    __tablename__: ClassVar[Any] = "store"

    id: int = Field(primary_key=True, sa_type=Integer, default=1)
    store_id: str = Field(sa_type=Text)
    created: int = Field(sa_type=BigInteger)
    seq: int = Field(
        sa_type=BigInteger, default=0
    )  # of the last event; locked last in every transaction that has events
    journalled: int = Field(sa_type=BigInteger, default=0)  # every event up to this one is in the bucket


class Pack(SQLModel, table=True):
    """One pack object in the bucket."""

    __tablename__: ClassVar[Any] = "pack"

    id: int | None = Field(primary_key=True, sa_type=BigId, default=None)
    key: bytes = Field(sa_type=LargeBinary, unique=True)  # the pack id, 16 bytes
    kind: int = Field(sa_type=SmallInteger)  # a PackKind
    state: int = Field(sa_type=SmallInteger, index=True)  # a PackState
    stamp: str | None = Field(sa_type=Text, default=None)  # the collector that condemned it
    session: str | None = Field(sa_type=Text, default=None)  # the writer that made it, until it is live
    size: int = Field(sa_type=BigInteger)  # bytes of the object


class Chunk(SQLModel, table=True):
    """Where a chunk lies; one row for each pack that holds a copy.

    There is no index on pack and no foreign key: both would cost more than the rest of the row, and removal of a pack
    reads its footer.
    """

    __tablename__: ClassVar[Any] = "chunk"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}

    digest: bytes = Field(primary_key=True, sa_type=LargeBinary)
    pack: int = Field(primary_key=True, sa_type=BigInteger)
    offset: int = Field(sa_type=BigInteger)  # from the start of the object, bytes
    stored: int = Field(sa_type=Integer)  # bytes in the pack
    size: int = Field(sa_type=Integer)  # bytes once decoded
    codec: int = Field(sa_type=SmallInteger)  # a Codec


class Session(SQLModel, table=True):
    """A writer's registration; gone once the writer has ended."""

    __tablename__: ClassVar[Any] = "session"

    id: str = Field(primary_key=True, sa_type=Text)
    actor: str = Field(sa_type=Text)
    opened: int = Field(sa_type=BigInteger)
    expires: int = Field(sa_type=BigInteger)


class Pin(SQLModel, table=True):
    """A manifest root that a living session builds on."""

    __tablename__: ClassVar[Any] = "pin"

    session: str = Field(primary_key=True, sa_type=Text)
    digest: bytes = Field(primary_key=True, sa_type=LargeBinary)


class Event(SQLModel, table=True):
    """One change of the store's state: the audit log, and the outbox of the journal."""

    __tablename__: ClassVar[Any] = "event"
    __table_args__: ClassVar[Any] = (Index("event_subject", "subject", "seq"),)

    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    time: int = Field(sa_type=BigInteger)
    actor: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)  # "alias.set"
    subject: str = Field(sa_type=Text)  # "project/collection", "run:ID", …: what a history is asked for
    reason: str | None = Field(sa_type=Text, default=None)
    data: str = Field(sa_type=Text)  # JSON


class CommitMark(SQLModel, table=True):
    """A transaction that committed: looked up when the connection was lost while COMMIT was under way."""

    __tablename__: ClassVar[Any] = "commit_mark"

    id: str = Field(primary_key=True, sa_type=Text)
    time: int = Field(sa_type=BigInteger, index=True)
