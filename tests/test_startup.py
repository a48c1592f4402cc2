"""What a short command or script loads: every call pays for it, so what is not needed must not come back unseen."""

import os
import subprocess
import sys

import pytest

import lineart

ALWAYS = ("sqlmodel", "pydantic", "sqlalchemy.orm", "alembic", "networkx", "fsspec", "s3fs", "pathspec", "psycopg")
DATABASE = ("sqlalchemy", "sqlite3", "blake3", "zstandard", "msgspec", "asyncio", "ssl")
REPORT = """
import atexit, gc, sys
def report():
    print("frozen" if gc.get_freeze_count() else "thawed", *(one for one in {names} if one in sys.modules))
atexit.register(report)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store with a version, and what a process needs to find it."""
    folder = tmp_path_factory.mktemp("startup")
    with lineart.create(folder / "store", project="p") as store:
        draft = lineart.Artifact("words", type="dataset")
        draft.add_bytes(b"a b c", "words.txt")
        store.log(draft, aliases="best")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LINEART_")}
    return {**kept, "LINEART_STORE": str(folder / "store"), "LINEART_PROJECT": "p", "LINEART_CAPTURE": "none"}


def left_behind(place, code, names):
    """Run code in a process; say whether it left frozen what it had, and which of some modules it had loaded."""
    code = REPORT.format(names=tuple(names)) + code
    done = subprocess.run([sys.executable, "-c", code], env=place, capture_output=True, text=True, check=True)
    state, *loaded = done.stdout.splitlines()[-1].split()
    return state, loaded


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"]])
def test_help_opens_no_store(place, arguments):
    assert left_behind(place, f"from lineart.cli import main; main({arguments})", ALWAYS + DATABASE) == ("frozen", [])


@pytest.mark.parametrize("arguments", [["ls"], ["ls", "words"], ["show", "words:best"], ["history", "words"]])
def test_a_command_that_reads_loads_neither_orm_nor_graph(place, arguments):
    unneeded = (*ALWAYS, "rich", "lineart.lineage.graph", "lineart.storage.check")
    assert left_behind(place, f"from lineart.cli import main; main({arguments})", unneeded) == ("frozen", [])


def test_a_script_that_uses_a_version_loads_neither_orm_nor_command_line(place):
    code = "import lineart; lineart.init(); lineart.use_artifact('words:best'); lineart.finish()"
    assert left_behind(place, code, (*ALWAYS, "rich", "typer")) == ("thawed", [])
