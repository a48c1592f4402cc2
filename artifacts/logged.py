"""What can be done with a logged version: put its files somewhere, check them, compare it with another.

Knows content, places and records; must not know drafts or runs.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..storage.digest import Digest
from ..storage.errors import Conflict, NotFound, VerifyError
from .content import Content
from .download import Report, compare, platform_here, require_writable, sparing
from .linking import COPIES, check_link, placing
from .locks import locked
from .manifest import diff, renames
from .outside import Gathering
from .overwriting import require_unchanged, some_of, sparing_way, sparing_work
from .place import Place, is_store
from .refusal import refusal
from .remembered import Remembered
from .sightings import Sightings
from .source import ExternalSource, StoredSource
from .stat_cache import Origin, StatCache
from .tree import CHECKOUT, DOWNLOADS

if TYPE_CHECKING:
    import networkx

    from .catalog import Catalog
    from .entry import Entry
    from .leftovers import Leftovers
    from .linking import Link, Placing
    from .manifest import Change, Rename
    from .records import VersionRecord
    from .upload import Progress

__all__ = ["Difference", "Home", "LoggedEntry", "LoggedVersion", "require_bytes"]

WORTH = 1 << 20  # bytes of a file that is put somewhere alone: from there on it is remembered


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
        require_bytes(self.record)

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
        with self._place(root, link, whole=not prefix) as (place, folder, way):
            if link in COPIES and prefix is None and self._is_whole(place):
                return folder
            if self._require_writable(place, prefix, way, overwrite=overwrite):
                place.make_way(entry.path for entry in self.content.walk(prefix))
            left = None if tell is None else self._left(place, prefix)
            self._fetch(place, way, prefix)
            self._settle(place, entire=not prefix)
        if tell is not None and left is not None:
            tell(left)
        return folder

    def checkout(self, root: Path | None, *, force: bool, link: Link = "copy", overwrite: bool = True) -> Path:
        """Make a folder hold exactly this version.

        Raises Conflict, unless `force`, for a folder that is neither empty nor an earlier checkout.
        """
        from .leftovers import manifest_before

        with self._place(root, link, whole=True) as (place, folder, way):
            own = place.find(CHECKOUT)
            is_own = own is not None and stat.S_ISREG(own.st_mode)
            if not place.fresh and not force and not is_own:
                _require_empty(folder)
            if next(self.content.manifest.walk(CHECKOUT), None) is not None:
                raise Conflict(f"{self.record.ref} holds a file named {CHECKOUT}; download it instead")
            self._require_writable(place, None, way, overwrite=overwrite, clears=True)
            wanted = {entry.path for entry in self.content.walk()} if not place.fresh else set()
            strays = place.strays({*wanted, CHECKOUT}) if not place.fresh else []
            if not overwrite:
                require_unchanged(strays, place, lambda: manifest_before(self.home.catalog, place))
            mark = json.dumps({"ref": self.record.ref, "digest": self.record.digest.hex()}) + "\n"
            # First, so that the folder of a checkout that is interrupted is known as its own by the next.
            place.write(CHECKOUT, (mark.encode(),), executable=False)
            place.make_way(wanted)
            self._fetch(place, way, None)
            place.clear(strays)
            self._settle(place, entire=True)
        return folder

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

    @contextmanager
    def _place(self, root: Path | None, link: Link, *, whole: bool) -> Iterator[tuple[Place, Path, Placing]]:
        check_link(link)
        self.require_bytes()
        folder = root if root is not None else self.default_root()
        real = Path(os.path.realpath(folder))  # a link that leads to itself is for the place to refuse
        if any(is_store(os.fspath(one)) for one in (real, *real.parents)):
            raise Conflict(f"{folder} is in a store of Lineart, where nothing else may be; choose another folder")
        if root is None:
            self._mark_downloads(folder)
        with locked(folder), Place(folder) as place, placing(link, self.home.cache, place) as way:
            place.remembered = Remembered(StatCache.below(self.home.cache), folder, 0 if whole else WORTH)
            yield place, folder, way

    def _is_whole(self, place: Place) -> bool:
        """Whether all files are at a place as they were left there; asks nothing but the disk."""
        remembered = place.remembered
        return remembered is not None and remembered.is_whole(self.record.digest, self.record.file_count)

    def _settle(self, place: Place, *, entire: bool) -> None:
        """Let what was put at a place appear, and remember it."""
        assert place.remembered is not None
        place.remembered.wait()
        place.settle()
        store_id = self.home.catalog.engine.marker.store_id
        origin = Origin(store_id, self.record.ref, self.record.digest)
        place.remembered.save(origin, count=self.record.file_count if entire else None)

    def _mark_downloads(self, folder: Path) -> None:
        """Say that the folders above the default one hold downloads; refuses a link that nobody asked to follow."""
        here = self.home.downloads
        for part in folder.relative_to(here).parts:
            here /= part
            if here.is_symlink():
                raise Conflict(f"{here} is a symbolic link; nothing is written through it: name the folder you want")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (folder.parent / DOWNLOADS).touch(exist_ok=False)
        except OSError as error:
            raise refusal(folder, error) from error

    def _require_writable(
        self, place: Place, prefix: str | None, way: Placing, *, overwrite: bool, clears: bool = False
    ) -> bool:
        """Decide, before anything is written, that nothing is lost; whether way is to be made for files first."""
        from .leftovers import held_elsewhere

        wanted, others = self.content.manifest, partial(held_elsewhere, self.home.catalog, self.record, place)
        entries = sparing(self.content.walk(prefix), place, way.stands)
        in_the_way: list[str] = []
        if not place.fresh and not overwrite:
            entries = sparing_work(entries, place, wanted, others)
        if not place.fresh and not clears:
            entries = sparing_way(entries, place, wanted, others, in_the_way)
        require_writable(entries, platform_here(), os.path.abspath(place.root))
        return bool(in_the_way)

    def _left(self, place: Place, prefix: str | None) -> Leftovers | None:
        from .leftovers import find_leftovers

        return find_leftovers(self.home.catalog, self.record, place, prefix)

    def _fetch(self, place: Place, way: Placing, prefix: str | None) -> None:
        progress = self.home.progress(f"get {self.record.name}")
        with Gathering(place, progress) as gathering:
            way.fetch(gathering.apart(self.content.walk(prefix)), self.content.chunks, progress)
            gathering.finish()


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


def require_bytes(version: VersionRecord) -> None:
    """Raise NotFound where a version is deleted: its bytes may go at any collection after its grace."""
    if version.state == "deleted":
        raise NotFound(f"{version.ref} is deleted; `art restore {version.ref}` brings it back")
    if version.state == "purged":
        raise NotFound(f"{version.ref} was deleted and its bytes are gone; its history is still there")


def _require_empty(folder: Path) -> None:
    try:
        found = sorted(os.listdir(folder))
    except OSError as error:
        raise refusal(folder, error) from error
    if found:
        raise Conflict(
            f"{folder} holds files that no checkout put there ({some_of(found)}); choose another folder; "
            "--force (force=True) removes them"
        )


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
