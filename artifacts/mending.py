"""Repairing a store's index, and healing what versions need: from other copies, from this machine, from local files.

Knows versions, files and how they are cut; packs are for storage. Deletes nothing. May be interrupted and done again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from blake3 import blake3

from ..storage import recipe
from ..storage.chunking import ChunkingParameters, Cutter
from ..storage.errors import SourceChanged
from ..storage.heal import Healer, PlainChunks
from ..storage.marks import Marks
from ..storage.pack import PackKind
from ..storage.reindex import Reindexed, Reindexer
from ..storage.rooms import Rooms
from ..storage.verify import share_of
from .catalog import Catalog
from .inspect import count_named, walk_versions
from .losses import Loss, Losses
from .prepare import BUFFER, ROOM, buffers
from .roots import Named
from .source import FileSource
from .tree import walk_tree
from .upload import Progress

__all__ = ["Mended", "mend_index"]

BATCH = 256  # lost chunks that are looked for together


@dataclass(slots=True)
class Mended:
    """What a repair did: to the index, how many chunks it healed, and what is lost all the same."""

    index: Reindexed = field(default_factory=Reindexed)
    healed: int = 0
    lost: list[Loss] = field(default_factory=list)
    more: int = 0  # losses beyond those listed
    named: int = 0  # chunks that runs name and that are lost
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is lost."""
        return not self.lost and not self.named


def mend_index(
    catalog: Catalog,
    *,
    read_data: bool | float = False,
    seed: int = 0,
    sources: str | os.PathLike[str] | None = None,
    named: Sequence[Named] = (),
    progress: Progress | None = None,
) -> Mended:
    """Make the index say what the packs hold, heal what can be healed, and say what versions have lost.

    With `read_data`, that share of all bytes is read and verified, too. `sources` is a folder whose files may hold
    what was lost. Raises StoreUnavailable where the bucket is not mounted, Conflict where the database is behind its
    journal, NotFound where there is no such folder.
    """
    if read_data:
        share_of([], float(read_data))  # refused before the work, not after
    if sources is not None:
        next(walk_tree(os.fspath(sources)), None)

    def tell(size: int, versions: int = 0) -> None:
        if progress is not None:
            progress(versions, size)

    reindexer = Reindexer(catalog.engine, tell)
    mended = Mended(reindexer.run(float(read_data), seed))
    chunks = PlainChunks(catalog.engine, reindexer.damaged)
    with Marks() as tried:
        while True:
            with Marks() as seen, Marks() as lost:
                losses = Losses(chunks, seen, lost)
                for _ in walk_versions(catalog, losses):
                    tell(0, 1)
                mended.named = count_named(catalog, losses, named)
                mended.lost, mended.more = losses.found, losses.more
                round_ = _Round(catalog, reindexer, lost, tried, sources, mended)
                if not catalog.engine.insist(round_.heal):
                    return mended


@dataclass(slots=True)
class _Round:
    """One attempt at what is lost as far as is known: behind a page that comes back there may be more."""

    catalog: Catalog
    reindexer: Reindexer
    lost: Marks
    tried: Marks
    sources: str | os.PathLike[str] | None
    mended: Mended

    def heal(self) -> int:
        """Heal what was not tried before, and return how many chunks came back."""
        first = next(self._untried(), None)
        if first is None:
            return 0
        with Healer(self.catalog.engine, self.reindexer.damaged) as healer:
            for part in self._untried():
                healer.heal_from_copies(part)
            if self.sources is not None:
                for _, source in walk_tree(os.fspath(self.sources)):
                    self._offer(healer, source)
        for part in self._untried():
            self.tried.add(part)
        self.mended.healed += healer.healed
        return healer.healed

    def _untried(self) -> Iterator[list[bytes]]:
        found = iter(self.lost)
        while part := list(islice(found, BATCH)):
            if fresh := [one for one in part if one not in self.tried.among(part)]:
                yield fresh

    def _offer(self, healer: Healer, source: FileSource) -> None:
        """Cut a file as an upload would, and hand over what is wanted of it: chunks, and the recipe that they give."""
        try:
            chunks: list[tuple[bytes, int]] = []
            for pieces in _cut(source, self.catalog.engine.marker.chunking):
                named = [(blake3(piece).digest(), piece) for piece in pieces]
                wanted = self.lost.among(digest for digest, _ in named)
                for digest, piece in named:
                    chunks.append((digest, len(piece)))
                    if digest in wanted:
                        healer.offer(digest, piece, PackKind.DATA)
        except SourceChanged:
            self.mended.notes.append(f"{source.path} changed while it was read, and was passed over")
            return
        if len(chunks) > 1:
            recipe.build(chunks, lambda digest, data: self._offer_recipe(healer, digest, data))

    def _offer_recipe(self, healer: Healer, digest: bytes, data: bytes) -> None:
        if self.lost.among([digest]):
            healer.offer(digest, data, PackKind.META)


def _cut(source: FileSource, parameters: ChunkingParameters) -> Iterator[list[memoryview]]:
    """Yield a file's chunks in order, a few at a time; use them before the next."""
    cutter = Cutter(parameters)
    for portion in buffers(source, Rooms(ROOM + BUFFER)):
        yield cutter.feed(*portion)
    yield cutter.finish()
