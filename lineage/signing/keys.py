"""Keys and certificates: who signs, and whose signatures are believed.

Knows `cryptography` and bundles; must not know what is signed. Needs no network. The curves are those of the
model-signing format: P-256, P-384 and P-521, with SHA-256, SHA-384 and SHA-512. A private key is held for as long as
its Signer is, and goes nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from ...storage.errors import InvalidInput, VerifyError
from .bundle import Bundle, pae
from .signatures import Signatory

__all__ = ["CertificateTrust", "KeyTrust", "Password", "Pem", "Signer", "Trust", "load_signer", "utc_now"]

Pem: TypeAlias = str | os.PathLike[str] | bytes  # a file, or what is in one
Password: TypeAlias = str | bytes | Callable[[], str] | None  # or what is asked for it, if the key has one
_LARGEST = 1 << 20  # bytes of a file of keys or certificates
_NAME = 256  # characters of a certificate's name that are kept
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class Signer:
    """A private key, and the certificates that say whose it is, the signer's own first."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificates: Iterable[x509.Certificate] = ()) -> None:
        self._key = key
        self._certificates = tuple(certificates)
        public = key.public_key()
        self.signatory = _owner(self._certificates[0]) if self._certificates else Signatory(_fingerprint(public), None)

    def __repr__(self) -> str:
        return f"<Signer {self.signatory}>"

    def sign(self, payload: bytes) -> Bundle:
        """Sign a statement."""
        signature = self._key.sign(pae(payload), ec.ECDSA(_HASHES[self._key.curve.name]))
        if self._certificates:
            chain = tuple(one.public_bytes(serialization.Encoding.DER) for one in self._certificates)
            return Bundle(payload, signature, None, chain)
        return Bundle(payload, signature, self.signatory.fingerprint.removeprefix("sha256:"))


class Trust(Protocol):
    """Whose signatures are believed."""

    def concerns(self, bundle: Bundle) -> bool:
        """Whether a signature claims to be of somebody who could be believed."""

    def verify(self, bundle: Bundle, at: datetime) -> Signatory:
        """Return who made a signature; VerifyError where that cannot be believed of one made at this time."""


class KeyTrust:
    """Believes the owner of one key."""

    def __init__(self, public_key: Pem) -> None:
        pem = _read(public_key)
        try:
            found = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidInput(f"{_shown(public_key)} is not a public key in PEM") from None
        self._key = _supported(found, public_key)
        self._signatory = Signatory(_fingerprint(self._key), None)

    def __str__(self) -> str:
        return str(self._signatory)

    def concerns(self, bundle: Bundle) -> bool:
        """Whether the signature says that it is by this key, or by no key in particular."""
        return not bundle.certificates and bundle.hint in {None, "", self._signatory.fingerprint.partition(":")[2]}

    def verify(self, bundle: Bundle, at: datetime) -> Signatory:  # noqa: ARG002 - a key has no time
        """Return the key's name; VerifyError where it did not make the signature."""
        _verify(self._key, bundle)
        return self._signatory


class CertificateTrust:
    """Believes those for whom one of the given certificates vouches: roots, intermediates, or signers themselves."""

    def __init__(self, anchors: Iterable[Pem]) -> None:
        self._anchors = [one for pem in anchors for one in _certificates(pem)]
        if not self._anchors:
            raise InvalidInput("give at least one certificate to believe")

    def __str__(self) -> str:
        return "a certificate that these vouch for"

    def concerns(self, bundle: Bundle) -> bool:
        """Whether the signature comes with a certificate."""
        return bool(bundle.certificates)

    def verify(self, bundle: Bundle, at: datetime) -> Signatory:
        """Return the name in the certificate; VerifyError where it was not valid at that time or is not vouched for."""
        try:
            chain = [x509.load_der_x509_certificate(one) for one in bundle.certificates]
            leaf, owner, key = chain[0], _owner(chain[0]), chain[0].public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise VerifyError(f"the signature's certificate cannot be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise VerifyError(f"the certificate of {owner} is not for a key of this format")
        # That an authority's basic constraints say so is demanded by the verifier itself; that they are there, by this.
        authority = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        authority = authority.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _require_vouching)
        policy = PolicyBuilder().store(Store(self._anchors)).time(at)
        policy = policy.extension_policies(ca_policy=authority, ee_policy=ExtensionPolicy.permit_all())
        try:
            policy.build_client_verifier().verify(leaf, chain[1:])
        except (VerificationError, ValueError) as error:
            when = f"{at:%Y-%m-%d %H:%M} UTC"
            if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
                why = f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
            else:
                why = f"nobody who is believed vouches for it: {error!s:.200}"
            raise VerifyError(f"the certificate of {owner} does not hold for {when}: {why}") from None
        if not _may_sign(leaf):
            raise VerifyError(f"the certificate of {owner} is not for signing")
        _verify(key, bundle)
        return owner


