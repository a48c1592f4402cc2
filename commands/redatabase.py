"""The command that makes a database what the bucket says, or says what it would do.

Knows the repair's report; must not know how a database is rebuilt or rows are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..display import count_of, iso, when
from .invocation import AsJson, invocation
from .removal import Yes, require_yes
from .rows import row_json

if TYPE_CHECKING:
    from ..display import Screen
    from ..storage.repair import Repaired
    from ..storage.repair_hole import Hole
    from ..storage.rows_check import WrongRow

__all__ = ["repair_database"]

DAMAGED = 5


def repair_database(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would change, row by row, and change nothing.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="Name every row, not the first thousand, or twenty of a dry run.")
    ] = False,
    up_to_hole: Annotated[
        bool,
        typer.Option(
            "--up-to-hole", help="Where the journal has lost events: rebuild what came before them, to be read only."
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a lost or outdated database from the bucket, and mend rows by the journal; deletes no object."""
    from ..store import repair as mend

    call = invocation(context)
    settings = call.settings()
    if not dry_run:
        task = f"make the database of {settings.url} what the bucket says?"
        require_yes(call, task, yes=yes, instead=", or --dry-run to see what it would do")
    found = mend(settings, dry_run=dry_run, every=every, up_to_hole=up_to_hole)
    if as_json:
        call.screen.document(_document(found, dry_run=dry_run))
    else:
        _print(found, call.screen, dry_run=dry_run)
    if found.hole is not None and not as_json:
        call.screen.error(_what_to_do(found.hole))
    if found.damaged or found.hole is not None:
        raise typer.Exit(DAMAGED)


def _document(found: Repaired, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "made": found.made,
        "events": found.events,
        "packs": found.packs,
        "chunks": found.chunks,
        "rows": found.rows,
        "changes": [row_json(one) for one in found.changed.wrong],
        "more": found.changed.more,
        "tables": dict(found.changed.counts),
        "damaged": [{"where": where, "what": what} for where, what in found.damaged],
        "hole": None if found.hole is None else _hole_json(found.hole),
    }


def _hole_json(hole: Hole) -> dict[str, object]:
    first, last = hole.times or (None, None)
    return {
        "after": hole.after,
        "since": iso(hole.since),
        "why": hole.why,
        "behind": hole.behind,
        "first": hole.first,
        "last": hole.last,
        "times": [iso(first), iso(last)],
        "kinds": dict(hole.kinds),
    }


def _print(found: Repaired, screen: Screen, *, dry_run: bool) -> None:
    for where, what in found.damaged:
        screen.problem(f"{where}: {what}")
    if found.made and dry_run:
        screen.remark("there is no database: a new one would be made")
    for row in found.changed.wrong:
        done = _done(row, dry_run=dry_run)
        if screen.terminal:
            screen.line(f"{done}: {row.thing}: {row.what}")
        else:
            screen.tabbed([done, row.thing, row.what])
    if found.changed.more:
        of = ", ".join(f"{table} {count:,}" for table, count in found.changed.counts.items())
        lists = "lists them" if dry_run else "would have listed them"
        more = f"{count_of(found.changed.more, 'more row')} (of each table: {of}): `--all` {lists}"
        if screen.terminal:
            screen.line(more)
        else:
            screen.tabbed(["note", "", more])
    back = (count_of(found.events, "event"), count_of(found.packs, "pack"), count_of(found.chunks, "chunk"))
    screen.line(f"{'would bring' if dry_run else 'brought'} back {', '.join(back)}")
    if found.rows:
        screen.line(f"{'would make' if dry_run else 'made'} {count_of(found.rows, 'row')} what the journal says")
    if found.hole is not None:
        _print_hole(found.hole, screen)
    if dry_run:
        screen.remark("nothing was changed; this is what `art repair database` would do now")
    else:
        screen.remark("`art check` tells whether anything is missing")


def _print_hole(hole: Hole, screen: Screen) -> None:
    said = [f"{hole.why} (event {hole.after} was on {_time(hole.since)})"]
    if hole.first is None:
        said.append(f"of what came after it, up to event {hole.last}, nothing can be read")
    else:
        begun, ended = hole.times or (None, None)
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(hole.kinds.items()))
        said.append(
            f"behind that, {count_of(hole.behind, 'event')} can be read and were not applied, {hole.first} to"
            f" {hole.last} ({_time(begun)} to {_time(ended)}): {kinds}"
        )
    said.append("what was logged, moved or deleted since is not known here: aliases may mean other versions by now")
    for one in said:
        if screen.terminal:
            screen.problem(one)
        else:
            screen.tabbed(["hole", "journal", one])


def _what_to_do(hole: Hole) -> str:
    return (
        f"this database ends at event {hole.after} of {hole.last} and is there to be read: nobody can write with it;"
        " bring the missing objects of the journal back from a copy of the bucket, and `art repair database` goes on"
        " from there"
    )


def _time(at: int | None) -> str:
    return "?" if at is None else when(at)


def _done(row: WrongRow, *, dry_run: bool) -> str:
    word = "add" if row.here is None else "remove" if row.journal is None else "change"
    return f"would {word}" if dry_run else f"{word.removesuffix('e')}ed"
