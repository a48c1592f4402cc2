"""The same work on Lineart and on its peers, side by side, in one run.

usage: python -m benchmarks [--work FOLDER] [--systems lineart,cp,borg,restic] [--trees small,big] [--repeat N]

Each step is a whole process. With --repeat the median is printed. The work folder should be on tmpfs, so that a disk's
noise stays out; it is emptied. Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from .systems import SYSTEMS, installed, prepare
from .timing import Timed, run_timed, size_of
from .trees import TREES

STEPS = ("log", "log again", "log changed", "fetch")
FIRST = """
import lineart, os
draft = lineart.Artifact("x")
draft.add_bytes(b"x", "x")
lineart.create(os.environ["LINEART_STORE"]).log(draft)
"""
START_UP = {
    "import lineart": [sys.executable, "-c", "import lineart"],
    "art --help": [str(Path(sys.executable).with_name("art")), "--help"],
    "art ls": [str(Path(sys.executable).with_name("art")), "ls"],
}


def run_system(name: str, tree: str, work: Path) -> dict[str, Timed]:
    """Log a tree, log it again, log it changed, fetch it; in a fresh folder."""
    here = work / f"{name}-{tree}"
    here.mkdir()
    make, change = TREES[tree]
    make(here / "data")
    system = SYSTEMS[name](here)
    prepare(system, here)
    found = {"log": run_timed(system.log, here, system.environment)}
    first = size_of(here / system.store)
    found["log again"] = run_timed(system.log, here, system.environment)
    change(here / "data")
    found["log changed"] = run_timed(system.log, here, system.environment)
    found["fetch"] = run_timed(system.fetch, here, system.environment)
    grown = (size_of(here / system.store) - first) / 2**20
    print(f"{tree:6} {system.name:8} stored {first / 2**20:7.0f} MiB, and {grown:+.0f} MiB by the changes", flush=True)
    shutil.rmtree(here)
    return found


def median(runs: list[dict[str, Timed]]) -> dict[str, Timed]:
    """Take the median of each figure on its own."""
    return {
        step: Timed(*(statistics.median(values) for values in zip(*(run[step] for run in runs), strict=True)))
        for step in runs[0]
    }


def start_up(work: Path, repeat: int) -> None:
    """Print how long the smallest things take as whole processes."""
    environment = {"LINEART_STORE": str(work / "start-up"), "HOME": str(work)}
    run_timed([sys.executable, "-c", FIRST], work, environment)
    for label, command in START_UP.items():
        walls = sorted(run_timed(command, work, environment).wall for _ in range(max(5, repeat)))
        print(f"{label:15} {walls[len(walls) // 2] * 1000:6.0f} ms  (least {walls[0] * 1000:.0f})")


def main() -> None:
    """Run what was asked for and print one table a tree."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, help="a folder on tmpfs")
    options.add_argument("--systems", default=",".join(SYSTEMS))
    options.add_argument("--trees", default=",".join(TREES))
    options.add_argument("--repeat", type=int, default=1)
    chosen = options.parse_args()
    names = [one for one in chosen.systems.split(",") if installed(one)]
    if missing := set(chosen.systems.split(",")) - set(names):
        print(f"not installed here: {', '.join(sorted(missing))}")
    shm = Path("/dev/shm")
    base = chosen.work or (shm if shm.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="lineart-bench-", dir=base) as folder:
        work = Path(folder)
        start_up(work, chosen.repeat)
        for tree in chosen.trees.split(","):
            results = {name: median([run_system(name, tree, work) for _ in range(chosen.repeat)]) for name in names}
            print(f"\n{tree:14}" + "".join(f"{name:>28}" for name in names))
            for step in STEPS:
                cells = []
                for name in names:
                    one = results[name][step]
                    ratio = f"{one.wall / results['cp'][step].wall:5.2f}x" if "cp" in names else ""
                    cells.append(f"{one.wall:8.2f} s {one.memory:5.0f} MiB {ratio:>7}")
                print(f"{step:14}" + "".join(f"{cell:>28}" for cell in cells))
            print("(ratios of wall time to cp -r)\n", flush=True)


if __name__ == "__main__":
    main()
