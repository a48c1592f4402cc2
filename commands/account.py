"""What is said of one run: as facts with names for people and programs, and as JSON.

Knows the account that lineage gives; must not know stores or streams. Pure. What was not recorded is left out.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from ..display import Cell, Value, ago, iso, when
from ..lineage.printing import print_duration, print_size
from .views import LATEST, version_json

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..lineage.account import Account
    from ..lineage.runs import RunRecord

__all__ = ["Fact", "document_of", "facts_of", "headline_of", "listed"]

MOST = 40  # values of one kind, past which people are told how many there are
WIDEST = 200  # characters of one value that people are shown


class Fact(NamedTuple):
    """A name, and what stands beside it: lines for people, rows for programs."""

    name: str
    shown: tuple[str, ...]
    plain: tuple[str, ...]


def listed(facts: Iterable[Fact], *, terminal: bool) -> list[tuple[str, Value]]:
    """Return facts as pairs: for people each name stands once, for programs on every row."""
    if not terminal:
        return [(fact.name, row) for fact in facts for row in fact.plain]
    return [pair for fact in facts for pair in zip(chain([fact.name], repeat("")), fact.shown, strict=False)]


def headline_of(one: Account) -> tuple[str, str]:
    """Return the run's id in its project, and in a line what it is and how it ended."""
    run = one.record
    name = [] if run.name == run.id else [f'"{run.name}"']
    return f"{run.project}/{run.id}", " · ".join([*name, *([run.job_type] if run.job_type else []), run.state])


def facts_of(one: Account, now: int) -> list[Fact]:
    """Return what is known of a run, in the order in which it is asked for; `now` is µs since the epoch."""
    run = one.record
    return [
        fact
        for fact in (
            *_outcome(one, now),
            *_words(run),
            *_code(run),
            *_around(one),
            _versions("used", run, [(used.version, _asked(used.aliases)) for used in one.used]),
            _versions("made", run, [(made.version, _given(made.metadata)) for made in one.made]),
            _values("config", run.config),
            _values("summary", run.summary),
        )
        if fact.plain
    ]


def _one(name: str, value: Value | None) -> Fact:
    if not value:
        return Fact(name, (), ())
    return Fact(name, (value,), (value,)) if isinstance(value, str) else Fact(name, (value.shown,), (value.plain,))


# How it went


def _outcome(one: Account, now: int) -> Iterator[Fact]:
    run = one.record
    code = "" if run.exit_code is None or (run.exit_code == 0 and run.state == "finished") else str(run.exit_code)
    yield _one("state", f"{run.state}, exit code {code}" if code else run.state)
    yield _lines("because", one.reason)
    yield _one("started", Cell(f"{when(run.created)}, {ago(run.created, now)}", iso(run.created) or ""))
    if run.duration is not None:
        yield _one("took", Cell(print_duration(run.duration), f"{run.duration / 1e6:.6f}"))
        yield _one("ended", Cell(when(run.ended or 0), iso(run.ended) or ""))
    elif run.state == "running":
        yield _one("so far", Cell(print_duration(now - run.created), f"{(now - run.created) / 1e6:.6f}"))
        yield _one("last seen", Cell(ago(run.heartbeat, now), iso(run.heartbeat) or ""))


def _words(run: RunRecord) -> Iterator[Fact]:
    yield _one("by", run.actor)
    yield _one("on", _joined(", ", run.environment, "host", "platform"))
    yield _one("group", run.group)
    yield Fact("tags", (", ".join(run.tags),), run.tags) if run.tags else Fact("tags", (), ())
    yield _lines("notes", run.notes)


# What ran


def _code(run: RunRecord) -> Iterator[Fact]:
    code, environment = run.code, run.environment
    command = code.get("command")
    if isinstance(command, list) and command:
        yield _one("command", shlex.join(map(str, command)))
    yield _one("directory", _text(code.get("directory")))
    git = code.get("git")
    if isinstance(git, dict):
        yield from _git(run, git)
    yield _one("python", _joined(" ", environment, "implementation", "python"))
    if environment.get("packages"):
        yield _one("packages", Cell(f"recorded; `art runs {run.id} --packages` prints them", "recorded"))
    yield _lines("remark", _text(code.get("note")))


