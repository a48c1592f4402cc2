"""What the rows of artifacts look like to everybody else: frozen values with natural names.

Knows no SQL and no bytes. Times are microseconds since the Unix epoch, UTC; sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..storage.digest import Digest

__all__ = ["CollectionRecord", "VersionRecord"]


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
