"""Rows of projects, collections, versions and their names.

Knows columns only. Names that may not differ by case alone carry a folded twin (`key`) under the unique constraint.
All times are microseconds since the Unix epoch, UTC, by the database's clock; sizes are bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from ..storage.tables import BigId

__all__ = ["Alias", "Collection", "Project", "Tag", "Version"]


class Project(SQLModel, table=True):
    """A namespace of collections and runs."""

    __tablename__: ClassVar[Any] = "project"

    id: int | None = Field(primary_key=True, sa_type=BigId, default=None)
    name: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text, unique=True)
    created: int = Field(sa_type=BigInteger)


class Collection(SQLModel, table=True):
    """A named series of versions of one type; its row is the lock under which numbers are given."""

    __tablename__: ClassVar[Any] = "collection"
    __table_args__: ClassVar[Any] = (UniqueConstraint("project", "key"), Index("collection_key", "key"))

    id: int | None = Field(primary_key=True, sa_type=BigId, default=None)
    project: int = Field(foreign_key="project.id", sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text, default=None)
    next_number: int = Field(sa_type=BigInteger, default=0)
    created: int = Field(sa_type=BigInteger)


class Version(SQLModel, table=True):
    """One immutable member of a collection; its number is never used twice."""

    __tablename__: ClassVar[Any] = "version"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("collection", "number"),
        Index("version_content", "collection", "digest"),
        Index("version_digest", "digest"),
    )

    id: int | None = Field(primary_key=True, sa_type=BigId, default=None)
    collection: int = Field(foreign_key="collection.id", sa_type=BigInteger)
    number: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)  # of the root page
    size: int = Field(sa_type=BigInteger)  # bytes of all its entries
    file_count: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)  # live, deleted, purged
    created: int = Field(sa_type=BigInteger)
    deleted: int | None = Field(sa_type=BigInteger, default=None)
    actor: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text, default=None)
    data: str = Field(sa_type=Text)  # its metadata, JSON


class Alias(SQLModel, table=True):
    """A movable name for one version of a collection."""

    __tablename__: ClassVar[Any] = "alias"

    collection: int = Field(primary_key=True, foreign_key="collection.id", sa_type=BigInteger)
    key: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    version: int = Field(foreign_key="version.id", sa_type=BigInteger, index=True)


class Tag(SQLModel, table=True):
    """A label on a version; many versions may bear one."""

    __tablename__: ClassVar[Any] = "tag"

    version: int = Field(primary_key=True, foreign_key="version.id", sa_type=BigInteger)
    name: str = Field(primary_key=True, sa_type=Text, index=True)
