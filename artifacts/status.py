"""What changed in a folder since a version: files are read only where nothing tells what they hold.

Knows a folder, a version's content and the stat cache; writes nothing but that cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ..storage.errors import SourceChanged
from ..storage.threads import Threads
from .content import Content
from .draft import Draft
from .entry import UNSEEN, Entry
from .recall import Recall
from .sightings import Sightings
from .source import FileSource, Source, digest_of
from .stat_cache import Known, StatCache, clock
from .tree import CHECKOUT, walk_tree

__all__ = ["Status", "folder_status", "origin_of"]

BATCH = 1024
READERS = 4
_MARK = 1 << 16  # bytes: more than any mark of a checkout has

Pair = tuple[Entry, FileSource]


@dataclass(slots=True)
class Status:
    """How a folder differs from a version: paths by kind, in the order of their bytes."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    same: int = 0

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.changed or self.removed)


def folder_status(folder: str, content: Content, cache: StatCache, ignore: Iterable[str] = ()) -> Status:
    """Compare a folder with a version as logging it again would see it, the executable bit included.

    `ignore`, `.artignore` and errors are those of `walk_tree`. A file that is no longer there when it is to be read
    counts as changed.
    """
    draft = Draft()
    try:
        draft.add_all((path, source) for path, source in walk_tree(folder, ignore))
        recall = Recall(cache, {folder: True})
        status = Status()
        entries = Sightings(cache, Path(folder)).as_files(content.walk())
        pairs = _paired(entries, draft.ordered(), status)
        with Threads(READERS, thread_name_prefix="lineart-status") as pool:
            while batch := list(islice(pairs, BATCH)):
                _compare(batch, recall, pool, status)
        recall.save(draft.ordered, recall.origin(folder))
    finally:
        draft.close()
    status.changed.sort()
    return status


def origin_of(folder: str, cache: StatCache, store_id: str) -> tuple[str, bytes] | None:
    """Return ref and digest of the version that a folder was last logged as, downloaded from or checked out to.

    None where that is not known, or was in another store.
    """
    origin = cache.load(folder).origin
    if origin is not None:
        return (origin.ref, origin.digest) if origin.store == store_id else None
    try:
        with open(os.path.join(folder, CHECKOUT), encoding="utf-8") as file:
            mark = json.loads(file.read(_MARK))
        return str(mark["ref"]), bytes.fromhex(mark["digest"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return None


def _paired(entries: Iterable[Entry], sources: Iterable[tuple[str, Source]], status: Status) -> Iterator[Pair]:
    """Yield what is on both sides and may be the same; note the rest."""
    remaining = iter(sources)
    path, source = next(remaining, ("", None))
    for entry in entries:
        while source is not None and path < entry.path:
            status.added.append(path)
            path, source = next(remaining, ("", None))
        if source is None or path != entry.path:
            status.removed.append(entry.path)
            continue
        if entry.external is not None:  # nobody knows its bytes: it was not fetched here
            same = entry.digest == UNSEEN or source.size == entry.size
            status.same += same
            status.changed += [] if same else [path]
        elif source.size != entry.size or source.executable != entry.executable:
            status.changed.append(path)
        elif isinstance(source, FileSource):
            yield entry, source
        path, source = next(remaining, ("", None))
    while source is not None:
        status.added.append(path)
        path, source = next(remaining, ("", None))


def _compare(batch: list[Pair], recall: Recall, pool: Threads, status: Status) -> None:
    found = recall.find([source for _, source in batch])
    unknown = [pair for pair, known in zip(batch, found, strict=True) if known is None]
    known_at = clock()
    read = dict(zip([entry.path for entry, _ in unknown], pool.map(_read, [one for _, one in unknown]), strict=True))
    for (entry, source), known in zip(batch, found, strict=True):
        digest = read[entry.path] if known is None else known.digest
        if digest == entry.digest:
            status.same += 1
            if known is None:
                recall.learn(source, Known(digest, entry.recipe), known_at)
        else:
            status.changed.append(entry.path)


def _read(source: FileSource) -> bytes | None:
    """Return a file's digest; None where it is not what it was a moment ago."""
    try:
        return digest_of(source)
    except SourceChanged:
        return None
