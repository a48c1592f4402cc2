"""What a store must keep: the roots of a collection, and everything that they reach.

Knows versions, pages, recipes and pins; must not know packs, nor what runs are: chunks that others name are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import partial
from itertools import islice
from typing import NamedTuple, cast

from sqlalchemy import Connection, select

from ..storage import recipe
from ..storage import tables as storage_tables
from ..storage.digest import SIZE
from ..storage.engine import Engine
from ..storage.errors import IntegrityError
from ..storage.marks import Marks, RootGone
from . import tables
from .entry import EXTERNAL, Entry
from .manifest_page import BATCH, PageReader, Place, child_places, top_place
from .reading import read_records
from .records import VersionRecord

__all__ = ["Named", "Root", "RootKind", "StoreRoots"]

Named = Callable[[Connection], Iterable[bytes]]  # chunks that something besides versions names
RECIPES = 16  # asked for at once: at most 64 MiB
_INNER = 4  # while an inner page is followed, the ones beside it wait, on every level
_version, _pin = tables.version, storage_tables.pin


class RootKind(IntEnum):
    """What a root's digest names."""

    MANIFEST = 1
    CHUNK = 2
    PIN = 3  # a manifest that a session builds on; its version may have been purged just before


class Root(NamedTuple):
    """Something that is to be kept with all that it reaches."""

    kind: RootKind
    digest: bytes


class StoreRoots:
    """The roots of a store: versions that are not purged, what sessions build on, and chunks that others name.

    Sessions that have expired are the collector's to end before it asks. A deleted version is a root until a
    transaction has purged it, however long its grace may be over; `without` are row ids of versions that count as
    purged already, for who only wants to know what would be.
    """

    def __init__(self, engine: Engine, named: Sequence[Named] = (), without: Iterable[int] = ()) -> None:
        self._engine = engine
        self._named = named
        self._without = frozenset(without)
        self._reader = PageReader(engine.chunks.get_many)

    def read(self, connection: Connection) -> set[Root]:
        """Return the roots as they are."""
        versions = select(_version.c.id, _version.c.digest).where(_version.c.state != "purged")
        rows = connection.execute(versions).all()
        for row in rows:
            if not isinstance(row.digest, bytes) or len(row.digest) != SIZE:
                (version,) = read_records(connection, [row.id]).values()
                raise IntegrityError(
                    f"{version.ref} has no digest in the database, so nobody knows what it needs, and nothing was"
                    " collected; `art repair database` mends it"
                )
        found = {Root(RootKind.MANIFEST, row.digest) for row in rows if row.id not in self._without}
        found |= {Root(RootKind.PIN, one) for one in connection.execute(select(_pin.c.digest)).scalars()}
        for named in self._named:
            found |= {Root(RootKind.CHUNK, one) for one in named(connection)}
        return found

    def mark(self, root: Root, marks: Marks) -> None:
        """Mark everything that a root reaches, following each page and each recipe once.

        IntegrityError names a version whose pages or recipes cannot be read: what it needs is not known then. RootGone
        where it is only that another collector has purged the version meanwhile. A pin whose pages are gone is of a
        session whose commit will be refused: were its version not purged, that would be a root, too.
        """
        if root.kind == RootKind.CHUNK:
            marks.add([root.digest])
            return
        try:
            self._follow([top_place(root.digest)], marks)
        except IntegrityError as error:
            if root.kind == RootKind.PIN or root not in self._engine.database.read(self.read):
                raise RootGone from error
            raise IntegrityError(
                f"{self._name(root.digest)} cannot be read, so nobody knows what it needs, and nothing was collected:"
                f" {error}; `art check` says what is damaged"
            ) from error

    def _follow(self, places: Sequence[Place], marks: Marks) -> None:
        marks.add(place.digest for place in places)
        fresh = [place for place in places if marks.follow(b"p" + place.digest)]
        batch = _INNER if fresh and (fresh[0].level is None or fresh[0].level > 0) else BATCH
        for place, level, items in self._reader.fetch(fresh, batch):
            if level:
                self._follow(child_places(place, level, items), marks)
            else:
                self._mark_entries(cast("Sequence[Entry]", items), marks)

    def _mark_entries(self, entries: Sequence[Entry], marks: Marks) -> None:
        files = [one for one in entries if one.kind != EXTERNAL and one.size]
        marks.add(one.digest for one in files if one.recipe is None)
        large = (one for one in files if one.recipe is not None and marks.follow(b"r" + one.recipe))
        while part := list(islice(large, RECIPES)):
            ahead = self._engine.chunks.get_many([one.recipe for one in part if one.recipe is not None])
            for one in part:
                marks.add(_reached(one, partial(self._recipe, ahead)))

    def _recipe(self, ahead: Mapping[bytes, bytes], digest: bytes) -> bytes:
        return ahead.get(digest) or self._engine.chunks.get(digest)

    def _name(self, digest: bytes) -> str:
        """Return the ref of a version with this root, for people."""

        def find(connection: Connection) -> list[VersionRecord]:
            same = select(_version.c.id).where(_version.c.digest == digest, _version.c.state != "purged").limit(1)
            return list(read_records(connection, list(connection.execute(same).scalars())).values())

        found = self._engine.database.read(find)
        return found[0].ref if found else f"the manifest b3:{digest.hex()}"


def _reached(entry: Entry, get: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield the digests of a file's recipes and chunks."""
    seen: list[bytes] = []

    def noted(digest: bytes) -> bytes:
        seen.append(digest)
        return get(digest)

    assert entry.recipe is not None
    for digest, _ in recipe.walk(entry.recipe, entry.size, noted):
        yield from seen
        seen.clear()
        yield digest
