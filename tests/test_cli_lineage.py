"""`art lineage SELECT` and `art path`: what they show, and where they point."""

from __future__ import annotations

import json

import pytest

import lineart
from lineart.lineage.run import start_run


def nodes(art, *arguments):
    code, out, err = art(*arguments, "--json")
    assert (code, err) == (0, "")
    return {one["node"] for one in json.loads(out)["nodes"] if one["kind"] == "version"}


@pytest.fixture
def art(art_here, tmp_path, monkeypatch):
    """A store in which model:v0 was made from data:v0, and data:v0 from two versions of raw."""
    monkeypatch.setenv("LINEART_PROJECT", "p")
    monkeypatch.setenv("LINEART_CAPTURE", "none")

    def draft(name, text):
        made = lineart.Artifact(name)
        made.add_bytes(text, "f")
        return made

    with lineart.create(tmp_path / "store", project="p") as store:
        for text in (b"0", b"1"):
            store.log(draft("raw", text))
        for used, made in ((["raw:v0", "raw:v1"], "data"), (["data"], "model")):
            with start_run(store, "p") as run:
                for one in used:
                    run.use_artifact(one)
                run.log_artifact(draft(made, b"2"))
        store.log(draft("other", b"3"), project="q")
    return art_here


def test_a_ref_is_traced_as_before_and_a_selector_says_what_it_wants(art):
    everything = {"p/raw:v0", "p/raw:v1", "p/data:v0", "p/model:v0"}
    assert nodes(art, "lineage", "model") == nodes(art, "lineage", "+model") == everything
    assert (
        nodes(art, "lineage", "model", "--depth", "1")
        == nodes(art, "lineage", "1+model")
        == {"p/data:v0", "p/model:v0"}
    )
    assert nodes(art, "lineage", "raw:v0", "--down") == nodes(art, "lineage", "raw:v0+") == everything - {"p/raw:v1"}
    assert nodes(art, "lineage", "raw") == {"p/raw:v1"}, "a plain ref is its latest version"
    assert nodes(art, "lineage", "raw or nothing*") == {"p/raw:v0", "p/raw:v1"}, "in a selector it is all of them"
    assert nodes(art, "lineage", "not raw and project=p") == {"p/data:v0", "p/model:v0"}


def test_both_ways_are_two_trees_with_their_own_counts(art):
    code, out, _ = art("lineage", "+data:v0+")
    assert code == 0
    assert out.count("nothing left out") == 2
    assert out.count("p/data:v0") == 2


def test_path_shows_what_lies_between(art):
    assert nodes(art, "path", "raw:v0", "model") == {"p/raw:v0", "p/data:v0", "p/model:v0"}
    assert nodes(art, "path", "raw or raw:v0", "model") == {"p/raw:v0", "p/raw:v1", "p/data:v0", "p/model:v0"}
    code, out, err = art("path", "model", "raw")
    assert (code, out) == (1, "0 nodes: 0 versions, 0 runs · nothing left out\n")
    assert "nothing leads from model to raw" in err


@pytest.mark.parametrize("command", [["lineage"], ["path", "raw"]])
def test_an_error_points_at_the_place_in_what_was_typed(art, command):
    code, out, err = art(*command, "model and and raw")
    assert (code, out) == (2, "")
    assert err.splitlines()[:2] == ["art:   model and and raw", "art:             ^"]
    assert err.splitlines()[2].startswith("art: expected a name")
    assert len(err.splitlines()) == 3


def test_what_cannot_be_is_refused(art):
    assert art("lineage", "+model", "--down")[0] == 2
    assert art("lineage", "+model", "--depth", "1")[0] == 2
    assert art("lineage", "model", "--depth", "-1")[0] == 2
    assert art("lineage", "(" * 100_000)[0] == 2
    assert art("lineage", "+nowhere")[0] == art("path", "nowhere", "raw")[0] == 3


def test_a_bare_name_of_another_project_is_said_to_be(art):
    code, _, err = art("path", "other", "model")
    assert code == 1  # it stands alone
    assert "q/other:v0 is meant" in err


def test_the_ending_of_a_file_says_the_format_and_a_page_needs_one(art, tmp_path):
    for name, start in (("a.html", "<!doctype html>"), ("a.dot", "digraph"), ("a.mmd", "flowchart"), ("a.txt", "p/")):
        assert art("lineage", "model", "-o", name)[0] == 0
        assert (tmp_path / name).read_text().lower().startswith(start)
    assert art("lineage", "model", "-o", "b.html", "--format", "tree")[0] == 0
    assert (tmp_path / "b.html").read_text().startswith("p/model:v0")
    code, out, err = art("lineage", "model", "--format", "html", terminal=True)
    assert (code, out) == (2, "")
    assert "-o FILE.html" in err
    assert art("lineage", "model", "--format", "html")[1].lower().startswith("<!doctype html>"), "in a pipe"
