"""Putting a version into a folder: what is decided first, what is fetched then, and when it appears.

Knows content, places, what is remembered of them and what stays there; must not know drafts or runs, or what else can
be done with a version.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..storage.errors import Conflict
from .agreed import Agreed
from .clearing import clear, make_way, remove, strays
from .download import platform_here, require_writable, sparing
from .linking import COPIES, check_link, placing
from .locks import locked
from .outside import Gathering
from .overwriting import require_agreed, require_unchanged, some_of, sparing_way, sparing_work
from .place import Place, is_store
from .refusal import refusal
from .remembered import Remembered
from .stat_cache import Origin, StatCache
from .tree import CHECKOUT, DOWNLOADS
from .unfinished import SIGN

if TYPE_CHECKING:
    from .clearing import Standing
    from .content import Content
    from .entry import Entry
    from .leftovers import Leftovers, Staying
    from .linking import Link, Placing
    from .logged import Home
    from .records import VersionRecord

__all__ = ["Putting"]

WORTH = 1 << 20  # bytes of a file that is put somewhere alone: from there on it is remembered


class Putting:
    """Puts one version into folders; `default` is where, if no folder is named."""

    def __init__(self, record: VersionRecord, content: Content, home: Home, default: Path) -> None:
        self._record = record
        self._content = content
        self._home = home
        self._default = default

    def download(
        self,
        root: Path | None,
        prefix: str | None,
        link: Link,
        *,
        overwrite: bool,
        tells: bool,
    ) -> tuple[Path, Leftovers | None]:
        """Put the files below a folder, verified, and leave what else is there; return the folder.

        And, if asked, what stays of the version that the folder was before.
        """
        with self._place(root, link, whole=not prefix) as (place, folder, way):
            if link in COPIES and prefix is None and self._is_whole(place):
                return folder, None
            agreed = None if overwrite or place.fresh else Agreed(folder, place.remembered)
            staying = self._staying(place, prefix) if tells else None
            entries = self._content.walk(prefix)
            remove(place, self._decide(entries if staying is None else staying.passing(entries), place, way, agreed))
            left = None if staying is None else staying.count()
            self._fetch(place, way, prefix, agreed)
            require_agreed(agreed, folder, f"and all others of {self._record.ref} are there")
            self._settle(place, entire=not prefix)
        return folder, left

    def checkout(self, root: Path | None, link: Link, *, force: bool, overwrite: bool) -> Path:
        """Make a folder hold exactly this version.

        Raises Conflict, unless `force`, for a folder that is neither empty nor an earlier checkout.
        """
        from .leftovers import manifest_before

        with self._place(root, link, whole=True) as (place, folder, way):
            own = place.find(CHECKOUT)
            is_own = own is not None and stat.S_ISREG(own.st_mode)
            if not place.fresh and not force and not is_own:
                _require_empty(folder)
            if next(self._content.manifest.walk(CHECKOUT), None) is not None:
                raise Conflict(f"{self._record.ref} holds a file named {CHECKOUT}; download it instead")
            agreed = None if overwrite or place.fresh else Agreed(folder, place.remembered)
            wanted: set[str] = set()
            entries = self._content.walk()
            self._decide(entries if place.fresh else _noting(entries, wanted), place, way, agreed, clears=True)
            foreign = strays(place, {*wanted, CHECKOUT, SIGN}) if not place.fresh else []
            if agreed is not None:
                require_unchanged(foreign, place, lambda: manifest_before(self._home.catalog, place), agreed)
            mark = json.dumps({"ref": self._record.ref, "digest": self._record.digest.hex()}) + "\n"
            # First, so that the folder of a checkout that is interrupted is known as its own by the next.
            place.write(CHECKOUT, (mark.encode(),), executable=False)
            make_way(place, wanted, agreed)
            self._fetch(place, way, None, agreed)
            others = f"all others of {self._record.ref} are there"
            require_agreed(agreed, folder, f"{others}, and nothing was cleared away")
            clear(place, foreign)
            require_agreed(agreed, folder, f"{others}, and what else was there is cleared away")
            self._settle(place, entire=True)
        return folder

    @contextmanager
    def _place(self, root: Path | None, link: Link, *, whole: bool) -> Iterator[tuple[Place, Path, Placing]]:
        check_link(link)
        folder = root if root is not None else self._default
        real = Path(os.path.realpath(folder))  # a link that leads to itself is for the place to refuse
        if any(is_store(os.fspath(one)) for one in (real, *real.parents)):
            raise Conflict(f"{folder} is in a store of Lineart, where nothing else may be; choose another folder")
        if root is None:
            self._mark_downloads(folder)
        with locked(folder) as claim, Place(folder, claim) as place, placing(link, self._home.cache, place) as way:
            place.remembered = Remembered(StatCache.below(self._home.cache), folder, 0 if whole else WORTH)
            yield place, folder, way

    def _is_whole(self, place: Place) -> bool:
        """Whether all files are at a place as they were left there; asks nothing but the disk."""
        remembered = place.remembered
        return remembered is not None and remembered.is_whole(self._record.digest, self._record.file_count)

    def _settle(self, place: Place, *, entire: bool) -> None:
        """Let what was put at a place appear, and remember it."""
        assert place.remembered is not None
        place.remembered.wait()
        place.settle()
        store_id = self._home.catalog.engine.marker.store_id
        origin = Origin(store_id, self._record.ref, self._record.digest)
        place.remembered.save(origin, count=self._record.file_count if entire else None)

    def _mark_downloads(self, folder: Path) -> None:
        """Say that the folders above the default one hold downloads; refuses a link that nobody asked to follow."""
        here = self._home.downloads
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

    def _decide(
        self, entries: Iterable[Entry], place: Place, way: Placing, agreed: Agreed | None, *, clears: bool = False
    ) -> dict[str, Standing]:
        """Decide, before anything is written, that nothing is lost, and return what is to go for there to be way.

        `agreed` gathers which files may be replaced; None if all. If the place is cleared, that goes anyway.
        """
        from .leftovers import held_elsewhere

        wanted, others = self._content.manifest, partial(held_elsewhere, self._home.catalog, self._record, place)
        entries = sparing(entries, place, way.stands)
        in_the_way: dict[str, Standing] = {}
        if agreed is not None:
            entries = sparing_work(entries, place, wanted, others, agreed)
        if not place.fresh and not clears:
            entries = sparing_way(entries, place, wanted, others, in_the_way)
        require_writable(entries, platform_here(), os.path.abspath(place.root))
        return in_the_way

    def _staying(self, place: Place, prefix: str | None) -> Staying | None:
        from .leftovers import Staying

        return Staying.find(self._home.catalog, self._record, place, prefix)

    def _fetch(self, place: Place, way: Placing, prefix: str | None, agreed: Agreed | None) -> None:
        place.agreed = agreed
        progress = self._home.progress(f"get {self._record.name}")
        try:
            with Gathering(place, progress) as gathering:
                way.fetch(gathering.apart(self._content.walk(prefix)), self._content.chunks, progress)
                gathering.finish()
        except BaseException:
            if place.remembered is not None:
                place.remembered.sightings.save()  # nobody else knows what came from other places
            raise


def _noting(entries: Iterable[Entry], paths: set[str]) -> Iterator[Entry]:
    """Pass entries on, and gather their paths."""
    for entry in entries:
        paths.add(entry.path)
        yield entry


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
