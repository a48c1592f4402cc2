"""The same work on Lineart and on its peers, each step a whole process.

Knows the order in which things are timed. The systems take turns step by step, so that what one step of one of them is
compared with ran next to it; each round begins with another system. A ratio is the median over the rounds of the ratio
within one round: copying on tmpfs wobbles on virtual machines, whose host hands out memory when it is first written.
Most of it is written once before anything is timed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from .environments import PACKAGES, SYSTEM_PACKAGES, NotInstalled, environment, system_package
from .report import NOTHING, TIMES, Figure, Options, Report, scratch
from .systems import NATIVE, OWN_TREE, SYSTEMS, TITLES, Make, System, installed, prepare, version_of
from .timing import Timed, hand_out, median_of, memory_left, run_timed, size_of
from .trees import Tree, trees

STEPS = ("log", "log again", "log changed", "fetch")
ESSENTIAL = {"lineart", "cp"}  # without which there is nothing to compare
EACH = 3  # times the tree: what one system takes of memory, about
ROOM = 24  # times the tree: what all systems together take of memory
FIRST = """
import lineart, os
draft = lineart.Artifact("x")
draft.add_bytes(b"x", "x")
lineart.create(os.environ["LINEART_STORE"]).log(draft)
"""
ART = str(Path(sys.executable).with_name("art"))
START_UP = {
    "import lineart": ([sys.executable, "-c", "import lineart"], 150.0),
    "art --help": ([ART, "--help"], 250.0),
    "art ls": ([ART, "ls"], None),
}
# What is promised: of which tree and step, beside whom, at most how many times as long.
PROMISES = (
    ("small", "log", "borg", 0.75),
    ("small", "log", "dvc", 0.25),
    ("big", "log", "cp", 2.0),
    ("big", "log", "borg", 0.6),
    ("big", "log changed", "borg", 0.6),
    ("big", "fetch", "cp", 1.3),
)
GROWTH = 16.0  # MiB that the changes of the big tree may add


@dataclass
class Round:
    """What one round found, by system and step."""

    timed: dict[str, dict[str, Timed]] = field(default_factory=dict)
    stored: dict[str, dict[str, float]] = field(default_factory=dict)  # MiB after each log
    failed: dict[str, str] = field(default_factory=dict)  # by system: its last words

    def ratio(self, name: str, step: str, beside: str) -> float:
        """Return how many times as long as another system it took."""
        return self.timed[name][step].wall / self.timed[beside][step].wall


def ratio_of(rounds: Sequence[Round], name: str, step: str, beside: str) -> float | None:
    """Return the median of a ratio; None where one of the two did not get there."""
    ratios = [one.ratio(name, step, beside) for one in rounds if {name, beside}.isdisjoint(one.failed)]
    return statistics.median(ratios) if ratios else None


def measure_start_up(options: Options, report: Report) -> None:
    """Time the smallest things."""
    figures = []
    with scratch(options) as work:
        variables = {"LINEART_STORE": str(work / "store"), "LINEART_CACHE_DIR": str(work / "cache"), "HOME": str(work)}
        run_timed([sys.executable, "-c", FIRST], work, variables)
        for label, (command, limit) in START_UP.items():
            walls = sorted(run_timed(command, work, variables).wall for _ in range(options.again))
            least = f"median of {len(walls)}; least {walls[0] * 1000:.0f}"
            figures.append(Figure(f"`{label}`", statistics.median(walls) * 1000, "ms", limit, least))
    report.add("Starting, whole processes", figures)


def measure(options: Options, report: Report) -> None:
    """Time every tree on every system that is here."""
    places = find_systems(options, report)
    for name in options.trees:
        tree = trees(tiny=options.tiny)[name]
        with scratch(options) as work:
            enough = shutil.disk_usage(work).free > ROOM * tree.size and memory_left() > ROOM * tree.size
            hand_out(work, EACH * len(places) * tree.size)
        for group in groups(list(places), together=enough):
            rounds = []
            for turn in range(options.repeat):
                with scratch(options) as work:
                    rounds.append(run_round(group, places, tree, work, turn=turn, settle=options.settle))
            show(report, name, tree, group, rounds)


def find_systems(options: Options, report: Report) -> dict[str, Path]:
    """Return the systems that can be run, with the folders of their environments; say what is missing, and why."""
    wanted = options.systems or (NATIVE + tuple(PACKAGES) if options.peers else NATIVE)
    found: dict[str, Path] = {}
    for name in wanted:
        try:
            if name in PACKAGES:
                found[name], version = environment(name, options.environments)
            else:
                if not installed(name):
                    _install(name, allowed=options.peers)
                found[name], version = Path(), version_of(name)
        except NotInstalled as error:
            report.fact(name, f"left out, not installed: {error}")
            continue
        report.fact(name, version)
    return found


def _install(name: str, *, allowed: bool) -> None:
    if not allowed:
        raise NotInstalled(f"not on PATH; --peers adds the system's package {SYSTEM_PACKAGES[name]}")
    system_package(name)


def groups(names: Sequence[str], *, together: bool) -> list[list[str]]:
    """Return who takes turns with whom: everybody, or where memory is too little the peers apart, beside `cp`, too."""
    peers = [name for name in names if name in PACKAGES]
    if together or not peers or "cp" not in names:
        return [list(names)]
    return [[name for name in names if name not in PACKAGES], ["cp", *peers]]


def run_round(
    names: Sequence[str],
    places: Mapping[str, Path],
    tree: Tree,
    work: Path,
    *,
    turn: int,
    settle: float,
    makes: Mapping[str, Make] = SYSTEMS,
) -> Round:
    """Log a tree, log it again, log it changed, fetch it: each step on every system in turn, in fresh folders."""
    found = Round()
    tree.make(work / "data")
    systems: dict[str, System] = {}
    for name in names:
        here = work / name
        here.mkdir()
        systems[name] = makes[name](here, work / "data", places[name])
        found.timed[name], found.stored[name] = {}, {}
        if name in OWN_TREE:
            tree.make(here / "data")
        _try(found, "prepare", name, partial(prepare, systems[name], here))
    first = turn % len(names)
    for step in STEPS:
        if step == "log changed":
            for data in [work / "data", *(work / name / "data" for name in names if name in OWN_TREE)]:
                tree.change(data)
        time.sleep(settle)
        for name in [*names[first:], *names[:first]]:
            if name not in found.failed:
                _try(found, step, name, partial(_run_step, found, step, name, systems[name], work / name))
    return found


def _try(found: Round, step: str, name: str, work: Callable[[], None]) -> None:
    """Do a step; a peer that fails is left out from there on."""
    try:
        work()
    except RuntimeError as error:
        if name in ESSENTIAL:
            raise
        found.failed[name] = f"{step} failed: {str(error).strip().splitlines()[-1]}"


def _run_step(found: Round, step: str, name: str, system: System, here: Path) -> None:
    before = 0.0
    if step == "fetch":
        if system.fetch is None:
            return
        if system.before_fetch:
            shutil.rmtree(here / system.before_fetch, ignore_errors=True)
        found.timed[name][step] = run_timed(system.fetch, here, system.environment)
        shutil.rmtree(here / "out", ignore_errors=True)
        return
    if system.copies:
        before = max(found.stored[name].values(), default=0.0)
        shutil.rmtree(here / system.store, ignore_errors=True)
    found.timed[name][step] = run_timed(system.log, here, system.environment)
    found.stored[name][step] = before + size_of(here / system.store) / 2**20


def show(report: Report, name: str, tree: Tree, group: Sequence[str], rounds: Sequence[Round]) -> None:
    """Print a table of systems by steps, and what was promised."""
    for system, words in {name: words for one in rounds for name, words in one.failed.items()}.items():
        report.fact(f"{system}, {tree.title}", words)
    rows = []
    for step in STEPS:
        cells = [step]
        for system in group:
            took = _took(rounds, system, step)
            if took is None:
                cells.append(NOTHING)
                continue
            cell = f"{took.wall:.2f} s · {took.cpu:.2f} s · {took.memory:.0f} MiB"
            ratio = ratio_of(rounds, system, step, "cp") if "cp" in group else None
            if ratio is not None:
                cell = f"{ratio:.2f} {TIMES} · {cell}"
            cells.append(cell)
        rows.append(cells)
    for label, picked in (("stored after one log", "log"), ("stored after three", "log changed")):
        rows.append([label, *(_stored(rounds, system, picked) for system in group)])
    raw = [asdict(one) for one in rounds]
    title = f"{tree.title}: times of `cp -r` · wall · processor · peak memory" + (
        f" (medians of {len(rounds)} rounds)" if len(rounds) > 1 else ""
    )
    report.table(title, ["", *(TITLES.get(one, one) for one in group)], rows, raw)
    report.add(f"{tree.title}, whole processes", list(_promised(name, tree, group, rounds)))


def _took(rounds: Sequence[Round], system: str, step: str) -> Timed | None:
    runs = [one.timed[system][step] for one in rounds if step in one.timed[system]]
    return median_of(runs) if runs else None


def _stored(rounds: Sequence[Round], system: str, step: str) -> str:
    sizes = [one.stored[system][step] for one in rounds if step in one.stored[system]]
    return f"{statistics.median(sizes):,.0f} MiB" if sizes else NOTHING


def _promised(name: str, tree: Tree, group: Sequence[str], rounds: Sequence[Round]) -> Iterator[Figure]:
    if "lineart" not in group:
        return
    for where, step, beside, limit in PROMISES:
        if where != name or beside not in group:
            continue
        ratio = ratio_of(rounds, "lineart", step, beside)
        ours, theirs = _took(rounds, "lineart", step), _took(rounds, beside, step)
        if ratio is not None and ours is not None and theirs is not None:
            note = f"{ours.wall:.2f} s and {theirs.wall:.2f} s; processor {ours.cpu:.2f} s and {theirs.cpu:.2f} s"
            unit = f"{TIMES} {TITLES.get(beside, beside)}"
            yield Figure(f"{step}: {tree.title}, whole process", ratio, unit, limit, note)
    if name == "big":
        grown = statistics.median(
            one.stored["lineart"]["log changed"] - one.stored["lineart"]["log again"] for one in rounds
        )
        yield Figure(f"log changed: {tree.title}, added to the store", grown, "MiB", GROWTH)
