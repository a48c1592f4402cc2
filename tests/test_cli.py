"""What `art` does: answers, errors and exit codes; in a pipe, on a terminal, and as JSON."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from lineart.cli import execute, exit_code, hoist
from lineart.display import Screen
from lineart.storage import errors

NOW = 4_000_000_000_000_000  # far ahead: every time is printed as a date


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def rows(self):
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def document(self):
        return json.loads(self.out)


class Art:
    """Calls the command in a folder of its own, with streams that look like a pipe or like a terminal."""

    def __call__(self, *arguments, terminal=False, columns=100, encoding="utf-8", out=None):
        out = out or io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        err = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        code = execute([str(one) for one in arguments], Screen(out, err, NOW, terminal=terminal, columns=columns))
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode(encoding))
        return Result(code, *texts)

    def ok(self, *arguments, **how):
        result = self(*arguments, **how)
        told = [line for line in result.err.splitlines() if not line.startswith("art: made a store at ")]
        assert (result.code, told) == (0, []), result
        return result


def settle(folder, patch):
    """Make a folder everything that a call can see of its surroundings."""
    for name in [name for name in os.environ if name.startswith("LINEART_")]:
        patch.delenv(name)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        patch.setenv(name, str(folder / "home"))
    patch.setenv("LINEART_CAPTURE", "none")
    patch.chdir(folder)
    return Art()


def write_raw(folder):
    (folder / "raw" / "sub").mkdir(parents=True)
    (folder / "raw" / "a.txt").write_text("hello")
    (folder / "raw" / "sub" / "b.bin").write_bytes(bytes(range(256)))


@pytest.fixture
def art(tmp_path, monkeypatch):
    write_raw(tmp_path)
    return settle(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    write_raw(folder)
    with pytest.MonkeyPatch.context() as patch:
        art = settle(folder, patch)
        art.ok("init")
        art.ok("log", "raw", "raw", "--alias", "clean", "--tag", "needs review", "--metadata", "tokens=9")
        (folder / "raw" / "a.txt").write_text("hello again")
        art.ok("log", "raw", "raw")
        art.ok("log", "raw/a.txt", "model", "--type", "model", "--use", "raw", "--alias", "best")
    return folder


@pytest.fixture
def stocked(stock, tmp_path, monkeypatch):
    """A store of the test's own in which a model was made from the second version of raw."""
    shutil.copytree(stock, tmp_path, dirs_exist_ok=True)
    return settle(tmp_path, monkeypatch)


# Making a store


def test_init_makes_a_store_here_and_names_it(art):
    made = art.ok("init").rows[0]
    assert made[2] == "made"
    assert Path(".lineart/config.toml").read_text() == '[store]\nurl = "store"\n'
    assert art.ok("init").rows[0][1:3] == [made[1], "there"]
    assert "the store is empty" in art("ls").err


def test_init_names_a_store_that_exists(art, tmp_path):
    other = tmp_path / "elsewhere"
    first = art.ok("--project", "digits", "init", other, "--json").document
    Path(".lineart/config.toml").unlink()
    again = art.ok("init", other, "--json").document
    assert (first["made"], again["made"], first["id"] == again["id"]) == (True, False, True)


def test_init_refuses_where_the_folder_names_another_store_and_makes_nothing(art):
    art.ok("init")
    refused = art("init", "other")
    assert refused.code == 4
    assert not Path("other").exists()


def test_init_of_a_bucket_asks_for_a_database(art):
    assert "--database" in art("init", "memory://nowhere").err


def test_the_password_of_a_database_is_not_kept_in_the_configuration(art):
    from lineart.commands.founding import without_password

    assert without_password("postgresql://ann:s3cret@db:5432/x?a=b") == "postgresql://ann@db:5432/x?a=b"


def test_log_makes_the_local_default_store_and_ls_does_not(art):
    assert art("ls").code == 3
    first = art.ok("log", "raw", "raw")
    assert first.rows[0][0] == "default/raw:v0"
    assert first.err.startswith("art: made a store at ")
    assert art.ok("log", "raw", "raw").err == ""
    assert art.ok("ls").rows[0][0] == "raw"


# Logging and fetching


def test_log_says_what_became_of_it(art):
    first = art.ok("put", "raw", "raw").rows[0]
    again = art.ok("log", "raw", "raw").rows[0]
    assert first[:3] == ["default/raw:v0", "2", "261"]
    assert first[4] == "new"
    assert int(first[3]) > 0
    assert again == ["default/raw:v0", "2", "261", "0", "unchanged"]
    assert "unchanged: already default/raw:v0" in art.ok("log", "raw", "raw", terminal=True).out


