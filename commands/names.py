"""Commands about names: which version an alias means, who moved it, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..storage.errors import InvalidInput
from . import edit
from .invocation import AsJson, Invocation, invocation

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..artifacts.ref import Ref
    from ..storage.events import Event
    from ..store import Store

__all__ = ["register"]

Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the history.")]
_PANEL = "Name versions"
NOTHING = 1  # the exit code where the answer asked for is no


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("promote", rich_help_panel=_PANEL)(promote)
    names = typer.Typer(help="Change aliases: rm.", rich_markup_mode="rich")
    names.callback()(alias)
    names.command("rm")(alias_rm)
    app.add_typer(names, name="alias", rich_help_panel=_PANEL)
    edit.register(app)
    app.command("history", rich_help_panel=_PANEL)(history)


def alias() -> None:
    """Take aliases away (`art promote` gives them)."""


def promote(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The version that the alias is to mean.")],
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="best, production, …")],
    reason: Reason = None,
    expect: Annotated[
        str | None, typer.Option(metavar="VERSION", help="What it must mean now, or none: else nothing is moved.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move an alias to a version."""
    from .views import version_json

    call = invocation(context)
    with call.open() as store:
        version = call.resolve(store, ref)
        before = _moves(store, version, name)
        moved = store.promote(f"{version.project}/{version.name}", name, reason=reason, expect=expect).record
        after = _moves(store, version, name)
        is_new = len(before) < len(after) and after[-1].data["from"] is None
        near = _near(store, moved, name) if is_new else []
    was = after[-1].data["from"] if len(after) > len(before) else moved.number
    old = "none" if was is None else f"v{was}"
    if near:
        there = f"{moved.project}/{moved.collection}"
        named = ", ".join(f"{one} → v{number}" for one, number in near)
        undo = f"`art alias rm {there}:{name}` takes it away"
        call.screen.note(f"{name} is a new alias of {there}, which has {named}, too; {undo}")
    if as_json:
        call.screen.document(
            {"alias": name, "from": None if was is None else old, "to": moved.version, "version": version_json(moved)}
        )
    elif not call.screen.terminal:
        call.screen.tabbed([f"{moved.project}/{moved.collection}", name, old, moved.version])
    elif old == moved.version:
        call.screen.line(f"{moved.project}/{moved.collection}: {name} is {old} already")
    else:
        call.screen.line(f"{moved.project}/{moved.collection}: {name} {old} → {moved.version}")


def _moves(store: Store, version: VersionRecord, name: str) -> list[Event]:
    return store.history(f"{version.project}/{version.collection}", name)


def _near(store: Store, version: VersionRecord, name: str) -> list[tuple[str, int]]:
    from ..artifacts.suggest import near_aliases

    return store.engine.database.read(lambda connection: near_aliases(connection, version.id, name))


def alias_rm(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="NAME[:ALIAS]", help="The collection.")],
    name: Annotated[
        str | None, typer.Argument(metavar="ALIAS", help="The alias, unless it is given behind a colon.")
    ] = None,
    reason: Reason = None,
) -> None:
    """Take an alias away from a collection; the version stays."""
    from ..artifacts.ref import Ref

    call = invocation(context)
    meant = Ref.parse(collection)
    if (meant.alias is None) == (name is None) or meant != Ref(meant.project, meant.name, alias=meant.alias):
        raise InvalidInput("write `art alias rm NAME:ALIAS`, or `art alias rm NAME ALIAS`")
    gone = meant.alias or name
    assert gone is not None
    with call.open() as store:
        version = call.resolve(store, Ref(meant.project, meant.name, alias=gone))
        store.remove_alias(f"{version.project}/{version.collection}", gone, reason=reason)
    if call.screen.terminal:
        call.screen.line(f"{version.project}/{version.collection}: {gone} {version.version} → none")
    else:
        call.screen.tabbed([f"{version.project}/{version.collection}", gone, version.version, "none"])


def history(
    context: typer.Context,
    collection: Annotated[
        str,
        typer.Argument(
            metavar="NAME[:ALIAS[@TIME]]",
            help="A collection, one of its versions, one of its aliases, or an alias at a time (2026-05-01, or "
            "2026-05-01T12:00:00+02:00; a date alone is its end, UTC).",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Tell what happened to a collection, oldest first: who moved what when, and why; or what an alias meant once."""
    from ..artifacts.ref import Ref
    from .views import HISTORY, concerns, event_json, event_row

    call = invocation(context)
    meant = Ref.parse(collection)
    if meant.path is not None or meant.digest is not None:
        raise InvalidInput(f"{collection}: a history is of NAME, NAME:VERSION, NAME:ALIAS or NAME:ALIAS@TIME")
    if meant.at is not None:
        _tell_moment(call, meant, as_json=as_json)
        return
    with call.open() as store:
        events = store.history(str(Ref(meant.project, meant.name)), meant.alias)
        if meant.alias is not None and not events:  # it never meant anything: this says what there is instead
            store.resolve(meant)
    if meant.version is not None:
        events = [one for one in events if concerns(one, meant.version)]
    if as_json:
        call.screen.document({}, "events", map(event_json, events))
        return
    call.screen.table(HISTORY, (event_row(one, call.screen.now) for one in events))
    if not events:
        call.screen.note(f"nothing is recorded of {collection}")


def _tell_moment(call: Invocation, meant: Ref, *, as_json: bool) -> None:
    """Print what an alias meant at a time; exit with 1 where it meant nothing then."""
    from .moment import moment_headline, moment_json, moment_pairs

    with call.open() as store:
        held = store.alias_at(meant)
    if as_json:
        call.screen.document(moment_json(held))
    else:
        call.screen.title(*moment_headline(held))
        call.screen.pairs(moment_pairs(held))
    if held.version is None:
        raise typer.Exit(NOTHING)
