"""A whole store whose database is lost, or as old as its last backup, and is rebuilt from the bucket."""

import contextlib
import itertools
import random
import sqlite3
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

import lineart
from lineart.artifacts.artifact import Artifact
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.settings import Settings
from lineart.storage.errors import Conflict, NotFound
from lineart.store import open_settings, repair

pytestmark = pytest.mark.slow

_VERSION = """
    SELECT p.name AS project, c.name AS collection, v.number, {columns}
    FROM version v JOIN collection c ON c.id = v.collection JOIN project p ON p.id = c.project {more}
"""
TABLES = {  # every table that a journal brings back, by natural keys; neither row ids nor heartbeats
    "store": "SELECT store_id, created, seq, journalled FROM store",
    "events": "SELECT seq, time, actor, kind, subject, reason, data FROM event",
    "projects": "SELECT name, key, created FROM project",
    "collections": "SELECT p.name AS project, c.name, c.key, c.type, c.description, c.next_number, c.created"
    " FROM collection c JOIN project p ON p.id = c.project",
    "versions": _VERSION.format(
        columns="v.digest, v.size, v.file_count, v.state, v.created, v.deleted, v.actor, v.description, v.data", more=""
    ),
    "aliases": _VERSION.format(columns="a.key, a.name", more="JOIN alias a ON a.version = v.id"),
    "tags": _VERSION.format(columns="t.name", more="JOIN tag t ON t.version = v.id"),
    "runs": 'SELECT r.id, p.name AS project, r.name, r.job_type, r."group", r.notes, r.state, r.created, r.ended,'
    " r.exit_code, r.actor, r.config, r.summary, r.code, r.environment FROM run r JOIN project p ON p.id = r.project",
    "run tags": "SELECT run, name FROM run_tag",
    "edges": _VERSION.format(
        columns="e.run, e.direction, e.time, e.data, rank() OVER (ORDER BY e.id) AS place",
        more="JOIN edge e ON e.version = v.id",
    ),
    "packs": "SELECT key, kind, state, size FROM pack",
    "chunks": 'SELECT c.digest, p.key, c."offset", c.stored, c.size, c.codec FROM chunk c JOIN pack p ON p.id = c.pack',
}
BIG = random.Random(1).randbytes(3 << 20)


class Databases:
    """Databases of one kind: empty ones, and copies of one as it is now."""

    def __init__(self, kind, folder, server):
        self.kind, self.folder, self.server = kind, folder, server
        self._numbers = itertools.count()
        self._made = []

    def empty(self):
        number = next(self._numbers)
        if self.kind == "sqlite":
            return f"sqlite:///{self.folder}/{number}.db"
        self._run(f"CREATE DATABASE repair_{number}")
        self._made.append(f"repair_{number}")
        return self.server.replace("/postgres?", f"/repair_{number}?")

    def copy(self, url):
        """Copy a database that nobody has open."""
        other = self.empty()
        if self.kind == "sqlite":
            source, target = (sqlite3.connect(one.removeprefix("sqlite:///")) for one in (url, other))
            with contextlib.closing(source), contextlib.closing(target):
                source.backup(target)
            return other
        self._run(f"DROP DATABASE {_name(other)}")
        self._run(f"CREATE DATABASE {_name(other)} TEMPLATE {_name(url)}")
        return other

    def lose(self, url):
        """Lose a database: a file is deleted, a server's is empty again."""
        if self.kind == "sqlite":
            Path(url.removeprefix("sqlite:///")).unlink()
            return
        self._run(f"DROP DATABASE {_name(url)} WITH (FORCE)")
        self._run(f"CREATE DATABASE {_name(url)}")

    def drop(self):
        for name in self._made:
            self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, sql):
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(sql)


def _name(url):
    return "repair_" + url.rpartition("/repair_")[2].partition("?")[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request, tmp_path):
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    made = Databases(request.param, tmp_path, server)
    yield made
    made.drop()


@pytest.fixture
def settings(databases, tmp_path):
    """Where the store is."""
    return Settings(str(tmp_path / "store"), databases.empty(), "main", tmp_path / "artifacts")