def test_log_takes_the_type_of_the_collection_else_dataset(stocked):
    Path("raw/a.txt").write_text("new")
    assert stocked.ok("log", "raw/a.txt", "model", "--json").document["version"]["type"] == "model"
    assert stocked.ok("log", "raw", "fresh", "--json").document["version"]["type"] == "dataset"
    assert stocked("log", "raw", "model", "--type", "dataset").code == 4


def test_metadata_is_json_if_it_parses_else_text(art):
    given = ["n=9", "lang=en", "split=[1,2]", "bad=NaN", "empty=", "eq=a=b"]
    options = [word for one in given for word in ("--metadata", one)]
    found = art.ok("log", "raw", "raw", *options, "--json").document["version"]["metadata"]
    assert found == {"n": 9, "lang": "en", "split": [1, 2], "bad": "NaN", "empty": "", "eq": "a=b"}
    assert art("log", "raw", "raw", "--metadata", "n").code == 2
    assert art("log", "raw", "raw", "--metadata", "n=1", "--metadata", "n=2").code == 2


def test_metadata_that_existing_content_does_not_take_is_told_of(stocked):
    result = stocked("log", "raw", "raw", "--metadata", "tokens=10")
    assert result.code == 0
    assert "raw:v1 existed already without metadata, and stays so; `art edit" in result.err


def test_log_with_inputs_is_a_finished_run(stocked):
    run = stocked.ok("runs", "--json").document["runs"][0]
    assert (run["state"], run["job_type"]) == ("finished", "log")
    shown = stocked.ok("show", "model", "--json").document
    assert shown["from"] == ["default/raw:v1"]
    assert shown["made_by"]["id"] == run["id"]


def test_a_slip_in_an_input_leaves_no_run_behind(stocked):
    before = stocked.ok("runs", "--json").document["runs"]
    assert stocked("log", "raw", "x", "--use", "nope").code == 3
    assert stocked.ok("runs", "--json").document["runs"] == before


def test_get_prints_the_folder_and_nothing_else(stocked):
    assert stocked.ok("get", "raw:v0").out == "artifacts/default/raw-v0\n"
    assert Path("artifacts/default/raw-v0/a.txt").read_text() == "hello"
    stocked.ok("get", "raw", "there", "--path", "sub/")
    assert [str(one) for one in Path("there").rglob("*.*")] == ["there/sub/b.bin"]
    assert stocked.ok("get", "raw:v1/a.txt", "one", "--json").document["files"] == 1
    assert stocked("get", "raw:v1/a.txt", "--path", "sub").code == 2


def test_a_checkout_removes_what_does_not_belong_and_only_from_its_own_folders(stocked):
    stocked.ok("get", "raw:v0", "out", "--checkout")
    Path("out/more").write_text("x")
    stocked.ok("get", "raw:v0", "out")
    assert Path("out/more").exists()
    stocked.ok("get", "raw:v1", "out", "--checkout")
    assert not Path("out/more").exists()
    Path("other").mkdir()
    Path("other/mine").write_text("x")
    assert stocked("get", "raw:v0", "other", "--checkout").code == 4
    assert stocked("get", "raw:v0/a.txt", "other", "--checkout").code == 2
    assert Path("other/mine").exists()
    assert "did you mean raw:v0?" in stocked("get", "raw", "v0").err
    stocked.ok("get", "raw:v0", "other", "--checkout", "--force")
    assert not Path("other/mine").exists()


def test_get_within_a_run_is_recorded(stocked, monkeypatch):
    over = stocked.ok("runs", "--json").document["runs"][0]["id"]
    run = stocked.ok("run", "--start").out.strip()
    monkeypatch.setenv("LINEART_RUN_ID", run)
    stocked.ok("get", "raw:v0/a.txt", "out")
    monkeypatch.setenv("LINEART_RUN_ID", over)
    assert f"run {over} has ended" in stocked("get", "raw:v0").err
    assert over not in [one["id"] for one in stocked.ok("show", "raw:v0", "--json").document["used_by"]]
    monkeypatch.setenv("LINEART_RUN_ID", "nope")
    assert stocked("get", "raw:v0").code == 3
    assert run in [one["id"] for one in stocked.ok("show", "raw:v0", "--json").document["used_by"]]


def test_cat_prints_the_bytes(stocked):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="")
    stocked("cat", "raw:v0/sub/b.bin", out=out, encoding="latin-1")
    assert out.buffer.getvalue() == bytes(range(256))
    assert stocked("cat", "raw:v0").code == 2
    assert stocked("cat", "raw:v0/sub").code == 3


