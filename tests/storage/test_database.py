"""Transactions, events and opening, on SQLite and on PostgreSQL."""

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from lineart.storage import events as events_module
from lineart.storage import tables
from lineart.storage.database import Database
from lineart.storage.engines import locate, make_engine
from lineart.storage.errors import Conflict, IntegrityError, InvalidInput, NotFound, StoreBusy, StoreUnavailable
from lineart.storage.turns import Turns

COLUMNS = ["digest", "pack", "offset", "stored", "size", "codec"]


def put(connection, event):
    """Fold: a pin stands for whatever an event changes."""
    values = {"session": event.subject, "digest": event.data["value"].encode()}
    connection.execute(text("INSERT INTO pin (session, digest) VALUES (:session, :digest)"), values)


FOLDS = {"put": put, "said": lambda connection, event: None}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path):
    """An empty database of each kind."""
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def database(url):
    """A new store's database."""
    made = Database.create(url, store_id="S1", actor="ann", folds=FOLDS)
    yield made
    made.close()


def events(database):
    wanted = tables.event.select().order_by(tables.event.c.seq)
    return database.read(lambda connection: connection.execute(wanted).all())


def value(row, **changes):
    return events_module.Event(**{**row._mapping, "data": json.loads(row.data), **changes})


def script(source, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_new_store_has_one_event(database, url):
    (first,) = events(database)
    assert (first.seq, first.kind, first.subject, first.actor, first.data) == (
        1, "store.created", "store", "ann", '{"store_id":"S1"}',
    )  # fmt: skip
    store = database.store()
    assert (store.store_id, store.seq, store.journalled, store.created) == ("S1", 1, 0, first.time)
    again = Database.open(url, actor="bob", folds=FOLDS)
    assert again.store() == store
    again.close()


def test_a_store_is_created_once(database, url):
    with pytest.raises(Conflict, match="S1"):
        Database.create(url, store_id="S2", actor="bob", folds=FOLDS)
    assert database.store().store_id == "S1"


def test_of_many_that_create_at_once_one_does(url):
    def create(number):
        try:
            made = Database.create(url, store_id=f"S{number}", actor="ann", folds=FOLDS)
        except Conflict as error:
            return str(error)
        made.close()
        return made

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(create, range(4)))
    made = [result for result in results if isinstance(result, Database)]
    assert len(made) == 1
    assert all(made[0].store_id in result for result in results if isinstance(result, str))


def test_an_event_is_applied_at_once_and_numbered_last(database):
    def work(tx):
        event = tx.record("put", "a", {"value": "x"}, "because")
        assert tx.execute(tables.pin.select()).one() == ("a", b"x")
        assert event.seq is None
        tx.record("said", "b", {"value": (1, 2)})
        return event

    event = database.write(work)
    first, second = events(database)[1:]
    assert (first.seq, first.time, first.reason, first.data) == (2, event.time, "because", '{"value":"x"}')
    assert (second.seq, second.time, second.reason, second.data) == (3, event.time, None, '{"value":[1,2]}')


def test_what_work_raises_undoes_the_transaction(database):
    def work(tx):
        tx.record("put", "a", {"value": "x"})
        raise NotFound("no such thing")

    with pytest.raises(NotFound, match="no such thing"):
        database.write(work)
    assert database.store().seq == 1
    assert database.read(lambda connection: connection.execute(tables.pin.select()).all()) == []


@pytest.mark.parametrize(
    ("subject", "data", "reason"),
    [
        ("a\0", {}, None),
        ("a", {}, "\0"),
        ("a", {}, "\ud800"),
        ("a", {"x": float("nan")}, None),
        ("a", {"x": b""}, None),
    ],
)
def test_an_event_that_cannot_be_kept_is_refused(database, subject, data, reason):
    with pytest.raises(InvalidInput):
        database.write(lambda tx: tx.record("said", subject, data, reason))
    assert database.store().seq == 1


def test_an_event_of_an_unknown_kind_is_a_mistake_of_the_program(database):
    with pytest.raises(KeyError, match="unheard"):
        database.write(lambda tx: tx.record("unheard", "a", {}))


