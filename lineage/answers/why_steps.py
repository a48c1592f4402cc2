"""Which versions of two histories answer to each other, and what differs between the runs that made them.

Knows the rows of a history as plain numbers, and records of runs; must not know where they come from. Pure: no
recursion, each pair is visited once, and what is not followed is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ...artifacts.nested import ABSENT, nested_changes
from ..masking import MASK
from .why import Contrast, End, Kind

if TYPE_CHECKING:
    from ..runs import RunRecord

__all__ = ["History", "Input", "Known", "Step", "contrast_runs", "match_steps"]

PAIRS = 50_000  # that are compared; what lies further back is counted


class Known(NamedTuple):
    """What matching needs of a version."""

    collection: int  # its row
    name: str  # of the collection, as it is compared
    number: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class History:
    """What two versions came from: versions by row id, runs by id."""

    versions: Mapping[int, Known]
    makers: Mapping[int, Sequence[str]]  # of a version: the first made it
    inputs: Mapping[str, Sequence[int]]  # of a run, in the order of use

    def step(self, old: int, new: int, depth: int) -> Step:
        """Return two versions with the runs that made them first."""
        before, after = (self.makers.get(one, ()) for one in (old, new))
        runs = next(iter(before), None), next(iter(after), None)
        return Step(old, new, depth, runs, (tuple(before[1:]), tuple(after[1:])))


class Input(NamedTuple):
    """Inputs of one collection that differ, by row id."""

    old: int | None
    new: int | None
    end: End


@dataclass(slots=True)
class Step:
    """Two versions that answer to each other, the runs that made them, and the inputs that differ."""

    old: int
    new: int
    depth: int
    runs: tuple[str | None, str | None]
    others: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # that logged the same content, and are not compared
    raw: bool = False  # whether neither run, if any is known, used anything
    inputs: list[Input] = field(default_factory=list)

    @property
    def followed(self) -> Iterator[tuple[int, int]]:
        """The pairs that this one is followed back to."""
        for one in self.inputs:
            if one.end is End.FOLLOWED and one.old is not None and one.new is not None:
                yield one.old, one.new


def match_steps(history: History, old: int, new: int, depth: int | None = None, *, most: int = PAIRS) -> list[Step]:
    """Return the pairs of versions to compare, from raw data on; the two asked about are the last.

    Inputs answer to each other by collection, or else by a collection of the same name in another project: what both
    runs used is alike, equal content is alike, and of the rest the lowest numbers are paired. A pair is followed back
    unless its content is the same, the one was made from the other, it lies deeper than `depth` steps, or `most` pairs
    are reached.

    >>> known = {1: Known(1, "raw", 0, b"a"), 2: Known(1, "raw", 1, b"b")}
    >>> known |= {3: Known(2, "model", 0, b"c"), 4: Known(2, "model", 1, b"d")}
    >>> history = History(known, {3: ["r1"], 4: ["r2"]}, {"r1": [1], "r2": [2]})
    >>> [(one.old, one.new) for one in match_steps(history, 3, 4)]
    [(1, 2), (3, 4)]
    """
    steps: dict[tuple[int, int], Step] = {}
    found = {(old, new)}
    queue = deque([(old, new, 0)])
    while queue:
        x, y, level = queue.popleft()
        step = steps[x, y] = history.step(x, y, level)
        _add_inputs(history, step)
        for at, one in enumerate(step.inputs):
            if one.end is not End.FOLLOWED or one.old is None or one.new is None or (one.old, one.new) in found:
                continue
            if (depth is not None and level >= depth) or len(found) >= most:
                step.inputs[at] = one._replace(end=End.CUT)
            else:
                found.add((one.old, one.new))
                queue.append((one.old, one.new, level + 1))
    return _inputs_first(steps, (old, new))


def _add_inputs(history: History, step: Step) -> None:
    """Give a step the inputs that differ between its runs, by collection in the order of use."""
    before, after = step.runs
    # A run may use what it logs: that is no input of the version.
    used = [one for one in history.inputs.get(before or "", ()) if one != step.old]
    uses = [one for one in history.inputs.get(after or "", ()) if one != step.new]
    step.raw = not used and not uses
    if before == after or before is None or after is None:
        return
    both = {*used} & {*uses}
    ours, theirs = _by_collection(history, used, both), _by_collection(history, uses, both)
    for collection, versions in ours.items():
        twin = collection if collection in theirs else _namesake(history, versions[0], ours, theirs)
        step.inputs += _pair_up(history, versions, theirs.pop(twin, []) if twin is not None else [], step)
    for versions in theirs.values():
        step.inputs += _pair_up(history, [], versions, step)


def _namesake(
    history: History, version: int, ours: Mapping[int, list[int]], theirs: Mapping[int, list[int]]
) -> int | None:
    """Return a collection of the same name in another project that nothing of the one side is of."""
    name = history.versions[version].name
    there = (one for one, found in theirs.items() if history.versions[found[0]].name == name)
    return next((one for one in there if one not in ours), None)


def _by_collection(history: History, versions: Iterable[int], but: set[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for one in dict.fromkeys(versions):
        if one not in but:
            found.setdefault(history.versions[one].collection, []).append(one)
    for ones in found.values():
        ones.sort(key=lambda one: history.versions[one].number)
    return found


def _pair_up(history: History, ours: list[int], theirs: list[int], step: Step) -> Iterable[Input]:
    """Yield pairs of versions of one collection; what is left on one side stands alone."""
    alike: dict[bytes, list[int]] = {}
    for one in theirs:
        alike.setdefault(history.versions[one].digest, []).append(one)
    left = []
    for one in ours:
        same = alike.get(history.versions[one].digest)
        if same:
            twin = same.pop(0)
            theirs = [other for other in theirs if other != twin]
            yield Input(one, twin, End.SAME)
        else:
            left.append(one)
    pairs = [*zip(left, theirs, strict=False)]
    for x, y in pairs:
        yield Input(x, y, End.ITSELF if step.old == y or step.new == x else End.FOLLOWED)
    for x in left[len(pairs) :]:
        yield Input(x, None, End.ITSELF if x == step.new else End.ONLY)
    for y in theirs[len(pairs) :]:
        yield Input(None, y, End.ITSELF if y == step.old else End.ONLY)


def _inputs_first(steps: Mapping[tuple[int, int], Step], top: tuple[int, int]) -> list[Step]:
    """Return steps so that each stands behind those it came from; in a cycle, behind those first met."""
    order: list[Step] = []
    seen = {top}
    stack = [(top, steps[top].followed)]
    while stack:
        key, rest = stack[-1]
        pair = next((one for one in rest if one not in seen), None)
        if pair is None:
            order.append(steps[key])
            stack.pop()
        else:
            seen.add(pair)
            stack.append((pair, steps[pair].followed))
    return order


def contrast_runs(old: RunRecord, new: RunRecord) -> tuple[list[Contrast], list[str]]:
    """Return what differs of what was recorded of two runs, and notes on what cannot be said.

    Uncommitted changes and packages are only known to differ here: their texts are stored elsewhere.
    """
    before, after = _object(old.code.get("git")), _object(new.code.get("git"))
    here, there = old.environment, new.environment
    found = [
        *_stored(Kind.JOB, old.job_type, new.job_type, known=True),
        *_differing(Kind.STATE, old.state, new.state),
        *(Contrast(Kind.CONFIG, *one) for one in nested_changes(old.config, new.config)),
        *_differing(Kind.COMMIT, before.get("commit"), after.get("commit")),
        *_stored(Kind.UNCOMMITTED, old.code.get("diff"), new.code.get("diff"), known=bool(before and after)),
        *_stored(Kind.PACKAGE, here.get("packages"), there.get("packages"), known=False),
        *_differing(Kind.PYTHON, _python(here), _python(there)),
        *_differing(Kind.PLATFORM, here.get("platform"), there.get("platform")),
        *_differing(Kind.COMMAND, old.code.get("command"), new.code.get("command")),
        *_differing(Kind.DIRECTORY, old.code.get("directory"), new.code.get("directory")),
        *_differing(Kind.BRANCH, before.get("branch"), after.get("branch")),
        *_differing(Kind.REMOTE, before.get("remote"), after.get("remote")),
        *_differing(Kind.HOST, here.get("host"), there.get("host")),
        *_differing(Kind.USER, here.get("user"), there.get("user")),
        *_differing(Kind.EXECUTABLE, here.get("executable"), there.get("executable")),
        *_differing(Kind.CPUS, here.get("cpus"), there.get("cpus")),
    ]
    return found, _notes(old, new)


def _differing(kind: Kind, old: Any, new: Any) -> list[Contrast]:
    """Return the contrast of two values, if they differ; of what was not recorded on one side nothing is known."""
    return [] if old == new or old is None or new is None else [Contrast(kind, "", old, new)]


def _stored(kind: Kind, old: Any, new: Any, *, known: bool) -> list[Contrast]:
    """Return the contrast of two values, where none may mean that there was nothing: that is so if `known`."""
    if old == new or not (known or (old and new)):
        return []
    return [Contrast(kind, "", old or ABSENT, new or ABSENT)]


def _python(environment: Mapping[str, Any]) -> str | None:
    """Return Python's version, with its maker where that is not the usual one."""
    version, maker = environment.get("python"), environment.get("implementation")
    return None if version is None else f"{version}" if maker in {None, "CPython"} else f"{maker} {version}"


def _notes(old: RunRecord, new: RunRecord) -> list[str]:
    notes = []
    for what in ("git commit", "package list"):
        silent = [run.id for run in (old, new) if not (run.commit if what == "git commit" else _packages(run))]
        if silent:
            notes.append(f"the {what} of {' and '.join(silent)} is not recorded")
    for run in (old, new):
        if run.code.get("diff_cut"):
            notes.append(f"the uncommitted changes of {run.id} were too long to be recorded whole")
        git = _object(run.code.get("git"))
        if git.get("dirty") and not run.code.get("diff"):
            notes.append(f"what {run.id} had uncommitted is not recorded")
    masked = sorted(_masked(old.config) & _masked(new.config))
    if masked:
        notes.append(f"masked values cannot be compared: {', '.join(masked)}")
    return notes


def _packages(run: RunRecord) -> Any:
    return run.environment.get("packages")


def _masked(config: Mapping[str, Any]) -> set[str]:
    return {one.key for one in nested_changes({}, config) if one.new == MASK and one.old is ABSENT}


def _object(value: Any) -> dict[str, Any]:
    """Return a JSON object, and an empty one where a store holds something else in its place."""
    return value if isinstance(value, dict) else {}
