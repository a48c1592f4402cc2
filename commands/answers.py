"""Commands that answer from lineage: what is out of date, what a version touches, how it is made again.

Parse, call, print.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import Cell, Column, Screen, Value, count_of
from ..storage.errors import InvalidInput
from .impacted import impact_document, named, short, show_impact
from .invocation import AsJson, Invocation, invocation
from .trace import pointing, settled

if TYPE_CHECKING:
    from ..lineage.answers.stale import Staleness, StaleVersion
    from ..lineage.answers.stale_outside import Outside
    from ..store import Store

__all__ = ["register"]

ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where there is anything: for CI.")]
_PANEL = "Trace"
FOUND = DIFFERENT = 1  # exit codes: the answer hoped for is no
NAMED = 6  # inputs that a cell names to people
_STALE = (
    Column("VERSION"),
    Column("ALIASES", fold=True),
    Column("BEHIND", fold=True),
    Column("THROUGH", fold=True),
    Column("MADE BY"),
    Column("CHANGED OUTSIDE", fold=True),
)


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("stale", rich_help_panel=_PANEL)(stale)
    app.command("impact", rich_help_panel=_PANEL)(impact)
    app.command("repro", rich_help_panel=_PANEL)(repro)


def stale(
    context: typer.Context,
    selector: Annotated[
        str | None,
        typer.Argument(
            metavar="SELECT",
            help="A version, or any selector; without it, the project's versions that are latest or hold an alias.",
        ),
    ] = None,
    externals: Annotated[
        bool,
        typer.Option("--externals", help="Ask the places outside the store, too, whether they are what they were."),
    ] = False,
    exit_code: ExitCode = False,
    as_json: AsJson = False,
) -> None:
    """List what was made from inputs that have newer versions, in the order in which to make it again.

    A version is up to date where any run that produced it used the newest inputs, and those are up to date themselves.
    Deleted versions are neither judged nor newer, and what only a repetition (`art repro`) made is not newer. An
    earlier version of a version's own collection, which it goes on from, does not make it out of date, nor does a newer
    version that was made from it.
    """
    call = invocation(context)
    with call.open() as store, pointing(call.screen):
        found = store.stale(None if selector is None else settled(call, store, selector), externals=externals)
    for one in found.unasked:
        call.screen.note(one)
    if as_json:
        fields = {"judged": found.judged, "deleted": found.deleted, "unasked": list(found.unasked)}
        call.screen.document(fields, "stale", map(_stale_json, found))
    else:
        _show_stale(call.screen, found, store.project)
    if exit_code and found:
        raise typer.Exit(FOUND)


def _show_stale(screen: Screen, found: Staleness, project: str) -> None:
    if found:
        screen.table(_STALE, (_stale_row(one, project) for one in found))
    versions = count_of(found.judged, "version")
    out = f"{len(found):,} of {versions} {'is' if len(found) == 1 else 'are'} out of date"
    screen.remark(out if found else f"{versions}, nothing out of date")
    if found.deleted:
        screen.note(f"{count_of(found.deleted, 'deleted version')} not judged")


def _stale_row(one: StaleVersion, project: str) -> tuple[Value, ...]:
    return (
        named(one.version.ref, project),
        ",".join(one.version.aliases),
        _listed(
            (f"{short(behind.used.ref, project)}, newer: {behind.newest.version}" for behind in one.behind),
            (f"{behind.used.ref}>{behind.newest.version}" for behind in one.behind),
        ),
        _listed((short(other.ref, project) for other in one.through), (other.ref for other in one.through)),
        one.run or "",
        _listed(map(_outside, one.outside), (place.url for place in one.outside)),
    )


def _outside(one: Outside) -> str:
    counts = ((one.changed, "changed"), (one.gone, "gone"), (one.new, "new"))
    return f"{one.url}: {', '.join(f'{count:,} {what}' for count, what in counts if count)}"


def _stale_json(one: StaleVersion) -> dict[str, Any]:
    return {
        "ref": one.version.ref,
        "aliases": list(one.version.aliases),
        "run": one.run,
        "behind": [{"used": behind.used.ref, "newest": behind.newest.ref} for behind in one.behind],
        "through": [other.ref for other in one.through],
        "outside": [place._asdict() for place in one.outside],
    }


def impact(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A version, a selector, or a URL that versions refer to.")],
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Each version, also those that hold no alias but latest.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where something is touched that holds an alias.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what was made from a version: first what holds an alias, such as production, then how much else.

    What holds the same files is the same data, under whatever name; what `new_draft()` changed counts as made from it.
    Below stands which aliases any of that held before.
    """
    call = invocation(context)
    with call.open() as store, pointing(call.screen):
        found = store.impact(ref if "://" in ref else _settled_version(call, store, ref))
    if as_json:
        impact_document(call.screen, found)
    else:
        show_impact(call.screen, found, store.project, everything=everything)
    if exit_code and found.named:
        raise typer.Exit(FOUND)


