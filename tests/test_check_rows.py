"""`check(journal=True)`: a row that no event accounts for is found, said in words, and mended; nothing else is.

Edits are made as somebody with a database's shell would make them: behind the store's back, foreign keys unwatched.
"""

import random
import sqlite3
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, Text, create_engine, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError as Refused

from lineart.artifacts.artifact import Artifact
from lineart.artifacts.moves import Moves
from lineart.keeping import compared_tables
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.settings import Settings
from lineart.storage import journal as journal_module
from lineart.storage import repair as repair_module
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.check import CheckReport
from lineart.storage.check_journal import check_journal
from lineart.storage.database import Database, Transaction
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, FormatTooNew, IntegrityError, NotFound, StoreUnavailable
from lineart.storage.events import Event
from lineart.storage.journal import Journal, checksum
from lineart.storage.layout import JOURNAL, journal_key, pack_key, parse_journal_key
from lineart.storage.pack import PackKind
from lineart.storage.recorded import Recorded
from lineart.storage.rejournal import restore_journal
from lineart.storage.repair import repair_database
from lineart.storage.repair_preview import preview_repair
from lineart.storage.rows import plans
from lineart.storage.rows_check import LISTED, PASSED, RowReport, compare_rows
from lineart.storage.rows_mend import mend
from lineart.storage.shadow import Shadow
from lineart.storage.tables import METADATA, event
from lineart.store import FOLDS, Store

NAMES = ["model", "Data"]
ALIASES = ["best", "Production"]


class Shelf:
    """A store whose bucket is in memory, and a shell on its database."""

    def __init__(self, url, folder, bucket=None):
        """Make a store, or open the one that is in the bucket."""
        self.url, self.bucket = url, bucket or MemoryBackend("bucket")
        self.settings = Settings("memory://bucket", None, "p", folder / "downloads")
        begin = Engine.create if bucket is None else Engine.open
        self.store = Store(begin(self.bucket, url, actor="ana@here", folds=FOLDS), self.settings)
        self._shell = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    @contextmanager
    def shell(self):
        """Lend a connection that watches no foreign key."""
        with self._shell.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection

    def run(self, sql, **values):
        with self.shell() as connection:
            return connection.execute(text(sql), values) if values else connection.exec_driver_sql(sql)

    def rows(self, table):
        with self.shell() as connection:
            return sorted(map(tuple, connection.execute(select(table))), key=repr)

    def check(self):
        """Compare, and nothing else."""
        report, moves = CheckReport(), Moves()
        check_journal(self.store.engine, report, compared_tables(), look=moves.look)
        moves.tell(report)
        return report

    def said(self):
        return [f"{where}: {what}" for where, what in self.check().problems]

    def repair(self, work=repair_database):
        return work(self.bucket, self.url, actor="bo", folds=FOLDS, compared=compared_tables())

    def preview(self):
        return self.repair(preview_repair)

    def close(self):
        self.store.close()
        self._shell.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def shelf(request, tmp_path):
    url = f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = Shelf(url, tmp_path)
    yield made
    made.close()


def log(store, name, content, *, aliases=(), **more):
    draft = Artifact(name, type="thing", **more)
    draft.add_bytes(content, "a")
    return store.log(draft, aliases=aliases)


def run(store, **more):
    return start_run(store, "p", capture=Capture.none(), interval=None, **more)


def fill(store, folder):
    """Give every table that is compared a row."""
    log(store, "model", b"one", aliases=["best", "production"], metadata={"acc": 0.5})
    second = log(store, "model", b"two", aliases=["production"])
    second.tags, second.description = ["gold", "needs review"], "the second"
    second.save()
    with run(store, id="rtrain", name="train", tags=["gpu"], config={"lr": 0.1}) as training:
        training.use_artifact("model:best")
        made = Artifact("bundle", type="thing")
        made.add_bytes(b"bundle", "b")
        training.log_artifact(made)
    (folder / "outside").mkdir()
    (folder / "outside" / "x").write_bytes(b"outside")
    far = Artifact("far", type="thing")
    far.add_reference((folder / "outside").as_uri())
    store.log(far)
    store.delete("bundle:v0", force=True)
    store.log(Artifact("empty", type="nothing"), project="side/Project")


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory):
    """The objects and the database of a store in which every table has a row."""
    folder = tmp_path_factory.mktemp("filled")
    made = Shelf(f"sqlite:///{folder}/store.db", folder)
    fill(made.store, folder)
    made.close()
    objects = {info.key: made.bucket.get(info.key) for info in made.bucket.list("")}
    return objects, (folder / "store.db").read_bytes()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def filled(request, filled_once, tmp_path):
    """A shelf in which every table has a row; on PostgreSQL the database is rebuilt from the bucket."""
    objects, database = filled_once
    bucket = MemoryBackend("bucket")
    for key, data in objects.items():
        bucket.put(key, [data])
    if request.param == "sqlite":
        (tmp_path / "store.db").write_bytes(database)
        url = f"sqlite:///{tmp_path}/store.db"
    else:
        url = request.getfixturevalue("postgres_url")
        repair_database(bucket, url, actor="ana@here", folds=FOLDS)
    made = Shelf(url, tmp_path, bucket)
    assert made.said() == []
    yield made
    made.close()


# What is found, and how it is said


def test_nothing_is_wrong_with_a_store_that_only_events_have_changed(filled):
    report = filled.store.check(journal=True)
    assert (report.problems, report.rows.wrong, report.rows.more) == ([], [], 0)
    assert report.rows.seq == report.events == filled.store.engine.database.store().seq
    assert filled.store.check().rows is None
    assert all(filled.rows(one.table) for one in compared_tables()), "every table has a row"


