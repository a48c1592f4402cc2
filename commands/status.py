"""The command that tells what changed in a folder since a version. Parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import Column, count_of
from .invocation import AsJson, invocation

if TYPE_CHECKING:
    from ..artifacts.status import Status

__all__ = ["register"]

DIFFERS = 1
_COLUMNS = (Column("WHAT"), Column("PATH", fold=True))


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("status", rich_help_panel="Look around")(status)


def status(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; without it, this one.")] = Path(),
    against: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The version to compare with; else what the folder was last."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out what matches, as in .gitignore; repeatable.")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where anything differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what changed in a folder since a version; what is unchanged is not read again."""
    call = invocation(context)
    with call.open() as store:
        version, found = store.status(folder, against, ignore=ignore or ())
    if as_json:
        call.screen.document(
            {
                "folder": str(folder.absolute()),
                "ref": version.ref,
                "added": found.added,
                "changed": found.changed,
                "removed": found.removed,
                "unchanged": found.same,
            }
        )
    else:
        lines = [
            *(["added", path] for path in found.added),
            *(["changed", path] for path in found.changed),
            *(["removed", path] for path in found.removed),
        ]
        if lines:
            call.screen.table(_COLUMNS, sorted(lines, key=lambda line: line[1]))
        call.screen.remark(f"{_summary(found)} since {version.ref}")
    if exit_code and found:
        raise typer.Exit(DIFFERS)


def _summary(found: Status) -> str:
    if not found:
        return f"{count_of(found.same, 'file')}, nothing changed"
    parts = ((found.added, "added"), (found.changed, "changed"), (found.removed, "removed"))
    return ", ".join(f"{len(paths)} {what}" for paths, what in parts if paths)
