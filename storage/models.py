"""Rows of the storage layer as SQLModel classes: for whoever reads a store's database with types.

Knows the tables' columns, and is imported by no other part of Lineart: statements are made on the tables, since
SQLModel and the ORM below it cost a third of a short command. Each class lies over its table, which alone says what the
database holds. Rows are written by the transactions of this package only, which record an event for each change.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from . import tables

__all__ = ["Chunk", "CommitMark", "Event", "Pack", "Pin", "RowModel", "Session", "Store", "Stray"]


class RowModel(SQLModel, registry=registry(metadata=tables.METADATA)):
    """A row of a store: apart from the tables and class names of a program that has SQLModel classes of its own."""


class Store(RowModel, table=True):
    """The single row that names the store and holds the event counter."""

    __table__: ClassVar[Any] = tables.store

    id: int = Field(sa_column=tables.store.c.id, default=1)
    store_id: str = Field(sa_column=tables.store.c.store_id)
    created: int = Field(sa_column=tables.store.c.created)
    seq: int = Field(sa_column=tables.store.c.seq, default=0)
    journalled: int = Field(sa_column=tables.store.c.journalled, default=0)


class Pack(RowModel, table=True):
    """One pack object in the bucket."""

    __table__: ClassVar[Any] = tables.pack

    id: int | None = Field(sa_column=tables.pack.c.id, default=None)
    key: bytes = Field(sa_column=tables.pack.c.key)
    kind: int = Field(sa_column=tables.pack.c.kind)
    state: int = Field(sa_column=tables.pack.c.state)
    stamp: str | None = Field(sa_column=tables.pack.c.stamp, default=None)
    session: str | None = Field(sa_column=tables.pack.c.session, default=None)
    size: int = Field(sa_column=tables.pack.c.size)


class Chunk(RowModel, table=True):
    """Where a chunk lies; one row for each pack that holds a copy."""

    __table__: ClassVar[Any] = tables.chunk

    digest: bytes = Field(sa_column=tables.chunk.c.digest)
    pack: int = Field(sa_column=tables.chunk.c.pack)
    offset: int = Field(sa_column=tables.chunk.c.offset)
    stored: int = Field(sa_column=tables.chunk.c.stored)
    size: int = Field(sa_column=tables.chunk.c.size)
    codec: int = Field(sa_column=tables.chunk.c.codec)


class Session(RowModel, table=True):
    """A writer's registration; gone once the writer has ended."""

    __table__: ClassVar[Any] = tables.session

    id: str = Field(sa_column=tables.session.c.id)
    actor: str = Field(sa_column=tables.session.c.actor)
    opened: int = Field(sa_column=tables.session.c.opened)
    expires: int = Field(sa_column=tables.session.c.expires)


class Pin(RowModel, table=True):
    """A manifest root that a living session builds on."""

    __table__: ClassVar[Any] = tables.pin

    session: str = Field(sa_column=tables.pin.c.session)
    digest: bytes = Field(sa_column=tables.pin.c.digest)


class Event(RowModel, table=True):
    """One change of the store's state: the audit log, and the outbox of the journal."""

    __table__: ClassVar[Any] = tables.event

    seq: int = Field(sa_column=tables.event.c.seq)
    time: int = Field(sa_column=tables.event.c.time)
    actor: str = Field(sa_column=tables.event.c.actor)
    kind: str = Field(sa_column=tables.event.c.kind)
    subject: str = Field(sa_column=tables.event.c.subject)
    reason: str | None = Field(sa_column=tables.event.c.reason, default=None)
    data: str = Field(sa_column=tables.event.c.data)


class Stray(RowModel, table=True):
    """An object of the bucket that no row accounts for."""

    __table__: ClassVar[Any] = tables.stray

    key: str = Field(sa_column=tables.stray.c.key)
    seen: int = Field(sa_column=tables.stray.c.seen)


class CommitMark(RowModel, table=True):
    """A transaction that committed: looked up when the connection was lost while COMMIT was under way."""

    __table__: ClassVar[Any] = tables.commit_mark

    id: str = Field(sa_column=tables.commit_mark.c.id)
    time: int = Field(sa_column=tables.commit_mark.c.time)
