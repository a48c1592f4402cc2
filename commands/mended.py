"""What a repair did and what is lost, as it is printed.

Knows reports; must not know how a store is repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..display import Cell, count_of
from ..lineage.printing import print_size

if TYPE_CHECKING:
    from ..artifacts.losses import Loss
    from ..artifacts.mending import Mended
    from ..display import Screen, Value

__all__ = ["loss_json", "mended_json", "print_mended"]


def loss_json(loss: Loss) -> dict[str, object]:
    """Return what `--json` prints of something that is lost."""
    return {"version": loss.version, "aliases": list(loss.aliases), "path": loss.path, "what": loss.what}


def mended_json(found: Mended) -> dict[str, object]:
    """Return what `--json` prints of a repair."""
    index = found.index
    return {
        "whole": found.whole,
        "packs": index.packs,
        "rows_added": index.added,
        "rows_removed": index.removed,
        "adopted": index.adopted,
        "missing": index.missing,
        "back": index.back,
        "quarantined": [{"where": one.where, "what": one.what} for one in index.quarantined],
        "damaged": [{"where": one.where, "what": one.what} for one in index.damaged],
        "chunks_rescued": index.rescued,
        "chunks_healed": found.healed,
        "read_bytes": index.read_bytes,
        "notes": [*index.notes, *found.notes],
        "lost": [loss_json(one) for one in found.lost],
        "lost_more": found.more,
        "lost_of_runs": found.named,
    }


def print_mended(found: Mended, screen: Screen, *, read_data: bool) -> None:
    """Print what a repair did, and then what is lost: on a pipe, lines of kind, place and what it is."""
    index = found.index
    lists = [("adopted", index.adopted), ("missing", index.missing), ("back", index.back)]
    said = [(kind, where, "") for kind, keys in lists for where in keys]
    said += [("quarantined", one.where, one.what) for one in index.quarantined]
    said += [("damaged", one.where, one.what) for one in index.damaged]
    said += [("note", "", one) for one in (*index.notes, *found.notes)]
    for kind, where, what in said:
        if screen.terminal:
            screen.line(f"{kind}: {': '.join(one for one in (where, what) if one)}")
        else:
            screen.tabbed([kind, where, what])
    if screen.terminal:
        screen.pairs(_figures(found))
    for one in found.lost:
        if screen.terminal:
            screen.problem(f"{one.where}{_named(one)}: {one.what}")
        else:
            screen.tabbed(["lost", one.where, ",".join(one.aliases), one.what])
    if found.whole:
        outcome = "nothing is lost" if read_data else "nothing is known to be lost; `--read-data` reads every byte"
        screen.remark(outcome)
        _conclude(screen, "whole", found, outcome)
        return
    counts = [count_of(len(found.lost) + found.more, "loss", "losses")]
    if found.named:
        counts.append(f"{count_of(found.named, 'chunk')} that runs name")
    _conclude(screen, "lossy", found, " and ".join(counts))
    screen.error(
        f"{' and '.join(counts)}; `--from FOLDER` looks for good files there, and logging them again heals, too"
    )


def _conclude(screen: Screen, verdict: str, found: Mended, said: str) -> None:
    """End what goes into a pipe with one row that says what was done and found, for who reads a log from its end."""
    if screen.terminal:
        return
    figures = [f"{value if isinstance(value, str) else value.shown} {what}" for what, value in _figures(found)]
    screen.tabbed(["verdict", verdict, f"{', '.join(figures)}: {said}"])


def _named(loss: Loss) -> str:
    return f" ({', '.join(loss.aliases)})" if loss.aliases else ""


def _figures(found: Mended) -> list[tuple[str, Value]]:
    index = found.index
    pairs: list[tuple[str, Value]] = [("packs", str(index.packs))]
    counts = [
        ("rows added", index.added),
        ("rows removed", index.removed),
        ("chunks rescued", index.rescued),
        ("chunks healed", found.healed),
    ]
    pairs += [(what, str(count)) for what, count in counts if count]
    if index.read_bytes:
        pairs.append(("read", Cell(print_size(index.read_bytes), str(index.read_bytes))))
    return pairs
