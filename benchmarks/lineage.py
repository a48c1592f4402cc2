"""Questions of lineage: in big graphs (200,000 nodes, a ladder, a chain, a fan), and of a history of thirty nodes.

usage: python -m benchmarks.lineage [--repeat N] [--work FOLDER]

The rows are what the events of runs would make of them, written in bulk. A closure is timed as the set of versions that
a selector means, and as the graph with every record; memory is what the process grows by while a graph is made.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import lineart
from lineart.artifacts.tables import version
from lineart.lineage.query import selected_ids
from lineart.lineage.render import lineage_trees
from lineart.lineage.tables import edge, run
from lineart.storage.database import Transaction

from .report import Figure, Options, Report, alone, number, scratch
from .timing import run_timed, seconds_of
from .whole import ART

PROJECT = "bench"
VERSION = ("id", "collection", "number", "digest", "size", "file_count", "state", "created", "actor", "data")
RUN = ("id", "project", "name", "state", "created", "heartbeat", "ended", "exit_code", "actor")
RUN_JSON = ("config", "summary", "code", "environment")
EDGE = ("run", "version", "direction", "time", "data")
ALIASED = '{"aliases":["latest"]}'  # what most edges of versions that were used hold
QUESTIONS = (("lineage", "data:v14"), ("why", "data:v13", "data:v14"), ("impact", "data:v0"), ("stale",))
MEMORY = """
import resource, sys, lineart
from lineart.lineage import graph, query
from lineart.lineage.query import selected_ids
store = lineart.open(sys.argv[1], project=sys.argv[2])
store.select("data:v0")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = store.lineage(sys.argv[3]) if sys.argv[4] == "graph" else selected_ids(store.catalog, sys.argv[3], store.project)
print("MiB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, len(kept))
"""


class Step(NamedTuple):
    """One run: the numbers of the versions that it used and produced."""

    used: Iterable[int]
    made: Iterable[int]


def pipelines(nodes: int) -> Iterator[Step]:
    """Yield a tenth of the nodes as runs, of which each makes nine versions from some of earlier ones."""
    yield Step((), range(9))
    for i in range(1, nodes // 10):
        yield Step((9 * i - 1, 9 * (i // 2), 9 * (i // 2) + 4), range(9 * i, 9 * i + 9))
    yield Step(range(nodes // 10 * 9), (nodes // 10 * 9,))


def pairs(nodes: int) -> Iterator[Step]:
    """Yield a binary tree with as many runs as versions."""
    half = nodes // 2
    for i in range(half):
        yield Step([one for one in (2 * i + 1, 2 * i + 2) if one < half], (i,))


def ladder(versions: int) -> Iterator[Step]:
    """Yield runs of which each uses the two versions before the one it makes."""
    for i in range(versions):
        yield Step([one for one in (i - 2, i - 1) if one >= 0], (i,))


def chain(versions: int) -> Iterator[Step]:
    """Yield runs of which each uses the version before the one it makes."""
    for i in range(versions):
        yield Step([i - 1] if i else [], (i,))


def fan(versions: int) -> Iterator[Step]:
    """Yield one run that uses many versions."""
    yield Step(range(versions), (versions,))


def measure(options: Options, report: Report) -> None:
    """Ask each graph what lies upstream of its end."""
    big, rungs, links, blades = (200, 40, 50, 60) if options.tiny else (200_000, 4000, 5000, 10_000)
    figures = []
    shapes: tuple[tuple[str, int, Callable[[int], Iterator[Step]], str], ...] = (
        (f"{big:,} nodes, a tenth of them runs", big, pipelines, f"data:v{big // 10 * 9}"),
        (f"{big:,} nodes, half of them runs, a tree", big, pairs, "data:v0"),
        (f"{big:,} nodes, half of them runs, a chain", big // 2, chain, f"data:v{big // 2 - 1}"),
        (f"ladder of {rungs:,} versions", rungs, ladder, f"data:v{rungs - 1}"),
        (f"chain of {links:,} versions", links, chain, f"data:v{links - 1}"),
        (f"fan of {blades:,} versions", blades, fan, f"data:v{blades}"),
    )
    for title, count, shape, end in shapes:
        with scratch(options) as work:
            fill(work / "store", shape(count))
            figures += _asked(title, work / "store", end, options)
    report.add("Upstream closures on SQLite, in process", figures)
    with scratch(options) as work:
        fill(work / "store", ladder(15))
        report.add("A history of 30 nodes, whole processes", list(_small(work / "store", options)))


def _small(place: Path, options: Options) -> Iterator[Figure]:
    """Time every question as somebody types it."""
    surroundings = {"LINEART_STORE": str(place), "LINEART_PROJECT": PROJECT}
    for words in QUESTIONS:
        walls = [run_timed([ART, *words], place, surroundings).wall for _ in range(options.again)]
        note = f"median of {len(walls)}; least {number(min(walls))}"
        yield Figure(f"`art {' '.join(words)}`", statistics.median(walls), "s", 0.6, note)


def _asked(title: str, place: Path, end: str, options: Options) -> list[Figure]:
    limit = 1000.0 if "nodes" in title else 50.0 if "ladder" in title else None
    with lineart.open(place, project=PROJECT) as store:
        store.select("data:v0")

        def median(work: Callable[[], object], again: int = options.again) -> tuple[float, str]:
            times = [seconds_of(work) * 1000 for _ in range(again)]
            return statistics.median(times), f"median of {len(times)}; least {number(min(times))}"

        asked, note = median(lambda: selected_ids(store.catalog, f"+{end}", PROJECT))
        figures = [Figure(f"{title}: set", asked, "ms", limit, note)]
        made, note = median(lambda: store.lineage(f"+{end}"), 1 if "nodes" in title else options.again)
        graph = store.lineage(f"+{end}")
        figures.append(Figure(f"{title}: graph with records", made, "ms", None, f"{len(graph):,} nodes; {note}"))
        if "nodes" in title:
            looked = seconds_of(lambda: sum(data["record"].created for _, data in graph.nodes(data=True)))
            figures.append(Figure(f"{title}: every record of the graph looked at", looked * 1000, "ms"))
        if limit is None:
            shown = seconds_of(lambda: lineage_trees(graph)) * 1000
            figures.append(Figure(f"{title}: tree as text", shown, "ms"))
    if "nodes" in title:
        figures += [_memory(title, place, end, what) for what in ("set", "graph")]
    elif limit is None:
        whole = run_timed([ART, "lineage", end], place, {"LINEART_STORE": str(place), "LINEART_PROJECT": PROJECT})
        figures.append(Figure(f"{title}: `art lineage`, whole process", whole.wall, "s"))
    return figures


def _memory(title: str, place: Path, end: str, what: str) -> Figure:
    command = [sys.executable, "-c", MEMORY, str(place), PROJECT, f"+{end}", what]
    told = run_timed(command, place, {"PYTHONPATH": os.pathsep.join(sys.path)}).output.split()
    return Figure(f"{title}: memory of the {what}", float(told[1]), "MiB", 300.0, f"{int(told[2]):,} of them")


def fill(place: Path, steps: Iterable[Step]) -> None:
    """Make a store with a graph; versions are of one collection, and a version's number is its place in it."""
    with lineart.create(place, project=PROJECT) as store:
        seed = lineart.Artifact("data", type="dataset")
        seed.add_bytes(b"seed", "seed")
        first = store.log(seed).record
        store.ledger.start(PROJECT)
        store.engine.database.write(lambda tx: _write(tx, list(steps), first.id, first.digest))


def _write(tx: Transaction, steps: list[Step], base: int, digest: bytes) -> None:
    now = tx.now()
    count = max(max((*one.used, *one.made), default=0) for one in steps) + 1
    rows = ((base + i, 1, i, digest, 1, 1, "live", now + i, "ana@bench", "{}") for i in range(1, count))
    tx.insert_many(version, VERSION, rows)
    ids = [f"b{i:07d}" for i in range(len(steps))]
    runs = (
        (one, 1, one, "finished", now + at, now + at, now + at, 0, "ana@bench", *["{}"] * 4)
        for at, one in enumerate(ids)
    )
    tx.insert_many(run, (*RUN, *RUN_JSON), runs)
    edges = (
        (one, base + i, way, now + i, data)
        for one, step in zip(ids, steps, strict=True)
        for way, numbers, data in (("used", step.used, ALIASED), ("produced", step.made, None))
        for i in numbers
    )
    tx.insert_many(edge, EDGE, edges)


if __name__ == "__main__":
    alone(__doc__, measure)
