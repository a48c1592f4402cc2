"""Commands that make a store, check it, and show what it is good for."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..display import count_of
from ..lineage.printing import print_size
from ..storage.errors import IntegrityError
from .invocation import AsJson, invocation
from .mended import loss_json, mended_json, print_mended
from .redatabase import repair_database
from .rejournal import repair_journal
from .removal import Yes, require_yes
from .rows import advice, rows_json

if TYPE_CHECKING:
    from ..artifacts.inspect import StoreReport
    from ..display import Screen
    from ..store import Store

__all__ = ["register"]

DAMAGED = 5
_PANEL = "Make and keep stores"
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
ReadData = Annotated[
    str | None,
    typer.Option("--read-data", metavar="[N%]", help="Read and verify every byte, too, or a share of them."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("init", rich_help_panel=_PANEL)(init)
    app.command("check", cls=_Share, rich_help_panel=_PANEL)(check)
    app.command("demo", rich_help_panel=_PANEL)(demo)
    mending = typer.Typer(help="Mend what is broken: index, database, journal.", rich_markup_mode="rich")
    mending.callback()(repair)
    mending.command("index", cls=_Share)(repair_index)
    mending.command("database")(repair_database)
    mending.command("journal")(repair_journal)
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


class _Share(TyperCommand):
    """A command whose `--read-data` may stand alone: it means all then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give the option its value where it has none."""
        given = [
            "--read-data=100%" if one == "--read-data" and not _SHARE.fullmatch(after) else one
            for one, after in zip_longest(args, args[1:], fillvalue="")
        ]
        return super().parse_args(ctx, given)


def check(
    context: typer.Context,
    read_data: ReadData = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Which share: consecutive numbers read consecutive ones; else any.")
    ] = None,
    external: Annotated[
        bool,
        typer.Option("--external", help="Ask the places of external entries whether they are what they were, too."),
    ] = False,
    journal: Annotated[
        bool, typer.Option("--journal", help="Compare every row of the database with what the journal says, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify that everything is there, and is what it says; exits with 5 where something is damaged."""
    call = invocation(context)
    share = _share(read_data)
    with call.open() as store:
        versions = _count_versions(store)
        events = store.engine.database.store().seq if journal else 0
        with call.watched(store, versions + events):
            report = store.check(read_data=share, seed=seed, external=external, journal=journal)
    if as_json:
        call.screen.document(_document(report))
    else:
        _print(report, call.screen, read_data=bool(share))
    if not report.clean:
        raise typer.Exit(DAMAGED)


def _count_versions(store: Store) -> int:
    """Return how many versions a progress bar may expect; none where that cannot be read: the check says why."""
    try:
        return sum(one.versions for one in store.collections())
    except IntegrityError:
        return 0


def _share(text: str | None) -> float:
    """Read how much is to be read, as a share of 1."""
    if text is None:
        return 0.0
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f"{text} is no share: give 5% or 0.5%, or nothing for all", param_hint="--read-data")
    return share


def repair() -> None:
    """Mend what is broken."""


def repair_index(
    context: typer.Context,
    sources: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Files that may hold what is lost; they are only read."),
    ] = None,
    read_data: ReadData = None,
    seed: Annotated[int, typer.Option(min=0, help="Which share: consecutive numbers read consecutive ones.")] = 0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Mend the index, set damaged packs aside, heal what can be healed; exits with 5 where something is lost."""
    call = invocation(context)
    share = _share(read_data)
    with call.open() as store:
        more = f", read {read_data} of the bytes" if share else ""
        task = f"compare the index of {store.url} with its packs{more}, and mend what differs"
        require_yes(call, f"{task}? Damaged packs are set aside; no object is deleted.", yes=yes, instead="")
        with call.watched(store):
            found = store.repair_index(sources, read_data=share, seed=seed)
    if as_json:
        call.screen.document(mended_json(found))
    else:
        print_mended(found, call.screen, read_data=share == 1)
    if not found.whole:
        raise typer.Exit(DAMAGED)


def _document(report: StoreReport) -> dict[str, object]:
    return {
        "clean": report.clean,
        "versions": report.versions,
        "packs": report.packs,
        "chunks": report.chunks,
        "events": report.events,
        "external": report.external,
        "read_bytes": report.read_bytes,
        "pack_bytes": report.pack_bytes,
        "seed": report.seed,
        "problems": [{"where": one.where, "what": one.what} for one in report.problems],
        "notes": report.notes,
        "lost": [loss_json(one) for one in report.lost],
        "rows": rows_json(report.rows),
    }


def _print(report: StoreReport, screen: Screen, *, read_data: bool) -> None:
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
    if report.external:
        counts.append(f"{report.external:,} external")
    if report.rows is not None:
        counts.append("every row")
    if read_data:
        share = f" of {print_size(report.pack_bytes)} (seed {report.seed})" if report.seed is not None else ""
        counts.append(f"{print_size(report.read_bytes)}{share} read")
    found = f"{count_of(len(report.problems), 'problem')} in {', '.join(counts)}"
    if not screen.terminal:  # a log is to end with what was found
        said = f"{', '.join(counts)}: nothing is wrong" if report.clean else found
        screen.tabbed(["verdict", "clean" if report.clean else "damaged", said])
    if report.clean:
        screen.remark(f"{', '.join(counts)}: nothing is wrong")
        if report.rows is None and not read_data:
            screen.remark("not looked at: the database's rows (--journal), every byte (--read-data)")
    else:
        what_to_do = advice(report, read_data=read_data)
        screen.error(f"{found}{what_to_do}")


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