def test_an_alias_that_was_moved_without_a_trace_is_found(filled):
    filled.run("UPDATE alias SET version = (SELECT min(id) FROM version) WHERE key = 'production'")
    (found,) = filled.said()
    day = filled.store.history("model", "production")[-1].time
    assert found.startswith("alias production of p/model: the database says v0, the journal says v1 (since ")
    assert found.endswith(" by ana@here)")
    row = filled.check().rows.wrong[0]
    assert (row.table, row.here, row.journal) == (
        "alias",
        {"version": ("p", "model", 0)},
        {"version": ("p", "model", 1)},
    )
    assert (row.since, row.actor) == (day, "ana@here")


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (
            ["DELETE FROM alias WHERE key = 'best'"],
            "alias best of p/model: in the journal (v0) and not in the database",
        ),
        (
            ["UPDATE alias SET key = 'prime', name = 'Prime' WHERE key = 'best'"],
            "alias Prime of p/model: in the database (v0) and not in the journal",
        ),
        (
            ["UPDATE version SET number = 9 WHERE number = 1"],
            "version p/model:v9: in the database and not in the journal",
        ),
        (["UPDATE version SET size = 7 WHERE number = 1"], "version p/model:v1: its size: the database says 7, the"),
        (
            ["UPDATE version SET state = 'live', deleted = NULL WHERE state = 'deleted'"],
            "version p/bundle:v0: its state: the database says live, the journal says deleted; its deletion: the data",
        ),
        (
            ["UPDATE version SET description = 'the \u202etsrif\n', data = '{\"acc\":1}' WHERE number = 1"],
            'version p/model:v1: its description: the database says "the \u202etsrif\n", the journal says "the second',
        ),
        (
            [f"UPDATE version SET data = '{'x' * 10_000}' WHERE number = 1"],
            "version p/model:v1: its metadata is another in the database than in the journal (since",
        ),
        (
            ["UPDATE collection SET next_number = 7 WHERE key = 'model'"],
            "collection p/model: its next number: the database says 7, the journal says 2 (since",
        ),
        (
            ["UPDATE project SET name = 'SIDE/project' WHERE key = 'side/project'"],
            "project side/Project: its name: the database says SIDE/project, the journal says side/Project (since",
        ),
        (
            ["DELETE FROM tag WHERE name = 'gold'"],
            "tag gold of p/model:v1: in the journal and not in the database (since",
        ),
        (["UPDATE reference SET objects = 5"], "place file://"),
        (["UPDATE run SET state = 'failed', exit_code = 3"], "run rtrain: its state: the database says failed, the"),
        (["DELETE FROM run_tag"], "tag gpu of run rtrain: in the journal and not in the database (since"),
        (
            ["DELETE FROM edge WHERE direction = 'used'"],
            "edge: run rtrain used p/model:v0: in the journal and not in the database (since",
        ),
        (
            ["UPDATE edge SET time = 1"],
            "edge: run rtrain produced p/bundle:v0: its time: the database says 1970-01-01T",
        ),
        (["UPDATE store SET created = 1"], "store: its creation: the database says 1970-01-01T00:00:00.000001Z, the"),
    ],
)
def test_what_differs_is_said_in_peoples_words_and_mended(filled, edits, said):
    for one in edits:
        filled.run(one)
    found = filled.said()
    assert any(one.startswith(said) for one in found), found
    assert filled.repair().rows == len(found)
    assert filled.said() == []


def test_more_than_twenty_differences_are_counted(filled):
    for n in range(30):
        filled.run("INSERT INTO run_tag (run, name) VALUES ('rtrain', :name)", name=f"t{n:02}")
    filled.run("DELETE FROM tag")
    report = filled.check()
    assert len(report.rows.wrong) == LISTED == len(report.problems) - 1
    assert report.rows.more == 12
    assert report.rows.counts == {"run_tag": 30, "tag": 2}
    assert report.problems[-1].what.startswith(
        "12 more rows are not what the journal says; of each table: tag 2, run_tag"
    )
    assert filled.repair().rows == 32
    assert filled.said() == []


# What is compared, and what is not


def test_every_column_of_every_table_is_compared_or_named_with_a_reason():
    compared = {one.table.name: one for one in compared_tables()}
    assert {*compared, *PASSED} == set(METADATA.tables)
    assert not compared.keys() & PASSED.keys()
    passed = {name: dict(one.passed) for name, one in compared.items() if one.passed}
    assert {name: set(columns) for name, columns in passed.items()} == {
        "store": {"id", "seq", "journalled"},
        "project": {"id"},
        "collection": {"id"},
        "version": {"id"},
        "run": {"heartbeat"},
        "edge": {"id"},
    }
    for name, one in compared.items():
        assert {*one.key, *one.values, *one.passed} == {column.name for column in one.table.c}, name
        assert all(one.passed.values())
    assert all(PASSED.values())


def another(value, column):
    """Return some other value that the column can hold."""
    if value is None:
        return "now it is there" if isinstance(column.type, Text) else 1
    if isinstance(column.type, LargeBinary):
        return bytes([value[0] ^ 1]) + value[1:]
    return f"{value}x" if isinstance(column.type, Text) else value + 1000


EDITABLE = [
    (one.table.name, column)
    for one in compared_tables()
    for column in (*one.key, *one.values)
    if column != "store_id"  # a database of another store is not opened
]


def test_another_value_in_any_compared_column_is_found_and_mended(filled):
    database = filled.store.engine.database
    with Shadow(database.store_id, database.folds) as shadow:
        shadow.fold(filled.store.engine.journal.events())
        for name, column in EDITABLE:
            table = METADATA.tables[name]
            with filled.shell() as connection:
                row = connection.execute(select(table)).mappings().first()
                same = [table.c[key.name] == row[key.name] for key in table.primary_key]
                other = another(row[column], table.c[column])
                connection.execute(update(table).where(*same).values({column: other}))
            counts = compare_rows(database, shadow, compared_tables()).counts
            assert counts[name] > 0, (name, column)
            ordered = plans(compared_tables())
            mended = database.write(lambda tx, ordered=ordered: mend(tx, shadow, ordered, RowReport()))
            assert mended.counts == counts, (name, column)
            assert not compare_rows(database, shadow, compared_tables()).counts, (name, column)
    assert filled.said() == []


