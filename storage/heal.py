"""Healing: chunks that no pack offers any more are written anew, from wherever their good bytes still are.

Knows digests, copies that are no good where they lie, and copies on this machine; must not know what the chunks are
for. Whatever is offered is verified against its digest before it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Self

from blake3 import blake3

from .chunks import ChunkStore, Data, Location
from .engine import Engine
from .errors import NotFound
from .pack import PackKind
from .tables import PackState

__all__ = ["Healer", "PlainChunks"]

_ASIDE = (PackState.MISSING, PackState.QUARANTINED)


class PlainChunks(ChunkStore):
    """Reads from the place itself, past copies on this machine; remembers in `damaged` where bad copies lay."""

    def __init__(self, engine: Engine, damaged: MutableMapping[bytes, list[Location]]) -> None:
        super().__init__(engine.backend, engine.database)
        self._damaged = damaged

    def forget(self, location: Location) -> None:
        """Drop the index row of a damaged copy, and remember the place."""
        self._damaged.setdefault(location.digest, []).append(location)
        super().forget(location)


class Healer:
    """Takes good bytes of lost chunks, and makes them part of the store when it is left without an error.

    `damaged` says where copies lay whose bytes in the bucket are no good. `healed` counts chunks. May be interrupted:
    what was not committed is healed by the next.
    """

    def __init__(self, engine: Engine, damaged: Mapping[bytes, Sequence[Location]]) -> None:
        self._engine = engine
        self._damaged = damaged
        self._session = engine.session()
        self.healed = 0

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._session.flush()
                self._engine.write(self._session.commit)
        finally:
            self._session.__exit__(kind, error, trace)

    def offer(self, digest: bytes, data: Data, kind: PackKind) -> bool:
        """Store a lost chunk's bytes, if they are what they should be."""
        if blake3(data).digest() != digest:
            return False
        before = self._session.new_chunks
        self._session.put(digest, data, kind)
        self.healed += self._session.new_chunks - before
        return True

    def heal_from_copies(self, digests: Iterable[bytes]) -> set[bytes]:
        """Store those lost chunks of which a copy is good: on this machine, or in a pack that was set aside."""
        wanted = list(digests)
        places: dict[bytes, list[Location]] = {one: list(self._damaged.get(one, ())) for one in wanted}
        for one in self._engine.chunks.copies(wanted):
            if one.state in _ASIDE:
                places[one.digest].append(one)
        return {digest for digest, copies in places.items() if any(self._take(one) for one in copies)}

    def _take(self, location: Location) -> bool:
        kept = self._engine.chunks.backend.kept(location.object, location.offset, location.stored)
        data = None if kept is None else ChunkStore.verified(location, memoryview(kept))
        if data is None and location.state in _ASIDE:
            try:
                there = self._engine.backend.get(location.object, location.offset, location.stored)
            except NotFound:
                return False
            data = ChunkStore.verified(location, memoryview(there))
        return data is not None and self.offer(location.digest, data, PackKind(location.kind))
