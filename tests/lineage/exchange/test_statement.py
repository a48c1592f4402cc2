"""The in-toto statement with SLSA provenance, checked by the in-toto project's own package."""

from __future__ import annotations

import base64
import json

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

import lineart
from lineart.artifacts.entry import EXTERNAL, FILE, Entry, External
from lineart.lineage.exchange.statement import FILES, statement
from lineart.lineage.run import start_run
from lineart.storage.errors import NotFound


def validated(found):
    """Read a statement by the in-toto package, strictly: unknown fields are errors; return its predicate."""
    text = json.dumps(found)
    message = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    predicate = json_format.Parse(json.dumps(found["predicate"]), provenance_pb2.Provenance())
    for one in (*predicate.build_definition.resolved_dependencies, *predicate.run_details.byproducts):
        ResourceDescriptor.copy_from_pb(one).validate()
        assert one.uri or one.digest or one.content
    assert predicate.build_definition.build_type
    assert predicate.run_details.builder.id
    return predicate


FILE_ENTRIES = [Entry("a/b.bin", FILE, 3, bytes(range(32)))]


def test_it_says_what_was_made_of_what_by_which_code(digits):
    found = statement(digits, "p/model:v0", FILE_ENTRIES)
    predicate = validated(found)
    version, file = found["subject"]
    assert (version["name"], list(version["digest"])) == ("p/model:v0", ["lineartManifest"])
    assert file == {"name": "a/b.bin", "digest": {"blake3": bytes(range(32)).hex()}}
    inputs, code, diff, packages = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert inputs["uri"] == f"lineart://{'5' * 32}/p/data:v1"
    assert code["uri"] == "git+ssh://git@github.com/team/digits.git"
    assert (code["digest"], code["annotations"]["dirty"]) == ({"gitCommit": "a" * 40}, True)
    assert (diff["name"], packages["digest"]) == ("uncommitted.diff", {"blake3": "e" * 64})
    assert found["predicate"]["buildDefinition"]["externalParameters"] == {
        "command": ["python", "train.py"],
        "config": {"lr": 0.1},
        "jobType": "train",
    }
    assert predicate.run_details.metadata.started_on.seconds == 4
    assert predicate.run_details.metadata.finished_on.seconds == 9
    (summary,) = found["predicate"]["runDetails"]["byproducts"]
    assert json.loads(base64.b64decode(summary["content"])) == {"loss": 0.2}


def test_places_outside_the_store_are_dependencies(digits):
    elsewhere = Entry("web/1", EXTERNAL, 3, bytes(32), external=External("s3://corpus/web/1"))
    found = statement(digits, "p/data:v1", [elsewhere])
    validated(found)
    named = [one["name"] for one in found["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert named == ["p/raw:v0", "p/gone:v3", "s3://corpus/web/"]
    assert len(found["subject"]) == 1
    assert found["subject"][0]["annotations"]["filesNamed"] == 0


def test_hostile_names_and_a_commit_that_is_none(hostile):
    found = statement(hostile, "p/raw:v0", None)
    validated(found)
    code = next(one for one in found["predicate"]["buildDefinition"]["resolvedDependencies"] if one["name"] == "code")
    assert "digest" not in code


def test_of_several_runs_the_first_is_described_and_the_others_are_named(maker):
    raw = maker.version("raw:v0")
    maker.run("r9", [], [raw], state="running", ended=None, exit_code=None)
    maker.run("r1", [], [raw])
    found = statement(maker.graph, raw, None)
    validated(found)
    internal = found["predicate"]["buildDefinition"]["internalParameters"]
    assert (internal["run"], internal["alsoProducedBy"], internal["state"]) == ("r9", ["r1"], "running")
    assert "finishedOn" not in found["predicate"]["runDetails"]["metadata"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEART_CAPTURE", "none")
    with lineart.create(tmp_path / "store", project="p") as made:
        yield made


def draft(name, **files):
    made = lineart.Artifact(name)
    for path, content in files.items():
        made.add_bytes(content, path)
    return made


def test_of_a_version_in_a_store_with_its_files_and_what_else_the_run_made(store):
    raw = store.log(draft("raw", words=b"a b c"))
    with start_run(store, "p") as run:
        run.use_artifact("raw:v0")
        run.log_artifact(draft("data", clean=b"abc", more=b"d"))
        run.log_artifact(draft("log", text=b"fine"))
    found = store.provenance("data")
    validated(found)
    assert [one["name"] for one in found["subject"]] == ["p/data:v0", "clean", "more"]
    assert found["subject"][1]["digest"]["blake3"] == store.artifact("data")["clean"].digest.hex()
    used, *_ = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert used["digest"] == {"lineartManifest": raw.digest.hex()}
    assert [one["name"] for one in found["predicate"]["runDetails"]["byproducts"]] == ["p/log:v0"]


def test_a_version_of_no_run_is_an_error_that_says_what_to_do(store):
    store.log(draft("raw", words=b"a"))
    with pytest.raises(NotFound, match=r"p/raw:v0 was logged outside any run.*art log"):
        store.provenance("raw")


def test_a_version_of_many_files_is_one_subject_and_says_how_many(store):
    with start_run(store, "p") as run:
        run.log_artifact(draft("many", **{f"f{number}": b"x" for number in range(FILES + 1)}))
    (one,) = store.provenance("many")["subject"]
    assert one["annotations"] == {"files": FILES + 1, "filesNamed": 0, "size": FILES + 1}


def test_a_purged_version_still_has_a_provenance(store):
    from datetime import timedelta

    with start_run(store, "p") as run:
        run.log_artifact(draft("data", words=b"a"))
    store.delete("data:v0", force=True)
    store.gc(grace=timedelta(0))
    found = store.provenance("data:v0")
    validated(found)
    assert len(found["subject"]) == 1