def test_a_database_that_became_another_stores_is_found(filled):
    filled.run("UPDATE store SET store_id = 'another'")
    assert filled.check().rows.counts == {"store": 2}
    with pytest.raises(Conflict, match="belongs to store"):
        filled.repair()


def test_what_is_of_the_moment_may_differ(filled):
    filled.run("UPDATE run SET heartbeat = heartbeat + 77")
    filled.run("INSERT INTO session (id, actor, opened, expires) VALUES ('s', 'me', 1, 2)")
    filled.run("INSERT INTO stray (key, seen) VALUES ('k', 2)")
    assert filled.said() == []
    assert filled.repair().rows == 0


def test_a_table_that_was_emptied_is_filled_again(filled):
    before = {one.table.name: len(filled.rows(one.table)) for one in compared_tables()}
    for table in [one.table for one in compared_tables() if one.table.name != "store"]:
        with filled.shell() as connection:
            connection.execute(delete(table))
        assert filled.check().rows.counts[table.name] > 0
        filled.repair()
        assert filled.said() == []
        assert {one.table.name: len(filled.rows(one.table)) for one in compared_tables()} == before


def test_rows_that_are_right_keep_their_ids_and_their_signs_of_life(filled):
    filled.run("UPDATE run SET heartbeat = 5, state = 'running'")
    filled.run("DELETE FROM version WHERE number = 1")
    kept = filled.run("SELECT id FROM version ORDER BY id").scalars().all()
    assert filled.repair().rows > 1
    assert set(kept) < set(filled.run("SELECT id FROM version").scalars())
    assert filled.run("SELECT heartbeat FROM run").scalar_one() == 5
    assert filled.store.artifact("model:production").version == "v1"
    assert filled.store.check(read_data=True, journal=True).problems == []
    assert log(filled.store, "model", b"three").version == "v2"


STRANGE = [
    "a",
    "B",
    "_",
    "é",
    "e\u0301",
    "Z",
    "a b",
    "A",
    "\uff5e",
    "\U0001f600",
    "\U00010000",
    "ß",
    "zz",
    "<b>",
    "'; --",
    "%s",
]


def test_text_is_put_in_one_order_by_every_database(shelf):
    """Sorted by a language's rules, or by other units than code points, rows would miss one another."""
    log(shelf.store, "model", b"one")
    words = {"name": "n", "job_type": None, "group": None, "notes": None}
    more = {"config": {}, "summary": {}, "code": {}, "environment": {}}
    for n, names in enumerate([STRANGE, STRANGE[::-1], STRANGE[::2]]):
        data = {"id": f"r{n}", "project": "p", **words, "tags": names, **more}
        shelf.store.engine.write(lambda tx, data=data: tx.record("run.started", f"run:{data['id']}", data))
    assert shelf.said() == []
    shelf.run("DELETE FROM run_tag WHERE run = 'r1'")
    assert shelf.check().rows.counts == {"run_tag": len(STRANGE)}
    assert shelf.repair().rows == len(STRANGE)
    assert shelf.said() == []


def test_postgresql_puts_text_in_order_by_code_points_whatever_its_own_rules_are():
    """The server that tests have knows no other rules, so the statement itself is looked at."""
    for plan in plans(compared_tables()):
        order = plan.statement(postgresql.dialect()).partition("ORDER BY")[2].split(",")
        assert order, plan.table.name
        for one in order:
            assert ('COLLATE "C"' in one) == (not one.strip().startswith(("version_1.number", "version.number"))), one


# Beside writers


def test_events_that_are_not_in_the_bucket_yet_are_allowed_for(filled):
    filled.store.engine.database.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
    report = filled.check()
    assert report.problems == []
    assert "not in the journal yet" in report.notes[0]
    filled.run("DELETE FROM project WHERE key = 'q'")
    assert [one[:40] for one in filled.said()] == ["project q: in the journal and not in the"]


def test_what_is_committed_between_journal_and_rows_is_allowed_for(filled):
    """When all events are told of, the rows are still to be read."""
    report = CheckReport()
    after = []

    def write(_):
        after.append(log(filled.store, "model", b"meanwhile", aliases=["production"]))

    check_journal(filled.store.engine, report, compared_tables(), write)
    assert after[0].version == "v2"
    assert report.problems == []
    assert report.rows.seq == filled.store.engine.database.store().seq


def test_a_check_beside_a_writer_raises_no_false_alarm(filled):
    ended = threading.Event()

    def write():
        try:
            with Store(Engine.open(filled.bucket, filled.url, actor="bo", folds=FOLDS), filled.settings) as other:
                for n in range(12):
                    log(other, "model", b"%d" % n, aliases=["production"])
                    with run(other) as one:
                        one.use_artifact("model:production")
                    other.delete(f"model:v{n}", force=True)
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    reports = []
    while not ended.is_set() or len(reports) < 2:
        reports.append(filled.check())
    writer.join()
    assert [one.problems for one in reports if one.problems] == []
    assert reports[-1].events > reports[0].events


def test_a_repair_beside_a_writer_leaves_both_whole(filled):
    filled.run("UPDATE version SET size = 7 WHERE number = 1")
    filled.run("DELETE FROM edge")
    started = threading.Event()

    def write():
        with Store(Engine.open(filled.bucket, filled.url, actor="bo", folds=FOLDS), filled.settings) as other:
            for n in range(12):
                log(other, "Data", b"%d" % n, aliases=["production"])
                started.set()

    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    assert filled.repair().rows == 3
    writer.join()
    assert filled.said() == []
    assert len(filled.store.versions("Data")) == 12


# Where one of the two has lost events


def journal_of(shelf):
    return sorted(info.key for info in shelf.bucket.list(JOURNAL))


@pytest.mark.parametrize("at", [3, -2, -1])
def test_what_the_bucket_has_lost_is_named_and_never_dropped(filled, at):
    gone = journal_of(filled)[at]
    filled.bucket.delete([gone])
    found = "\n".join(filled.said())
    assert "in the database and not in the journal; a database that is rebuilt from the bucket would lack" in found
    assert filled.check().rows.counts == {}
    filled.run("UPDATE version SET size = 7 WHERE number = 1")
    assert filled.check().rows.counts == {"version": 1}
    if at == -1:
        with pytest.raises(Conflict, match="the bucket has fewer"):
            filled.repair()
    else:
        assert filled.repair().rows == 1
        assert filled.check().rows.counts == {}


