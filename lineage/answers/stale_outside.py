"""Which places outside the store are not any more what the versions that refer to them saw.

Knows references, manifests and what places tell; must not know the rule by which anything is out of date. Asks over the
network: whoever calls it wants that. A folder is listed, an object looked at, and read where only its bytes tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...artifacts.content import Content
from ...artifacts.entry import UNSEEN
from ...artifacts.external import find_objects
from ...storage.errors import LineartError, NotFound
from ...storage.threads import Threads

if TYPE_CHECKING:
    from ...artifacts.catalog import Catalog
    from ...artifacts.records import VersionRecord

__all__ = ["Outside", "look_outside"]

THREADS = 8
_Objects = dict[str, bytes]  # digests by URL


class Outside(NamedTuple):
    """A place that is not any more what a version saw there: how many objects changed, are gone, and came."""

    url: str
    changed: int
    gone: int
    new: int


def look_outside(
    catalog: Catalog, versions: Sequence[VersionRecord]
) -> tuple[dict[int, tuple[Outside, ...]], tuple[str, ...]]:
    """Return, by row id, the places that changed since versions were logged, and why others could not be asked.

    Each place is asked once, whatever number of versions refer to it. Of objects that nobody looked at when they were
    logged nothing is known, and nothing is said. What is new below a folder counts, also where a version refers to some
    of it only. Raises what reading manifests does.
    """
    known: dict[int, dict[str, _Objects]] = {}  # by version and place
    wanted: dict[str, set[str]] = {}  # what is known of a place, whichever version knows it
    for one in versions:
        entries = _entries(catalog, one)
        known[one.id] = {place.url: _below(place.url, entries) for place in catalog.references_of(one.digest)}
        for url, objects in known[one.id].items():
            wanted.setdefault(url, set()).update(objects)
    with Threads(THREADS, thread_name_prefix="lineart-outside") as pool:
        asked = {url: pool.submit(_there, url, objects) for url, objects in wanted.items()}
    silent = {url: error for url, one in asked.items() if isinstance(error := one.exception(), LineartError)}
    moved: dict[int, tuple[Outside, ...]] = {}
    for version, places in known.items():
        found = (_compared(url, was, asked[url].result()) for url, was in places.items() if url not in silent)
        if changed := tuple(one for one in found if one.changed or one.gone or one.new):
            moved[version] = changed
    return moved, tuple(f"{url} could not be asked: {error}" for url, error in sorted(silent.items()))


def _entries(catalog: Catalog, version: VersionRecord) -> _Objects:
    """Return the external entries of a version of which something is known."""
    entries = Content(version.digest, catalog.engine.chunks).walk()
    return {one.external.url: one.digest for one in entries if one.external is not None and one.digest != UNSEEN}


def _below(url: str, objects: _Objects) -> _Objects:
    """Return what is at a place: one object, or all below a folder."""
    if not url.endswith("/"):
        return {url: objects[url]} if url in objects else {}
    return {one: digest for one, digest in objects.items() if one.startswith(url)}


def _there(url: str, objects: Collection[str]) -> _Objects:
    """Return what is at a place now: all of a folder, and of what cannot be listed the objects that are known."""
    wanted = sorted(objects) if url.startswith(("http://", "https://")) else [url]
    found: _Objects = {}
    for one in wanted if objects else ():
        try:
            found.update((source.url, source.digest) for _, source in find_objects(one).objects)
        except NotFound:
            continue
    return found


def _compared(url: str, known: _Objects, there: _Objects) -> Outside:
    changed = sum(one in there and there[one] != digest for one, digest in known.items())
    new = len(there.keys() - known.keys()) if known else 0
    return Outside(url, changed, len(known.keys() - there.keys()), new)
