"""What can be done with a logged version: put its files somewhere, check them, compare it with another.

Knows content and records, and who puts files into folders; must not know drafts or runs.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..storage.digest import Digest
from ..storage.errors import VerifyError
from .content import Content
from .download import Report, compare
from .manifest import diff, renames
from .overwriting import some_of
from .sightings import Sightings
from .source import ExternalSource, StoredSource
from .stat_cache import StatCache
from .tree import CHECKOUT

if TYPE_CHECKING:
    import networkx

    from .catalog import Catalog
    from .entry import Entry
    from .leftovers import Leftovers
    from .linking import Link
    from .manifest import Change, Rename
    from .putting import Putting
    from .records import VersionRecord
    from .upload import Progress

__all__ = ["Difference", "Home", "LoggedEntry", "LoggedVersion", "require_bytes"]


class Home(Protocol):
    """What a logged version needs of the store that it lives in."""

    catalog: Catalog
    cache: Path | None  # where this machine keeps what can be had again
    downloads: Path  # the root under which versions are put when no place is given

    def progress(self, what: str) -> Progress | None:
        """Return what is told of long work, if anybody watches."""

    def logged_by(self, version: VersionRecord) -> Any:
        """Return the run that first produced a version, or None."""

    def used_by(self, version: VersionRecord) -> list[Any]:
        """Return the runs that used a version."""

    def delete(self, *versions: VersionRecord, force: bool = False, reason: str | None = None) -> list[VersionRecord]:
        """Leave tombstones in the place of versions."""

    def restore(self, version: VersionRecord, *, reason: str | None = None) -> VersionRecord:
        """Bring a deleted version back."""

    def graph(self, version: VersionRecord, *, down: bool, depth: int | None) -> networkx.DiGraph:
        """Return a version's upstream or downstream graph."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How one version differs from an earlier one; `metadata` maps a key to its old and new value."""

    added: list[Entry]
    removed: list[Entry]
    changed: list[Change]
    renamed: list[Rename]
    metadata: dict[str, tuple[Any, Any]]

    def __repr__(self) -> str:
        paths = {"added": len(self.added), "removed": len(self.removed), "changed": len(self.changed)}
        counts = {**paths, "renamed": len(self.renamed), "of metadata": len(self.metadata)}
        return f"<Difference: {', '.join(f'{number:,} {what}' for what, number in counts.items() if number) or 'none'}>"

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed or self.renamed or self.metadata)


class LoggedVersion:
    """One version's record, its content and the store it lives in."""

    def __init__(self, record: VersionRecord, home: Home) -> None:
        self.record = record
        self.home = home
        self._content = Content(record.digest, home.catalog.engine.chunks)

    @property
    def content(self) -> Content:
        """What it holds; NotFound where it is deleted."""
        self.require_bytes()
        return self._content

    def require_bytes(self) -> None:
        """Raise NotFound where the version is deleted, and say whether it can be brought back."""
        require_bytes(self.record, self.home.catalog)

    def hold(self, entry: Entry) -> LoggedEntry:
        """Return one of its entries as what users hold."""
        return LoggedEntry(entry, self)

    def default_root(self) -> Path:
        """Return where `download()` puts this version: `<downloads>/<project>/<collection>-v<number>`."""
        return self.home.downloads / self.record.project / f"{self.record.collection}-{self.record.version}"

    def download(
        self,
        root: Path | None,
        prefix: str | None,
        link: Link = "copy",
        *,
        overwrite: bool = True,
        tell: Callable[[Leftovers], None] | None = None,
    ) -> Path:
        """Put the files below a folder, verified, and leave what else is there.

        `tell` is told if files of the version stay that the folder was before.
        """
        folder, left = self._putting().download(root, prefix, link, overwrite=overwrite, tells=tell is not None)
        if tell is not None and left is not None:
            tell(left)
        return folder

    def checkout(self, root: Path | None, *, force: bool, link: Link = "copy", overwrite: bool = True) -> Path:
        """Make a folder hold exactly this version.

        Raises Conflict, unless `force`, for a folder that is neither empty nor an earlier checkout.
        """
        return self._putting().checkout(root, link, force=force, overwrite=overwrite)

    def verify(self, root: Path | None) -> Path:
        """Check a folder's files against this version; VerifyError carries the report.

        Only paths and content count, the executable bit does not. Of an external entry that only its server knew, and
        that was not fetched here, the size counts.
        """
        self.require_bytes()
        folder = root if root is not None else self.default_root()
        entries = Sightings(StatCache.below(self.home.cache), folder).as_files(self.content.walk())
        report = compare(entries, folder, _files_below(folder))
        if report:
            raise VerifyError(f"{folder} is not {self.record.ref}: {_summary(report)}", report)
        return folder

    def diff(self, earlier: LoggedVersion) -> Difference:
        """Say what changed from `earlier` to this version; equal pages are not read."""
        changes = list(diff(earlier.content.manifest, self.content.manifest))
        renamed = renames(changes)
        moved = {one.old.path for one in renamed} | {one.new.path for one in renamed}
        rest = [one for one in changes if one.path not in moved]
        old, new = earlier.record.metadata, self.record.metadata
        return Difference(
            added=[one.new for one in rest if one.old is None and one.new is not None],
            removed=[one.old for one in rest if one.new is None and one.old is not None],
            changed=[one for one in rest if one.old is not None and one.new is not None],
            renamed=renamed,
            metadata={
                key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)
            },
        )

    def _putting(self) -> Putting:
        from .putting import Putting

        return Putting(self.record, self.content, self.home, self.default_root())


