"""`art check --journal` and `art repair database`: what they say of rows that no event accounts for."""

import json
import sqlite3

import pytest


@pytest.fixture
def edit(tmp_path):
    """Run SQL on the store's database behind its back."""

    def run(*statements):
        connection = sqlite3.connect(tmp_path / "store" / "lineart.db")
        with connection:
            for one in statements:
                connection.execute(one)
        connection.close()

    return run


MOVED = "UPDATE alias SET version = (SELECT max(id) FROM version) WHERE key = 'best'"


def test_a_clean_store_says_that_rows_were_compared(art):
    code, out, _ = art("check", "--journal", terminal=True)
    assert code == 0
    assert "every row: nothing is wrong" in out
    assert "every row" not in art("check", terminal=True)[1]
    assert json.loads(art("check", "--json")[1])["rows"] is None
    rows = json.loads(art("check", "--journal", "--json")[1])["rows"]
    assert (rows["wrong"], rows["more"], rows["tables"]) == ([], 0, {})
    assert rows["events"] > 3


def test_an_alias_that_was_moved_by_sql_is_found_and_moved_back(art, edit):
    edit(MOVED)
    assert art("check")[0] == 0
    code, out, err = art("check", "--journal")
    assert code == 5
    (row,) = [line.split("\t") for line in out.splitlines() if line.startswith("problem")]
    assert row[1] == "alias best of default/model"
    assert row[2].startswith("the database says v1, the journal says v0 (since ")
    assert "`art repair database` makes the database what the journal says" in err
    assert "repair index" not in err
    found = json.loads(art("check", "--journal", "--json")[1])["rows"]["wrong"][0]
    assert (found["table"], found["thing"]) == ("alias", "alias best of default/model")
    assert found["database"] == {"version": ["default", "model", 1]}
    assert found["journal"] == {"version": ["default", "model", 0]}
    assert found["since"].endswith("Z")
    assert "@" in found["actor"]
    code, out, _ = art("repair", "database", "--yes", terminal=True)
    assert code == 0
    assert "made 1 row what the journal says" in out
    assert art("check", "--journal")[0] == 0
    assert json.loads(art("repair", "database", "--yes", "--json")[1])["rows"] == 0


def test_a_dry_run_of_a_repair_says_what_would_change_and_changes_nothing(art, edit, tmp_path):
    edit(MOVED, "DELETE FROM tag", "INSERT INTO tag (version, name) VALUES (1, 'odd')")
    before = (tmp_path / "store" / "lineart.db").read_bytes()
    problem = next(one for one in art("check", "--journal")[1].splitlines() if "alias best" in one).split("\t")
    code, out, err = art("repair", "database", "--dry-run")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["would change", *problem[1:]]
    assert rows[1][:2] == ["would remove", "tag odd of default/model:v0"]
    assert rows[1][2] == "in the database and not in the journal"
    assert rows[2:] == [["would bring back 0 events, 0 packs, 0 chunks"], ["would make 2 rows what the journal says"]]
    shown = art("repair", "database", "-n", terminal=True)[1]
    assert f"would change: {problem[1]}: {problem[2]}" in shown
    assert "nothing was changed; this is what `art repair database` would do now" in shown
    assert (tmp_path / "store" / "lineart.db").read_bytes() == before
    assert art("check", "--journal")[0] == 5


def test_a_repair_says_what_it_changed(art, edit):
    edit(MOVED, "DELETE FROM tag", "INSERT INTO tag (version, name) VALUES (1, 'odd')")
    dry = json.loads(art("repair", "database", "--dry-run", "--json")[1])
    assert (dry["dry_run"], dry["rows"], dry["more"]) == (True, 2, 0)
    out = art("repair", "database", "--yes")[1].splitlines()
    assert out[0].startswith(
        "changed\talias best of default/model\tthe database said v1, the journal says v0 (since 20"
    )
    assert out[1] == "removed\ttag odd of default/model:v0\twas in the database and is not in the journal"
    assert out[-1] == "made 2 rows what the journal says"
    edit(MOVED, "INSERT INTO tag (version, name) VALUES (1, 'odd')")
    done = json.loads(art("repair", "database", "--yes", "--json")[1])
    assert done.pop("dry_run") is False
    assert [
        one.pop("what") == other.pop("what") for one, other in zip(dry["changes"], done["changes"], strict=True)
    ] == [
        False,
        False,
    ]
    del dry["dry_run"]
    assert done == dry
    assert art("check", "--journal")[0] == 0


