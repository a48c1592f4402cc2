"""Row ids of packs are never given twice, and objects that nobody knows are remembered.

A writer relies on packs by their row ids; SQLite would give the greatest one again once its row is removed. On
PostgreSQL a sequence gives them, which never goes back. Stands alone, as every revision does.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the packs' table anew where its ids could come back, and add that of unknown objects."""
    if op.get_context().dialect.name == "sqlite":
        with op.batch_alter_table("pack", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    op.create_table(
        "stray",
        Column("key", Text, nullable=False),
        Column("seen", BigInteger, nullable=False),
        PrimaryKeyConstraint("key"),
    )
