"""Commands that exchange lineage with other programs: what they know comes in, and how a version came to be goes out.

Parse, call, print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from ..display import Screen, count_of
from .invocation import AsJson, invocation
from .output import Output, onto

if TYPE_CHECKING:
    from ..lineage.exchange.importing import Imported

__all__ = ["register"]

_PANEL = "Trace"
STREAM = "-"


class Source(StrEnum):
    """What can be imported."""

    openlineage = "openlineage"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("import", rich_help_panel=_PANEL)(import_)
    app.command("provenance", rich_help_panel=_PANEL)(provenance)


def import_(
    context: typer.Context,
    form: Annotated[Source, typer.Argument(metavar="FORMAT", help="What it is: openlineage, by line or in an array.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where it is; - is the standard input.")],
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Pass over lines that are no events, and say how many.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Record the runs that other tools tell of; their datasets become collections of the project, bytes stay away."""
    from ..lineage.exchange.incoming import read_lines

    call = invocation(context)
    assert form is Source.openlineage
    with call.open() as store, _opened(file) as stream:
        found = store.import_openlineage(read_lines(stream), keep_going=keep_going)
    if as_json:
        call.screen.document(found.to_json())
    else:
        _report(call.screen, found)


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == STREAM:
        yield sys.stdin.buffer
    else:
        with Path(file).open("rb") as stream:
            yield stream


def _report(screen: Screen, found: Imported) -> None:
    if screen.terminal:
        new = (count_of(found.runs, "run"), count_of(found.versions, "version"), count_of(found.edges, "edge"))
        screen.line(
            f"new: {', '.join(new)}; {count_of(found.updated, 'run')} updated; {count_of(found.events, 'event')}"
        )
    else:
        screen.tabbed([str(one) for one in (found.events, found.runs, found.updated, found.versions, found.edges)])
    for one in found.skipped:
        screen.note(f"{count_of(one.events, 'event')} passed over, the first in line {one.line}: {one.why}")
    if found.facets_left_out:
        screen.note(f"{count_of(found.facets_left_out, 'facet')} left out: too large or too deep to be kept")


def provenance(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help=r"\[project/]name[:version-or-alias]; without a version: latest.")
    ],
    output: Output = None,
) -> None:
    """Say how a version came to be, as an in-toto statement with SLSA provenance, for what signs and checks such."""
    call = invocation(context)
    with call.open() as store:
        found = store.provenance(call.resolve(store, ref).ref)
    with onto(call.screen, output) as screen:
        screen.raw([json.dumps(found, indent=2).encode() + b"\n"])
    if output is not None:
        call.screen.note(f"wrote {output}")