# Looking


def test_ls_in_a_pipe_has_no_heading_and_absolute_values(stocked):
    model, raw = stocked.ok("ls").rows
    assert (raw[:5], raw[6]) == (["raw", "dataset", "v1", "2", "267"], "clean→v0")
    assert datetime.fromisoformat(raw[5]).tzinfo is not None
    assert model[0] == "model"


def test_ls_on_a_terminal_counts_and_names_other_projects(stocked):
    stocked.ok("log", "raw", "digits/raw")
    lines = stocked.ok("ls", terminal=True).out.splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "LATEST", "VERSIONS", "SIZE", "UPDATED", "ALIASES"]
    assert lines[-1] == "2 collections in default · 1 other project (--all)"
    assert [row[0] for row in stocked.ok("ls", "--all").rows] == ["default/model", "default/raw", "digits/raw"]


def test_ls_of_a_collection_lists_versions(stocked):
    rows = stocked.ok("ls", "raw").rows
    assert [row[:3] for row in rows] == [["v0", "261", "2"], ["v1", "267", "2"]]
    assert rows[0][6] == "needs review"
    assert stocked("ls", "raw:v0").code == 2


def test_show_tells_what_is_known_and_omits_the_rest(stocked):
    stocked.ok("promote", "raw:v0", "production", "--reason", "good enough")
    shown = dict(stocked.ok("show", "raw:v0").rows)
    assert shown["default/raw:v0"] == "dataset · clean production · tag needs review"
    assert re.fullmatch(r"b3:[0-9a-f]{64}", shown["digest"])
    assert shown["metadata"] == '{"tokens": 9}'
    assert shown["production"].endswith(': "good enough"')
    assert "made by" not in shown
    assert "used by" not in shown
    later = dict(stocked.ok("show", "raw").rows)
    assert later["content"] == "2 files, 267 B; 11 B not in v0"
    assert later["used by"] == "1 run → model:v0 (best)"
    assert "metadata" not in later


def test_show_says_on_a_terminal_how_much_metadata_is_left_out(art):
    options = [word for i in range(9) for word in ("--metadata", f"k{i}={i}")]
    art.ok("log", "raw", "raw", *options)
    assert "k5 5 · 3 more" in art.ok("show", "raw", terminal=True).out
    assert len(json.loads(dict(art.ok("show", "raw").rows)["metadata"])) == 9


def test_files_lists_one_level_or_all(stocked):
    assert stocked.ok("files", "raw").rows == [["a.txt", "11", "1"], ["sub/", "256", "1"]]
    assert [row[0] for row in stocked.ok("files", "raw", "-r").rows] == ["a.txt", "sub/b.bin"]
    assert stocked.ok("files", "raw", "sub").rows == [["b.bin", "256", "1"]]
    assert stocked.ok("files", "raw:v0/sub/b.bin", "--json").document["files"][0]["path"] == "sub/b.bin"
    assert stocked("files", "raw", "nope").code == 3


def test_names_out_of_the_store_cannot_move_the_cursor(art):
    Path("raw/\x1b[2Jx\ny").write_text("x")
    art.ok("log", "raw", "raw", "--description", "a\x1b[31mb")
    for how in ({}, {"terminal": True}, {"encoding": "ascii"}):
        for command in (["files", "raw"], ["files", "raw", "-r"], ["ls", "raw"], ["show", "raw"]):
            assert "\x1b" not in art.ok(*command, **how).out


def test_a_name_found_in_another_project_is_noted(stocked):
    stocked.ok("log", "raw", "digits/only")
    result = stocked("show", "only")
    assert result.code == 0
    assert result.err == "art: only is not in project default; digits/only:v0 is meant\n"


# Names


def test_promote_says_from_where_to_where_and_history_why(stocked):
    first = stocked.ok("promote", "raw:v0", "production", "--expect", "none").rows
    second = stocked.ok("promote", "raw:v1", "production", "--expect", "v0", "--reason", "holdout").rows
    assert [first[0][2:], second[0][2:]] == [["none", "v0"], ["v0", "v1"]]
    assert "is v1 already" in stocked.ok("promote", "raw:v1", "production", terminal=True).out
    assert stocked("promote", "raw:v0", "production", "--expect", "v0").code == 4
    events = stocked.ok("history", "raw:production").rows
    assert [row[1] for row in events] == ["production → v0", "production v0 → v1"]
    assert events[1][3] == "holdout"


