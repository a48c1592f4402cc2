"""What external entries were when they were fetched into a folder: so that their files are known there afterwards.

Knows entries and the notes of the stat cache; must not know places or networks. An etag says nothing of the bytes that
a server sends: those that came, verified as far as can be, are what the file is compared with from then on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import msgspec
from blake3 import blake3

from .entry import FILE, UNSEEN, Entry
from .stat_cache import MOST, StatCache

__all__ = ["Sightings"]

_KIND = "outside"


class _Seen(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    state: bytes  # of what entry: its URL and its digest
    size: int
    digest: bytes  # of the bytes that came


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, _Seen]).decode


class Sightings:
    """The memory of one folder.

    >>> Sightings(StatCache(None), Path("data")).as_file(Entry("a", FILE, 3, bytes(32))).size
    3
    """

    def __init__(self, cache: StatCache, root: Path) -> None:
        self._cache = cache
        self._root = os.fspath(root)
        self._learned: dict[str, _Seen] = {}

    @cached_property
    def _before(self) -> dict[str, _Seen]:
        data = self._cache.load_note(self._root, _KIND)
        try:
            return {} if data is None else _decode(data)
        except ValueError:  # written by another version of this program
            return {}

    def as_file(self, entry: Entry) -> Entry | None:
        """Return the file that an entry is in this folder; None of an external one that is not known here."""
        if entry.external is None:
            return entry
        if entry.digest != UNSEEN and not entry.external.is_told:  # its bytes were read when it was logged
            return Entry(entry.path, FILE, entry.size, entry.digest, None, entry.executable)
        seen = self._learned.get(entry.path) or self._before.get(entry.path)
        if seen is None or seen.state != _state(entry):
            return None
        return Entry(entry.path, FILE, seen.size, seen.digest, None, entry.executable)

    def as_files(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield entries as the files that they are in this folder; external ones that are not known as they are."""
        for entry in entries:
            yield entry if entry.external is None else self.as_file(entry) or entry

    def learn(self, entry: Entry, size: int, digest: bytes) -> None:
        """Note the bytes that an external entry brought."""
        if len(self._learned) < MOST:
            self._learned[entry.path] = _Seen(_state(entry), size, digest)

    def save(self) -> None:
        """Remember what was learned, beside what was known."""
        if self._learned:
            rows = {**self._before, **self._learned}
            self._cache.save_note(self._root, _KIND, _encode(dict(list(rows.items())[-MOST:])))


def _state(entry: Entry) -> bytes:
    assert entry.external is not None
    return blake3(entry.external.url.encode() + b"\0" + entry.digest).digest()
