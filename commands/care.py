"""Commands that make a store, check it, and show what it is good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import count_of
from ..lineage.printing import print_size
from .invocation import AsJson, invocation

if TYPE_CHECKING:
    from ..display import Screen
    from ..storage.check import CheckReport

__all__ = ["register"]

DAMAGED = 5
_PANEL = "Make and keep stores"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("init", rich_help_panel=_PANEL)(init)
    app.command("check", rich_help_panel=_PANEL)(check)
    app.command("demo", rich_help_panel=_PANEL)(demo)
    mending = typer.Typer(help="Mend what is broken: database.", rich_markup_mode="rich")
    mending.callback()(repair)
    mending.command("database")(repair_database)
    app.add_typer(mending, name="repair", rich_help_panel=_PANEL)


def init(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="A folder, s3://…, gs://…; without it, ./.lineart/store.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://…, for a store that a team shares.")
    ] = None,
    single_machine: Annotated[
        bool,
        typer.Option(
            "--single-machine", help="Only this machine will ever write to it: a bucket without a shared database."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a store, or name one that exists, for this folder and all below."""
    from .founding import found_store, report_founding

    call = invocation(context)
    found = found_store(call, url, database, single_machine=single_machine, here=Path.cwd())
    report_founding(call.screen, found, as_json=as_json)


def check(
    context: typer.Context,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read and verify every byte, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Verify that everything is there, and is what it says; exits with 5 where something is damaged."""
    call = invocation(context)
    with call.open() as store:
        versions = sum(one.versions for one in store.collections())
        with call.watched(store, versions):
            report = store.check(read_data=read_data)
    if as_json:
        call.screen.document(_document(report))
    else:
        _print(report, call.screen, read_data=read_data)
    if not report.clean:
        raise typer.Exit(DAMAGED)


def repair() -> None:
    """Mend what is broken."""


def repair_database(context: typer.Context, as_json: AsJson = False) -> None:
    """Rebuild a lost or outdated database from the bucket; deletes nothing, and may be interrupted and repeated."""
    from ..store import repair as mend

    call = invocation(context)
    found = mend(call.settings())
    if as_json:
        damaged = [{"where": where, "what": what} for where, what in found.damaged]
        call.screen.document({"events": found.events, "packs": found.packs, "chunks": found.chunks, "damaged": damaged})
    else:
        for where, what in found.damaged:
            call.screen.problem(f"{where}: {what}")
        counts = (count_of(found.events, "event"), count_of(found.packs, "pack"), count_of(found.chunks, "chunk"))
        call.screen.line(f"brought back {', '.join(counts)}")
        call.screen.remark("`art check` tells whether anything is missing")
    if found.damaged:
        raise typer.Exit(DAMAGED)


def _document(report: CheckReport) -> dict[str, object]:
    return {
        "clean": report.clean,
        "versions": report.versions,
        "packs": report.packs,
        "chunks": report.chunks,
        "events": report.events,
        "read_bytes": report.read_bytes,
        "problems": [{"where": one.where, "what": one.what} for one in report.problems],
        "notes": report.notes,
    }


def _print(report: CheckReport, screen: Screen, *, read_data: bool) -> None:
    if not screen.terminal:
        for problem in report.problems:
            screen.tabbed(["problem", problem.where, problem.what])
        for note in report.notes:
            screen.tabbed(["note", "", note])
    else:
        for problem in report.problems:
            screen.problem(f"{problem.where}: {problem.what}")
        for note in report.notes:
            screen.line(f"note: {note}")
    counts = [
        count_of(report.versions, "version"),
        count_of(report.packs, "pack"),
        count_of(report.chunks, "chunk"),
        count_of(report.events, "event"),
    ]
    if read_data:
        counts.append(f"{print_size(report.read_bytes)} read")
    if report.clean:
        screen.remark(f"{', '.join(counts)}: nothing is wrong")
    else:
        content = any("/" in one.where for one in report.problems)  # a pack, or a version's file
        advice = "; logging the good files again mends their content" if content else ""
        screen.error(f"{count_of(len(report.problems), 'problem')} in {', '.join(counts)}{advice}")


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave its store to look around in.")] = False,
) -> None:
    """Run a small real pipeline, from raw data to a promoted model, in a temporary store."""
    from ..demo import run_demo

    screen = invocation(context).screen

    def tell(text: str) -> None:
        for line in text.split("\n"):
            screen.line(line)
        screen.out.flush()

    run_demo(keep=keep, tell=tell)
