"""`art get` into a folder that holds something already: what it refuses, and what it says stays there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lineart


@pytest.fixture
def art(art_here, tmp_path):
    """A store in which model:v0 has three files, and model:v1 one of them, changed; tokenizer:v0 has another."""
    with lineart.create(tmp_path / "store", project="default") as store:
        for name, files in (
            ("model", {"w": "old", "vocab": "v", "notes": "n"}),
            ("model", {"w": "new"}),
            ("tokenizer", {"words": "a"}),
        ):
            draft = lineart.Artifact(name)
            for path, text in files.items():
                draft.add_bytes(text.encode(), path)
            store.log(draft)
    return art_here


def test_a_file_that_was_edited_is_left_alone_and_the_way_out_is_said(art):
    art("get", "model:v0", "out")
    Path("out/w").write_text("my work")
    for ref in ("model:v0", "model:v1"):
        code, out, err = art("get", ref, "out")
        assert (code, out) == (4, "")
        assert err == (
            "art: out holds a file that was changed, or that no download put there: 'w'; nothing was written: "
            "--force (overwrite=True) replaces it, or choose another folder\n"
        )
        assert Path("out/w").read_text() == "my work"
    assert art("get", "model:v1", "out", "--force")[0] == 0
    assert Path("out/w").read_text() == "new"


def test_a_checkout_leaves_it_alone_too(art):
    art("get", "model:v0", "out", "--checkout")
    Path("out/w").write_text("my work")
    assert art("get", "model:v1", "out", "--checkout")[0] == 4
    assert Path("out/w").read_text() == "my work"
    assert Path("out/vocab").exists()
    assert art("get", "model:v1", "out", "--checkout", "--force")[0] == 0
    assert (Path("out/w").read_text(), Path("out/vocab").exists()) == ("new", False)


def test_files_of_the_other_version_that_stay_are_told_once(art):
    art("get", "model:v0", "out")
    code, out, err = art("get", "model:v1", "out")
    assert (code, out) == (0, "out\n")
    assert err == (
        "art: 2 files of default/model:v0 stay in out, beside those of model:v1; `--checkout --force` would remove all "
        "that is not of model:v1\n"
    )
    assert art("get", "model:v1", "out") == (0, "out\n", "")


def test_what_stays_is_in_the_document(art):
    art("get", "model:v0", "out")
    code, out, _ = art("get", "model:v1", "out", "--json")
    assert (code, json.loads(out)["left"]) == (0, [{"version": "default/model:v0", "files": 2}])


def test_files_that_were_removed_by_hand_do_not_stay(art):
    art("get", "model:v0", "out")
    Path("out/vocab").unlink()
    assert "art: 1 file of default/model:v0 stays" in art("get", "model:v1", "out")[2]


def test_nothing_stays_of_a_version_that_has_no_more_files(art):
    art("get", "model:v1", "out")
    assert art("get", "model:v0", "out") == (0, "out\n", "")


def test_a_checkout_leaves_nothing_and_says_nothing(art):
    art("get", "model:v0", "out", "--checkout")
    assert art("get", "model:v1", "out", "--checkout") == (0, "out\n", "")
    assert not Path("out/vocab").exists()


def test_a_checkout_is_known_by_its_mark_where_nothing_is_remembered(art, monkeypatch, tmp_path):
    art("get", "model:v0", "out", "--checkout")
    monkeypatch.setenv("LINEART_CACHE_DIR", str(tmp_path / "other"))
    assert "2 files of default/model:v0 stay" in art("get", "model:v1", "out")[2]


@pytest.mark.parametrize("mark", ["{", '{"ref": "\\u0000", "digest": "00"}', '{"ref": "nobody:v7", "digest": "00"}'])
def test_a_mark_that_says_nothing_tells_nothing(art, mark):
    Path("out").mkdir()
    Path("out/.lineart-checkout").write_text(mark)
    assert art("get", "model:v1", "out") == (0, "out\n", "")


def test_of_a_part_only_what_is_below_it_is_told(art):
    art("get", "model:v0", "out")
    assert art("get", "model:v1", "out", "--path", "w") == (0, "out\n", "")


def test_another_collection_beside_it_is_meant_so(art):
    art("get", "model:v0", "out")
    assert art("get", "tokenizer", "out") == (0, "out\n", "")


@pytest.mark.parametrize("remembered", [True, False])
def test_of_a_version_whose_content_is_gone_is_told_what_is_remembered(art, monkeypatch, tmp_path, remembered):
    art("get", "model:v0", "out", "--checkout")
    art("rm", "model:v0", "--yes")
    art("gc", "--yes", "--grace", "0")
    if not remembered:
        monkeypatch.setenv("LINEART_CACHE_DIR", str(tmp_path / "other"))
        Path("out/w").unlink()  # nobody could tell whose it is
    code, out, err = art("get", "model:v1", "out")
    assert (code, out) == (0, "out\n")
    assert err.startswith("art: 2 files of default/model:v0 stay in out") if remembered else err == ""


def test_what_a_download_had_begun_that_was_killed_goes_with_the_next(art):
    art("get", "model:v0", "out")
    Path("out/.lineart-unfinished").write_bytes(b"0123456789abcdef elsewhere\n\0")
    Path("out/.lineart-0123456789abcdef-0").write_bytes(b"half")
    assert art("get", "model:v0", "out") == (0, "out\n", "")
    assert sorted(path.name for path in Path("out").iterdir()) == ["notes", "vocab", "w"]


def test_in_code_a_warning_says_what_stays(art, tmp_path):
    with lineart.open(tmp_path / "store") as store:
        store.artifact("default/model:v0").download(tmp_path / "mine")
        with pytest.warns(UserWarning, match="2 files stay of default/model:v0 in the folder") as said:
            store.artifact("default/model:v1").download(tmp_path / "mine")
    assert said[0].filename == __file__


def test_a_folder_may_be_called_as_a_version_is_where_the_version_is_named(art, tmp_path):
    assert art("get", "model:v1", "v1")[0] == 0
    assert (tmp_path / "v1" / "w").read_text() == "new"
    code, _, err = art("get", "model", "v0")
    assert code == 2
    assert "did you mean model:v0?" in err


@pytest.mark.parametrize("options", [(), ("--checkout", "--force")])
def test_an_empty_name_of_a_folder_is_not_the_folder_that_one_is_in(art, options):
    Path("mine").write_text("my work")
    code, out, err = art("get", "model:v1", "", *options)
    assert (code, out) == (2, "")
    assert "DEST is empty" in err
    assert Path("mine").read_text() == "my work"
    assert not Path("w").exists()
