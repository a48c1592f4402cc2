"""`art lineage --format …` and `--output`: pictures and other formats, on the screen and in files."""

from __future__ import annotations

import io
import json
import os
import stat

import pytest

import lineart

FORMATS = ["tree", "json", "mermaid", "dot", "html", "graphml", "openlineage", "prov"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", [["lineage", "model"], ["path", "model", "model"]])
def test_a_file_holds_what_would_have_been_printed(art, tmp_path, form, command):
    code, printed, _ = art(*command, "--format", form)
    assert code == 0
    assert printed.endswith("\n")
    code, out, err = art(*command, "--format", form, "-o", "lineage.txt")
    assert (code, out, err) == (0, "", "")
    written = (tmp_path / "lineage.txt").read_text(encoding="utf-8")
    assert len(written.splitlines()) == len(printed.splitlines())
    if form in {"tree", "json", "mermaid", "dot", "html"}:
        assert written == printed
    assert sorted(one.name for one in tmp_path.iterdir() if "lineage" in one.name) == ["lineage.txt"]


def test_json_goes_into_a_file_as_well(art, tmp_path):
    assert art("lineage", "model", "--json", "--output", "a.json")[0] == 0
    assert json.loads((tmp_path / "a.json").read_text())["roots"] == ["default/model:v1"]


def test_an_answer_takes_the_place_of_an_earlier_one_with_its_permissions(art, tmp_path):
    file = tmp_path / "a.html"
    file.write_text("old")
    file.chmod(0o640)
    (tmp_path / "link.html").symlink_to("a.html")
    assert art("lineage", "model", "--format", "html", "-o", "link.html")[0] == 0
    assert (tmp_path / "link.html").is_symlink()
    assert file.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_that_are_usual_here(art, tmp_path):
    before = os.umask(0o027)
    try:
        art("lineage", "model", "-o", "a.txt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_an_error_leaves_the_file_that_was_there_and_nothing_else(art, tmp_path, monkeypatch):
    (tmp_path / "a.html").write_text("old")
    assert art("lineage", "nothing", "--format", "html", "-o", "a.html")[0] == 3
    monkeypatch.setattr("lineart.lineage.pictures.page.page", lambda graph: 1 / 0)
    assert art("lineage", "model", "--format", "html", "-o", "a.html")[0] == 70
    assert (tmp_path / "a.html").read_text() == "old"
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []


@pytest.mark.parametrize("target", ["missing/a.html", "store"])
def test_a_place_that_cannot_be_written_is_named(art, target):
    code, out, err = art("lineage", "model", "-o", target)
    assert (code, out) == (2, "")
    assert f"{target} cannot be written" in err


def test_what_is_no_ordinary_file_is_written_to_and_stays(art, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert art("lineage", "model", "--format", "dot", "-o", "pipe")[0] == 0
        assert os.read(reader, 1 << 16).startswith(b"digraph lineage {")
    finally:
        os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_path_that_is_not_there_is_an_empty_picture_and_still_a_no(art, tmp_path):
    with lineart.open() as store:
        other = lineart.Artifact("other")
        other.add_bytes(b"1", "f")
        store.log(other, project="default")
    code, _, err = art("path", "model", "other", "--format", "mermaid", "-o", "a.mmd")
    assert code == 1
    assert "nothing leads" in err
    assert (tmp_path / "a.mmd").read_text() == "flowchart LR\n  %% 0 nodes\n"


def test_pictures_are_utf8_whatever_the_screen_is(art):
    from lineart.cli import execute
    from lineart.display import Screen

    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    assert execute(["lineage", "model", "--format", "dot"], Screen(out, io.StringIO(), 0)) == 0
    assert "4.9 KiB · 1 file" in out.buffer.getvalue().decode("utf-8")


def test_an_ending_that_no_format_has_is_refused_and_a_named_format_may_have_any(art, tmp_path):
    for command in (("lineage", "model"), ("path", "model:v0", "model:v0")):
        code, out, err = art(*command, "-o", "g.xyz")
        assert (code, out) == (2, "")
        assert "g.xyz: no format has the ending .xyz;" in err
        assert ".html, .htm, .dot, .gv, .mmd, .graphml, .json, .txt have one" in err
        assert not (tmp_path / "g.xyz").exists()
        assert art(*command, "-o", "g.xyz", "--format", "tree")[0] == 0
        (tmp_path / "g.xyz").unlink()
        for name in ("g.txt", "g", ".g"):
            assert art(*command, "-o", name)[0] == 0
            assert (tmp_path / name).read_text().startswith("default/model:v")