def test_a_long_list_of_changes_says_what_it_leaves_out_and_how_to_see_it(art, edit):
    names = ", ".join(f"(1, 't{n:02}')" for n in range(23))
    edit(f"INSERT INTO tag (version, name) VALUES {names}")
    assert "`art repair database --dry-run --all` lists every one" in art("check", "--journal")[1]
    out = art("repair", "database", "--dry-run", terminal=True)[1]
    assert out.count("would remove: tag t") == 20
    assert "3 more rows (of each table: tag 23): `--all` lists them" in out
    assert art("repair", "database", "--dry-run", "--all")[1].count("would remove\ttag t") == 23
    document = json.loads(art("repair", "database", "--yes", "--all", "--json")[1])
    assert (len(document["changes"]), document["more"], document["rows"]) == (23, 0, 23)
    assert document["tables"] == {"tag": 23}


def test_a_dry_run_without_a_database_makes_none(art, tmp_path):
    events = json.loads(art("check", "--json")[1])["events"]
    for one in (tmp_path / "store").glob("lineart.db*"):
        one.unlink()
    code, out, _ = art("repair", "database", "--dry-run", terminal=True)
    assert code == 0
    assert "there is no database: a new one would be made" in out
    assert f"would bring back {events} events, 4 packs, " in out
    assert not list((tmp_path / "store").glob("lineart.db*"))
    assert json.loads(art("repair", "database", "-n", "--json")[1])["made"] is True
    assert "--dry-run" in art("repair", "database")[2]


def test_a_hole_in_the_journal_is_said_loudly(art, tmp_path):
    lost = sorted((tmp_path / "store" / "journal").rglob("*.jsonl"))[-2]
    for one in (lost, *(tmp_path / "store").glob("lineart.db*")):
        one.unlink()
    for more in ([], ["-n"]):
        code, _, err = art("repair", "database", "--yes", *more)
        assert (code, "`art repair database --up-to-hole` makes a database of what came before" in err) == (5, True)
    code, out, err = art("repair", "database", "--up-to-hole", "--yes")
    assert code == 5
    rows = [line.split("\t") for line in out.splitlines() if line.startswith("hole")]
    assert len(rows) == 3
    assert "breaks off after event " in rows[0][2]
    assert "can be read and were not applied" in rows[1][2]
    assert "aliases may mean other versions by now" in rows[2][2]
    assert "is there to be read: nobody can write with it" in err
    hole = json.loads(art("repair", "database", "--up-to-hole", "--yes", "--json")[1])["hole"]
    assert (hole["behind"], hole["last"] - hole["first"] + 1) == (sum(hole["kinds"].values()), hole["behind"])
    assert art("ls")[0] == 0
    code, _, err = art("gc", "--yes")
    assert (code, "nothing more is written with it" in err) == (4, True)


def test_a_terminal_is_not_moved_by_what_rows_hold(art, edit):
    edit("UPDATE version SET description = 'x\x1b[2Jy\u202ez' WHERE number = 0")
    code, out, err = art("check", "--journal", terminal=True)
    assert code == 5
    assert "\x1b[2J" not in out + err
    assert "\u202e" not in out + err
    assert "its description: the database says" in out + err


def test_what_the_journal_has_lost_is_said_and_written_again(art, tmp_path):
    gone = sorted((tmp_path / "store" / "journal").rglob("*.jsonl"))[1]
    gone.unlink()
    code, out, _ = art("check")
    assert code == 5
    assert "in the database and not in the journal" in out
    assert "`art repair journal` writes them" in out
    assert art("repair", "journal")[0] == 2
    code, out, _ = art("repair", "journal", "--yes", terminal=True)
    assert code == 0
    assert out.startswith("wrote ")
    assert gone.exists()
    assert art("check", "--journal")[0] == 0
    assert json.loads(art("repair", "journal", "--yes", "--json")[1])["events"] == 0
    assert "lacks nothing" in art("repair", "journal", "--yes", terminal=True)[1]