@pytest.mark.parametrize("gone", [[0], [-1], [2, 3, 4], [1, 3, -1], range(99)])
def test_what_the_bucket_has_lost_is_written_again_to_the_byte(filled, gone):
    keys = journal_of(filled)
    lost = [keys[at] for at in gone if at < len(keys)]
    before = [(one.seq, line) for one, line in filled.store.engine.journal.lines()]
    filled.bucket.delete(lost)
    count = sum(int(name[1]) - int(name[0]) + 1 for name in (Path(key).name.split("-") for key in lost))
    assert filled.store.repair_journal() == count
    assert [(one.seq, line) for one, line in filled.store.engine.journal.lines()] == before
    assert filled.said() == []
    assert filled.store.repair_journal() == 0
    assert filled.repair().rows == 0


def test_a_damaged_object_of_the_journal_is_stood_in_for(filled):
    key = journal_of(filled)[2]
    filled.bucket.put(key, [filled.bucket.get(key)[:-3]])
    assert not filled.check().clean
    assert filled.store.repair_journal() > 0
    assert filled.said() == []


def test_events_that_are_waiting_for_the_journal_are_left_to_the_next_write(filled):
    filled.store.engine.database.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
    assert filled.store.repair_journal() == 0


def test_a_journal_of_another_history_is_not_added_to(filled):
    filled.bucket.delete([journal_of(filled)[2]])
    filled.run("UPDATE event SET actor = 'nobody' WHERE seq = (SELECT max(seq) FROM event)")
    keys = journal_of(filled)
    with pytest.raises(Conflict, match="two histories"):
        filled.store.repair_journal()
    assert journal_of(filled) == keys


def test_what_is_written_again_keeps_to_folders_and_sizes(filled):
    """The journal is lost as a whole, and is written in the objects that the format allows."""
    keys = journal_of(filled)
    filled.bucket.delete(keys)
    restore_journal(filled.store.engine, span=7, largest=900)
    names = [parse_journal_key(key) for key in journal_of(filled)]
    assert len(names) > 4
    assert all(one.first // 7 == one.last // 7 for one in names)
    assert filled.said() == []


def test_events_that_the_database_has_lost_come_back(filled):
    with filled.shell() as connection:
        gone = connection.execute(select(event.c.seq).order_by(event.c.seq)).scalars().all()[2:4]
        connection.execute(delete(event).where(event.c.seq.in_(gone)))
    found = "\n".join(filled.said())
    assert f"events {gone[0]} to {gone[1]} (" in found
    assert "in the journal and not in the database" in found
    preview, repaired = filled.preview().changed, filled.repair().changed
    assert preview.wrong[0].thing == f"event {gone[0]}"
    assert preview.counts == repaired.counts == {"event": 2}
    assert filled.said() == []


def test_an_older_backup_lacks_what_came_after_it(filled):
    with filled.shell() as connection:
        last = connection.execute(select(event.c.seq).order_by(event.c.seq.desc())).scalars().first()
    made = log(filled.store, "late", b"late")
    now = filled.store.engine.database.store().seq
    with filled.shell() as connection:
        for sql in ("DELETE FROM alias WHERE version = {0}", "DELETE FROM version WHERE id = {0}"):
            connection.execute(text(sql.format(made.record.id)))
        connection.execute(text("DELETE FROM collection WHERE key = 'late'"))
        connection.execute(delete(event).where(event.c.seq > last))
        connection.execute(text(f"UPDATE store SET seq = {last}, journalled = {last}"))
    filled.run("UPDATE alias SET version = (SELECT min(id) FROM version) WHERE key = 'production'")
    before = {name: filled.rows(table) for name, table in METADATA.tables.items()}
    preview = filled.preview()
    assert {name: filled.rows(table) for name, table in METADATA.tables.items()} == before
    assert (preview.events, preview.rows, preview.changed.counts) == (now - last, 1, {"alias": 1})
    found = filled.said()
    assert any(one.startswith(f"database: events {last + 1} to {now} (p/late) are in the journal") for one in found)
    assert any(one.startswith("version p/late:v0: in the journal and not in the database") for one in found)
    repaired = filled.repair()
    assert (repaired.events, repaired.changed.counts) == (now - last, {"alias": 1})
    assert filled.said() == []


def test_an_older_backup_that_was_edited_is_mended_before_events_build_on_it(filled):
    """What an event behind it changes would be nowhere to be found."""
    older = filled.store.engine.database.store().seq
    second = log(filled.store, "model", b"three")
    filled.run(f"DELETE FROM event WHERE seq > {older}")
    filled.run(f"UPDATE store SET seq = {older}, journalled = {older}")
    filled.run("UPDATE collection SET key = 'another' WHERE key = 'model'")
    filled.run("DELETE FROM version WHERE number = 2")
    filled.run("UPDATE alias SET version = (SELECT min(id) FROM version) WHERE key = 'latest'")
    before = filled.preview()
    after = filled.repair()
    assert before.events == after.events > 0
    assert before.changed.counts == after.changed.counts
    assert filled.said() == []
    assert filled.store.artifact("model:latest").ref == second.ref


def test_a_history_that_was_rewritten_is_found_and_is_not_for_a_program_to_judge(filled):
    filled.run("UPDATE event SET actor = 'nobody' WHERE seq = 4")
    assert filled.said() == ["journal: event 4 is another in the bucket than in the database"]
    with pytest.raises(Conflict, match="event 4 is another"):
        filled.repair()


def test_a_row_and_its_event_that_were_both_rewritten_are_found_by_the_journal(filled):
    filled.run("UPDATE alias SET version = (SELECT min(id) FROM version) WHERE key = 'production'")
    sql = "UPDATE event SET data = replace(data, :old, :new) WHERE data LIKE :about"
    filled.run(sql, old='"to":1}', new='"to":0}', about="%production%")
    found = "\n".join(filled.said())
    assert "is another in the bucket than in the database" in found
    assert "alias production of p/model: the database says v0, the journal says v1" in found


@pytest.mark.parametrize("data", ["{", "[]", '{"project":"q","project":"q"}'])
def test_an_event_row_that_is_no_event_is_found(filled, data):
    filled.store.engine.database.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
    last = filled.store.engine.database.store().seq
    filled.run("UPDATE event SET data = :data WHERE seq = :seq", data=data, seq=last)
    assert any("its rows cannot be compared with the journal: the data of event" in one for one in filled.said())


def test_where_an_event_is_nowhere_rows_cannot_be_compared(filled):
    gone = journal_of(filled)[3]
    first, last = (int(one) for one in Path(gone).name.split("-")[:2])
    filled.bucket.delete([gone])
    filled.run(f"DELETE FROM event WHERE seq BETWEEN {first} AND {last}")
    found = "\n".join(filled.said())
    assert f"its rows cannot be compared with the journal: event {first} is in neither" in found
    assert "events are there" in found
    with pytest.raises(IntegrityError, match=f"event {first} is in neither"):
        filled.repair()


def test_a_kind_of_event_that_is_not_known_asks_for_an_upgrade(filled):
    known = {kind: fold for kind, fold in FOLDS.items() if kind != "alias.set"}
    engine = Engine.open(filled.bucket, filled.url, actor="bo", folds=known)
    with pytest.raises(FormatTooNew, match=r"alias\.set"):
        check_journal(engine, CheckReport(), compared_tables())
    engine.close()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("version.deleted", {"project": "p", "collection": "model", "number": 77}),
        ("version.deleted", {"project": "p", "collection": "model"}),
        ("version.logged", {"project": "p", "collection": "model", "number": 1, "digest": "b3:00"}),
        ("run.finished", {"id": "rtrain", "state": "finished", "exit_code": 1 << 70}),
        ("alias.set", {"project": [], "collection": {}, "alias": 5, "to": None}),
        ("project.created", {"project": "p"}),
    ],
)
def test_an_event_that_cannot_be_applied_is_named(filled, kind, data):
    """What nobody of ours has written stands in the journal: it is damage, and no bug."""
    with Shadow(filled.store.id, filled.store.engine.database.folds) as shadow:
        shadow.fold(filled.store.engine.journal.events())
        strange = Event(kind, "p/model", data, None, 1, "eve", shadow.seq + 1)
        message = f"event {strange.seq} \\({kind}\\) cannot be applied"
        with pytest.raises(IntegrityError, match=message):
            shadow.fold([strange])
    with pytest.raises(IntegrityError, match=message):
        filled.store.engine.database.write(lambda tx: tx.restore([strange]))


