"""How the reasons why two versions differ are printed: the short list first, what was compared below it.

Knows answers of `lineage/why.py` and screens; must not know stores. What is left out is counted and said.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..artifacts.nested import ABSENT, Changed
from ..display import Column, Screen, Value, count_of
from ..lineage.answers.why import End, Kind, Verdict, group_contrasts
from ..lineage.answers.why_texts import patch_lines
from ..storage.digest import Digest
from .differences import path_of, tell_changed, tell_tally

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..lineage.answers.why import Beside, Cause, Contrast, Pair, Why

__all__ = ["print_reasons"]

FEW = 4  # values of one kind that are named on a terminal
SHOWN = 12  # pairs that are shown on a terminal
CAUSES = (Column("WHAT"), Column("DIFFERENCE", fold=True), Column("WHERE", fold=True))


def print_reasons(screen: Screen, why: Why, *, everything: bool, patch: bool) -> None:
    """Print why two versions differ: on a terminal the causes, then the pairs; in a pipe a row for each fact."""
    if not screen.terminal:
        for row in _rows(why, patch=patch):
            screen.tabbed(row)
        return
    few = None if everything else FEW
    screen.heading(f"{why.old.ref} → {why.new.ref}")
    _print_outcome(screen, why, few)
    if why.causes:
        home = why.new.project
        screen.table(CAUSES, [(one.kind.value, _cause(one, few, home), _where(one, few, home)) for one in why.causes])
    else:
        screen.line(_no_cause(why))
    _print_rest(screen, why)
    for pair in _shown(why, everything=everything):
        screen.line()
        _print_pair(screen, pair, few, why.new.project)
        for file in pair.patches if patch else ():
            for line in patch_lines(file):
                screen.line(f"  {line}", {"+": "32", "-": "31", "@": "36"}.get(line[:1], ""))
    hidden = len(why.pairs) - len(_shown(why, everything=everything))
    if hidden:
        screen.line()
        screen.remark(f"{count_of(hidden, 'more pair')} of versions compared; `--all` shows them")


def _shown(why: Why, *, everything: bool) -> list[Pair]:
    """Return the pairs to show: where a difference enters, and the two asked about, before those in between."""
    if everything or len(why.pairs) <= SHOWN:
        return list(why.pairs)
    wanted = dict.fromkeys(id(one) for one in (why.pairs[-1], *why.points, *why.pairs))
    chosen = set(list(wanted)[:SHOWN])
    return [one for one in why.pairs if id(one) in chosen]


def _print_outcome(screen: Screen, why: Why, few: int | None) -> None:
    """Print what came of it: whoever asks why wants to see by how much."""
    if why.same_content and why.old.id != why.new.id:
        screen.line(f"the content is the same: {Digest(why.new.digest).short}…")
    for pair in why.pairs[-1:]:
        for name, changes in (("summary", pair.summary), ("metadata", pair.metadata)):
            if changes:
                screen.line(f"{name}: {_some([tell_changed(one) for one in changes], few)}")


def _no_cause(why: Why) -> str:
    if why.old.id == why.new.id:
        return "both are one and the same version"
    if why.cut:
        return "what differs lies further back than was asked for"
    return "nothing that was recorded differs"


def _print_rest(screen: Screen, why: Why) -> None:
    if why.cut:
        screen.remark(f"{count_of(why.cut, 'differing input')} not followed further back; without --depth all are")
    if why.unread:
        screen.remark(f"the files of {count_of(why.unread, 'pair')} of versions were not compared; `--all` does")


# The short list


def _where(cause: Cause, few: int | None, home: str) -> str:
    places = [f"{one.job}: {_pair_name(one, home)}" if one.job else _pair_name(one, home) for one in cause.pairs]
    return _some(places, few, "; ")


def _cause(cause: Cause, few: int | None, home: str) -> str:
    pair = cause.pairs[0]
    match cause.kind:
        case Kind.RAW:
            return _raw(pair)
        case Kind.RUN:
            return _run(pair)
        case Kind.NOTHING:
            return "nothing that was recorded differs, but the content does"
        case Kind.INPUT:
            return _some([_beside(one, pair, home) for one in cause.inputs], few)
    return _tell(cause.kind, cause.contrasts, few)


def _raw(pair: Pair) -> str:
    if pair.files is not None and pair.files.tally.paths:
        return tell_tally(pair.files.tally) + ("" if pair.files.complete else " and more")
    return "the content differs"


def _run(pair: Pair) -> str:
    old, new = pair.runs
    if old is not None and new is not None:
        return f"one run made both: {old.id}"
    return "; ".join(note for note in pair.notes if note.startswith("no run"))


def _beside(one: Beside, pair: Pair, home: str) -> str:
    if one.end is End.ITSELF:
        made, source = (
            (pair.new, pair.old) if one.new is not None and one.new.id == pair.old.id else (pair.old, pair.new)
        )
        return f"{_name(made, home)} was made from {_name(source, home)} itself"
    if one.new is None:
        return f"{_names([one.old], home)} is used no more"
    if one.old is None:
        return f"{_names([one.new], home)} is used now"
    text = f"{_name(one.old, home)} → {_name(one.new, home)}"
    return text if one.end is End.FOLLOWED else f"{text} ({one.end.value})"


def _tell(kind: Kind, contrasts: Sequence[Contrast], few: int | None) -> str:
    """Say in words what differs of one kind."""
    if kind is Kind.UNCOMMITTED and all(one.key for one in contrasts):
        return _some([f"{one.key}{_only(one)}" for one in contrasts], few)
    return _some([_contrast(one) for one in contrasts], few)


def _only(one: Contrast) -> str:
    return " (only new)" if one.old is ABSENT else " (only old)" if one.new is ABSENT else ""


def _contrast(one: Contrast) -> str:
    match one.kind:
        case Kind.COMMIT:
            return f"{str(one.old)[:7]} → {str(one.new)[:7]}"
        case Kind.COMMAND:
            return _command(one.old, one.new)
        case Kind.PACKAGE | Kind.UNCOMMITTED if not one.key:
            return "differs"
    return tell_changed(Changed(one.key, one.old, one.new)).strip()


def _command(old: Any, new: Any) -> str:
    """Say how two command lines differ: from the argument before the first that does to the last."""
    if not all(isinstance(one, list) and all(isinstance(word, str) for word in one) for one in (old, new)):
        return "differs"
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    parts = (shlex.join(one[max(start - 1, 0) : len(one) - end]) for one in (old, new))
    return " → ".join(one if len(one) <= 120 else f"{one[:119]}…" for one in parts)


# The pairs


def _print_pair(screen: Screen, pair: Pair, few: int | None, home: str) -> None:
    screen.heading(_pair_name(pair, home) + _runs(pair))
    lines: list[tuple[str, Value]] = []
    if pair.verdict is Verdict.INPUTS:
        lines.append(("  only", "its inputs differ"))
    elif pair.verdict is Verdict.SAME_RUN:
        lines.append(("  run", _run(pair)))
    for kind, ones in group_contrasts(pair.contrasts).items():
        lines.append((f"  {kind.value}", _tell(kind, ones, few)))
    if pair.inputs:
        lines.append(("  inputs", _some([_beside(one, pair, home) for one in pair.inputs], few)))
    if pair.files is not None and pair.files.tally.paths:
        lines.append(("  files", _raw(pair)))
        some = [path_of(one) for one in pair.files.first]
        rest = pair.files.tally.paths - len(some)
        some += [f"{rest:,} more: `art diff {pair.old.ref} {pair.new.ref}`"] if rest > 0 else []
        lines += [("", one) for one in some]
    for name, changes in (("summary", pair.summary), ("metadata", pair.metadata)):
        if changes:
            lines.append((f"  {name}", _some([tell_changed(one) for one in changes], few)))
    lines += [("  note", note) for note in pair.notes]
    screen.pairs(lines or [("  same", "nothing that was recorded differs")])


def _runs(pair: Pair) -> str:
    old, new = pair.runs
    if old is None and new is None:
        return ""
    if old is not None and new is not None and old.id == new.id:
        return f"  {pair.job} {old.id}"
    return f"  {pair.job}: {' → '.join('none known' if one is None else one.id for one in (old, new))}"


def _pair_name(pair: Pair, home: str) -> str:
    old, new = pair.old, pair.new
    same = (old.project, old.collection) == (new.project, new.collection)
    return f"{_name(old, home)} → {new.version if same else _name(new, home)}"


def _name(version: VersionRecord, home: str) -> str:
    name = version.name if version.project == home else version.ref
    return name if version.state == "live" else f"{name} ({version.state})"


def _names(versions: Sequence[VersionRecord | None], home: str) -> str:
    return ", ".join(_name(one, home) for one in versions if one is not None)


def _some(parts: Sequence[str], few: int | None, between: str = ", ") -> str:
    """Join what there is; past a few, say how many more there are."""
    rest = 0 if few is None else len(parts) - few
    return between.join([*parts[:few], f"{rest:,} more (--all)"] if rest > 0 else parts)


# For programs


def _rows(why: Why, *, patch: bool) -> Iterator[list[str]]:
    """Yield a row for each fact: the two versions, what it is, its key, and the values before and after."""
    for pair in why.pairs:
        head = [pair.old.ref, pair.new.ref]
        yield [*head, "verdict", pair.verdict.value, *("" if one is None else one.id for one in pair.runs)]
        for one in pair.contrasts:
            yield [*head, one.kind.value, one.key, _json(one.old), _json(one.new)]
        for beside in pair.inputs:
            ends = ("" if end is None else end.ref for end in (beside.old, beside.new))
            yield [*head, "input", beside.end.value, *ends]
        if pair.files is not None:
            for what, count in pair.files.tally.counts.items():
                if count.paths:
                    yield [*head, "files", what.value, "", str(count.paths)]
        for name, changes in (("summary", pair.summary), ("metadata", pair.metadata)):
            for change in changes:
                yield [*head, name, change.key, _json(change.old), _json(change.new)]
        for file in pair.patches if patch else ():
            yield [*head, "patch", file.path, *("" if text is None else _json(text) for text in (file.old, file.new))]
        for note in pair.notes:
            yield [*head, "note", note, "", ""]


def _json(value: Any) -> str:
    return "" if value is ABSENT else json.dumps(value, ensure_ascii=False)
