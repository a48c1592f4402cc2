"""Whether a signature holds: by whom it is, and whether a version is still what was signed.

Knows what the store says now and how that is compared with a signed statement; must not know keys: who is believed is
handed in. What a signature says is read only after it is known who made it. No file is read for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from ...artifacts.content import Content
from ...artifacts.entry import EXTERNAL, shown
from ...artifacts.logged import require_bytes
from ...storage.digest import Digest
from ...storage.errors import FormatTooNew, IntegrityError, InvalidInput, LineartError, NotFound, VerifyError
from ..runs import iso_time
from .bundle import Claim, Named, RunClaim, Statement, decode_bundle, decode_statement
from .sign import bundle_of, claim_of, joined, parts_of, passed_over, signatures_of
from .signatures import Signatory, Signature

if TYPE_CHECKING:
    from ...artifacts.records import VersionRecord
    from ..ledger import Ledger
    from .keys import Trust

__all__ = ["Verified", "verify_version"]

SHOWN = 3  # files or versions that a message names


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds: by whom, and over what. `time` is when the store recorded it (µs); None: it does not."""

    version: VersionRecord
    signatory: Signatory
    time: int | None
    actor: str | None
    files: int
    claim: Claim | None  # None: the signature is over the files only
    notes: tuple[str, ...]  # what is not wrong and worth knowing
    bundle: bytes
    provenance: bytes | None  # the signed SLSA provenance, a bundle, too; None: there was no run, or it is not here

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        run = self.claim.run if self.claim is not None else None
        return {
            "ref": self.version.ref,
            "digest": str(Digest(self.version.digest)),
            "fingerprint": self.signatory.fingerprint,
            "identity": self.signatory.identity,
            "time": iso_time(self.time),
            "actor": self.actor,
            "files": self.files,
            "run": None
            if run is None
            else {
                "id": run.id,
                "commit": run.commit,
                "dirty": run.dirty,
                "inputs": [{"version": one.version, "digest": one.digest} for one in run.inputs],
                "outputs": [{"version": one.version, "digest": one.digest} for one in run.outputs],
            },
            "notes": list(self.notes),
        }


def verify_version(
    ledger: Ledger, version: VersionRecord, trust: Trust, bundle: bytes | None = None, *, now: datetime
) -> Verified:
    """Return what one whom `trust` believes signed of a version: of its signatures in the store, or the one given.

    A certificate must have been valid when the store recorded the signature; of one that the store does not have, now.
    Raises NotFound where the version is not signed, VerifyError where nobody who is believed has signed it or it is not
    what was signed, and IntegrityError for what is no signature.
    """
    require_bytes(version, ledger.catalog)
    known = signatures_of(ledger, version)
    if bundle is not None:
        digests = tuple(blake3(part).digest() for part in parts_of(bundle))
        same = next((one for one in reversed(known) if one.chunks == digests), None)
        return _verify_one(ledger, version, trust, bundle, same, now)
    if not known:
        raise NotFound(f"{version.ref} is not signed; `art sign {version.ref}` signs it")
    wrong: list[LineartError] = []
    for one in reversed(known):
        try:
            data = bundle_of(ledger, one)
            if not trust.concerns(decode_bundle(data)):
                continue
            found = _verify_one(ledger, version, trust, data, one, now)
        except (VerifyError, IntegrityError, InvalidInput, FormatTooNew) as error:
            wrong.append(error)
            continue
        return found if not wrong else _noting(found, f"a newer signature does not hold: {wrong[0]}")
    if wrong:
        raise wrong[0]
    raise VerifyError(
        f"{version.ref} is not signed by {trust}, but by "
        + ", ".join(dict.fromkeys(str(one.signatory) for one in known))
    )


def _verify_one(
    ledger: Ledger, version: VersionRecord, trust: Trust, data: bytes, recorded: Signature | None, now: datetime
) -> Verified:
    bundle = decode_bundle(data)
    if not trust.concerns(bundle):
        raise VerifyError(f"the signature is not by {trust}")
    at = now if recorded is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=recorded.time)
    signatory = trust.verify(bundle, at)
    statement = decode_statement(bundle.payload)  # not before it is known who made it
    wrong = next(_differences(ledger, version, statement), None)
    if wrong is not None:
        raise VerifyError(f"{version.ref} is not what was signed: {wrong}")
    about = None if recorded is None else _verified_provenance(ledger, statement.claim, recorded, trust, at)
    notes = tuple(_notes(ledger, version, statement))
    time, actor = (None, None) if recorded is None else (recorded.time, recorded.actor)
    return Verified(version, signatory, time, actor, len(statement.resources), statement.claim, notes, data, about)


