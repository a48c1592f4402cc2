"""`art check --read-data=N%`, `art repair index` and `art repair database`: what they say, ask, and refuse."""

import json
import re

import pytest

NOW = 4_000_000_000_000_000


def packs(folder):
    return sorted(one for one in (folder / "store" / "packs").rglob("*") if re.fullmatch("[0-9a-f]{32}", one.name))


def flip(path, at=26):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_check_reads_a_share_and_says_which(art):
    code, out, _ = art("check", "--read-data=40%", "--seed", "3", terminal=True)
    assert code == 0
    assert "(seed 3) read" in out
    document = json.loads(art("check", "--read-data=40%", "--seed", "3", "--json")[1])
    assert document["seed"] == 3
    assert 0 < document["read_bytes"] < document["pack_bytes"]


@pytest.mark.parametrize("alone", [["--read-data"], ["--read-data", "--json"], ["--json", "--read-data"]])
def test_read_data_alone_means_all(art, alone):
    found = json.loads(art("check", *dict.fromkeys([*alone, "--json"]))[1])
    assert found["seed"] is None
    assert found["read_bytes"] > 80


def test_the_share_may_stand_behind_a_space(art):
    assert json.loads(art("check", "--read-data", "5%", "--seed", "0", "--json")[1])["seed"] == 0


@pytest.mark.parametrize("share", ["0%", "101%", "5", "half", "-3%", "1e1%", "nan%", ""])
@pytest.mark.parametrize("command", [["check"], ["repair", "index", "--yes"]])
def test_what_is_no_share_is_a_usage_error(art, share, command):
    code, out, err = art(*command, f"--read-data={share}")
    assert (code, out) == (2, "")
    assert "--read-data" in err


def test_repair_asks_on_a_terminal_and_needs_yes_elsewhere(art, tmp_path):
    flip(packs(tmp_path)[0], -1)
    for what in ("index", "database"):
        code, _, err = art("repair", what)
        assert (code, "--yes" in err) == (2, True)
        assert art("repair", what, answer=False, terminal=True)[0] == 1
    assert "set aside" in art.asked[0]
    assert "database" in art.asked[1]
    assert not any("quarantine" in one for one in art("check", terminal=True)[1].splitlines() if "note" in one)
    assert art("repair", "index", answer=True, terminal=True)[0] == 0
    assert "quarantine" in art("check", terminal=True)[1]
    assert art("check")[0] == 0


def test_repair_index_prints_what_it_did_and_what_is_lost(art, tmp_path):
    for one in packs(tmp_path):
        flip(one)
    code, out, err = art("repair", "index", "--read-data", "--yes")
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 5
    assert [row[0] for row in rows] == ["damaged", "damaged", "lost", "lost", "verdict"]
    assert rows[-1][:2] == ["verdict", "lossy"]
    assert rows[-1][2].startswith("4 packs, ")
    assert rows[-1][2].endswith(" read: 2 losses")
    assert rows[2][1:3] == ["default/model:v0/w", "best"]
    assert "2 losses" in err
    code, out, err = art("repair", "index", "--yes", terminal=True)
    assert code == 5
    assert "default/model:v0/w (best)" in out + err
    document = json.loads(art("repair", "index", "--yes", "--json")[1])
    assert document["whole"] is False
    assert document["lost"][0] == {
        "version": "default/model:v0",
        "aliases": ["best"],
        "path": "w",
        "what": "1 of 1 chunks of 'w' are lost",
    }
    assert [one["path"] for one in json.loads(art("check", "--json")[1])["lost"]] == ["w", "w"]


def test_repair_index_heals_from_a_folder(art, tmp_path):
    for one in packs(tmp_path):
        one.unlink()
    (tmp_path / "good").mkdir()
    for number in range(2):
        (tmp_path / "good" / f"{number}").write_bytes(b"%d" % number * 5000)
    assert art("repair", "index", "--yes")[0] == 5
    code, out, _ = art("repair", "index", "--from", tmp_path / "good", "--yes", terminal=True)
    assert code == 0
    assert re.search(r"chunks healed +2", out)
    assert art("check", "--read-data")[0] == 0
    assert art("repair", "index", "--from", tmp_path / "absent", "--yes")[0] == 3


def test_a_log_of_a_repair_ends_with_what_was_found(art):
    assert art("repair", "index", "--yes") == (
        0,
        "verdict\twhole\t4 packs: nothing is known to be lost; `--read-data` reads every byte\n",
        "",
    )
    assert art("repair", "index", "--yes", "--read-data")[1].endswith(" read: nothing is lost\n")
    assert "verdict" not in art("repair", "index", "--yes", terminal=True)[1]
