"""What the rows of artifacts look like to everybody else: frozen values with natural names.

Knows no SQL and no bytes. Times are microseconds since the Unix epoch, UTC; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..storage.digest import Digest

__all__ = ["CollectionRecord", "ExternalRecord", "VersionRecord", "listed"]


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

    def __repr__(self) -> str:
        from ..storage.brief import brief, few, names, utc

        what = self.type, self.state, few(self.file_count, "file") or "no file", few(self.size, "byte")
        known = utc(self.created), f"b3:{self.digest.hex()[:8]}", names("aliases", self.aliases)
        return brief(f"VersionRecord {self.ref}", *what, *known)

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

    def __repr__(self) -> str:
        from ..storage.brief import brief, few, utc

        latest = None if self.latest is None else f"latest v{self.latest}"
        known = few(self.versions, "version") or "no version", latest, utc(self.updated)
        return brief(f"CollectionRecord {self.project}/{self.name}", self.type, *known)


@dataclass(frozen=True, slots=True)
class ExternalRecord:
    """One place outside the store that a version has entries of."""

    url: str  # what was added: an object, or a folder of them, which ends with a slash
    objects: int
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {"url": self.url, "objects": self.objects, "size": self.size}


def listed(names: str | Iterable[str] | None) -> list[str]:
    """Return names as a list; one that is given by itself is one name, not its letters."""
    return [] if names is None else [names] if isinstance(names, str) else list(names)