def _settled_version(call: Invocation, store: Store, text: str) -> str:
    """Return the whole ref of a plain one, without a path, and say where that is left out."""
    from dataclasses import replace

    from ..lineage.query import plain_ref

    ref = plain_ref(text)
    if ref is None or ref.path is None:
        return settled(call, store, text)
    whole = settled(call, store, str(replace(ref, path=None)))
    call.screen.note(f"runs use whole versions: this is about {whole}, not /{ref.path} alone")
    return whole


def repro(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF", help="The version to be made again; with --again, the command to run."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most so many steps; 1: the last, with its recorded inputs."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="REF", help="Not beyond these versions, which are fetched; also a selector."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="A script that goes on past what was not recorded, without it.")
    ] = False,
    patch: Annotated[
        str | None, typer.Option(metavar="RUN", help="Print what was not committed when a run started.")
    ] = None,
    packages: Annotated[
        str | None, typer.Option(metavar="RUN", help="Print a run's packages, as pip -r takes them.")
    ] = None,
    again: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Run the command behind -- as a new run with the inputs of this one."),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="With --again: what to log once the command has ended well."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="REF", help="With --again: exit with 1 unless this version came out the same."),
    ] = None,
) -> None:
    """Print a shell script that makes a version again from raw data, and compares what came out.

    Every step: its commit and what was not committed, an environment with its packages, its inputs, its command, as a
    new run to which aliases mean what they meant then. Read it before you run it: it runs what was recorded.
    """
    from .repeating import print_beforehand, print_packages, print_patch, print_script

    call = invocation(context)
    asked = [one for one in (patch, packages, again or None) if one is not None]
    if len(asked) > 1 or (asked and (depth is not None or start is not None or force)):
        raise InvalidInput("--patch, --packages and --again go by themselves")
    if (expect is not None or log) and not again:
        raise InvalidInput("--expect and --log go with --again")
    if again:
        _repeat(call, again, what or [], log or [], expect)
    elif patch is not None or packages is not None:
        if what:
            raise InvalidInput("--patch and --packages take a run and nothing else")
        with call.open() as store:
            if patch is not None:
                print_patch(call.screen, store, patch)
            elif packages is not None:
                print_packages(call.screen, store, packages)
    elif what is None or len(what) != 1:
        raise InvalidInput("name one version that is to be made again: `art repro REF`")
    else:
        with call.open() as store, pointing(call.screen):
            whole = _settled_version(call, store, what[0])
            script = store.repro(whole, depth=depth, start=start, force=force)
            print_script(call.screen, script)
            print_beforehand(call.screen, script)


def _repeat(call: Invocation, runs: list[str], command: list[str], log: list[str], expect: str | None) -> None:
    from .repeating import names_of, repeat, report, report_moves
    from .running import product_of

    if not command:
        raise InvalidInput("--again needs a command: `art repro --again RUN -- python train.py`")
    products = list(map(product_of, log))
    with call.open() as store:
        wanted = None if expect is None else call.resolve(store, expect).id
        before = names_of(store, runs)
        code, found = repeat(call, store, runs, command, products)
        report(call.screen, found)
        report_moves(call.screen, before, names_of(store, runs))
    if code:
        raise typer.Exit(code)
    if wanted is not None and not any(one.same and one.wanted.id == wanted for one in found):
        raise typer.Exit(DIFFERENT)


def _listed(shown: Iterable[str], plain: Iterable[str]) -> Cell:
    """Join what there is; people are told past NAMED how many more there are."""
    parts = list(shown)
    rest = len(parts) - NAMED
    return Cell("; ".join([*parts[:NAMED], f"{rest} more"] if rest > 0 else parts), " ".join(plain))
