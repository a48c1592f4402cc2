"""`art diff` and `art why`: what they print on a terminal, in a pipe and as JSON, and their exit codes."""

from __future__ import annotations

import doctest
import io
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

import lineart
import lineart.commands.differences as differences_module
from lineart.artifacts.comparison import Comparison, Tally, What, aspects, compare_versions, fold_deltas
from lineart.artifacts.content import Content
from lineart.artifacts.entry import EXTERNAL, FILE, Entry, External
from lineart.artifacts.manifest import Manifest, build
from lineart.commands.differences import Found, path_of, print_differences
from lineart.display import Screen
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run

COUNTED = "1 added (6 B), 1 removed (6 B), 1 changed (1000 B → 1001 B), 1 renamed (5 B)"
HOSTILE = 'x\n\x1b[2J\u202e"<script>\t'


def draft(name, files, **about):
    made = lineart.Artifact(name, **about)
    for path, content in files.items():
        made.add_bytes(content, path)
    return made


@pytest.fixture
def art(art_here, tmp_path, monkeypatch):
    """model:v0 and model:v1, made from raw data that differs by runs of other seeds."""
    monkeypatch.setenv("LINEART_PROJECT", "p")
    with lineart.create(tmp_path / "store", project="p") as store:
        for number in range(2):
            days = {f"day{day}": b"day %d" % day for day in range(2 + number)}
            store.log(draft("raw", days, type="raw"))
            config = {"seed": 7 + number, "opt": {"lr": 0.1}}
            with start_run(store, "p", job_type="train", config=config, capture=Capture.none()) as run:
                run.use_artifact(f"raw:v{number}")
                files = {
                    "gone" if number == 0 else "come": b"only %d" % number,
                    "old/name" if number == 0 else "new/name": b"moved",
                    "same": b"same",
                    "w": b"w" * (1000 + number),
                }
                about = {"metadata": {"acc": 0.9 - 0.1 * number}, "description": f"number {number}"}
                run.log_artifact(draft("model", files, **about))
    return art_here


@pytest.mark.parametrize("given", ["a folder/", "there", "./there"])
def test_a_folder_in_the_place_of_a_version_is_pointed_to_the_status_of_folders(art, tmp_path, given):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "there").mkdir()
    quoted = shlex.quote(given)
    for command in ("diff", "why"):
        for pair in (["model:v0", given], [given, "model:v0"]):
            code, out, err = art(command, *pair)
            assert (code in {2, 3}, out) == (True, "")
            assert err.endswith(
                f"; {given} is a folder: `art status {quoted} --against model:v0` tells what changed in it\n"
            )
    code, _, err = art("diff", given)
    assert err.endswith(f"; {given} is a folder: `art status {quoted}` tells what changed in it\n")


def test_a_collection_is_meant_before_a_folder_of_its_name(art, tmp_path):
    (tmp_path / "model").mkdir()
    assert art("diff", "model:v0", "model")[0] == 0
    assert art("diff", "there", "nowhere")[2].count("is a folder") == 0
    (tmp_path / "there").mkdir()
    assert "`art status there` tells" in art("diff", "there", "there")[2]


def rows(out):
    return [line.split("\t") for line in out.splitlines()]


# art diff


def test_a_pipe_gets_a_row_for_everything_that_differs(art):
    code, out, err = art("diff", "model:v0", "model:v1")
    assert (code, err) == (0, "")
    found = {(row[0], row[1]): row[2:] for row in rows(out)}
    assert list(found) == [
        ("added", "come"),
        ("removed", "gone"),
        ("renamed", "new/name"),
        ("changed", "w"),
        ("metadata", "acc"),
        ("description", "description"),
    ]
    assert found["renamed", "new/name"][:3] == ["old/name", "5", "5"]
    assert found["changed", "w"][1:3] == ["1000", "1001"]
    assert found["added", "come"][:3] == ["", "", "6"]
    assert found["removed", "gone"][1:3] == ["6", ""]
    assert found["metadata", "acc"] == ["0.9", "0.8"]
    assert found["description", "description"] == ['"number 0"', '"number 1"']