class LoggedEntry:
    """One file of a logged artifact."""

    def __init__(self, entry: Entry, logged: LoggedVersion) -> None:
        self.path = entry.path
        self.size = entry.size
        self.digest = Digest(entry.digest)
        self.external = entry.external  # `url`, `etag` and `version`, where its bytes are not in the store
        self._entry = entry
        self._logged = logged

    def __repr__(self) -> str:
        where = "" if self.external is None else f", at {self.external.url}"
        return f"<{self._logged.record.name}/{self.path}, {self.size:,} bytes{where}>"

    def as_source(self) -> tuple[str, ExternalSource | StoredSource]:
        """Return its path and what another draft takes it over by."""
        one, there, record = self._entry, self.external, self._logged.record
        if there is not None:
            return one.path, ExternalSource(there.url, one.size, one.digest, there.etag, there.version)
        self._logged.require_bytes()
        store = self._logged.home.catalog.engine.marker.store_id
        origin = f"{record.ref}/{one.path}"
        return one.path, StoredSource(origin, store, one.size, one.digest, one.recipe, one.executable)

    def download(
        self, root: str | os.PathLike[str] | None = None, *, link: Link = "copy", overwrite: bool = True
    ) -> Path:
        """Put this one file below a folder, as `Artifact.download` does, and return its path."""
        folder = None if root is None else Path(root)
        return self._logged.download(folder, self.path, link, overwrite=overwrite) / self.path

    def open(self) -> io.BufferedReader:
        """Open it as a seekable stream of bytes, without a download."""
        return self._logged.content.open(self.path)

    def read_bytes(self) -> bytes:
        """Return its content, verified."""
        return self._logged.content.read(self.path)


def require_bytes(version: VersionRecord, catalog: Catalog) -> None:
    """Raise NotFound where a version is deleted, which says by whom: its bytes may go at any time after its grace."""
    if version.state != "live":
        from .gone import absent_bytes

        raise catalog.engine.database.read(lambda connection: absent_bytes(connection, version))


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the relative path of everything below a folder that is not a folder itself."""
    for here, folders, files in os.walk(folder):
        prefix = os.path.relpath(here, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        links = [name for name in folders if os.path.islink(f"{here}/{name}")]
        for name in [*files, *links]:
            if prefix or name != CHECKOUT:
                yield prefix + name


def _summary(report: Report) -> str:
    parts = []
    for what, paths in (("missing", report.missing), ("changed", report.changed), ("extra", report.extra)):
        if paths:
            parts.append(f"{len(paths)} {what} ({some_of(paths)})")
    return "; ".join(parts)
