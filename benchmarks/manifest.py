"""Measures manifests of a million entries, pages served from a dict: `python benchmarks/manifest.py [ENTRIES]`."""

from __future__ import annotations

import resource
import sys
import time

from blake3 import blake3

from lineart.artifacts.manifest import Entry, Manifest, build, diff, edit

PER_FOLDER = 1000


class Pages(dict):
    """Pages by digest; counts what is read and written."""

    read = written = 0

    def put(self, digest, page):
        self.written += 1
        self[digest] = page

    def get(self, digests):
        self.read += len(digests)
        return {digest: self[digest] for digest in digests}


def path(i):
    return f"data/train/class{i // PER_FOLDER:05d}/img_{i:08d}.png"


def entries(count):
    for i in range(count):
        yield Entry(path(i), 0, i, blake3(b"%d" % i).digest())


def timed(pages, what, work, times=5):
    best = float("inf")
    for _ in range(times):
        pages.read = pages.written = 0
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    print(f"{what:44} {best * 1000:10.1f} ms {pages.read:6} read {pages.written:6} put")
    return result


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    pages, middle = Pages(), count // 2
    timed(pages, "(making the entries alone)", lambda: sum(1 for _ in entries(count)), 1)
    root = timed(pages, f"build {count:,} entries", lambda: build(entries(count), pages.put), 1).digest
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stored = sum(map(len, pages.values())) / 2**20
    print(f"    {len(pages)} pages, {stored:.1f} MiB; peak of the process {memory:.0f} MiB")
    timed(pages, "walk all", lambda: sum(1 for _ in Manifest(root, pages.get).walk()), 1)
    timed(pages, "all page digests", lambda: sum(1 for _ in Manifest(root, pages.get).pages()))
    timed(pages, "lookup", lambda: Manifest(root, pages.get).lookup(path(middle)))
    for folder in ("", "data/train/class00100"):
        timed(pages, f"list {folder or '/'}", lambda folder=folder: list(Manifest(root, pages.get).children(folder)))
    timed(
        pages,
        f"list data/train ({count // PER_FOLDER} folders)",
        lambda: list(Manifest(root, pages.get).children("data/train")),
    )

    one = {path(middle): Entry(path(middle), 0, 7, bytes(32))}
    added = {path(middle) + "x": Entry(path(middle) + "x", 0, 7, bytes(32))}
    spread = range(count // 20, count, count // 10)
    ten = {path(i): Entry(path(i), 0, 7, bytes(32)) for i in spread}
    percent = {path(i): Entry(path(i), 0, 7, bytes(32)) for i in range(0, count, 100)}
    timed(pages, "edit: replace one", lambda: edit(root, one, pages.get, pages.put))
    timed(pages, "edit: add one", lambda: edit(root, added, pages.get, pages.put))
    timed(pages, "edit: remove one", lambda: edit(root, dict.fromkeys(one), pages.get, pages.put))
    other = timed(pages, "edit: replace ten, spread", lambda: edit(root, ten, pages.get, pages.put)).digest
    timed(pages, "edit: replace 1 %, spread", lambda: edit(root, percent, pages.get, pages.put), 1)
    found = timed(
        pages, "diff of ten paths, spread", lambda: list(diff(Manifest(root, pages.get), Manifest(other, pages.get)))
    )
    assert len(found) == len(ten)


if __name__ == "__main__":
    main()
