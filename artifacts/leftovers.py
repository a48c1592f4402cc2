"""What stays of another version in a folder that a version is put into: files that only the other one has.

Knows manifests, records and the version that a folder was last; must not know how files come there. Only versions of
one collection are told of: whoever puts a model beside its tokenizer means to have both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..storage.errors import IntegrityError, NotFound
from .content import Content
from .manifest import diff
from .ref import Ref
from .stat_cache import StatCache
from .status import origin_of

if TYPE_CHECKING:
    from .catalog import Catalog
    from .entry import Entry
    from .manifest import Manifest
    from .place import Place
    from .records import VersionRecord

__all__ = ["Leftovers", "Staying", "held_elsewhere", "manifest_before"]

MANY = 100  # versions among which the content of a file is looked for that nobody remembers


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Files of another version that stay beside those of the one that was put there."""

    version: VersionRecord
    count: int


class Staying:
    """Files of the version that a place was last, as a whole, which another that is put there does not have.

    Where all its files are remembered they are counted while the other's entries pass by, and none of its pages is
    read; where they are not, both manifests are compared.
    """

    def __init__(self, catalog: Catalog, place: Place, prefix: str | None, other: VersionRecord, digest: bytes) -> None:
        self._catalog = catalog
        self._place = place
        self._prefix = prefix
        self._other = other
        self._digest = digest  # of the manifest that is put there
        remembered = place.remembered
        known = None if remembered is None else remembered.paths(other.digest, other.file_count)
        self._known = None if known is None else sorted(path for path in known if _is_below(path, prefix))
        self._gone: list[str] = []

    @classmethod
    def find(cls, catalog: Catalog, version: VersionRecord, place: Place, prefix: str | None) -> Staying | None:
        """Return what there may be to tell when a version is put at a place; with a prefix only of what is below it."""
        other = None if place.fresh else _last(catalog, place)
        same = other is not None and (other.project, other.collection) == (version.project, version.collection)
        if other is None or not same or other.digest == version.digest:
            return None
        return cls(catalog, place, prefix, other, version.digest)

    def passing(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass on the entries that are put there, in the order of their paths."""
        if self._known is None:
            yield from entries
            return
        known = iter(self._known)
        path = next(known, None)
        for entry in entries:
            while path is not None and path < entry.path:
                self._gone.append(path)
                path = next(known, None)
            if path == entry.path:
                path = next(known, None)
            yield entry
        if path is not None:
            self._gone += [path, *known]

    def count(self) -> Leftovers | None:
        """Return what stays, after all entries passed by, and before anything is put there; None where nothing does.

        Nothing is told of a version whose content cannot be known any more.
        """
        try:
            count = sum(self._place.find(path) is not None for path in self._paths())
        except IntegrityError:
            return None
        return Leftovers(self._other, count) if count else None

    def _paths(self) -> Iterator[str]:
        if self._known is not None:
            yield from self._gone
            return
        before, wanted = (_manifest(self._catalog, one) for one in (self._other.digest, self._digest))
        for change in diff(before, wanted):
            if change.new is None and _is_below(change.path, self._prefix):
                yield change.path


def held_elsewhere(catalog: Catalog, version: VersionRecord, place: Place) -> Iterator[Manifest]:
    """Yield what other versions hold: the one that was there last, then MANY of the collection, the newest first."""
    last = _last(catalog, place)
    if last is not None and last.state == "live" and last.digest != version.digest:
        yield _manifest(catalog, last.digest)
    versions = catalog.versions(Ref(version.project, version.collection), version.project)
    others = [one.digest for one in reversed(versions) if one.state == "live" and one.digest != version.digest]
    for digest in others[:MANY]:
        yield _manifest(catalog, digest)


def manifest_before(catalog: Catalog, place: Place) -> Manifest | None:
    """Return what the version holds that a place was last; None where that is not known."""
    last = _last(catalog, place)
    return None if last is None else _manifest(catalog, last.digest)


def _manifest(catalog: Catalog, digest: bytes) -> Manifest:
    return Content(digest, catalog.engine.chunks).manifest


def _last(catalog: Catalog, place: Place) -> VersionRecord | None:
    store_id = catalog.engine.marker.store_id
    origin = None if place.remembered is None else place.remembered.origin
    if origin is not None:
        found = (origin.ref, origin.digest) if origin.store == store_id else None
    else:
        found = origin_of(os.fspath(place.root), StatCache(None), store_id)  # the mark of a checkout
    if found is None:
        return None
    try:
        version = catalog.resolve(Ref.parse(found[0]), "")
    except (NotFound, ValueError):  # a mark is a file that anybody may have written
        return None
    return version if version.digest == found[1] else None


def _is_below(path: str, prefix: str | None) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}/")
