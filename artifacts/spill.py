"""Sorted runs of a draft's rows on disk, for more of them than fit in memory.

Knows how rows are kept in a temporary file, taken out of it and merged; must not know what becomes of two rows of one
path. The file has no name and is private to this process: it holds blocks of encoded rows, and what is in which block
is known in memory alone.
"""

from __future__ import annotations

import os
import pickle
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from tempfile import TemporaryFile, gettempdir
from typing import NamedTuple

import msgspec
import zstandard

from ..storage.errors import Conflict
from .source import BytesSource, Source

__all__ = ["BLOCK", "Portion", "Row", "Run", "Spill", "in_portions", "merge", "path_of"]

BLOCK = 512  # rows encoded at once: what a merge holds of each run
HEAVY = 1 << 20  # bytes of content in memory that make a block end sooner
_LEVEL = -1  # of zstd: paths shrink to a seventh of their size in less time than the disk would take


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A path and its source; `overwrite` says that older rows of the path count no more."""

    path: str
    overwrite: bool
    source: Source


path_of = attrgetter("path")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Row]).decode
_NONE, _CLOSED = -1, -2  # in place of a descriptor
_PICKLED = 0x80  # the first byte of a pickle; no list begins so in msgpack


class Portion(NamedTuple):
    """Some rows that follow one another in a run, of the paths from `first` to `last`, which need not be there yet."""

    first: str
    last: str
    load: Callable[[], list[Row]]


class _Block(NamedTuple):
    first: str
    last: str
    start: int
    length: int
    rows: int
    size: int  # bytes of all the sources


class Spill:
    """One temporary file for any number of runs, gone when it is closed or dropped, and when the process dies.

    `folder` is the system's for temporary files unless it is given. Safe from many threads. Conflict where the disk
    takes no more.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._file = _NONE
        self._end = 0
        self._close: Callable[[], object] = lambda: None
        self._writing = threading.Lock()

    def close(self) -> None:
        """Remove the file; may be called again. Its runs are of no use then."""
        self._close()
        self._file = _CLOSED

    def write(self, rows: Iterable[Row]) -> Run:
        """Write a run of rows that come in the order of their paths."""
        return Run(self, [self.write_block(block) for block in _cut(rows)])

    def write_block(self, rows: Sequence[Row]) -> _Block:
        """Append one block."""
        data = zstandard.compress(_encoded(rows), _LEVEL)
        with self._writing:
            start = self._end
            try:
                self._append(data)
            except OSError as error:
                raise self._refusal(error) from None
            self._end += len(data)
        return _Block(rows[0].path, rows[-1].path, start, len(data), len(rows), sum([row.source.size for row in rows]))

    def read_block(self, block: _Block) -> list[Row]:
        """Return the rows of a block."""
        return _decoded(zstandard.decompress(os.pread(self._file, block.length, block.start)))

    def _append(self, data: bytes) -> None:
        if self._file == _NONE:
            file = TemporaryFile(prefix="lineart-draft-", buffering=0, dir=self._folder)  # noqa: SIM115 - see _close
            self._close = weakref.finalize(self, file.close)
            self._file = file.fileno()
        view, at = memoryview(data), self._end
        while view:
            done = os.pwrite(self._file, view, at)
            view, at = view[done:], at + done

    def _refusal(self, error: OSError) -> Conflict:
        try:
            where = self._folder or gettempdir()
        except OSError:
            where = "the folder for temporary files"
        return Conflict(
            f"a draft of so many files needs room on a disk, and {where} gives none ({error.strerror}); free some "
            "space, or set TMPDIR to a folder of another disk"
        )


