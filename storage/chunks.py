"""The chunk store: verified chunks out of packs, found through the index.

Knows backends, packs and the index; must not know files, pages or versions. Writing is in `session`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

from blake3 import blake3
from sqlalchemy import delete, update

from . import tables
from .backends.base import Backend
from .codec import Codec, decode
from .database import Database
from .digest import Digest
from .errors import IntegrityError, NotFound, StoreUnavailable
from .layout import MARKER, pack_key
from .tables import PackState

__all__ = ["READABLE", "ChunkStore", "Data", "Location", "Read", "plan"]

Data: TypeAlias = bytes | memoryview
READABLE = (PackState.UPLOADED, PackState.LIVE, PackState.CONDEMNED)
GAP = 1 << 20  # bytes: reads of one pack that lie closer than this are joined
SPAN = 8 << 20  # bytes: a joined read stops growing here, so that memory stays bounded and threads share the work
_LOCATE = (
    'SELECT c.digest, c.pack, p.key, p.kind, p.state, c."offset", c.stored, c.size, c.codec '
    "FROM chunk c JOIN pack p ON p.id = c.pack WHERE c.digest {in}"
)

_HOLDERS = "SELECT c.digest, c.pack, p.state FROM chunk c JOIN pack p ON p.id = c.pack WHERE c.digest {in}"


class Location(NamedTuple):
    """Where one copy of a chunk lies."""

    digest: bytes
    pack: int  # row id
    key: bytes  # pack id, 16 bytes
    kind: int
    state: int
    offset: int
    stored: int
    size: int
    codec: int

    @property
    def object(self) -> str:
        """The key of the pack object in the bucket."""
        return pack_key(self.kind, self.key)


class Read(NamedTuple):
    """One ranged read and the chunks that it brings, in the order of their offsets."""

    key: str
    start: int
    length: int
    chunks: tuple[Location, ...]


def plan(locations: Iterable[Location], *, gap: int = GAP, span: int = SPAN) -> list[Read]:
    """Join locations into few reads, in the order of pack and offset; equal locations are read once."""
    reads: list[Read] = []
    group: list[Location] = []
    end = 0
    for one in sorted(set(locations), key=lambda c: (c.pack, c.offset)):
        stop = one.offset + one.stored
        near = group and one.pack == group[0].pack and one.offset - end <= gap and stop - group[0].offset <= span
        if group and not near:
            reads.append(Read(group[0].object, group[0].offset, end - group[0].offset, tuple(group)))
            group = []
        group.append(one)
        end = stop if len(group) == 1 else max(end, stop)
    if group:
        reads.append(Read(group[0].object, group[0].offset, end - group[0].offset, tuple(group)))
    return reads


class ChunkStore:
    """Reads chunks by digest; every byte is checked against its digest before it is handed out.

    Safe from many threads. A reader that finds a pack gone asks the index once more, because a collector may have
    moved what was in it. A copy that proves damaged loses its index row, and a pack that is not there is offered no
    more, so that logging the good content again stores it again; a pack that has come back is taken up again.
    """

    def __init__(self, backend: Backend, database: Database) -> None:
        self.backend = backend
        self.database = database

    def locate(self, digests: Iterable[bytes], *, readable: Sequence[int] = READABLE) -> dict[bytes, Location]:
        """Return one location for each digest that has any; a copy in a live pack is preferred."""
        found: dict[bytes, Location] = {}
        for one in self.copies(digests):
            if one.state not in readable:
                continue
            other = found.get(one.digest)
            if other is None or (one.state == PackState.LIVE and other.state != PackState.LIVE):
                found[one.digest] = one
        return found

    def holders(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """Return the row id of a pack that holds each digest that is stored; a live pack is preferred."""
        wanted = list(digests)
        found = self.database.read(lambda connection: self.database.select_in(connection, _HOLDERS, wanted))
        live = int(PackState.LIVE)
        packs = {digest: pack for digest, pack, state in found if state == live}
        if len(packs) < len(found):
            for digest, pack, state in found:
                if state in READABLE:
                    packs.setdefault(digest, pack)
        return packs

    def copies(self, digests: Iterable[bytes]) -> list[Location]:
        """Return every copy that the index knows, in packs of any state."""
        wanted = list(digests)
        found = self.database.read(lambda connection: self.database.select_in(connection, _LOCATE, wanted))
        return list(map(Location._make, found))

    def require(self, digests: Iterable[bytes]) -> dict[bytes, Location]:
        """Locate digests; IntegrityError names the first that no pack holds."""
        wanted = list(dict.fromkeys(digests))
        found = self.locate(wanted)
        lost = [one for one in wanted if one not in found]
        if lost and self._welcome(lost):
            found = self.locate(wanted)
            lost = [one for one in wanted if one not in found]
        if lost:
            raise IntegrityError(
                f"{self.backend.url}: no pack holds chunk {Digest(lost[0])} ({len(lost)} of {len(wanted)} are lost); "
                f"run `art check` to see which versions are touched"
            )
        return found

    def locate_in_order(self, pieces: Iterable[tuple[bytes, int]], *, batch: int = 1024) -> Iterator[Location]:
        """Yield the location of each (digest, size) in order; IntegrityError where one is lost or of another size."""
        source = iter(pieces)
        while part := list(islice(source, batch)):
            found = self.require(digest for digest, _ in part)
            for digest, size in part:
                if found[digest].size != size:
                    raise IntegrityError(
                        f"chunk {Digest(digest)} has {found[digest].size} bytes, its recipe says {size}"
                    )
                yield found[digest]

    def get(self, digest: bytes) -> bytes:
        """Return one chunk's bytes."""
        return self.get_many([digest])[digest]

    def get_many(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the bytes of some chunks that fit in memory together."""
        if not digests:
            return {}
        got: dict[bytes, bytes] = {}
        for read in self.plan(self.require(digests).values()):
            got.update((location.digest, bytes(data)) for location, data in self.load(read))
        return got

    def stream(self, located: Iterable[Location], pool: ThreadPoolExecutor, *, ahead: int = 3) -> Iterator[Data]:
        """Yield the chunks of one long content in order, reading some ahead in `pool`; the order given is kept."""
        batches = _batches(located, self.backend.span)
        waiting = deque((batch, pool.submit(self._load_batch, batch)) for batch in islice(batches, ahead))
        try:
            while waiting:
                batch, future = waiting.popleft()
                got = future.result()
                following = next(batches, None)
                if following is not None:
                    waiting.append((following, pool.submit(self._load_batch, following)))
                for one in batch:
                    yield got[one.digest]
        finally:
            for _, future in waiting:
                future.cancel()

    def plan(self, locations: Iterable[Location]) -> list[Read]:
        """Join locations into reads of the size that is right for this place."""
        return plan(locations, span=self.backend.span)

    def load(self, read: Read) -> list[tuple[Location, Data]]:
        """Do one read and return each chunk with its verified bytes, in the order of offsets."""
        return self.unpacked(read, self.raw(read))

    def raw(self, read: Read) -> bytes | None:
        """Do one read, and nothing but wait for it; None where its pack is gone."""
        try:
            return self.backend.get(read.key, read.start, read.length)
        except NotFound:
            return None

    def unpacked(self, read: Read, found: bytes | None) -> list[tuple[Location, Data]]:
        """Return each chunk of a read with its verified bytes, in the order of offsets; what is wrong is read again."""
        if found is None:
            return [(one, self._again(one)) for one in read.chunks]
        raw = memoryview(found)
        out: list[tuple[Location, Data]] = []
        for one in read.chunks:
            at = one.offset - read.start
            data = self.verified(one, raw[at : at + one.stored])
            out.append((one, self._again(one) if data is None else data))
        return out

    @staticmethod
    def verified(location: Location, stored: memoryview) -> bytes | memoryview | None:
        """Decode a stored chunk; None where it is not what the index says."""
        if len(stored) != location.stored:
            return None
        data: Data = stored
        if location.codec != Codec.RAW or location.stored != location.size:  # else it is what was read, uncopied
            try:
                data = decode(location.codec, stored, location.size)
            except IntegrityError:
                return None
        return data if blake3(data).digest() == location.digest else None

    def forget(self, location: Location) -> None:
        """Drop the index row of a damaged copy; may be called again."""
        chunk = tables.chunk
        row = delete(chunk).where(chunk.c.digest == location.digest, chunk.c.pack == location.pack)
        self.database.write(lambda tx: tx.execute(row))

    def _move(self, pack: int, state: PackState, among: Sequence[int]) -> None:
        """Give a pack another state, if its state is one of some still."""
        table = tables.pack
        moved = update(table).where(table.c.id == pack, table.c.state.in_(among)).values(state=state)
        self.database.write(lambda tx: tx.execute(moved))

    def _welcome(self, digests: Sequence[bytes]) -> bool:
        """Offer packs again that were missing and are back; say whether there are any."""
        away = {one.pack: one for one in self.copies(digests) if one.state == PackState.MISSING}
        back = [pack for pack, one in away.items() if self._is_there(one.object)]
        for pack in back:
            self._move(pack, PackState.LIVE, [PackState.MISSING])
        return bool(back)

    def _is_there(self, key: str) -> bool:
        try:
            return self.backend.size(key) > 0
        except NotFound:
            return False

    def _load_batch(self, batch: list[Location]) -> dict[bytes, Data]:
        return {one.digest: data for read in self.plan(batch) for one, data in self.load(read)}

    def _again(self, location: Location) -> bytes:
        """Read one chunk once more: from where the index says it is now, then from any other copy."""
        tried: set[tuple[int, int]] = set()
        trouble = ""
        while (current := self._untried(location.digest, tried)) is not None:
            tried.add((current.pack, current.offset))
            self.backend.refresh(current.object)
            try:  # of the place itself: a wrong copy on this machine must cost no index row
                raw = self.backend.origin.get(current.object, current.offset, current.stored)
            except NotFound:
                trouble = f"{current.object} is gone"
                self._require_bucket()
                drop = partial(self._move, current.pack, PackState.MISSING, READABLE)
            else:
                data = self.verified(current, memoryview(raw))
                if data is not None:
                    return bytes(data)
                trouble = f"{current.object} at {current.offset}: {len(raw)} bytes that are not this chunk"
                drop = partial(self.forget, current)
            with suppress(StoreUnavailable):  # who may only read goes on to the next copy all the same
                drop()
        raise IntegrityError(
            f"{self.backend.url}: chunk {Digest(location.digest)} of {location.size} bytes is damaged "
            f"({trouble or 'no copy is left'}); log the good content again to heal it, or run `art check`"
        )

    def _untried(self, digest: bytes, tried: set[tuple[int, int]]) -> Location | None:
        """Look a chunk up anew, and choose a copy that was not tried yet; one in a live pack is preferred."""
        found = [one for one in self.copies([digest]) if one.state in READABLE and (one.pack, one.offset) not in tried]
        return min(found, key=lambda one: (one.state != PackState.LIVE, one.pack), default=None)

    def _require_bucket(self) -> None:
        """Tell a lost pack from a lost bucket: with the marker gone too, nothing may be concluded about any pack."""
        try:
            self.backend.size(MARKER)
        except NotFound as error:
            raise StoreUnavailable(
                f"{self.backend.url}: the store's marker {MARKER} is gone; is the bucket mounted?"
            ) from error


def _batches(located: Iterable[Location], span: int) -> Iterator[list[Location]]:
    batch: list[Location] = []
    size = 0
    for one in located:
        batch.append(one)
        size += one.size
        if size >= span:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
