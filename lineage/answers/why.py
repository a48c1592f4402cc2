"""Why two versions differ: the values of the answer, and the points at which two histories part.

Knows what was compared and how that is put together; must not know rows, chunks or how an answer is printed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ...artifacts.nested import Changed, nested_changes

if TYPE_CHECKING:
    from ...artifacts.comparison import Delta, Tally
    from ...artifacts.records import VersionRecord
    from ..runs import RunRecord
    from .why_texts import PatchedFile

__all__ = ["Beside", "Cause", "Contrast", "End", "Files", "Kind", "Pair", "Verdict", "Why", "group_contrasts"]


class Kind(StrEnum):
    """What of a history differs; the order is the one in which an answer names them."""

    RAW = "raw data"
    RUN = "run"  # that is not known, or is one and the same
    JOB = "job type"
    STATE = "run state"
    CONFIG = "config"
    COMMIT = "commit"
    UNCOMMITTED = "uncommitted"
    PACKAGE = "packages"
    PYTHON = "python"
    PLATFORM = "platform"
    INPUT = "input"
    NOTHING = "nothing recorded"
    COMMAND = "command line"  # from here on: what seldom matters
    DIRECTORY = "directory"
    BRANCH = "branch"
    REMOTE = "remote"
    HOST = "host"
    USER = "user"
    EXECUTABLE = "executable"
    CPUS = "cpus"

    @property
    def minor(self) -> bool:
        """Whether it is a reason only where there is no other."""
        return self in _MINOR


_MINOR = frozenset(list(Kind)[list(Kind).index(Kind.COMMAND) :])


class Contrast(NamedTuple):
    """One thing recorded of two runs that differs; ABSENT where there is none. `key` is a config key or a package."""

    kind: Kind
    key: str
    old: Any
    new: Any

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it; a value that is absent is left out."""
        return {"what": self.kind.value, **Changed(self.key, self.old, self.new).to_json()}


class End(StrEnum):
    """What became of an input that differs."""

    FOLLOWED = "followed"  # the two are a pair of their own
    SAME = "same content"
    ITSELF = "itself"  # the one version was made from the other
    ONLY = "only one"
    CUT = "not followed"  # the depth, or the number of pairs, ended here


class Beside(NamedTuple):
    """Inputs of one collection that differ: None where one run used none that answers to the other's."""

    old: VersionRecord | None
    new: VersionRecord | None
    end: End

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        ends = {name: None if one is None else one.ref for name, one in (("old", self.old), ("new", self.new))}
        return {**ends, "end": self.end.value}


class Verdict(StrEnum):
    """Where two versions' difference comes from."""

    RAW = "raw"  # neither has recorded inputs, and the runs, if any, are alike: it came from outside
    RUNS = "runs"  # what made them differs
    UNKNOWN = "no run known"  # of one of them
    SAME_RUN = "one run"  # made both
    MINOR = "minor"  # nothing differs but what seldom matters
    NOTHING = "nothing recorded"
    INPUTS = "inputs"  # nothing of their own: it comes from further back


