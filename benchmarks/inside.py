"""The same work inside one process that has imported Lineart already, beside `cp -r` of the same tree.

usage: python -m benchmarks.inside [--work FOLDER] [--trees small,big] [--repeat N]

Prints the ratio to the quicker of two `cp -r`, one just before and one just after, so that a drift of the machine
cancels out; with --repeat the median of each figure.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import lineart
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run

from .report import TIMES, Figure, Options, Report, add_trees, alone, scratch
from .timing import cache_in, hand_out, seconds_of
from .trees import Tree, trees

Figures = dict[str, tuple[float, float, float]]  # of each step: seconds, those of the copy beside it, and of processors
LIMITS = {  # times of `cp -r`
    "small": {"log": 1.8, "log again": 0.5, "log changed": 0.6, "fetch": 1.3, "fetch again": 0.3},
    "big": {"log": 2.0, "fetch": 1.3},
}


def copy(source: Path, target: Path) -> float:
    """Return the seconds of `cp -r` to a fresh place, which is removed again."""
    seconds = seconds_of(lambda: subprocess.run(["cp", "-r", source, target], check=True))
    shutil.rmtree(target)
    return seconds


def run_tree(tree: Tree, here: Path, settle: float) -> Figures:
    """Log a tree, log it again, log it changed, fetch it, fetch it again; all in this process."""
    tree.make(here / "data")
    store = lineart.create(here / "store")
    run = start_run(store, "p", capture=Capture.none())

    def log() -> None:
        run.log_artifact(here / "data", name="data", type="dataset")

    def fetch() -> None:
        store.artifact("data").download(here / "out")

    figures: Figures = {}

    def step(name: str, work: Callable[[], object]) -> None:
        time.sleep(settle)
        before = copy(here / "data", here / "copy")
        busy = time.process_time()
        seconds = seconds_of(work)
        busy = time.process_time() - busy
        figures[name] = seconds, min(before, copy(here / "data", here / "copy")), busy

    step("log", log)
    step("log again", log)
    tree.change(here / "data")
    step("log changed", log)
    step("fetch", fetch)
    step("fetch again", fetch)
    run.finish()
    store.close()
    return figures


def measure(options: Options, report: Report) -> None:
    """Time every tree."""
    for name in options.trees:
        tree = trees(tiny=options.tiny)[name]
        runs = []
        with scratch(options) as here:
            hand_out(here, 5 * tree.size)
        for _ in range(options.repeat):
            with scratch(options) as here, cache_in(here / "cache"):
                runs.append(run_tree(tree, here, options.settle))
        figures = []
        for step in runs[0]:
            seconds = statistics.median(run[step][0] for run in runs)
            ratio = statistics.median(run[step][0] / run[step][1] for run in runs)
            busy = statistics.median(run[step][2] for run in runs)
            note = f"{seconds:.3f} s; processor {busy:.3f} s"
            limit = LIMITS[name].get(step)
            figures.append(Figure(f"{step}: {tree.title}, in process", ratio, f"{TIMES} `cp -r`", limit, note))
        report.details[f"in process: {tree.title}"] = runs
        report.add(f"{tree.title}, in a process that has imported Lineart", figures)


if __name__ == "__main__":
    alone(__doc__, measure, more=[add_trees])
