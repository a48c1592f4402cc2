"""Two versions' histories, read and compared: what `why.py` makes its answer of.

Knows the rows of a history, and where texts and manifests are; must not know how an answer is printed. All rows are
read in one transaction, in batches, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...artifacts.comparison import compare_versions
from ...artifacts.nested import ABSENT
from ...artifacts.reading import read_records
from ...storage.database import select_in
from ...storage.digest import Digest
from ...storage.errors import InvalidInput, LineartError, StoreUnavailable
from ..closure import UP, Found, walk
from ..runs import PRODUCED, iso_time, read_runs
from .makers import makers_first
from .why import Beside, Contrast, End, Files, Kind, Pair, Verdict, Why
from .why_steps import History, Known, Step, contrast_runs, match_steps
from .why_texts import PatchedFile, Texts, changed_packages, patched_files

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ...artifacts.catalog import Catalog
    from ...artifacts.records import VersionRecord
    from ...storage.chunks import ChunkStore
    from ..runs import RunRecord

__all__ = ["FILES", "explain"]

FILES = 50  # pairs of versions whose files are compared, unless more are asked for
FIRST = 5  # paths that are named of two versions whose files differ
HOLD = 20_000  # differing paths after which it is said that there are more
TOGETHER = 16  # pairs whose texts are held at once
NAMED = 4  # runs that a note names
AT_ONCE = 60_000_000  # µs between a version and its first run's edge, past which that run found the version there

_VERSIONS = (
    "SELECT v.id, v.collection, c.key, v.number, v.digest FROM version v JOIN collection c ON c.id = v.collection "
    "WHERE v.id {in}"
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the database says."""

    steps: Sequence[Step]
    versions: dict[int, VersionRecord]
    runs: dict[str, RunRecord]
    logged: dict[tuple[int, str], int]  # when a version was logged by a run: µs since the epoch


def explain(
    catalog: Catalog,
    old: VersionRecord,
    new: VersionRecord,
    *,
    depth: int | None = None,
    files: int | None = FILES,
    patches: bool = False,
) -> Why:
    """Return why a version differs from another: where their histories part.

    `depth` bounds how many steps are followed back, `files` of how many pairs of versions the files are compared
    (those at which a difference enters come first); None is all. With `patches` the texts of uncommitted changes that
    differ are kept. Raises InvalidInput for a number below 0, and StoreUnavailable; chunks that are lost or damaged are
    named in the answer.
    """
    for what, number in (("depth", depth), ("files", files)):
        if number is not None and number < 0:
            raise InvalidInput(f"{what} {number}: it is 0 or more")
    if old.id == new.id:
        return Why(old, new, ())
    rows = catalog.engine.database.read(lambda connection: _read(connection, old.id, new.id, depth))
    chunks = catalog.engine.chunks
    pairs = _with_texts([_pair(rows, step) for step in rows.steps], Texts(chunks.get_many), patches=patches)
    cut = sum(one.end is End.CUT for step in rows.steps for one in step.inputs)
    pairs, unread = _with_files(pairs, chunks, files)
    return Why(old, new, tuple(pairs), cut, unread)


def _read(connection: Connection, old: int, new: int, depth: int | None) -> _Rows:
    found = Found()
    walk(connection, found, [old, new], None if depth is None else depth + 1, UP)
    makers: dict[int, list[str]] = {}
    inputs: dict[str, list[int]] = {}
    for edge in found.edges:
        if edge.direction == PRODUCED:
            makers.setdefault(edge.version, []).append(edge.run)
        else:
            inputs.setdefault(edge.run, []).append(edge.version)
    known = {
        row[0]: Known(row[1], row[2], row[3], bytes(row[4])) for row in select_in(connection, _VERSIONS, found.versions)
    }
    steps = match_steps(History(known, makers_first(makers, inputs), inputs), old, new, depth)
    versions = {one for step in steps for one in (step.old, step.new)}
    versions |= {one for step in steps for beside in step.inputs for one in beside[:2] if one is not None}
    runs = {one for step in steps for one in step.runs if one is not None}
    first = {end for step in steps for end in zip((step.old, step.new), step.runs, strict=True)}
    times = ((edge.version, edge.run, edge.time) for edge in found.edges if edge.direction == PRODUCED)
    logged = {(version, run): time for version, run, time in times if (version, run) in first}
    return _Rows(steps, read_records(connection, sorted(versions)), read_runs(connection, sorted(runs)), logged)


