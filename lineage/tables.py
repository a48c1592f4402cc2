"""Tables of runs and of the edges between runs and versions.

Knows columns only; rows with types are in `models.py`. All times are microseconds since the Unix epoch, UTC, by the
database's clock.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, SmallInteger, Table, Text, UniqueConstraint

from ..storage.tables import METADATA, BigId, required

__all__ = ["edge", "run", "run_tag"]

# One execution. JSON columns hold objects; digests inside them name chunks that the collector keeps.
run = Table(
    "run",
    METADATA,
    Column("id", Text, primary_key=True),
    required("project", BigInteger, ForeignKey("project.id")),
    required("name", Text),
    Column("job_type", Text),
    Column("group", Text),
    Column("notes", Text),
    required("state", Text),  # running, finished, failed, crashed
    required("created", BigInteger),
    required("heartbeat", BigInteger),
    Column("ended", BigInteger),
    Column("exit_code", SmallInteger),
    required("actor", Text),
    required("config", Text, default="{}"),
    required("summary", Text, default="{}"),
    required("code", Text, default="{}"),  # command line, directory, git commit, branch, remote, diff
    required("environment", Text, default="{}"),  # host, Python, platform, packages
    Index("run_created", "project", "created"),
)

# A label on a run.
run_tag = Table(
    "run_tag",
    METADATA,
    Column("run", Text, ForeignKey("run.id"), primary_key=True),
    Column("name", Text, primary_key=True, index=True),
)

# A run used a version, or produced it.
edge = Table(
    "edge",
    METADATA,
    Column("id", BigId, primary_key=True),
    required("run", Text, ForeignKey("run.id")),
    required("version", BigInteger, ForeignKey("version.id")),
    required("direction", Text),  # used, produced
    required("time", BigInteger),
    Column("data", Text),  # JSON: {"metadata": …} where the content existed with other metadata
    UniqueConstraint("run", "version", "direction"),
    Index("edge_version", "version", "direction"),
)
