"""Signatures of versions: what holds, what does not, who else can read them, and what they survive."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import lineart
from lineart.lineage.run import start_run
from lineart.lineage.signing.bundle import (
    FILES,
    LARGEST,
    decode_bundle,
    decode_statement,
    encode_bundle,
    encode_statement,
)
from lineart.lineage.signing.keys import CertificateTrust, Signer
from lineart.lineage.signing.sign import statement_of
from lineart.lineage.signing.verify import verify_version
from lineart.storage.errors import FormatTooNew, IntegrityError, InvalidInput, LineartError, NotFound, VerifyError
from lineart.store import repair

NOW = datetime.now(UTC)
FILES_OF_MODEL = {
    "w/part-1.bin": b"1" * 3_000_000,  # of several chunks
    "w-notes.txt": b"before w/ in the order of bytes, behind it in the format's",
    "empty": b"",
    "é\n'\"<script>.txt": b"hostile",
    ".gitattributes": b"* -text",
    ".github/workflow.yml": b"on: push",
    "docs/.gitignore": b"of a folder below",
}


# Keys


def private(key, password=None):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def public(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certify(name, key, issuer, issuing_key, *, ca=False, days=(-1, 30), signs=True, vouches=None, purposes=()):
    usage = x509.KeyUsage(signs, *([False] * 4), ca if vouches is None else vouches, *([False] * 3))
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if purposes:
        made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return made.sign(issuing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


KEY, OTHER, CA, MIDDLE = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
ROOT = certify("root", CA, "root", CA, ca=True)
BETWEEN = certify("between", MIDDLE, "root", CA, ca=True)
LEAF = certify("ana", KEY, "between", MIDDLE)


# The store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request, tmp_path, monkeypatch):
    """model:v0 was made from raw:v0 by a run that made report:v0 as well; model:v1 came from nowhere."""
    monkeypatch.setenv("LINEART_CAPTURE", "none")
    database = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with lineart.create(tmp_path / "store", database, project="p") as made:
        made.log(draft("raw", {"a": b"raw"}))
        with start_run(made, "p") as run:
            run.use_artifact("raw:v0")
            run.log_artifact(draft("model", FILES_OF_MODEL))
            run.log_artifact(draft("report", {"r": b"good"}))
        made.log(draft("model", {"w": b"other"}))
        yield made


def draft(name, files):
    made = lineart.Artifact(name)
    for path, content in files.items():
        made.add_bytes(content, path)
    return made


def the_run(store):
    return store.logged_by(store.resolve("model:v0")).id


def use(store, ref):
    from lineart.artifacts.ref import Ref

    store.ledger.use(the_run(store), Ref.parse(ref), "p")


def by_key(store, ref="model:v0", key=KEY, **more):
    return store.sign(ref, private_key=private(key), **more)


def by_certificate(store, ref="model:v0", leaf=LEAF, key=KEY):
    return store.sign(ref, private_key=private(key), certificate=leaf, chain=[BETWEEN])


def believed(store, ref="model:v0", key=KEY, **more):
    return store.verify_signature(ref, public_key=public(key), **more)


# What holds


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signature_says_who_signed_when_and_over_what(store, curve):
    key = ec.generate_private_key(curve)
    made = by_key(store, key=key)
    found = believed(store, key=key)
    assert found.signatory == made.signatory
    assert (found.time, found.actor) == (made.time, store.engine.actor)
    assert found.files == len(FILES_OF_MODEL) - 2  # what git keeps at the top is in the digest of the manifest
    run = found.claim.run
    assert run.id == the_run(store)
    assert [one.version for one in run.inputs] == ["p/raw:v0"]
    assert [one.version for one in run.outputs] == ["p/model:v0", "p/report:v0"]
    assert found.notes == ()


def test_the_provenance_of_the_run_is_signed_with_it_and_tied_to_it(store):
    by_key(store)
    found = believed(store)
    bundle = decode_bundle(found.provenance)
    statement = json.loads(bundle.payload)
    assert statement == store.provenance("model:v0")
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert sha256(bundle.payload).hexdigest() == found.claim.provenance
    by_key(store, "report:v0")
    one, other = (store.history(name)[-1] for name in ("model", "report"))
    for swapped, message in (
        (other.data["provenance"], "is not the one that was signed with it"),
        (one.data["signature"], "is not the one that was signed with it"),
        ([], "not a Sigstore bundle"),
    ):
        forged_event = {**one.data, "provenance": swapped}
        store.engine.write(lambda tx, data=forged_event: tx.record("version.signed", "p/model", data))
        version = store.resolve("model:v0")
        recorded = store.signatures(version)[-1]
        with pytest.raises((VerifyError, IntegrityError), match=message):
            believed(store, signature=store.signature_bundle(recorded))
        assert message in believed(store).notes[-1]
    by_other = encode_bundle(Signer(OTHER).sign(bundle.payload))

    def record(tx, digests):
        named = [f"b3:{digest.hex()}" for digest in digests]
        tx.record("version.signed", "p/model", {**one.data, "provenance": named})

    store.engine.put_blobs([by_other], record)
    with pytest.raises(VerifyError, match="one of the two was changed"):
        believed(store, signature=found.bundle)


def test_a_version_without_a_run_and_one_without_files_are_signed_too(store):
    store.log(draft("none", {}))
    for ref in ("model:v1", "none:v0"):
        by_key(store, ref)
        found = believed(store, ref)
        assert (found.claim.run, found.claim.provenance, found.provenance) == (None, None, None)
    assert believed(store, "none:v0").files == 0


def test_nothing_of_a_file_is_read_to_sign_it_or_to_verify_that(store, tmp_path):
    for pack in (tmp_path / "store" / "packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    by_key(store)
    assert believed(store).files == len(FILES_OF_MODEL) - 2


def test_every_signature_of_a_version_is_kept_and_the_one_of_whom_is_believed_is_found(store):
    by_key(store, key=OTHER)
    by_key(store)
    by_certificate(store)
    assert len(store.signatures("model:v0")) == 3
    assert store.signatures("model:v1") == []
    assert believed(store).signatory.identity is None
    assert believed(store, key=OTHER).signatory == store.signatures("model:v0")[0].signatory
    assert store.verify_signature("model:v0", certificates=ROOT).signatory.identity == "CN=ana"


def test_a_signature_given_as_a_file_or_as_bytes_is_verified_without_the_stores(store, tmp_path):
    data = store.signature_bundle(by_key(store))
    (tmp_path / "model.sig").write_bytes(data)
    assert believed(store, signature=data).bundle == data
    assert believed(store, signature=tmp_path / "model.sig").time is not None


# What does not


def test_what_is_not_signed_is_not_found_and_another_key_is_not_believed(store):
    with pytest.raises(NotFound, match=r"p/model:v0 is not signed"):
        believed(store)
    made = by_key(store)
    with pytest.raises(VerifyError, match=f"but by key {made.signatory.fingerprint}"):
        believed(store, key=OTHER)
    with pytest.raises(VerifyError, match="is not signed by a certificate"):
        store.verify_signature("model:v0", certificates=[ROOT])
    with pytest.raises(InvalidInput, match="name whom you believe"):
        store.verify_signature("model:v0")
    with pytest.raises(InvalidInput, match="name whom you believe"):
        store.verify_signature("model:v0", public_key=public(KEY), certificates=[ROOT])


def test_the_signature_of_another_version_is_refused_even_of_equal_content(store):
    data = store.signature_bundle(by_key(store))
    with pytest.raises(VerifyError, match=r"p/model:v1 is not what was signed: the signature is of 'p/model:v0'"):
        believed(store, "model:v1", signature=data)
    store.log(draft("copy", FILES_OF_MODEL))
    with pytest.raises(VerifyError, match="of 'p/model:v0'"):
        believed(store, "copy:v0", signature=data)


def forged(data, change, key=KEY):
    """Return a bundle by a key over a statement that was changed."""
    bundle = decode_bundle(data)
    statement = json.loads(bundle.payload)
    change(statement["predicate"])
    digests = b"".join(bytes.fromhex(one["digest"]) for one in statement["predicate"]["resources"])
    digest = hashes.Hash(hashes.SHA256())
    digest.update(digests)
    statement["subject"][0]["digest"]["sha256"] = digest.finalize().hex()
    return encode_bundle(Signer(key).sign(json.dumps(statement).encode()))


CHANGES = {
    "a digest": (lambda p: p["resources"][0].update(digest="0" * 64), "differs"),
    "a name": (lambda p: p["resources"][0].update(name="w"), "is missing"),
    "one file less": (lambda p: p["resources"].pop(), "was not signed"),
    "the manifest": (lambda p: p["lineart"].update(manifest="b3:" + "0" * 64), "was signed"),
    "an input": (lambda p: p["lineart"]["run"]["inputs"][0].update(digest="b3:" + "0" * 64), "inputs of run"),
    "an input less": (lambda p: p["lineart"]["run"]["inputs"].clear(), "inputs of run"),
    "an output": (lambda p: p["lineart"]["run"]["outputs"][1].update(version="p/x:v0"), "did not make 'p/x:v0'"),
    "a commit": (lambda p: p["lineart"]["run"].update(commit="0" * 40), "another commit"),
    "the run": (lambda p: p["lineart"]["run"].update(id="rnowhere"), "has no run 'rnowhere'"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_version_that_is_not_what_was_signed_is_refused(store, what):
    change, message = CHANGES[what]
    data = store.signature_bundle(by_key(store))
    assert believed(store, signature=forged(data, lambda predicate: None)).notes == ()
    with pytest.raises(VerifyError, match=message):
        believed(store, signature=forged(data, change))


def test_what_was_changed_behind_the_signature_is_found_out(store):
    data = store.signature_bundle(by_key(store))
    bundle = decode_bundle(data)
    other = decode_bundle(store.signature_bundle(by_key(store, "model:v1")))
    for changed in (
        bundle._replace(payload=bundle.payload.replace(b"raw:v0", b"raw:v1")),
        bundle._replace(payload=other.payload),
        bundle._replace(signature=other.signature),
        bundle._replace(signature=b""),
        bundle._replace(signature=bundle.signature[:-1]),
    ):
        with pytest.raises(VerifyError, match="one of the two was changed"):
            believed(store, signature=encode_bundle(changed))
    claimed = encode_bundle(decode_bundle(forged(data, lambda p: None, OTHER))._replace(hint=bundle.hint))
    with pytest.raises(VerifyError, match="one of the two was changed"):
        believed(store, signature=claimed)


def test_a_newer_signature_that_does_not_hold_hides_no_older_one(store):
    by_key(store)
    by_key(store)
    use(store, "model:v1")
    with pytest.raises(VerifyError, match=r"the inputs of run r\w+ are others now: p/model:v1 was not"):
        believed(store)
    by_key(store)
    assert believed(store).notes == ()


def test_what_the_store_says_of_the_run_is_compared_with_what_was_signed(store):
    by_key(store)
    store.log(draft("late", {"l": b"late"}), also=store.ledger.produced(the_run(store), None, lambda: None))
    assert believed(store).notes == (f"run {the_run(store)} has logged since: p/late:v0",)
    gone = "DELETE FROM edge WHERE direction = 'used'"
    store.engine.database.write(lambda tx: tx.connection.exec_driver_sql(gone))
    with pytest.raises(VerifyError, match=r"others now: 'p/raw:v0' was signed"):
        believed(store)


def test_a_run_that_makes_the_same_later_is_noted_not_refused(store):
    by_key(store, "raw:v0")
    with start_run(store, "p") as run:
        run.log_artifact(draft("raw", {"a": b"raw"}))
    assert believed(store, "raw:v0").notes == (f"no run was signed; run {run.id} is recorded as having made it",)


HOSTILE = {
    "nothing": b"",
    "no JSON": b"model",
    "no object": b"[]",
    "an empty object": b"{}",
    "deep": b'{"a":' * 200_000,
    "deep arrays": b'{"mediaType":' + b"[" * 1_000_000,
    "not UTF-8": b'{"mediaType":"\xff"}',
    "a number": b'{"mediaType":' + b"9" * 100_000 + b"}",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_signature_is_refused_in_a_line(store, what):
    with pytest.raises(IntegrityError) as caught:
        believed(store, signature=HOSTILE[what])
    assert len(str(caught.value)) < 400


def test_a_signature_that_is_too_large_is_not_parsed(store, tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(LARGEST + 1_000_000_000)
    with pytest.raises(IntegrityError, match="larger than any"):
        believed(store, signature=tmp_path / "huge")


def test_a_signature_that_is_cut_anywhere_is_refused(store):
    data = store.signature_bundle(by_key(store))
    for end in {*range(0, len(data), 97), len(data) - 1}:
        with pytest.raises(IntegrityError):
            believed(store, signature=data[:end])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mediaType": "application/zip"}, "application/zip"),
        ({"verificationMaterial": {"tlogEntries": []}}, "not one by a key or by a certificate"),
        ({"verificationMaterial": {"certificate": {"rawBytes": ""}, "tlogEntries": []}}, "not one by a key"),
        ({"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": [{"sig": ""}]}}, "is over 'x'"),
        ({"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": []}}, "not a Sigstore bundle"),
        ({"dsseEnvelope": {"payload": "%", "payloadType": "x", "signatures": [{"sig": ""}]}}, "not a Sigstore bundle"),
    ],
)
def test_bundles_of_other_kinds_are_refused(store, change, message):
    data = json.loads(store.signature_bundle(by_key(store)))
    with pytest.raises(IntegrityError, match=message):
        believed(store, signature=json.dumps({**data, **change}).encode())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.update(_type="x"), IntegrityError, "not one statement"),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), IntegrityError, "not one statement"),
        (lambda s: s.update(subject=[]), IntegrityError, "not one statement"),
        (lambda s: s["subject"][0]["digest"].update(sha256="0" * 64), IntegrityError, "contradicts itself"),
        (lambda s: s["predicate"]["resources"].reverse(), IntegrityError, "contradicts itself"),
        (lambda s: s["predicate"]["resources"][0].update(name="w"), IntegrityError, "a file twice"),
        (lambda s: s["predicate"]["resources"][0].update(digest="zz"), IntegrityError, "is no digest"),
        (lambda s: s["predicate"]["resources"][0].update(algorithm="sha256"), InvalidInput, "by 'blake3, sha256'"),
        (lambda s: s["predicate"]["serialization"].update(method="shards"), InvalidInput, "over 'shards'"),
        (lambda s: s["predicate"]["lineart"].update(format=2), FormatTooNew, "upgrade"),
        (lambda s: s.pop("predicate"), IntegrityError, "not a statement about a model"),
    ],
)
def test_statements_that_contradict_themselves_or_are_of_other_kinds_are_refused(store, change, error, message):
    store.log(draft("two", {"v": b"1", "w": b"2"}))
    statement = json.loads(decode_bundle(store.signature_bundle(by_key(store, "two"))).payload)
    change(statement)
    with pytest.raises(error, match=message):
        decode_statement(json.dumps(statement).encode())


# Keys and certificates


def test_keys_that_will_not_do_are_refused(store, tmp_path):
    wrong = [
        b"nothing",
        public(KEY),
        private(rsa.generate_private_key(65537, 2048)),
        private(ed25519.Ed25519PrivateKey.generate()),
        private(ec.generate_private_key(ec.SECP256K1())),
        private(KEY, b"secret"),
        b"x" * 2_000_000,
    ]
    for one in wrong:
        with pytest.raises(InvalidInput) as caught:
            store.sign("model:v0", private_key=one)
        assert "PRIVATE" not in str(caught.value)
        (tmp_path / "key.pem").write_bytes(one)
        with pytest.raises(InvalidInput, match=r"key\.pem"):
            store.sign("model:v0", private_key=tmp_path / "key.pem")
    with pytest.raises(InvalidInput, match="with this password"):
        store.sign("model:v0", private_key=private(KEY, b"secret"), password="guess")
    for one in (private(KEY), b"", private(rsa.generate_private_key(65537, 2048))):
        with pytest.raises(InvalidInput):
            store.verify_signature("model:v0", public_key=one)
    with pytest.raises(FileNotFoundError):
        store.sign("model:v0", private_key=tmp_path / "nowhere")
    assert store.signatures("model:v0") == []


def test_an_encrypted_key_signs_with_its_password_and_a_bare_one_is_not_asked_for_any(store):
    store.sign("model:v0", private_key=private(KEY, b"secret"), password="secret")
    store.sign("model:v0", private_key=private(KEY, b"secret"), password=lambda: "secret")
    store.sign("model:v0", private_key=private(KEY), password=lambda: pytest.fail("asked"))
    assert len(store.signatures("model:v0")) == 3


def test_a_certificate_is_believed_for_whom_somebody_believed_vouches(store):
    by_certificate(store)
    for anchors in ([ROOT], [BETWEEN], [LEAF], [certify("x", OTHER, "x", OTHER, ca=True) + ROOT]):
        assert store.verify_signature("model:v0", certificates=anchors).signatory.identity == "CN=ana"
    stranger = certify("root", OTHER, "root", OTHER, ca=True)
    with pytest.raises(VerifyError, match="nobody who is believed vouches"):
        store.verify_signature("model:v0", certificates=stranger)


def test_certificates_that_will_not_do_are_refused_when_signing(store):
    for leaf, message in (
        (certify("ana", OTHER, "between", MIDDLE), "of another key"),
        (certify("ana", KEY, "between", MIDDLE, days=(-9, -1)), "not valid now"),
        (certify("ana", KEY, "between", MIDDLE, days=(1, 9)), "not valid now"),
        (certify("ana", KEY, "between", MIDDLE, signs=False), "not for signing"),
        (b"nothing", "no certificate"),
    ):
        with pytest.raises(InvalidInput, match=message):
            by_certificate(store, leaf=leaf)
    with pytest.raises(InvalidInput, match="without the certificate"):
        store.sign("model:v0", private_key=private(KEY), chain=[BETWEEN])
    by_certificate(
        store, leaf=certify("ana", KEY, "between", MIDDLE, signs=False, purposes=[ExtendedKeyUsageOID.CODE_SIGNING])
    )
    assert store.verify_signature("model:v0", certificates=ROOT)


def test_a_certificate_must_have_been_valid_when_the_signature_was_recorded(store):
    data = store.signature_bundle(by_certificate(store))
    version, later = store.resolve("model:v0"), NOW + timedelta(days=60)
    trust = CertificateTrust([certify("root", CA, "root", CA, ca=True, days=(-9, 90))])
    assert verify_version(store.ledger, version, trust, now=later).signatory.identity == "CN=ana"
    assert verify_version(store.ledger, version, trust, data, now=later).signatory.identity == "CN=ana"
    bundle = decode_bundle(data)
    unknown = encode_bundle(bundle)[:-1] + b" }"  # other bytes: the store has not recorded them
    assert verify_version(store.ledger, version, trust, unknown, now=NOW)
    with pytest.raises(VerifyError, match="it is valid from"):
        verify_version(store.ledger, version, trust, unknown, now=later)


def test_who_may_not_vouch_cannot_and_who_may_not_sign_cannot(store):
    payload = encode_statement(statement_of(store.ledger, store.resolve("model:v0")))
    load = x509.load_pem_x509_certificate
    by_ana = certify("eve", OTHER, "ana", KEY)
    for chain, key in (
        ((by_ana, certify("ana", KEY, "between", MIDDLE, vouches=True), BETWEEN), OTHER),  # no authority's certificate
        ((by_ana, certify("ana", KEY, "between", MIDDLE, ca=True, vouches=False), BETWEEN), OTHER),
        ((certify("eve", OTHER, "between", MIDDLE, signs=False), BETWEEN), OTHER),
        ((LEAF, BETWEEN), OTHER),  # somebody else's certificate
        ((LEAF,), KEY),  # the chain is not whole
    ):
        data = encode_bundle(Signer(key, [load(one) for one in chain]).sign(payload))
        with pytest.raises(VerifyError):
            store.verify_signature("model:v0", certificates=[ROOT], signature=data)
    whole = decode_bundle(encode_bundle(Signer(KEY, [load(LEAF), load(BETWEEN)]).sign(payload)))
    for wrong in ((b"",), (b"x" * 1000,), (whole.certificates[0][:-9],), (whole.certificates[0], b"x")):
        with pytest.raises(VerifyError, match="cannot be read"):
            store.verify_signature(
                "model:v0", certificates=[ROOT], signature=encode_bundle(whole._replace(certificates=wrong))
            )


def test_the_private_key_and_its_password_are_nowhere_in_the_store(store, tmp_path):
    store.sign("model:v0", private_key=private(KEY, b"sesame-83"), password="sesame-83")
    store.sign("model:v0", private_key=private(KEY))
    secret = f"{KEY.private_numbers().private_value:x}".encode()
    body = b"".join(private(KEY).splitlines()[1:-1])[:40]
    needles = (b"sesame-83", b"PRIVATE KEY", secret, bytes.fromhex(secret.decode().zfill(64)), body)
    held = b"".join(one.read_bytes() for one in (tmp_path / "store").rglob("*") if one.is_file())
    held += b"".join(event.to_line() for event in store.engine.journal.events())
    held += store.signature_bundle(store.signatures("model:v0")[0])
    held += base64.b64decode(
        json.loads(store.signature_bundle(store.signatures("model:v0")[1]))["dsseEnvelope"]["payload"]
    )
    assert [one for one in needles if one in held] == []
    assert b"version.signed" in held


# What signatures survive


def test_a_signature_outlives_deletion_and_collections_and_goes_with_the_version(store, tmp_path):
    made = by_key(store)
    store.gc(grace=timedelta(0))
    assert believed(store)
    store.delete("model:v0", force=True)
    store.gc()
    for act in (by_key, believed):
        with pytest.raises(NotFound, match="is deleted"):
            act(store)
    store.restore("model:v0")
    assert believed(store)
    assert store.check(read_data=True).clean
    store.delete("model:v0", force=True)
    store.gc(grace=timedelta(0))
    with pytest.raises(IntegrityError):
        store.signature_bundle(made)
    assert store.check(read_data=True).clean


def test_a_signature_survives_the_loss_of_the_database(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as store:
        store.log(draft("model", {"w": b"1"}))
        made = by_key(store)
        settings = store.settings
    lost = list((tmp_path / "store").glob("lineart.db*"))
    assert lost
    for one in lost:
        one.unlink()
    repair(settings)
    with lineart.open(tmp_path / "store", project="p") as store:
        store.gc(grace=timedelta(0))
        assert store.signatures("model:v0") == [made]
        assert believed(store).time == made.time


@pytest.mark.parametrize(
    "wrong",
    [
        {"signature": ["x"]},
        {"signature": "x"},
        {"signature": []},
        {"signature": 5},
        {"provenance": [5]},
        {"fingerprint": 5},
        {"identity": ["ana"]},
    ],
)
def test_an_event_that_is_no_signature_does_not_come_in(store, wrong):
    """Whoever can write to the bucket may forge events; readers, and collections, rely on what was let in."""
    by_key(store)
    data = next(one for one in store.engine.journal.events() if one.kind == "version.signed").data
    with pytest.raises((LineartError, ValueError, TypeError, AttributeError)):
        store.engine.write(lambda tx: tx.record("version.signed", "p/model", {**data, **wrong}))
    assert believed(store).notes == ()


def test_the_history_says_who_signed_and_why(store):
    made = by_key(store, reason="release 1.0")
    event = store.history("model")[-1]
    assert (event.kind, event.reason) == ("version.signed", "release 1.0")
    assert event.data["fingerprint"] == made.signatory.fingerprint
    assert store.signatures("model:v0")[0].reason == "release 1.0"


def test_a_version_of_too_many_files_is_refused_before_it_is_read(store):
    many = replace(store.resolve("model:v0"), file_count=FILES + 1, digest=bytes(32))
    with pytest.raises(InvalidInput, match=r"100,001 files; a signature lists each, and at most 100,000"):
        by_key(store, many)


def test_a_version_that_was_deleted_meanwhile_is_not_signed(store):
    version = store.resolve("model:v0")
    store.delete("model:v0", force=True)
    with pytest.raises(LineartError, match="deleted"):
        by_key(store, version)
    assert store.signatures("model:v0") == []


def test_a_signature_from_another_store_holds_for_the_files_and_says_so(store, tmp_path):
    data = store.signature_bundle(by_key(store))
    with lineart.create(tmp_path / "other", project="p") as other:
        other.log(draft("model", FILES_OF_MODEL))
        (note,) = believed(other, signature=data).notes
    assert "signed in another store" in note


# Other programs


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_more):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["key", "certificate"])
@pytest.mark.parametrize("fetch", ["download", "checkout"])
def test_the_formats_own_verifier_takes_a_signature_for_the_files_of_a_download(
    store, tmp_path, no_network, way, fetch
):
    from model_signing import verifying

    made = by_key(store) if way == "key" else by_certificate(store)
    folder = getattr(store.artifact("model:v0"), fetch)(tmp_path / "here")
    (folder / "model.sig").write_bytes(store.signature_bundle(made))
    (tmp_path / "believed.pem").write_bytes(public(KEY) if way == "key" else ROOT)

    def verify():
        config = verifying.Config()
        if way == "key":
            config.use_elliptic_key_verifier(public_key=tmp_path / "believed.pem")
        else:
            config.use_certificate_verifier(certificate_chain=[tmp_path / "believed.pem"])
        config.verify(folder, folder / "model.sig")

    verify()
    with (folder / "w" / "part-1.bin").open("r+b") as file:
        file.write(b"2")
    with pytest.raises(ValueError, match=r"Hash mismatch for .*w/part-1\.bin"):
        verify()
    (folder / "w" / "part-1.bin").unlink()
    with pytest.raises(ValueError, match="Missing files"):
        verify()
    (folder / "more").touch()
    with pytest.raises(ValueError, match="Extra files"):
        verify()


@pytest.mark.slow
def test_a_signature_that_the_formats_own_signer_made_of_a_download_holds(store, tmp_path, no_network):
    from model_signing import hashing, signing

    folder = store.artifact("model:v0").download(tmp_path / "here")
    (tmp_path / "key.pem").write_bytes(private(KEY))
    signer = signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem")
    signer.set_hashing_config(hashing.Config().use_file_serialization(hashing_algorithm="blake3"))
    signer.sign(folder, tmp_path / "model.sig")
    found = believed(store, signature=tmp_path / "model.sig")
    assert found.claim is None
    assert "only the files were signed" in found.notes[0]
    assert found.notes[1] == "2 of the version's 7 entries were not signed"
    ours = statement_of(store.ledger, store.resolve("model:v0"))
    theirs = decode_statement(decode_bundle((tmp_path / "model.sig").read_bytes()).payload)
    assert ours.resources == theirs.resources
    with pytest.raises(VerifyError, match="is missing"):
        believed(store, "model:v1", signature=tmp_path / "model.sig")
    signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem").sign(folder, tmp_path / "sha.sig")
    with pytest.raises(InvalidInput, match="by 'sha256'"):
        believed(store, signature=tmp_path / "sha.sig")


def test_a_signature_over_no_file_of_a_version_and_nothing_else_does_not_hold(store):
    """Another tool may sign a folder and pass over all in it; any version of these paths would be believed."""
    store.log(draft("bare", {"w": b"anything"}))
    statement = json.loads(decode_bundle(store.signature_bundle(by_key(store, "bare"))).payload)
    claim = statement["predicate"].pop("lineart")
    statement["predicate"]["resources"] = []
    statement["predicate"]["serialization"]["ignore_paths"] = ["w"]
    statement["subject"][0]["digest"]["sha256"] = sha256().hexdigest()
    with pytest.raises(VerifyError, match="no file of it, and nothing else, was signed"):
        believed(store, "bare", signature=encode_bundle(Signer(KEY).sign(json.dumps(statement).encode())))
    statement["predicate"]["lineart"] = claim
    found = believed(store, "bare", signature=encode_bundle(Signer(KEY).sign(json.dumps(statement).encode())))
    assert (found.files, found.notes) == (0, ()), "the whole of it was signed, by its digest"


def test_files_are_listed_in_the_formats_order(store):
    names = [one.name for one in statement_of(store.ledger, store.resolve("model:v0")).resources]
    assert names == sorted(names, key=PurePosixPath)
    assert names != sorted(names)


@pytest.mark.slow
def test_external_entries_are_signed_by_the_digest_and_passed_over_by_others(store, tmp_path, no_network):
    from model_signing import verifying

    (tmp_path / "corpus").mkdir()
    for name in ("a", "b"):
        (tmp_path / "corpus" / name).write_text(name)
    mixed = draft("mixed", {"w": b"1"})
    mixed.add_reference((tmp_path / "corpus").as_uri() + "/", "corpus")
    store.log(mixed)
    data = store.signature_bundle(by_key(store, "mixed"))
    found = believed(store, "mixed")
    assert (found.version.file_count, found.files) == (3, 1)
    with pytest.raises(VerifyError, match="was not signed"):
        believed(store, "mixed", signature=forged(data, lambda p: p["serialization"]["ignore_paths"].pop()))
    with pytest.raises(VerifyError, match="differs"):
        believed(store, "mixed", signature=forged(data, lambda p: p["resources"][0].update(name="corpus/a")))
    folder = store.artifact("mixed").download(tmp_path / "here")
    (folder / "model.sig").write_bytes(data)
    (tmp_path / "key.pub").write_bytes(public(KEY))
    verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "key.pub").verify(folder, folder / "model.sig")


MISSING = """
import sys
sys.modules["cryptography"] = None
import lineart
from lineart.storage.errors import InvalidInput
with lineart.open(sys.argv[1], project="p") as store:
    store.artifact("model")
    try:
        store.sign("model", private_key=b"")
    except InvalidInput as error:
        print(error)
"""


@pytest.mark.slow
def test_without_the_extra_signing_says_what_to_install_and_nothing_else_misses_it(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as store:
        store.log(draft("model", {"w": b"1"}))
    found = subprocess.run(
        [sys.executable, "-c", MISSING, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    assert found.stdout == "signing needs cryptography: pip install 'lineart[sign]'\n"
