"""From sources to entries: read, cut, hash, look up, encode, pack; in parallel, in order, in bounded memory.

Knows the files-and-chunks part of docs/format.md; must not know versions. Work goes through a window of tasks: threads
read small files (many to a task) and hash and encode; the thread that iterates reads large files, and takes results in
the order of the paths, so that what is read together later lies together.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple, Self

from blake3 import blake3

from ..storage import recipe
from ..storage.chunking import ChunkingParameters, Cutter
from ..storage.pack import PackKind
from ..storage.rooms import Rooms
from ..storage.session import Session
from ..storage.threads import Threads
from .entry import EXTERNAL, FILE, Entry, External
from .prepare import BUFFER, ROOM, Batch, Prepared, Settled, buffers, prepare, settle
from .recall import Recall
from .source import ExternalSource, Source
from .stat_cache import Known, clock

__all__ = ["Progress", "upload"]

Progress = Callable[[int, int], None]  # files done, bytes done: since the last call
WORKERS = min(4, (os.cpu_count() or 1) + 1)
WINDOW = WORKERS + 1  # tasks under way; each holds up to BUFFER bytes and what it encodes to
BATCH = 1024  # small files to a task
SLOW, WAITS = 0.05, 4.0  # seconds of a task, and how many times its work: from there on it is waiting for the disk


@dataclass(slots=True)
class _Large:
    """A file of several tasks."""

    path: str
    source: Source
    known_at: int
    size: int = 0
    digest: bytes = b""  # known once it is read to its end
    chunks: list[tuple[bytes, int]] = field(default_factory=list)


class _Pieces(NamedTuple):
    """Pieces of a large file under way; whether they are its last."""

    file: _Large
    last: bool
    result: Future[Prepared]


class _Files(NamedTuple):
    """Whole files under way: small ones, and those that are recalled."""

    batch: Batch
    result: Future[Settled]


Task = _Pieces | _Files


def upload(
    sources: Iterable[tuple[str, Source]],
    session: Session,
    parameters: ChunkingParameters,
    recall: Recall,
    progress: Progress | None = None,
) -> Iterator[Entry]:
    """Store the content of sources and yield their entries in the same order.

    What `recall` knows is not read, as long as the store still has every chunk of it; it learns what is read. Memory is
    bounded by the window and the session's packs, whatever the sizes. Raises SourceChanged where a file is not what was
    added.
    """
    return chain.from_iterable(_portions(sources, session, parameters, recall, progress))


def _portions(
    sources: Iterable[tuple[str, Source]],
    session: Session,
    parameters: ChunkingParameters,
    recall: Recall,
    progress: Progress | None,
) -> Iterator[list[Entry]]:
    with _Lanes() as lanes:
        work = _Upload(session, parameters, recall, lanes, progress)
        window: deque[Task] = deque()
        try:
            for task in work.tasks(sources):
                window.append(task)
                if len(window) >= WINDOW:
                    yield work.finish(window.popleft())
            while window:
                yield work.finish(window.popleft())
        finally:
            for task in window:
                task.result.cancel()


class _Lanes:
    """Where tasks run: many threads for large pieces, and for small files one, unless they are waited for.

    Reading a small file is so little work that threads would only pass the interpreter's lock to and fro; on a slow
    disk or a network's, they wait, and then many are better.
    """

    def __init__(self) -> None:
        self._wide = Threads(WORKERS, thread_name_prefix="lineart-hash")
        self._narrow = Threads(1, thread_name_prefix="lineart-read")
        self._waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._narrow.shutdown()
        self._wide.shutdown()

    def submit(self, work: Callable[[], Settled]) -> Future[Settled]:
        """Submit whole files."""
        lane = self._wide if self._waiting else self._narrow
        return lane.submit(work)

    def pieces(self, file: _Large, pieces: list[memoryview], session: Session, *, last: bool) -> _Pieces:
        """Submit pieces of a large file."""
        return _Pieces(file, last, self._wide.submit(prepare, pieces, session))

    def beside(self, work: Callable[[bytes | memoryview], object], data: bytes | memoryview) -> Future[object]:
        """Do work on a piece of a large file beside the thread that iterates."""
        return self._narrow.submit(work, data)

    def learn(self, settled: Settled) -> None:
        """Take note of what a task of whole files spent its time on."""
        self._waiting = settled.seconds > SLOW and settled.seconds > WAITS * settled.busy


@dataclass(frozen=True, slots=True)
class _Upload:
    """One upload's surroundings: makes tasks of sources, and entries of finished tasks."""

    session: Session
    parameters: ChunkingParameters
    recall: Recall
    lanes: _Lanes
    progress: Progress | None
    rooms: Rooms = field(default_factory=lambda: Rooms(ROOM + BUFFER))

    def tasks(self, sources: Iterable[tuple[str, Source]]) -> Iterator[Task]:
        """Submit everything in order."""
        single = self.parameters.single
        batch: Batch = []
        known: list[Known | None] = []
        held = 0  # bytes to be read
        remaining = iter(sources)
        while portion := list(islice(remaining, BATCH)):
            recalled = self.recall.find([source for _, source in portion])
            unknown = [one.size for (_, one), content in zip(portion, recalled, strict=True) if content is None]
            if not batch and sum(unknown) < BUFFER and max(unknown, default=0) <= single:
                yield self._files(portion, recalled)
                continue
            for one, content in zip(portion, recalled, strict=True):
                size = one[1].size if content is None else 0
                if size > single:
                    if batch:
                        yield self._files(batch, known)
                        batch, known, held = [], [], 0
                    yield from self._large(*one)
                    continue
                batch.append(one)
                known.append(content)
                held += size
                if held >= BUFFER or len(batch) >= BATCH:
                    yield self._files(batch, known)
                    batch, known, held = [], [], 0
        if batch:
            yield self._files(batch, known)

    def finish(self, task: Task) -> list[Entry]:
        """Wait for a task, hand over what is new, and return the entries that it completes."""
        return self._finish_pieces(task) if isinstance(task, _Pieces) else self._finish_files(task)

    def _files(self, batch: Batch, known: list[Known | None]) -> _Files:
        single, look = self.parameters.single, not self.recall.at_once
        return _Files(batch, self.lanes.submit(lambda: settle(batch, known, self.session, single, look=look)))

    def _large(self, path: str, source: Source) -> Iterator[_Pieces]:
        file = _Large(path, source, clock())
        cutter = Cutter(self.parameters)
        hasher = blake3()
        for data, room in buffers(source, self.rooms):
            file.size += len(data) - room
            hashed = self.lanes.beside(hasher.update, data[room:])
            pieces = cutter.feed(data, room)
            hashed.result()
            if pieces:
                yield self.lanes.pieces(file, pieces, self.session, last=False)
        file.digest = hasher.digest()
        yield self.lanes.pieces(file, cutter.finish(), self.session, last=True)

    def _finish_pieces(self, task: _Pieces) -> list[Entry]:
        file, last, result = task
        prepared = result.result()
        self.session.add(prepared.new, PackKind.DATA)
        file.chunks.extend(prepared.chunks)
        self._report(int(last), sum(size for _, size in prepared.chunks))
        if not last:
            return []
        root = None
        if len(file.chunks) > 1:
            root = recipe.build(file.chunks, lambda digest, data: self.session.put(digest, data, PackKind.META))
        content = Known(file.digest, root)
        self.recall.learn(file.source, content, file.known_at)
        return [_entry(file.path, file.source, content)]

    def _finish_files(self, task: _Files) -> list[Entry]:
        settled = task.result.result()
        self.session.add(settled.new, PackKind.DATA)
        self.lanes.learn(settled)
        for source, content in settled.read:
            self.recall.learn(source, content, settled.known_at)
        self._report(len(task.batch), sum([source.size for _, source in task.batch]))
        entries: list[Entry] = []
        for (path, source), known in zip(task.batch, settled.contents, strict=True):
            if known is not None:
                entries.append(_entry(path, source, known))
            else:
                for pieces in self._large(path, source):
                    entries += self._finish_pieces(pieces)
        return entries

    def _report(self, files: int, size: int) -> None:
        if self.progress is not None:
            self.progress(files, size)


def _entry(path: str, source: Source, content: Known) -> Entry:
    if isinstance(source, ExternalSource):
        where = External(source.url, source.etag, source.version)
        return Entry(path, EXTERNAL, source.size, content.digest, external=where)
    return Entry(path, FILE, source.size, content.digest, content.recipe, source.executable)
