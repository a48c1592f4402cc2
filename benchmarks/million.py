"""A version of a million tiny files in a real store on a local disk: changed, compared, listed and opened.

usage: python -m benchmarks.million [--disk FOLDER]

Everything within this process. What reads begins each time with a store opened anew, after the kernel was asked to
forget the store's files, so that every page is read from the disk.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path

import lineart
from lineart import Store
from lineart.artifacts.content import Content

from .manifest import PER_FOLDER, path
from .report import Figure, Options, Report, alone, scratch
from .timing import cache_in, seconds_of

OBJECTS = ("packs", "meta", "journal")


def measure(options: Options, report: Report) -> None:
    """Log a million files, then do each small thing to the version."""
    count = 3000 if options.tiny else 1_000_000
    with scratch(options, disk=True) as work, cache_in(work / "cache"):
        figures = _measure(work / "store", count, options.again)
    report.add(f"A version of {count:,} tiny files in a store on disk, in process", figures)


def _measure(place: Path, count: int, again: int) -> list[Figure]:
    with lineart.create(place) as store:
        draft = lineart.Artifact("data", type="dataset")
        for i in range(count):
            draft.add_bytes(b"%d" % i, path(i))
        logged = seconds_of(lambda: store.log(draft))
        figures = [Figure(f"log {count:,} tiny files from memory", logged, "s")]
        figures += _change(store, place, count, again)
        draft = store.artifact("data:v0").new_draft()
        for i in range(count // 20, count, count // 10):
            draft.add_bytes(b"another", path(i), overwrite=True)
        store.log(draft, aliases="ten")
    middle, folder = path(count // 2), path(count // 3).rpartition("/")[0]
    figures.append(_cold("diff two versions that differ in ten paths", place, "data:ten", _differ, again))
    figures.append(_cold("list one folder", place, "data:v0", lambda store, one: _listed(store, one, folder), again))
    figures.append(_cold("open one path and read it", place, "data:v0", lambda _, one: one.open(middle).read(), again))
    return figures


def _change(store: Store, place: Path, count: int, again: int) -> list[Figure]:
    """Replace one file and commit, some times over; each follows the last."""
    times, written = [], []
    for turn in range(again + 1):
        before = _objects(place)

        def change(turn: int = turn) -> None:
            draft = store.artifact("data").new_draft()
            draft.add_bytes(b"changed %d" % turn, path((turn * 7919 + count // 2) % count), overwrite=True)
            store.log(draft)

        times.append(seconds_of(change))
        written.append((_objects(place) - before) / 1024)
    note = f"median of {again}, the first left out; least {min(times[1:]) * 1000:.0f}"
    work = f"change one of {count:,} entries and commit"
    return [
        Figure(work, statistics.median(times[1:]) * 1000, "ms", 100.0, note),
        Figure(f"{work}: bytes of objects written", statistics.median(written[1:]), "KiB", 150.0),
    ]


def _differ(store: Store, one: lineart.Artifact) -> None:
    difference = one.diff(store.artifact("data:v0"))
    assert len(difference.changed) == 10


def _listed(store: Store, one: lineart.Artifact, folder: str) -> None:
    found = list(Content(one.record.digest, store.engine.chunks).children(folder))
    assert len(found) == PER_FOLDER


def _cold(work: str, place: Path, ref: str, call: Callable[[Store, lineart.Artifact], object], again: int) -> Figure:
    """Time a call on stores opened anew, with the store's files on disk alone, and with them in the kernel's memory."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(again):
        for cold in (True, False):
            if cold:
                forget(place)
            with lineart.open(place) as store:
                version = store.artifact(ref)
                times[cold].append(seconds_of(lambda store=store, version=version: call(store, version)))  # type: ignore[misc]
    warm = statistics.median(times[False]) * 1000
    note = f"median of {again}; {warm:.1f} ms with the store's files in the kernel's memory"
    return Figure(work, statistics.median(times[True]) * 1000, "ms", 20.0, note)


def forget(place: Path) -> None:
    """Ask the kernel to keep nothing of a store's files in memory."""
    for here, _, names in os.walk(place):
        for name in names:
            number = os.open(os.path.join(here, name), os.O_RDONLY)
            try:
                os.fsync(number)  # what is not written yet cannot be forgotten
                os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(number)


def _objects(place: Path) -> int:
    """Return the bytes of a store's objects."""
    return sum(file.stat().st_size for name in OBJECTS for file in (place / name).rglob("*") if file.is_file())


if __name__ == "__main__":
    alone(__doc__, measure)
