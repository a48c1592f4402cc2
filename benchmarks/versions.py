"""A store of 100,000 versions: what the first commands of a day cost, as whole processes.

usage: python -m benchmarks.versions [--repeat N] [--work FOLDER]

In two shapes: many collections, and few of many versions. The versions are made by the events that logging makes, many
to a transaction; those that are shown have the content of a real one.
"""

from __future__ import annotations

import statistics
import sys
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import lineart
from lineart.storage.database import Transaction

from .report import Figure, Options, Report, alone, number, scratch
from .timing import run_timed, seconds_of
from .whole import ART

LIMIT = 0.6  # seconds
EVENTS = 10_000  # to a transaction
PROJECT = "bench"
USE = "import lineart, sys; lineart.use_artifact(sys.argv[1])"


class Shape(NamedTuple):
    """How many collections of how many versions each."""

    collections: int
    versions: int

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.collections:,} collections of {self.versions:,} versions"


def measure(options: Options, report: Report) -> None:
    """Time the commands on each shape."""
    for shape in (Shape(2, 60),) if options.tiny else (Shape(1000, 100), Shape(10, 10_000)):
        with scratch(options) as work:
            made = seconds_of(lambda shape=shape, work=work: fill(work / "store", shape))  # type: ignore[misc]
            size = (work / "store" / "lineart.db").stat().st_size / 2**20
            figures = [Figure("(making the store)", made, "s", None, f"database of {size:.0f} MiB")]
            figures += [_command(name, command, work, options) for name, command in commands(shape)]
        report.add(f"A store of {shape.title}, whole processes", figures)


def commands(shape: Shape) -> list[tuple[str, list[str]]]:
    """Return what is timed."""
    name = f"{PROJECT}/{collection(shape.collections // 2)}"
    return [
        ("`art ls`", [ART, "ls"]),
        ("`art ls NAME`", [ART, "ls", name]),
        ("`art show NAME:latest`", [ART, "show", f"{name}:latest"]),
        ("`art show NAME:v50`", [ART, "show", f"{name}:v50"]),
        ("`art show NAME:best`", [ART, "show", f"{name}:best"]),
        ("`use_artifact(NAME:best)`", [sys.executable, "-c", USE, f"{name}:best"]),
    ]


def _command(name: str, command: list[str], work: Path, options: Options) -> Figure:
    variables = {
        "LINEART_STORE": str(work / "store"),
        "LINEART_PROJECT": PROJECT,
        "LINEART_CACHE_DIR": str(work / "cache"),
        "LINEART_CAPTURE": "none",
        "HOME": str(work),
    }
    runs = [run_timed(command, work, variables) for _ in range(options.again)]
    walls = [run.wall for run in runs]
    cpu = statistics.median(run.cpu for run in runs)
    note = f"median of {len(runs)}; least {number(min(walls))}; processor {cpu:.2f} s"
    return Figure(name, statistics.median(walls), "s", LIMIT, note)


def collection(i: int) -> str:
    """Return a collection's name."""
    return f"model-{i:04d}"


def fill(place: Path, shape: Shape) -> None:
    """Make a store with as many versions, each with the two events of a log: the version, and `latest` moved to it."""
    with lineart.create(place, project=PROJECT) as store:
        draft = lineart.Artifact("seed", type="model")
        for i in range(10):
            draft.add_bytes(b"%d" % i, f"part-{i}")
        seed = store.log(draft)
        each = max(1, EVENTS // (2 * shape.versions))
        for first in range(0, shape.collections, each):
            wanted = range(first, min(first + each, shape.collections))
            store.engine.database.write(lambda tx, wanted=wanted: _record(tx, seed, wanted, shape))  # type: ignore[misc]
            store.engine.journal.flush()


def _record(tx: Transaction, seed: lineart.Artifact, wanted: range, shape: Shape) -> None:
    for i in wanted:
        name = collection(i)
        subject, where = f"{PROJECT}/{name}", {"project": PROJECT, "collection": name}
        tx.record("collection.created", subject, {**where, "type": "model"})
        for version in range(shape.versions):
            real = version in {49, 50, shape.versions - 2, shape.versions - 1}
            noise = sha256(f"{name} {version}".encode()).hexdigest()
            data = {
                **where,
                "number": version,
                "digest": str(seed.digest) if real else f"b3:{noise}",
                "size": seed.size,
                "file_count": seed.file_count,
                "description": None,
                "metadata": {"loss": 1 / (version + 1), "epoch": version},
            }
            tx.record("version.logged", subject, data)
            before = version - 1 if version else None
            tx.record("alias.set", subject, {**where, "alias": "latest", "from": before, "to": version})
        tx.record("alias.set", subject, {**where, "alias": "best", "from": None, "to": 50})


if __name__ == "__main__":
    alone(__doc__, measure)