@dataclass(frozen=True, slots=True)
class Files:
    """How the files of two versions differ: counts, and the first few paths; `complete` is False where it is more."""

    tally: Tally
    first: tuple[Delta, ...]
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        paths = [{"what": one.what.value, "path": one.path} for one in self.first]
        return {**self.tally.to_json(), "complete": self.complete, "first": paths}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions that stand in the same place of two histories.

    `runs` are those that made them first, or None; `also` those that logged the same content again. `files` is None
    where the files were not compared; where they could not be, or anything else was not to be had, `notes` say so.
    """

    old: VersionRecord
    new: VersionRecord
    depth: int
    runs: tuple[RunRecord | None, RunRecord | None]
    raw: bool
    inputs: tuple[Beside, ...]
    contrasts: tuple[Contrast, ...]
    files: Files | None
    patches: tuple[PatchedFile, ...]
    notes: tuple[str, ...]
    also: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def same_content(self) -> bool:
        """Whether both hold the same bytes under the same paths."""
        return self.old.digest == self.new.digest

    @property
    def job(self) -> str | None:
        """What the run that made the new version is called: its job type, or its name."""
        run = self.runs[1] or self.runs[0]
        return None if run is None else run.job_type or run.name

    @property
    def metadata(self) -> list[Changed]:
        """How the versions' metadata differ."""
        return nested_changes(self.old.metadata, self.new.metadata)

    @property
    def summary(self) -> list[Changed]:
        """How the summaries of the runs differ."""
        old, new = self.runs
        return [] if old is None or new is None or old.id == new.id else nested_changes(old.summary, new.summary)

    @property
    def verdict(self) -> Verdict:
        """Where their difference comes from."""
        old, new = self.runs
        if old is None or new is None:
            return Verdict.RAW if self.raw else Verdict.UNKNOWN
        if old.id == new.id:
            return Verdict.SAME_RUN
        ends = {one.end for one in self.inputs}
        if any(not one.kind.minor for one in self.contrasts) or ends & {End.ONLY, End.ITSELF}:
            return Verdict.RUNS
        if ends & {End.FOLLOWED, End.CUT}:
            return Verdict.INPUTS
        if self.raw:
            return Verdict.RAW
        return Verdict.MINOR if self.contrasts else Verdict.NOTHING

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "old": self.old.ref,
            "new": self.new.ref,
            "depth": self.depth,
            "same_content": self.same_content,
            "verdict": self.verdict.value,
            "runs": [None if one is None else one.id for one in self.runs],
            "also": [list(one) for one in self.also],
            "contrasts": [one.to_json() for one in self.contrasts],
            "inputs": [one.to_json() for one in self.inputs],
            "files": None if self.files is None else self.files.to_json(),
            "patches": [one.to_json() for one in self.patches],
            "metadata": [one.to_json() for one in self.metadata],
            "summary": [one.to_json() for one in self.summary],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason, and the pairs at which it enters the histories; `contrasts` is empty where `kind` says it all."""

    kind: Kind
    contrasts: tuple[Contrast, ...]
    inputs: tuple[Beside, ...]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "kind": self.kind.value,
            "contrasts": [one.to_json() for one in self.contrasts],
            "inputs": [one.to_json() for one in self.inputs],
            "at": [one.new.ref for one in self.pairs],
        }


@dataclass(frozen=True)
class Why:
    """The answer to why a version differs from another.

    `pairs` are all that were compared, from raw data on: whatever a version was made from stands before it, and the two
    that were asked about stand last. `cut` is how many differing inputs were not followed, `unread` of how many pairs
    the files were not compared.
    """

    old: VersionRecord
    new: VersionRecord
    pairs: tuple[Pair, ...]
    cut: int = 0
    unread: int = 0

    @property
    def same_content(self) -> bool:
        """Whether both hold the same bytes under the same paths."""
        return self.old.digest == self.new.digest

    @cached_property
    def points(self) -> tuple[Pair, ...]:
        """The pairs at which a difference enters: that have one which does not come from further back."""
        return tuple(one for one in self.pairs if _is_point(one))

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """The short answer: each difference that enters once, with all the places where it does, from raw data on."""
        found: dict[Any, tuple[Cause, list[Pair]]] = {}
        for pair in self.points:
            for cause in _causes_of(pair):
                # What is one change of one thing (a commit, a package) is one cause, however many steps it touches.
                key = (cause.kind, repr(cause.contrasts)) if cause.contrasts else (cause.kind, pair.old.id, pair.new.id)
                found.setdefault(key, (cause, []))[1].append(pair)
        return tuple(Cause(one.kind, one.contrasts, one.inputs, tuple(pairs)) for one, pairs in found.values())

    def __bool__(self) -> bool:
        """Whether anything that was recorded differs."""
        return any(one.kind is not Kind.NOTHING for one in self.causes)

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints: the causes first, then every pair that was compared."""
        return {
            "old": self.old.ref,
            "new": self.new.ref,
            "same_content": self.same_content,
            "complete": not self.cut,
            "cut": self.cut,
            "unread": self.unread,
            "causes": [one.to_json() for one in self.causes],
        }


def _is_point(pair: Pair) -> bool:
    if pair.verdict is Verdict.INPUTS:
        return False
    # Of the two that were asked about, the content may be the same: then only what differs in their making counts.
    return not pair.same_content or pair.verdict in {Verdict.RUNS, Verdict.MINOR}


def _causes_of(pair: Pair) -> list[Cause]:
    here = (pair,)
    match pair.verdict:
        case Verdict.UNKNOWN | Verdict.SAME_RUN:
            return [Cause(Kind.RUN, (), (), here)]
        case Verdict.RAW:
            return [Cause(Kind.RAW, (), (), here)]
        case Verdict.NOTHING:
            return [Cause(Kind.NOTHING, (), (), here)]
    by_kind = group_contrasts(pair.contrasts)
    if pair.verdict is Verdict.RUNS:
        by_kind = {kind: ones for kind, ones in by_kind.items() if not kind.minor}
    causes = [Cause(kind, ones, (), here) for kind, ones in by_kind.items()]
    beside = tuple(one for one in pair.inputs if one.end in {End.ONLY, End.ITSELF})
    if beside:
        causes.append(Cause(Kind.INPUT, (), beside, here))
    return causes or [Cause(Kind.NOTHING, (), (), here)]


def group_contrasts(contrasts: Iterable[Contrast]) -> Mapping[Kind, tuple[Contrast, ...]]:
    """Return contrasts by their kind, in the order in which an answer names kinds."""
    found: dict[Kind, list[Contrast]] = {}
    for one in contrasts:
        found.setdefault(one.kind, []).append(one)
    return {kind: tuple(found[kind]) for kind in Kind if kind in found}
