"""A signature's bytes: the OpenSSF model-signing format, read and written.

Knows the Sigstore bundle, the DSSE envelope in it and the in-toto statement in that; must not know keys, stores or
files. Pure, and strict: what it returns agrees with itself. What Lineart says beside the files stands in the predicate
under `lineart`: other readers of the format pass over it, as the format tells them to. Formats:
https://github.com/sigstore/model-transparency (predicate v1.0), https://github.com/secure-systems-lab/dsse,
https://docs.sigstore.dev/about/bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from ...storage.errors import FormatTooNew, IntegrityError, InvalidInput

__all__ = [
    "FILES",
    "LARGEST",
    "Bundle",
    "Claim",
    "Named",
    "Resource",
    "RunClaim",
    "Statement",
    "decode_bundle",
    "decode_statement",
    "encode_bundle",
    "encode_statement",
    "in_order",
    "pae",
]

T = TypeVar("T")
FILES = 100_000  # of a version that is signed: the format lists each, and neither side can stream it
LARGEST = 64 << 20  # bytes of a bundle
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
BLAKE3 = "blake3"
FORMAT = 1  # of the claim
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Named(msgspec.Struct, frozen=True):
    """A version by its whole ref, and the digest of its manifest (`b3:…`)."""

    version: str
    digest: str


class RunClaim(msgspec.Struct, frozen=True):
    """What was signed of the run that produced a version."""

    id: str
    commit: str | None
    dirty: bool
    inputs: tuple[Named, ...]
    outputs: tuple[Named, ...]


class Claim(msgspec.Struct, frozen=True):
    """What was signed beside the files: which version of which store it is, its whole manifest, and its run.

    `provenance` is the SHA-256, in hex, of the statement about the run that the same signer signed with it.
    """

    format: int
    store: str
    version: str
    manifest: str
    run: RunClaim | None
    provenance: str | None = None


class Resource(msgspec.Struct, frozen=True):
    """One file: its path below the root, and its digest in hex."""

    name: str
    algorithm: str
    digest: str


class _Serialization(msgspec.Struct, frozen=True):
    method: str
    hash_type: str
    allow_symlinks: bool
    ignore_paths: tuple[str, ...] = ()


class _Predicate(msgspec.Struct, frozen=True, omit_defaults=True):
    serialization: _Serialization
    resources: tuple[Resource, ...]
    lineart: Claim | None = None


class _Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    type_: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: _Predicate


class _Signature(msgspec.Struct, frozen=True):
    sig: bytes  # base64, as all bytes are
    keyid: str | None = None


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=1)]


class _PublicKey(msgspec.Struct, frozen=True):
    hint: str | None = None


class _Certificate(msgspec.Struct, frozen=True, rename="camel"):
    raw_bytes: bytes


class _Chain(msgspec.Struct, frozen=True):
    certificates: Annotated[tuple[_Certificate, ...], msgspec.Meta(min_length=1, max_length=16)]


class _Material(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    tlog_entries: tuple[msgspec.Raw, ...]
    public_key: _PublicKey | None = None
    x509_certificate_chain: _Chain | None = None


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


class Bundle(NamedTuple):
    """A signature as it travels: what was signed, and what says by whom.

    Either `certificates` (DER, that of the signer first) are there, or the signer's public key has the SHA-256 `hint`.
    """

    payload: bytes
    signature: bytes
    hint: str | None = None
    certificates: tuple[bytes, ...] = ()


class Statement(NamedTuple):
    """What is signed: a name, which is words only, the files, the paths that are passed over, and Lineart's claim."""

    name: str
    resources: tuple[Resource, ...]
    ignored: tuple[str, ...] = ()
    claim: Claim | None = None


