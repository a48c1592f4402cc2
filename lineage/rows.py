"""What is compared of the rows of runs and edges, and how people call one.

Knows columns and words; how rows are compared is for storage. What is not compared is named here, with the reason.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_

from ..artifacts.rows import version_called
from ..storage import tables as storage_tables
from ..storage.rows import ROW_ID, Compared, Difference, Look, times
from . import tables
from .runs import PRODUCED, USED, subject_of

__all__ = ["COMPARED"]

_event = storage_tables.event
_KINDS = {USED: "version.used", PRODUCED: "version.produced"}


def _run_about(one: Difference, _: Look) -> ColumnElement[bool]:
    kinds = ("run.started", "run.updated", "run.finished", "run.crashed")
    return and_(_event.c.subject == subject_of(one.key[0]), _event.c.kind.in_(kinds))


def _edge_called(one: Difference, look: Look) -> str:
    run, *version, direction = one.key
    return f"edge: run {run} {direction} {version_called(look, tuple(version))}"


def _edge_about(one: Difference, look: Look) -> ColumnElement[bool]:
    run, _, _, number, direction = one.key
    name = version_called(look, one.key[1:4]).rpartition(":")[0].rpartition("/")[2]
    # Data are canonical JSON, sorted by name: `collection` stands before `number`.
    named = _event.c.data.contains(f'"collection":"{name}"', autoescape=True)
    numbered = _event.c.data.contains(f'"number":{number},')
    return and_(_event.c.subject == subject_of(run), _event.c.kind == _KINDS.get(direction, ""), named, numbered)


COMPARED = (
    Compared(
        tables.run,
        ("id",),
        passed={"heartbeat": "a sign of life of the moment, which is no event"},
        called=lambda one, _: f"run {one.key[0]}",
        about=_run_about,
        labels={"exit_code": "its exit code", "job_type": "its job type"},
        said=times("created", "ended"),
    ),
    Compared(
        tables.run_tag,
        ("run", "name"),
        called=lambda one, _: f"tag {one.key[1]} of run {one.key[0]}",
        about=_run_about,
    ),
    Compared(
        tables.edge,
        ("run", "version", "direction"),
        passed={"id": f"{ROW_ID}; which of two edges of one time was first is kept there alone"},
        called=_edge_called,
        about=_edge_about,
        labels={"data": "what is noted on it"},
        said=times("time"),
    ),
)
