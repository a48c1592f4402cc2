"""`art get`: puts the files of a version into a folder.

Parse, call, print. Must not know how files come to their place.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import count_of
from ..lineage.printing import print_size
from ..storage.errors import InvalidInput
from .invocation import AsJson, invocation

if TYPE_CHECKING:
    from ..artifacts.leftovers import Leftovers

__all__ = ["ReadRef", "register"]

ReadRef = Annotated[
    str, typer.Argument(metavar="REF", help=r"\[project/]name[:version-or-alias]; without a version: latest.")
]
_VERSION = re.compile("v[0-9]+")
_PANEL = "Make and fetch versions"


class Way(StrEnum):
    """How files come to their place."""

    copy = "copy"
    reflink = "reflink"
    hardlink = "hardlink"
    symlink = "symlink"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("get", rich_help_panel=_PANEL)(get)


def get(
    context: typer.Context,
    ref: ReadRef,
    dest: Annotated[
        str | None,
        typer.Argument(
            metavar="DEST", help="The folder to put the files in; by default ./artifacts/PROJECT/NAME-VERSION."
        ),
    ] = None,
    path: Annotated[str | None, typer.Option(metavar="PREFIX", help="Only this file or folder of it.")] = None,
    link: Annotated[
        Way, typer.Option(help="Copies, clones where the disk can, or links to read-only files that downloads share.")
    ] = Way.copy,
    checkout: Annotated[
        bool, typer.Option("--checkout", help="Remove what else is in the folder, which is empty or was checked out.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what somebody changed or put there; with --checkout: in any folder."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download a version, verified; what is there already is not fetched again.

    Files of other names in the folder stay, unless it is a checkout. Those of the same names become the version's; but
    where one was changed since its download, or no download put it there, nothing is written, and the exit code is 4.
    """
    from ..artifacts.content import Content
    from ..artifacts.logged import LoggedVersion, require_bytes
    from ..artifacts.ref import Ref
    from .views import version_json

    call = invocation(context)
    left: list[Leftovers] = []
    meant = Ref.parse(ref)
    if dest == "":  # an unset variable of a shell would mean the folder that one is in
        raise InvalidInput("DEST is empty; name a folder: . is the one that you are in")
    root = None if dest is None else Path(dest)
    bare = meant.version is None and meant.alias is None and meant.digest is None
    if bare and root is not None and _VERSION.fullmatch(str(root)) and not root.exists():
        raise InvalidInput(f"{ref} {dest}: did you mean {ref}:{dest}? A folder of this name is ./{dest}")
    if path is not None and meant.path is not None:
        raise InvalidInput(f"{ref} names a path already; leave out --path")
    prefix = (path if path is not None else meant.path or "").strip("/") or None
    if checkout and prefix is not None:
        raise InvalidInput(f"--checkout is of the whole version, not of {prefix}")
    with call.open() as store:
        version = call.resolve(store, meant)
        run = call.joined(store)
        require_bytes(version, store.catalog)
        if run is not None:  # what it fetches, its run has used
            version = store.ledger.use(run, replace(meant, path=None), store.project)
        count, size = version.file_count, version.size
        if prefix is not None:
            chosen = [one.size for one in Content(version.digest, store.engine.chunks).walk(prefix)]
            count, size = len(chosen), sum(chosen)
        with call.watched(store, count, size):
            logged = LoggedVersion(version, store)
            if checkout:
                folder = logged.checkout(root, force=force, link=link.value, overwrite=force)
            else:
                folder = logged.download(root, prefix, link.value, overwrite=force, tell=left.append)
    for one in left:
        stay = f"{count_of(one.count, 'file')} of {one.version.ref} {'stays' if one.count == 1 else 'stay'}"
        where = f"in {folder}, beside those of {version.name}"
        call.screen.note(f"{stay} {where}; `--checkout --force` would remove all that is not of {version.name}")
    if as_json:
        stays = [{"version": one.version.ref, "files": one.count} for one in left]
        found = {"path": str(folder), "files": count, "size": size, "version": version_json(version), "left": stays}
        call.screen.document(found)
        return
    call.screen.line(str(folder))
    call.screen.remark(
        f"{version.ref}{'' if prefix is None else '/' + prefix}: {count_of(count, 'file')}, {print_size(size)}"
    )
