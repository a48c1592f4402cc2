"""Which versions were signed: the event that says so, and the chunks that hold the signatures.

Knows events; must not know keys or what a signature says: whether to believe one is asked in `signing.py`. There are no
rows beside the events: they are found by their collection, and survive as the journal does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, select

from ...artifacts import tables as artifact_tables
from ...artifacts.folds import version_row
from ...storage import tables as storage_tables
from ...storage.digest import Digest
from ...storage.events import Event, Fold
from ..runs import iso_time

if TYPE_CHECKING:
    from ...artifacts.records import VersionRecord

__all__ = ["FOLDS", "SIGNED", "Signatory", "Signature", "chunks_of_signatures", "read_signatures"]

SIGNED = "version.signed"
_event, _version = storage_tables.event, artifact_tables.version
_collection, _project = artifact_tables.collection, artifact_tables.project


class Signatory(NamedTuple):
    """Who signed: `fingerprint` is `sha256:` and 64 digits, of the public key's PEM or of the certificate's DER.

    `identity` is the name in the certificate; None for a bare key.
    """

    fingerprint: str
    identity: str | None

    def __str__(self) -> str:
        return f"key {self.fingerprint}" if self.identity is None else f"{self.identity} ({self.fingerprint})"

    @property
    def short(self) -> str:
        """As people are told: the name, or the key's first digits."""
        return self.identity or f"key {self.fingerprint[:15]}…"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature as it was recorded; that it holds is not said here. `time` is microseconds since the epoch, UTC."""

    ref: str  # of the version
    signatory: Signatory
    time: int
    actor: str
    reason: str | None
    chunks: tuple[bytes, ...]  # digests of the parts of the bundle
    provenance: tuple[bytes, ...]  # of that of the statement about the run, which is signed with it; none: no run

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "ref": self.ref,
            "fingerprint": self.signatory.fingerprint,
            "identity": self.signatory.identity,
            "time": iso_time(self.time),
            "actor": self.actor,
            "reason": self.reason,
        }


def read_signatures(connection: Connection, version: VersionRecord) -> list[Signature]:
    """Return the signatures of a version, oldest first."""
    # Data are canonical JSON: within a text its quotation marks would be escaped, so nothing else can read like this.
    numbered = _event.c.data.contains(f'"number":{version.number},')
    subject = f"{version.project}/{version.collection}"
    wanted = select(_event).where(_event.c.subject == subject, _event.c.kind == SIGNED, numbered)
    found = []
    for row in connection.execute(wanted.order_by(_event.c.seq)):
        data = json.loads(row.data)
        chunks, provenance = (_digests(data, name) for name in ("signature", "provenance"))
        who = Signatory(data["fingerprint"], data["identity"])
        found.append(Signature(version.ref, who, row.time, row.actor, row.reason, chunks, provenance))
    return found


def chunks_of_signatures(connection: Connection) -> Iterator[bytes]:
    """Yield the digests of the chunks that hold signatures of versions that are not purged: they must be kept."""
    joined = _version.join(_collection, _collection.c.id == _version.c.collection).join(
        _project, _project.c.id == _collection.c.project
    )
    address = select(_project.c.name, _collection.c.name, _version.c.number).select_from(joined)
    purged = {tuple(row) for row in connection.execute(address.where(_version.c.state == "purged"))}
    signed = select(_event.c.data).where(_event.c.kind == SIGNED)
    for data in map(json.loads, connection.execute(signed).scalars()):
        if (data["project"], data["collection"], data["number"]) not in purged:
            yield from _digests(data, "signature")
            yield from _digests(data, "provenance")


def _digests(data: dict[str, Any], name: str) -> tuple[bytes, ...]:
    return tuple(bytes(Digest.parse(one)) for one in data.get(name, ()))


def _fold_signed(connection: Connection, event: Event) -> None:
    data = event.data
    version_row(connection, data)  # what is signed is there; the event itself is all that is kept
    names = data["fingerprint"], data["identity"] or ""
    if not all(isinstance(one, str) for one in names) or not _digests(data, "signature"):
        raise ValueError("it says of no signature by whom it is, or where")
    _digests(data, "provenance")


FOLDS: dict[str, Fold] = {SIGNED: _fold_signed}
