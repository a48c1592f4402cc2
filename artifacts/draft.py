"""The draft: paths and the sources of a version-to-be.

Knows which paths go together and what replaces what; must not know stores. However many files there are, memory is
bounded: beyond a limit they go to sorted runs on disk, and what is wrong between those is noticed when the draft is
logged, before anything is read.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

from ..storage.errors import Conflict, InvalidName, NotFound
from .entry import PathOrder, check_path, check_paths, shown
from .references import folders
from .source import FileSource, Source, have_same_content
from .spill import Row, Run, Spill, in_portions, merge, path_of

__all__ = ["LIMIT", "Draft"]

LIMIT = 200_000  # sources in memory: some 100 MiB
_path_first = itemgetter(0)


class Draft:
    """Paths and their sources, on top of a base version or of nothing.

    `removed` holds base paths (files or folders) that are gone. `holds` says of a base whether it has a path (a file or
    a folder). At most `limit` sources are held in memory; more go to an unnamed file in `folder`, or where the system
    has its temporary files: Conflict where that takes no more. Safe from many threads.
    """

    def __init__(
        self,
        base: bytes | None = None,
        holds: Callable[[str], bool] | None = None,
        limit: int = LIMIT,
        folder: str | None = None,
        *,
        refers: bool = False,
        base_ref: str = "",
        base_store: str = "",
    ) -> None:
        self.base = base  # digest of the root page that this draft changes
        self.refers = refers  # whether the base has external entries
        self.base_ref, self.base_store = base_ref, base_store  # the base's address, and the id of the store it is in
        self._holds = holds
        self._spooled = 0
        self.removed: set[str] = set()
        self.references: set[str] = set()  # the places outside the store that were added
        self.folders: dict[str, bool] = {}  # that files came from, and whether each was added whole, as the artifact
        self.at_once = False  # whether the very call that logs it adds its files: nobody could change one between
        self._limit = limit
        self._sources: dict[str, Source] = {}  # the newest; older ones may be in the runs
        self._folders: set[str] = set()  # of the sources in memory
        self._replacing: set[str] = set()  # those of them that replace what the runs may hold
        self._spill = Spill(folder)
        self._runs: list[Run] = []  # from the oldest
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self._changing = threading.Lock()
        self._taken = False

    def came_from(self, folder: str, *, whole: bool) -> None:
        """Note that files came from a folder; `whole` if all of it, each under the name that it has there."""
        self.folders[folder] = whole and self.folders.get(folder, True)

    def refers_to(self, url: str) -> None:
        """Note a place outside the store that objects were added from; a folder's URL ends with a slash."""
        self.references.add(url)
        if len(self.references) > LIMIT:
            self.references = folders(self.references)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Close the draft while it is logged, and for good once it is; after an error it is open again.

        What was added meanwhile would be lost without a word. Raises Conflict where it is closed already.
        """
        with self._changing:
            self._require_open()
            self._taken = True
        try:
            yield
        except BaseException:
            self._taken = False
            raise

    def _require_open(self) -> None:
        if self._taken:
            raise Conflict("this draft is being logged, or was: it takes nothing more; start another with new_draft()")

    def add(self, path: str, source: Source, *, overwrite: bool = False) -> None:
        """Give a path its source.

        Raises InvalidName for a path outside the rules or one that would be both a file and a folder, and Conflict for
        one that is there with other content, unless `overwrite`, and while the draft is logged.
        """
        check_path(path)
        with self._changing:
            self._require_open()
            self._make_room(1)
            self._put(path, source, overwrite=overwrite)

    def add_all(self, found: Iterable[tuple[str, Source]], *, overwrite: bool = False) -> None:
        """Give many paths their sources, as `add` does; cheap where those of one folder follow one another.

        Nothing is added where the iterator raises. Where it yields more than fit in memory, they are not compared with
        what is there before the draft is logged.
        """
        remaining = iter(found)
        portion = list(islice(remaining, self._limit))
        if len(portion) == self._limit:
            self._add_runs(portion, remaining, overwrite=overwrite)
            return
        check_paths([path for path, _ in portion])
        with self._changing:
            self._require_open()
            self._make_room(len(portion))
            by_folder = not (overwrite and self._runs)
            settled = None  # a folder that is known to be one
            for path, source in portion:
                folder = path.rpartition("/")[0]
                if folder == settled and path not in self._sources and path not in self._folders:
                    self._sources[path] = source
                else:
                    self._put(path, source, overwrite=overwrite)
                    settled = folder if by_folder else None

    def _add_runs(
        self, portion: list[tuple[str, Source]], remaining: Iterator[tuple[str, Source]], *, overwrite: bool
    ) -> None:
        """Write a portion and all that follows to the disk; `portion` is used up."""
        runs: list[Run] = []
        while portion:
            check_paths([path for path, _ in portion])
            portion.sort(key=_path_first)
            runs.append(self._spill.write(Row(path, overwrite, source) for path, source in portion))
            portion.clear()  # before the next is there, too
            portion.extend(islice(remaining, self._limit))
        with self._changing:
            self._require_open()
            self._make_room(self._limit)
            self._runs += runs

    def _make_room(self, count: int) -> None:
        """Write what is in memory to the disk if so many more would be too many."""
        if self._sources and len(self._sources) + count > self._limit:
            self._runs.append(self._spill.write(self._row(path) for path in sorted(self._sources)))
            self._sources, self._folders, self._replacing = {}, set(), set()

    def _row(self, path: str) -> Row:
        return Row(path, path in self._replacing, self._sources[path])

    def _put(self, path: str, source: Source, *, overwrite: bool) -> None:
        known = self._sources.get(path)
        if known is None:
            self._make_folders(path)
        elif not overwrite and not have_same_content(known, source):
            raise _conflict(path, known, source)
        self._sources[path] = source
        if overwrite and self._runs:
            self._replacing.add(path)

    def _make_folders(self, path: str) -> None:
        if path in self._folders:
            raise InvalidName(f"{shown(path)} is a folder of this draft already; it cannot be a file too")
        made = list(self._new_folders(path))
        for folder in made:
            if folder in self._sources:
                raise InvalidName(
                    f"{shown(folder)} is a file of this draft already; it cannot be the folder of {shown(path)} too"
                )
        self._folders.update(made)

    def _new_folders(self, path: str) -> Iterator[str]:
        folder = path.rpartition("/")[0]
        while folder and folder not in self._folders:
            yield folder
            folder = folder.rpartition("/")[0]

    def remove(self, path: str) -> None:
        """Take a file or a folder out of the draft; those of the base go when it is logged.

        Raises NotFound where neither has it.
        """
        check_path(path)
        with self._changing:
            self._require_open()
            is_in_base = self._holds is not None and self._holds(path)
            was_added = self._remove_added(path)
            if is_in_base:
                self.removed.add(path)
            elif not was_added:
                raise NotFound(f"{shown(path)} is not in the draft")

    def _remove_added(self, path: str) -> bool:
        below = path + "/"
        gone = [one for one in self._sources if one == path or one.startswith(below)]
        for one in gone:
            del self._sources[one]
        self._replacing.difference_update(gone)
        if gone:
            self._folders = set()  # a folder that only the removed paths had made is free to become a file
            for one in self._sources:
                self._folders.update(self._new_folders(one))
        gone += [path for run in self._runs if run.remove(path)]
        return bool(gone)

    def spool(self, name: str) -> Path:
        """Return a fresh place for the content of a path, which is written before it is logged; `close` removes it.

        Raises InvalidName for a path that could not be added: better than when all is written.
        """
        check_path(name)
        with self._changing:
            self._require_open()
            if self._spool is None:
                self._spool = tempfile.TemporaryDirectory(prefix="lineart-draft-", ignore_cleanup_errors=True)
            self._spooled += 1
        return Path(self._spool.name) / f"{self._spooled:08d}"

    def owns(self, source: FileSource) -> bool:
        """Whether a file is one of those that were spooled here, which nobody else writes to."""
        return self._spool is not None and source.path.startswith(self._spool.name + os.sep)

    def close(self) -> None:
        """Remove what was spooled and spilled; the draft is of no use then."""
        if self._spool is not None:
            self._spool.cleanup()
        self._spill.close()

    def totals(self) -> tuple[int, int]:
        """Return how many files were added, and their bytes; those on disk that others replace are counted, too."""
        with self._changing:
            files = len(self._sources) + sum([len(run) for run in self._runs])
            return files, sum([one.size for one in self._sources.values()]) + sum([run.size for run in self._runs])

    def ordered(self) -> Iterator[tuple[str, Source]]:
        """Yield paths and sources in the order of a manifest: by the bytes of the path. May be called again.

        What could not be compared when it was added is compared first: raises what `add` does, before the first path.
        """
        if not self._runs:
            for path in sorted(self._sources):  # which is the order of the bytes of UTF-8, too
                yield path, self._sources[path]
            return
        order = PathOrder()
        for rows in self._merged():
            order.feed(list(map(path_of, rows)))
        for rows in self._merged():
            for row in rows:
                yield row.path, row.source

    def _merged(self) -> Iterator[list[Row]]:
        newest = in_portions(sorted(self._sources), lambda paths: list(map(self._row, paths)))
        for rows in merge([*(run.portions() for run in self._runs), newest]):
            if len(rows) == len(set(map(path_of, rows))):
                yield rows
            else:
                yield [_last(list(same)) for _, same in groupby(rows, path_of)]


def _last(rows: Sequence[Row]) -> Row:
    """Return the newest of one path's rows; Conflict where it and those since the last that replaces differ."""
    since = max([index for index, row in enumerate(rows) if row.overwrite], default=0)
    kept = rows[since]
    for row in rows[since + 1 :]:
        if not have_same_content(kept.source, row.source):
            raise _conflict(row.path, kept.source, row.source)
        kept = row
    return kept


def _conflict(path: str, known: Source, source: Source) -> Conflict:
    return Conflict(
        f"{shown(path)} is in the draft with other content, from {known} and now from {source}; overwrite=True "
        "replaces it"
    )