def test_a_terminal_shows_marks_and_a_count(art):
    code, out, _ = art("diff", "model:v0", "model:v1", terminal=True)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        "p/model:v0 → p/model:v1",
        "+ come 6 B",
        "- gone 6 B",
        "→ old/name → new/name 5 B",
        "~ w 1000 B → 1001 B",
        "metadata acc 0.9 → 0.8",
        "description number 0 → number 1",
        f"{COUNTED}; 1 value of metadata; the description",
    ]


def test_json_has_the_counts_and_every_path(art):
    code, out, _ = art("diff", "model:v0", "model:v1", "--json")
    found = json.loads(out)
    assert (code, found["schema"], found["same"], found["renames_sought"]) == (0, 1, False, True)
    assert (found["old"], found["new"]) == ("p/model:v0", "p/model:v1")
    assert found["changed"] == {"paths": 1, "old_size": 1000, "new_size": 1001}
    assert found["metadata"] == [{"key": "acc", "old": 0.9, "new": 0.8}]
    assert found["description"]["old"] == "number 0"
    assert [(one["what"], one["path"]) for one in found["paths"]] == [
        ("added", "come"),
        ("removed", "gone"),
        ("renamed", "new/name"),
        ("changed", "w"),
    ]
    assert found["paths"][2]["old"]["path"] == "old/name"
    assert found["paths"][0]["old"] is None


def test_stat_counts_and_shows_no_path(art):
    _, out, _ = art("diff", "model:v0", "model:v1", "--stat")
    assert rows(out) == [
        ["added", "1", "0", "6"],
        ["removed", "1", "6", "0"],
        ["changed", "1", "1000", "1001"],
        ["renamed", "1", "5", "5"],
        ["metadata", "1"],
        ["description", "1"],
    ]
    assert "come" not in art("diff", "model:v0", "model:v1", "--stat", terminal=True)[1]
    assert "paths" not in json.loads(art("diff", "model:v0", "model:v1", "--stat", "--json")[1])


@pytest.mark.parametrize("form", [[], ["--stat"], ["--json"]])
def test_exit_code_says_whether_anything_differs(art, form):
    assert art("diff", "model:v0", "model:v1", "--exit-code", *form)[0] == 1
    assert art("diff", "model:v0", "model:v0", "--exit-code", *form)[0] == 0
    assert art("diff", "model:v0", "model:v1", *form)[0] == 0


