"""Tables of the storage layer: what the coordinator must know about packs, chunks, writers and events.

Knows columns only; the transactions over them stand with the parts that own them, and rows with types are in
`models.py`. All times are microseconds since the Unix epoch, UTC, by the database's clock.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

__all__ = [
    "METADATA",
    "BigId",
    "PackState",
    "chunk",
    "commit_mark",
    "event",
    "pack",
    "pin",
    "required",
    "session",
    "store",
    "stray",
]

METADATA = MetaData()  # every table of a store, those of the layers above as well

# SQLite gives row ids to a column declared INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def required(name: str, kind: Any, *more: Any, **options: Any) -> Column[Any]:
    """Return a column that is never NULL."""
    return Column(name, kind, *more, nullable=False, **options)


class PackState(IntEnum):
    """Where a pack stands between its registration and its removal (docs/format.md, "Collecting garbage")."""

    UPLOADING = 0
    UPLOADED = 1
    LIVE = 2
    CONDEMNED = 3
    DELETING = 4
    DEAD = 5
    MISSING = 6  # a reader did not find it; taken up again when it is there again
    QUARANTINED = 7  # a repair found that it is no sound pack; a later one takes it up again if it reads well then


# The single row that names the store and holds the event counter.
store = Table(
    "store",
    METADATA,
    Column("id", Integer, primary_key=True, default=1),
    required("store_id", Text),
    required("created", BigInteger),
    required("seq", BigInteger, default=0),  # of the last event; locked last in every transaction that has events
    required("journalled", BigInteger, default=0),  # every event up to this one is in the bucket
)

# One pack object in the bucket. Writers rely on packs by row id, so no id is ever given twice.
pack = Table(
    "pack",
    METADATA,
    Column("id", BigId, primary_key=True),
    required("key", LargeBinary, unique=True),  # the pack id, 16 bytes
    required("kind", SmallInteger),  # a PackKind
    required("state", SmallInteger, index=True),  # a PackState
    Column("stamp", Text),  # the collector that condemned it
    Column("session", Text),  # the writer that made it, until it is live
    required("size", BigInteger),  # bytes of the object
    sqlite_autoincrement=True,
)

# Where a chunk lies; one row for each pack that holds a copy. There is no index on pack and no foreign key: both would
# cost more than the rest of the row, and removal of a pack reads its footer.
chunk = Table(
    "chunk",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("pack", BigInteger, primary_key=True),
    required("offset", BigInteger),  # from the start of the object, bytes
    required("stored", Integer),  # bytes in the pack
    required("size", Integer),  # bytes once decoded
    required("codec", SmallInteger),  # a Codec
    sqlite_with_rowid=False,
)

# A writer's registration; gone once the writer has ended.
session = Table(
    "session",
    METADATA,
    Column("id", Text, primary_key=True),
    required("actor", Text),
    required("opened", BigInteger),
    required("expires", BigInteger),
)

# A manifest root that a living session builds on.
pin = Table(
    "pin",
    METADATA,
    Column("session", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
)

# One change of the store's state: the audit log, and the outbox of the journal.
event = Table(
    "event",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    required("time", BigInteger),
    required("actor", Text),
    required("kind", Text),  # "alias.set"
    required("subject", Text),  # "project/collection", "run:ID", …: what a history is asked for
    Column("reason", Text),
    required("data", Text),  # JSON
    Index("event_subject", "subject", "seq"),
)

# An object of the bucket that no row accounts for, and when a collector first saw it.
stray = Table(
    "stray",
    METADATA,
    Column("key", Text, primary_key=True),
    required("seen", BigInteger),
)

# A transaction that committed: looked up when the connection was lost while COMMIT was under way.
commit_mark = Table(
    "commit_mark",
    METADATA,
    Column("id", Text, primary_key=True),
    required("time", BigInteger, index=True),
)
