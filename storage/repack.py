"""Repacking: what is still wanted of mostly dead packs moves into new ones.

Knows packs, chunks and a writer's session; which chunks are wanted is what the marks say. An old pack goes only where
another live pack holds each of its wanted chunks, seen in the transaction that condemns it and again in the one that
gives it up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import packs
from .chunks import ChunkStore, Location, plan
from .engine import Engine
from .errors import NotFound
from .marks import Marks
from .pack import Encoded, PackKind, Slot
from .packs import PackRow
from .session import Session
from .tables import PackState

__all__ = ["Repacker"]

MOST = 1_000_000  # chunks in the packs that one collection repacks: their digests are held meanwhile


class Repacker:
    """Copies the wanted chunks of packs, condemns the old packs, and gives them up when the second mark is done."""

    def __init__(self, engine: Engine, marks: Marks, stamp: str, notes: list[str]) -> None:
        self._engine = engine
        self._marks = marks
        self._stamp = stamp
        self._notes = notes
        self._digests: dict[int, list[bytes]] = {}  # in the footers of what was condemned
        self._there: dict[str, bool] = {}
        self.condemned: list[PackRow] = []

    def copy(self, sparse: Sequence[PackRow]) -> int:
        """Copy, make the copies live, and then condemn; returns the bytes that were copied, as stored.

        Raises PacksGone where the copies could not be made live; the old packs stay as they were then.
        """
        chosen: dict[PackRow, list[Slot]] = {}
        count = 0
        for pack in sparse:
            slots = packs.footer(self._engine.backend.origin, pack)
            if slots is None:
                self._notes.append(f"{pack.object} cannot be read and was not repacked; run `art check`")
            elif count + len(slots) <= MOST:
                count += len(slots)
                chosen[pack] = slots
        with self._engine.session() as session:
            copied = {pack: slots for pack, slots in chosen.items() if self._copy(session, pack, slots, chosen)}
            session.flush()
            self._engine.write(session.commit)
        for pack, slots in copied.items():
            wanted = list(self._marks.among(slot.digest for slot in slots))
            if self._engine.write(lambda tx, p=pack, w=wanted: packs.condemn_copied(tx, p.id, w, self._stamp)):  # type: ignore[misc]
                self.condemned.append(pack)
                self._digests[pack.id] = [slot.digest for slot in slots]
        return session.new_bytes

    def sweep(self, reason: str) -> list[PackRow]:
        """Give up what is still condemned and spare; what was needed again meanwhile lives on."""
        doomed: list[PackRow] = []
        for pack in self.condemned:
            wanted = list(self._marks.among(self._digests[pack.id]))
            doomed += self._engine.write(
                lambda tx, p=pack, w=wanted: packs.sweep_copied(tx, p, w, self._stamp, reason)  # type: ignore[misc]
            )
        return doomed

    def _copy(self, session: Session, pack: PackRow, slots: list[Slot], chosen: dict[PackRow, list[Slot]]) -> bool:
        """Put the wanted chunks that no other pack keeps into new packs; False where one of them is damaged."""
        wanted = self._marks.among(slot.digest for slot in slots)
        leaving = {one.id for one in chosen}
        elsewhere = {
            one.digest
            for one in self._engine.chunks.copies(wanted)
            if one.state == PackState.LIVE and one.pack not in leaving and self._is_there(one.object)
        }
        rest = [
            Location(one.digest, pack.id, pack.key, pack.kind, pack.state, *one[1:])
            for one in slots
            if one.digest in wanted and one.digest not in elsewhere
        ]
        for chunks in self._read(rest):
            if chunks is None:
                self._notes.append(f"{pack.object} holds damaged chunks and was not repacked; run `art check`")
                return False
            session.add(chunks, PackKind(pack.kind))
        return True

    def _read(self, located: list[Location]) -> Iterator[list[Encoded] | None]:
        """Yield chunks as they are stored, verified; None where one is not what the footer says."""
        for read in plan(located):
            try:
                raw = memoryview(self._engine.backend.origin.get(read.key, read.start, read.length))
            except NotFound:
                raw = memoryview(b"")
            found: list[Encoded] = []
            for one in read.chunks:
                stored = raw[one.offset - read.start :][: one.stored]
                if ChunkStore.verified(one, stored) is None:
                    yield None
                    return
                found.append(Encoded(one.digest, bytes(stored), one.size, one.codec))
            yield found

    def _is_there(self, key: str) -> bool:
        """Whether an object that the index leans on exists: the old pack may hold the last copy that does."""
        if key not in self._there:
            try:
                self._there[key] = self._engine.backend.origin.size(key) > 0
            except NotFound:
                self._there[key] = False
        return self._there[key]
