"""Beginning a run, and going on with one: what is recorded of it, inside somebody's transaction.

Knows the events `run.started` and `run.updated` and what may stand in them; must not know who begins a run or why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

from sqlalchemy import select

from ..artifacts import tables as artifact_tables
from ..artifacts.ref import check_name, check_tag, fold_name
from ..storage.errors import Conflict, InvalidInput
from . import tables
from .capture import NOTHING, Captured
from .edges import lock_run
from .liveness import LOST, boot, death_of
from .masking import mask_mapping
from .ranks import Meeting, Seen, find_meeting, one_at_a_time
from .runs import CRASHED, RUNNING, read_runs, subject_of
from .values import plain

if TYPE_CHECKING:
    from ..storage.database import Transaction

__all__ = [
    "DISABLED",
    "Beginning",
    "Words",
    "begin",
    "check_id",
    "fill_in",
    "go_on",
    "kept_words",
    "labels",
    "meet",
    "reap",
    "taken_over",
]

DISABLED = "disabled"  # the id of the runs that are recorded nowhere
_run, _project = tables.run, artifact_tables.project


class Words(TypedDict, total=False):
    """What may be said when a run begins."""

    name: str | None
    job_type: str | None
    group: str | None
    tags: Iterable[str]
    notes: str | None
    config: Mapping[str, Any] | None
    captured: Captured


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run is to be known by. None, and no tags, say nothing: of a run that goes on, what is known stays."""

    name: str | None = None
    job_type: str | None = None
    group: str | None = None
    tags: Iterable[str] = ()
    notes: str | None = None
    config: Mapping[str, Any] | None = None
    captured: Captured = NOTHING

    def checked(self) -> Beginning:
        """Return it as it is kept: text as databases take it, secrets masked. Raises InvalidInput, InvalidName."""
        text = kept_words(name=self.name, job_type=self.job_type, group=self.group, notes=self.notes)
        captured = Captured(plain(self.captured.code), plain(self.captured.environment))
        return Beginning(
            **text, tags=labels(self.tags), config=mask_mapping(plain(self.config or {})), captured=captured
        )

    def given(self) -> dict[str, Any]:
        """Return the words that were given."""
        text = {one: getattr(self, one) for one in ("name", "job_type", "group", "notes")}
        return {one: value for one, value in text.items() if value is not None}


def check_id(id: str) -> None:  # noqa: A002 - the interface's word
    """Raise InvalidName for what cannot be the id of a run."""
    check_name("run id", id)
    if id == DISABLED:
        raise InvalidInput(f"no run can have the id {DISABLED!r}: it is that of runs that record nothing")


def kept_words(**given: str | None) -> dict[str, str | None]:
    """Return free text as the database keeps it; InvalidInput for what is not text."""
    for what, text in given.items():
        if text is not None and not isinstance(text, str):
            raise InvalidInput(f"{what} must be text, not {type(text).__name__}")
    return {what: None if text is None else plain(text).replace("\0", "\\0") for what, text in given.items()}


def labels(tags: Iterable[str]) -> list[str]:
    """Return tags in order, each once; InvalidName for what is none."""
    found = sorted({tags} if isinstance(tags, str) else set(tags))
    for one in found:
        check_tag(one)
    return found


def begin(tx: Transaction, id: str, project: str, beginning: Beginning) -> None:  # noqa: A002 - the interface's word
    """Record that a run of this id, which is free, begins."""
    reap(tx, project)
    data = {
        "id": id,
        "name": beginning.name or id,
        "job_type": beginning.job_type,
        "group": beginning.group,
        "notes": beginning.notes,
        "project": project,
        "tags": list(beginning.tags),
        "config": beginning.config,
        "summary": {},
        "code": beginning.captured.code,
        "environment": beginning.captured.environment,
    }
    tx.record("run.started", subject_of(id), data)


def go_on(tx: Transaction, run: str, beginning: Beginning) -> None:
    """Record that a run goes on, in this process: what it was started with is now what this one was started with.

    Config is merged into what is known, other words replace it. NotFound where there is no such run.
    """
    lock_run(tx, run)
    known = read_runs(tx.connection, [run])[run]
    data: dict[str, Any] = {
        **beginning.given(),
        "id": run,
        "state": RUNNING,
        "code": beginning.captured.code,
        "environment": beginning.captured.environment,
    }
    if beginning.config:
        data["config"] = {**known.config, **beginning.config}
    if beginning.tags:
        data["tags"] = list(beginning.tags)
    tx.record("run.updated", subject_of(run), data)