def load_signer(
    private_key: Pem,
    password: Password = None,
    certificate: Pem | None = None,
    chain: Iterable[Pem] = (),
    *,
    now: datetime,
) -> Signer:
    """Return who signs with a private key (PEM); with a certificate, in its name.

    InvalidInput where a file is not what it should be, the password is wrong, or the certificate is of another key, not
    for signing, or not valid now.
    """
    pem, what = _read(private_key), _shown(private_key)
    encrypted = b"ENCRYPTED" in pem
    if encrypted and password is None:
        raise InvalidInput(f"{what} is encrypted; it needs its password")
    given = password() if encrypted and callable(password) else password
    secret = given.encode() if isinstance(given, str) else given
    try:
        found = serialization.load_pem_private_key(pem, secret if encrypted and isinstance(secret, bytes) else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        wrong = "cannot be read with this password" if encrypted else "is not a private key in PEM"
        raise InvalidInput(f"{what} {wrong}") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise _unsupported(private_key)
    public = _supported(found.public_key(), private_key)
    if certificate is None:
        if (extra := next(iter(chain), None)) is not None:
            raise InvalidInput(f"{_shown(extra)} is of no use without the certificate of the key")
        return Signer(found)
    own = _certificates(certificate)
    leaf = own[0]
    if not _is_of(leaf, public):
        raise InvalidInput(f"{_shown(certificate)} is the certificate of another key than {what}")
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        until = f"from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise InvalidInput(f"{_shown(certificate)} is not valid now but {until}")
    if not _may_sign(leaf):
        raise InvalidInput(f"{_shown(certificate)} is not for signing: it needs the key usage digitalSignature")
    return Signer(found, [*own, *(one for pem_ in chain for one in _certificates(pem_))])


def _verify(key: ec.EllipticCurvePublicKey, bundle: Bundle) -> None:
    try:
        key.verify(bundle.signature, pae(bundle.payload), ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        raise VerifyError("the signature is not by that key over these words: one of the two was changed") from None


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return f"sha256:{sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()}"


def _owner(certificate: x509.Certificate) -> Signatory:
    name = certificate.subject.rfc4514_string()
    return Signatory(f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}", name[:_NAME] or "without a name")


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether the format takes a certificate: its key usage, or else its extended key usage, says so."""
    try:
        found = {type(one.value): one.value for one in certificate.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False
    usage, purposes = found.get(x509.KeyUsage), found.get(x509.ExtendedKeyUsage)
    if isinstance(usage, x509.KeyUsage) and usage.digital_signature:
        return True
    return isinstance(purposes, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING in purposes


def _require_vouching(_policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError(f"{certificate.subject.rfc4514_string()} may not vouch for others")


def _is_of(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        return certificate.public_key() == key
    except (ValueError, UnsupportedAlgorithm):
        return False


def _supported(key: object, source: Pem) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _unsupported(source)
    return key


def _unsupported(source: Pem) -> InvalidInput:
    return InvalidInput(
        f"{_shown(source)} is not a key on the curve P-256, P-384 or P-521, which are all that there is"
    )


def _certificates(source: Pem) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(source))
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(f"{_shown(source)} holds no certificate in PEM") from None


def _read(source: Pem) -> bytes:
    if isinstance(source, bytes):
        return source
    with open(source, "rb") as file:
        found = file.read(_LARGEST + 1)
    if len(found) > _LARGEST:
        raise InvalidInput(f"{_shown(source)} is too large for a key or a certificate")
    return found


def _shown(source: Pem) -> str:
    return "what was given" if isinstance(source, bytes) else os.fspath(source)


def utc_now() -> datetime:
    """Return this machine's time."""
    return datetime.now(UTC)