def _verified_provenance(
    ledger: Ledger, claim: Claim | None, recorded: Signature, trust: Trust, at: datetime
) -> bytes | None:
    """Return the signed statement about the run as it travels; VerifyError where it is not the one that was signed."""
    if claim is None or claim.provenance is None:
        return None
    data = joined(ledger, recorded.provenance)
    bundle = decode_bundle(data)
    if sha256(bundle.payload).hexdigest() != claim.provenance:
        raise VerifyError(
            f"the provenance beside the signature of {recorded.ref} is not the one that was signed with it"
        )
    trust.verify(bundle, at)
    return data


def _differences(ledger: Ledger, version: VersionRecord, statement: Statement) -> Iterator[str]:
    """Say in what a version, as the store knows it now, is not what was signed; the first is what matters most."""
    claim = statement.claim
    if claim is not None and claim.version != version.ref:
        yield f"the signature is of {shown(claim.version)}"
    if claim is None and not statement.resources:
        yield "no file of it, and nothing else, was signed"
    yield from _file_differences(ledger, version, statement)
    if claim is None:
        return
    if claim.manifest != str(Digest(version.digest)):
        yield f"its digest is {Digest(version.digest)}, and {shown(claim.manifest)} was signed"
    if claim.run is not None and _is_here(ledger, claim):
        yield from _run_differences(ledger, version, claim.run)


def _file_differences(ledger: Ledger, version: VersionRecord, statement: Statement) -> Iterator[str]:
    signed = {one.name: one.digest for one in statement.resources}
    changed, extra, ignored = [], [], frozenset(statement.ignored)
    for entry in Content(version.digest, ledger.catalog.engine.chunks).walk():
        digest = signed.pop(entry.path, None)
        if digest is None and not passed_over(entry.path, ignored):
            extra.append(entry.path)
        elif digest is not None and (entry.kind == EXTERNAL or digest != entry.digest.hex()):
            changed.append(entry.path)
    for paths, what in ((changed, "differs"), (list(signed), "is missing"), (extra, "was not signed")):
        if paths:
            yield f"{_some([shown(one) for one in paths[:SHOWN]], len(paths))} {what}"


def _run_differences(ledger: Ledger, version: VersionRecord, signed: RunClaim) -> Iterator[str]:
    try:
        now = claim_of(ledger, signed.id)
    except NotFound:
        yield f"the store has no run {shown(signed.id)}, which was signed as its run"
        return
    if version.id not in ledger.edges(signed.id)[1]:
        yield f"run {signed.id} did not make it, by what the store says now"
    if signed.commit is not None and (now.commit, now.dirty) != (signed.commit, signed.dirty):
        yield f"run {signed.id} had another commit, by what the store says now"
    if set(signed.inputs) != set(now.inputs):
        gone, new = _between(signed.inputs, now.inputs)
        others = [f"{one} was signed" for one in gone] + [f"{one} was not" for one in new]
        yield f"the inputs of run {signed.id} are others now: {_some(others, len(others))}"
    if missing := _between(signed.outputs, now.outputs)[0]:
        yield f"run {signed.id} did not make {_some(missing, len(missing))}, by what the store says now"


def _notes(ledger: Ledger, version: VersionRecord, statement: Statement) -> Iterator[str]:
    claim = statement.claim
    if claim is None:
        yield "only the files were signed, and nothing about how they came to be"
        if (rest := version.file_count - len(statement.resources)) > 0:
            yield f"{rest} of the version's {version.file_count} entries were not signed"
    elif not _is_here(ledger, claim):
        yield f"signed in another store ({shown(claim.store)}): what it says of the run was not compared with this one"
    elif claim.run is None:
        run = ledger.producer(version.id)
        if run is not None:
            yield f"no run was signed; run {run.id} is recorded as having made it"
    elif added := _between(claim.run.outputs, claim_of(ledger, claim.run.id).outputs)[1]:
        yield f"run {claim.run.id} has logged since: {_some(added, len(added))}"


def _between(before: Sequence[Named], now: Sequence[Named]) -> tuple[list[str], list[str]]:
    """Return the versions that are in the one only, and in the other only."""
    old, new = set(before), set(now)
    return [shown(one.version) for one in before if one not in new], [one.version for one in now if one not in old]


def _some(names: Sequence[str], count: int) -> str:
    """Name the first of some things, and say how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {count - SHOWN} more" if count > SHOWN else "")


def _is_here(ledger: Ledger, claim: Claim) -> bool:
    return claim.store == ledger.catalog.engine.marker.store_id


def _noting(found: Verified, note: str) -> Verified:
    return replace(found, notes=(*found.notes, note))
