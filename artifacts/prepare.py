"""What one task of an upload does: read, hash, look up, encode.

Knows sources, chunks and a session; must not know the order of tasks or entries. Every function may run in any thread,
but for `buffers`, which belongs to the one that iterates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from time import perf_counter, thread_time
from typing import NamedTuple

from blake3 import blake3

from ..storage import recipe
from ..storage.codec import MAX_CHUNK
from ..storage.errors import Conflict, IntegrityError, InvalidInput
from ..storage.pack import Encoded, encode
from ..storage.rooms import Rooms
from ..storage.session import Session
from .nearby import Nearby
from .source import BytesSource, ExternalSource, FileSource, Source, StoredSource, open_source, require_same
from .stat_cache import Known, clock

__all__ = ["BUFFER", "ROOM", "Batch", "Prepared", "Settled", "buffers", "prepare", "settle"]

BUFFER = 8 << 20  # bytes
ROOM = MAX_CHUNK  # bytes before them
RECIPES = 64  # read at once
HALF = 0.5

Batch = list[tuple[str, Source]]


class Prepared(NamedTuple):
    """What a task of pieces hands back: its chunks in order, and those of them that are new."""

    chunks: list[tuple[bytes, int]]  # digest, size
    new: list[Encoded]


class Settled(NamedTuple):
    """What a task of whole files hands back: their contents in order, and the chunks that are new."""

    contents: list[Known | None]  # None for a large file whose chunks are not all there any more: it has to be read
    read: list[tuple[Source, Known]]  # those that were not recalled
    new: list[Encoded]
    known_at: int  # nanoseconds of `clock`, before the first was read
    seconds: float  # that it took
    busy: float  # of them, with a processor


def settle(batch: Batch, recalled: list[Known | None], session: Session, single: int, *, look: bool = True) -> Settled:
    """Read files that are one chunk each, unless they are recalled; an empty one has no chunk and is not stored.

    SourceChanged where one is not what was added; of those that are recalled that is asked only if they are to be
    looked at.
    """
    began, work, known_at = perf_counter(), thread_time(), clock()
    sizes = {known: one.size for one, known in _stored_ones(batch, recalled)}
    complete = _stored(sizes, session)
    contents: list[Known | None] = []
    read: list[tuple[Source, Known]] = []
    found: dict[bytes, bytes] = {}
    with Nearby() as nearby:
        for (_, source), known in zip(batch, recalled, strict=True):
            if isinstance(source, ExternalSource):
                contents.append(known)
            elif known in complete or isinstance(source, StoredSource):
                if not isinstance(source, FileSource):
                    _require_stored(source, session, is_there=known in complete)
                elif look:
                    nearby.require_same(source)
                contents.append(known)
            elif source.size > single:
                contents.append(None)
            else:
                data = source.data if isinstance(source, BytesSource) else _read(source, nearby)
                content = Known(blake3(data).digest())
                contents.append(content)
                read.append((source, content))
                if data:
                    found[content.digest] = data
    stored = session.known(found) if found else ()
    new = [encode(digest, data) for digest, data in found.items() if digest not in stored]
    return Settled(contents, read, new, known_at, perf_counter() - began, thread_time() - work)


def _stored_ones(batch: Batch, recalled: list[Known | None]) -> Iterator[tuple[Source, Known]]:
    """Yield what the store may have already, with its content: what is recalled, unless it stays elsewhere."""
    for (_, source), known in zip(batch, recalled, strict=True):
        if known is not None and not isinstance(source, ExternalSource):
            yield source, known


def _require_stored(source: Source, session: Session, *, is_there: bool) -> None:
    """Raise Conflict where the store does not have a file of another version any more, InvalidInput if it never had."""
    if isinstance(source, StoredSource) and source.store != session.chunks.database.store_id:
        raise InvalidInput(f"{source} is in another store: download it there, and add the file")
    if not is_there:
        raise Conflict(f"the content of {source} is not in this store any more; nothing was logged")


def _stored(sizes: Mapping[Known, int], session: Session) -> set[Known | None]:
    """Return which of some contents the store has, every chunk of each, and rely on the packs that hold them."""
    there = session.known({one.recipe or one.digest for one, size in sizes.items() if size})
    whole = {one for one, size in sizes.items() if not size or (one.recipe or one.digest) in there}
    cut = [one for one in whole if one.recipe is not None]
    for start in range(0, len(cut), RECIPES):
        some = cut[start : start + RECIPES]
        try:
            pieces = _pieces(some, sizes, session)
        except IntegrityError:  # damage: what the files hold heals it
            whole.difference_update(some)
            continue
        known = session.known(set().union(*pieces.values()))
        whole -= {one for one, digests in pieces.items() if not known.issuperset(digests)}
    return {*whole}


def _pieces(contents: list[Known], sizes: Mapping[Known, int], session: Session) -> dict[Known, set[bytes]]:
    """Return the digests of the chunks of contents that have recipes."""
    held = session.chunks.get_many([one.recipe for one in contents if one.recipe is not None])

    def get(digest: bytes) -> bytes:
        return held.get(digest) or session.chunks.get(digest)

    return {
        one: {digest for digest, _ in recipe.walk(one.recipe, sizes[one], get)}
        for one in contents
        if one.recipe is not None
    }


def prepare(pieces: list[memoryview], session: Session) -> Prepared:
    """Hash pieces of a large file, and encode those that are new."""
    contents = {}
    chunks = []
    for piece in pieces:
        digest = blake3(piece).digest()
        chunks.append((digest, len(piece)))
        contents[digest] = piece
    known = session.known(contents)
    new = [encode(digest, data) for digest, data in contents.items() if digest not in known]
    # What is stored raw stays a view of the room it was read into, which must not be kept for a part of it only.
    views = [one.data for one in new if type(one.data) is memoryview]
    if sum(map(len, views)) < HALF * (ROOM + BUFFER):
        new = [one._replace(data=bytes(one.data)) for one in new]
    return Prepared(chunks, new)


def _read(source: FileSource, nearby: Nearby) -> bytes:
    """Read a small file whole; it must be the file that was added."""
    number = nearby.open(source)
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


def buffers(source: Source, rooms: Rooms) -> Iterator[tuple[bytes | memoryview, int]]:
    """Yield a large source in portions of BUFFER bytes, each with the room before it; `rooms` are of both together.

    A file must be the same before and after.
    """
    if isinstance(source, BytesSource):
        for start in range(0, source.size, BUFFER):
            view, part = memoryview(rooms.take()), memoryview(source.data)[start : start + BUFFER]
            view[ROOM : ROOM + len(part)] = part
            yield view[: ROOM + len(part)], ROOM
        return
    assert isinstance(source, FileSource)
    number = open_source(source)
    try:
        require_same(source, number)
        left = source.size
        while left >= BUFFER:
            view = memoryview(rooms.take())
            read = os.readv(number, [view[ROOM:]])
            if not read:
                raise source.changed()
            left -= read
            yield view[: ROOM + read], ROOM
        while data := os.read(number, left + 1):  # little is not worth a room, which it would keep
            left -= len(data)
            if left < 0:
                raise source.changed()
            yield data, 0
        require_same(source, number)
        if left:
            raise source.changed()
    finally:
        os.close(number)
