"""What `art impact` prints: what is touched, who uses it now, and which aliases it held before.

Knows the answer and the screen; must not know stores. For people long lists are cut, and say so; programs get all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..display import Cell, Column, Screen, Time, Value, count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..artifacts.records import VersionRecord
    from ..lineage.answers.impact import HeldBefore, Impact, Touched

__all__ = ["impact_document", "named", "short", "show_impact"]

EQUAL = 6  # versions with the same files that are named
WAY = 6  # versions of a way that are shown to people, at most
PAST = 10  # aliases held before that are shown to people, unless everything is
_HOW = {"draft": "new draft", "same": "same files"}
_COLUMNS = (
    Column("VERSION"),
    Column("TYPE"),
    Column("ALIASES", fold=True),
    Column("STEPS", right=True),
    Column("MADE BY"),
    Column("VIA", fold=True),
)
_PAST = (
    Column("HELD BEFORE"),
    Column("VERSION"),
    Column("FROM"),
    Column("UNTIL"),
    Column("THEN"),
    Column("MOVED BY"),
    Column("WHY", fold=True),
)


def show_impact(screen: Screen, found: Impact, project: str, *, everything: bool) -> None:
    """Print what is touched: first what holds an alias, and with `everything` the rest, too."""
    if found.same:
        _aside(screen, _same(found.same, project))
    shown = (*found.named, *found.others) if everything else found.named
    ways = found.ways(shown)
    if shown:
        screen.table(_COLUMNS, (_row(one, ways[one.version.ref], project) for one in shown))
    for run in found.running:
        text = f"run {run.id} ({run.job_type or run.name}, {run.actor}) has used it and is running"
        screen.line(text) if screen.terminal else screen.tabbed([f"run:{run.id}", run.job_type or "", run.state])
    some, others = len(found.named), len(found.others)
    if not some:
        screen.remark("nothing that it touches holds an alias")
    if others and not everything:
        what = f"{count_of(others, 'more version' if some else 'version')} without an alias but latest"
        screen.remark(f"{what} (--all)") if screen.terminal else screen.note(f"{what}: --all lists them, too")
    _show_past(screen, found.held_before, project, everything=everything)


def _aside(screen: Screen, text: str) -> None:
    screen.remark(text) if screen.terminal else screen.note(text)


def _same(those: Sequence[VersionRecord], project: str) -> str:
    names = [short(one.ref, project) + ("" if one.state == "live" else f" ({one.state})") for one in those[:EQUAL]]
    rest = len(those) - len(names)
    more = f" and {rest:,} more" if rest else ""
    return f"{', '.join(names)}{more} {'holds' if len(those) == 1 else 'hold'} the same files" + " (--json)" * bool(
        rest
    )


def _row(one: Touched, way: tuple[str, ...], project: str) -> tuple[Value, ...]:
    version = one.version
    aliases = list(one.names) if version.state == "live" else [version.state]
    run = one.run or _HOW.get(one.how or "", "")
    made = f"{one.job_type} {run}" if one.job_type else run
    before = [short(other, project) for other in way[:-1]]
    if len(before) > WAY:
        before = [*before[: WAY // 2], f"{len(before) - WAY} more", *before[-(WAY // 2) :]]
    via = Cell(" → ".join(before) if before else "itself", " ".join(way[:-1]))
    return (
        named(version.ref, project),
        version.type,
        Cell(" ".join(aliases), ",".join(aliases)),
        str(one.steps),
        Cell(made, run),
        via,
    )


def _show_past(screen: Screen, past: Sequence[HeldBefore], project: str, *, everything: bool) -> None:
    """Print which aliases were held before; in a pipe all, in rows that begin with `held:` and the alias."""
    shown = past if everything or not screen.terminal else past[:PAST]
    if shown and screen.terminal:
        screen.line()
    if shown:
        screen.table(_PAST, (_past_row(one, project, screen.now) for one in shown))
    if len(past) > len(shown):
        screen.remark(f"{len(past) - len(shown):,} more that were held before (--all)")


def _past_row(one: HeldBefore, project: str, now: int) -> tuple[Value, ...]:
    state = "" if one.version.state == "live" else f" ({one.version.state})"
    after = one.until.data["to"]
    return (
        Cell(one.alias, f"held:{one.alias}"),
        Cell(short(one.version.ref, project) + state, one.version.ref),
        Time(None if one.since is None else one.since.time, now),
        Time(one.until.time, now),
        "none" if after is None else f"v{after}",
        one.until.actor,
        one.until.reason or "",
    )


def impact_document(screen: Screen, found: Impact) -> None:
    """Print all of it as one JSON document."""
    ways = found.ways(found.named)
    fields = {
        "of": [one.ref for one in found.of],
        "same": [{"ref": one.ref, "state": one.state} for one in found.same],
        "named": [{**_touched_json(one), "way": list(ways[one.version.ref])} for one in found.named],
        "running": [one.to_json() for one in found.running],
        "held_before": [_past_json(one) for one in found.held_before],
    }
    screen.document(fields, "others", map(_touched_json, found.others))


def _touched_json(one: Touched) -> dict[str, Any]:
    return {
        "ref": one.version.ref,
        "type": one.version.type,
        "state": one.version.state,
        "aliases": list(one.version.aliases),
        "steps": one.steps,
        "how": one.how,
        "from": one.before,
        "run": one.run,
    }


def _past_json(one: HeldBefore) -> dict[str, Any]:
    from .views import event_json

    return {
        "ref": one.version.ref,
        "state": one.version.state,
        "alias": one.alias,
        "since": None if one.since is None else event_json(one.since),
        "until": event_json(one.until),
    }


def named(ref: str, project: str) -> Cell:
    """Return a ref, for people without the project whose name goes without saying."""
    return Cell(short(ref, project), ref)


def short(ref: str, project: str) -> str:
    """Return a ref without the project whose name goes without saying."""
    return ref.removeprefix(f"{project}/")
