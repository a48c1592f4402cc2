"""`art import`, `art provenance` and the formats of `art lineage` that other programs read."""

from __future__ import annotations

import io
import json
import os
import sys

import networkx as nx
import prov.model as prov_model
import pytest

import lineart
from lineart.lineage.run import start_run

RUN = "0192d8c4-0000-7000-8000-00000000000"


def event(run, kind, time, inputs=(), outputs=()):
    lake = [[{"namespace": "s3://lake", "name": name} for name in side] for side in (inputs, outputs)]
    return json.dumps(
        {
            "eventType": kind,
            "eventTime": time,
            "run": {"runId": f"{RUN}{run}"},
            "job": {"namespace": "prod", "name": "etl"},
            "inputs": lake[0],
            "outputs": lake[1],
        }
    )


GOOD = (
    event(1, "START", "2026-05-01T12:00:00Z", ["raw"])
    + "\n"
    + event(1, "COMPLETE", "2026-05-01T12:03:00Z", ["raw"], ["clean"])
    + "\n"
)


@pytest.fixture
def art(art_here, tmp_path, monkeypatch):
    """A store in which model:v0 was made from raw:v0 by a run."""
    monkeypatch.setenv("LINEART_PROJECT", "p")
    monkeypatch.setenv("LINEART_CAPTURE", "none")

    def draft(name):
        made = lineart.Artifact(name)
        made.add_bytes(name.encode(), "f")
        return made

    with lineart.create(tmp_path / "store", project="p") as store:
        store.log(draft("raw"))
        with start_run(store, "p") as run:
            run.use_artifact("raw")
            run.log_artifact(draft("model"))
    return art_here


def test_events_are_imported_from_a_file_and_again_without_effect(art, tmp_path):
    (tmp_path / "events.jsonl").write_text(GOOD)
    assert art("import", "openlineage", str(tmp_path / "events.jsonl")) == (0, "2\t1\t0\t2\t2\n", "")
    assert art("import", "openlineage", str(tmp_path / "events.jsonl")) == (0, "2\t0\t0\t0\t0\n", "")
    code, out, _ = art("runs", "--json")
    assert code == 0
    assert f"ol-{RUN}1" in {one["id"] for one in json.loads(out)["runs"]}


def test_events_are_imported_from_the_standard_input_into_a_project(art, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    code, out, err = art("import", "openlineage", "-", "--project", "lake", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["runs"], found["versions"], found["edges"], found["skipped"]) == (1, 2, 2, [])
    code, out, _ = art("ls", "--project", "lake")
    assert out.count("\n") == 2


def test_a_wrong_line_is_named_and_may_be_passed_over(art, tmp_path):
    (tmp_path / "events.jsonl").write_text(GOOD + '{"a": "\x1b[2J"}\n')
    code, out, err = art("import", "openlineage", str(tmp_path / "events.jsonl"))
    assert (code, out) == (2, "")
    assert "line 3 is no OpenLineage event" in err
    assert "--keep-going" in err
    assert f"ol-{RUN}1" not in art("runs")[1]
    code, out, err = art("import", "openlineage", str(tmp_path / "events.jsonl"), "--keep-going")
    assert (code, out.split("\t")[0]) == (0, "3")
    assert "1 event passed over, the first in line 3" in err
    assert "\x1b" not in err


def test_what_is_not_there_or_not_known_is_refused(art, tmp_path):
    assert art("import", "openlineage", str(tmp_path / "nothing"))[0] == 3
    assert art("import", "datahub", "-")[0] == 2


def test_a_provenance_is_printed_or_written(art, tmp_path):
    code, out, err = art("provenance", "model")
    assert (code, err) == (0, "")
    statement = json.loads(out)
    assert statement["subject"][0]["name"] == "p/model:v0"
    code, out, err = art("provenance", "model", "--output", str(tmp_path / "model.json"))
    assert (code, out) == (0, "")
    assert json.loads((tmp_path / "model.json").read_text()) == statement
    assert "wrote" in err


def test_a_provenance_is_written_whole_or_not_at_all(art, tmp_path):
    (tmp_path / "model.json").write_text("the old one")
    os.link(tmp_path / "model.json", tmp_path / "read")
    assert art("provenance", "raw", "-o", str(tmp_path / "model.json"))[0] == 3
    assert (tmp_path / "model.json").read_text() == "the old one"
    assert art("provenance", "model", "-o", str(tmp_path / "model.json"))[0] == 0
    assert json.loads((tmp_path / "model.json").read_text())["subject"][0]["name"] == "p/model:v0"
    assert (tmp_path / "read").read_text() == "the old one"
    code, _, err = art("provenance", "model", "-o", str(tmp_path))
    assert code == 2
    assert "cannot be written: Is a directory" in err


def test_a_version_of_no_run_has_none(art):
    code, out, err = art("provenance", "raw")
    assert (code, out) == (3, "")
    assert "logged outside any run" in err


def test_formats_of_other_programs_are_read_by_them(art, tmp_path):
    code, out, _ = art("lineage", "model", "--format", "graphml")
    assert code == 0
    assert set(nx.parse_graphml(out)) >= {"p/model:v0", "p/raw:v0"}
    code, out, _ = art("lineage", "model", "--format", "prov")
    assert len(list(prov_model.ProvDocument.deserialize(content=out).get_records(prov_model.ProvEntity))) == 2
    code, out, _ = art("lineage", "model", "--format", "openlineage")
    assert [json.loads(line)["eventType"] for line in out.splitlines()] == ["START", "COMPLETE"]
    (tmp_path / "own.jsonl").write_text(out)
    code, out, err = art("import", "openlineage", str(tmp_path / "own.jsonl"))
    assert (code, out) == (0, "2\t0\t0\t0\t0\n")
    assert "2 events passed over, the first in line 1: of a run of this store" in err
