"""A backend around another that keeps copies of what was read on this machine.

Knows which objects never change, and blocks of them; must not know what is in them. What it answers is what was once
read from the place, or what somebody put into the folder: whoever reads verifies it, and on a mismatch asks `origin`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO

from .. import forking
from ..layout import parse_pack_key
from .base import Backend, ObjectInfo, check_key, check_slice
from .blocks import BlockFolder
from .wrapping import WrappingBackend

__all__ = ["CachingBackend", "is_pack"]


def is_pack(key: str) -> bool:
    """Whether a key is a pack's, whose name is never used twice, in any store."""
    return parse_pack_key(key) is not None


class CachingBackend(WrappingBackend):
    """`inner`, with blocks of the objects that it `keeps` read from `blocks` where they are there.

    A read asks the place once for each run of blocks that are missing, rounded out to whole blocks. Two threads that
    miss the same block ask once, and no thread waits before it has asked for what is its own. Everything but reading
    is done by the place itself. An object that was deleted there may still be read here. Needs memory for the bytes
    asked for, twice where they come from the place, and two blocks.
    """

    def __init__(self, inner: Backend, blocks: BlockFolder, *, keeps: Callable[[str], bool] = is_pack) -> None:
        super().__init__(inner)
        self.blocks = blocks
        self._keeps = keeps
        self._fetching: dict[tuple[str, int], threading.Event] = {}  # blocks, and what tells that a thread has them
        forking.watch(self)

    def after_fork(self) -> None:
        """Forget what threads of the parent are fetching: they are not in this process."""
        self._fetching = {}

    @property
    def origin(self) -> Backend:
        """The place itself."""
        return self.inner.origin

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read from blocks that are kept, and ask for those that are not, and keep them."""
        if length == 0 or not self.blocks.usable or not self._keeps(key):
            return self.inner.get(key, start, length)
        check_key(key)
        check_slice(start, length)
        parts = self._to_the_end(key, start) if length is None else self._range(key, start, start + length)
        whole = BytesIO()
        for part in parts:
            whole.write(part)
        return whole.getvalue()

    def get_at_most(self, key: str, start: int, length: int) -> bytes:
        """Do as `get`; of an object that is not kept, the place is asked so."""
        return self.get(key, start, length) if self._keeps(key) else self.inner.get_at_most(key, start, length)

    def kept(self, key: str, start: int, length: int) -> bytes | None:
        """Read from blocks that are kept, and from nowhere else."""
        check_slice(start, length)
        if length == 0 or not self._keeps(key):
            return None
        block = self.blocks.block
        whole = BytesIO()
        for number in range(start // block, (start + length - 1) // block + 1):
            found = self.blocks.load(key, number)
            if found is None:
                return None
            at = number * block
            whole.write(found.data[max(0, start - at) : start + length - at])
        return whole.getvalue() if whole.tell() == length else None

    def size(self, key: str) -> int:
        """Ask for the size."""
        return self.inner.size(key)

    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write; what was read of an object of that name is forgotten."""
        self.inner.put(key, parts)
        self.refresh(key)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write unless there is one."""
        return self.inner.put_new(key, data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List what is in the place."""
        return self.inner.list(prefix)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete, and forget what was read of the objects."""
        self.inner.delete(keys)
        for key in keys:
            self.refresh(key)

    def unfinished(self) -> Iterator[str]:
        """Ask the inner backend."""
        return self.inner.unfinished()

    def discard(self, names: Sequence[str]) -> None:
        """Remove in the place."""
        self.inner.discard(names)

    def refresh(self, key: str) -> None:
        """Forget what was read of an object."""
        self.inner.refresh(key)
        if self._keeps(key):
            self.blocks.drop(key)

    def _to_the_end(self, key: str, start: int) -> Iterator[bytes | memoryview]:
        """Yield an object's bytes from `start` on, the rest from the first missing block on by one request."""
        block = self.blocks.block
        number, skip = divmod(start, block)
        while True:
            found = self.blocks.load(key, number)
            if found is None or not (found.last or len(found.data) == block):
                break
            yield found.data[skip:]
            if found.last:
                return
            number, skip = number + 1, 0
        data = self.inner.get(key, number * block, None)
        self._keep(key, number, data, ended=True)
        yield memoryview(data)[skip:]

    def _range(self, key: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        """Yield an object's bytes from `start` to `end`, or to its own end."""
        block = self.blocks.block
        wanted = range(start // block, (end - 1) // block + 1)
        found = self._gather(key, wanted, end)
        for number in wanted:
            part = found.pop(number, b"")  # and so let go of block by block
            yield part[max(0, start - number * block) : end - number * block]
            if len(part) < block:
                return

    def _gather(self, key: str, wanted: Sequence[int], end: int) -> dict[int, memoryview]:
        """Return blocks of an object that is wanted up to `end`; what lies behind the object's own end is left out."""
        found: dict[int, memoryview] = {}
        while wanted:
            mine = threading.Event()
            theirs: dict[int, threading.Event] = {}
            try:
                absent = []
                for number in wanted:
                    last = self._load(key, number, end, found)
                    if last is None:
                        owner = self._fetching.setdefault((key, number), mine)
                        if owner is not mine:
                            theirs[number] = owner
                        else:  # looked for again: another thread may have had it until just now
                            last = self._load(key, number, end, found)
                            if last is None:
                                absent.append(number)
                    if last:
                        break
                for run in _runs(absent):
                    self._fetch(key, run, end, found)
            finally:
                for number in wanted:
                    if self._fetching.get((key, number)) is mine:
                        del self._fetching[key, number]
                mine.set()
            for owner in theirs.values():
                owner.wait()
            wanted = list(theirs)
        return found

    def _load(self, key: str, number: int, end: int, found: dict[int, memoryview]) -> bool | None:
        """Add a block that is kept, and say whether it is the last; None where there is none, or too little of it."""
        block = self.blocks.load(key, number)
        whole = self.blocks.block
        if block is None or not (block.last or len(block.data) == whole or number * whole + len(block.data) >= end):
            return None
        found[number] = block.data
        return block.last

    def _fetch(self, key: str, run: range, end: int, found: dict[int, memoryview]) -> None:
        """Add a run of blocks by one request, and keep them.

        What is asked for beyond `end` need not be there, so fewer bytes are no reason to look for lost ones; but then
        it is not known either whether the object ends there.
        """
        block = self.blocks.block
        start, length = run.start * block, len(run) * block
        least = min(length, end - start)
        data = self.inner.get(key, start, length) if least == length else self.inner.get_at_most(key, start, length)
        if len(data) < least < length:
            data = self.inner.get(key, start, least)
        view = memoryview(data)
        found.update((number, view[(at := (number - run.start) * block) : at + block]) for number in run)
        self._keep(key, run.start, data, ended=len(data) < least)

    def _keep(self, key: str, number: int, data: bytes, *, ended: bool) -> None:
        """Keep what was read from block `number` on; `ended` says that the object ends behind it."""
        block = self.blocks.block
        view = memoryview(data)
        for at in range(0, len(data) + ended, block):  # an end between two blocks is an empty one
            part = view[at : at + block]
            self.blocks.store(key, number + at // block, part, last=ended and len(part) < block)


def _runs(numbers: Iterable[int]) -> Iterator[range]:
    """Yield the runs of neighbours among ascending numbers.

    >>> list(_runs([1, 2, 3, 7]))
    [range(1, 4), range(7, 8)]
    """
    run = range(0)
    for number in numbers:
        if run and number == run.stop:
            run = range(run.start, number + 1)
        else:
            if run:
                yield run
            run = range(number, number + 1)
    if run:
        yield run
