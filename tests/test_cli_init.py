"""`art init`: where a store can be, which project is named, and what comes before what it writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from lineart.storage.backends import open_backend, require_place
from lineart.storage.errors import InvalidInput

CONFIG = Path(".lineart/config.toml")


@pytest.fixture
def art(art_here, monkeypatch):
    monkeypatch.delenv("LINEART_STORE")
    return art_here


def project():
    return tomllib.loads(CONFIG.read_text())["store"].get("project")


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "SFTP://ana:hunter2@host/x", "https://host/x", "zip://x", "git+ssh://h/x"]
)
@pytest.mark.parametrize("way", ["init", "--store", "LINEART_STORE"])
def test_a_place_where_no_store_can_be_is_refused_at_once(art, monkeypatch, url, way):
    if way == "LINEART_STORE":
        monkeypatch.setenv(way, url)
    given = {"init": ["init", url], "--store": ["init", "--store", url], "LINEART_STORE": ["ls"]}[way]
    code, out, err = art(*given)
    assert (code, out) == (2, "")
    assert "no place for a store; a store is a folder, s3://" in err
    assert "hunter2" not in err
    assert not CONFIG.exists()


@pytest.mark.parametrize("url", ["s3://a/b", "GS://a", "memory://x", "file:///x", "/x", "x", "az://a", "ftp", "http:x"])
def test_places_where_a_store_may_be_are_not(url):
    require_place(url)


def test_the_rule_holds_in_code_too():
    with pytest.raises(InvalidInput, match="ftp:// is no place for a store"):
        open_backend("ftp://host/x")


def test_a_configuration_that_is_there_learns_the_project(art):
    art("init", "--project", "digits")
    CONFIG.write_text(CONFIG.read_text() + '# mine\n[cache]\nsize = "1 GiB"\n')
    code, _, err = art("init", "--project", "letters")
    assert code == 0
    assert "the project here was digits and is letters from now on" in err
    assert CONFIG.read_text() == '[store]\nurl = "store"\nproject = "letters"\n# mine\n[cache]\nsize = "1 GiB"\n'
    assert art("init", "--project", "letters")[2] == ""
    assert [one.name for one in CONFIG.parent.iterdir() if one.name.startswith("config")] == ["config.toml"]


def test_without_a_project_the_configuration_keeps_its_own(art):
    art("init", "--project", "digits")
    assert art("init")[2] == ""
    assert project() == "digits"


def test_a_configuration_without_a_project_gets_one(art):
    art("init")
    assert "the project here was default and is digits" in art("init", "--project", "digits")[2]
    assert project() == "digits"


@pytest.mark.parametrize(
    "text",
    [
        'store = {url = "store", project = "digits"}\n',
        '[store]\nurl = "store"\n"project" = "digits"\n',
        '[storage_options]\nproject = "cloud"\n[store]\nurl = "store"\nproject = "digits"\n',
    ],
)
def test_a_configuration_that_one_line_does_not_change_is_left_as_it_is(art, text):
    art("init")
    CONFIG.write_text(text)
    code, _, err = art("init", "--project", "letters")
    assert (code, 'write `project = "letters"` below its [store]' in err) == (4, True)
    assert CONFIG.read_text() == text


def test_a_variable_that_comes_before_what_is_written_is_named(art, monkeypatch, tmp_path):
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "other"))
    code, _, err = art("init")
    assert (code, err) == (
        0,
        f"art: LINEART_STORE names {tmp_path / 'other'}, which comes before the store of this folder; unset it\n",
    )
    monkeypatch.setenv("LINEART_STORE", "s3://ana:hunter2@host/x")
    assert "hunter2" not in art("init")[2]


@pytest.mark.parametrize("named", [".lineart/store", "file://{}/.lineart/store", "{}/.lineart/store/"])
def test_a_variable_that_names_the_same_store_is_no_matter(art, monkeypatch, tmp_path, named):
    monkeypatch.setenv("LINEART_STORE", named.format(tmp_path))
    assert art("init")[2] == ""


def test_a_store_that_nobody_asked_for_is_said(art, monkeypatch, tmp_path):
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "tpyo"))
    Path("file").write_text("x")
    code, _, err = art("log", "file", "file")
    assert (code, err) == (
        0,
        f"art: made a store at {tmp_path}/tpyo, named by LINEART_STORE; `art init` makes one here\n",
    )


def test_a_database_of_another_store_is_named_as_the_cause(art, tmp_path):
    there = json.loads(art("init", "first", "--json")[1])
    CONFIG.unlink()
    database = f"sqlite:///{tmp_path}/first/lineart.db"
    code, out, err = art("init", "second", "--database", database)
    assert (code, out) == (4, "")
    assert f"no store is made at {tmp_path}/second: " in err
    assert f"{tmp_path}/first/lineart.db holds a store already: {there['id']}" in err
    assert "`art init` makes one" not in err
    assert not CONFIG.exists()
