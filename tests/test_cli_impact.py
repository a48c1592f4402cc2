"""`art impact` beyond runs: equal files, drafts, and aliases that were held before; what it prints, and exit codes."""

from __future__ import annotations

import json

import pytest

import lineart
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run

TRAP = 'bad\x1b[2J\n\u202e<script>"labels"'


def draft(name, text):
    made = lineart.Artifact(name)
    made.add_bytes(text, "f")
    return made


@pytest.fixture
def art(art_here, tmp_path, monkeypatch):
    """raw:v1, and copy:v0 with the same files → model:v0, which held production; model:v1 holds it now."""
    monkeypatch.setenv("LINEART_PROJECT", "p")
    monkeypatch.setenv("LINEART_CAPTURE", "none")
    with lineart.create(tmp_path / "store", project="p") as store:
        for name, text in (("raw", b"0"), ("raw", b"1"), ("copy", b"1")):
            store.log(draft(name, text))
        with start_run(store, "p", job_type="train", capture=Capture.none()) as run:
            run.use_artifact("copy")
            run.log_artifact(draft("model", b"m0"))
        store.log(draft("model", b"m1"))
        store.promote("model:v0", "production")
        store.promote("model:v1", "production", reason=TRAP)
        changed = store.artifact("raw:v1").new_draft()
        changed.add_bytes(b"2", "f", overwrite=True)
        store.log(changed, project="q")
    return art_here


def test_the_same_files_under_another_name_are_said_in_one_line_and_counted(art):
    run = json.loads(art("show", "model:v0", "--json")[1])["made_by"]["id"]
    code, out, err = art("impact", "raw:v1", "--all")
    assert (code, err) == (0, "art: copy:v0 holds the same files\n")
    assert [line.split("\t") for line in out.splitlines() if not line.startswith("held:")] == [
        ["p/copy:v0", "artifact", "", "0", "same files", "p/raw:v1"],
        ["p/raw:v1", "artifact", "", "0", "", ""],
        ["p/model:v0", "artifact", "", "1", run, "p/raw:v1 p/copy:v0"],
        ["q/raw:v0", "artifact", "", "1", "new draft", "p/raw:v1"],
    ]
    art("rm", "copy:v0", "--force", "--yes")
    assert art("impact", "raw:v1", terminal=True)[1].splitlines()[0] == "copy:v0 (deleted) holds the same files"


def test_many_versions_with_the_same_files_are_counted_beyond_the_first(art):
    with lineart.open() as store:
        for number in range(7):
            store.log(draft(f"copy{number}", b"1"))
    assert art("impact", "raw:v1", terminal=True)[1].splitlines()[0] == (
        "copy:v0, copy0:v0, copy1:v0, copy2:v0, copy3:v0, copy4:v0 and 2 more hold the same files (--json)"
    )
    assert len(json.loads(art("impact", "raw:v1", "--json")[1])["same"]) == 8


def test_what_was_in_production_until_a_rollback_is_told_below(art):
    code, out, _ = art("impact", "raw:v1", "--exit-code")
    assert code == 0, "nobody relies on it any more"
    (row,) = [line.split("\t") for line in out.splitlines()]
    with lineart.open() as store:
        actor = store.engine.actor
    assert [row[0], row[1], *row[4:]] == [
        "held:production",
        "p/model:v0",
        "v1",
        actor,
        'bad\\x1b[2J\\x0a\\u202e<script>"labels"',
    ]
    assert row[2] < row[3]
    out = art("impact", "raw:v1", terminal=True)[1]
    assert out.splitlines()[1] == "nothing that it touches holds an alias"
    heading, line = out.split("\n\n")[1].splitlines()[:2]
    assert heading.split() == ["HELD", "BEFORE", "VERSION", "FROM", "UNTIL", "THEN", "MOVED", "BY", "WHY"]
    assert line.split()[:2] == ["production", "model:v0"]


def test_of_many_aliases_that_were_held_before_the_last_are_shown_and_the_others_counted(art):
    with lineart.open() as store:
        for number in range(11):
            store.promote("model:v0", f"gold{number}")
            store.remove_alias("p/model", f"gold{number}")
    lines = art("impact", "raw:v1", terminal=True)[1].split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [f"gold{number}" for number in range(10, 0, -1)]
    assert lines[-1] == "2 more that were held before (--all)"
    assert "production" in art("impact", "raw:v1", "--all", terminal=True)[1]
    assert art("impact", "raw:v1")[1].count("held:") == 12
    document = json.loads(art("impact", "raw:v1", "--json")[1])
    assert len(document["held_before"]) == 12
    last = document["held_before"][-1]
    assert (last["ref"], last["alias"], last["until"]["data"]["to"]) == ("p/model:v0", "production", 1)
    assert last["since"]["data"]["from"] is None


def test_the_document_says_how_each_version_was_reached(art):
    document = json.loads(art("impact", "raw:v1", "--json")[1])
    assert document["same"] == [{"ref": "p/copy:v0", "state": "live"}]
    assert [(one["ref"], one["how"], one["from"]) for one in document["others"]] == [
        ("p/copy:v0", "same", "p/raw:v1"),
        ("p/raw:v1", None, None),
        ("p/model:v0", "run", "p/copy:v0"),
        ("q/raw:v0", "draft", "p/raw:v1"),
    ]
