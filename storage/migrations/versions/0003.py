"""The places outside the store that versions refer to, so that lineage can go on to them. Stands alone.

No row follows from what was logged before: versions had no external entries then.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, PrimaryKeyConstraint, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table of references."""
    op.create_table(
        "reference",
        Column("version", BigInteger, nullable=False),
        Column("url", Text, nullable=False),
        Column("objects", BigInteger, nullable=False),
        Column("size", BigInteger, nullable=False),
        ForeignKeyConstraint(["version"], ["version.id"]),
        PrimaryKeyConstraint("version", "url"),
    )
    op.create_index("ix_reference_url", "reference", ["url"])
