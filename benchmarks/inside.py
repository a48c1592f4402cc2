"""The same work inside one process that has imported Lineart already, beside `cp -r` of the same tree.

usage: python -m benchmarks.inside [--work FOLDER] [--trees small,big] [--repeat N]

Prints seconds, and the ratio to the `cp -r` that ran just before, so that a drift of the machine cancels out; with
--repeat the median of each figure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lineart

from .trees import TREES

Figures = dict[str, tuple[float, float]]  # of each step: seconds, and those of the copy beside it


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def copy(source: Path, target: Path) -> float:
    """Return the seconds of `cp -r` to a fresh place, which is removed again."""
    seconds = timed(lambda: subprocess.run(["cp", "-r", source, target], check=True))
    shutil.rmtree(target)
    return seconds


def run_tree(tree: str, work: Path) -> Figures:
    """Log a tree, log it again, log it changed, fetch it, fetch it again; all in this process."""
    here = work / tree
    here.mkdir()
    make, change = TREES[tree]
    make(here / "data")
    os.environ["LINEART_CACHE_DIR"] = str(here / "cache")
    store = lineart.create(here / "store")

    def log() -> None:
        draft = lineart.Artifact("data", type="dataset")
        draft.add_dir(here / "data")
        store.log(draft)

    def fetch() -> None:
        store.artifact("data").download(here / "out")

    figures: Figures = {}

    def step(name: str, work: Callable[[], object]) -> None:
        beside = copy(here / "data", here / "copy")
        figures[name] = (timed(work), beside)

    time.sleep(0.5)  # so that no file is younger than its timestamps can tell
    step("log", log)
    step("log again", log)
    change(here / "data")
    time.sleep(0.5)
    step("log changed", log)
    step("fetch", fetch)
    time.sleep(0.5)
    step("fetch again", fetch)
    store.close()
    shutil.rmtree(here)
    return figures


def main() -> None:
    """Run what was asked for and print one line a step."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, help="a folder on tmpfs")
    options.add_argument("--trees", default=",".join(TREES))
    options.add_argument("--repeat", type=int, default=1)
    chosen = options.parse_args()
    shm = Path("/dev/shm")
    base = chosen.work or (shm if shm.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="lineart-inside-", dir=base) as folder:
        for tree in chosen.trees.split(","):
            runs = [run_tree(tree, Path(folder)) for _ in range(chosen.repeat)]
            for name in runs[0]:
                seconds = statistics.median(run[name][0] for run in runs)
                ratio = statistics.median(run[name][0] / run[name][1] for run in runs)
                print(f"{tree:8}{name:14}{seconds:8.3f} s {ratio:6.2f} x cp -r", flush=True)


if __name__ == "__main__":
    main()
