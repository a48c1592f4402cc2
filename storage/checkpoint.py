"""Checkpoints of the journal: many small objects become few large ones, which hold the same lines.

Knows the objects below `journal/` (docs/format.md, "Journal objects"); what an event means is none of its business.
What a checkpoint stands for is deleted only once the checkpoint is durable and was read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import zstandard

from .engine import Engine
from .errors import IntegrityError
from .layout import JOURNAL, JournalName, checkpoint_key, parse_journal_key

__all__ = ["merge_journal", "mergeable"]

FEWEST = 1000  # journal objects that are worth a checkpoint
LARGEST = 32 << 20  # bytes of the lines in one checkpoint
SMALL = 4 << 20  # bytes of a checkpoint that the next one takes in
DELETED = 1000  # objects in one call


class _Object(NamedTuple):
    name: JournalName
    key: str
    size: int


def mergeable(engine: Engine, fewest: int = FEWEST) -> int:
    """Return how many journal objects a checkpoint would take the place of."""
    count = sum(not one.name.is_checkpoint for one in _listed(engine))
    return count if count >= fewest else 0


def merge_journal(engine: Engine, *, fewest: int = FEWEST, largest: int = LARGEST, small: int = SMALL) -> int:
    """Write checkpoints in the place of journal objects, where there are many; return how many objects went.

    One holds lines of `largest` bytes, and takes in the one before it if that is of less than `small` bytes. May be
    interrupted anywhere, and run by several at once: what two of them write is the same. Raises IntegrityError
    where the journal cannot be read whole; nothing is deleted then.
    """
    found = _listed(engine)
    plain = [one for one in found if not one.name.is_checkpoint]
    if len(plain) < fewest:
        return 0
    start = _start(plain, [one for one in found if one.name.is_checkpoint], small)
    written: list[str] = []
    end = start - 1
    for first, last, data in _packed(engine, start, largest):
        key = checkpoint_key(first, last)
        engine.backend.put(key, [data])
        if engine.backend.origin.get(key) != data:
            raise IntegrityError(f"{engine.backend.url}: {key} does not read back as it was written")
        written.append(key)
        end = last
    replaced = [one.key for one in found if start <= one.name.first and one.name.last <= end and one.key not in written]
    for at in range(0, len(replaced), DELETED):
        engine.backend.delete(replaced[at : at + DELETED])
    return len(replaced)


def _listed(engine: Engine) -> list[_Object]:
    listed = ((parse_journal_key(info.key), info) for info in engine.backend.list(JOURNAL))
    return [_Object(name, info.key, info.size) for name, info in listed if name is not None]


def _start(plain: Iterable[_Object], checkpoints: list[_Object], small: int) -> int:
    """Return the first event to be merged.

    That is the first of the newest checkpoint while it is small, and else the one behind it; where objects were left
    that a checkpoint stands for, the first of that one, which is so written and read back once more.
    """
    newest = max(checkpoints, key=lambda one: one.name.last, default=None)
    if newest is None:
        return 1
    start = newest.name.first if newest.size < small else newest.name.last + 1
    left = min((one.name.first for one in plain), default=start)
    return min([start, *(one.name.first for one in checkpoints if left <= one.name.last)])


def _packed(engine: Engine, start: int, largest: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the first and the last event of each checkpoint from `start` on, and its bytes."""
    lines = engine.journal.lines(after=start - 1)
    behind = next(lines, None)
    first = start
    while behind is not None:
        packer = zstandard.ZstdCompressor(level=9, write_checksum=True).compressobj()
        parts: list[bytes] = []
        room, last = largest, first - 1
        while behind is not None and (room >= len(behind[1]) or last < first):
            parts.append(packer.compress(behind[1]))
            room -= len(behind[1])
            last += 1
            behind = next(lines, None)
        yield first, last, b"".join([*parts, packer.flush()])
        first = last + 1
