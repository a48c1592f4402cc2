"""What the rows of artifacts look like to everybody else: frozen values with natural names.

Knows no SQL and no bytes. Times are microseconds since the Unix epoch, UTC; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ..storage.digest import Digest
from .metadata import Metadata
from .ref import LATEST, fold_name

__all__ = ["Change", "CollectionRecord", "ExternalRecord", "Names", "VersionRecord", "listed"]


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version as the database knew it at one moment."""

    id: int  # of its row: never shown, never kept
    project: str
    collection: str
    type: str
    number: int
    digest: bytes
    size: int
    file_count: int
    state: str  # live, deleted, purged
    created: int
    deleted: int | None
    actor: str
    description: str | None
    metadata: dict[str, Any]
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    refers: bool = False  # to places outside the store: it has external entries

    @property
    def version(self) -> str:
        """The version's number as people write it: `v3`."""
        return f"v{self.number}"

    @property
    def name(self) -> str:
        """Collection and version: `dataset:v3`."""
        return f"{self.collection}:{self.version}"

    @property
    def ref(self) -> str:
        """The whole address: `project/dataset:v3`."""
        return f"{self.project}/{self.name}"

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of a version."""
        return {
            "ref": self.ref,
            "project": self.project,
            "name": self.collection,
            "version": self.version,
            "type": self.type,
            "digest": str(Digest(self.digest)),
            "size": self.size,
            "file_count": self.file_count,
            "state": self.state,
            "created": self.created,
            "actor": self.actor,
            "description": self.description,
            "metadata": self.metadata,
            "aliases": list(self.aliases),
            "tags": list(self.tags),
        }


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """One collection with what a list of collections shows."""

    project: str
    name: str
    type: str
    description: str | None
    versions: int  # that are not deleted
    latest: int | None  # number of the version that `latest` means
    size: int  # of that version
    updated: int
    aliases: dict[str, int]  # alias → number


@dataclass(frozen=True, slots=True)
class ExternalRecord:
    """One place outside the store that a version has entries of."""

    url: str  # what was added: an object, or a folder of them, which ends with a slash
    objects: int
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {"url": self.url, "objects": self.objects, "size": self.size}


class Names(NamedTuple):
    """Names to give and names to take away; two that differ only by case are one."""

    given: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Iterable[str], now: Iterable[str], spare: str = "") -> Self:
        """Return what leads from one set of names to another; `spare` is never taken away."""
        old, new = {fold_name(one): one for one in before}, {fold_name(one): one for one in now}
        return cls(
            tuple(one for key, one in new.items() if key not in old),
            tuple(one for key, one in old.items() if key not in new and one != spare),
        )


class Change(NamedTuple):
    """What somebody changed of a version: only that, so that what others changed meanwhile stands."""

    words: dict[str, Any]  # any of description and metadata
    tags: Names
    aliases: Names

    def __bool__(self) -> bool:
        return bool(self.words or any(self.tags) or any(self.aliases))

    @classmethod
    def between(
        cls,
        record: VersionRecord,
        description: str | None,
        metadata: Mapping[str, Any],
        tags: Iterable[str],
        aliases: Iterable[str],
    ) -> Self:
        """Return what leads from a record to other words and names; InvalidInput for metadata that is not JSON."""
        words: dict[str, Any] = {}
        if description != record.description:
            words["description"] = description
        if metadata != record.metadata:
            words["metadata"] = dict(Metadata(metadata))  # what was changed within a value is checked now
        return cls(words, Names.between(record.tags, tags), Names.between(record.aliases, aliases, spare=LATEST))


def listed(names: str | Iterable[str] | None) -> list[str]:
    """Return names as a list; one that is given by itself is one name, not its letters."""
    return [] if names is None else [names] if isinstance(names, str) else list(names)