def _pair(rows: _Rows, step: Step) -> Pair:
    """Return what rows alone say of two versions."""
    old, new = (None if one is None else rows.runs.get(one) for one in step.runs)
    contrasts, notes = ([], []) if old is None or new is None or old.id == new.id else contrast_runs(old, new)
    known = rows.versions
    ends = tuple(
        Beside(None if one.old is None else known[one.old], None if one.new is None else known[one.new], one.end)
        for one in step.inputs
    )
    versions = known[step.old], known[step.new]
    if (old is None) != (new is None):  # where none is known of either, there is nothing to compare with
        notes.append(f"no run is known that made {versions[new is None].ref}")
    for version, run, others in zip(versions, step.runs, step.others, strict=True):
        logged = rows.logged.get((version.id, run or ""), version.created)
        if logged - version.created > AT_ONCE:
            notes.append(
                f"{version.ref} was there since {iso_time(version.created)}; {run}, the first run that is known to have"
                f" logged it, did so {iso_time(logged)}"
            )
        if others:
            notes.append(
                f"{run} made {version.ref} first and is compared; {_some(others)} logged the same content again"
            )
    return Pair(
        *versions,
        depth=step.depth,
        runs=(old, new),
        raw=step.raw,
        inputs=ends,
        contrasts=tuple(contrasts),
        files=None,
        patches=(),
        notes=tuple(notes),
        also=step.others,
    )


def _some(runs: Sequence[str]) -> str:
    if len(runs) <= NAMED:
        return " and ".join([*([", ".join(runs[:-1])] if len(runs) > 1 else []), runs[-1]])
    return f"{', '.join(runs[:NAMED])}, {len(runs) - NAMED} more (--json)"


# Texts


def _with_texts(pairs: Sequence[Pair], texts: Texts, *, patches: bool) -> list[Pair]:
    """Say which packages and which uncommitted files differ, where only that they do was known."""
    out: list[Pair] = []
    for start in range(0, len(pairs), TOGETHER):
        part = pairs[start : start + TOGETHER]
        texts.fetch([end for pair in part for one in pair.contrasts if _is_text(one) for end in (one.old, one.new)])
        out += [_told(pair, texts, patches=patches) for pair in part]
    return out


def _told(pair: Pair, texts: Texts, *, patches: bool) -> Pair:
    contrasts: list[Contrast] = []
    kept: list[PatchedFile] = []
    notes = list(pair.notes)
    for one in pair.contrasts:
        if not _is_text(one):
            contrasts.append(one)
            continue
        old, new = texts.text(one.old), texts.text(one.new)
        if old is None or new is None:
            trouble = texts.trouble(one.old) or texts.trouble(one.new)
            notes.append(f"{one.kind.value}: what was recorded cannot be read: {trouble}")
            contrasts.append(one)
        elif one.kind is Kind.PACKAGE:
            contrasts += [Contrast(one.kind, *changed) for changed in changed_packages(old, new)]
        else:
            differing = patched_files(old, new)
            kept += differing if patches else []
            contrasts += [_uncommitted(file) for file in differing]
    return replace(pair, contrasts=tuple(contrasts), patches=tuple(kept), notes=tuple(notes))


def _is_text(one: Contrast) -> bool:
    return one.kind in {Kind.PACKAGE, Kind.UNCOMMITTED}


def _uncommitted(file: PatchedFile) -> Contrast:
    """Return the contrast of two patches of a file, by their digests: the texts stay with the pair."""
    ends = (ABSENT if text is None else str(Digest.of(text.encode())) for text in (file.old, file.new))
    return Contrast(Kind.UNCOMMITTED, file.path, *ends)


# Files


def _with_files(pairs: Sequence[Pair], chunks: ChunkStore, most: int | None) -> tuple[list[Pair], int]:
    """Compare the files of pairs, those at which a difference enters first; say of how many that was not done."""
    wanted = [at for at, one in enumerate(pairs) if not one.same_content]
    wanted.sort(key=lambda at: (pairs[at].depth > 0, pairs[at].verdict is Verdict.INPUTS))
    out = list(pairs)
    for at in wanted[:most]:
        out[at] = _compared(pairs[at], chunks)
    return out, 0 if most is None else max(len(wanted) - most, 0)


def _compared(pair: Pair, chunks: ChunkStore) -> Pair:
    try:
        found = compare_versions(chunks, pair.old, pair.new, hold=HOLD)
        first = tuple(one for one, _ in zip(found, range(FIRST), strict=False))
        return replace(pair, files=Files(found.glimpse, first, found.complete))
    except StoreUnavailable:
        raise
    except LineartError as error:
        return replace(pair, notes=(*pair.notes, f"the files could not be compared: {error}"))