def test_alias_rm_takes_an_alias_away_in_either_spelling(stocked):
    assert stocked.ok("alias", "rm", "raw:clean").rows == [["default/raw", "clean", "v0", "none"]]
    assert stocked.ok("alias", "rm", "model", "best").code == 0
    assert stocked("alias", "rm", "raw:clean").code == 3
    assert stocked("alias", "rm", "raw").code == 2
    assert stocked("alias", "rm", "raw:latest").code == 2


def test_history_of_a_version_is_what_concerns_it(stocked):
    said = [row[1] for row in stocked.ok("history", "raw:v1").rows]
    assert said == ["v1 logged: 2 files, 267 B", "latest v0 → v1"]


# Tracing


def test_lineage_is_a_tree_or_a_document(stocked):
    tree = stocked.ok("lineage", "model").out
    assert "└─ raw:v1" in tree
    assert "`- raw:v1" in stocked.ok("lineage", "model", encoding="ascii").out
    assert "model:v0" in stocked.ok("lineage", "raw", "--down").out
    document = stocked.ok("lineage", "model", "--format", "json").document
    assert document == stocked.ok("lineage", "model", "--json").document
    assert (document["schema"], len(document["nodes"])) == (1, 3)
    assert stocked("lineage", "model", "--format", "svg").code == 2


def test_runs_say_when_some_are_left_out(stocked):
    stocked.ok("log", "raw", "more", "--use", "model")
    cut = stocked("runs", "--limit", "1")
    assert len(cut.rows) == 1
    assert "the newest 1 runs" in cut.err
    assert stocked.ok("runs", "--limit", "1", "--json").document["complete"] is False
    assert len(stocked.ok("runs", "--all").rows) == 2


# Checking


def test_check_finds_damage_and_exits_with_5(stocked):
    assert [row[:2] for row in stocked.ok("check").rows] == [["verdict", "clean"]]
    assert "nothing is wrong" in stocked.ok("check", "--read-data", terminal=True).out
    for pack in Path(".lineart/store/packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    damaged = stocked("check")
    assert damaged.code == 5
    assert damaged.rows[0][0] == "problem"
    assert damaged.rows[-1][:2] == ["verdict", "damaged"]
    assert damaged.rows[-1][2] in damaged.err
    assert damaged.err.startswith("art: ")
    assert stocked("check", "--json").document["clean"] is False


def test_repair_database_rebuilds_what_was_lost(stocked):
    asked = [["ls"], ["ls", "raw"], ["show", "model"], ["history", "raw"], ["runs"], ["lineage", "model"]]
    before = [stocked.ok(*one).out for one in asked]
    for path in Path(".lineart/store").glob("*.db*"):
        path.unlink()
    lost = stocked("ls")
    assert (lost.code, "art repair database" in lost.err) == (3, True)
    repaired = stocked.ok("repair", "database", "--yes", terminal=True).out
    assert re.search(r"brought back \d+ events, \d+ packs, \d+ chunks", repaired)
    assert [stocked.ok(*one).out for one in asked] == before
    assert stocked.ok("check", "--read-data").out.endswith("read: nothing is wrong\n")
    assert stocked.ok("repair", "database", "--yes", "--json").document == {
        "schema": 1,
        "dry_run": False,
        "made": False,
        "events": 0,
        "packs": 0,
        "chunks": 0,
        "rows": 0,
        "changes": [],
        "more": 0,
        "tables": {},
        "damaged": [],
        "hole": None,
    }
    assert stocked.ok("log", "raw/sub", "raw").rows[0][0] == "default/raw:v2"


def test_repair_database_names_damaged_packs_and_exits_with_5(stocked):
    for path in Path(".lineart/store").glob("*.db*"):
        path.unlink()
    key = next(one for one in sorted(Path(".lineart/store/packs").rglob("*")) if one.is_file())
    key.write_bytes(b"")
    damaged = stocked("repair", "database", "--yes", "--json")
    assert damaged.code == 5
    assert [one["where"] for one in damaged.document["damaged"]] == [key.relative_to(".lineart/store").as_posix()]
    assert key.name in stocked("repair", "database", "--yes", terminal=True).out


def test_repair_database_where_there_is_no_store_says_so(art):
    assert art("repair", "database", "--yes").code == 3


# JSON


def test_every_document_has_the_schema_bytes_as_integers_and_times_in_utc(stocked):
    commands = (["ls"], ["ls", "raw"], ["show", "model"], ["files", "raw"], ["history", "raw"], ["runs"])
    for command in commands:
        document = stocked.ok(*command, "--json").document
        assert document["schema"] == 1
        for name, value in _leaves(document):
            if name in {"created", "updated", "time", "ended", "heartbeat"} and value is not None:
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value), (command, name, value)
            if name in {"size", "new_bytes"} and value is not None:
                assert isinstance(value, int)


