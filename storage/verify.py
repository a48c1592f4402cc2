"""Reading packs to verify them: their footers, and every chunk in them, where they are.

Knows backends and packs; must not know what is done about damage. Nothing here changes anything, and nothing is called
damaged before it was read twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, islice
from operator import attrgetter
from typing import TypeVar

from .backends.base import Backend
from .chunks import ChunkStore, Location, Read, plan
from .errors import IntegrityError, InvalidInput, NotFound
from .pack import PackKind, Slot, read_slots
from .packs import PackRow

__all__ = ["ahead", "damaged_chunks", "locations", "share_of", "slots_of"]

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 8  # reads under way


def slots_of(backend: Backend, row: PackRow) -> list[Slot] | str:
    """Return where a pack's chunks lie; of what is no sound pack, what is wrong with it."""
    trouble = ""
    for _ in range(2):
        try:
            return read_slots(
                lambda start, length: backend.get(row.object, start, length), row.size, row.key, PackKind(row.kind)
            )
        except (IntegrityError, NotFound) as error:
            trouble = str(error)
    return trouble


def locations(row: PackRow, slots: Iterable[Slot]) -> Iterator[Location]:
    """Yield where a pack's footer says that its chunks lie."""
    for one in slots:
        yield Location(one.digest, row.id, row.key, row.kind, row.state, *one[1:])


def damaged_chunks(backend: Backend, located: Iterable[Location]) -> Iterator[tuple[int, list[Location]]]:
    """Read chunks; yield, read by read, the bytes that it had and the chunks in it that are not what they should be."""
    with ThreadPoolExecutor(backend.parallelism) as pool:
        for read, damaged in ahead(pool, lambda read: _damaged(backend, read), plan(located)):
            yield read.length, damaged


def _damaged(backend: Backend, read: Read) -> list[Location]:
    chunks: Iterable[Location] = read.chunks
    for _ in range(2):
        try:
            raw = memoryview(backend.get(read.key, read.start, read.length))
        except NotFound:
            raw = memoryview(b"")
        chunks = [one for one in chunks if ChunkStore.verified(one, _part(raw, one, read)) is None]
        if not chunks:
            break
    return list(chunks)


def _part(raw: memoryview, one: Location, read: Read) -> memoryview:
    at = one.offset - read.start
    return raw[at : at + one.stored]


def share_of(packs: Sequence[PackRow], share: float, seed: int = 0) -> list[PackRow]:
    """Return the packs of a share of all bytes, 0 to 1, rounded up to whole packs; InvalidInput for another share.

    They come in the order of their ids, which is as good as random, from a place on that consecutive seeds move by one
    share: so 20 consecutive seeds of 5 % read everything.

    >>> share_of([PackRow(1, b"a", 1, 2, 10), PackRow(2, b"b", 1, 2, 10)], 0.5, seed=3)
    [PackRow(id=2, key=b'b', kind=1, state=2, size=10)]
    """
    if not 0 < share <= 1:
        raise InvalidInput(f"a share of the bytes is above 0 and at most 1, not {share}")
    ordered = sorted(packs, key=attrgetter("key"))
    total = sum(one.size for one in ordered)
    if share == 1 or not total:
        return ordered
    begin = seed * share % 1 * total
    end = begin + share * total
    stops = accumulate(one.size for one in ordered)
    return [
        one
        for one, stop in zip(ordered, stops, strict=True)
        if (stop - one.size < end and stop > begin) or stop - one.size < end - total  # the share goes on at the start
    ]


def ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yield each item with its result, in order, working a few items ahead and never on all at once."""
    remaining = iter(items)
    waiting: deque[tuple[T, Future[R]]] = deque()
    while True:
        for item in islice(remaining, AHEAD - len(waiting)):
            waiting.append((item, pool.submit(work, item)))
        if not waiting:
            return
        item, future = waiting.popleft()
        yield item, future.result()
