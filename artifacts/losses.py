"""What was lost, by version and path: versions walked page by page, each page once.

Knows manifests and recipes, and asks a chunk store what is there; must not know why something is not. Memory is bounded
but for the list of what is lost, which is cut off: the digests of lost chunks and of the pages seen lie in `Marks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, cast

import msgspec
from blake3 import blake3

from ..storage.chunks import ChunkStore
from ..storage.errors import IntegrityError, InvalidName
from ..storage.marks import Marks
from .entry import EXTERNAL, Entry, PathOrder, shown
from .fetching import chunks_of
from .manifest_page import BATCH, PageReader, Place, child_places, top_place, total
from .records import VersionRecord
from .ref import LATEST

__all__ = ["Loss", "Losses", "promoted_first"]

PIECES = 65_536  # chunks that are looked up at once
MOST = 100_000  # losses that are listed
_INNER = 4  # inner pages, beside each of which its siblings wait on every level


class Loss(NamedTuple):
    """Something of a version that is lost: a path, or without one, a part of its list of files."""

    version: str
    aliases: tuple[str, ...]
    path: str | None
    what: str

    @property
    def where(self) -> str:
        """The address of what is lost."""
        return self.version if self.path is None else f"{self.version}/{self.path}"


@dataclass(slots=True)
class Losses:
    """Walks versions and lists what they lost, `most` at most; `lost` gathers digests that no sound copy was found of.

    `chunks` must offer no copy that is known to be damaged; pages and recipes are read, other chunks only looked up.
    """

    chunks: ChunkStore
    seen: Marks  # followed: places of pages; marked: those that something below is lost of
    lost: Marks
    most: int = MOST
    found: list[Loss] = field(default_factory=list)
    more: int = 0  # losses beyond those listed
    _order: PathOrder = field(default_factory=PathOrder, repr=False)  # of the version that is being walked

    def walk(self, version: VersionRecord) -> None:
        """Look for losses in a version; a page that was found whole in the same place of another is not read again."""
        top = top_place(version.digest)
        self._order = PathOrder()
        if self._walk(version, [top]):
            self._compare_totals(version, top)

    def require(self, digests: Iterable[bytes]) -> int:
        """Look up chunks that something besides versions names; return how many of them are lost."""
        wanted = set(digests)
        absent = wanted.difference(self.chunks.locate(wanted))
        self.lost.add(absent)
        return len(absent)

    def _walk(self, version: VersionRecord, places: Sequence[Place]) -> bool:
        """Walk below some places; False where anything is lost."""
        sound = True
        step = BATCH if places[0].level == 0 else _INNER
        for start in range(0, len(places), step):
            names = {_name(one): one for one in places[start : start + step]}
            known = self.seen.among(names)
            fresh = [(name, one) for name, one in names.items() if self.seen.follow(name) or name in known]
            held = self._pages([one for _, one in fresh])
            for name, place in fresh:
                if not self._open(version, place, held):
                    self.seen.add([name])
                    sound = False
        return sound

    def _open(self, version: VersionRecord, place: Place, held: dict[bytes, bytes]) -> bool:
        """Look at a page and below; False where anything is lost, or breaks the rules though it is what was written."""
        if place.digest not in held:
            self._note(version, None, _unlisted(place))
            return False
        try:
            ((_, level, items),) = PageReader(lambda digests: {one: held[one] for one in digests}).fetch([place])
            if level:
                return self._walk(version, child_places(place, level, items))
            entries = cast("Sequence[Entry]", items)
            self._order.feed([one.path for one in entries])
        except (IntegrityError, InvalidName) as error:
            self._note(version, None, str(error))
            return False
        return self._check_entries(version, entries)

    def _pages(self, places: Sequence[Place]) -> dict[bytes, bytes]:
        """Return the pages that are there."""
        wanted = list({one.digest for one in places})
        try:
            return self.chunks.get_many(wanted)
        except IntegrityError:
            return {one: page for one in wanted if (page := self._get(one)) is not None}

    def _get(self, digest: bytes) -> bytes | None:
        try:
            return self.chunks.get(digest)
        except IntegrityError:
            self.lost.add([digest])
            return None

    def _check_entries(self, version: VersionRecord, entries: Sequence[Entry]) -> bool:
        """Look up the chunks of some entries, and name the paths that lost any."""
        before = len(self.found) + self.more
        counted: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        pieces = self._pieces(version, entries)
        while part := list(islice(pieces, PIECES)):
            there = self.chunks.locate({digest for _, digest, _ in part})
            gone = [one for one in part if one[1] not in there or there[one[1]].size != one[2]]
            counted.update(path for path, _, _ in part)
            lost.update(path for path, _, _ in gone)
            self.lost.add(digest for _, digest, _ in gone)
        for path, count in lost.items():
            self._note(version, path, f"{count} of {counted[path]} chunks of {shown(path)} are lost")
        return len(self.found) + self.more == before

    def _pieces(self, version: VersionRecord, entries: Sequence[Entry]) -> Iterator[tuple[str, bytes, int]]:
        """Yield path, digest and size of every chunk of some entries; a recipe that is lost is noted."""
        for entry in entries:
            if entry.kind == EXTERNAL:
                continue
            try:
                for digest, size in chunks_of(entry, self._recipes):
                    yield entry.path, digest, size
            except IntegrityError as error:
                self._note(version, entry.path, str(error))

    @property
    def _recipes(self) -> ChunkStore:
        return _Noting(self.chunks, self.lost)

    def _compare_totals(self, version: VersionRecord, top: Place) -> None:
        """Compare the root page with what was logged; what its children say was compared page by page."""
        held = self._pages([top])
        if top.digest not in held:
            self._note(version, None, _unlisted(top))
            return
        ((_, level, items),) = PageReader(lambda _: held).fetch([top])
        count, size = total(items, level)
        if (count, size) != (version.file_count, version.size):
            said = f"{version.file_count} and {version.size} were logged"
            self._note(version, None, f"its manifest has {count} entries and {size} bytes, {said}")

    def _note(self, version: VersionRecord, path: str | None, what: str) -> None:
        if len(self.found) < self.most:
            self.found.append(Loss(version.ref, version.aliases, path, what))
        else:
            self.more += 1


class _Noting(ChunkStore):
    """Reads as another does, and marks what could not be read."""

    def __init__(self, chunks: ChunkStore, lost: Marks) -> None:
        super().__init__(chunks.backend, chunks.database)
        self._chunks = chunks
        self._lost = lost

    def get(self, digest: bytes) -> bytes:
        """Return one chunk's bytes."""
        try:
            return self._chunks.get(digest)
        except IntegrityError:
            self._lost.add([digest])
            raise


def _name(place: Place) -> bytes:
    """Return what is the same for the same page in the same place: all that a page is checked against."""
    return blake3(msgspec.msgpack.encode(place)).digest()


def _unlisted(place: Place) -> str:
    if place.child is None:
        return f"its list of files is lost (page b3:{place.digest.hex()})"
    after = "" if place.after is None else f" after {shown(place.after)}"
    count = place.child.entries
    return f"the list of {count} files{after} up to {shown(place.child.path)} is lost (page b3:{place.digest.hex()})"


def promoted_first(versions: Iterable[tuple[int, str | None]]) -> list[int]:
    """Return row ids of versions, given with the key of each alias: those that people chose a name for come first.

    >>> promoted_first([(1, None), (2, "latest"), (3, "production"), (3, "latest")])
    [3, 2, 1]
    """
    ranks: dict[int, int] = {}
    for one, alias in versions:
        rank = 2 if alias is None else 1 if alias == LATEST else 0
        ranks[one] = min(rank, ranks.get(one, rank))
    return sorted(ranks, key=lambda one: (ranks[one], one))
