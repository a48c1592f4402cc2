"""A version's content: its manifest, and the bytes behind one path, without putting anything on a disk.

Knows manifests and chunks; must not know versions' names. Every byte handed out was verified.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from ..storage import recipe
from ..storage.chunks import ChunkStore, Data
from ..storage.errors import IntegrityError, NotFound
from ..storage.threads import Threads
from .entry import Entry, shown
from .fetching import whole_file
from .manifest import Folder, Manifest
from .reader import Reader

__all__ = ["Content", "EntryReader"]

HELD = 32 << 20  # bytes of pages remembered for one version


class EntryReader(Reader):
    """A seekable stream over the chunks of one file; holds one chunk and the recipes above it."""

    def __init__(self, entry: Entry, chunks: ChunkStore) -> None:
        super().__init__()
        self._chunks = chunks
        self._path = entry.path
        self._finder = recipe.Finder(entry.recipe, entry.size, chunks.get) if entry.recipe is not None else None
        self._size = entry.size
        self._place = recipe.Place(entry.digest, 0, entry.size)
        self._data: bytes | None = None  # of the chunk in that place

    def _end(self) -> int:
        return self._size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer up to the end of a chunk; 0 at the end of the file."""
        if self._at >= self._size:
            return 0
        data = self._data
        if data is None or not 0 <= self._at - self._place.begin < self._place.size:
            if self._finder is not None:
                self._place = self._finder.at(self._at)
            self._data = None
            data = self._chunks.get(self._place.digest)
            if len(data) != self._place.size:
                raise IntegrityError(f"{shown(self._path)}: a chunk of {self._place.size} bytes has {len(data)}")
            self._data = data
        start = self._at - self._place.begin
        part = data[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class _Pages:
    """Hands out pages, and remembers the first of them: a download walks its version twice."""

    def __init__(self, chunks: ChunkStore) -> None:
        self._chunks = chunks
        self._held: dict[bytes, bytes] = {}
        self._room = HELD

    def get(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return pages by digest."""
        got = {one: self._held[one] for one in digests if one in self._held}
        fetched = self._chunks.get_many([one for one in digests if one not in got])
        for digest, page in fetched.items():
            if len(page) <= self._room:
                self._held[digest] = page
                self._room -= len(page)
        return got | fetched


class Content:
    """The tree of one version, read page by page."""

    def __init__(self, root: bytes, chunks: ChunkStore) -> None:
        self.chunks = chunks
        self.manifest = Manifest(root, _Pages(chunks).get)

    def entry(self, path: str) -> Entry:
        """Return the entry at a path; NotFound says whether it is a folder instead."""
        found = self.manifest.lookup(path)
        if found is None:
            first = next(self.manifest.walk(path), None)
            what = "is a folder" if first is not None else "not found"
            raise NotFound(f"{shown(path)} {what}")
        return found

    def walk(self, prefix: str | None = None) -> Iterator[Entry]:
        """Yield all entries, or those of one file or folder; NotFound where the prefix means nothing."""
        if not prefix:
            yield from self.manifest.walk()
            return
        entries = self.manifest.walk(prefix)
        first = next(entries, None)
        if first is None:
            raise NotFound(f"{shown(prefix)} not found; it holds {self._some()}")
        yield first
        yield from entries

    def children(self, folder: str = "") -> Iterator[Folder | Entry]:
        """Yield one level of the tree."""
        return self.manifest.children(folder)

    def open(self, path: str) -> io.BufferedReader:
        """Open one file as a seekable stream."""
        entry = self.entry(path)
        if entry.external is None:
            return io.BufferedReader(EntryReader(entry, self.chunks), 1 << 20)
        from .outside import ExternalReader

        return io.BufferedReader(ExternalReader(entry), 1 << 20)

    def read(self, path: str) -> bytes:
        """Return the bytes of one file, checked as a whole too."""
        return b"".join(self.stream(path))

    def stream(self, path: str) -> Iterator[Data]:
        """Yield the bytes of one file in order; those of an external entry as they come from where they are."""
        entry = self.entry(path)
        if entry.external is not None:
            from .external import Places

            yield from Places().stream(entry)
            return
        with Threads(self.chunks.backend.parallelism) as pool:
            yield from whole_file(entry, self.chunks, pool)

    def _some(self) -> str:
        names = [
            one.name + "/" if isinstance(one, Folder) else one.path
            for one, _ in zip(self.children(), range(6), strict=False)
        ]
        return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") if names else "no files"
