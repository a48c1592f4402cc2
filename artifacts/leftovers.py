"""What stays of another version in a folder that a version is put into: files that only the other one has.

Knows manifests, records and the version that a folder was last; must not know how files come there. Only versions of
one collection are told of: whoever puts a model beside its tokenizer means to have both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    from .manifest import Manifest
    from .place import Place
    from .records import VersionRecord

__all__ = ["Leftovers", "find_leftovers", "held_elsewhere", "manifest_before"]

MANY = 100  # versions among which the content of a file is looked for that nobody remembers


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Files of another version that stay beside those of the one that was put there."""

    version: VersionRecord
    count: int


def find_leftovers(catalog: Catalog, version: VersionRecord, place: Place, prefix: str | None) -> Leftovers | None:
    """Return what will stay at a place of the version that was put there last, as a whole; None where nothing does.

    With a prefix, only what is below it counts. Ask before anything is put there. Nothing is told of a version whose
    content cannot be known any more.
    """
    other = None if place.fresh else _last(catalog, place)
    same = other is not None and (other.project, other.collection) == (version.project, version.collection)
    if other is None or not same or other.digest == version.digest:
        return None
    wanted, before = (_manifest(catalog, one.digest) for one in (version, other))
    count = 0
    try:
        for change in diff(before, wanted):
            if change.new is None and _is_below(change.path, prefix) and place.find(change.path) is not None:
                count += 1
    except IntegrityError:
        return None
    return Leftovers(other, count) if count else None


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
