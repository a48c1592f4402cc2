"""Versions of millions of entries and a file of many gibibytes, each in a process of its own, whose memory is told.

usage: python -m benchmarks.large [--distinct] [--disk FOLDER]

Entries are tiny contents from memory, given in an order that is not that of their paths: a thousand different ones that
repeat, or each its own with --distinct. The file is sparse with some noise in every gibibyte; it is logged and streamed
back. Peaks are of resident memory and include the program itself; times are of the work alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from .report import TIMES, Figure, Options, Report, alone, scratch
from .timing import run_timed, seconds_of

DISTINCT = "--distinct"
CONTENTS = 1000
PER_FOLDER = 1000
STRIDE = 7_368_787  # a prime: visits every number once, far from the order of paths
NOISE = 32 << 20  # bytes in each GiB
PIECE = 8 << 20  # bytes read at once


def log_entries(work: Path, count: int, *, distinct: bool) -> dict[str, float]:
    """Log one version of so many entries, and walk it; return the seconds of each step."""
    import lineart
    from lineart.artifacts.source import BytesSource

    def sources() -> Iterator[tuple[str, BytesSource]]:
        for i in range(count):
            number = i * STRIDE % count
            content = number if distinct else number % CONTENTS
            yield f"data/train/class{number // PER_FOLDER:05d}/img_{number:08d}.png", BytesSource(b"%d" % content)

    store = lineart.create(work / "store")
    draft = lineart.Artifact("data", type="dataset")
    added = seconds_of(lambda: draft.take_draft().add_all(sources()))
    began = time.perf_counter()
    logged = store.log(draft)
    took = time.perf_counter() - began
    assert logged.file_count == count
    began = time.perf_counter()
    assert sum(1 for _ in logged.files()) == count
    walked = time.perf_counter() - began
    store.close()
    return {"add to a draft": added, "log": took, "walk": walked}


def log_file(work: Path, size: int) -> dict[str, float]:
    """Log one file and read it back as a stream; return the seconds of each step."""
    import lineart

    path = work / "model.bin"
    rng = random.Random(7)
    with path.open("wb") as file:
        for start in range(0, size, 1 << 30):
            file.seek(start)
            file.write(rng.randbytes(min(NOISE, size)))
        file.truncate(size)
    store = lineart.create(work / "store")
    draft = lineart.Artifact("model", type="model")
    draft.add_file(path)
    began = time.perf_counter()
    logged = store.log(draft)
    took = time.perf_counter() - began
    began = time.perf_counter()
    with logged.open("model.bin") as stream, path.open("rb") as file:
        while piece := stream.read(PIECE):
            assert piece == file.read(PIECE)
        assert not file.read(1)
    streamed = time.perf_counter() - began
    store.close()
    return {"log": took, "stream back and compare": streamed}


def measure(options: Options, report: Report, *, distinct: bool = False) -> None:
    """Log a million entries, ten million, and a file of 20 GiB."""
    few, many, size = (100, 1000, 1 << 20) if options.tiny else (1_000_000, 10_000_000, 20 << 30)
    kind = "distinct" if distinct else "entries"
    figures: list[Figure] = []
    totals: list[float] = []
    for count in (few, many):
        steps, peak = _child(options, kind, count)
        totals.append(sum(steps.values()))
        words = f"{count:,} {'different ' if distinct else ''}entries"
        figures.append(Figure(f"{words}: added, logged and walked", totals[-1], "s", note=_told(steps)))
        figures.append(Figure(f"{words}: peak memory of the process", peak, "MiB", 1024.0 if count == many else None))
    slope = totals[1] / totals[0] / (many // few)
    figures.append(Figure("time for each entry, of ten times as many", slope, TIMES, 1.1))
    steps, peak = _child(options, "file", size)
    words = f"a file of {size / 2**30:.3g} GiB, nearly all of it holes"
    figures.append(Figure(f"{words}: logged and read back", sum(steps.values()), "s", note=_told(steps)))
    figures.append(Figure(f"{words}: peak memory of the process", peak, "MiB", 400.0))
    report.add("Large things, each in a process of its own, on disk", figures)


def _told(steps: dict[str, float]) -> str:
    return "; ".join(f"{step} {took:.1f} s" for step, took in steps.items())


def _child(options: Options, kind: str, count: int) -> tuple[dict[str, float], float]:
    """Do one thing in a process and a folder of its own; return the seconds of its steps and its peak in MiB."""
    with scratch(options, disk=True) as here:
        told = here / "told.json"
        environment = {"TMPDIR": str(here), "LINEART_CACHE_DIR": str(here / "cache")}
        command = [sys.executable, "-m", "benchmarks.large", "--child", kind, str(count), str(here), str(told)]
        timed = run_timed(command, Path.cwd(), environment)
        return msgspec.json.decode(told.read_bytes(), type=dict[str, float]), timed.memory


def _add_distinct(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(DISTINCT, action="store_true", help="no two contents are the same; takes very long")


def _be_child(kind: str, count: int, work: Path, told: Path) -> None:
    steps = log_file(work, count) if kind == "file" else log_entries(work, count, distinct=kind == "distinct")
    told.write_bytes(msgspec.json.encode(steps))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _be_child(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
    else:
        alone(__doc__, partial(measure, distinct=DISTINCT in sys.argv), more=[_add_distinct])