def test_metadata_alone_is_a_difference(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        again = draft("again", {"f": b"1"}, metadata={"a": {"b.c": [1]}})
        store.log(again)
        store.log(draft("other", {"f": b"1"}))
    code, out, _ = art("diff", "again", "other", "--exit-code")
    assert (code, rows(out)) == (1, [["metadata", 'a."b.c"', "[1]", ""]])


def test_one_ref_is_compared_with_the_version_before_it(art):
    code, out, err = art("diff", "model", "--json")
    assert (json.loads(out)["old"], code) == ("p/model:v0", 0)
    assert err == "art: p/model:v1 is compared with p/model:v0, the version before it\n"
    code, out, err = art("diff", "model:v0")
    assert (code, out) == (3, "")
    assert "no version before p/model:v0" in err


def test_versions_of_different_collections_are_compared(art):
    assert {row[0] for row in rows(art("diff", "raw", "model")[1])} == {"added", "removed", "metadata", "description"}


def test_a_prefix_is_a_file_or_a_folder_and_leaves_metadata_out(art):
    assert [row[:2] for row in rows(art("diff", "model:v0", "model:v1", "--prefix", "w")[1])] == [["changed", "w"]]
    assert [row[:2] for row in rows(art("diff", "model:v0", "model:v1", "--prefix", "new")[1])] == [
        ["added", "new/name"]
    ]
    assert art("diff", "model:v0", "model:v1", "--prefix", "same", "--exit-code")[:2] == (0, "")
    assert "same is the same in both" in art("diff", "model:v0", "model:v1", "--prefix", "same", terminal=True)[1]
    assert art("diff", "model:v0", "model:v1", "--prefix", "sa")[0] == 3
    assert art("diff", "model:v0", "model:v1", "--prefix", "../x")[0] == 2


def test_deleted_versions_are_compared_while_their_bytes_are_there(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        store.artifact("model:v0").delete(force=True)
    assert len(rows(art("diff", "model:v0", "model:v1")[1])) == 6
    with lineart.open(tmp_path / "store", project="p") as store:
        store.engine.database.write(
            lambda tx: tx.connection.exec_driver_sql("UPDATE version SET state = 'purged' WHERE state = 'deleted'")
        )
    code, out, err = art("diff", "model:v0", "model:v1")
    assert (code, out) == (3, "")
    assert "p/model:v0 was deleted and its bytes are gone" in err


def test_what_means_nothing_is_not_found(art):
    assert art("diff", "nowhere", "model")[0] == 3
    assert art("why", "model", "nowhere")[0] == 3
    assert art("diff", "model:v0", "a:b:c")[0] == 2
    code, _, err = art("diff", "model:v0/w", "model:v1")
    assert code == 2
    assert "--prefix" in err


def test_many_like_changes_in_a_folder_are_one_line_and_all_shows_them(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        store.log(draft("many", {"keep": b"1"}))
        files = {f"a/{number:03}": b"%d" % number for number in range(60)} | {"b/x": b"x", "keep": b"1"}
        store.log(draft("many", files))
    _, out, _ = art("diff", "many", terminal=True)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1:] == ["+ a/ 60 paths, 110 B", "+ b/x 1 B", "61 added (111 B)"]
    assert art("diff", "many", "--all", terminal=True)[1].count("+ a/") == 60
    assert art("diff", "many")[1].count("added\ta/") == 60


def test_among_very_many_it_is_said_that_renames_were_not_sought(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        ends = store.resolve("model:v0"), store.resolve("model:v1")
        found = Found(*ends, compare_versions(store.engine.chunks, *ends, hold=2))
        for everything in (False, True):
            screen = Screen(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO(), 0, terminal=True)
            print_differences(screen, found, everything=everything)
            screen.out.flush()
            said = screen.out.buffer.getvalue().decode()
            assert "2 added (11 B), 2 removed (11 B), 1 changed" in said
            assert "renamed paths were not sought among so many" in said


def test_what_finds_no_room_on_a_terminal_is_counted(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        store.log(draft("wide", {"keep": b"1"}))
        store.log(draft("wide", {f"d{number:03}/f": b"12" for number in range(70)} | {"keep": b"1"}))
    _, out, _ = art("diff", "wide", terminal=True)
    assert out.count("+ d") == 40
    assert "and 30 added (60 B) elsewhere; `--all`" in out
    assert out.endswith("70 added (140 B)\n")


def test_labels_of_any_kind_stay_on_their_line(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        for number in range(2):
            with start_run(store, "p", config={HOSTILE: number}, capture=Capture.none()) as run:
                run.use_artifact("raw:v0")
                run.log_artifact(draft("odd", {f"f{HOSTILE}{number}": b"%d" % number}, metadata={HOSTILE: number}))
    for terminal in (False, True):
        for command in (["diff", "odd"], ["why", "odd"], ["why", "odd", "--patch", "--all"]):
            code, out, _ = art(*command, terminal=terminal)
            assert code == 0
            assert not {"\x1b", "\u202e"} & set(out)
            assert all(len(row) in {4, 6, 11} for row in rows(out)) or terminal
    json.loads(art("diff", "odd", "--json")[1])
    json.loads(art("why", "odd", "--json")[1])


def test_output_that_is_not_utf8_has_its_marks_in_ascii(art, tmp_path):
    from lineart.cli import execute

    for command in ("diff", "why"):
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
        assert execute([command, "model:v0", "model:v1"], Screen(out, io.StringIO(), 0, terminal=True)) == 0
        out.flush()
        assert "->" in out.buffer.getvalue().decode("ascii")


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(art, tmp_path):
    command = f"{sys.executable} -m lineart diff model:v0 model:v1 | true"
    done = subprocess.run(["bash", "-c", command], env={**os.environ}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Comparing


class Held:
    """A content whose pages are in memory; counts those that are read."""

    def __init__(self, entries):
        self.pages, self.read = {}, 0
        self.manifest = Manifest(build(entries, self.pages.__setitem__).digest, self._get)

    def _get(self, digests):
        self.read += len(digests)
        return {one: self.pages[one] for one in digests}


def entry(path, content=b"x", size=1):
    return Entry(path, FILE, size, content.ljust(32, b"\0"))


def test_of_more_than_are_held_all_are_told_and_renames_are_not_sought():
    old = Held([entry(f"a/{number:04}", b"%d" % number) for number in range(500)])
    new = Held([entry(f"b/{number:04}", b"%d" % number) for number in range(500)])
    few = Comparison(old, new)
    assert (few.complete, few.tally.counts[What.RENAMED].paths, few.tally.paths) == (True, 500, 500)
    many = Comparison(old, new, hold=99)
    assert not many.complete
    assert many.tally.counts[What.REMOVED].paths == many.tally.counts[What.ADDED].paths == 500
    assert len(list(many)) == len(list(many)) == 1000
    assert many.glimpse.paths == 100
    assert bool(many)


def test_a_prefix_ends_at_a_whole_part():
    old = Held([entry("a/x"), entry("ab")])
    new = Held([entry("a/x", b"1"), entry("a/y"), entry("ab", b"2"), entry("b/a")])
    assert [one.path for one in Comparison(old, new, "a")] == ["a/x", "a/y"]
    assert [one.path for one in Comparison(old, new, "ab")] == ["ab"]


def test_what_a_comparison_costs_is_what_differs():
    shared = [entry(f"d{number // 100:03}/{number:06}", b"%d" % number) for number in range(20_000)]
    other = list(shared)
    other[7777] = entry(other[7777].path, b"other")
    old, new = Held(shared), Held(other)
    assert [one.what for one in Comparison(old, new)] == [What.CHANGED]
    assert old.read + new.read < 12
    assert len(old.pages) > 30


def test_groups_hold_a_bounded_number_of_changes():
    old = Held([entry("a")])
    new = Held([entry("a"), *(entry(f"f{number // 50:02}/{number:04}", b"%d" % number) for number in range(1000))])
    groups, rest = fold_deltas(Comparison(old, new), few=3, most=5)
    assert [(one.folder, one.count.paths, len(one.deltas)) for one in groups] == [
        (f"f{number:02}", 50, 3) for number in range(5)
    ]
    assert rest.paths == 750
    assert Tally.of([]).paths == 0


def test_external_entries_say_where_they_are_and_what_changed():
    def external(path, etag, url="s3://b/k", digest=b"1"):
        return Entry(path, EXTERNAL, 5, digest.ljust(32, b"\0"), None, False, External(url, etag))

    old, new = external("e", "one"), external("e", "two", digest=b"2")
    assert aspects(old, new) == ["content", "etag one → two"]
    assert aspects(old, external("e", "one", "s3://c/k")) == ["url s3://b/k → s3://c/k"]
    assert aspects(old, entry("e")) == ["content", "now a file"]
    assert aspects(entry("e", b"1", 5), old) == ["now external"]
    assert aspects(old, external("e", None)) == ["etag one → none"]
    (delta,) = Comparison(Held([old]), Held([new]))
    assert path_of(delta) == "~ e"
    assert differences_module._line(delta)[1] == "5 B, etag one → two  s3://b/k"
    assert differences_module._row(delta)[7:] == ["s3://b/k", "s3://b/k", "one", "two"]
    assert differences_module._delta_json(delta)["new"]["etag"] == "two"


def test_artifact_diff_says_the_same(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        old, new = store.artifact("model:v0"), store.artifact("model:v1")
        found = new.diff(old)
        deltas = list(compare_versions(store.engine.chunks, store.resolve("model:v0"), store.resolve("model:v1")))
        assert isinstance(Content(store.resolve("model:v0").digest, store.engine.chunks), Content)
    told = {what: [one.path for one in deltas if one.what is what] for what in What}
    assert told[What.ADDED] == [one.path for one in found.added]
    assert told[What.REMOVED] == [one.path for one in found.removed]
    assert told[What.CHANGED] == [one.path for one in found.changed]
    assert told[What.RENAMED] == [one.new.path for one in found.renamed]


# art why


def test_why_begins_with_the_short_answer(art):
    code, out, err = art("why", "model:v0", "model:v1", terminal=True)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:5] == [
        "p/model:v0 → p/model:v1",
        "metadata: acc 0.9 → 0.8",
        "WHAT DIFFERENCE WHERE",
        "raw data 1 added (5 B) raw:v0 → v1",
        "config seed 7 → 8 train: model:v0 → v1",
    ]
    assert "+ day2" in lines
    assert "inputs raw:v0 → raw:v1" in lines


def test_why_in_a_pipe_is_a_row_for_each_fact(art):
    code, out, _ = art("why", "model")
    assert code == 0
    found = rows(out)
    assert all(len(row) == 6 for row in found)
    assert ["p/raw:v0", "p/raw:v1", "verdict", "raw", "", ""] in found
    assert ["p/model:v0", "p/model:v1", "config", "seed", "7", "8"] in found
    assert ["p/model:v0", "p/model:v1", "input", "followed", "p/raw:v0", "p/raw:v1"] in found
    assert ["p/model:v0", "p/model:v1", "metadata", "acc", "0.9", "0.8"] in found


def test_why_as_json_has_causes_and_pairs(art):
    found = json.loads(art("why", "model:v0", "model:v1", "--json")[1])
    assert (found["schema"], found["complete"], found["same_content"]) == (1, True, False)
    assert [(one["kind"], one["at"]) for one in found["causes"]] == [
        ("raw data", ["p/raw:v1"]),
        ("config", ["p/model:v1"]),
    ]
    assert found["causes"][1]["contrasts"] == [{"what": "config", "key": "seed", "old": 7, "new": 8}]
    assert [one["verdict"] for one in found["pairs"]] == ["raw", "runs"]
    assert found["pairs"][0]["files"]["added"] == {"paths": 1, "old_size": 0, "new_size": 5}


def test_a_depth_says_what_is_not_followed(art):
    _, out, _ = art("why", "model", "--depth", "0", terminal=True)
    assert "1 differing input not followed further back" in out
    assert "raw data" not in out
    assert art("why", "model", "--depth", "-1")[0] == 2


def test_equal_histories_exit_with_0_and_say_so(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        for number in range(2):
            with start_run(store, "p", job_type="train", capture=Capture.none()) as run:
                run.use_artifact("raw:v0")
                run.log_artifact(draft("dice", {"f": b"%d" % number}))
    code, out, _ = art("why", "dice", terminal=True)
    assert code == 0
    assert re.search(r"nothing recorded  nothing that was recorded differs, but .*the content does", out, re.DOTALL)
    assert art("why", "dice:v0", "dice:v0", terminal=True)[:2] == (
        0,
        "p/dice:v0 → p/dice:v0\nboth are one and the same version\n",
    )


def test_long_answers_are_cut_on_a_terminal_and_say_by_how_much(art, tmp_path):
    with lineart.open(tmp_path / "store", project="p") as store:
        for side in range(2):
            before = f"raw:v{side}"
            for step in range(30):
                config = {f"key{number}": side for number in range(20)} if step == 3 else {}
                with start_run(store, "p", config=config, capture=Capture.none(), interval=None) as run:
                    run.use_artifact(before)
                    run.log_artifact(draft(f"s{step}", {"f": b"%d %d" % (side, step)}))
                before = f"s{step}:v{side}"
    _, out, _ = art("why", "s29", terminal=True)
    assert "20 more pairs of versions compared; `--all` shows them" not in out
    assert "19 more pairs of versions compared; `--all` shows them" in out
    assert "16 more (--all)" in out
    _, whole, _ = art("why", "s29", "--all", terminal=True)
    assert "more (" not in whole
    assert whole.count("its inputs differ") == 29
    assert "s3:v0 → v1" in out


def test_patches_are_shown_line_by_line(art, tmp_path):
    from lineart.lineage.capture import Captured

    with lineart.open(tmp_path / "store", project="p") as store:
        for number in range(2):
            with start_run(store, "p", capture=Capture.none(), interval=None) as run:
                run.use_artifact("raw:v0")
                patch = b"diff --git a/t.py b/t.py\n@@ -1 +1 @@\n-lr = 1\n+lr = %d\n" % (number + 2)
                captured = Captured({"git": {"commit": "c" * 40, "dirty": True}}, {}, {"code.diff": patch})
                store.ledger.update(run.id, captured=captured)
                run.log_artifact(draft("tuned", {"f": b"%d" % number}))
    _, out, _ = art("why", "tuned", "--patch", terminal=True)
    assert "uncommitted  t.py" in out
    assert "  -+lr = 2\n  ++lr = 3\n" in out
    _, out, _ = art("why", "tuned", terminal=True)
    assert "lr = 2" not in out
    assert [row[3] for row in rows(art("why", "tuned", "--patch")[1]) if row[2] == "patch"] == ["t.py"]


def test_examples():
    assert doctest.testmod(differences_module).failed == 0
