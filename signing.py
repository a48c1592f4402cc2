"""The part of a store that signs versions and says whether signatures hold.

Ties the parts together, as `store.py` does. Must not hold logic of its own. Keys are read with `cryptography`, which
comes with `lineart[sign]` and is imported only when something is signed or verified.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .artifacts.ref import Ref
from .storage.errors import InvalidInput

if TYPE_CHECKING:
    from .artifacts.catalog import Catalog
    from .artifacts.records import VersionRecord
    from .lineage.ledger import Ledger
    from .lineage.signing.keys import Password, Pem
    from .lineage.signing.signatures import Signature
    from .lineage.signing.verify import Verified

__all__ = ["Signing"]


class Signing:
    """What a store offers about signatures in the OpenSSF model-signing format; none of it asks a network."""

    catalog: Catalog
    ledger: Ledger
    project: str

    def sign(
        self,
        version: str | Ref | VersionRecord,
        *,
        private_key: Pem,
        password: Password = None,
        certificate: Pem | None = None,
        chain: Iterable[Pem] = (),
        reason: str | None = None,
    ) -> Signature:
        """Sign a version's files and what its run used and made, and record the signature in the store.

        No file is read: their digests are in the manifest. Keys and certificates are paths of PEM files, or what is in
        one; the key is on the curve P-256, P-384 or P-521, and a function given as its password is called if it has
        one. With a certificate, the signature is in its name, and `chain` has what leads from there to a root. Raises
        InvalidInput for a key, a password or a certificate that will not do, and for a version of more than 100,000
        files; NotFound where the version is deleted.
        """
        keys = _keys()
        signer = keys.load_signer(private_key, password, certificate, chain, now=keys.utc_now())
        from .lineage.signing.sign import sign_version

        return sign_version(self.ledger, self.catalog.meant(version, self.project, guess=False), signer, reason)

    def signatures(self, version: str | Ref | VersionRecord) -> list[Signature]:
        """Return the signatures of a version, oldest first; whether they hold is for `verify_signature` to say."""
        from .lineage.signing.sign import signatures_of

        return signatures_of(self.ledger, self.catalog.meant(version, self.project))

    def signature_bundle(self, signature: Signature) -> bytes:
        """Return a signature as it travels beside the files: the bytes of a `model.sig`, a Sigstore bundle in JSON."""
        from .lineage.signing.sign import bundle_of

        return bundle_of(self.ledger, signature)

    def verify_signature(
        self,
        version: str | Ref | VersionRecord,
        *,
        public_key: Pem | None = None,
        certificates: Pem | Iterable[Pem] = (),
        signature: bytes | str | os.PathLike[str] | None = None,
    ) -> Verified:
        """Return what the owner of a key, or one for whom a certificate vouches, signed of a version.

        Looks at the version's signatures in the store, or at the one given: its bytes, or a file. Raises NotFound where
        there is none, VerifyError where none is by whom you believe, or the version or its run is not what was signed,
        IntegrityError for what is no signature.
        """
        anchors = [certificates] if isinstance(certificates, str | bytes | os.PathLike) else list(certificates)
        if (public_key is None) == (not anchors):
            raise InvalidInput("name whom you believe: a public key, or certificates, not both")
        keys = _keys()
        trust = keys.KeyTrust(public_key) if public_key is not None else keys.CertificateTrust(anchors)
        from .lineage.signing.sign import read_bundle
        from .lineage.signing.verify import verify_version

        bundle = signature if signature is None or isinstance(signature, bytes) else read_bundle(signature)
        return verify_version(self.ledger, self.catalog.meant(version, self.project), trust, bundle, now=keys.utc_now())


def _keys() -> Any:
    """Return the module that knows keys; InvalidInput where what it needs is not installed."""
    try:
        from .lineage.signing import keys
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "cryptography":
            raise
        raise InvalidInput("signing needs cryptography: pip install 'lineart[sign]'") from None
    return keys