def _git(run: RunRecord, git: dict[str, Any]) -> Iterator[Fact]:
    if run.commit is not None:
        branch = f" on {git['branch']}" if git.get("branch") else ""
        yield _one("commit", Cell(f"{run.commit[:12]}{branch}", run.commit))
    yield _one("remote", _text(git.get("remote")))
    if run.code.get("diff"):
        cut = run.code.get("diff_cut")
        whole = f", of which the first {print_size(cut)} were kept" if isinstance(cut, int) else ""
        yield _one("uncommitted", Cell(f"a diff{whole}; `art runs {run.id} --diff` prints it", "diff"))
    elif run.dirty:
        yield _one("uncommitted", "something, of which no diff was kept")
    elif run.commit is not None:
        yield _one("uncommitted", "nothing")
    untracked = git.get("untracked")
    if isinstance(untracked, list):
        yield _several("untracked", list(map(str, untracked)), list(map(str, untracked)))
    yield _lines("git", _text(git.get("note")))


# What is around it


def _around(one: Account) -> Iterator[Fact]:
    parent = [] if one.parent is None else [one.parent]
    named = (("began in", parent), ("children", one.children), ("repeats", one.repeats), ("again in", one.repeated))
    for name, runs in named:
        yield _several(name, [_run(other) for other in runs], [other.id for other in runs])


def _run(run: RunRecord) -> str:
    words = [run.id] if run.name == run.id else [run.id, f'"{run.name}"']
    return f"{' '.join([*words, *([run.job_type] if run.job_type else [])])}, {run.state}"


def _versions(name: str, run: RunRecord, found: Sequence[tuple[VersionRecord, str]]) -> Fact:
    shown = []
    for version, how in found:
        ref = version.name if version.project == run.project else version.ref
        names = [one for one in version.aliases if one != LATEST]
        state = [] if version.state == "live" else [version.state]
        now = [f"now {' '.join(names)}"] if names else []
        words = [print_size(version.size), *([how] if how else []), *now, *state]
        shown.append(f"{ref}  {' · '.join(words)}")
    return _several(name, shown, [version.ref for version, _ in found])


def _asked(aliases: Sequence[str]) -> str:
    return f"asked for as {', '.join(aliases)}" if aliases else ""


def _given(metadata: dict[str, Any] | None) -> str:
    return "" if metadata is None else "known already, with other metadata"


def _values(name: str, values: dict[str, Any]) -> Fact:
    shown = [f"{key} = {_short(value)}" for key, value in values.items()]
    return _several(name, shown, [json.dumps(values, ensure_ascii=False)] if values else [])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}… ({len(text):,} characters; --json for all)"


def _several(name: str, shown: Sequence[str], plain: Sequence[str]) -> Fact:
    rest = len(shown) - MOST
    lines = [*shown[:MOST], f"{rest:,} more (--json for all)"] if rest > 0 else shown
    return Fact(name, tuple(lines), tuple(plain))


def _lines(name: str, text: str | None) -> Fact:
    """Return a text of several lines: people see each, programs one row."""
    return _several(name, text.splitlines(), [text]) if text and text.strip() else Fact(name, (), ())


def _joined(between: str, values: dict[str, Any], *names: str) -> str:
    return between.join(str(values[name]) for name in names if values.get(name))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


# As JSON


def document_of(one: Account) -> dict[str, Any]:
    """Return what `--json` prints of it: all that is known, but for the diff and the packages, which are named."""
    return {
        **one.record.to_json(),
        "duration": None if one.record.duration is None else one.record.duration / 1e6,
        "reason": one.reason,
        "commit": one.record.commit,
        "uncommitted": one.record.dirty,
        "parent": None if one.parent is None else _run_json(one.parent),
        "children": [_run_json(other) for other in one.children],
        "repeats": [_run_json(other) for other in one.repeats],
        "repeated_by": [_run_json(other) for other in one.repeated],
        "inputs": [{**version_json(used.version), "asked_as": list(used.aliases)} for used in one.used],
        "outputs": [{**version_json(made.version), "metadata_given": made.metadata} for made in one.made],
    }


def _run_json(run: RunRecord) -> dict[str, Any]:
    return {"id": run.id, "name": run.name, "job_type": run.job_type, "state": run.state}
