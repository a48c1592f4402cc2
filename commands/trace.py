"""Commands about how versions came to be: the graph, and what lies between two versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import Screen, count_of
from ..storage.errors import InvalidInput, InvalidSelector
from . import runs
from .invocation import AsJson, Invocation, invocation
from .output import Output, onto

if TYPE_CHECKING:
    from networkx import DiGraph

    from ..store import Store

__all__ = ["pointing", "register", "settled"]

_PANEL = "Trace"
NOTHING = 1  # the exit code where the answer asked for is no


class Format(StrEnum):
    """What a graph is printed as."""

    tree = "tree"
    json = "json"
    mermaid = "mermaid"
    dot = "dot"
    html = "html"
    graphml = "graphml"
    openlineage = "openlineage"
    prov = "prov"


Form = Annotated[
    Format | None,
    typer.Option("--format", help="How to print it; without: as the ending of the file's name says, else a tree."),
]
_BY_SUFFIX = {
    ".html": Format.html,
    ".htm": Format.html,
    ".dot": Format.dot,
    ".gv": Format.dot,
    ".mmd": Format.mermaid,
    ".graphml": Format.graphml,
    ".json": Format.json,
    ".txt": Format.tree,
    "": Format.tree,
}


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("lineage", rich_help_panel=_PANEL)(lineage)
    app.command("path", rich_help_panel=_PANEL)(path)
    runs.register(app)


def lineage(
    context: typer.Context,
    selector: Annotated[
        str, typer.Argument(metavar="SELECT", help="A version, whose trace is wanted, or any selector: 2+model:v7+1.")
    ],
    down: Annotated[
        bool, typer.Option("--down", help="What was made from it, instead of what it was made from.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="At most so many steps from version over run to version.")
    ] = None,
    form: Form = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Trace a version back to raw data, or forward to what was made from it; or show what a selector means."""
    call = invocation(context)
    with call.open() as store, pointing(call.screen):
        graph = store.lineage(settled(call, store, selector), down=down, depth=depth)
    _show(call.screen, graph, Format.json if as_json else form, output)


def path(
    context: typer.Context,
    start: Annotated[str, typer.Argument(metavar="A", help="A version, or a selector.")],
    end: Annotated[str, typer.Argument(metavar="B", help="What may have been made from it.")],
    form: Form = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Show what lies between two versions: every version and run on a way from A to B."""
    call = invocation(context)
    with call.open() as store, pointing(call.screen):
        ends = settled(call, store, start), settled(call, store, end)
        graph = store.path(*ends)
    if not graph:
        call.screen.note(f"nothing leads from {start} to {end}; `art path` goes the way that data flows")
    _show(call.screen, graph, Format.json if as_json else form, output)
    if not graph:
        raise typer.Exit(NOTHING)


def settled(call: Invocation, store: Store, text: str) -> str:
    """Return the whole ref of a plain one, saying where it was found; a selector stays as it is."""
    from ..lineage.query import plain_ref

    ref = plain_ref(text)
    return text if ref is None else call.resolve(store, ref).ref


@contextmanager
def pointing(screen: Screen) -> Iterator[None]:
    """Show the place that an error of a selector points at above the error itself, which is one line."""
    try:
        yield
    except InvalidSelector as error:
        message, *picture = str(error).splitlines()
        for line in picture:
            screen.note(line)
        raise InvalidSelector(message, error.position) from None


def _show(screen: Screen, graph: DiGraph, form: Format | None, output: Path | None) -> None:
    if form is None:
        suffix = "" if output is None else output.suffix.lower()
        if suffix not in _BY_SUFFIX:
            known = ", ".join(filter(None, _BY_SUFFIX))
            raise InvalidInput(f"{output}: no format has the ending {suffix}; {known} have one, else give --format")
        form = _BY_SUFFIX[suffix]
    if form is Format.html and output is None and screen.terminal:
        raise InvalidInput("a page is for a browser: write it to a file with -o FILE.html")
    with onto(screen, output) as page:
        _print(page, graph, form)
    if output is not None:
        screen.remark(f"{output}: {count_of(len(graph), 'node')}")


def _print(screen: Screen, graph: DiGraph, form: Format) -> None:
    from ..lineage.render import lineage_document, lineage_trees

    if form is Format.json:
        screen.document(lineage_document(graph))
    elif form is Format.tree:
        for line in lineage_trees(graph, style=screen.style).splitlines():
            screen.line(line)
    else:
        screen.raw(text.encode() for text in _drawn(graph, form))  # other programs read UTF-8, whatever the terminal


def _drawn(graph: DiGraph, form: Format) -> Iterator[str]:
    """Yield the text of a graph in a format of other programs, as it is to be written."""
    match form:
        case Format.mermaid:
            from ..lineage.pictures.mermaid import mermaid

            yield mermaid(graph)
        case Format.dot:
            from ..lineage.pictures.dot import dot

            yield dot(graph)
        case Format.html:
            from ..lineage.pictures.page import page

            yield page(graph)
        case Format.graphml:
            from ..lineage.exchange.graphml import graphml

            yield graphml(graph)
        case Format.openlineage:
            from ..lineage.exchange.openlineage import event_lines

            yield from event_lines(graph)
        case Format.prov:
            from ..lineage.exchange.prov import prov_json

            yield prov_json(graph)
