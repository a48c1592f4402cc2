"""From packs to files: locate, read, verify, write; in bounded memory.

Knows entries, chunks and the place they go to; must not know versions. What is there already with the right content is
left alone. Nothing unverified ever has a file's name.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter, thread_time

from blake3 import blake3

from ..storage import recipe
from ..storage.chunks import ChunkStore, Data, Read
from ..storage.digest import Digest
from ..storage.errors import IntegrityError
from ..storage.threads import Threads
from .download import is_there
from .entry import Entry, shown
from .place import Place
from .upload import SLOW, WAITS, Progress

__all__ = ["chunks_of", "fetch", "whole_file"]

BUFFER = 8 << 20  # bytes of small files looked up together
BATCH = 512
EMPTY = blake3(b"").digest()
Wanted = dict[bytes, list[Entry]]  # small files by the digest of their only chunk


def chunks_of(entry: Entry, chunks: ChunkStore) -> Iterator[tuple[bytes, int]]:
    """Yield digest and size of each chunk of a file in order."""
    if entry.recipe is not None:
        yield from recipe.walk(entry.recipe, entry.size, chunks.get)
    elif entry.size:
        yield entry.digest, entry.size


def fetch(entries: Iterable[Entry], chunks: ChunkStore, place: Place, progress: Progress | None = None) -> None:
    """Write entries below a place, verified; raises IntegrityError and leaves nothing wrong behind."""
    with Threads(chunks.backend.parallelism, thread_name_prefix="lineart-fetch") as pool:
        work = _Fetch(chunks, place, pool, progress)
        try:
            for batch in _batches(entries):
                if batch[0].recipe is not None:
                    _large(batch[0], chunks, place, pool, progress)
                else:
                    work.begin(batch)
            work.finish()
        finally:
            work.cancel()


class _Fetch:
    """Small files under way: threads wait for bytes, and the one that iterates verifies and writes.

    So little is done for each file that threads would only pass the interpreter's lock to and fro. Where the disk that
    files go to is waited for (a network's), the threads write, too.
    """

    def __init__(self, chunks: ChunkStore, place: Place, pool: ThreadPoolExecutor, progress: Progress | None) -> None:
        self._chunks = chunks
        self._place = place
        self._pool = pool
        self._progress = progress
        self._reads: deque[tuple[Read, Wanted, Future[bytes | None]]] = deque()
        self._writes: deque[Future[tuple[int, int]]] = deque()
        self._slow = False  # the disk that files go to

    def begin(self, batch: list[Entry]) -> None:
        """Ask for the content of files; finishes what was asked for before, where that is much."""
        wanted: Wanted = defaultdict(list)
        for entry in batch:
            if is_there(entry, self._place):
                self._tell(1, entry.size)
            elif entry.size:
                wanted[entry.digest].append(entry)
            elif entry.digest == EMPTY:
                _write(entry, (), self._place)
                self._tell(1, 0)
            else:
                raise IntegrityError(f"{shown(entry.path)} has no bytes but the digest {Digest(entry.digest)}")
        for read in self._chunks.plan(self._chunks.require(wanted).values()) if wanted else ():
            self._reads.append((read, wanted, self._pool.submit(self._chunks.raw, read)))
            if len(self._reads) > self._chunks.backend.parallelism:
                self._next()

    def finish(self) -> None:
        """Write all that was asked for."""
        while self._reads:
            self._next()
        while self._writes:
            self._tell(*self._writes.popleft().result())

    def cancel(self) -> None:
        """Begin nothing more."""
        for _, _, future in self._reads:
            future.cancel()
        for written in self._writes:
            written.cancel()

    def _next(self) -> None:
        read, wanted, future = self._reads.popleft()
        raw = future.result()
        if self._slow:
            self._writes.append(self._pool.submit(self._put, read, wanted, raw))
            if len(self._writes) > self._chunks.backend.parallelism:
                self._tell(*self._writes.popleft().result())
            return
        began, work = perf_counter(), thread_time()
        self._tell(*self._put(read, wanted, raw))
        seconds, busy = perf_counter() - began, thread_time() - work
        self._slow = seconds > SLOW and seconds > WAITS * busy

    def _put(self, read: Read, wanted: Wanted, raw: bytes | None) -> tuple[int, int]:
        """Verify what a read brought and write the files of it; return how many, and their bytes."""
        found = [(entry, data) for one, data in self._chunks.unpacked(read, raw) for entry in wanted[one.digest]]
        for entry, data in found:
            if len(data) != entry.size:
                raise IntegrityError(
                    f"{shown(entry.path)}: the manifest says {entry.size} bytes, its content has {len(data)}"
                )
        statuses = self._place.write_all([(entry.path, data, entry.executable) for entry, data in found])
        for (entry, _), written in zip(found, statuses, strict=True):
            _learn(entry, written, self._place)
        return len(found), sum([entry.size for entry, _ in found])

    def _tell(self, files: int, size: int) -> None:
        if self._progress is not None:
            self._progress(files, size)


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Group files of one chunk; a file of several stands alone."""
    batch: list[Entry] = []
    held = 0
    for entry in entries:
        if entry.recipe is not None:
            yield [entry]
            continue
        batch.append(entry)
        held += entry.size
        if held >= BUFFER or len(batch) >= BATCH:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _large(entry: Entry, chunks: ChunkStore, place: Place, pool: ThreadPoolExecutor, progress: Progress | None) -> None:
    if is_there(entry, place):
        if progress is not None:
            progress(1, entry.size)
        return
    _write(entry, whole_file(entry, chunks, pool, progress), place)


def _write(entry: Entry, parts: Iterable[Data], place: Place) -> None:
    _learn(entry, place.write(entry.path, parts, executable=entry.executable), place)


def _learn(entry: Entry, written: os.stat_result | None, place: Place) -> None:
    if place.remembered is not None and written is not None:
        place.remembered.learn(entry, written)


def whole_file(
    entry: Entry, chunks: ChunkStore, pool: ThreadPoolExecutor, progress: Progress | None = None
) -> Iterator[Data]:
    """Yield a file's content in order; IntegrityError at its end where the whole is not what its digest says."""
    hasher = blake3()
    located = chunks.locate_in_order(chunks_of(entry, chunks))
    with Threads(1, thread_name_prefix="lineart-whole") as beside:
        hashed: Future[object] | None = None  # the last piece is being hashed while it is being written
        for data in chunks.stream(located, pool):
            if hashed is not None:
                hashed.result()
            hashed = beside.submit(hasher.update, data)
            yield data
            if progress is not None:
                progress(0, len(data))
    if hasher.digest() != entry.digest:
        raise IntegrityError(
            f"{shown(entry.path)}: its chunks together are {Digest(hasher.digest())}, not {Digest(entry.digest)}"
        )
    if progress is not None:
        progress(1, 0)
