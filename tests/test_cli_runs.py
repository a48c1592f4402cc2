"""`art runs ID`: what is said of one run, for people and for programs, and the texts that it kept."""

from __future__ import annotations

import json
import subprocess

import pytest

import lineart
from lineart.cli import execute
from lineart.display import Screen
from lineart.lineage.capture import Capture, Captured, Collected
from lineart.lineage.run import start_run

PATCH = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\x1b[31m\tone\n+two \xff\n"
GIT = {"root": "/w", "commit": "a1b2c3d4" * 5, "branch": "main", "remote": "https://host/x.git", "dirty": True}
CODE = {"command": ["python", "train.py", "--out", "a b"], "directory": "/w", "git": {**GIT, "untracked": ["new.py"]}}
ENVIRONMENT = {"host": "gpu07", "platform": "Linux", "python": "3.12.1", "implementation": "CPython"}


def draft(name, text):
    made = lineart.Artifact(name)
    made.add_bytes(text, "f")
    return made


def remembering(facts):
    return Capture(lambda: facts, lambda _: Collected(None, b""))


@pytest.fixture
def store(art_here, tmp_path):
    with lineart.create(tmp_path / "store", project="p") as made:
        yield made


@pytest.fixture
def art(art_here, monkeypatch):
    monkeypatch.setenv("LINEART_PROJECT", "p")
    return art_here


@pytest.fixture
def run(store):
    """A run that used two versions and made one, of which all is recorded; in another, and with one in it."""
    for name in ("raw", "words"):
        store.log(draft(name, name.encode()))
    store.promote("raw:v0", "clean")

    def begun(code, texts=None, **words):
        return start_run(store, "p", capture=remembering(Captured(code, ENVIRONMENT, texts or {})), **words)

    outer = begun({}, name="sweep")
    texts = {"code.diff": PATCH, "environment.packages": b"numpy==2.1.0\n--index-url=http://evil\n"}
    config = {"lr": 0.1, "tower": {"a": [1]}, "long": "x" * 1000}
    words = {"name": "cosine", "job_type": "train", "tags": ["a b", "gold"], "notes": "one\ntwo", "config": config}
    with begun({**CODE, "parent": outer.id}, texts, **words) as made:
        made.use_artifact("raw:clean")
        made.use_artifact("words:v0")
        made.summary["acc"] = 0.97
        made.log_artifact(draft("model", b"m"), aliases=["best"])
    with begun({"parent": made.id}, name="inner"):
        pass
    outer.finish()
    return made.id


def rows(text):
    found = {}
    for line in text.splitlines():
        name, *rest = line.split("\t")
        found.setdefault(name, []).append(rest[0])
    return found


def test_all_that_is_known_of_a_run_is_said_to_programs(art, run):
    code, out, err = art("runs", run)
    assert (code, err) == (0, "")
    found = rows(out)
    assert found.pop(f"p/{run}") == ['"cosine" · train · finished']
    assert found["command"] == ["python train.py --out 'a b'"]
    assert found["commit"] == [GIT["commit"]]
    assert (found["used"], found["made"]) == (["p/raw:v0", "p/words:v0"], ["p/model:v0"])
    assert json.loads(found["config"][0])["tower"] == {"a": [1]}
    assert json.loads(found["summary"][0]) == {"acc": 0.97}
    assert found["tags"] == ["a b", "gold"]
    assert found["notes"] == ["one\\x0atwo"]
    assert found["started"][0].endswith("Z")
    assert float(found["took"][0]) >= 0
    assert {"by", "on", "directory", "remote", "python", "packages", "uncommitted", "untracked", "ended"} < {*found}


def test_people_see_it_on_a_screen(art, run):
    out = art("runs", f"run:{run[:5]}", terminal=True)[1]
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f'p/{run} "cosine" · train · finished'
    assert "commit a1b2c3d4a1b2 on main" in lines
    assert "used raw:v0 3 B · asked for as clean · now clean" in lines
    assert "words:v0 5 B" in lines
    assert "made model:v0 1 B · now best" in lines
    assert f"uncommitted a diff; `art runs {run} --diff` prints it" in lines
    assert "lr = 0.1" in lines
    assert 'tower = {"a": [1]}' in lines
    assert any("(1,000 characters; --json for all)" in line for line in lines)
    assert lines[lines.index("notes one") + 1] == "two"
    assert any(line.startswith("began in r") and line.endswith('"sweep", finished') for line in lines)
    assert any(line.startswith("children r") and line.endswith('"inner", finished') for line in lines)


def test_the_document_has_all_of_it(art, run):
    found = json.loads(art("runs", run, "--json")[1])
    assert found["schema"] == 1
    assert [(one["ref"], one["asked_as"]) for one in found["inputs"]] == [("p/raw:v0", ["clean"]), ("p/words:v0", [])]
    assert [(one["ref"], one["aliases"]) for one in found["outputs"]] == [("p/model:v0", ["best", "latest"])]
    assert (found["parent"]["name"], [one["name"] for one in found["children"]]) == ("sweep", ["inner"])
    assert (found["commit"], found["uncommitted"], found["reason"]) == (GIT["commit"], True, None)
    assert found["config"]["long"] == "x" * 1000
    assert found["code"]["command"] == CODE["command"]


def test_the_diff_comes_byte_for_byte_in_a_pipe_and_harmless_on_a_terminal(art, run, tmp_path):
    with open(tmp_path / "out", "w+", encoding="utf-8") as out:
        assert execute(["runs", run, "--diff"], Screen(out, out, 0)) == 0
    assert (tmp_path / "out").read_bytes() == PATCH
    shown = art("runs", run, "--diff", terminal=True)[1]
    assert "\x1b" not in shown
    assert "+two \\xff" in shown


def test_the_packages_are_safe_to_install_from(art, run):
    assert art("runs", run, "--packages")[1] == "numpy==2.1.0\n# --index-url=http://evil\n"


def test_a_run_without_a_diff_says_whether_there_was_one(art, store):
    with start_run(store, "p", capture=Capture.none(Captured({"git": {**GIT, "dirty": False}}))) as clean:
        pass
    with start_run(store, "p", capture=Capture.none()) as unknown:
        pass
    assert art("runs", clean.id, "--diff") == (0, "", f"art: run {clean.id} had nothing that was not committed\n")
    assert "uncommitted\tnothing\n" in art("runs", clean.id)[1]
    code, out, err = art("runs", unknown.id, "--diff")
    assert (code, out, "recorded no changes" in err) == (3, "", True)


def test_a_diff_that_was_cut_says_so(art, store):
    facts = Captured({"git": GIT, "diff_cut": 20}, {}, {"code.diff": b"diff --git a/x b/x\n+"})
    with start_run(store, "p", capture=remembering(facts)) as made:
        pass
    assert f"these are its first {20} bytes" in art("runs", made.id, "--diff")[2]
    assert f"of which the first {20} B were kept" in art("runs", made.id, terminal=True)[1].replace("\n", " ")


def test_a_failure_says_why(art, store):
    with pytest.raises(ValueError, match="no"), start_run(store, "p", capture=Capture.none()) as made:
        raise ValueError("no\x1b[2J such\nlayer")
    out = art("runs", made.id, terminal=True)[1]
    assert "state    failed, exit code 1" in out
    assert "\x1b[2J" not in out
    assert rows(art("runs", made.id)[1])["because"] == ["ValueError: no\\x1b[2J such\\x0alayer"]


def test_a_run_that_still_runs_says_how_long(art, store):
    made = start_run(store, "p", capture=Capture.none())
    found = rows(art("runs", made.id)[1])
    assert found["state"] == ["running"]
    assert {"so far", "last seen"} < {*found}
    assert "ended" not in found
    made.finish()


def test_many_inputs_are_counted_for_people_and_listed_for_programs(art, store):
    with start_run(store, "p", capture=Capture.none()) as made:
        for number in range(45):
            store.log(draft("raw", b"%d" % number))
            made.use_artifact(f"raw:v{number}")
    assert "5 more (--json for all)" in art("runs", made.id, terminal=True)[1]
    assert len(rows(art("runs", made.id)[1])["used"]) == 45


def test_what_goes_together_and_what_does_not(art, store):
    with start_run(store, "p", capture=Capture.none()) as made:
        pass
    for arguments in (
        ["--diff"],
        ["--packages"],
        [made.id, "-n", "2"],
        [made.id, "--all"],
        [made.id, "--diff", "--json"],
    ):
        assert art("runs", *arguments)[0] == 2
    assert art("runs", "r-nobody")[0] == 3


def test_in_code_it_is_the_same(store, run):
    found = store.run(run[:6])
    assert (found.record.id, found.record.config["lr"]) == (run, 0.1)
    assert [one.version.ref for one in found.made] == ["p/model:v0"]


def test_the_diff_of_a_real_repository_applies_again(art, store, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    git = ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@b"]
    (work / "x").write_text("one\n")
    for arguments in (["init", "-q"], ["add", "x"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True)
    (work / "x").write_text("two\n")
    monkeypatch.chdir(work)
    with start_run(store, "p") as made:
        pass
    patch = art("runs", made.id, "--diff")[1]
    (work / "x").write_text("one\n")
    subprocess.run([*git, "apply"], input=patch.encode(), check=True)
    assert (work / "x").read_text() == "two\n"


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        ({"command": "x", "git": "y", "directory": 7, "note": []}, {"host": [1], "packages": 3, "python": {}}),
        ({"command": [1, None], "git": {"commit": 5, "branch": {}, "untracked": 3, "dirty": "x"}}, {"patience": "x"}),
        (
            {
                "git": {"commit": "c" * 40, "branch": ["m"], "untracked": [None], "note": "a\nb"},
                "diff": 1,
                "diff_cut": "x",
            },
            {},
        ),
    ],
)
def test_what_another_tool_wrote_into_a_run_is_shown_as_far_as_it_can_be(art, store, code, environment):
    run = store.ledger.start("p", captured=Captured(code, environment))
    for terminal in (True, False):
        assert art("runs", run.id, terminal=terminal)[0] == 0
    for option in ("--diff", "--packages"):
        assert art("runs", run.id, option)[0] in {0, 3}


def test_hostile_words_move_no_cursor(art, store):
    word = "'\"<script>\u202e\x1b[2J\n" + "x" * 10_000
    run = store.ledger.start("p", name=word, job_type=word, notes=word, config={word: word}).id
    out = art("runs", run, terminal=True)[1]
    assert "\x1b[2J" not in out
    assert "\u202e" not in out
    assert json.loads(art("runs", run, "--json")[1])["name"] == word


@pytest.mark.parametrize("command", ["show", "get", "files", "diff", "why"])
def test_a_run_in_the_place_of_a_version_is_pointed_to_its_own_command(art, run, command):
    for given in (run, f"run:{run}", run[:6]):
        code, out, err = art(command, given)
        assert (code, out) == (3, "")
        assert err.endswith(f"; {given} is a run: `art runs {run}` describes it\n")
        assert len(err.splitlines()) == 1


def test_no_run_is_pointed_to_that_was_not_meant(art, run):
    for given in ("nothing", run[:2], f"{run}:v0/path", "run:nobody", "p/nothing", "no@2026-01-01"):
        code, _, err = art("show", given)
        assert (code, "is a run" in err) == (3, False), given


def test_a_repetition_is_told_from_the_run_that_it_repeats(art, store, run):
    with begun(store, {"again": [run, "rgone"]}) as again:
        again.log_artifact(draft("model", b"again"))
    begun(store, {"again": "no list"}).end(0)
    heading, *lines = art("runs", terminal=True)[1].splitlines()
    assert heading.split()[-1] == "REPEATS"
    assert [line for line in lines if line.endswith(f"{run} rgone")] == [line for line in lines if again.id in line]
    columns = {line.split("\t")[0]: line.split("\t")[10] for line in art("runs")[1].splitlines()}
    assert (columns[again.id], columns[run]) == (f"{run} rgone", "")
    listed = {one["id"]: one["repeats"] for one in json.loads(art("runs", "--json")[1])["runs"]}
    assert (listed[again.id], listed[run]) == ([{"id": run}, {"id": "rgone"}], [])
    assert set(columns.values()) == {"", f"{run} rgone"}
    assert f", repeats {run} rgone" in art("show", "model:v1")[1]
    assert "REPEATS" not in art("runs", "--limit", "1", terminal=True)[1]


def begun(store, code):
    return start_run(store, "p", capture=remembering(Captured(code, ENVIRONMENT)))