class Run:
    """Rows on disk in the order of their paths; a path may be there more than once, the oldest first."""

    def __init__(self, spill: Spill, blocks: list[_Block]) -> None:
        self._spill = spill
        self._blocks = blocks

    def __len__(self) -> int:
        return sum([block.rows for block in self._blocks])

    @property
    def size(self) -> int:
        """Bytes of all the sources."""
        return sum([block.size for block in self._blocks])

    def portions(self) -> Iterator[Portion]:
        """Yield what `merge` takes."""
        for block in self._blocks:
            yield Portion(block.first, block.last, partial(self._spill.read_block, block))

    def remove(self, path: str) -> bool:
        """Take out a path and all that lies below it; say whether there was any."""
        file = self._without(path, path + "\0")
        return self._without(path + "/", path + "0") or file  # a zero is the character behind the slash

    def _without(self, low: str, high: str) -> bool:
        """Take out the paths from `low` to before `high`: only blocks at either end are written anew."""
        kept: list[_Block] = []
        found = False
        for block in self._blocks:
            if block.last < low or block.first >= high:
                kept.append(block)
            elif low <= block.first and block.last < high:
                found = True
            else:
                rows = self._spill.read_block(block)
                rest = [row for row in rows if not low <= row.path < high]
                if len(rest) == len(rows):
                    kept.append(block)
                else:
                    kept.append(self._spill.write_block(rest))
                    found = True
        self._blocks = kept
        return found


def in_portions(paths: Sequence[str], load: Callable[[Sequence[str]], list[Row]]) -> Iterator[Portion]:
    """Yield what `merge` takes of rows in memory, whose sorted paths are given."""
    for start in range(0, len(paths), BLOCK):
        some = paths[start : start + BLOCK]
        yield Portion(some[0], some[-1], partial(load, some))


def merge(runs: Sequence[Iterable[Portion]]) -> Iterator[list[Row]]:
    """Merge runs, given from the oldest to the newest: yield their rows in the order of paths, some at a time.

    Rows of one path come together, the oldest first. Holds about one portion of each run, where their paths overlap.
    """
    heads = [_Head(run) for run in runs]
    while heads := [head for head in heads if not head.done]:
        bound = min([head.last for head in heads])
        rows = list(chain.from_iterable([head.take(bound) for head in heads]))
        rows.sort(key=path_of)
        yield rows


class _Head:
    """How far one run is merged."""

    __slots__ = ("_at", "_next", "_portions", "_rows")

    def __init__(self, portions: Iterable[Portion]) -> None:
        self._portions = iter(portions)
        self._next = next(self._portions, None)
        self._rows: list[Row] = []
        self._at = 0  # of the rows, the first that is not taken yet: cutting them off each time would copy the rest

    @property
    def done(self) -> bool:
        return self._at == len(self._rows) and self._next is None

    @property
    def last(self) -> str:
        """The path up to which this run's rows are known without another portion."""
        if self._at < len(self._rows):
            return str(self._rows[-1].path)
        assert self._next is not None
        return self._next.last

    def take(self, bound: str) -> list[Row]:
        """Return all rows up to a path that is not behind `last`."""
        while self._next is not None and self._next.first <= bound:
            self._rows = self._rows[self._at :] + self._next.load()
            self._at = 0
            self._next = next(self._portions, None)
        start, self._at = self._at, bisect_right(self._rows, bound, self._at, key=path_of)
        return self._rows[start : self._at]


def _cut(rows: Iterable[Row]) -> Iterator[list[Row]]:
    block: list[Row] = []
    weight = 0
    for row in rows:
        block.append(row)
        if isinstance(row.source, BytesSource):
            weight += row.source.size
        if len(block) >= BLOCK or weight >= HEAVY:
            yield block
            block, weight = [], 0
    if block:
        yield block


def _encoded(rows: Sequence[Row]) -> bytes:
    try:
        return _encode(rows)
    except (UnicodeEncodeError, OverflowError):  # a file below a name that is not UTF-8, or from the year 3000
        return pickle.dumps(rows)


def _decoded(data: bytes) -> list[Row]:
    if data[0] == _PICKLED:
        rows: list[Row] = pickle.loads(data)  # noqa: S301 - written by this process to a file that has no name
        return rows
    return _decode(data)
