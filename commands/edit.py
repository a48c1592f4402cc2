"""`art edit`: changes the words of a version that is there: its description, metadata and tags.

Parse, call, print. Must not know how a change goes together with what others changed meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..storage.errors import InvalidInput, NotFound
from .invocation import AsJson, invocation

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..display import Screen

__all__ = ["register"]

SHOWN = 10  # names that an error lists


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("edit", rich_help_panel="Name versions")(edit)


def edit(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help=r"\[project/]name[:version-or-alias]; without a version: latest.")
    ],
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it is, in words; an empty one takes it away.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="VALUE is JSON if it parses, else text; may be repeated."),
    ] = None,
    remove_metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="A key that is to go; may be repeated.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to give; may be repeated.")] = None,
    untag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="A tag to take away; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a version's description, metadata and tags; its files, its number and its signatures stay."""
    from ..artifacts.artifact import Artifact
    from ..artifacts.ref import Ref, fold_name
    from .intake import parse_metadata

    if description is None and not (metadata or remove_metadata or tag or untag):
        raise InvalidInput("say what is to change: --description, --metadata, --remove-metadata, --tag or --untag")
    values = parse_metadata(metadata or ())
    for key in remove_metadata or ():
        if key in values:
            raise InvalidInput(f"metadata {key!r} is to be set and to be removed")
    given = {fold_name(one) for one in tag or ()}
    for one in untag or ():
        if fold_name(one) in given:
            raise InvalidInput(f"the tag {one!r} is to be given and to be taken away")
    call = invocation(context)
    meant = Ref.parse(ref)
    if meant.path is not None:
        raise InvalidInput(f"{ref} names a file, and words are of the whole version; leave out /{meant.path}")
    with call.open() as store:
        before = call.resolve(store, meant)
        artifact = Artifact.of(before, store)
        if description is not None:
            artifact.description = description or None
        artifact.metadata.update(values)
        for key in remove_metadata or ():
            if key not in before.metadata:
                raise _absent(before, "metadata", key, before.metadata)
            artifact.metadata.pop(key, None)
        gone = {fold_name(one): one for one in untag or ()}
        for key, one in gone.items():
            if key not in map(fold_name, before.tags):
                raise _absent(before, "tag", one, before.tags)
        artifact.tags = [*(one for one in before.tags if fold_name(one) not in gone), *(tag or ())]
        artifact.save()
    _report(call.screen, before, artifact.record, as_json=as_json)


def _absent(version: VersionRecord, what: str, name: str, there: Iterable[str]) -> NotFound:
    names = sorted(there)
    rest = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return NotFound(f"{version.ref} has no {what} {name!r}; it has {', '.join(names[:SHOWN]) or 'none'}{rest}")


def _report(screen: Screen, before: VersionRecord, after: VersionRecord, *, as_json: bool) -> None:
    """Print what is another now, as `art diff` prints it."""
    from ..artifacts.nested import ABSENT, Changed, nested_changes
    from .differences import tell_changed
    from .views import version_json

    ends = (ABSENT if one.description is None else one.description for one in (before, after))
    description = Changed("description", *ends) if before.description != after.description else None
    metadata = nested_changes(before.metadata, after.metadata)
    given = sorted({*after.tags} - {*before.tags})
    taken = sorted({*before.tags} - {*after.tags})
    if as_json:
        found = {
            "description": None if description is None else description.to_json(),
            "metadata": [one.to_json() for one in metadata],
            "tags": {"given": given, "taken": taken},
            "version": version_json(after),
        }
        screen.document(found)
        return
    tags = [*(Changed("tag", ABSENT, one) for one in given), *(Changed("tag", one, ABSENT) for one in taken)]
    words = [] if description is None else [description]
    changes = [("description", words), ("metadata", metadata), ("tag", tags)]
    screen.title(after.ref, "edited" if words or metadata or tags else "unchanged")
    for what, one in ((what, one) for what, many in changes for one in many):
        if screen.terminal:
            screen.line(f"metadata {tell_changed(one)}" if what == "metadata" else tell_changed(one))
        else:
            screen.tabbed([what, one.key, *("" if end is ABSENT else _json(end) for end in (one.old, one.new))])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
