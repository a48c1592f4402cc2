"""`art sign` and `art verify-signature`: what they say, what they write, and how they end."""

from __future__ import annotations

import base64
import json
import os
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import lineart
from lineart.lineage.run import start_run

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())


def private(key, password=None):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def public(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


@pytest.fixture
def art(art_here, tmp_path, monkeypatch):
    """A store in which model:v0 was made from raw:v0, beside report:v0, and keys in files."""
    monkeypatch.setenv("LINEART_PROJECT", "p")
    monkeypatch.setenv("LINEART_CAPTURE", "none")
    with lineart.create(tmp_path / "store", project="p") as store:
        store.log(draft("raw"))
        with start_run(store, "p", id="rtest") as run:
            run.use_artifact("raw")
            run.log_artifact(draft("model"))
            run.log_artifact(draft("report"))
    (tmp_path / "key.pem").write_bytes(private(KEY))
    (tmp_path / "locked.pem").write_bytes(private(KEY, b"sesame"))
    (tmp_path / "key.pub").write_bytes(public(KEY))
    (tmp_path / "other.pub").write_bytes(public(OTHER))
    return art_here


def draft(name):
    made = lineart.Artifact(name)
    made.add_bytes(name.encode(), "f")
    return made


def test_a_version_is_signed_and_the_signature_is_verified(art):
    code, out, err = art("sign", "model", "--private-key", "key.pem", "--reason", "release")
    assert (code, err) == (0, "")
    ref, fingerprint, identity = out.rstrip("\n").split("\t")
    assert (ref, identity, len(fingerprint)) == ("p/model:v0", "", 71)
    code, out, err = art("verify-signature", "model", "--public-key", "key.pub")
    assert (code, err) == (0, "")
    found = dict(line.split("\t", 1) for line in out.splitlines())
    assert found["p/model:v0"] == "the signature holds"
    assert found["signed by"] == f"key {fingerprint}"
    assert (found["files"], found["made by"], found["from"]) == ("1", "rtest", "p/raw:v0")
    assert found["beside"] == "p/report:v0"
    code, out, _ = art("history", "model")
    assert f"v0 signed by key {fingerprint[:15]}…" in out
    assert "release" in out


def test_people_see_it_on_a_terminal(art):
    code, out, _ = art("sign", "model", "--private-key", "key.pem", "-o", "model.sig", terminal=True)
    assert code == 0
    assert out.startswith("p/model:v0  signed by key sha256:")
    assert "the signature is in model.sig, too" in out
    code, out, _ = art("verify-signature", "model", "--public-key", "key.pub", terminal=True)
    assert code == 0
    assert out.splitlines()[0] == "p/model:v0  the signature holds"
    assert "files      1 file, whose digests are those signed" in out
    code, out, _ = art("show", "model", terminal=True)
    assert "`art verify-signature model:v0` checks it" in " ".join(out.split())


def test_the_documents_say_all_of_it(art):
    code, out, _ = art("sign", "model", "--private-key", "key.pem", "--json")
    assert code == 0
    signed = json.loads(out)
    assert (signed["schema"], signed["ref"], signed["identity"]) == (1, "p/model:v0", None)
    code, out, _ = art("verify-signature", "model", "--public-key", "key.pub", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["fingerprint"], found["time"]) == (signed["fingerprint"], signed["time"])
    assert [one["version"] for one in found["run"]["outputs"]] == ["p/model:v0", "p/report:v0"]
    code, out, _ = art("show", "model", "--json")
    assert json.loads(out)["signatures"] == [{key: value for key, value in signed.items() if key != "schema"}]


def test_the_ways_in_which_it_can_end(art, tmp_path):
    verify = ("verify-signature", "model", "--public-key")
    assert art(*verify, "key.pub")[0] == 3, "there is none"
    assert art(*verify, "nowhere.pub")[0] == 3
    assert art("verify-signature", "model")[0] == 2
    assert art(*verify, "key.pub", "--certificate-chain", "key.pub")[0] == 2
    assert art("sign", "model")[0] == 2
    assert art("sign", "nowhere", "--private-key", "key.pem")[0] == 3
    assert art("sign", "model", "--private-key", "key.pub")[0] == 2
    assert art("sign", "model", "--private-key", "key.pem", "-o", "model.sig")[0] == 0
    code, _, err = art(*verify, "other.pub")
    assert code == 5, "it is by somebody else"
    assert "p/model:v0 is not signed by key sha256:" in err
    assert art("verify-signature", "raw", "--public-key", "key.pub", "--signature", "model.sig")[0] == 5
    assert art(*verify, "key.pub", "--signature", "model.sig")[0] == 0
    assert art(*verify, "key.pub", "--signature", "nowhere.sig")[0] == 3
    (tmp_path / "model.sig").write_bytes((tmp_path / "model.sig").read_bytes()[:-9])
    assert art(*verify, "key.pub", "--signature", "model.sig")[0] == 5


def test_a_signature_of_the_store_is_written_once_it_holds(art, tmp_path):
    assert art("sign", "model", "--private-key", "key.pem", "--output", "first.sig")[0] == 0
    assert art("verify-signature", "model", "--public-key", "other.pub", "--output", "wrong.sig")[0] == 5
    assert not (tmp_path / "wrong.sig").exists()
    assert art("verify-signature", "model", "--public-key", "key.pub", "--output", "second.sig")[0] == 0
    assert (tmp_path / "second.sig").read_bytes() == (tmp_path / "first.sig").read_bytes()


def test_nothing_is_signed_where_the_signature_cannot_be_written(art, tmp_path):
    for where in ("nowhere/model.sig", "."):
        code, _, err = art("sign", "model", "--private-key", "key.pem", "-o", where)
        assert code == 2
        assert f"{where} cannot be written" in err
    assert art("verify-signature", "model", "--public-key", "key.pub")[0] == 3, "there is none"


def test_a_file_that_is_there_is_replaced_whole(art, tmp_path):
    """Somebody who reads it meanwhile, or a disk that fills up, sees the old or the new one."""
    for name in ("model.sig", "model.intoto.json"):
        (tmp_path / name).write_bytes(b"the old one")
        os.link(tmp_path / name, tmp_path / f"{name}.read")
    assert art("sign", "model", "--private-key", "key.pem", "-o", "model.sig")[0] == 0
    assert art("verify-signature", "model", "--public-key", "key.pub", "--provenance", "model.intoto.json")[0] == 0
    for name in ("model.sig", "model.intoto.json"):
        assert "payload" in json.loads((tmp_path / name).read_bytes())["dsseEnvelope"]
        assert (tmp_path / f"{name}.read").read_bytes() == b"the old one"


def test_what_was_signed_of_the_run_is_written_as_provenance(art, tmp_path):
    for name in ("model", "raw"):
        assert art("sign", name, "--private-key", "key.pem")[0] == 0
    verify = ("--public-key", "key.pub", "--provenance", "model.intoto.json")
    assert art("verify-signature", "model", *verify)[0] == 0
    envelope = json.loads((tmp_path / "model.intoto.json").read_bytes())["dsseEnvelope"]
    assert json.loads(base64.b64decode(envelope["payload"]))["predicateType"] == "https://slsa.dev/provenance/v1"
    code, _, err = art("verify-signature", "raw", *verify)
    assert code == 3
    assert "no run was signed" in err


def test_a_password_comes_from_a_variable_that_is_named(art, monkeypatch):
    sign = ("sign", "model", "--private-key", "locked.pem")
    code, _, err = art(*sign)
    assert code == 2
    assert "locked.pem is encrypted and there is nobody to ask here: give --password-env NAME" in err
    code, _, err = art(*sign, "--password-env", "KEY_PASSWORD")
    assert code == 2
    assert "no variable KEY_PASSWORD" in err
    monkeypatch.setenv("KEY_PASSWORD", "wrong")
    assert art(*sign, "--password-env", "KEY_PASSWORD")[0] == 2
    monkeypatch.setenv("KEY_PASSWORD", "sesame")
    code, out, err = art(*sign, "--password-env", "KEY_PASSWORD")
    assert code == 0
    assert "sesame" not in out + err


def test_who_signs_before_the_run_has_finished_is_told(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store, start_run(store, "p", id="rlong") as run:
        run.log_artifact(draft("long"))
        code, _, err = art("sign", "long", "--private-key", "key.pem")
        assert code == 0
        assert "run rlong has not finished" in err
        run.use_artifact("raw")
    assert art("verify-signature", "long", "--public-key", "key.pub")[0] == 5


def test_a_key_may_come_through_a_pipe(art, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(private(KEY),))
    writer.start()
    code, _, err = art("sign", "model", "--private-key", "pipe")
    writer.join()
    assert (code, err) == (0, "")


def test_what_a_foreign_signature_says_cannot_move_a_cursor(art, tmp_path):
    assert art("sign", "model", "--private-key", "key.pem", "-o", "model.sig")[0] == 0
    from lineart.lineage.signing.bundle import decode_bundle, encode_bundle
    from lineart.lineage.signing.keys import Signer

    statement = json.loads(decode_bundle((tmp_path / "model.sig").read_bytes()).payload)
    claim = statement["predicate"]["lineart"]
    claim["store"] = "\x1b[2Jelse\u202ewhere"
    claim["run"]["inputs"][0]["version"] = "\x1b]0;title\x07" + "x" * 10_000
    data = encode_bundle(Signer(KEY).sign(json.dumps(statement).encode()))
    (tmp_path / "model.sig").write_bytes(data)
    for options in ({}, {"terminal": True}):
        code, out, err = art(
            "verify-signature", "model", "--public-key", "key.pub", "--signature", "model.sig", **options
        )
        assert code == 0
        assert "signed in another store" in err
        assert not {"\x1b", "\x07", "\u202e"} & set(out + err)


def test_a_signature_alone_says_nothing_of_files_beside_it_and_a_folder_is_compared_where_it_is_named(art, tmp_path):
    assert art("sign", "model", "--private-key", "key.pem")[0] == 0
    assert art("get", "model", "rel")[0] == 0
    verify = ("verify-signature", "model", "--public-key", "key.pub")
    code, out, _ = art(*verify, "--folder", "rel")
    assert (code, dict(line.split("\t", 1) for line in out.splitlines())["compared"]) == (
        0,
        "rel: every file is the version's, and there is no other",
    )
    assert json.loads(art(*verify, "--folder", "rel", "--json")[1])["folder"] == str(tmp_path / "rel")
    (tmp_path / "rel" / "f").write_bytes(b"Model")
    code, out, err = art(*verify)
    assert (code, err) == (0, "")
    assert "compared\tno file was read; `--folder DIR` compares a folder with it" in out
    assert json.loads(art(*verify, "--json")[1])["folder"] is None
    for how in ((), ("--json",), ("--output", "model.sig")):
        code, out, err = art(*verify, "--folder", "rel", *how)
        assert (code, out) == (5, "")
        assert "the signature holds, but rel is not p/model:v0: 1 changed ('f')" in err
    assert not (tmp_path / "model.sig").exists()
    assert art(*verify, "--folder", "nowhere")[0] == 3
