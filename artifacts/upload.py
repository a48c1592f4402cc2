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
from time import perf_counter, thread_time
from typing import NamedTuple, Self

from blake3 import blake3

from ..storage import recipe
from ..storage.chunking import ChunkingParameters, Cutter
from ..storage.pack import Encoded, PackKind, encode
from ..storage.session import Session
from ..storage.threads import Threads
from .draft import BytesSource, FileSource, Source, open_source, require_same
from .entry import Entry

__all__ = ["Progress", "upload"]

Progress = Callable[[int, int], None]  # files done, bytes done: since the last call
WORKERS = min(4, (os.cpu_count() or 1) + 1)
WINDOW = WORKERS + 1  # tasks under way; each holds up to BUFFER bytes and what it encodes to
BUFFER = 8 << 20  # bytes
BATCH = 1024  # small files to a task
SLOW, WAITS = 0.05, 4.0  # seconds of a task, and how many times its work: from there on it is waiting for the disk


class Prepared(NamedTuple):
    """What a task hands back: its chunks in order, and those of them that are new."""

    chunks: list[tuple[bytes, int]]  # digest, size
    new: list[Encoded]
    seconds: float = 0.0  # that it took
    busy: float = 0.0  # of them, with a processor


@dataclass(slots=True)
class _Large:
    """A file of several tasks."""

    path: str
    source: Source
    size: int = 0
    digest: bytes = b""  # known once it is read to its end
    chunks: list[tuple[bytes, int]] = field(default_factory=list)


Small = list[tuple[str, Source]]
Task = tuple[Small | None, _Large | None, bool, "Future[Prepared]"]  # of a large one: whether it is its last


def upload(
    sources: Iterable[tuple[str, Source]],
    session: Session,
    parameters: ChunkingParameters,
    progress: Progress | None = None,
) -> Iterator[Entry]:
    """Store the content of sources and yield their entries in the same order.

    Memory is bounded by the window and the session's packs, whatever the sizes. Raises SourceChanged where a file is
    not what was added.
    """
    with _Lanes() as lanes:
        window: deque[Task] = deque()
        try:
            for task in _tasks(sources, session, parameters, lanes):
                window.append(task)
                if len(window) >= WINDOW:
                    yield from _finish(window.popleft(), session, lanes, progress)
            while window:
                yield from _finish(window.popleft(), session, lanes, progress)
        finally:
            for task in window:
                task[3].cancel()


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

    def small(self, batch: Small, session: Session) -> Task:
        """Submit small files."""
        return batch, None, True, (self._wide if self._waiting else self._narrow).submit(_small, batch, session)

    def large(self, file: _Large, pieces: list[memoryview], session: Session, *, last: bool) -> Task:
        """Submit pieces of a large file."""
        return None, file, last, self._wide.submit(_prepare, pieces, session)

    def learn(self, prepared: Prepared) -> None:
        """Take note of what a task of small files spent its time on."""
        self._waiting = prepared.seconds > SLOW and prepared.seconds > WAITS * prepared.busy


def _tasks(
    sources: Iterable[tuple[str, Source]], session: Session, parameters: ChunkingParameters, lanes: _Lanes
) -> Iterator[Task]:
    batch: Small = []
    held = 0
    for path, source in sources:
        if source.size > parameters.single:
            if batch:
                yield lanes.small(batch, session)
                batch, held = [], 0
            yield from _large(_Large(path, source), session, parameters, lanes)
            continue
        batch.append((path, source))
        held += source.size
        if held >= BUFFER or len(batch) >= BATCH:
            yield lanes.small(batch, session)
            batch, held = [], 0
    if batch:
        yield lanes.small(batch, session)


def _large(file: _Large, session: Session, parameters: ChunkingParameters, lanes: _Lanes) -> Iterator[Task]:
    cutter = Cutter(parameters)
    hasher = blake3()
    for data in _buffers(file.source):
        file.size += len(data)
        hasher.update(data)
        pieces = cutter.feed(data)
        if pieces:
            yield lanes.large(file, pieces, session, last=False)
    file.digest = hasher.digest()
    yield lanes.large(file, cutter.finish(), session, last=True)


def _finish(task: Task, session: Session, lanes: _Lanes, progress: Progress | None) -> Iterator[Entry]:
    batch, file, last, future = task
    prepared = future.result()
    session.add(prepared.new, PackKind.DATA)
    if batch is not None:
        lanes.learn(prepared)
        for (path, source), (digest, size) in zip(batch, prepared.chunks, strict=True):
            yield _entry(path, source, size, digest, None)
        done = len(batch)
    else:
        assert file is not None
        file.chunks.extend(prepared.chunks)
        done = int(last)
        if last:
            root = None
            if len(file.chunks) > 1:
                root = recipe.build(file.chunks, lambda digest, data: session.put(digest, data, PackKind.META))
            yield _entry(file.path, file.source, file.size, file.digest, root)
    if progress is not None:
        progress(done, sum(size for _, size in prepared.chunks))


def _entry(path: str, source: Source, size: int, digest: bytes, root: bytes | None) -> Entry:
    executable = isinstance(source, FileSource) and source.executable
    return Entry(path=path, kind=0, size=size, digest=digest, recipe=root, executable=executable, external=None)


def _small(batch: Small, session: Session) -> Prepared:
    """Read files that are one chunk each; an empty one has none and is not stored."""
    began, work = perf_counter(), thread_time()
    chunks: list[tuple[bytes, int]] = []
    contents: dict[bytes, bytes] = {}
    for _, source in batch:
        data = source.data if isinstance(source, BytesSource) else _read(source)
        digest = blake3(data).digest()
        chunks.append((digest, len(data)))
        if data:
            contents[digest] = data
    known = session.known(contents)
    new = [encode(digest, data) for digest, data in contents.items() if digest not in known]
    return Prepared(chunks, new, perf_counter() - began, thread_time() - work)


def _prepare(pieces: list[memoryview], session: Session) -> Prepared:
    contents = {}
    chunks = []
    for piece in pieces:
        digest = blake3(piece).digest()
        chunks.append((digest, len(piece)))
        contents[digest] = piece
    known = session.known(contents)
    return Prepared(chunks, [encode(digest, data) for digest, data in contents.items() if digest not in known])


def _read(source: FileSource) -> bytes:
    """Read a small file whole; it must be the file that was added."""
    number = open_source(source)
    try:
        data = os.read(number, source.size + 1)
        while 0 < len(data) < source.size and (more := os.read(number, source.size + 1 - len(data))):
            data += more
        require_same(source, number)
    except OSError:
        require_same(source, number)  # a folder or a FIFO in its place cannot be read
        raise
    finally:
        os.close(number)
    if len(data) != source.size:
        raise source.changed()
    return data


def _buffers(source: Source) -> Iterator[bytes | memoryview]:
    """Yield a large source in buffers of BUFFER bytes; a file must be the same before and after."""
    if isinstance(source, BytesSource):
        view = memoryview(source.data)
        for start in range(0, len(view), BUFFER):
            yield view[start : start + BUFFER]
        return
    assert isinstance(source, FileSource)
    number = open_source(source)
    try:
        require_same(source, number)
        left = source.size
        while data := os.read(number, min(BUFFER, left + 1)):
            left -= len(data)
            if left < 0:
                raise source.changed()
            yield data
        require_same(source, number)
        if left:
            raise source.changed()
    finally:
        os.close(number)
