"""Rows of projects, collections, versions and their names as SQLModel classes; see `storage/models.py`.

Knows the tables' columns, and is imported by no other part of Lineart.

>>> from sqlmodel import Session, create_engine, select
>>> def names(url: str) -> list[str]:
...     with Session(create_engine(url)) as session:
...         return [one.name for one in session.exec(select(Collection).order_by(Collection.name))]
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlmodel import Field

from ..storage.models import RowModel
from . import tables

__all__ = ["Alias", "Collection", "Project", "Reference", "Tag", "Version"]


class Project(RowModel, table=True):
    """A namespace of collections and runs."""

    __table__: ClassVar[Any] = tables.project

    id: int | None = Field(sa_column=tables.project.c.id, default=None)
    name: str = Field(sa_column=tables.project.c.name)
    key: str = Field(sa_column=tables.project.c.key)
    created: int = Field(sa_column=tables.project.c.created)


class Collection(RowModel, table=True):
    """A named series of versions of one type."""

    __table__: ClassVar[Any] = tables.collection

    id: int | None = Field(sa_column=tables.collection.c.id, default=None)
    project: int = Field(sa_column=tables.collection.c.project)
    name: str = Field(sa_column=tables.collection.c.name)
    key: str = Field(sa_column=tables.collection.c.key)
    type: str = Field(sa_column=tables.collection.c.type)
    description: str | None = Field(sa_column=tables.collection.c.description, default=None)
    next_number: int = Field(sa_column=tables.collection.c.next_number, default=0)
    created: int = Field(sa_column=tables.collection.c.created)


class Version(RowModel, table=True):
    """One immutable member of a collection; its number is never used twice."""

    __table__: ClassVar[Any] = tables.version

    id: int | None = Field(sa_column=tables.version.c.id, default=None)
    collection: int = Field(sa_column=tables.version.c.collection)
    number: int = Field(sa_column=tables.version.c.number)
    digest: bytes = Field(sa_column=tables.version.c.digest)
    size: int = Field(sa_column=tables.version.c.size)
    file_count: int = Field(sa_column=tables.version.c.file_count)
    state: str = Field(sa_column=tables.version.c.state)
    created: int = Field(sa_column=tables.version.c.created)
    deleted: int | None = Field(sa_column=tables.version.c.deleted, default=None)
    actor: str = Field(sa_column=tables.version.c.actor)
    description: str | None = Field(sa_column=tables.version.c.description, default=None)
    data: str = Field(sa_column=tables.version.c.data)


class Alias(RowModel, table=True):
    """A movable name for one version of a collection."""

    __table__: ClassVar[Any] = tables.alias

    collection: int = Field(sa_column=tables.alias.c.collection)
    key: str = Field(sa_column=tables.alias.c.key)
    name: str = Field(sa_column=tables.alias.c.name)
    version: int = Field(sa_column=tables.alias.c.version)


class Tag(RowModel, table=True):
    """A label on a version; many versions may bear one."""

    __table__: ClassVar[Any] = tables.tag

    version: int = Field(sa_column=tables.tag.c.version)
    name: str = Field(sa_column=tables.tag.c.name)


class Reference(RowModel, table=True):
    """A place outside the store that a version has external entries of."""

    __table__: ClassVar[Any] = tables.reference

    version: int = Field(sa_column=tables.reference.c.version)
    url: str = Field(sa_column=tables.reference.c.url)
    objects: int = Field(sa_column=tables.reference.c.objects)
    size: int = Field(sa_column=tables.reference.c.size)
