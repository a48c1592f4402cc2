"""Whether external entries still are what they were: their places are asked, and what only its bytes tell is read.

Knows versions, entries and the places they are read from; changes nothing, here or there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from blake3 import blake3

from ..storage.errors import IntegrityError, LineartError
from ..storage.marks import Marks
from ..storage.threads import Threads
from .entry import Entry
from .external import Places
from .manifest import Manifest

if TYPE_CHECKING:
    from .catalog import Catalog
    from .inspect import StoreReport
    from .records import VersionRecord

__all__ = ["check_external"]

THREADS = 8
WINDOW = 4 * THREADS


def check_external(catalog: Catalog, report: StoreReport) -> None:
    """Note in a report which external entries of versions that are not purged changed or are gone at their places.

    What several versions have alike is asked for once. A place that does not answer is noted, with how many entries
    nobody knows about then.
    """
    places = Places()
    silent, reasons = Counter[str](), dict[str, str]()
    under_way: deque[tuple[str, Entry, Future[None]]] = deque()

    def settle() -> None:
        ref, entry, future = under_way.popleft()
        report.external += 1
        try:
            future.result()
        except IntegrityError as error:
            report.wrong(f"{ref}/{entry.path}", str(error))
        except LineartError as error:
            where = _place_of(entry)
            silent[where] += 1
            reasons.setdefault(where, str(error))

    with Marks() as seen, Threads(THREADS, thread_name_prefix="lineart-outside") as pool:
        for version in _referring(catalog):
            for entry in _external(catalog, version, seen):
                under_way.append((version.ref, entry, pool.submit(places.check, entry)))
                if len(under_way) > WINDOW:
                    settle()
        while under_way:
            settle()
    for where, count in sorted(silent.items()):
        entries = "entry" if count == 1 else "entries"
        report.notes.append(f"{count:,} {entries} of {where} could not be looked at: {reasons[where]}")


def _referring(catalog: Catalog) -> list[VersionRecord]:
    ids = catalog.referring()
    return [one for one in catalog.records(ids).values() if one.state != "purged"]


def _external(catalog: Catalog, version: VersionRecord, seen: Marks) -> Iterator[Entry]:
    try:
        for entry in Manifest(version.digest, catalog.engine.chunks.get_many).walk():
            if entry.external is not None and seen.follow(_key(entry)):
                yield entry
    except IntegrityError:  # who looked through the store has said so
        return


def _key(entry: Entry) -> bytes:
    assert entry.external is not None
    return blake3(entry.external.url.encode() + b"\0" + entry.digest).digest()


def _place_of(entry: Entry) -> str:
    assert entry.external is not None
    parts = urlsplit(entry.external.url)
    return f"{parts.scheme}://{parts.netloc}"
