"""`art stale`, `art impact`, `art repro`, and what an alias meant at a time: what they print, and their exit codes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

import lineart
from lineart.artifacts.ref import parse_time
from lineart.lineage.capture import Capture, Captured
from lineart.lineage.run import start_run

TRAP = "evil\x1b[2J\n\u202ename"
PATCH = b"diff --git a/x b/x\n\xff\x1b[2J\r\n"
PACKAGES = "numpy==2.0\ntorch==2.1+cu118\n--index-url http://evil\n-e git+http://evil\nlineart==0.1\n"


def draft(name, text):
    made = lineart.Artifact(name)
    made.add_bytes(text, "f")
    return made


@pytest.fixture
def art(art_here, tmp_path, monkeypatch):
    """raw:v0 → data:v0 → model:v0 (production), model:v1; raw:v1 is newer; q/other:v0 from data:v0."""
    monkeypatch.setenv("LINEART_PROJECT", "p")
    monkeypatch.setenv("LINEART_CAPTURE", "none")
    captured = Captured(
        {"command": [sys.executable, "-c", "pass"], "directory": "/nowhere"},
        {"host": TRAP},
        {"code.diff": PATCH, "environment.packages": PACKAGES.encode()},
    )
    with lineart.create(tmp_path / "store", project="p") as store:
        store.log(draft("raw", b"0"))
        for used, name, text in (("raw", "data", b"d"), ("data", "model", b"m0"), ("data", "model", b"m1")):
            with start_run(store, "p", job_type="make", notes=TRAP, capture=Capture.none()) as run:
                run.use_artifact(used)
                run.log_artifact(draft(name, text))
            store.ledger.update(run.id, captured=captured)
        store.promote("model:v0", "production", reason="good \x1b[31menough")
        store.log(draft("raw", b"1"))
        with start_run(store, "q", capture=Capture.none()) as run:
            run.use_artifact("p/data:v0")
            run.log_artifact(draft("other", b"o"))
    return art_here


def run_of(art, name):
    return json.loads(art("show", name, "--json")[1])["made_by"]["id"]


# Stale


def test_what_is_out_of_date_is_listed_in_the_order_of_making_it_again(art):
    code, out, err = art("stale")
    rows = [line.split("\t")[:4] for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert rows == [
        ["p/data:v0", "latest", "p/raw:v0>v1", ""],
        ["p/model:v0", "production", "", "p/data:v0"],
        ["p/model:v1", "latest", "", "p/data:v0"],
    ]
    code, out, _ = art("stale", terminal=True)
    assert out.splitlines()[0].split() == ["VERSION", "ALIASES", "BEHIND", "THROUGH", "MADE", "BY"]
    assert out.splitlines()[1].split()[:5] == ["data:v0", "latest", "raw:v0,", "newer:", "v1"]
    assert out.splitlines()[-1] == "3 of 4 versions are out of date"


def test_a_selector_says_what_is_judged(art):
    assert [line.split("\t")[0] for line in art("stale", "model")[1].splitlines()] == ["p/model:v1"]
    assert [line.split("\t")[0] for line in art("stale", "model:v* or q/other")[1].splitlines()] == [
        "p/model:v0",
        "p/model:v1",
        "q/other:v0",
    ]
    assert art("stale", "raw", terminal=True)[1] == "1 version, nothing out of date\n"
    code, out, err = art("stale", "model or or")
    assert (code, out) == (2, "")
    assert err.splitlines()[1] == "art:            ^"
    assert art("stale", "nothing")[0] == 3


def test_the_document_of_what_is_out_of_date(art):
    document = json.loads(art("stale", "--json")[1])
    assert (document["schema"], document["judged"], document["deleted"]) == (1, 4, 0)
    first, second = document["stale"][:2]
    assert first["behind"] == [{"used": "p/raw:v0", "newest": "p/raw:v1"}]
    assert (second["ref"], second["aliases"], second["through"]) == ("p/model:v0", ["production"], ["p/data:v0"])
    assert second["run"] == run_of(art, "model:v0")


def test_the_exit_code_is_1_where_something_is_out_of_date_if_it_is_asked_for(art):
    assert art("stale")[0] == 0
    assert art("stale", "--exit-code")[0] == 1
    assert art("stale", "--exit-code", "--json")[0] == 1
    assert art("stale", "raw", "--exit-code")[0] == 0


def test_deleted_versions_are_said_not_to_be_judged(art):
    with lineart.open() as store:
        store.artifact("raw:v1").delete(force=True)
    assert art("stale", "raw:v*") == (0, "", "art: 1 deleted version not judged\n")
    assert art("stale")[1] == "", "and what is deleted is not newer"


# Impact


def test_what_holds_an_alias_comes_first_and_the_rest_is_counted(art):
    code, out, err = art("impact", "raw:v0")
    run = run_of(art, "model:v0")
    assert (code, out) == (0, f"p/model:v0\tartifact\tproduction\t2\t{run}\tp/raw:v0 p/data:v0\n")
    assert err == "art: 4 more versions without an alias but latest: --all lists them, too\n"
    code, out, err = art("impact", "raw:v0", "--all")
    assert (code, err) == (0, "")
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        "p/model:v0",
        "p/raw:v0",
        "p/data:v0",
        "p/model:v1",
        "q/other:v0",
    ]
    lines = art("impact", "raw:v0", terminal=True)[1].splitlines()
    assert lines[1].split() == ["model:v0", "artifact", "production", "2", "make", run, "raw:v0", "→", "data:v0"]
    assert lines[2:] == ["4 more versions without an alias but latest (--all)"]


def test_what_touches_nothing_says_so_and_ends_with_0(art):
    assert art("impact", "model:v1", "--exit-code", terminal=True)[:2] == (
        0,
        "nothing that it touches holds an alias\n1 version without an alias but latest (--all)\n",
    )
    assert art("impact", "raw:v0", "--exit-code")[0] == 1
    assert art("impact", "model:production", "--exit-code")[0] == 1, "it touches itself"
    assert art("impact", "tag=none")[:2] == (0, "")


def test_a_path_is_left_out_with_a_word_and_what_means_nothing_is_not_found(art):
    code, _, err = art("impact", "raw:v0/f")
    assert code == 0
    assert err.splitlines()[0] == "art: runs use whole versions: this is about p/raw:v0, not /f alone"
    assert art("impact", "raw:v9")[0] == 3
    assert art("impact", "s3://bucket/x") == (3, "", "art: no version refers to s3://bucket/x\n")


def test_running_runs_are_told(art):
    with lineart.open() as store:
        now = start_run(store, "p", job_type="evaluate", capture=Capture.none())
        now.use_artifact("model:v1")
        assert art("impact", "raw:v0")[1].splitlines()[1] == f"run:{now.id}\tevaluate\trunning"
        assert f"run {now.id} (evaluate, " in art("impact", "raw:v0", terminal=True)[1]
        assert [one["id"] for one in json.loads(art("impact", "raw:v0", "--json")[1])["running"]] == [now.id]
        now.finish()
    assert "run:" not in art("impact", "raw:v0")[1]


def test_the_document_of_an_impact_has_everything(art):
    document = json.loads(art("impact", "raw:v0", "--json")[1])
    assert document["of"] == ["p/raw:v0"]
    assert [(one["ref"], one["aliases"], one["way"]) for one in document["named"]] == [
        ("p/model:v0", ["production"], ["p/raw:v0", "p/data:v0", "p/model:v0"])
    ]
    assert [(one["ref"], one["steps"]) for one in document["others"]] == [
        ("p/raw:v0", 0),
        ("p/data:v0", 1),
        ("p/model:v1", 2),
        ("q/other:v0", 2),
    ]


# Repro


def test_the_script_is_printed_as_it_is(art):
    code, out, _ = art("repro", "model:production")
    assert code == 0
    assert out.startswith("#!/bin/sh\n# Makes p/model:v0 again, b3:")
    assert out.count("\n# --- step ") == 2
    assert "evil\\x1b[2J\\x0a\\u202ename" in out
    assert art("repro", "model:v0", "--depth", "1")[1].count("\n# --- step ") == 1
    assert art("repro", "model:v0", "--from", "data:v0")[1] == art("repro", "model:v0", "--depth", "1")[1]
    assert "\nstop " in out
    assert "\nstop " not in art("repro", "model:v0", "--force")[1]


def test_what_the_script_needs_and_where_it_will_fail_is_said_beforehand_on_stderr(art):
    art("rm", "raw:v0", "--force", "--yes", "--reason", TRAP)
    code, out, err = art("repro", "model:production")
    needs, *warned = err.splitlines()
    assert (code, needs.partition(" with ")[0]) == (0, "art: the script needs art; python3")
    at_top = [line for line in out.splitlines() if line.startswith(("# STOPS at ", "# FAILS at "))]
    assert [line.split(" at ", 1)[1] for line in warned] == [line.split(" at ", 1)[1] for line in at_top]
    assert len([line for line in warned if line.startswith("art: it stops at step ")]) == 2
    (fails,) = [line for line in warned if line.startswith("art: it fails at step 1 of 2: make ")]
    assert "p/raw:v0 was deleted (" in fails
    assert 'evil\\x1b[2J\\x0a\\u202ename"); `art restore p/raw:v0` brings it back' in fails


def test_the_patch_and_the_packages_of_a_run_are_printed(art):
    run = run_of(art, "model:v0")
    with lineart.open() as store:
        from lineart.lineage.answers.repro import patch_of

        assert patch_of(store.engine.chunks, store.ledger.get(run)) == PATCH
    code, out, _ = art("repro", "--packages", run)
    assert code == 0
    assert out == "numpy==2.0\ntorch==2.1+cu118\n# --index-url http://evil\n# -e git+http://evil\nlineart==0.1\n"
    assert art("repro", "--packages", "nobody")[0] == art("repro", "--patch", "nobody")[0] == 3
    assert art("repro", "--patch", run_of(art, "q/other"))[2].endswith("recorded no changes that were not committed\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model", "raw"],
        ["--patch", "r", "--packages", "r"],
        ["model", "--patch", "r"],
        ["--again", "r"],
        ["model", "--expect", "model"],
        ["--again", "r", "--depth", "1", "--", "true"],
        ["model", "--depth", "0"],
    ],
)
def test_what_does_not_go_together_is_refused(art, arguments):
    code, out, err = art("repro", *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_a_version_that_no_run_made_is_not_found(art):
    code, _, err = art("repro", "raw:v0")
    assert (code, err) == (
        3,
        "art: no run is recorded that made p/raw:v0; `art get p/raw:v0` fetches it\n",
    )


def test_places_outside_are_asked_only_where_that_is_wanted(art, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a").write_text("1")
    url = f"{(tmp_path / 'web').as_uri()}/"
    assert art("log", url, "corpus")[0] == art("log", "web", "english", "--use", "corpus")[0] == 0
    (tmp_path / "web" / "a").write_text("2")
    (tmp_path / "web" / "b").write_text("3")
    assert art("stale", "english", "--exit-code") == (0, "", "")
    code, out, err = art("stale", "corpus or english", "--externals", "--exit-code")
    (made,) = json.loads(art("show", "english", "--json")[1])["made_by"]["id"].split()
    assert (code, err) == (1, "")
    assert out == f"p/corpus:v0\tlatest\t\t\t\t{url}\np/english:v0\tlatest\t\tp/corpus:v0\t{made}\t\n"
    shown = art("stale", "corpus", "--externals", terminal=True)[1]
    assert "CHANGED OUTSIDE" in shown
    assert "1 changed, 1 new" in " ".join(shown.split())
    found = json.loads(art("stale", "corpus", "--externals", "--json")[1])
    assert (found["stale"][0]["outside"], found["unasked"]) == ([{"url": url, "changed": 1, "gone": 0, "new": 1}], [])


@pytest.mark.slow
def test_a_command_is_run_again_with_the_recorded_inputs_and_its_products_are_compared(art):
    run = run_of(art, "model:v0")
    program = (
        "import lineart, sys\n"
        "assert lineart.use_artifact('data').version == 'v0'\n"
        "made = lineart.Artifact('model')\n"
        "made.add_bytes(sys.argv[1].encode(), 'f')\n"
        "lineart.log_artifact(made, aliases=['best'])\n"
    )
    with lineart.open() as store:
        store.log(draft("data", b"newer"))
        store.promote("model:v1", "best")
    again = ["repro", "--again", run, "--expect", "model:v0", "--", sys.executable, "-c", program]
    code, out, err = art(*again, "m0")
    assert (code, out.split("\t")[:2]) == (0, ["p/model:v0", "the same"])
    assert err == ""  # no alias moved, though the code gives one
    assert art(*again, "m0", terminal=True)[1] == "p/model:v0 came out the same, bit for bit\n"
    code, out, _ = art(*again, "another", terminal=True)
    assert (code, out) == (1, "p/model:v0 came out different, as model:v2\n")
    code, out, _ = art(*again[:3], "--", sys.executable, "-c", "")
    assert (code, out.split("\t")[:2]) == (0, ["p/model:v0", "not made"])
    code, out, _ = art(*again[:3], "--", sys.executable, "-c", "raise SystemExit(7)")
    assert (code, out) == (7, "")
    code, _, err = art(*again[:3], "--", "/no/such/program")
    assert (code, err) == (3, "art: /no/such/program: cannot be run: No such file or directory\n")
    runs = json.loads(art("runs", "--json")[1])["runs"]
    assert [one["state"] for one in runs[:6]] == ["failed", "failed", "finished", "finished", "finished", "finished"]
    assert all(one["code"]["again"] == [run] for one in runs[:6])


# What an alias meant


@pytest.fixture
def moved(art):
    """The moments at which production became v0, then v1, then nothing."""
    assert art("promote", "model:v1", "production", "--reason", "better")[0] == 0
    assert art("alias", "rm", "model:production", "--reason", "withdrawn")[0] == 0
    events = json.loads(art("history", "model:production", "--json")[1])["events"]
    return [parse_time(one["time"]) for one in events]


def at(moment):
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")


def test_history_says_what_an_alias_meant_at_a_time_who_put_it_there_and_until_when(art, moved):
    first, second, third = moved
    code, out, err = art("history", f"model:production@{at(first)}")
    pairs = dict(line.split("\t") for line in out.splitlines()[1:])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"p/model:production\tv0 at {at(first)[:19]}Z"
    assert pairs["meant"] == "v0"
    assert (pairs["since"], pairs["until"], pairs["then"]) == (at(first), at(second), "v1")
    assert (pairs["why"], pairs["then why"]) == ("good \\x1b[31menough", "better")
    later = art("history", f"model:production@{at(second)}", terminal=True)[1]
    assert [line.split()[0] for line in later.splitlines()[1:]] == [
        *("meant", "since", "by", "why", "before", "until", "then", "then", "then"),
    ]
    code, out, _ = art("history", f"model:production@{at(third)}")
    assert code == 1
    assert out.splitlines()[1:3] == ["meant\tnothing", f"since\t{at(third)}"]
    assert out.splitlines()[-1] == "until\tnow"


def test_before_it_was_first_given_an_alias_meant_nothing(art, moved):
    code, out, _ = art("history", "model:production@2020-01-01")
    assert code == 1
    assert out.splitlines()[:3] == [
        "p/model:production\tnothing at 2020-01-01T23:59:59Z",
        "meant\tnothing",
        f"until\t{at(moved[0])}",
    ]
    assert art("history", "model:never@2020-01-01")[0] == 3
    assert art("history", "model:production@yesterday")[0] == 2


def test_a_time_may_have_a_zone_and_without_an_alias_latest_is_meant(art, moved):
    there = (datetime.fromisoformat(at(moved[0])) + timedelta(hours=2)).isoformat().replace("+00:00", "+02:00")
    assert art("history", f"model:production@{there}")[1] == art("history", f"model:production@{at(moved[0])}")[1]
    document = json.loads(art("history", f"model@{at(moved[0])}", "--json")[1])
    assert (document["alias"], document["version"], document["until"]) == ("latest", "v1", None)


def test_show_says_what_the_alias_meant_then_beside_what_the_version_is_now(art, moved):
    code, out, _ = art("show", f"model:production@{at(moved[0])}")
    assert code == 0
    assert out.splitlines()[0].startswith("p/model:v0\t")
    name, then = out.splitlines()[1].split("\t")
    assert name == "production then"
    assert then.startswith(f"v0 at {at(moved[0])}, since {at(moved[0])} by ")
    assert then.endswith(f", until {at(moved[1])}")
    assert json.loads(art("show", f"model:production@{at(moved[0])}", "--json")[1])["then"]["version"] == "v0"
    assert "then" not in json.loads(art("show", "model:v0", "--json")[1])


def test_a_version_that_was_deleted_since_is_said_to_be(art, moved):
    with lineart.open() as store:
        store.artifact("model:v0").delete(force=True)
        held = store.alias_at(f"model:production@{at(moved[0])}")
    assert (held.version.name, held.version.state) == ("model:v0", "deleted")
    assert "meant\tv0 (by now deleted)" in art("history", f"model:production@{at(moved[0])}")[1]
    with lineart.open() as store, pytest.raises(lineart.store.InvalidInput, match="has no time"):
        store.alias_at("model:production")