def test_both_repairs_are_named_where_both_are_needed(art, edit, tmp_path):
    edit(MOVED)
    next(one for one in (tmp_path / "store" / "packs").rglob("*") if one.is_file()).unlink()
    err = art("check", "--journal")[2]
    assert err.index("art repair database") < err.index("art repair index")


@pytest.mark.parametrize("column", ["state", "description", "data"])
def test_a_version_whose_text_is_not_utf_8_is_named_and_mended(art, edit, column):
    edit(f"UPDATE version SET {column} = CAST(X'61ff' AS TEXT) WHERE number = 1")
    code, out, err = art("check", "--journal")
    assert code == 5, err
    assert "problem\tversion default/model:v1\t" in out
    assert "art repair database" in err
    assert art("repair", "database", "--yes")[0] == 0
    assert art("check", "--journal")[0] == 0


def test_a_run_whose_name_is_not_utf_8_is_named_and_mended(art, edit, start):
    start("r1")
    edit("UPDATE run SET name = CAST(X'61ff' AS TEXT)")
    code, out, _ = art("check", "--journal")
    assert code == 5
    assert "problem\trun r1\tits name: the database says" in out
    code, _, err = art("runs", "--all")
    assert code == 5
    assert "`art repair database` mends it" in err
    assert art("repair", "database", "--yes")[0] == 0
    assert art("check", "--journal")[0] == 0


@pytest.mark.parametrize("digest", ["'text'", "X'00'", "7"])
def test_a_version_without_a_digest_is_one_problem_and_the_rest_is_checked(art, edit, digest):
    edit(f"UPDATE version SET digest = {digest} WHERE number = 0")
    code, out, err = art("check")
    assert code == 5, err
    (row,) = [line.split("\t") for line in out.splitlines() if line.startswith("problem")]
    assert row[1] == "default/model:v0"
    assert "`art repair database` mends it" in row[2]
    code, out, err = art("gc", "-n")
    assert code == 5, err
    assert "default/model:v0 has no digest in the database" in err
    assert art("repair", "database", "--yes")[0] == 0
    assert art("check", "--journal")[0] == art("gc", "-n")[0] == 0


@pytest.mark.parametrize("grace", ["inf", "nan", "1e15", "-1"])
def test_a_grace_that_nobody_can_wait_for_is_a_usage_error(art, grace):
    assert art("gc", "-n", "--grace", grace)[0] == 2
    assert art("gc", "-n", "--grace", "365000")[0] == 0


def test_a_limit_that_no_database_counts_to_is_a_usage_error(art):
    assert art("runs", "--limit", str(2**63))[0] == 2
    assert art("runs", "--limit", "1000000000")[0] == 0


@pytest.fixture
def start(tmp_path):
    """Start and end a run in the store."""
    import lineart
    from lineart.lineage.capture import Capture
    from lineart.lineage.run import start_run

    def begin(name):
        with (
            lineart.open(tmp_path / "store", project="p") as store,
            start_run(store, "p", id=name, capture=Capture.none(), interval=None),
        ):
            pass

    return begin


@pytest.mark.parametrize(
    "edited",
    ["code = '[]'", "config = '5'", "summary = '\"x\"'", "environment = '[1]'", "created = 9223372036854775807"],
)
def test_a_run_that_no_program_has_written_is_named_by_the_list(art, edit, start, edited):
    start("good")
    start("bad")
    edit(f"UPDATE run SET {edited} WHERE id = 'bad'")
    code, _, err = art("runs", "--all")
    assert code == 5, err
    assert "run bad: its row in the database is none that Lineart writes" in err
    assert art("repair", "database", "--yes")[0] == 0
    assert art("runs", "--all")[0] == 0
