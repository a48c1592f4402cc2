"""The artifact: what a user holds, a draft or a logged version.

Knows both faces and hands the work to the parts; must not know SQL, packs or runs.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from ..storage.digest import Digest
from ..storage.errors import Frozen, InvalidInput, NotLogged
from .draft import Draft
from .drafting import Drafting
from .housed import Housed
from .metadata import Metadata, check_words
from .records import listed
from .ref import check_name
from .warned import warn

if TYPE_CHECKING:
    from .leftovers import Leftovers
    from .linking import Link
    from .logged import Difference, Home, LoggedEntry, LoggedVersion
    from .records import VersionRecord

__all__ = ["Artifact"]

StrPath = str | os.PathLike[str]


class Artifact(Drafting, Housed):
    """A dataset, a model, or any other set of files with a name.

    A new one is a draft that files are added to; logging it makes it an immutable version, and then the same object
    offers what a version can do. Without a type it takes that of its collection, or `artifact` if it is the first.
    Raises InvalidName for a name or type outside the grammar and InvalidInput for metadata that is not JSON; NaN and
    infinities, which are not either, are kept as the text "NaN", "Infinity" and "-Infinity", as run.summary keeps them.

    >>> draft = Artifact("dataset", type="dataset", metadata={"tokens": 9})
    >>> draft.add_bytes(b"a b c", "words.txt")
    """

    def __init__(
        self,
        name: str,
        type: str | None = None,  # noqa: A002 - the interface's word
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        check_name("artifact name", name)
        if type is not None:
            check_name("type", type)
        self._name = name
        self._type = type
        self._description = check_words("description", description)
        self._metadata = Metadata(metadata)
        self._tags: list[str] = []
        self._aliases: list[str] = []
        self._draft: Draft | None = Draft()
        self._logged: LoggedVersion | None = None

    def __repr__(self) -> str:
        if self._logged is not None:
            count, size = self.file_count, self.size
            return f"<Artifact {self.ref}, {count:,} file{'s' * (count != 1)}, {size:,} bytes>"
        return f"<Artifact draft {self._name}>"

    def _repr_html_(self) -> str | None:
        from .display import draft_html, version_html

        if self._logged is not None:
            return version_html(self._logged.record)
        return None if self._draft is None else draft_html(self, self._draft)

    # Both

    @property
    def name(self) -> str:
        """The collection's name; with the version once it is logged: `dataset:v3`."""
        return self._name if self._logged is None else self._logged.record.name

    @property
    def collection(self) -> str:
        """The collection's name alone."""
        return self._name

    @property
    def type(self) -> str | None:
        """The type of its collection; None for a draft that takes whatever type its collection has."""
        return self._type

    @property
    def state(self) -> str:
        """`draft`, `live`, `deleted` or `purged`."""
        return "draft" if self._logged is None else self._logged.record.state

    @property
    def description(self) -> str | None:
        """What it is, in words."""
        return self._description

    @description.setter
    def description(self, value: str | None) -> None:
        self._description = check_words("description", value)

    @property
    def metadata(self) -> Metadata:
        """Its metadata; what is assigned is checked at once, and kept by logging or `save()`."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        self._metadata = Metadata(value)

    @property
    def tags(self) -> list[str]:
        """Its tags; change the list and `save()`."""
        return self._tags

    @tags.setter
    def tags(self, value: Iterable[str]) -> None:
        self._tags = listed(value)

    @property
    def aliases(self) -> list[str]:
        """The aliases that mean this version; change the list and `save()`."""
        return self._aliases

    @aliases.setter
    def aliases(self, value: Iterable[str]) -> None:
        self._aliases = listed(value)

    # A logged version

    @property
    def record(self) -> VersionRecord:
        """Everything the store knew of this version when it was looked up."""
        return self._held().record

    @property
    def project(self) -> str:
        """The project it is in."""
        return self.record.project

    @property
    def ref(self) -> str:
        """Its whole address: `digits/model:v7`."""
        return self.record.ref

    @property
    def version(self) -> str:
        """Its number as people write it: `v3`."""
        return self.record.version

    @property
    def digest(self) -> Digest:
        """The digest of its manifest: equal content has an equal digest."""
        return Digest(self.record.digest)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return self.record.size

    @property
    def file_count(self) -> int:
        """How many entries it has."""
        return self.record.file_count

    @property
    def created_at(self) -> datetime:
        """When it was logged, UTC."""
        return datetime.fromtimestamp(self.record.created / 1e6, UTC)

    def download(
        self,
        root: StrPath | None = None,
        path_prefix: str | None = None,
        *,
        link: Link = "copy",
        overwrite: bool = True,
    ) -> Path:
        """Put its files below a folder, verified, and return the folder.

        The default folder is `artifacts/<project>/<name>-v<number>`. What else is there is left alone; what is there
        already with the right content is not written again. `path_prefix` is a file or folder of the artifact. Instead
        of copies, `link` makes clones where the disk can (`reflink`), or hard or symbolic links (`hardlink`, `symlink`)
        to read-only files that all downloads of this user share; Conflict where the disk has no such links.
        Files in the place of its own are replaced. Without `overwrite`, one that was changed since a download put it
        there, or that no download put there, is a Conflict that names it, before anything is written. A warning says
        when files of another version stay beside its own.
        Raises IntegrityError where stored bytes are damaged; nothing wrong is left behind.
        """
        where = None if root is None else Path(root)
        return self._held().download(where, path_prefix, link, overwrite=overwrite, tell=_warn)

    def checkout(
        self, root: StrPath | None = None, *, force: bool = False, link: Link = "copy", overwrite: bool = True
    ) -> Path:
        """Put its files in a folder, as `download` does, and remove what does not belong.

        Raises Conflict for a folder that is neither empty nor an earlier checkout, unless `force`; `overwrite` is that
        of `download`.
        """
        where = None if root is None else Path(root)
        return self._held().checkout(where, force=force, link=link, overwrite=overwrite)

    def verify(self, root: StrPath | None = None) -> Path:
        """Check a folder's files; VerifyError, with `.report`, where they are not this version's."""
        return self._held().verify(None if root is None else Path(root))

    def files(self, prefix: str | None = None) -> Iterator[LoggedEntry]:
        """Yield its files, lazily, in the order of their paths."""
        logged = self._held()
        yield from map(logged.hold, logged.content.walk(prefix))

    def __getitem__(self, path: str) -> LoggedEntry:
        """Return one file; NotFound where there is none."""
        logged = self._held()
        return logged.hold(logged.content.entry(path))

    def open(self, path: str, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """Open one file as a seekable stream of bytes, without a download."""
        if mode != "rb":
            raise InvalidInput(f"a logged artifact is read as bytes, with mode 'rb', not {mode!r}")
        return self._held().content.open(path)

    def read_bytes(self, path: str) -> bytes:
        """Return one file's content, verified."""
        return self._held().content.read(path)

    def new_draft(self) -> Artifact:
        """Start the next version from this one; logging it costs what changes."""
        logged = self._held()
        logged.require_bytes()
        draft = Artifact(self._name, self._type, self._description, self._metadata)
        walk = logged.content.manifest.walk
        record, store = logged.record, logged.home.catalog.engine.marker.store_id
        draft._draft = Draft(
            record.digest,
            lambda path: next(walk(path), None) is not None,
            refers=record.refers,
            base_ref=record.ref,
            base_store=store,
        )
        return draft

    def diff(self, other: Artifact) -> Difference:
        """Say what changed from `other` to this version."""
        return self._held().diff(other._held())

    def save(self) -> None:
        """Keep what was changed of description, metadata, tags and aliases; sends only that.

        What others saved meanwhile stands: metadata goes by its keys at the top, of which a dict with all that is in it
        is one. Raises Conflict where they gave the same key, or the description, another value: then nothing is saved.
        """
        from .change import Change

        logged = self._held()
        record = logged.record
        change = Change.between(record, self._description, self._metadata, self._tags, self._aliases)
        self.settle(logged.home.catalog.change(record, change) if change else record, logged.home)

    # For the parts that log

    def settle(self, record: VersionRecord, home: Home) -> Self:
        """Become the logged version that `record` describes."""
        from .logged import LoggedVersion

        self._logged = LoggedVersion(record, home)
        if self._draft is not None:
            self._draft.close()
        self._draft = None
        self._name, self._type = record.collection, record.type
        self._description = record.description
        self._metadata = Metadata(record.metadata)
        self._tags, self._aliases = list(record.tags), list(record.aliases)
        return self

    @classmethod
    def of(cls, record: VersionRecord, home: Home) -> Artifact:
        """Return the artifact of a logged version."""
        return cls(record.collection, record.type).settle(record, home)

    def take_draft(self) -> Draft:
        """Return the draft that is to be logged; Frozen where this is logged already."""
        return self._open_draft()

    def _open_draft(self) -> Draft:
        if self._draft is None:
            raise Frozen(f"{self.name} is logged and immutable; `new_draft()` starts its successor")
        self._require_idle()
        return self._draft

    def _held(self) -> LoggedVersion:
        self._await()
        if self._logged is None:
            raise NotLogged(f"{self._name} is a draft; log it first")
        return self._logged


def _warn(left: Leftovers) -> None:
    what = f"{left.count:,} files stay" if left.count != 1 else "1 file stays"
    warn(
        f"{what} of {left.version.ref} in the folder, beside those of the version put there; `checkout()` makes"
        " a folder hold exactly one version"
    )