def _leaves(value, name=""):
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one, name)
    else:
        yield name, value


# Errors and options


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), 3),
        (errors.Conflict("x"), 4),
        (errors.SourceChanged("x"), 4),
        (errors.ProtectedAlias("x"), 4),
        (errors.VerifyError("x"), 5),
        (errors.IntegrityError("x"), 5),
        (errors.InvalidName("x"), 2),
        (errors.InvalidInput("x"), 2),
        (errors.StoreUnavailable("x"), 6),
        (errors.StoreBusy("x"), 6),
        (errors.FormatTooNew("x"), 6),
        (PermissionError(13, "denied", "/x"), 6),
        (RuntimeError("x"), 70),
        (KeyError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert exit_code(error) == code


def test_an_error_is_one_line_on_stderr(art):
    for command in (["show", "x"], ["frob"], ["promote", "x"], ["log", "nothere", "x"], ["ls", "--limit"]):
        result = art(*command)
        assert result.code in {2, 3}
        assert result.out == ""
        assert re.fullmatch(r"art: [^\n]+\n", result.err)


class Failing(io.TextIOWrapper):
    """A stream that fails as it is told to."""

    def __init__(self, error):
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.error = error

    def write(self, text):
        raise self.error


def test_ctrl_c_says_that_the_store_is_whole(stocked):
    result = stocked("ls", out=Failing(KeyboardInterrupt()))
    assert result.code == 130
    assert "the store is whole" in result.err


def test_a_closed_pipe_is_quiet(stocked):
    result = stocked("ls", out=Failing(BrokenPipeError()))
    assert (result.code, result.err) == (0, "")


def test_a_bug_says_how_to_see_where(stocked, monkeypatch):
    result = stocked("ls", out=Failing(RuntimeError("boom")))
    assert result.code == 70
    assert "RuntimeError: boom" in result.err
    assert "LINEART_DEBUG" in result.err
    assert "Traceback" not in result.err
    monkeypatch.setenv("LINEART_DEBUG", "1")
    assert "Traceback" in stocked("ls", out=Failing(RuntimeError("boom"))).err


def test_options_that_name_a_store_may_stand_behind_the_command(stocked):
    assert hoist(["ls", "--project=p", "-a", "--", "--store"]) == ["--project=p", "ls", "-a", "--", "--store"]
    stocked.ok("log", "raw", "only", "--project", "digits")
    assert [row[0] for row in stocked.ok("ls", "--project", "digits").rows] == ["only"]


def test_help_mentions_every_command(art, capsys):
    assert art("--help").code == 0
    said = capsys.readouterr().out
    for command in [
        "init",
        "log",
        "get",
        "ls",
        "show",
        "files",
        "cat",
        "rm",
        "restore",
        "gc",
        "promote",
        "alias",
        "history",
        "lineage",
        "runs",
        "check",
        "demo",
    ]:
        assert re.search(rf"\b{command}\b", said), command


# As a process of its own


def run(*arguments, **how):
    return subprocess.run(
        [sys.executable, "-m", "lineart", *arguments], check=False, capture_output=True, text=True, **how
    )


@pytest.mark.slow
def test_python_m_lineart_is_the_command(art):
    assert run("--version").stdout.startswith("lineart ")
    refused = run("show", "x")
    assert (refused.returncode, refused.stdout) == (3, "")


@pytest.mark.slow
def test_a_reader_that_goes_away_causes_no_noise(stocked):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "lineart", "ls"]
    done = subprocess.run(command, check=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_help_loads_no_database_and_no_graph(art):
    heavy = ["sqlalchemy", "sqlmodel", "networkx", "fsspec", "rich", "alembic", "blake3"]
    code = f"import sys, lineart.cli; print(*(one for one in {heavy} if one in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_log_leaves_out_what_is_ignored(art):
    Path("raw/notes.tmp").write_text("x")
    assert art.ok("log", "raw", "raw", "--ignore", "*.tmp", "--ignore", "a.*").rows[0][1] == "1"
    assert [row[0] for row in art.ok("files", "raw", "-r").rows] == ["sub/b.bin"]


def test_a_folder_without_files_is_not_logged(art, tmp_path):
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    done = art("log", "nothing", "empty")
    assert (done.code, done.out) == (2, "")
    assert "nothing holds no file to log: stores, .git, folders of downloads" in done.err
    assert art("ls").out == ""
