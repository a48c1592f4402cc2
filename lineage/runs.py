"""Runs and edges as rows: what they look like to everybody else, and the folds that write them.

Knows the rows of runs, tags and edges and the events that change them; must not know who starts a run or why. A fold
is the only code that writes these rows (but for the heartbeat), and it uses natural keys only, so that a database
rebuilt from the journal is equal to the one that was lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from ..artifacts import tables as artifact_tables
from ..artifacts.collection import version_row
from ..artifacts.ref import fold_name
from ..storage import tables as storage_tables
from ..storage.errors import IntegrityError
from ..storage.events import Event, Fold
from . import tables
from .capture import chunks_named

__all__ = [
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


def read_runs(connection: Connection, ids: Iterable[str]) -> dict[str, RunRecord]:
    """Return runs by id, in the order asked for; ids that mean nothing are left out."""
    wanted = list(ids)
    found: dict[str, RunRecord] = {}
    joined = _run.join(_project, _project.c.id == _run.c.project)
    chosen = select(_run, _project.c.name.label("owner")).select_from(joined)
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        tags: dict[str, list[str]] = {}
        for row in connection.execute(select(_tag).where(_tag.c.run.in_(part)).order_by(_tag.c.name)):
            tags.setdefault(row.run, []).append(row.name)
        for row in connection.execute(chosen.where(_run.c.id.in_(part))):
            _require_times(row.id, row.created, row.heartbeat, row.ended)
            found[row.id] = RunRecord(
                id=row.id,
                project=row.owner,
                name=row.name,
                job_type=row.job_type,
                group=row.group,
                notes=row.notes,
                tags=tuple(tags.get(row.id, ())),
                state=row.state,
                created=row.created,
                heartbeat=row.heartbeat,
                ended=row.ended,
                exit_code=row.exit_code,
                actor=row.actor,
                config=_object(row.id, row.config),
                summary=_object(row.id, row.summary),
                code=_object(row.id, row.code),
                environment=_object(row.id, row.environment),
            )
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


# Folds


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _fold_started(connection: Connection, event: Event) -> None:
    data = event.data
    owner = select(_project.c.id).where(_project.c.key == fold_name(data["project"]))
    row = {name: data[name] for name in ("id", "name", "job_type", "group", "notes")}
    row |= {name: _json(data[name]) for name in ("config", "summary", "code", "environment")}
    connection.execute(
        insert(_run).values(
            **row,
            project=connection.execute(owner).scalar_one(),
            state=RUNNING,
            created=data.get("created", event.time),
            heartbeat=data.get("heartbeat", event.time),
            actor=event.actor,
        )
    )
    _set_tags(connection, data["id"], data["tags"])


def _fold_updated(connection: Connection, event: Event) -> None:
    data = event.data
    kept = ("name", "job_type", "group", "notes", "created")
    changed: dict[str, Any] = {name: data[name] for name in kept if name in data}
    changed |= {name: _json(data[name]) for name in ("config", "summary", "code", "environment") if name in data}
    if data.get("state") == RUNNING:  # one that was taken for crashed has come back
        changed |= {"state": RUNNING, "ended": None, "exit_code": None}
    changed["heartbeat"] = data.get("heartbeat", event.time)
    connection.execute(update(_run).where(_run.c.id == data["id"]).values(**changed))
    if "tags" in data:
        _set_tags(connection, data["id"], data["tags"])


def _fold_ended(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"state": data["state"], "exit_code": data["exit_code"], "ended": data.get("ended", event.time)}
    connection.execute(update(_run).where(_run.c.id == data["id"]).values(**values))


def _set_tags(connection: Connection, run: str, tags: Iterable[str]) -> None:
    connection.execute(delete(_tag).where(_tag.c.run == run))
    named = [{"run": run, "name": name} for name in sorted(set(tags))]
    if named:
        connection.execute(insert(_tag), named)


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
    run, version = event.data["run"], version_row(connection, event.data)
    here = (_edge.c.run == run, _edge.c.version == version, _edge.c.direction == direction)
    row = connection.execute(select(_edge.c.id, _edge.c.time, _edge.c.data).where(*here)).first()
    known: dict[str, Any] = json.loads(row.data) if row is not None and row.data else {}
    note(known)
    data = _json(known) if known else None
    if row is None:
        values: Mapping[str, Any] = {"run": run, "version": version, "direction": direction}
        connection.execute(insert(_edge).values(**values, time=event.data.get("time", event.time), data=data))
    else:
        time = min(row.time, event.data.get("time", row.time))
        if (data, time) != (row.data, row.time):
            connection.execute(update(_edge).where(_edge.c.id == row.id).values(data=data, time=time))


FOLDS: dict[str, Fold] = {
    "run.started": _fold_started,
    "run.updated": _fold_updated,
    "run.finished": _fold_ended,
    "run.crashed": _fold_ended,
    "version.used": _fold_used,
    "version.produced": _fold_produced,
}
