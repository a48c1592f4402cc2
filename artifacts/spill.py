"""Sorting more entries than fit in memory.

Knows how to sort runs of entries to disk and merge them; must not know why they are sorted. The files are private to
this process and hold encoded entries, each behind its length (4 bytes, little-endian).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import msgspec

from ..storage.errors import InvalidName
from .entry import Entry, check_paths, encode_entries, path_of, shown

__all__ = ["sorted_entries"]

_FAN_IN = 64  # runs merged at once: bounds open files and buffers
_BUFFER = 1 << 16
_PORTION = 4096
_decode = msgspec.msgpack.Decoder(Entry).decode


def sorted_entries(entries: Iterable[Entry], limit: int, directory: Path) -> Iterator[Entry]:
    """Yield entries sorted by the bytes of their paths, holding at most about `limit` of them in memory.

    Up to `limit` entries are sorted in memory; more are spilled to unnamed temporary files in `directory`, which are
    gone when the iterator ends, is closed or is dropped, and when the process dies. Raises InvalidName for a path
    that is there twice or outside the grammar, InvalidInput for fields that cannot be stored (both only where it
    notices: `build` checks all), OSError when the disk is full.

    >>> [entry.path for entry in sorted_entries([Entry("b", 0, 0, bytes(32)), Entry("a", 0, 0, bytes(32))], 9, Path())]
    ['a', 'b']
    """
    if limit < 1:
        raise ValueError(f"the limit is {limit}; at least one entry must fit in memory")
    return _unique(_sorted(iter(entries), limit, directory))


def _sorted(source: Iterator[Entry], limit: int, directory: Path) -> Iterator[Entry]:
    with ExitStack() as files:
        levels: list[list[IO[bytes]]] = [[]]  # runs of equal age are merged together, so each entry moves seldom
        while True:
            run = sorted(islice(source, limit), key=path_of)
            if len(run) < limit:
                break
            levels[0].append(_spill(run, files, directory))
            del run
            for level, runs in enumerate(levels):
                if len(runs) == _FAN_IN:
                    merged = _spill(heapq.merge(*map(_read, runs), key=path_of), files, directory)
                    for old in runs:
                        old.close()
                    runs.clear()
                    if level + 1 == len(levels):
                        levels.append([])
                    levels[level + 1].append(merged)
        runs = [run_file for level in levels for run_file in level]
        yield from heapq.merge(*map(_read, runs), run, key=path_of)


def _spill(run: Iterable[Entry], files: ExitStack, directory: Path) -> IO[bytes]:
    file = TemporaryFile(dir=directory, prefix="entries-", buffering=_BUFFER)  # noqa: SIM115 - closed by `files`
    files.callback(file.close)
    source = iter(run)
    while portion := list(islice(source, _PORTION)):
        file.write(b"".join(_framed(portion)))
    file.seek(0)
    return file


def _framed(portion: Sequence[Entry]) -> Iterator[bytes]:
    check_paths(list(map(path_of, portion)))
    for encoded in encode_entries(portion):
        yield len(encoded).to_bytes(4, "little")
        yield encoded


def _read(file: IO[bytes]) -> Iterator[Entry]:
    read = file.read
    while head := read(4):
        yield _decode(read(int.from_bytes(head, "little")))


def _unique(entries: Iterator[Entry]) -> Iterator[Entry]:
    before = None
    for entry in entries:
        if entry.path == before:
            raise InvalidName(f"the path {shown(entry.path)} is there twice")
        before = entry.path
        yield entry
