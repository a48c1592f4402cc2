"""What the events of another tool's run change of what a store knows of it.

Knows the record of a run and what was seen of it in events; must not know databases. Pure. What was recorded stays, and
of two events that say different things the later one holds, in whatever order they come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..masking import mask_mapping
from ..runs import CRASHED, FAILED, FINISHED, RunRecord
from .incoming import Seen
from .names import ORIGIN, origin

__all__ = ["run_changes", "run_id"]

_STATES = {"COMPLETE": FINISHED, "FAIL": FAILED, "ABORT": CRASHED}
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
Change = tuple[str, dict[str, Any]]  # the kind of an event, and its data


def run_id(uuid: str) -> str:
    """Return the id that a run of another tool has in a store.

    >>> run_id("0192d8c4-0000-7000-8000-000000000001")
    'ol-0192d8c4-0000-7000-8000-000000000001'
    """
    return f"ol-{uuid}"


def run_changes(seen: Seen, known: RunRecord | None, project: str, now: int) -> list[Change]:
    """Return the events that record what was seen of a run, beyond what is known of it; `now` is in microseconds.

    A run is created at its first event and its last sign of life is its last one (never ahead of now): so one whose end
    is not known is shown as crashed, as any run is that nothing is heard of. An event that ends it holds even where it
    was taken for crashed, and so does a later one that ends it otherwise.
    """
    beat = min(seen.last, now)
    if known is None:
        data = _words(seen) | {"id": run_id(seen.uuid), "project": project}
        nothing: dict[str, Any] = {"group": None, "tags": [], "summary": {}, "config": {}, "environment": {}}
        return [("run.started", {**nothing, **data, "created": seen.first, "heartbeat": beat}), *_end(seen, None)]
    changes: list[Change] = []
    newer = known.heartbeat < seen.last <= now
    changed = _learnt(seen, known, newer=newer)
    if seen.first < known.created:
        changed["created"] = seen.first
    if changed or newer:
        changed["heartbeat"] = max(beat, known.heartbeat)
        changes.append(("run.updated", {"id": known.id, **changed}))
    return [*changes, *_end(seen, known)]


def _learnt(seen: Seen, known: RunRecord, *, newer: bool) -> dict[str, Any]:
    """Return what newer events say, and what older ones say that was not known yet."""
    words = _words(seen)
    old, new = origin(known.code), words["code"][ORIGIN]
    first, second = (new, old) if newer else (old, new)  # what the first says, holds
    job = {**first.get("job", {}), "facets": _joined(second.get("job", {}), first.get("job", {}))}
    told = {**second, **first, "job": job, "facets": _joined(second, first)}
    if _ends(seen, known):
        told["ended"] = new["ended"]
    elif "ended" in old:
        told["ended"] = old["ended"]
    else:
        told.pop("ended", None)
    code = {**known.code, **(words["code"] if newer else {}), ORIGIN: told}
    for name, value in words["code"].items():
        code.setdefault(name, value)
    changed: dict[str, Any] = {} if code == known.code else {"code": code}
    for name in ("name", "job_type", "notes", "config", "summary"):
        value = words.get(name)
        if value and (newer or not getattr(known, name)) and value != getattr(known, name):
            changed[name] = value
    return changed


def _joined(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {**below.get("facets", {}), **above.get("facets", {})}


def _ends(seen: Seen, known: RunRecord | None) -> bool:
    """Whether what was seen ends a run, and later than it is known to have ended."""
    if seen.end is None:
        return False
    if known is None or known.ended is None or "ended" not in origin(known.code):
        return True
    return seen.end[0] > known.ended


def _end(seen: Seen, known: RunRecord | None) -> list[Change]:
    if seen.end is None or not _ends(seen, known):
        return []
    time, what = seen.end
    kind = "run.crashed" if what == "ABORT" else "run.finished"
    return [(kind, {"id": run_id(seen.uuid), "state": _STATES[what], "exit_code": None, "ended": time})]


def _words(seen: Seen) -> dict[str, Any]:
    """Return what a run is to be known by."""
    ours = seen.facets.get("lineart_run", {})  # what another store says of a run of its own
    job = {"namespace": seen.job.namespace, "name": seen.job.name, "facets": seen.job_facets}
    told: dict[str, Any] = {"runId": seen.uuid, "job": job, "facets": seen.facets}
    if seen.end is not None:
        told["ended"] = seen.end[1]
    code: dict[str, Any] = {ORIGIN: told}
    git = _git(seen.job_facets.get("sourceCodeLocation", {}))
    if git:
        code["git"] = git
    words: dict[str, Any] = {
        "name": _text(ours.get("name")) or f"{seen.job.namespace}/{seen.job.name}",
        "job_type": _text(ours.get("jobType")) if "id" in ours else seen.job.name,
        "notes": _text(seen.job_facets.get("documentation", {}).get("description")),
        "code": code,
    }
    for name in ("config", "summary"):
        if isinstance(ours.get(name), dict):
            words[name] = mask_mapping(ours[name])
    return words


def _git(location: Mapping[str, Any]) -> dict[str, Any]:
    """Return where code came from, as runs of ours say it; empty where it was not git."""
    if location.get("type") != "git":
        return {}
    version, branch = _text(location.get("version")), _text(location.get("branch"))
    commit = version if version is not None and _COMMIT.fullmatch(version) else None
    remote = _text(location.get("repoUrl")) or _text(location.get("url"))
    found = {"commit": commit, "branch": branch, "remote": remote}
    return {name: value for name, value in found.items() if value is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
