"""Tables of projects, collections, versions and their names.

Knows columns only; rows with types are in `models.py`. Names that may not differ by case alone carry a folded twin
(`key`) under the unique constraint. All times are microseconds since the Unix epoch, UTC, by the database's clock;
sizes are bytes.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, Table, Text, UniqueConstraint

from ..storage.tables import METADATA, BigId, required

__all__ = ["alias", "collection", "project", "reference", "tag", "version"]

# A namespace of collections and runs.
project = Table(
    "project",
    METADATA,
    Column("id", BigId, primary_key=True),
    required("name", Text),
    required("key", Text, unique=True),
    required("created", BigInteger),
)

# A named series of versions of one type; its row is the lock under which numbers are given.
collection = Table(
    "collection",
    METADATA,
    Column("id", BigId, primary_key=True),
    required("project", BigInteger, ForeignKey("project.id")),
    required("name", Text),
    required("key", Text),
    required("type", Text),
    Column("description", Text),
    required("next_number", BigInteger, default=0),
    required("created", BigInteger),
    UniqueConstraint("project", "key"),
    Index("collection_key", "key"),
)

# One immutable member of a collection; its number is never used twice.
version = Table(
    "version",
    METADATA,
    Column("id", BigId, primary_key=True),
    required("collection", BigInteger, ForeignKey("collection.id")),
    required("number", BigInteger),
    required("digest", LargeBinary),  # of the root page
    required("size", BigInteger),  # bytes of all its entries
    required("file_count", BigInteger),
    required("state", Text),  # live, deleted, purged
    required("created", BigInteger),
    Column("deleted", BigInteger),
    required("actor", Text),
    Column("description", Text),
    required("data", Text),  # its metadata, JSON
    UniqueConstraint("collection", "number"),
    Index("version_content", "collection", "digest"),
    Index("version_digest", "digest"),
)

# A movable name for one version of a collection.
alias = Table(
    "alias",
    METADATA,
    Column("collection", BigInteger, ForeignKey("collection.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    required("name", Text),
    required("version", BigInteger, ForeignKey("version.id"), index=True),
)

# A label on a version; many versions may bear one.
tag = Table(
    "tag",
    METADATA,
    Column("version", BigInteger, ForeignKey("version.id"), primary_key=True),
    Column("name", Text, primary_key=True, index=True),
)

# A place outside the store that a version has external entries of: an object, or a folder of them.
reference = Table(
    "reference",
    METADATA,
    Column("version", BigInteger, ForeignKey("version.id"), primary_key=True),
    Column("url", Text, primary_key=True, index=True),
    required("objects", BigInteger),
    required("size", BigInteger),  # bytes of the objects, as far as it is known
)
