"""`art rm`, `art restore` and `art gc`: what they say, ask, and refuse."""

import json
import os
import re
from datetime import date, timedelta

import lineart

NOW = 4_000_000_000_000_000


def packs(folder):
    return [one for one in (folder / "store").rglob("*") if re.fullmatch("[0-9a-f]{32}", one.name)]


def test_rm_leaves_a_tombstone_that_restore_brings_back(art):
    assert art("rm", "model:v1", "--yes", "--reason", "wrong") == (0, "default/model:v1\tdeleted\n", "")
    code, _, err = art("get", "model:v1")
    assert code == 3
    told = r'art: default/model:v1 is deleted \(\S+@\S+, [-0-9: ]{16} UTC: "wrong"\); `art restore default/model:v1`'
    assert re.match(told, err)
    assert art("files", "model:v1")[0] == 3
    assert art("ls", "model")[1].count("\n") == 1
    assert art("ls", "model", "--all")[1].count("\n") == 2
    assert art("show", "model:v1")[0] == 0
    assert art("restore", "model:v1", "--reason", "right") == (0, "default/model:v1\tlive\n", "")
    said = art("history", "model:v1")[1]
    assert ["v1 deleted", "wrong"] in [line.split("\t")[1::2] for line in said.splitlines()]
    assert ["v1 restored", "right"] in [line.split("\t")[1::2] for line in said.splitlines()]


def test_rm_asks_on_a_terminal_and_does_nothing_unless_told_so(art):
    assert art("rm", "model:v1", answer=False, terminal=True)[0] == 1
    assert art.asked == ["delete default/model:v1, 4.9 KiB?"]
    code, out, _ = art("rm", "model:v1", answer=True, terminal=True)
    assert (code, out.splitlines()[0]) == (0, "default/model:v1  deleted")
    assert "art restore default/model:v1" in out


def test_what_takes_away_is_refused_where_nobody_can_be_asked(art, tmp_path):
    for command in (["rm", "model:v1"], ["gc"]):
        code, out, err = art(*command)
        assert (code, out) == (2, "")
        assert "--yes" in err
    assert len(packs(tmp_path)) == 4


def test_rm_says_what_needs_a_version(art):
    code, _, err = art("rm", "model:v0", "--yes")
    assert (code, err) == (
        4,
        "art: default/model:v0 is needed: it is best; --force deletes it all the same\n",
    )
    code, _, err = art("rm", "model:v0", "model:v1", "--force", "--yes")
    assert (code, err) == (0, "art: default/model:v0 is needed: it is best\n")
    assert art("get", "model:best")[0] == art("get", "model")[0] == 3


def test_rm_wants_to_be_told_which_version(art):
    code, out, err = art("rm", "model", "--yes")
    assert (code, out) == (2, "")
    assert err == "art: model is a collection: name the version to delete; the latest is model:v1\n"
    assert art("get", "model")[0] == 0


def test_rm_takes_whole_versions_of_this_project(art):
    assert art("rm", "model:v1/w", "--yes")[0] == 2
    assert art("rm", "model:v1", "--yes", "--project", "other")[0] == 3


def test_gc_says_first_what_it_will_do_and_then_does_it(art, tmp_path):
    art("rm", "model:v1", "--yes")
    assert art("gc", answer=True, terminal=True)[1].splitlines()[0].split("  ")[0] == "freed"
    assert art.asked == []  # nothing to free: it is in its grace
    assert art("gc", "--grace", "0", answer=False, terminal=True)[0] == 1
    assert len(art.asked) == 1
    assert re.fullmatch(r"free [\d.]+ (B|KiB), and give up default/model:v1 for good\?", art.asked[0])
    assert len(packs(tmp_path)) == 4
    said = json.loads(art("gc", "--grace", "0", "--dry-run", "--json")[1])
    assert (said["dry_run"], said["purged"], said["freed"]["packs"]) == (True, ["default/model:v1"], 2)
    assert len(packs(tmp_path)) == 4
    done = json.loads(art("gc", "--grace", "0", "--yes", "--json", "--reason", "room")[1])
    assert {**done, "dry_run": True} == said
    assert len(packs(tmp_path)) == 2
    code, _, err = art("restore", "model:v1")
    assert (code, "cannot be restored" in err) == (3, True)
    assert "room" in art("history", "model:v1")[1]


