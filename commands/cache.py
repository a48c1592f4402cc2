"""Commands about what this machine keeps and could have again: of places that are elsewhere, and for links."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import Size, count_of
from ..lineage.printing import print_size
from ..storage.errors import InvalidInput
from .invocation import AsJson, invocation

if TYPE_CHECKING:
    from collections.abc import Container

    from ..display import Value
    from ..settings import Settings
    from ..storage.backends.blocks import BlockFolder

__all__ = ["register"]

_PANEL = "Make and keep stores"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    kept = typer.Typer(help="Show what is kept on this machine beside the stores; prune.", rich_markup_mode="rich")
    kept.callback(invoke_without_command=True)(cache)
    kept.command("prune")(prune_kept)
    app.add_typer(kept, name="cache", rich_help_panel=_PANEL)


def cache(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what is kept on this machine: blocks of remote stores, and how much they may be; files that links share."""
    if context.invoked_subcommand is not None:
        return
    from ..artifacts.shared import FOLDER, usage

    call = invocation(context)
    settings = call.settings()
    folder, blocks = _found(settings)
    used = blocks.usage()
    shared, shared_bytes = usage(folder)
    beside = _sizes(folder, {Path(blocks.path).name, FOLDER})
    if as_json:
        call.screen.document(
            {
                "folder": str(folder),
                "limit": settings.cache_size,
                "bytes": used.size,
                "packs": used.objects,
                "blocks": used.blocks,
                "shared_bytes": shared_bytes,
                "shared_files": shared,
                "beside": beside,
            }
        )
        return
    pairs: list[tuple[str, Value]] = [
        ("folder", str(folder)),
        ("limit", Size(settings.cache_size)),
        ("used", Size(used.size)),
        ("packs", str(used.objects)),
        ("blocks", str(used.blocks)),
        ("shared", Size(shared_bytes)),
        ("files", str(shared)),
    ]
    call.screen.pairs([*pairs, *((f"{name}/", Size(size)) for name, size in beside.items())])
    if settings.cache_size == 0:
        call.screen.remark("a limit of 0: nothing is kept of what is read")


def prune_kept(
    context: typer.Context,
    to: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="What may be left of the blocks, such as 2GiB; shared files are left alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove shared files that nothing links to, and blocks; what is wanted again is fetched again."""
    from ..artifacts.shared import prune, usage
    from ..settings import parse_size

    call = invocation(context)
    folder, blocks = _found(call.settings())
    freed = prune(folder) if to is None else 0  # before the blocks: where it refuses, nothing has happened
    removed = blocks.prune(parse_size("0" if to is None else to))
    left, shared_left = blocks.usage().size, usage(folder)[1]
    if as_json:
        call.screen.document(
            {
                "removed_bytes": removed.size,
                "removed_blocks": removed.blocks,
                "bytes": left,
                "removed_shared_bytes": freed,
                "shared_bytes": shared_left,
            }
        )
    elif not call.screen.terminal:
        call.screen.tabbed([str(one) for one in (removed.size, removed.blocks, left, freed, shared_left)])
    else:
        blocks_removed = count_of(removed.blocks, "block")
        call.screen.line(f"removed {print_size(removed.size)} in {blocks_removed}; {print_size(left)} left")
        if to is None and (freed or shared_left):
            call.screen.line(f"removed {print_size(freed)} of shared files; {print_size(shared_left)} are linked to")


def _found(settings: Settings) -> tuple[Path, BlockFolder]:
    """Return the folder for what can be had again, and the blocks in it."""
    from ..storage.backends.blocks import BLOCKS, BlockFolder

    if settings.cache is None:
        raise InvalidInput("no folder is named for what can be had again: give LINEART_CACHE_DIR")
    return settings.cache, BlockFolder(settings.cache / BLOCKS, settings.cache_size)


def _sizes(folder: Path, but: Container[str]) -> dict[str, int]:
    """Return the bytes in each folder but some."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False) and one.name not in but)
    return {name: _size_of(folder / name) for name in names}


def _size_of(folder: Path) -> int:
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue  # its owner is at work
    return size
