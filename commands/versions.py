"""Commands that log versions, list them, and show what is in them.

Parse, call, print. What a listing says is in `views.py`, what `log` does in `intake.py`, and what `show` says in
`portrait.py`; `get` is in `fetch.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import count_of
from ..lineage.printing import print_size
from ..storage.errors import InvalidInput, NotFound
from . import fetch
from .fetch import ReadRef
from .invocation import AsJson, Invocation, invocation

if TYPE_CHECKING:
    from ..artifacts.records import CollectionRecord, VersionRecord
    from ..store import Store

__all__ = ["register"]

COPY = 1 << 20  # bytes
_MAKE, _LOOK = "Make and fetch versions", "Look around"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("log", rich_help_panel=_MAKE)(log)
    app.command("put", hidden=True)(log)
    fetch.register(app)
    app.command("cat", rich_help_panel=_MAKE)(cat)
    app.command("ls", rich_help_panel=_LOOK)(ls)
    app.command("show", rich_help_panel=_LOOK)(show)
    app.command("files", rich_help_panel=_LOOK)(files)


def log(
    context: typer.Context,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file, a folder, or the URL of what is to stay where it is.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help=r"\[project/]name of the collection.")],
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="dataset, model, …; by default the collection's, else dataset."),
    ] = None,
    alias: Annotated[list[str] | None, typer.Option(help="An alias to give; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to give; may be repeated.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="VALUE is JSON if it parses, else text; may be repeated."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is, in words.")] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(metavar="REF", help="What it was made from: logs it as the output of a run; may be repeated."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="What to leave out, as in .gitignore; .artignore in the folder, too."),
    ] = None,
    no_checksum: Annotated[
        bool, typer.Option("--no-checksum", help="Of a URL: do not ask what is there; keep the URL alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Log a file, a folder, or a reference to what is elsewhere, as a version (also: put)."""
    from ..environment import DISABLED, mode_here
    from .intake import Request, log_path, parse_metadata, report_outcome

    call = invocation(context)
    url = path if "://" in path else None
    if no_checksum and url is None:
        raise InvalidInput(f"--no-checksum goes with a URL, and {path} is a path")
    request = Request(
        Path(path),
        name,
        type_,
        tuple(alias or ()),
        tuple(tag or ()),
        parse_metadata(metadata or ()),
        description,
        tuple(use or ()),
        tuple(ignore or ()),
        url,
        not no_checksum,
    )
    if url is None and not os.path.lexists(path):  # before a store is made for it
        raise NotFound(f"{path} does not exist")
    if mode_here() == DISABLED:
        call.screen.note(f"LINEART_MODE is {DISABLED}: nothing is logged")
        return
    with call.open_or_create() as store:
        outcome = log_path(call, store, request)
    report_outcome(call.screen, outcome, request, as_json=as_json)


def cat(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF/PATH", help="A file of a version: name:version/path.")],
) -> None:
    """Print one file of a version."""
    from ..artifacts.artifact import Artifact
    from ..artifacts.ref import Ref

    call = invocation(context)
    meant = Ref.parse(ref)
    if meant.path is None:
        raise InvalidInput(f"{ref} names no file; write NAME:VERSION/PATH (`art files NAME:VERSION` lists them)")
    with call.open() as store, Artifact.of(call.resolve(store, meant), store).open(meant.path) as file:
        call.screen.raw(iter(lambda: file.read(COPY), b""))


