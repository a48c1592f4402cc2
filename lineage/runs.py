"""Runs and edges as rows: what they look like to everybody else, and the folds that write them.

Knows the rows of runs, tags and edges and the events that change them; must not know who starts a run or why. A fold
is the only code that writes these rows (but for the heartbeat), and it uses natural keys only, so that a database
rebuilt from the journal is equal to the one that was lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from ..artifacts import tables as artifact_tables
from ..artifacts.folds import project_row, version_row
from ..artifacts.ref import fold_name
from ..storage import tables as storage_tables
from ..storage.errors import IntegrityError
from ..storage.events import Event, Fold
from . import tables
from .capture import chunks_named

__all__ = [
    "COLUMNS",
    "CRASHED",
    "FAILED",
    "FINISHED",
    "FOLDS",
    "PRODUCED",
    "RUNNING",
    "USED",
    "RunRecord",
    "chunks_of_runs",
    "iso_time",
    "read_runs",
    "run_of",
    "subject_of",
]

RUNNING, FINISHED, FAILED, CRASHED = "running", "finished", "failed", "crashed"
USED, PRODUCED = "used", "produced"
BATCH = 500
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999  # µs: from the year 1 to 9999
_run, _tag, _edge = tables.run, tables.run_tag, tables.edge
_project, _event = artifact_tables.project, storage_tables.event


def subject_of(run: str) -> str:
    """Return what a run's events are filed under."""
    return f"run:{run}"


def iso_time(at: int | None) -> str | None:
    """Print microseconds since the epoch as RFC 3339, UTC."""
    if at is None:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as the database knew it at one moment. Times are microseconds since the Unix epoch, UTC."""

    id: str
    project: str
    name: str
    job_type: str | None
    group: str | None
    notes: str | None
    tags: tuple[str, ...]
    state: str  # running, finished, failed, crashed
    created: int
    heartbeat: int
    ended: int | None
    exit_code: int | None
    actor: str
    config: dict[str, Any]
    summary: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]

    def __repr__(self) -> str:
        from ..storage.brief import brief, utc
        from .printing import print_duration

        name = repr(self.name) if self.name != self.id else None
        took = None if self.duration is None else f"took {print_duration(self.duration)}"
        commit = None if self.commit is None else f"commit {self.commit[:12]}{'+' * self.dirty}"
        known = self.project, self.job_type, self.state, utc(self.created), took, commit
        return brief(f"RunRecord {self.id}", name, *known)

    @property
    def commit(self) -> str | None:
        """The git commit, in full, where there was one."""
        git = self.code.get("git")
        commit = git.get("commit") if isinstance(git, dict) else None
        return commit if isinstance(commit, str) else None

    @property
    def dirty(self) -> bool:
        """Whether something tracked was not committed."""
        git = self.code.get("git")
        return isinstance(git, dict) and bool(git.get("dirty"))

    @property
    def repeats(self) -> tuple[str, ...]:
        """The ids of the runs that it repeats, where it is a repetition (`art repro`)."""
        again = self.code.get("again")
        return tuple(one for one in again if isinstance(one, str)) if isinstance(again, list) else ()

    @property
    def is_over(self) -> bool:
        """Whether its end was told; one that was only taken for crashed may come back."""
        return self.ended is not None and not (self.state == CRASHED and self.exit_code is None)

    @property
    def duration(self) -> int | None:
        """Microseconds from start to end; None while it runs."""
        return None if self.ended is None else self.ended - self.created

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of a run."""
        return {
            "id": self.id,
            "project": self.project,
            "name": self.name,
            "job_type": self.job_type,
            "group": self.group,
            "notes": self.notes,
            "tags": list(self.tags),
            "state": self.state,
            "created": iso_time(self.created),
            "heartbeat": iso_time(self.heartbeat),
            "ended": iso_time(self.ended),
            "exit_code": self.exit_code,
            "actor": self.actor,
            "config": self.config,
            "summary": self.summary,
            "code": self.code,
            "environment": self.environment,
        }


COLUMNS = tuple(one.name for one in fields(RunRecord) if one.name != "tags")  # of a row that `run_of` takes
_TEXTS = ("config", "summary", "code", "environment")  # columns that hold JSON
_RUNS = select(*(_project.c.name if one == "project" else _run.c[one] for one in COLUMNS)).select_from(
    _run.join(_project, _project.c.id == _run.c.project)
)


def run_of(row: Sequence[Any], tags: Iterable[str]) -> RunRecord:
    """Return a row, of COLUMNS, as a record; IntegrityError for one that Lineart does not write."""
    # By position, which takes half as long as by name: graphs have many.
    id_, project, name, job_type, group, notes, state, created, heartbeat, ended, exit_code, actor, *texts = row
    _require_times(id_, created, heartbeat, ended)
    words = (id_, project, name, job_type, group, notes, tuple(tags), state)
    return RunRecord(*words, created, heartbeat, ended, exit_code, actor, *[_object(id_, one) for one in texts])


def read_runs(connection: Connection, ids: Iterable[str]) -> dict[str, RunRecord]:
    """Return runs by id, in the order asked for; ids that mean nothing are left out."""
    wanted = list(ids)
    found: dict[str, RunRecord] = {}
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        tags: dict[str, list[str]] = {}
        for row in connection.execute(select(_tag).where(_tag.c.run.in_(part)).order_by(_tag.c.name)):
            tags.setdefault(row.run, []).append(row.name)
        rows = connection.execute(_RUNS.where(_run.c.id.in_(part)))
        found.update((row[0], run_of(row, tags.get(row[0], ()))) for row in rows)
    return {one: found[one] for one in wanted if one in found}


