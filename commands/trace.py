"""Commands about how versions came to be: the graph, and the runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..display import count_of
from .invocation import AsJson, invocation

__all__ = ["register"]

_PANEL = "Trace"


class Format(StrEnum):
    """What a graph is printed as."""

    tree = "tree"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("lineage", rich_help_panel=_PANEL)(lineage)
    app.command("runs", rich_help_panel=_PANEL)(runs)


def lineage(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The version to start from.")],
    down: Annotated[
        bool, typer.Option("--down", help="What was made from it, instead of what it was made from.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="At most so many steps from version over run to version.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.tree,
    as_json: AsJson = False,
) -> None:
    """Trace a version back to raw data, or forward to what was made from it."""
    from ..lineage.render import lineage_document, lineage_tree

    call = invocation(context)
    with call.open() as store:
        graph = store.graph(call.resolve(store, ref), down=down, depth=depth)
    if as_json or form is Format.json:
        call.screen.document(lineage_document(graph))
        return
    for line in lineage_tree(graph, down=down, style=call.screen.style).splitlines():
        call.screen.line(line)


def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many, the newest.")] = 20,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Of all projects, and every one.")] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    from .views import RUNS, run_row

    call = invocation(context)
    with call.open() as store:
        project = None if everything else store.project
        found = store.runs(project, None if everything else limit + 1)
    cut = not everything and len(found) > limit
    shown = found[:limit] if cut else found
    if as_json:
        call.screen.document({"project": project, "complete": not cut}, "runs", (one.to_json() for one in shown))
        return
    call.screen.table(RUNS, (run_row(one, call.screen.now) for one in shown))
    if cut:
        call.screen.note(f"the newest {limit} runs; `--limit N` and `--all` show more")
    else:
        call.screen.remark(count_of(len(shown), "run") + ("" if project is None else f" in {project}"))