def draft(name, files, **options):
    made = Artifact(name, **options)
    for path, content in files.items():
        made.add_bytes(content, path)
    return made


def run(store, project="main", **options):
    return start_run(store, project, capture=Capture.none(), interval=None, **options)


def fill(store):
    """Use everything that makes events and rows."""
    first = store.log(
        draft("Daten", {"a": b"alpha", "big": BIG, "sub/é ☃": b"", "same": b"alpha"}, type="dataset"),
        tags=["raw", "needs review"],
        aliases=["clean"],
    )
    second = first.new_draft()
    second.add_bytes(BIG[: 1 << 20] + b"changed" + BIG[1 << 20 :], "big", overwrite=True)
    second.remove("same")
    second = store.log(second, aliases="other")
    store.promote(second.ref, "clean", reason="better; ☃", expect=first.version)
    store.remove_alias("Daten", "other", reason="not needed")
    store.promote(first.ref, "Other")
    second.metadata = {"tokens": 9, "nested": {"é": [1, 2.5, None]}}
    second.description, second.tags = "the second", ["checked"]
    second.save()
    first.tags = []
    first.save()
    with run(store, name="train", config={"lr": 0.1, "api_key": "x"}, tags=["gpu"], group="g", notes="n") as training:
        training.use_artifact("Daten:clean")
        training.use_artifact(first.ref)
        training.summary["acc"] = 0.5
        training.save()
        training.log_artifact(draft("model", {"w": b"weights"}, type="model", metadata={"acc": 0.5}), aliases=["best"])
    with run(store, job_type="again") as again:
        again.use_artifact("model")
        again.log_artifact(draft("model", {"w": b"weights"}, metadata={"acc": 0.75}))
        again.log_artifact(draft("empty", {}, type="nothing"))
        again.tags, again.notes = ["late"], "words"
    with contextlib.suppress(ZeroDivisionError), run(store, "side/project", name="fails"):
        store.log(draft("Daten", {"other": b"project"}), project="side/project")
        raise ZeroDivisionError
    run(store, name="still running")
    clear(store)


def clear(store):
    """Delete, restore, and give up for good, so that a collection has packs to delete and to repack."""
    for number in range(2):
        store.log(draft("scrap", {f"{n}": b"%d %d" % (number, n) * 500 for n in range(9)}))
    store.log(draft("kept", {"0": b"1 0" * 500}))
    store.delete("scrap:v0", "scrap:v1", reason="not needed")
    store.restore("scrap:v0", reason="needed after all")
    report = store.gc(grace=timedelta(0), reason="room")
    assert len(report.purged) == 1
    assert report.packs.freed.packs > 1
    assert report.packs.written > 0
    store.log(draft("scrap", {"x": b"deleted and in its grace"}))
    store.delete("scrap:v2")


def rows_of(store):
    def read(connection):
        return {name: [tuple(row) for row in connection.execute(text(sql))] for name, sql in TABLES.items()}

    return {name: sorted(found, key=repr) for name, found in store.engine.database.read(read).items()}


def contents(store):
    return {
        f"{version.ref}/{entry.path}": entry.read_bytes()
        for one in store.collections()
        for version in store.versions(f"{one.project}/{one.name}")
        if version.state == "live"
        for entry in store.artifact(version.ref).files()
    }


def snapshot(settings):
    with open_settings(settings) as store:
        return rows_of(store), contents(store)


def require_whole(settings, rows, files, target):
    """Everything is as it was, check agrees, and the next log gets the next number."""
    with open_settings(settings) as store:
        found = rows_of(store)
        for name in TABLES:
            assert found[name] == rows[name], name
        report = store.check(read_data=True)
        assert (report.problems, report.notes) == ([], [])
        assert contents(store) == files
        chosen = store.artifact("Daten:clean")
        chosen.download(target)
        assert (target / "big").read_bytes() == files[f"{chosen.ref}/big"]
        numbers = [version.number for version in store.versions("Daten")]
        assert store.log(draft("Daten", {"new": str(target).encode()})).record.number == max(numbers) + 1
        assert store.resolve("Daten:latest").number == max(numbers) + 1
        assert store.check().clean


