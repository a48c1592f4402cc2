"""Rows of runs and of the edges between runs and versions as SQLModel classes; see `storage/models.py`.

Knows the tables' columns, and is imported by no other part of Lineart.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlmodel import Field

from ..storage.models import RowModel
from . import tables

__all__ = ["Edge", "Run", "RunTag"]


class Run(RowModel, table=True):
    """One execution. JSON columns hold objects; digests inside them name chunks that the collector keeps."""

    __table__: ClassVar[Any] = tables.run

    id: str = Field(sa_column=tables.run.c.id)
    project: int = Field(sa_column=tables.run.c.project)
    name: str = Field(sa_column=tables.run.c.name)
    job_type: str | None = Field(sa_column=tables.run.c.job_type, default=None)
    group: str | None = Field(sa_column=tables.run.c.group, default=None)
    notes: str | None = Field(sa_column=tables.run.c.notes, default=None)
    state: str = Field(sa_column=tables.run.c.state)
    created: int = Field(sa_column=tables.run.c.created)
    heartbeat: int = Field(sa_column=tables.run.c.heartbeat)
    ended: int | None = Field(sa_column=tables.run.c.ended, default=None)
    exit_code: int | None = Field(sa_column=tables.run.c.exit_code, default=None)
    actor: str = Field(sa_column=tables.run.c.actor)
    config: str = Field(sa_column=tables.run.c.config, default="{}")
    summary: str = Field(sa_column=tables.run.c.summary, default="{}")
    code: str = Field(sa_column=tables.run.c.code, default="{}")
    environment: str = Field(sa_column=tables.run.c.environment, default="{}")


class RunTag(RowModel, table=True):
    """A label on a run."""

    __table__: ClassVar[Any] = tables.run_tag

    run: str = Field(sa_column=tables.run_tag.c.run)
    name: str = Field(sa_column=tables.run_tag.c.name)


class Edge(RowModel, table=True):
    """A run used a version, or produced it."""

    __table__: ClassVar[Any] = tables.edge

    id: int | None = Field(sa_column=tables.edge.c.id, default=None)
    run: str = Field(sa_column=tables.edge.c.run)
    version: int = Field(sa_column=tables.edge.c.version)
    direction: str = Field(sa_column=tables.edge.c.direction)
    time: int = Field(sa_column=tables.edge.c.time)
    data: str | None = Field(sa_column=tables.edge.c.data, default=None)