def test_time_is_the_injected_clock_on_sqlite(tmp_path):
    ticks = iter(range(5_000_000, 9_000_000, 1000))
    url = f"sqlite:///{tmp_path}/store.db"
    database = Database.create(url, store_id="S1", actor="ann", folds=FOLDS, clock=lambda: next(ticks))

    def work(tx):
        before = tx.now()
        assert tx.now() == before
        tx.lock(tables.pin.select())
        return before, tx.now()

    assert database.store().created == 5000
    assert database.write(work) == (5001, 5002)
    database.close()


def test_text_of_any_language_is_kept(database):
    database.write(lambda tx: tx.record("said", "модель/é", {"value": "\0 🦀 \\"}, "理由"))
    assert events(database)[1].data == '{"value":"\\u0000 🦀 \\\\"}'
    assert events(database)[1].reason == "理由"


@pytest.mark.slow
def test_numbers_are_gapless_under_threads(database):
    def write(number):
        database.write(lambda tx: [tx.record("put", f"{number}", {"value": f"{i}"}) for i in range(number % 3 + 1)])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(60)))
    found = events(database)
    assert [event.seq for event in found] == list(range(1, 122))
    by_subject = [event.subject for event in found[1:]]
    assert all(by_subject.count(f"{number}") == number % 3 + 1 for number in range(60))


@pytest.mark.slow
def test_two_processes_write_without_starving_and_their_events_have_no_gaps(database, url):
    source = """
        import sys, time
        from lineart.storage.database import Database
        database = Database.open(sys.argv[1], actor="child", folds={"said": lambda connection, event: None})
        print("ready", flush=True)
        start = time.perf_counter()
        for i in range(200):
            database.write(lambda tx: tx.record("said", sys.argv[2], {"i": i}))
        print(time.perf_counter() - start)
    """
    children = [script(source, url, str(number)) for number in range(2)]
    outputs = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert all(float(output.split()[1]) < 20 for output, _ in outputs)
    assert [event.seq for event in events(database)] == list(range(1, 402))


def test_a_reader_sees_one_snapshot(database, url):
    other = Database.open(url, actor="bob", folds=FOLDS)

    def work(connection):
        count = text("SELECT count(*) FROM event")
        before = connection.execute(count).scalar_one()
        other.write(lambda tx: tx.record("said", "a", {}))
        return before, connection.execute(count).scalar_one()

    assert database.read(work) == (1, 1)
    assert len(events(database)) == 2
    other.close()


def test_a_transaction_inside_a_transaction_is_a_mistake_of_the_program(database):
    with pytest.raises(RuntimeError, match="is open in this thread"):
        database.write(lambda tx: database.store())


def test_patience_ends_with_who_may_hold_the_lock(database, url):
    hurried = Database.open(url, actor="bob", folds=FOLDS, patience=0.2)
    with pytest.raises(StoreBusy, match="locked by others") as caught:
        database.write(
            lambda tx: (tx.lock(tables.event.select()), hurried.write(lambda tx2: tx2.lock(tables.event.select())))
        )
    assert caught.value.transient
    if database.dialect == "sqlite":
        assert f"process {os.getpid()}" in str(caught.value)
    hurried.close()


def test_threads_of_one_process_are_told_too(tmp_path):
    database = Database.create(f"sqlite:///{tmp_path}/store.db", store_id="S1", actor="ann", folds=FOLDS, patience=0.0)
    inside, done = threading.Event(), threading.Event()

    def work(tx):
        inside.set()
        assert done.wait(30)

    thread = threading.Thread(target=database.write, args=(work,))
    thread.start()
    assert inside.wait(30)
    with pytest.raises(StoreBusy):
        database.write(lambda tx: None)
    done.set()
    thread.join()
    database.close()


def test_a_long_row_of_transactions_is_interrupted_for_others(tmp_path):
    pauses = []
    database = Database.create(
        f"sqlite:///{tmp_path}/store.db", store_id="S1", actor="ann", folds=FOLDS, sleep=pauses.append
    )
    for _ in range(10_000):
        database.write(lambda tx: None)
        if pauses:
            break
    assert pauses
    database.close()


def test_a_child_process_makes_connections_of_its_own(database):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        database.write(lambda tx: tx.record("said", "child", {}))
        os.write(writer, b"1")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 1) == b"1"
    database.write(lambda tx: tx.record("said", "parent", {}))
    assert [event.subject for event in events(database)] == ["store", "child", "parent"]
    os.close(reader)
    os.close(writer)