def test_a_temporary_folder_that_is_full_is_no_damage(filled):
    with Shadow(filled.store.id, filled.store.engine.database.folds) as shadow:
        shadow.connection.exec_driver_sql("PRAGMA max_page_count = 1")
        data = {"project": "x" * 100_000}
        with pytest.raises(StoreUnavailable, match="full"):
            shadow.fold(Event("project.created", "p", {"project": f"{n}{data}"}, None, 1, "a", n) for n in range(1, 99))


# Moves of an alias that contradict one another


def problems(shelf):
    report = shelf.store.check()
    return [f"{where}: {what}" for where, what in report.problems], report.notes


BY_HAND = "UPDATE alias SET version = (SELECT min(id) FROM version) WHERE key = '{}'"


def test_a_move_by_hand_that_the_next_promotion_covers_is_found(shelf):
    for n in range(3):
        log(shelf.store, "model", b"%d" % n)
    shelf.store.promote("model:v1", "Production")
    shelf.run(BY_HAND.format("production"))
    assert problems(shelf)[0] == [], "a promotion may still be on its way; --journal compares"
    shelf.store.promote("model:v2", "production")
    assert shelf.check().rows.wrong == []
    (found,), _ = problems(shelf)
    before, after = shelf.store.history("model", "production")
    day = datetime.fromtimestamp(after.time / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    assert found.startswith(
        f"alias production of p/model: event {after.seq} ({day} by ana@here) moved it from v0 to v2, but before that,"
        f" event {before.seq} ({day} by ana@here) had moved it to v1: in between something moved it without a trace"
    )
    assert "`art alias rm p/model:production --reason" in found
    shelf.store.promote("model:v1", "production", reason="as it should be")
    assert problems(shelf)[0] == [found], "a promotion does not cover it"
    shelf.store.remove_alias("model", "production", reason="moved by hand by bo: see ticket 7")
    shelf.store.promote("model:v1", "production")
    found, notes = problems(shelf)
    assert found == []
    assert len(notes) == 1
    assert "had moved it to v1" in notes[0]
    assert "began anew with event 13 (" in notes[0]
    assert '"moved by hand by bo: see ticket 7"' in notes[0]


def test_an_alias_that_was_made_or_removed_by_hand_is_found_at_its_next_move(shelf):
    first = log(shelf.store, "model", b"one", aliases=["gone"]).record
    log(shelf.store, "model", b"two")
    shelf.run("DELETE FROM alias WHERE key = 'gone'")
    sql = "INSERT INTO alias (collection, key, name, version) SELECT collection, 'odd', 'odd', id FROM version"
    shelf.run(f"{sql} WHERE id = {first.id}")
    shelf.store.promote("model:v1", "gone")
    shelf.store.remove_alias("model", "odd")
    gone, odd = problems(shelf)[0]
    assert "moved it from none to v1, but before that, event 6 (" in gone
    assert "took it from v0, but before that, no event had set it" in odd


def test_latest_that_was_moved_by_hand_is_a_note_once_it_has_followed_a_log_again(shelf):
    for n in range(2):
        log(shelf.store, "model", b"%d" % n)
    shelf.run(BY_HAND.format("latest"))
    log(shelf.store, "model", b"two")
    assert "the next log" in problems(shelf)[0][0]
    log(shelf.store, "model", b"three")
    found, notes = problems(shelf)
    assert (found, len(notes)) == ([], 1)


def test_moves_that_a_hole_lies_between_are_not_said_to_contradict_one_another(filled):
    """What happened in it is not known."""
    for n in range(3):
        filled.store.promote(f"model:v{n % 2}", "best")
    move = filled.store.history("model", "best")[-2]
    filled.bucket.delete([one for one in journal_of(filled) if f"{move.seq:012d}" in one])
    filled.run(f"DELETE FROM event WHERE seq = {move.seq}")
    assert not any("alias best" in one for one in problems(filled)[0])


@pytest.mark.parametrize(
    "data", [{}, {"alias": 5}, {"project": [], "collection": {}, "alias": "a", "from": "x", "to": -1}]
)
def test_an_event_of_an_alias_that_no_program_of_ours_wrote_stops_no_check(data):
    moves = Moves()
    for seq in (1, 2):
        event = Event("alias.set", "p/model", data, None, 10**20, "eve", seq)
        moves.look(Recorded(seq, event, None, same=True))
    moves.tell(CheckReport())


# What a repair would do


def test_a_dry_run_finds_the_packs_that_a_repair_enters_and_those_that_are_damaged(filled):
    key = filled.run("SELECT key FROM pack ORDER BY id LIMIT 1").scalar_one()
    filled.run("DELETE FROM chunk WHERE pack = (SELECT min(id) FROM pack)")
    filled.run("DELETE FROM pack WHERE id = (SELECT min(id) FROM pack)")
    filled.bucket.put(pack_key(PackKind.DATA, bytes(16)), [b"no pack at all"])
    would, did = filled.preview(), filled.repair()
    assert (would.packs, would.chunks, would.damaged) == (did.packs, did.chunks, did.damaged)
    assert (did.packs, [where for where, _ in did.damaged]) == (1, [pack_key(PackKind.DATA, bytes(16))])
    assert filled.run("SELECT count(*) FROM pack WHERE key = :key", key=key).scalar_one() == 1


def test_a_dry_run_refuses_what_a_repair_refuses(bent, tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE something (of_else)")
    for work in (repair_database, preview_repair):
        with pytest.raises(NotFound, match="no store has its database"):
            work(bent.bucket, f"sqlite:///{tmp_path}/other.db", actor="bo", folds=FOLDS)
        with pytest.raises(NotFound, match="its marker is the first thing"):
            work(MemoryBackend("empty"), bent.url, actor="bo", folds=FOLDS)
    bent.run("UPDATE store SET store_id = 'another'")
    for work in (repair_database, preview_repair):
        with pytest.raises(Conflict, match="belongs to store"):
            bent.repair(work)


# A hole in the journal, and no database that could fill it


@contextmanager
def salvaged(shelf, at):
    """Lose an object of the journal and the database; lend a function that repairs one elsewhere, and the object."""
    key = journal_of(shelf)[at]
    data = shelf.bucket.get(key)
    shelf.bucket.delete([key])
    url = f"{shelf.url}.new" if shelf.url.startswith("sqlite") else shelf.url

    def again(work=repair_database, **more):
        return work(shelf.bucket, url, actor="bo", folds=FOLDS, compared=compared_tables(), **more)

    yield url, again, (key, data)


def test_what_came_before_a_hole_is_there_to_be_read_and_later_events_are_not_applied(bent):
    bent.close()
    now = bent.store.engine.database.store().seq
    with salvaged(bent, 4) as (url, again, (key, data)):
        first, last = (int(one) for one in Path(key).name.split("-")[:2])
        for work in (repair_database, preview_repair):
            with pytest.raises(IntegrityError, match=r"breaks off after event .* `art repair database --up-to-hole`"):
                again(work)
        with pytest.raises(NotFound, match="has not come to an end"):
            Shelf(url, Path(url).parent, bent.bucket)
        preview, repaired = again(preview_repair, up_to_hole=True), again(up_to_hole=True)
        assert preview.hole == repaired.hole
        hole = repaired.hole
        assert (repaired.events, hole.after, hole.first, hole.last) == (first - 1, first - 1, last + 1, now)
        assert hole.behind == sum(hole.kinds.values()) == now - last
        part = Engine.open(bent.bucket, url, actor="bo", folds=FOLDS)
        assert part.database.store().seq == first - 1
        with pytest.raises(Conflict, match="nothing more is written"):
            part.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
        report = CheckReport()
        check_journal(part, report, compared_tables())
        assert not report.clean
        part.close()
        again(up_to_hole=True)
        bent.bucket.put(key, [data])
        assert again().hole is None
    whole = Shelf(url, Path(url).parent, bent.bucket)
    assert whole.said() == []
    assert {one.table.name: whole.rows(one.table) for one in compared_tables() if one.table.name != "run"} == {
        one.table.name: bent.rows(one.table) for one in compared_tables() if one.table.name != "run"
    }
    write(whole)
    whole.close()


def test_where_the_first_event_is_gone_there_is_nothing_to_rebuild(bent):
    with salvaged(bent, 0) as (_, again, _):
        for work in (preview_repair, repair_database):
            with pytest.raises(IntegrityError, match="nothing came before that"):
                again(work, up_to_hole=True)


def test_nobody_writes_over_a_hole_that_reaches_far_beyond_the_journals_next_folder(bent):
    """The tail of the journal is looked for where the next event would be, and there nothing is left."""
    keys = journal_of(bent)
    bent.bucket.delete(keys[4:])
    bent.bucket.put(*far_away())
    with salvaged(bent, 3) as (url, again, _):
        with pytest.raises(IntegrityError, match="breaks off"):
            again()
        assert again(up_to_hole=True).hole.last == 30_000
        for _ in range(2):
            part = Engine.open(bent.bucket, url, actor="bo", folds=FOLDS)
            with pytest.raises(Conflict, match="nothing more is written"):
                part.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
            part.close()
            with pytest.raises(IntegrityError, match="breaks off"):
                again()


class Stopped(Exception):
    """Stands for a process that was killed."""


@pytest.mark.parametrize("at", ["require_same_history", "_index_packs", "look_behind", "replay", "batch"])
def test_a_database_that_ends_at_a_hole_stays_barred_whenever_a_repair_stops(bent, monkeypatch, at):
    keys = journal_of(bent)
    bent.bucket.delete(keys[4:])
    bent.bucket.put(*far_away())

    def stop(*_):
        raise Stopped

    with salvaged(bent, 3) as (url, again, _), monkeypatch.context() as patch:
        if at != "batch":  # as a second repair, of a database that an earlier one left barred
            again(up_to_hole=True)
        if at == "batch":
            patch.setattr(journal_module, "BATCH", 1)
            restore = Transaction.restore
            patch.setattr(Transaction, "restore", lambda tx, some: stop() if some[0].seq == 3 else restore(tx, some))
        elif at == "replay":
            patch.setattr(Journal, "replay", stop)
        else:
            patch.setattr(repair_module, at, stop)
        with pytest.raises(Stopped):
            again(up_to_hole=True)
        patch.undo()
        part = Database.open(url, actor="bo", folds=FOLDS)
        counted = part.store()
        part.close()
        assert 0 < counted.seq < counted.journalled == 30_000


def far_away():
    """Return an object with one event far behind, and its key."""
    line = Event("project.created", "far", {"project": "far"}, None, 1, "ann", 30_000).to_line()
    return journal_key(30_000, 30_000, checksum(line)), [line]


# By lot


def draw_history(store, chance, steps):
    """Do some of everything; what a step is refused is no matter."""
    for n in range(steps):
        name, alias = chance.choice(NAMES), chance.choice(ALIASES)
        there = any(one.name == name for one in store.collections("p"))
        live = [one for one in store.versions(f"p/{name}") if one.state == "live"] if there else []
        act = chance.choice(
            ["log", "log", "promote", "drop", "delete", "restore", "tag", "run", "run", "project", "gc"]
        )
        try:
            if act == "log" or not live:
                log(store, name, chance.randbytes(3), aliases=chance.sample(ALIASES, chance.randrange(3)))
            elif act == "promote":
                store.promote(chance.choice(live).ref, alias, reason=chance.choice([None, "better; ☃"]))
            elif act == "drop":
                store.remove_alias(name, alias)
            elif act == "delete":
                store.delete(chance.choice(live), force=True)
            elif act == "restore":
                store.restore(chance.choice(store.versions(name)))
            elif act == "tag":
                made = store.artifact(chance.choice(live).ref)
                made.tags = chance.sample(["raw", "gold", "needs review"], chance.randrange(3))
                made.description = chance.choice([None, "words"])
                made.metadata = {"n": chance.random()}
                made.save()
            elif act == "project":
                log(store, f"side/{name}" if n % 2 else name, chance.randbytes(2), aliases=[alias])
                store.log(Artifact(name, type="thing"), project=chance.choice(["q", "team/Q"]))
            elif act == "gc":
                store.gc(grace=timedelta(0))
            else:
                with run(store, tags=chance.sample(["a", "b"], 1), config={"n": n}) as one:
                    one.use_artifact(chance.choice(live).ref)
                    product = Artifact(name, type="thing", metadata={"n": n})
                    product.add_bytes(chance.randbytes(1), "a")
                    one.log_artifact(product)
                    one.summary["n"] = n
                    _ = 1 / chance.randrange(5)  # now and then a run fails
        except (Conflict, KeyError, ValueError, ZeroDivisionError):
            continue


def draw_edit(shelf, chance):
    """Edit one row of one table that is compared; return the table, or None where the database refuses it."""
    one = chance.choice([one for one in compared_tables() if one.table.name != "store"])
    table = one.table
    columns = [table.c[name] for name in (*one.key, *one.values)]
    with shelf.shell() as connection:
        found = connection.execute(select(table)).mappings().all()
        if not found:
            return None
        row = dict(chance.choice(found))
        here = [table.c[key.name] == row[key.name] for key in table.primary_key]
        how = chance.choice(["update", "delete", "insert"])
        if how == "delete":
            connection.execute(delete(table).where(*here))
            return table, how
        column = chance.choice(columns if how == "update" else [table.c[name] for name in one.key])
        changed = {column.name: another(row[column.name], column)}
        if chance.random() < 0.3 and column.nullable and row[column.name] is not None:
            changed = {column.name: None}
        try:
            with connection.begin_nested():
                if how == "update":
                    connection.execute(update(table).where(*here).values(changed))
                else:
                    numbered = {key.name for key in table.primary_key if key.name in one.passed}
                    values = {name: value for name, value in row.items() if name not in numbered}
                    connection.execute(insert(table).values({**values, **changed}))
        except Refused:
            return None
        return table, f"{how} {changed}"


def require_found(shelf, chance, edits):
    done = 0
    while done < edits:
        edit = draw_edit(shelf, chance)
        if edit is None:
            continue
        done += 1
        report = shelf.check()
        assert report.rows.counts[edit[0].name] > 0, edit
        assert not report.clean
        assert shelf.repair().rows > 0, edit
        assert shelf.said() == [], edit


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_any_edit_of_any_row_behind_a_random_history_is_found_and_mended(shelf, seed):
    chance = random.Random(seed)
    draw_history(shelf.store, chance, 12)
    assert shelf.said() == []
    require_found(shelf, chance, 8)
    draw_history(shelf.store, chance, 5)
    assert shelf.said() == []


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_any_edit_behind_many_histories_is_found(tmp_path):
    for seed in range(1000, 1200):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        shelf = Shelf(f"sqlite:///{folder}/store.db", folder)
        chance = random.Random(seed)
        print("seed", seed)  # noqa: T201 - to draw it again
        draw_history(shelf.store, chance, chance.randrange(1, 30))
        assert shelf.said() == []
        require_found(shelf, chance, 10)
        shelf.close()


def test_a_check_reads_the_database_only(filled):
    before = {name: filled.rows(table) for name, table in METADATA.tables.items()}
    filled.run("UPDATE version SET size = 7 WHERE number = 1")
    edited = filled.rows(METADATA.tables["version"])
    with Shadow(filled.store.id, filled.store.engine.database.folds) as shadow:
        shadow.fold(filled.store.engine.journal.events())
        for _ in range(2):  # as after a connection that was lost
            assert compare_rows(filled.store.engine.database, shadow, compared_tables()).counts == {"version": 1}
    after = {name: filled.rows(table) for name, table in METADATA.tables.items()}
    assert after == {**before, "version": edited}


# What only a shell can write


@pytest.fixture
def bent(filled_once, tmp_path):
    """A shelf on SQLite, which holds any bytes as text; PostgreSQL does not."""
    objects, database = filled_once
    bucket = MemoryBackend("bucket")
    for key, data in objects.items():
        bucket.put(key, [data])
    (tmp_path / "store.db").write_bytes(database)
    made = Shelf(f"sqlite:///{tmp_path}/store.db", tmp_path, bucket)
    yield made
    made.close()


TEXTS = [
    (one.table.name, column)
    for one in compared_tables()
    for column in (*one.key, *one.values)
    if isinstance(one.table.c[column].type, Text) and column != "store_id"
]


@pytest.mark.parametrize(("table", "column"), TEXTS)
def test_text_that_is_not_utf_8_is_named_and_mended_in_any_column(bent, table, column):
    bent.run(f"UPDATE {table} SET \"{column}\" = CAST(X'61ff' AS TEXT) WHERE rowid = (SELECT max(rowid) FROM {table})")
    found = bent.said()
    assert found
    assert any("a\\xff" in one for one in found) or column in {"actor", "code", "config", "data", "key"}, found
    "".join(found).encode()
    assert bent.repair().rows > 0
    assert bent.said() == []


def test_an_event_whose_text_is_not_utf_8_is_another_than_the_journals(bent):
    bent.run("UPDATE event SET actor = CAST(X'61ff' AS TEXT) WHERE seq = 5")
    assert any(one.startswith("journal: event 5 is another") for one in bent.said())
    with pytest.raises(Conflict, match="event 5 is another"):
        bent.repair()


def write(shelf):
    engine = Engine.open(shelf.bucket, shelf.url, actor="bo", folds=FOLDS)
    try:
        engine.write(lambda tx: tx.record("project.created", "later", {"project": "later"}))
    finally:
        engine.close()


@pytest.mark.parametrize("edit", ["seq = seq + 5, journalled = seq + 5", "seq = seq + 5", "seq = seq - 5"])
def test_nobody_writes_where_events_are_counted_wrong_until_that_is_mended(filled, edit):
    before = filled.store.engine.database.store()
    filled.run(f"UPDATE store SET {edit}")
    assert filled.said()
    with pytest.raises(Conflict, match="`art repair database`"):
        write(filled)
    (would,) = filled.preview().changed.wrong
    assert would.thing == "store"
    assert f"the database says {filled.store.engine.database.store().seq}, there are {before.seq}" in would.what
    assert filled.repair().rows == 1
    assert filled.store.engine.database.store() == before
    assert filled.said() == []
    write(filled)
    assert filled.said() == []


def test_a_journal_that_is_said_to_be_longer_than_it_is_is_counted_anew(filled):
    before = filled.store.engine.database.store()
    filled.run("UPDATE store SET journalled = seq + 5")
    with pytest.raises(Conflict, match="`art repair database`"):
        write(filled)
    assert filled.repair().rows == 1
    assert filled.store.engine.database.store() == before


def test_event_rows_without_an_events_number_are_named_and_removed(filled):
    columns = "time, actor, kind, subject, reason, data"
    for seq in (0, -7):
        filled.run(f"INSERT INTO event (seq, {columns}) SELECT {seq}, {columns} FROM event WHERE seq = 3")
    (found,) = filled.said()
    assert found.startswith("database: 2 rows of events have a number that no event has, -7 among them")
    preview, repaired = filled.preview().changed, filled.repair().changed
    assert [one.thing for one in preview.wrong] == ["event -7", "event 0"] == [one.thing for one in repaired.wrong]
    assert preview.counts == repaired.counts == {"event": 2}
    assert filled.said() == []


def test_an_event_that_was_given_a_number_far_away_asks_for_a_new_database(filled):
    last = filled.store.engine.database.store().seq
    filled.run(f"UPDATE event SET seq = 1000 WHERE seq = {last}")
    assert filled.said()
    with pytest.raises(IntegrityError, match=r"event 1000 .* move it away"):
        filled.repair()


def test_a_store_that_is_named_twice_asks_for_a_new_database(bent):
    bent.close()
    bent.run("CREATE TABLE two AS SELECT * FROM store")
    bent.run("DROP TABLE store")
    bent.run("ALTER TABLE two RENAME TO store")
    bent.run("INSERT INTO store SELECT * FROM store")
    for begin in (bent.repair, lambda: Engine.open(bent.bucket, bent.url, actor="bo", folds=FOLDS)):
        with pytest.raises(IntegrityError, match=r"says twice .* `art repair database`"):
            begin()


def test_a_table_that_is_gone_asks_for_a_new_database(filled):
    filled.run("DROP TABLE alias")
    assert any("`art repair database`" in one for one in filled.said())
    with pytest.raises(IntegrityError, match="art repair database"):
        filled.repair()


def test_a_row_that_will_not_change_ends_a_repair_with_its_name(bent):
    bent.run("DELETE FROM run_tag")
    bent.run("UPDATE alias SET name = 'BEST' WHERE key = 'best'")
    bent.run("CREATE TRIGGER kept BEFORE UPDATE ON alias BEGIN SELECT RAISE(IGNORE); END")
    found = bent.said()
    with pytest.raises(IntegrityError, match="the row p/model/best of alias does not become"):
        bent.repair()
    assert bent.said() == found