def test_gc_says_what_waits_for_its_grace_and_from_when_it_may_go(art):
    assert json.loads(art("gc", "--dry-run", "--json")[1])["in_grace"] == {
        "versions": 0,
        "size": 0,
        "first": None,
        "last": None,
        "in_use": 0,
    }
    assert "grace" not in art("gc", "--dry-run", terminal=True)[1]
    art("rm", "model:v0", "model:v1", "--force", "--yes")
    (gone,) = {json.loads(art("show", name, "--json")[1])["deleted"] for name in ("model:v0", "model:v1")}
    due = str(date.fromisoformat(gone[:10]) + timedelta(days=3))
    for command in (["--dry-run"], ["--yes"]):
        said = json.loads(art("gc", "--grace", "3", *command, "--json")[1])
        when = due + gone[10:]
        expected = {"versions": 2, "size": 10_000, "first": when, "last": when, "in_use": 0}
        assert (said["in_grace"], said["purged"]) == (expected, [])
        out = art("gc", "--grace", "3", *command, terminal=True)[1]
        assert re.search(r"deleted, in grace +2 versions, up to 9\.8 KiB\n", out)
        assert re.search(rf"may go from +{due} {gone[11:16]} UTC\n", out)
        assert "`art gc --grace 0` gives them up now, for good" in out
        rows = [line.split("\t") for line in art("gc", "--grace", "3", *command)[1].splitlines()]
        assert rows[-2:] == [["deleted, in grace", "10000"], ["may go from", when]]


def test_gc_says_so_where_a_writer_builds_on_what_it_would_give_up(art, tmp_path):
    art("rm", "model:v1", "--yes")
    with lineart.open(tmp_path / "store") as store:
        digest = bytes.fromhex(json.loads(art("show", "model:v1", "--json")[1])["digest"].partition(":")[2])
        with store.engine.session([digest]):
            said = json.loads(art("gc", "--grace", "0", "--yes", "--json")[1])
            out = art("gc", "--grace", "0", "--dry-run", terminal=True)[1]
    assert (said["purged"], said["in_grace"]["versions"], said["in_grace"]["in_use"]) == ([], 0, 1)
    assert re.search(r"deleted, in use +1 version, on which a writer builds\n", out)


def test_gc_looks_once_for_what_it_says_and_does(art, tmp_path, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *more, **how: opened.append(str(path)) or real(path, *more, **how))

    def pages(*arguments, **how):
        opened.clear()
        assert art("gc", "--grace", "0", *arguments, **how)[0] == 0
        return sum("/meta/" in one for one in opened)

    for number in range(8):
        (tmp_path / "w").write_text(f"{number}")
        assert art("log", "w", "model")[0] == 0
    before = len(packs(tmp_path))
    art("rm", "model:v1", "--yes")
    looked = pages("--dry-run")
    assert looked >= 9
    assert pages(answer=True, terminal=True) < 1.5 * looked
    assert len(packs(tmp_path)) == before - 2


def test_gc_prints_bytes_in_a_pipe(art):
    code, out, _ = art("gc", "--yes")
    rows = dict(line.split("\t") for line in out.splitlines())
    assert (code, rows["freed"], rows["repacked"], rows["versions gone for good"]) == (0, "0", "0", "0")
    assert int(rows["kept"]) > 0


def test_restore_says_which_aliases_went_and_how_each_comes_back(art):
    art("promote", "model:v0", "production")
    art("rm", "model:v0", "--force", "--yes")
    art("promote", "model:v1", "production")
    code, out, err = art("restore", "model:v0")
    assert (code, out) == (0, "default/model:v0\tlive\n")
    assert err.splitlines() == [
        (
            "art: best meant model:v0 when it was deleted, and means nothing now; "
            "`art promote default/model:v0 best --expect none` moves it back"
        ),
        (
            "art: production meant model:v0 when it was deleted, and means v1 now; "
            "`art promote default/model:v0 production --expect v1` moves it back"
        ),
    ]
    for line in err.splitlines():
        assert art(*line.split("`")[1].split()[1:])[0] == 0
    assert json.loads(art("show", "model:v0", "--json")[1])["aliases"] == ["best", "production"]
    assert art("restore", "model:v0")[2] == ""  # it was not deleted


def test_restore_puts_them_into_its_document(art):
    art("rm", "model:v0", "--force", "--yes", "--reason", "wrong labels")
    (version,) = json.loads(art("restore", "model:v0", "--json")[1])["versions"]
    assert (version["state"], version["aliases_taken"]) == ("live", {"best": None})


def test_an_alias_that_was_taken_by_hand_before_is_not_offered(art):
    art("alias", "rm", "model:best")
    art("rm", "model:v0", "--yes")
    assert art("restore", "model:v0")[2] == ""


def test_each_version_of_one_deletion_gets_its_own_back(art):
    art("promote", "model:v1", "production")
    art("rm", "model:v0", "model:v1", "--force", "--yes", "--reason", "both")
    assert "production" in art("restore", "model:v1")[2]
    assert [line.split()[1] for line in art("restore", "model:v0")[2].splitlines()] == ["best"]


def test_only_the_last_deletion_counts(art):
    art("rm", "model:v0", "--force", "--yes")
    art("restore", "model:v0")
    art("rm", "model:v0", "--yes")
    assert art("restore", "model:v0")[2] == ""
