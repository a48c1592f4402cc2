"""Versions of millions of entries and a file of many gibibytes, each in a process of its own, whose memory is printed.

usage: python -m benchmarks.large [--entries 1000000,10000000] [--gib 20] [--distinct] [--work FOLDER]

Entries are tiny contents from memory, given in an order that is not that of their paths; a thousand different ones that
repeat, or each its own with --distinct. The file is sparse with some noise in every gibibyte; it is logged and streamed
back. The work folder should have room for the noise and for what is spilled, and is emptied; peaks are of resident
memory, in MiB, and include the program itself.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .timing import run_timed

CONTENTS = 1000
PER_FOLDER = 1000
STRIDE = 7_368_787  # a prime: visits every number once, far from the order of paths
NOISE = 32 << 20  # bytes in each GiB
PIECE = 8 << 20  # bytes read at once


def timed_line(what: str, began: float, count: float, unit: str) -> None:
    """Print what some work took, and how fast it was."""
    seconds = time.perf_counter() - began
    print(f"    {what:32}{seconds:9.1f} s {count / seconds:12,.0f} {unit}/s", flush=True)


def log_entries(work: Path, count: int, *, distinct: bool) -> None:
    """Log one version of so many entries, and walk it."""
    import lineart
    from lineart.artifacts.source import BytesSource

    def sources() -> Iterator[tuple[str, BytesSource]]:
        for i in range(count):
            number = i * STRIDE % count
            content = number if distinct else number % CONTENTS
            yield f"data/train/class{number // PER_FOLDER:05d}/img_{number:08d}.png", BytesSource(b"%d" % content)

    store = lineart.create(work / "store")
    draft = lineart.Artifact("data", type="dataset")
    began = time.perf_counter()
    draft.take_draft().add_all(sources())
    timed_line("add to a draft", began, count, "entries")
    began = time.perf_counter()
    logged = store.log(draft)
    timed_line("log it", began, count, "entries")
    assert logged.file_count == count
    began = time.perf_counter()
    assert sum(1 for _ in logged.files()) == count
    timed_line("walk it", began, count, "entries")
    store.close()


def log_file(work: Path, gib: int) -> None:
    """Log one file and read it back as a stream."""
    import lineart

    path = work / "model.bin"
    rng = random.Random(7)
    with path.open("wb") as file:
        for number in range(gib):
            file.seek(number << 30)
            file.write(rng.randbytes(NOISE))
        file.truncate(gib << 30)
    store = lineart.create(work / "store")
    draft = lineart.Artifact("model", type="model")
    draft.add_file(path)
    began = time.perf_counter()
    logged = store.log(draft)
    timed_line("log it", began, gib * 1024, "MiB")
    began = time.perf_counter()
    with logged.open("model.bin") as stream, path.open("rb") as file:
        while piece := stream.read(PIECE):
            assert piece == file.read(PIECE)
        assert not file.read(1)
    timed_line("stream it back, and compare", began, gib * 1024, "MiB")
    store.close()


def run_child(work: Path, label: str, *arguments: str) -> None:
    """Do one thing in a process and a folder of its own, and print what it says and its peak."""
    here = work / "large"
    here.mkdir()
    environment = {"TMPDIR": str(here), "LINEART_CACHE_DIR": str(here / "cache")}
    command = [sys.executable, "-m", "benchmarks.large", "--work", str(here), *arguments]
    timed = run_timed(command, Path.cwd(), environment)
    print(f"{label}: {timed.wall:.1f} s in all, {timed.cpu:.1f} s of processors, peak {timed.memory:.0f} MiB")
    print(timed.output, end="", flush=True)
    shutil.rmtree(here)


def main() -> None:
    """Run what was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--entries", default="1000000,10000000", help="how many, separated by commas; 0 for none")
    options.add_argument("--gib", type=int, default=20, help="size of the file; 0 for none")
    options.add_argument("--distinct", action="store_true", help="no two contents are the same")
    options.add_argument("--work", type=Path, help="a folder with room")
    options.add_argument("--child", choices=["entries", "file"], help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child == "entries":
        log_entries(chosen.work, int(chosen.entries), distinct=chosen.distinct)
        return
    if chosen.child == "file":
        log_file(chosen.work, chosen.gib)
        return
    with tempfile.TemporaryDirectory(prefix="lineart-large-", dir=chosen.work) as folder:
        work = Path(folder)
        for count in map(int, chosen.entries.split(",")):
            if count:
                kind = ["--distinct"] if chosen.distinct else []
                run_child(work, f"{count:,} entries", "--child", "entries", "--entries", str(count), *kind)
        if chosen.gib:
            run_child(work, f"a file of {chosen.gib} GiB", "--child", "file", "--gib", str(chosen.gib))


if __name__ == "__main__":
    main()
