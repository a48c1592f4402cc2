"""The first schema: packs, chunks, writers, events; projects, collections, versions, names; runs and edges.

Stands alone: later changes of the tables are later revisions, and this one stays as it was released.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None

_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")


def _column(name: str, kind: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, nullable=False, **options)


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "chunk",
        _column("digest", LargeBinary),
        _column("pack", BigInteger),
        _column("offset", BigInteger),
        _column("stored", Integer),
        _column("size", Integer),
        _column("codec", SmallInteger),
        PrimaryKeyConstraint("digest", "pack"),
        sqlite_with_rowid=False,
    )
    op.create_table("commit_mark", _column("id", Text), _column("time", BigInteger), PrimaryKeyConstraint("id"))
    op.create_index("ix_commit_mark_time", "commit_mark", ["time"])
    op.create_table(
        "event",
        _column("seq", BigInteger, autoincrement=False),
        _column("time", BigInteger),
        _column("actor", Text),
        _column("kind", Text),
        _column("subject", Text),
        Column("reason", Text),
        _column("data", Text),
        PrimaryKeyConstraint("seq"),
    )
    op.create_index("event_subject", "event", ["subject", "seq"])
    op.create_table(
        "pack",
        _column("id", _ROW_ID),
        _column("key", LargeBinary),
        _column("kind", SmallInteger),
        _column("state", SmallInteger),
        Column("stamp", Text),
        Column("session", Text),
        _column("size", BigInteger),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("key"),
    )
    op.create_index("ix_pack_state", "pack", ["state"])
    op.create_table(
        "pin", _column("session", Text), _column("digest", LargeBinary), PrimaryKeyConstraint("session", "digest")
    )
    op.create_table(
        "project",
        _column("id", _ROW_ID),
        _column("name", Text),
        _column("key", Text),
        _column("created", BigInteger),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("key"),
    )
    op.create_table(
        "session",
        _column("id", Text),
        _column("actor", Text),
        _column("opened", BigInteger),
        _column("expires", BigInteger),
        PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "store",
        _column("id", Integer),
        _column("store_id", Text),
        _column("created", BigInteger),
        _column("seq", BigInteger),
        _column("journalled", BigInteger),
        PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "collection",
        _column("id", _ROW_ID),
        _column("project", BigInteger),
        _column("name", Text),
        _column("key", Text),
        _column("type", Text),
        Column("description", Text),
        _column("next_number", BigInteger),
        _column("created", BigInteger),
        ForeignKeyConstraint(["project"], ["project.id"]),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("project", "key"),
    )
    op.create_index("collection_key", "collection", ["key"])
    op.create_table(
        "run",
        _column("id", Text),
        _column("project", BigInteger),
        _column("name", Text),
        Column("job_type", Text),
        Column("group", Text),
        Column("notes", Text),
        _column("state", Text),
        _column("created", BigInteger),
        _column("heartbeat", BigInteger),
        Column("ended", BigInteger),
        Column("exit_code", SmallInteger),
        _column("actor", Text),
        _column("config", Text),
        _column("summary", Text),
        _column("code", Text),
        _column("environment", Text),
        ForeignKeyConstraint(["project"], ["project.id"]),
        PrimaryKeyConstraint("id"),
    )
    op.create_index("run_created", "run", ["project", "created"])
    op.create_table(
        "run_tag",
        _column("run", Text),
        _column("name", Text),
        ForeignKeyConstraint(["run"], ["run.id"]),
        PrimaryKeyConstraint("run", "name"),
    )
    op.create_index("ix_run_tag_name", "run_tag", ["name"])
    op.create_table(
        "version",
        _column("id", _ROW_ID),
        _column("collection", BigInteger),
        _column("number", BigInteger),
        _column("digest", LargeBinary),
        _column("size", BigInteger),
        _column("file_count", BigInteger),
        _column("state", Text),
        _column("created", BigInteger),
        Column("deleted", BigInteger),
        _column("actor", Text),
        Column("description", Text),
        _column("data", Text),
        ForeignKeyConstraint(["collection"], ["collection.id"]),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("collection", "number"),
    )
    op.create_index("version_content", "version", ["collection", "digest"])
    op.create_index("version_digest", "version", ["digest"])
    op.create_table(
        "alias",
        _column("collection", BigInteger),
        _column("key", Text),
        _column("name", Text),
        _column("version", BigInteger),
        ForeignKeyConstraint(["collection"], ["collection.id"]),
        ForeignKeyConstraint(["version"], ["version.id"]),
        PrimaryKeyConstraint("collection", "key"),
    )
    op.create_index("ix_alias_version", "alias", ["version"])
    op.create_table(
        "edge",
        _column("id", _ROW_ID),
        _column("run", Text),
        _column("version", BigInteger),
        _column("direction", Text),
        _column("time", BigInteger),
        Column("data", Text),
        ForeignKeyConstraint(["run"], ["run.id"]),
        ForeignKeyConstraint(["version"], ["version.id"]),
        PrimaryKeyConstraint("id"),
        UniqueConstraint("run", "version", "direction"),
    )
    op.create_index("edge_version", "edge", ["version", "direction"])
    op.create_table(
        "tag",
        _column("version", BigInteger),
        _column("name", Text),
        ForeignKeyConstraint(["version"], ["version.id"]),
        PrimaryKeyConstraint("version", "name"),
    )
    op.create_index("ix_tag_name", "tag", ["name"])
