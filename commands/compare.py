"""The commands that compare two versions: what they hold, and how they came to be. Parse, call, print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..storage.errors import InvalidInput, InvalidName, NotFound
from .invocation import AsJson, Invocation, invocation

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..artifacts.ref import Ref
    from ..store import Store

__all__ = ["register"]

_PANEL = "Trace"
DIFFERS = 1


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("diff", rich_help_panel=_PANEL)(diff)
    app.command("why", rich_help_panel=_PANEL)(why)


def diff(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="The version that it leads from; alone, that it leads to.")],
    b: Annotated[
        str | None,
        typer.Argument(metavar="[B]", help="The version that it leads to; without it, A and the one before."),
    ] = None,
    prefix: Annotated[
        str, typer.Option(metavar="PATH", help="Only this file, or what lies in this folder; metadata is left out.")
    ] = "",
    stat: Annotated[bool, typer.Option("--stat", help="Only how many paths and bytes differ.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="On a terminal, too, every path that differs, as it comes.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where anything differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what leads from one version to another: paths added, removed, changed and renamed, and metadata."""
    from ..artifacts.comparison import compare_versions
    from .differences import Found, print_differences, print_document, print_stat

    call = invocation(context)
    with call.open() as store:
        old, new = _ends(call, store, a, b)
        found = Found(old, new, compare_versions(store.engine.chunks, old, new, prefix), prefix)
        if as_json:
            print_document(call.screen, found, stat=stat)
        elif stat:
            print_stat(call.screen, found)
        else:
            print_differences(call.screen, found, everything=everything)
        differs = bool(found)
    if exit_code and differs:
        raise typer.Exit(DIFFERS)


def why(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="The version to compare with; alone, the one to explain.")],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="The version to explain; without it, A, by the one before.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Follow inputs back at most so many steps.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Every pair of versions that was compared, and their files, in full.")
    ] = False,
    patch: Annotated[bool, typer.Option("--patch", "-p", help="How uncommitted changes differ, line by line.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell why a version differs from another: code, config, packages and inputs, back to where it began."""
    from ..lineage.answers.histories import FILES, explain
    from .reasons import print_reasons

    call = invocation(context)
    with call.open() as store:
        old, new = _ends(call, store, a, b)
        found = explain(store.catalog, old, new, depth=depth, files=None if everything else FILES, patches=patch)
    if as_json:
        call.screen.document(found.to_json(), "pairs", (one.to_json() for one in found.pairs))
    else:
        print_reasons(call.screen, found, everything=everything, patch=patch)


def _ends(call: Invocation, store: Store, a: str, b: str | None) -> tuple[VersionRecord, VersionRecord]:
    """Return the two versions that are meant; of one alone, the one before it comes first."""
    first = _end(call, store, a, b)
    if b is not None:
        return first, _end(call, store, b, a)
    before = store.catalog.previous(first)
    if before is None:
        raise NotFound(f"there is no version before {first.ref} whose content is still there; give two refs")
    call.screen.note(f"{first.ref} is compared with {before.ref}, the version before it")
    return before, first


def _end(call: Invocation, store: Store, text: str, other: str | None) -> VersionRecord:
    """Return the version that is meant; where a folder is, the error names the command that compares those."""
    from .elsewhere import folder_meant

    try:
        return call.resolve(store, _whole(text))
    except (NotFound, InvalidInput, InvalidName) as error:
        said = folder_meant(text, other)
        if said is None:
            raise
        raise type(error)(f"{error}; {said}") from None


def _whole(text: str) -> Ref:
    """Read the ref of a whole version."""
    from ..artifacts.ref import Ref

    ref = Ref.parse(text)
    if ref.path is not None:
        raise InvalidInput(f"{ref}: whole versions are compared; drop /{ref.path}, and give `diff` a --prefix")
    return ref