@pytest.fixture
def filled(settings):
    with lineart.create(settings.url, settings.database, project="main") as store:
        fill(store)
    rows, files = snapshot(settings)
    assert all(rows.values()), "every table has rows"
    return rows, files


def test_a_lost_database_is_rebuilt_equal(databases, settings, filled, tmp_path):
    databases.lose(settings.database)
    with pytest.raises(NotFound, match="art repair database"):
        open_settings(settings)
    repaired = repair(settings)
    assert repaired.damaged == []
    assert (repaired.events, repaired.packs) == (len(filled[0]["events"]), len(filled[0]["packs"]))
    require_whole(settings, *filled, tmp_path / "out")


def test_a_lost_database_is_rebuilt_on_another_server_or_disk(databases, settings, filled, tmp_path):
    elsewhere = replace(settings, database=databases.empty())
    repair(elsewhere)
    require_whole(elsewhere, *filled, tmp_path / "out")


def test_a_healthy_store_is_left_as_it_is(settings, filled, tmp_path):
    repaired = repair(settings)
    assert (repaired.events, repaired.packs, repaired.chunks, repaired.damaged) == (0, 0, 0, [])
    require_whole(settings, *filled, tmp_path / "out")


def test_an_older_backup_is_refused_for_writing_and_brought_up_to_date(databases, settings, tmp_path):
    with lineart.create(settings.url, settings.database, project="main") as store:
        store.log(draft("Daten", {"first": b"1"}, type="dataset"), aliases=["clean"])
        store.log(draft("Daten", {"first": b"2"}))
    backup = databases.copy(settings.database)
    with open_settings(settings) as store:
        fill(store)
    rows, files = snapshot(settings)
    restored = replace(settings, database=backup)
    with open_settings(restored) as store, pytest.raises(Conflict, match="art repair database"):
        store.log(draft("Daten", {"too": b"early"}))
    repair(restored)
    require_whole(restored, rows, files, tmp_path / "out")


def test_a_repair_beside_logs_that_are_under_way_loses_nothing(settings, filled, tmp_path):
    """Logs go on in threads of their own while the database is repaired again and again."""
    done = threading.Event()
    failures = []

    def work(number):
        try:
            with open_settings(settings) as store:
                for turn in range(6):
                    store.log(draft(f"busy{number}", {"x": random.Random(number * 100 + turn).randbytes(300_000)}))
        except BaseException as error:
            failures.append(error)

    def mend():
        while not done.is_set():
            repair(settings)

    mender = threading.Thread(target=mend)
    mender.start()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    done.set()
    mender.join()
    assert failures == []
    with open_settings(settings) as store:
        assert [len(store.versions(f"busy{number}")) for number in range(2)] == [6, 6]
        assert store.check(read_data=True).problems == []
        for number, turn in itertools.product(range(2), range(6)):
            expected = random.Random(number * 100 + turn).randbytes(300_000)
            assert store.artifact(f"busy{number}:v{turn}").read_bytes("x") == expected


def test_a_damaged_pack_costs_what_it_held_and_logging_it_again_heals_it(databases, settings, filled):
    packs = sorted(Path(settings.url, "packs").rglob("*"), key=lambda one: one.stat().st_size if one.is_file() else 0)
    packs[-1].write_bytes(packs[-1].read_bytes()[:-1])
    databases.lose(settings.database)
    repaired = repair(settings)
    assert [Path(where).name for where, _ in repaired.damaged] == [packs[-1].name]
    with open_settings(settings) as store:
        found = rows_of(store)
        for name in set(TABLES) - {"packs", "chunks"}:
            assert found[name] == filled[0][name], name
        assert store.artifact("model:best").read_bytes("w") == b"weights"
        assert not store.check().clean
        store.log(draft("Daten", {"a": b"alpha", "big": BIG, "sub/é ☃": b"", "same": b"alpha"}))
        assert store.artifact("Daten:v0").read_bytes("big") == BIG