def ls(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A collection, to list its versions.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Of all projects; deleted versions, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List collections, or the versions of one."""
    call = invocation(context)
    with call.open() as store:
        if name is not None:
            _list_versions(call, store, name, everything=everything, as_json=as_json)
            return
        collections = store.collections(None if everything else store.project)
        projects = store.projects()
        project = None if everything else store.project
    if as_json:
        from .views import collection_json

        call.screen.document({"project": project}, "collections", map(collection_json, collections))
        return
    _list_collections(call, collections, project, projects)


def _list_collections(
    call: Invocation, collections: list[CollectionRecord], project: str | None, projects: list[str]
) -> None:
    from ..artifacts.ref import fold_name
    from .views import COLLECTIONS, collection_row

    screen = call.screen
    screen.table(COLLECTIONS, (collection_row(one, screen.now, with_project=project is None) for one in collections))
    others = len([one for one in projects if project is None or fold_name(one) != fold_name(project)])
    if not projects:
        screen.note("the store is empty; `art log PATH NAME` fills it")
    elif project is None:
        screen.remark(f"{count_of(len(collections), 'collection')} in {count_of(len(projects), 'project')}")
    else:
        more = f" · {count_of(others, 'other project')} (--all)" if others else ""
        screen.remark(f"{count_of(len(collections), 'collection')} in {project}{more}")


def _list_versions(call: Invocation, store: Store, name: str, *, everything: bool, as_json: bool) -> None:
    from ..artifacts.ref import Ref
    from .views import VERSIONS, version_json, version_row

    meant = Ref.parse(name)
    if str(meant) != str(Ref(meant.project, meant.name)):
        raise InvalidInput(f"{name} is one version; `art show {name}` describes it, `art files {name}` lists its files")
    versions = store.versions(name)
    shown: list[VersionRecord] = [one for one in versions if everything or one.state == "live"]
    if as_json:
        call.screen.document({}, "versions", map(version_json, shown))
        return
    call.screen.table(VERSIONS, (version_row(one, call.screen.now) for one in shown))
    hidden = len(versions) - len(shown)
    first = versions[0] if versions else None
    where = f"{first.project}/{first.collection}, type {first.type}" if first is not None else name
    call.screen.remark(
        f"{count_of(len(shown), 'version')} of {where}" + (f" · {hidden} deleted (--all)" if hidden else "")
    )


def show(context: typer.Context, ref: ReadRef, as_json: AsJson = False) -> None:
    """Describe one version: content, aliases, what made it, what uses it."""
    from ..artifacts.ref import Ref
    from .moment import moment_json, moment_line
    from .portrait import document_of, headline_of, paint, pairs_of

    call = invocation(context)
    meant = Ref.parse(ref)
    with call.open() as store:
        portrait = paint(store, call.resolve(store, meant))
        held = None if meant.at is None else store.alias_at(meant)  # the rest is as it is now
    if as_json:
        call.screen.document(document_of(portrait) | ({} if held is None else {"then": moment_json(held)}))
    else:
        call.screen.title(portrait.version.ref, headline_of(portrait.version))
        call.screen.pairs([*([] if held is None else [moment_line(held)]), *pairs_of(portrait)])


def files(
    context: typer.Context,
    ref: ReadRef,
    prefix: Annotated[str | None, typer.Argument(metavar="PREFIX", help="A folder of it.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Every file below, not one level.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the files of a version, one level of its tree."""
    from ..artifacts.content import Content
    from ..artifacts.logged import require_bytes
    from ..artifacts.ref import Ref
    from .views import FILES, LEVEL, external_text, file_json, file_row, level, level_row

    call = invocation(context)
    meant = Ref.parse(ref)
    if prefix is not None and meant.path is not None:
        raise InvalidInput(f"{ref} names a path already; leave out {prefix}")
    folder = (prefix if prefix is not None else meant.path or "").strip("/")
    with call.open() as store:
        version = call.resolve(store, meant)
        require_bytes(version, store.catalog)
        content = Content(version.digest, store.engine.chunks)
        if as_json:
            found = content.walk(folder) if recursive else level(content, folder)
            items = (file_json(one, folder) for one in found)
            call.screen.document({"ref": version.ref, "path": folder}, "files", items)
            return
        if recursive:
            call.screen.table(FILES, map(file_row, content.walk(folder)))
        else:
            call.screen.table(LEVEL, map(level_row, level(content, folder)))
        size = f"{count_of(version.file_count, 'file')}, {print_size(version.size)}"
        external = store.catalog.references_of(version.digest) if version.refers else []
        call.screen.remark(f"{version.ref}: {size}{external_text(external)}")
