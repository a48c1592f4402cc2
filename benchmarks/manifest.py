"""The list of a million files alone, its pages in memory: what building, reading, editing and comparing it costs.

usage: python -m benchmarks.manifest [--repeat N]

Building is measured in a process of its own, whose peak memory counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from lineart.artifacts.manifest import Entry, Manifest, build, diff, edit

from .report import Figure, Options, Report, alone
from .timing import run_timed, seconds_of

PER_FOLDER = 1000
CHILD = "import sys; from benchmarks.manifest import build_alone; build_alone(int(sys.argv[1]))"


class Pages(dict[bytes, bytes]):
    """Pages by digest; counts what is read and written."""

    read = written = 0

    def put(self, digest: bytes, page: bytes) -> None:
        """Keep a page."""
        self.written += 1
        self[digest] = page

    def fetch(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return pages by digest."""
        self.read += len(digests)
        return {digest: self[digest] for digest in digests}


def path(i: int) -> str:
    """Return the path of one file: a thousand to a folder."""
    return f"data/train/class{i // PER_FOLDER:05d}/img_{i:08d}.png"


def entries(count: int) -> Iterator[Entry]:
    """Yield tiny files, in order."""
    for i in range(count):
        yield Entry(path(i), 0, i, blake3(b"%d" % i).digest())


def build_alone(count: int) -> None:
    """Print the seconds of making a million entries, and of making and building them."""
    made = seconds_of(lambda: sum(1 for _ in entries(count)))
    print(made, seconds_of(lambda: build(entries(count), Pages().put)))


def measure(options: Options, report: Report) -> None:
    """Build, and then do each thing to what was built."""
    count = 3000 if options.tiny else 1_000_000
    report.add(
        f"The manifest of {count:,} files, pages in memory", [*_built(count, options), *_done(count, options.again)]
    )


def _built(count: int, options: Options) -> list[Figure]:
    root = Path(__file__).resolve().parents[1]
    runs = [run_timed([sys.executable, "-c", CHILD, str(count)], root, {}) for _ in range(options.repeat)]
    pairs = [[float(word) for word in run.output.split()] for run in runs]
    built = statistics.median(both - made for made, both in pairs)
    alone_ = statistics.median(made for made, _ in pairs)
    memory = statistics.median(run.memory for run in runs)
    return [
        Figure(f"build the manifest of {count:,} files", built, "s", 4.0, f"and {alone_:.2f} s to make the entries"),
        Figure("the same, peak memory of the process", memory, "MiB", 250.0, "the pages are held in it, too"),
    ]


def _done(count: int, again: int) -> Iterator[Figure]:
    pages = Pages()
    root = build(entries(count), pages.put).digest
    stored = sum(map(len, pages.values()))
    yield Figure("pages", len(pages), "pages", None, f"{stored / 2**20:.1f} MiB")
    middle, folder = path(count // 2), path(count // 10).rpartition("/")[0]
    ten = {path(i): Entry(path(i), 0, 7, bytes(32)) for i in range(count // 20, count, count // 10)}
    percent = {path(i): Entry(path(i), 0, 7, bytes(32)) for i in range(0, count, 100)}
    one = {middle: Entry(middle, 0, 7, bytes(32))}
    added = {middle + "x": Entry(middle + "x", 0, 7, bytes(32))}
    other = edit(root, ten, pages.fetch, pages.put).digest

    def manifest() -> Manifest:
        return Manifest(root, pages.fetch)

    work: list[tuple[str, Callable[[], object]]] = [
        ("walk all", lambda: sum(1 for _ in manifest().walk())),
        ("look one path up", lambda: manifest().lookup(middle)),
        ("list one folder", lambda: list(manifest().children(folder))),
        ("list the folder of all folders", lambda: list(manifest().children("data/train"))),
        ("replace one", lambda: edit(root, one, pages.fetch, pages.put)),
        ("add one", lambda: edit(root, added, pages.fetch, pages.put)),
        ("remove one", lambda: edit(root, dict.fromkeys(one), pages.fetch, pages.put)),
        ("replace ten, spread", lambda: edit(root, ten, pages.fetch, pages.put)),
        ("replace 1 %, spread", lambda: edit(root, percent, pages.fetch, pages.put)),
        ("diff of ten paths, spread", lambda: list(diff(manifest(), Manifest(other, pages.fetch)))),
    ]
    for name, call in work:
        pages.read = pages.written = 0
        began = time.perf_counter()
        call()
        took, touched = time.perf_counter() - began, f"{pages.read} pages read, {pages.written} made"
        if took < 1:
            took = statistics.median(seconds_of(call) for _ in range(again))
        yield Figure(name, took * 1000, "ms", None, touched)


if __name__ == "__main__":
    alone(__doc__, measure)
