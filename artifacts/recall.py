"""What is known of a draft's files from before, and what is learned of them while it is logged.

Knows the stat cache and which folders a draft was filled from; must not know sessions or versions. Used by the thread
that iterates over an upload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from .source import ExternalSource, FileSource, Source, StoredSource
from .stat_cache import MOST, Known, Origin, Row, Snapshot, StatCache, prefix_of, settled

__all__ = ["Recall"]


class Recall:
    """The memory of one log: `folders` maps each folder that files came from to whether all below it was added.

    `at_once` says that the call that logs the files added them: then what is known is not looked at a second time.

    >>> Recall(StatCache(None), {}).find([BytesSource(b"a")])
    [None]
    """

    def __init__(self, cache: StatCache, folders: Mapping[str, bool], *, at_once: bool = False) -> None:
        self.at_once = at_once
        self._cache = cache
        self._folders = {} if cache.off else folders
        self._loaded = {root: cache.load(root) for root in self._folders}
        self._known: Mapping[str, Row] = {}
        for one in self._loaded.values():
            self._known = {**self._known, **one.rows} if self._known else one.rows
        self._learned: dict[str, Row] = {}

    def origin(self, root: str) -> Origin | None:
        """Return the version that a folder was when it was looked at last."""
        return self._loaded[root].origin if root in self._loaded else None

    def find(self, sources: Iterable[Source]) -> list[Known | None]:
        """Return what each file holds if it is what it was when it was read last, and what is never read holds."""
        rows = self._known
        found: list[Known | None] = []
        for source in sources:
            if isinstance(source, FileSource):
                row = rows.get(source.path)
                found.append(row[1] if row is not None and row[0] == source else None)
            elif isinstance(source, StoredSource):
                found.append(Known(source.digest, source.recipe))
            else:
                found.append(Known(source.digest) if isinstance(source, ExternalSource) else None)
        return found

    def learn(self, source: Source, content: Known, known_at: int) -> None:
        """Note what a file held that was read; `known_at` is what `clock` said before that."""
        if self._folders and isinstance(source, FileSource) and len(self._learned) < MOST and settled(source, known_at):
            self._learned[source.path] = (source, content)

    def save(self, sources: Callable[[], Iterable[tuple[str, Source]]], origin: Origin | None) -> None:
        """Remember what was learned; `sources` gives all that was logged, and `origin` is the version it became."""
        alone = len(self._folders) == 1
        for root, entire in self._folders.items():
            before = self._loaded[root]
            about = origin if alone and entire else None
            if self._learned or (entire and about != before.origin):
                given = (source for _, source in sources() if isinstance(source, FileSource))
                self._cache.save(root, self._rows(root, given, before, entire=entire), about)

    def _rows(self, root: str, given: Iterable[FileSource], before: Snapshot, *, entire: bool) -> Iterator[Row]:
        """Yield the rows of one folder; of one that was not added whole, what was known of its other files, too."""
        head = prefix_of(root)
        find = {**self._known, **self._learned}.get
        rows = [
            row
            for file in given
            if (row := find(file.path)) is not None and row[0] == file and file.path.startswith(head)
        ]
        yield from rows
        if not entire:
            paths = {file.path for file, _ in rows}
            yield from (row for path, row in before.rows.items() if path not in paths)