def _object(run: str, text: str) -> dict[str, Any]:
    """Return a JSON object; graphs hold many runs of which little is known."""
    if text == "{}":
        return {}
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise _not_ours(run)
    return found


def _require_times(run: str, created: Any, heartbeat: Any, ended: Any) -> None:
    """Raise IntegrityError for a time that no clock has shown."""
    for one in (created, heartbeat, created if ended is None else ended):
        if not isinstance(one, int) or not _EARLIEST <= one <= _LATEST:
            raise _not_ours(run)


def _not_ours(run: str) -> IntegrityError:
    return IntegrityError(
        f"run {run}: its row in the database is none that Lineart writes; `art check --journal` says what differs, and"
        " `art repair database` mends it"
    )


def chunks_of_runs(connection: Connection) -> Iterator[bytes]:
    """Yield the digests of the chunks that the events of runs name (diffs, lists of packages): they must be kept."""
    text = _event.c.data
    named = or_(text.contains('"diff":['), text.contains('"packages":['))
    wanted = select(text).where(_event.c.kind.in_(("run.started", "run.updated")), named)
    for data in map(json.loads, connection.execute(wanted).scalars()):
        yield from chunks_named(data.get("code", {}), data.get("environment", {}))


# Folds. A rebuild runs them by the hundred thousand, so each statement is made once, and holds places for its values.

_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode
_NEW_RUN, _NEW_TAG, _NEW_EDGE = insert(_run), insert(_tag), insert(_edge)
# What is set are the columns that a fold gives values for.
_CHANGE_RUN = update(_run).where(_run.c.id == bindparam("at"))
_CHANGE_EDGE = update(_edge).where(_edge.c.id == bindparam("at"))
_DROP_TAGS = delete(_tag).where(_tag.c.run == bindparam("at"))
_EDGE = select(_edge.c.id, _edge.c.time, _edge.c.data).where(
    *(_edge.c[name] == bindparam(name) for name in ("run", "version", "direction"))
)


def _fold_started(connection: Connection, event: Event) -> None:
    data = event.data
    row = {name: data[name] for name in ("id", "name", "job_type", "group", "notes")}
    row |= {name: _json(data[name]) for name in _TEXTS}
    row |= {
        "project": project_row(connection, data["project"]),
        "state": RUNNING,
        "created": data.get("created", event.time),
        "heartbeat": data.get("heartbeat", event.time),
        "actor": event.actor,
    }
    connection.execute(_NEW_RUN, row)
    _add_tags(connection, data["id"], data["tags"])


def _fold_updated(connection: Connection, event: Event) -> None:
    data = event.data
    kept = ("name", "job_type", "group", "notes", "created")
    changed: dict[str, Any] = {name: data[name] for name in kept if name in data}
    changed |= {name: _json(data[name]) for name in _TEXTS if name in data}
    if data.get("state") == RUNNING:  # one that was taken for crashed has come back
        changed |= {"state": RUNNING, "ended": None, "exit_code": None}
    changed["heartbeat"] = data.get("heartbeat", event.time)
    connection.execute(_CHANGE_RUN, {"at": data["id"], **changed})
    if "tags" in data:
        connection.execute(_DROP_TAGS, {"at": data["id"]})
        _add_tags(connection, data["id"], data["tags"])


def _fold_ended(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"state": data["state"], "exit_code": data["exit_code"], "ended": data.get("ended", event.time)}
    connection.execute(_CHANGE_RUN, {"at": data["id"], **values})


def _add_tags(connection: Connection, run: str, tags: Iterable[str]) -> None:
    named = [{"run": run, "name": name} for name in sorted(set(tags))]
    if named:
        connection.execute(_NEW_TAG, named)


def _fold_used(connection: Connection, event: Event) -> None:
    alias = event.data.get("alias")

    def note(known: dict[str, Any]) -> None:
        if alias is not None:
            known["aliases"] = sorted({*known.get("aliases", ()), fold_name(alias)})

    _fold_edge(connection, event, USED, note)


def _fold_produced(connection: Connection, event: Event) -> None:
    def note(known: dict[str, Any]) -> None:
        if "metadata" in event.data:
            known["metadata"] = event.data["metadata"]

    _fold_edge(connection, event, PRODUCED, note)


def _fold_edge(connection: Connection, event: Event, direction: str, note: Any) -> None:
    version = version_row(connection, event.data)
    ends = {"run": event.data["run"], "version": version, "direction": direction}
    row = connection.execute(_EDGE, ends).first()
    known: dict[str, Any] = json.loads(row.data) if row is not None and row.data else {}
    note(known)
    data = _json(known) if known else None
    if row is None:
        connection.execute(_NEW_EDGE, {**ends, "time": event.data.get("time", event.time), "data": data})
    else:
        time = min(row.time, event.data.get("time", row.time))
        if (data, time) != (row.data, row.time):
            connection.execute(_CHANGE_EDGE, {"at": row.id, "data": data, "time": time})


FOLDS: dict[str, Fold] = {
    "run.started": _fold_started,
    "run.updated": _fold_updated,
    "run.finished": _fold_ended,
    "run.crashed": _fold_ended,
    "version.used": _fold_used,
    "version.produced": _fold_produced,
}
