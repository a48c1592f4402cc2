"""Rows of runs and of the edges between runs and versions.

Knows columns only. All times are microseconds since the Unix epoch, UTC, by the database's clock.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, SmallInteger, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from ..storage.tables import BigId

__all__ = ["Edge", "Run", "RunTag"]


class Run(SQLModel, table=True):
    """One execution. JSON columns hold objects; digests inside them name chunks that the collector keeps."""

    __tablename__: ClassVar[Any] = "run"
    __table_args__: ClassVar[Any] = (Index("run_created", "project", "created"),)

    id: str = Field(primary_key=True, sa_type=Text)
    project: int = Field(foreign_key="project.id", sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    job_type: str | None = Field(sa_type=Text, default=None)
    group: str | None = Field(sa_type=Text, default=None)
    notes: str | None = Field(sa_type=Text, default=None)
    state: str = Field(sa_type=Text)  # running, finished, failed, crashed
    created: int = Field(sa_type=BigInteger)
    heartbeat: int = Field(sa_type=BigInteger)
    ended: int | None = Field(sa_type=BigInteger, default=None)
    exit_code: int | None = Field(sa_type=SmallInteger, default=None)
    actor: str = Field(sa_type=Text)
    config: str = Field(sa_type=Text, default="{}")
    summary: str = Field(sa_type=Text, default="{}")
    code: str = Field(sa_type=Text, default="{}")  # command line, directory, git commit, branch, remote, diff
    environment: str = Field(sa_type=Text, default="{}")  # host, Python, platform, packages


class RunTag(SQLModel, table=True):
    """A label on a run."""

    __tablename__: ClassVar[Any] = "run_tag"

    run: str = Field(primary_key=True, foreign_key="run.id", sa_type=Text)
    name: str = Field(primary_key=True, sa_type=Text, index=True)


class Edge(SQLModel, table=True):
    """A run used a version, or produced it."""

    __tablename__: ClassVar[Any] = "edge"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("run", "version", "direction"),
        Index("edge_version", "version", "direction"),
    )

    id: int | None = Field(primary_key=True, sa_type=BigId, default=None)
    run: str = Field(foreign_key="run.id", sa_type=Text)
    version: int = Field(foreign_key="version.id", sa_type=BigInteger)
    direction: str = Field(sa_type=Text)  # used, produced
    time: int = Field(sa_type=BigInteger)
    data: str | None = Field(
        sa_type=Text, default=None
    )  # JSON: {"metadata": …} where the content existed with other metadata
