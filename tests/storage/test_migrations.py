"""The schema that migrations make."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import lineart.artifacts.tables
import lineart.lineage.tables  # noqa: F401
from lineart.storage import migrations, schema
from lineart.storage.database import Database
from lineart.storage.errors import Conflict, FormatTooNew, NotFound
from lineart.storage.tables import METADATA


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path):
    """An empty database of each kind."""
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def create(url, **options):
    return Database.create(url, store_id="S1", actor="ann", folds={}, **options)


def test_the_migrated_schema_is_what_the_tables_say(url):
    database = create(url)

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)

    assert database.read(differences) == []
    database.close()


def test_sqlite_keeps_chunks_without_row_ids_and_gives_row_ids_to_packs(tmp_path):
    create(f"sqlite:///{tmp_path}/store.db").close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    assert "WITHOUT ROWID" in made["chunk"]
    assert "id INTEGER NOT NULL" in made["pack"]


def test_the_known_revisions_are_those_that_exist():
    config = Config()
    config.set_main_option("script_location", str(migrations.__path__[0]))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)
    found = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS
    assert script.get_current_head() == schema.HEAD


def test_threads_can_create_different_stores_at_once(tmp_path):
    def make(number):
        database = create(f"sqlite:///{tmp_path}/{number}.db")
        database.close()
        return database.store_id

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, range(8))) == ["S1"] * 8


def test_a_newer_schema_is_refused(url):
    database = create(url)
    database.write(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database.close()
    with pytest.raises(FormatTooNew, match="9999"):
        Database.open(url, actor="ann", folds={})


def test_an_empty_database_holds_no_store(url):
    if url.startswith("sqlite"):
        sqlite3.connect(url.removeprefix("sqlite:///")).close()
    with pytest.raises(NotFound, match="no store"):
        Database.open(url, actor="ann", folds={})


def test_a_database_of_something_else_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE shopping (item TEXT)")
    with pytest.raises(Conflict, match="shopping"):
        create(f"sqlite:///{tmp_path}/other.db")
    with sqlite3.connect(tmp_path / "other.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_failed_migration_leaves_nothing_behind(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    with pytest.raises(RuntimeError, match="clock"):
        create(url, clock=lambda: (_ for _ in ()).throw(RuntimeError("clock")))
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    create(url).close()


def test_opening_does_not_import_alembic(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    create(url).close()
    code = (
        "import sys; from lineart.storage.database import Database;"
        f"Database.open({url!r}, actor='a', folds={{}}); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