def fill_in(tx: Transaction, run: str, beginning: Beginning) -> None:
    """Record what a process that takes part in a run says of it: words where there are none yet, config, tags.

    NotFound where there is no such run.
    """
    lock_run(tx, run)
    known = read_runs(tx.connection, [run])[run]
    said = {"name": known.name != known.id, **{one: getattr(known, one) for one in ("job_type", "group", "notes")}}
    data: dict[str, Any] = {one: value for one, value in beginning.given().items() if not said[one]}
    config, tags = {**known.config, **(beginning.config or {})}, sorted({*known.tags, *beginning.tags})
    if config != known.config:
        data["config"] = config
    if tags != list(known.tags):
        data["tags"] = tags
    if data:
        tx.record("run.updated", subject_of(run), {"id": run, **data})


def meet(tx: Transaction, project: str, meeting: Meeting, beginning: Beginning) -> tuple[str, bool]:
    """Begin the run that the processes of a job have in common, or take part in it; return its id and whose it is.

    It belongs to the process that began it until the one of rank 0 comes, to which it belongs from then on: True.
    Raises Conflict where all of them name a run that was over before they began, unless they go on with it; NotFound
    where it is to be there and is not.
    """
    one_at_a_time(tx)
    rendezvous = meeting.rendezvous

    def look(id: str) -> Seen | None:  # noqa: A002 - the interface's word
        found = read_runs(tx.connection, [id]).get(id)
        if found is None:
            return None
        alive = found.state == RUNNING and death_of(found.heartbeat, found.environment, tx.now()) is None
        return Seen(alive, found.heartbeat if found.ended is None else found.ended)

    began = tx.now() - int(rendezvous.age * 1_000_000)
    if meeting.id is None:
        chosen, is_there = find_meeting(look, project, rendezvous.key, began, meeting.been)
        goes_on = rendezvous.rank == 0
    else:
        seen, chosen = look(meeting.id), meeting.id
        is_there = seen is not None or meeting.resume == "must"
        is_over = seen is None or not (seen.alive or seen.ended >= began)
        if is_there and is_over and meeting.resume == "never":
            raise Conflict(f'run {chosen!r} is over; give another id, or go on with it: resume="allow"')
        goes_on = is_over or rendezvous.rank == 0
    if not is_there:
        begin(tx, chosen, project, beginning)
    elif goes_on:
        known = read_runs(tx.connection, [chosen])[chosen].tags if rendezvous.rank == 0 and beginning.tags else ()
        go_on(tx, chosen, replace(beginning, tags=sorted({*known, *beginning.tags})))
    else:
        fill_in(tx, chosen, beginning)
    return chosen, not is_there or goes_on


def taken_over(known: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a run that one process of a job began belongs to another by now, by what the two say of themselves."""
    theirs, ours = known.get("rank"), own.get("rank")
    return isinstance(theirs, int) and isinstance(ours, int) and theirs < ours


def reap(tx: Transaction, project: str) -> None:
    """Record the runs of a project that have vanished as crashed."""
    owner = select(_project.c.id).where(_project.c.key == fold_name(project)).scalar_subquery()
    running = select(_run.c.id).where(_run.c.project == owner, _run.c.state == RUNNING)
    silent, here = _run.c.heartbeat < tx.now() - LOST, boot()
    suspects = running.where(silent if here is None else silent | _run.c.environment.contains(here))
    dead = [
        one.id
        for one in read_runs(tx.connection, tx.execute(suspects).scalars().all()).values()
        if death_of(one.heartbeat, one.environment, tx.now()) is not None
    ]
    if not dead:
        return
    locked = tx.lock(running.where(_run.c.id.in_(dead)).order_by(_run.c.id)).scalars().all()
    for one in read_runs(tx.connection, locked).values():
        reason = death_of(one.heartbeat, one.environment, tx.now())
        if reason is not None:  # it may have given a sign of life meanwhile
            data = {"id": one.id, "state": CRASHED, "exit_code": None, "ended": one.heartbeat}
            tx.record("run.crashed", subject_of(one.id), data, reason)