def test_many_rows_are_inserted_and_found(database):
    chunks = [(number.to_bytes(32, "big"), 7, 24, 100, 200, 1) for number in range(25_000)]
    database.write(lambda tx: tx.insert_many(tables.chunk, COLUMNS, iter(chunks)))
    database.write(lambda tx: tx.insert_many(tables.chunk, COLUMNS, chunks[:10], ignore=True))
    wanted = [number.to_bytes(32, "big") for number in range(20_000, 40_000)]
    sql = "SELECT digest, size % 7 FROM chunk WHERE digest {in} AND pack = 7"
    found = database.read(lambda connection: database.select_in(connection, sql, [*wanted, *wanted]))
    assert sorted(row.digest for row in found) == wanted[:5000]
    assert {row[1] for row in found} == {4}
    assert database.read(lambda connection: database.select_in(connection, sql, [])) == []


def test_events_of_the_journal_are_folded_once(database, url, tmp_path):
    database.write(lambda tx: tx.record("put", "a", {"value": "x"}))
    database.write(lambda tx: tx.record("put", "b", {"value": "y"}, "why"))
    journal = [value(row) for row in events(database)]
    blank = Database.create_blank(f"sqlite:///{tmp_path}/blank.db", store_id="S1", actor="eve", folds=FOLDS)
    assert blank.store().seq == 0
    assert blank.write(lambda tx: tx.restore(journal[:2])) == 2
    assert blank.write(lambda tx: tx.restore(journal)) == 3
    assert blank.write(lambda tx: tx.restore(journal)) == 3
    assert events(blank) == events(database)
    assert blank.store() == database.store()._replace(journalled=3)
    assert len(blank.read(lambda c: c.execute(tables.pin.select()).all())) == 2
    with pytest.raises(Conflict, match="cannot follow"):
        blank.write(lambda tx: tx.restore([value(events(database)[0], seq=9)]))
    with pytest.raises(Conflict, match="another in the journal"):
        blank.write(lambda tx: tx.restore([value(events(database)[0], seq=3)]))
    with pytest.raises(IntegrityError, match="cannot be applied"):
        blank.write(lambda tx: tx.restore([value(events(database)[1], seq=4, data={"wrong": 1})]))
    assert blank.store().seq == 3
    blank.close()


def test_a_network_filesystem_is_refused_with_a_way_out(tmp_path):
    mounts = f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path.resolve()} rw - nfs4 server:/a rw\n"
    with pytest.raises(StoreUnavailable, match=r"nfs4.*postgresql://"):
        make_engine(locate(f"sqlite:///{tmp_path}/store.db"), 1.0, mountinfo=mounts)


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite://", "sqlite:///:memory:", "sqlite:///", "sqlite://host/a.db", "mysql://u:secret@host/db", "postgresql://u:secret@host:port/db"],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url):
    with pytest.raises(InvalidInput) as caught:
        locate(url)
    assert "secret" not in str(caught.value)


def test_passwords_are_never_shown():
    location = locate("postgresql://ann:p%40ss%2Fword@db.example:5432/store?sslmode=require&sslpassword=other")
    assert location.shown == "postgresql://ann@db.example:5432/store?sslmode=require"
    assert location.scrub('password "p@ss/word" or p%40ss%2Fword or other') == 'password "***" or *** or ***'
    assert "word" not in repr(location)


def test_a_damaged_file_says_how_to_rebuild_it(tmp_path):
    (tmp_path / "store.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(IntegrityError, match="art repair database"):
        Database.open(f"sqlite:///{tmp_path}/store.db", actor="ann", folds=FOLDS)


def test_a_file_that_cannot_be_made_says_where_to_look(tmp_path):
    (tmp_path / "store.db").mkdir()
    with pytest.raises(StoreUnavailable, match="permissions") as caught:
        Database.create(f"sqlite:///{tmp_path}/store.db", store_id="S1", actor="ann", folds=FOLDS)
    assert not caught.value.transient


def test_a_missing_file_is_not_made_by_opening_it(tmp_path):
    with pytest.raises(NotFound):
        Database.open(f"sqlite:///{tmp_path}/store.db", actor="ann", folds=FOLDS)
    assert not (tmp_path / "store.db").exists()


def test_sqlite_is_as_durable_as_the_format_says(tmp_path):
    database = Database.create(f"sqlite:///{tmp_path}/st ore?%41#é.db", store_id="S1", actor="ann", folds=FOLDS)

    def pragma(name):
        return database.read(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)
    database.close()
    assert (tmp_path / "st ore?%41#é.db").exists()


def test_a_copy_that_left_the_write_ahead_log_gets_it_back(tmp_path):
    Database.create(f"sqlite:///{tmp_path}/store.db", store_id="S1", actor="ann", folds=FOLDS).close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    connection.close()
    database = Database.open(f"sqlite:///{tmp_path}/store.db", actor="ann", folds=FOLDS)
    assert database.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar_one()) == "wal"
    database.close()


