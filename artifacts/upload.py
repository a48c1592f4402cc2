"""From sources to entries: read, cut, hash, look up, encode, pack; in parallel, in order, in bounded memory.

Knows the files-and-chunks part of docs/format.md; must not know versions. Work goes through a window of tasks: threads
read small files (many to a task) and hash and encode; the thread that iterates reads large files, and takes results in
the order of the paths, so that what is read together later lies together.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from blake3 import blake3

from ..storage import recipe
from ..storage.chunking import ChunkingParameters, Cutter
from ..storage.pack import Encoded, PackKind, encode
from ..storage.session import Session
from .draft import BytesSource, FileSource, Source, open_source
from .entry import Entry

__all__ = ["Progress", "upload"]

Progress = Callable[[int, int], None]  # files done, bytes done: since the last call
WORKERS = min(4, (os.cpu_count() or 1) + 1)
WINDOW = WORKERS + 1  # tasks under way; each holds up to BUFFER bytes and what it encodes to
BUFFER = 8 << 20  # bytes
BATCH = 512  # small files to a task


class Prepared(NamedTuple):
    """What a task hands back: its chunks in order, and those of them that are new."""

    chunks: list[tuple[bytes, int]]  # digest, size
    new: list[Encoded]


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
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="lineart-hash") as pool:
        tasks = _tasks(sources, session, parameters, pool)
        window: deque[Task] = deque()
        try:
            for task in tasks:
                window.append(task)
                if len(window) >= WINDOW:
                    yield from _finish(window.popleft(), session, progress)
            while window:
                yield from _finish(window.popleft(), session, progress)
        finally:
            for task in window:
                task[3].cancel()


def _tasks(
    sources: Iterable[tuple[str, Source]], session: Session, parameters: ChunkingParameters, pool: ThreadPoolExecutor
) -> Iterator[Task]:
    batch: Small = []
    held = 0
    for path, source in sources:
        if source.size > parameters.single:
            if batch:
                yield batch, None, True, pool.submit(_small, batch, session)
                batch, held = [], 0
            yield from _large(_Large(path, source), session, parameters, pool)
            continue
        batch.append((path, source))
        held += source.size
        if held >= BUFFER or len(batch) >= BATCH:
            yield batch, None, True, pool.submit(_small, batch, session)
            batch, held = [], 0
    if batch:
        yield batch, None, True, pool.submit(_small, batch, session)


def _large(file: _Large, session: Session, parameters: ChunkingParameters, pool: ThreadPoolExecutor) -> Iterator[Task]:
    cutter = Cutter(parameters)
    hasher = blake3()
    for data in _buffers(file.source):
        file.size += len(data)
        hasher.update(data)
        pieces = cutter.feed(data)
        if pieces:
            yield None, file, False, pool.submit(_prepare, pieces, session)
    file.digest = hasher.digest()
    yield None, file, True, pool.submit(_prepare, cutter.finish(), session)


def _finish(task: Task, session: Session, progress: Progress | None) -> Iterator[Entry]:
    batch, file, last, future = task
    prepared = future.result()
    session.add(prepared.new, PackKind.DATA)
    if batch is not None:
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
    chunks: list[tuple[bytes, int]] = []
    contents: dict[bytes, bytes] = {}
    for _, source in batch:
        data = source.data if isinstance(source, BytesSource) else _read(source)
        digest = blake3(data).digest()
        chunks.append((digest, len(data)))
        if data:
            contents[digest] = data
    known = session.known(contents)
    return Prepared(chunks, [encode(digest, data) for digest, data in contents.items() if digest not in known])


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
    """Read a small file whole; it must be the file that was added, before and after."""
    number = open_source(source)
    try:
        data = os.read(number, source.size + 1)
        while len(data) < source.size:
            more = os.read(number, source.size + 1 - len(data))
            if not more:
                break
            data += more
        if len(data) != source.size or not source.matches(os.fstat(number)):
            raise source.changed()
    finally:
        os.close(number)
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
        left = source.size
        while data := os.read(number, min(BUFFER, left + 1)):
            left -= len(data)
            if left < 0:
                raise source.changed()
            yield data
        if left or not source.matches(os.fstat(number)):
            raise source.changed()
    finally:
        os.close(number)
