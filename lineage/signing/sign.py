"""Signing versions: what of one is signed, and where the signature is kept.

Must not know keys (who signs is handed in) or how a signature is written. No file is read for it: the manifest has
every file's digest. A version's run is signed with it: its id, its commit, what it used and what it made; and, beside
that, the statement about it that `exchange/` makes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from ...artifacts.content import Content
from ...artifacts.entry import EXTERNAL
from ...artifacts.logged import require_bytes
from ...artifacts.reading import read_records
from ...artifacts.tree import CHECKOUT
from ...storage.digest import Digest
from ...storage.errors import Conflict, InvalidInput
from .bundle import (
    FILES,
    FORMAT,
    LARGEST,
    Claim,
    Named,
    Resource,
    RunClaim,
    Statement,
    encode_bundle,
    encode_statement,
    in_order,
)
from .signatures import SIGNED, Signature, read_signatures

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ...artifacts.records import VersionRecord
    from ...storage.transaction import Transaction
    from ..ledger import Ledger
    from .keys import Signer

__all__ = [
    "IGNORED",
    "bundle_of",
    "claim_of",
    "joined",
    "parts_of",
    "passed_over",
    "read_bundle",
    "sign_version",
    "signatures_of",
    "statement_of",
]

# What the format's own verifier passes over in a folder without being told, and what lies beside a version in one.
IGNORED = (".git", ".gitattributes", ".github", ".gitignore")
BESIDE = ("model.sig", CHECKOUT)
PART = 4 << 20  # bytes; the longest chunk


# Signing


def sign_version(ledger: Ledger, version: VersionRecord, signer: Signer, reason: str | None = None) -> Signature:
    """Sign a version and its run, and record the signature in the store.

    Raises NotFound where the version is deleted, and InvalidInput where it has more than FILES files, which the format
    could not list.
    """
    require_bytes(version, ledger.catalog)
    engine = ledger.catalog.engine
    about = _provenance(ledger, version)
    data = encode_bundle(signer.sign(encode_statement(statement_of(ledger, version, about))))
    parts = parts_of(data)
    beside = [] if about is None else parts_of(encode_bundle(signer.sign(about)))
    who = signer.signatory

    def record(tx: Transaction, digests: list[bytes]) -> tuple[bytes, ...]:
        current = read_records(tx.connection, [version.id])[version.id]
        if current.state != "live":
            raise Conflict(f"{version.ref} is {current.state}; nothing is signed of it")
        event = {
            "project": version.project,
            "collection": version.collection,
            "number": version.number,
            "fingerprint": who.fingerprint,
            "identity": who.identity,
            "signature": [str(Digest(one)) for one in digests[: len(parts)]],
        }
        if beside:
            event["provenance"] = [str(Digest(one)) for one in digests[len(parts) :]]
        tx.record(SIGNED, f"{version.project}/{version.collection}", event, reason)
        return tuple(digests[: len(parts)])

    chunks = engine.put_blobs([*parts, *beside], record)
    return next(one for one in reversed(signatures_of(ledger, version)) if one.chunks == chunks)


def statement_of(ledger: Ledger, version: VersionRecord, about: bytes | None = None) -> Statement:
    """Return what is signed of a version, as the store knows it now; `about` is the statement about its run.

    External entries, and the files that the format's verifier passes over, are not listed one by one: they are in the
    digest of the manifest.
    """
    if version.file_count > FILES:
        raise InvalidInput(
            f"{version.ref} has {version.file_count:,} files; a signature lists each, and at most {FILES:,} are signed"
        )
    content = Content(version.digest, ledger.catalog.engine.chunks)
    listed, external, ignored = [], [], frozenset(IGNORED)
    beside = dict.fromkeys(BESIDE)
    for entry in content.walk():
        beside.pop(entry.path.partition("/")[0], None)
        if entry.kind == EXTERNAL:
            external.append(entry.path)
        elif not passed_over(entry.path, ignored):
            listed.append(Resource(entry.path, "blake3", entry.digest.hex()))
    store = ledger.catalog.engine.marker.store_id
    whole, bound = str(Digest(version.digest)), None if about is None else sha256(about).hexdigest()
    claim = Claim(FORMAT, store, version.ref, whole, _run_claim(ledger, version), bound)
    return Statement(version.ref, in_order(listed), (*IGNORED, *beside, *external), claim)


def _run_claim(ledger: Ledger, version: VersionRecord) -> RunClaim | None:
    run = ledger.producer(version.id)
    return None if run is None else claim_of(ledger, run.id)


def _provenance(ledger: Ledger, version: VersionRecord) -> bytes | None:
    """Return the in-toto statement about a version's run, where there is one."""
    if ledger.producer(version.id) is None:
        return None
    from ..exchange.provenance import provenance

    return json.dumps(provenance(ledger, version), sort_keys=True, separators=(",", ":")).encode()


def claim_of(ledger: Ledger, id_: str) -> RunClaim:
    """Return what is signed of a run, as the store knows it now; NotFound where there is none."""
    run = ledger.get(id_)
    used, made = ledger.edges(id_)
    records = ledger.catalog.records([*used, *made])
    inputs, outputs = (
        tuple(Named(records[one].ref, str(Digest(records[one].digest))) for one in ids) for ids in (used, made)
    )
    return RunClaim(run.id, run.commit, run.dirty, inputs, outputs)


# Finding


def signatures_of(ledger: Ledger, version: VersionRecord) -> list[Signature]:
    """Return the signatures of a version that the store has, oldest first; whether they hold is not said."""

    def work(connection: Connection) -> list[Signature]:
        return read_signatures(connection, version)

    return ledger.catalog.engine.database.read(work)


def bundle_of(ledger: Ledger, signature: Signature) -> bytes:
    """Return a recorded signature as it travels: the bytes of a `model.sig`."""
    return joined(ledger, signature.chunks)


def joined(ledger: Ledger, digests: Sequence[bytes]) -> bytes:
    """Return what chunks hold, end to end."""
    chunks = ledger.catalog.engine.chunks.get_many(digests)
    return b"".join(chunks[one] for one in digests)


def parts_of(data: bytes) -> list[bytes]:
    """Cut a bundle into chunks."""
    return [data[start : start + PART] for start in range(0, len(data), PART)]


def read_bundle(path: str | os.PathLike[str]) -> bytes:
    """Return what a file of a signature holds; no more of it than a signature can have."""
    with open(path, "rb") as file:
        return file.read(LARGEST + 1)


def passed_over(path: str, ignored: Container[str]) -> bool:
    """Whether a path is one that is passed over, or lies below one."""
    while path:
        if path in ignored:
            return True
        path = path.rpartition("/")[0]
    return False