@pytest.fixture
def file(tmp_path):
    """The file of a store's SQLite database, and the database."""
    made = Database.create(f"sqlite:///{tmp_path}/store.db", store_id="S1", actor="ann", folds=FOLDS)
    yield tmp_path / "store.db", made
    made.close()


def replace(path):
    other = path.with_name("other.db")
    with sqlite3.connect(path) as here, sqlite3.connect(other) as there:
        here.backup(there)
    here.close()
    there.close()
    os.replace(other, path)


@pytest.mark.parametrize(("change", "happened"), [(os.unlink, "was deleted"), (replace, "was replaced")])
def test_nothing_is_read_from_or_written_to_a_file_that_is_gone(file, change, happened):
    path, database = file
    change(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=rf"{happened}.*art repair database") as caught:
            database.write(lambda tx: tx.record("said", "nobody", {}))
        assert not caught.value.transient
        with pytest.raises(StoreUnavailable, match=happened):
            database.store()
    assert path.exists() == (change is replace)


@pytest.mark.parametrize("change", [os.unlink, replace])
def test_a_commit_into_a_file_that_is_gone_by_then_is_not_acknowledged(file, change):
    path, database = file

    def work(tx):
        tx.record("said", "nobody", {})
        change(path)

    with pytest.raises(StoreUnavailable, match="art repair database"):
        database.write(work)


def test_a_file_that_was_moved_away_and_back_is_used_again(file):
    path, database = file
    os.rename(path, path.with_name("away.db"))
    with pytest.raises(StoreUnavailable, match="was deleted"):
        database.store()
    assert not path.exists()
    os.rename(path.with_name("away.db"), path)
    database.write(lambda tx: tx.record("said", "again", {}))
    assert database.store().seq == 2


def test_a_connection_that_is_closed_keeps_no_lock_whoever_still_refers_to_its_cursors(file):
    _, database = file
    raw = database._file.connect()
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("CREATE TABLE t (a)")
    raw.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    cursor = raw.execute("INSERT INTO t SELECT a FROM t RETURNING a")
    raw.close()
    other = database._file.connect()
    other.execute("PRAGMA busy_timeout=0")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    del cursor


def test_an_interrupted_transaction_leaves_the_next_one_its_turn(database):
    kept = []

    def work(tx):
        kept.append(tx.execute(text("SELECT seq FROM event")))
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt) as caught:
            database.write(work)
        kept.append(caught)
        database.write(lambda tx: tx.record("said", "after", {}))
    assert database.store().seq == 3


def test_a_connection_that_is_used_again_has_no_statement_of_before_under_way(file):
    _, database = file
    kept = []

    def interrupted(tx):
        raw = tx.connection.connection.dbapi_connection
        kept.append(raw.execute("INSERT INTO pin (session, digest) VALUES ('a', x'00'), ('b', x'01') RETURNING digest"))
        kept[-1].fetchone()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.write(interrupted)
    assert database.store().seq == 1
    database.write(lambda tx: tx.record("said", "after", {}))
    assert database.read(lambda c: c.execute(tables.pin.select()).all()) == []


def test_a_turn_is_given_back_wherever_an_interrupt_comes():
    def interrupted(_seconds=0.0):
        raise KeyboardInterrupt

    turns = Turns(single=True, patience=0.0, sleep=interrupted)
    with pytest.raises(KeyboardInterrupt):
        turns.take(interrupted, AssertionError)
    assert turns._writing.acquire(blocking=False)  # as if an interrupt had kept this thread from giving it back
    assert turns.take(lambda: turns.mine, AssertionError)
    assert not turns.mine
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(turns.take, lambda: 5, AssertionError).result() == 5
