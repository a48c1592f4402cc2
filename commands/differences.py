"""How what two versions hold is printed: paths, counts, metadata; for people, for pipes and as JSON.

Knows comparisons and screens; must not know stores. What is left out is counted and said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..artifacts.comparison import Count, Group, Tally, What, aspects, fold_deltas
from ..artifacts.nested import ABSENT, Changed, nested_changes
from ..display import Cell, Column, Screen, Size, count_of
from ..lineage.columns import escape, width
from ..lineage.printing import print_size
from ..storage.digest import Digest
from .views import file_json

if TYPE_CHECKING:
    from ..artifacts.comparison import Comparison, Delta
    from ..artifacts.manifest import Entry
    from ..artifacts.records import VersionRecord

__all__ = [
    "Found",
    "path_of",
    "print_differences",
    "print_document",
    "print_stat",
    "tell_changed",
    "tell_tally",
]

MARKS = {What.ADDED: "+", What.REMOVED: "-", What.CHANGED: "~", What.RENAMED: "→"}
_PAINT = {What.ADDED: "32", What.REMOVED: "31", What.CHANGED: "33", What.RENAMED: "36"}
SHORT = 50  # differing paths up to which each is shown on a terminal
VALUE = 60  # characters of one value on a terminal
WIDEST = 60  # columns to which sizes are aligned
_STAT = (
    Column("WHAT"),
    Column("PATHS", right=True),
    Column("BEFORE", right=True),
    Column("AFTER", right=True),
)


@dataclass(frozen=True)
class Found:
    """What is known of how two versions differ; a prefix leaves what concerns whole versions out."""

    old: VersionRecord
    new: VersionRecord
    paths: Comparison
    prefix: str = ""

    @property
    def metadata(self) -> list[Changed]:
        """How their metadata differ."""
        return [] if self.prefix else nested_changes(self.old.metadata, self.new.metadata)

    @property
    def description(self) -> Changed | None:
        """How their descriptions differ."""
        if self.prefix or self.old.description == self.new.description:
            return None
        ends = (ABSENT if one is None else one for one in (self.old.description, self.new.description))
        return Changed("description", *ends)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.paths or self.metadata or self.description)


# For people and pipes


def print_differences(screen: Screen, found: Found, *, everything: bool) -> None:
    """Print one line a path: marked and folded on a terminal, tab-separated and whole in a pipe."""
    if not screen.terminal:
        for delta in found.paths:
            screen.tabbed(_row(delta))
        for what, one in _words(found):
            screen.tabbed([what, one.key, *(_json(end) for end in (one.old, one.new))])
        return
    screen.heading(f"{found.old.ref} → {found.new.ref}")
    tally, rest = Tally(), Tally()
    deltas = tally.counted(found.paths)  # of very many, a second walk would take as long as the first
    if everything:
        _print_lines(screen, map(_line, deltas))
    else:
        lines, rest = _group_lines(deltas)
        _print_lines(screen, lines)
    for what, one in _words(found):
        screen.line(f"{what} {tell_changed(one)}" if what == "metadata" else tell_changed(one))
    if rest.paths:
        screen.remark(f"and {tell_tally(rest)} elsewhere; `--all` shows every path, `--prefix PATH` one folder")
    _print_summary(screen, found, tally)


def print_stat(screen: Screen, found: Found) -> None:
    """Print how many paths and bytes differ."""
    counts = found.paths.tally.counts
    rows = [
        (what.value, Cell(f"{one.paths:,}", str(one.paths)), Size(one.old_size), Size(one.new_size))
        for what, one in counts.items()
    ]
    if screen.terminal:
        screen.heading(f"{found.old.ref} → {found.new.ref}")
        rows = [row for row, one in zip(rows, counts.values(), strict=True) if one.paths]
    if rows:
        screen.table(_STAT, rows)
    words = len(found.metadata)
    if not screen.terminal:
        screen.tabbed(["metadata", str(words)])
        screen.tabbed(["description", str(int(found.description is not None))])
    else:
        _print_summary(screen, found, found.paths.tally)


def print_document(screen: Screen, found: Found, *, stat: bool) -> None:
    """Print one JSON document: the counts, then every path."""
    fields: dict[str, Any] = {
        "old": found.old.ref,
        "new": found.new.ref,
        "prefix": found.prefix or None,
        "same": not found,
        "renames_sought": found.paths.complete,
        **found.paths.tally.to_json(),
        "metadata": [one.to_json() for one in found.metadata],
        "description": None if found.description is None else found.description.to_json(),
    }
    if stat:
        screen.document(fields)
    else:
        screen.document(fields, "paths", (_delta_json(one) for one in found.paths))


def _print_summary(screen: Screen, found: Found, tally: Tally) -> None:
    said = [tell_tally(tally)] if tally.paths else []
    if found.metadata:
        said.append(count_of(len(found.metadata), "value") + " of metadata")
    if found.description is not None:
        said.append("the description")
    if not said:
        where = f"{found.prefix} is the same in both" if found.prefix else "nothing differs"
        same = "" if found.prefix or found.old.digest != found.new.digest else f": both are {_short(found.new)}"
        screen.remark(where + same)
        return
    screen.remark("; ".join(said))
    if not found.paths.complete and tally.counts[What.ADDED].paths and tally.counts[What.REMOVED].paths:
        screen.remark("renamed paths were not sought among so many: they count as removed and added")


def _short(version: VersionRecord) -> str:
    return f"{Digest(version.digest).short}…"


def _words(found: Found) -> Iterator[tuple[str, Changed]]:
    yield from (("metadata", one) for one in found.metadata)
    if found.description is not None:
        yield "description", found.description


def _group_lines(deltas: Iterable[Delta]) -> tuple[list[tuple[str, str, What]], Tally]:
    """Return the lines (what is said, sizes, what happened) for some deltas, and the count of what was left out.

    A few stand each for itself; of more, like changes in one folder become one line.
    """
    source = iter(deltas)
    first = list(islice(source, SHORT + 1))
    if len(first) <= SHORT:
        return [_line(one) for one in first], Tally()

    def everything() -> Iterator[Delta]:
        yield from first
        yield from source

    groups, rest = fold_deltas(everything())
    lines = []
    for group in groups:
        lines += [_line(one) for one in group.deltas] if group.count.paths == len(group.deltas) else [_folded(group)]
    return lines, rest


def _print_lines(screen: Screen, lines: Iterable[tuple[str, str, What]]) -> None:
    source = iter(lines)
    while batch := list(islice(source, 500)):
        batch = [(escape(text), sizes, what) for text, sizes, what in batch]
        margin = min(max(width(text) for text, _, _ in batch), WIDEST)
        for text, sizes, what in batch:
            screen.line(f"{text}{' ' * (margin - width(text))}  {sizes}".rstrip(), _PAINT[what])


def _line(delta: Delta) -> tuple[str, str, What]:
    old, new, what = delta.old, delta.new, delta.what
    sizes = print_size(delta.entry.size)
    if old is not None and new is not None:
        said = [one for one in aspects(old, new) if one != "content"]
        if old.size != new.size:
            sizes = f"{print_size(old.size)} → {sizes}"
        sizes = ", ".join([sizes, *said])
    external = delta.entry.external
    if external is not None:
        sizes += f"  {external.url}" + (f"  etag {external.etag}" if external.etag and what is What.ADDED else "")
    return path_of(delta), sizes, what


def path_of(delta: Delta) -> str:
    """Return the mark of what happened, and the path; of a renamed one both."""
    mark = MARKS[delta.what]
    if delta.what is What.RENAMED and delta.old is not None:
        return f"{mark} {delta.old.path} → {delta.path}"
    return f"{mark} {delta.path}"


def _folded(group: Group) -> tuple[str, str, What]:
    where = f"{group.folder}/" if group.folder else "the top folder"
    if group.source != group.folder:
        where = f"{group.source}/ → {where}" if group.source else f"the top folder → {where}"
    return (
        f"{MARKS[group.what]} {where}",
        f"{count_of(group.count.paths, 'path')}, {_sizes(group.what, group.count)}",
        group.what,
    )


def _sizes(what: What, count: Count) -> str:
    if what is What.CHANGED and count.old_size != count.new_size:
        return f"{print_size(count.old_size)} → {print_size(count.new_size)}"
    return print_size(count.old_size if what is What.REMOVED else count.new_size)


def tell_tally(tally: Tally) -> str:
    """Say how much differs.

    >>> from lineart.artifacts.comparison import Count
    >>> tally = Tally()
    >>> tally.counts[What.ADDED] = Count(3, 0, 2048)
    >>> tell_tally(tally)
    '3 added (2.0 KiB)'
    """
    counts = ((what, one) for what, one in tally.counts.items() if one.paths)
    return ", ".join(f"{one.paths:,} {what} ({_sizes(what, one)})" for what, one in counts)


def tell_changed(one: Changed) -> str:
    """Say how a value differs, in short.

    >>> tell_changed(Changed("lr", 0.1, 0.2)), tell_changed(Changed("seed", ABSENT, 7))
    ('lr 0.1 → 0.2', 'seed 7 added')
    """
    if one.old is ABSENT:
        return f"{one.key} {_shortened(one.new)} added"
    if one.new is ABSENT:
        return f"{one.key} {_shortened(one.old)} removed"
    if isinstance(one.old, float) and isinstance(one.new, float) and f"{one.old:.6g}" != f"{one.new:.6g}":
        return f"{one.key} {one.old:.6g} → {one.new:.6g}"
    return f"{one.key} {_shortened(one.old)} → {_shortened(one.new)}"


def _shortened(value: Any) -> str:
    """Print a value for people: text as it is, all else as JSON, and no more than VALUE characters of it."""
    text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= VALUE else f"{text[: VALUE - 1]}…"


# For programs


def _row(delta: Delta) -> list[str]:
    """Return what, path, the path before, then sizes, digests, URLs and etags before and after."""
    old, new = delta.old, delta.new
    row = [delta.what.value, delta.path, old.path if old is not None else ""]
    row += ["" if one is None else str(one.size) for one in (old, new)]
    row += ["" if one is None else str(Digest(one.digest)) for one in (old, new)]
    outside = [None if one is None else one.external for one in (old, new)]
    row += ["" if one is None else one.url for one in outside]
    return row + ["" if one is None else one.etag or "" for one in outside]


def _delta_json(delta: Delta) -> dict[str, Any]:
    ends = {"old": _entry_json(delta.old), "new": _entry_json(delta.new)}
    return {"what": delta.what.value, "path": delta.path, **ends}


def _entry_json(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    found = file_json(entry, "")
    if entry.external is not None:
        found |= {"etag": entry.external.etag, "version": entry.external.version}
    return found


def _json(value: Any) -> str:
    return "" if value is ABSENT else json.dumps(value, ensure_ascii=False)