def pae(payload: bytes) -> bytes:
    """Return the bytes that the key signs for a payload (DSSE's pre-authentication encoding).

    >>> pae(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def encode_bundle(bundle: Bundle) -> bytes:
    """Return the JSON of a bundle; InvalidInput where it is larger than LARGEST bytes."""
    chain = tuple(_Certificate(one) for one in bundle.certificates)
    material = _Material((), None, _Chain(chain)) if chain else _Material((), _PublicKey(bundle.hint))
    envelope = _Envelope(bundle.payload, PAYLOAD_TYPE, (_Signature(bundle.signature, ""),))
    data = msgspec.json.encode(_Bundle(MEDIA_TYPE, material, envelope))
    if len(data) > LARGEST:
        raise InvalidInput(
            f"the signature would take {len(data):,} bytes, for it lists every file; at most {LARGEST:,}"
        )
    return data


def decode_bundle(data: bytes) -> Bundle:
    """Read a bundle; IntegrityError where it is none, or of a kind that only Sigstore's services could verify."""
    if len(data) > LARGEST:
        raise IntegrityError(f"a signature of {len(data):,} bytes is larger than any; at most {LARGEST:,}")
    found = _decode(data, _Bundle, "the signature is not a Sigstore bundle")
    material, envelope = found.verification_material, found.dsse_envelope
    if found.media_type != MEDIA_TYPE:
        raise IntegrityError(f"the signature is a bundle of type {found.media_type!r:.80}, not {MEDIA_TYPE!r}")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise IntegrityError(f"the signature is over {envelope.payload_type!r:.80}, not {PAYLOAD_TYPE!r}")
    if (material.public_key is None) == (material.x509_certificate_chain is None):
        raise IntegrityError("the signature is not one by a key or by a certificate with its chain")
    chain = material.x509_certificate_chain
    return Bundle(
        envelope.payload,
        envelope.signatures[0].sig,
        material.public_key.hint if material.public_key is not None else None,
        tuple(one.raw_bytes for one in chain.certificates) if chain is not None else (),
    )


def encode_statement(statement: Statement) -> bytes:
    """Return the JSON that is signed."""
    serialization = _Serialization("files", BLAKE3, allow_symlinks=False, ignore_paths=statement.ignored)
    subject = _Subject(statement.name, {"sha256": _root(statement.resources)})
    predicate = _Predicate(serialization, statement.resources, statement.claim)
    return msgspec.json.encode(_Statement(STATEMENT, (subject,), PREDICATE, predicate))


def decode_statement(payload: bytes) -> Statement:
    """Read what was signed.

    Raises IntegrityError where it is no statement about a model, or contradicts itself, InvalidInput where it is over
    other digests than BLAKE3 of whole files, and FormatTooNew where a newer Lineart wrote it.
    """
    found = _decode(payload, _Statement, "what was signed is not a statement about a model")
    if found.type_ != STATEMENT or found.predicate_type != PREDICATE or len(found.subject) != 1:
        raise IntegrityError(f"what was signed is not one statement of {PREDICATE}, but {found.predicate_type!r:.80}")
    serialization, resources, claim = found.predicate.serialization, found.predicate.resources, found.predicate.lineart
    if claim is not None and claim.format > FORMAT:
        raise FormatTooNew("the signature was made by a newer Lineart; upgrade: pip install -U lineart")
    algorithms = {serialization.hash_type, *(one.algorithm for one in resources)}
    if serialization.method != "files" or algorithms != {BLAKE3}:
        raise InvalidInput(
            f"the signature is over {serialization.method!r:.20} by {', '.join(sorted(algorithms))!r:.80}; only one"
            " over files by blake3 can be compared with a version, others by `model_signing verify` with a download"
        )
    if not all(_DIGEST.fullmatch(one.digest) for one in resources):
        raise IntegrityError("what was signed names a file by what is no digest")
    if len({one.name for one in resources}) != len(resources):
        raise IntegrityError("what was signed names a file twice")
    if found.subject[0].digest.get("sha256") != _root(resources):
        raise IntegrityError("what was signed contradicts itself: its files do not have the digest that it says")
    return Statement(found.subject[0].name, resources, serialization.ignore_paths, claim)


def in_order(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Return files in the format's order: by the parts of their paths, so that `a/b` comes before `a-b`."""
    return tuple(sorted(resources, key=lambda one: one.name.split("/")))


def _root(resources: Sequence[Resource]) -> str:
    return sha256(b"".join(bytes.fromhex(one.digest) for one in resources)).hexdigest()


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors and those of bytes that are no UTF-8
        raise IntegrityError(f"{what}: {error!s:.200}") from None
