"""What a word that is no version may mean in its place: a run, or a folder here. Errors then name the right command.

Asked only where a ref has failed, so that what is found costs nothing.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ..storage.errors import Conflict, NotFound

if TYPE_CHECKING:
    from ..artifacts.ref import Ref
    from ..store import Store

__all__ = ["folder_meant", "run_meant"]

BEGINNING = 4  # characters of a run's id that are no accident


def run_meant(store: Store, ref: Ref) -> str | None:
    """Say that a ref is the id of a run, or `run:` and that; None where it is not."""
    from ..artifacts.ref import Ref
    from ..lineage.account import find_run

    text = str(ref)
    if ref == Ref(None, "run", alias=ref.alias) and ref.alias is not None:
        wanted = ref.alias
    elif ref == Ref(None, ref.name) and len(text) >= BEGINNING:
        wanted = text
    else:
        return None
    try:
        run = find_run(store.ledger, wanted)
    except (NotFound, Conflict):
        return None
    return f"{text} is a run: `art runs {run.id}` describes it"


def folder_meant(text: str, other: str | None) -> str | None:
    """Say that a word is a folder, which is compared by another command, with `other` if that is given."""
    if not _is_folder(text):
        return None
    against = "" if other is None or _is_folder(other) else f" --against {shlex.quote(other)}"
    return f"{text} is a folder: `art status {shlex.quote(text)}{against}` tells what changed in it"


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):  # no path is as long, or has a NUL in it
        return False
