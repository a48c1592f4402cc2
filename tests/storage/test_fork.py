"""What a forked child may do with a store that its parent has open, on SQLite and on PostgreSQL.

Every script runs in a process of its own, so that the tests' process is never forked. A script's last line says what
came of it.
"""

import subprocess
import sys
import textwrap

import pytest

BEGINNING = """
import os, sys, threading, time
from lineart.storage import forking, tables
from lineart.storage.database import Database
from lineart.storage.errors import StoreUnavailable

URL = sys.argv[1]
FOLDS = {"said": lambda connection, event: None}

def open_():
    return Database.open(URL, actor="ann", folds=FOLDS, patience=20.0)

def say(database, what):
    database.write(lambda tx: tx.record("said", what, {}))

def said():
    other = open_()
    table = tables.event
    found = other.read(lambda c: [row.subject for row in c.execute(table.select().order_by(table.c.seq))][1:])
    other.close()
    return " ".join(found)

def child(work):
    "Fork; the child runs work and says how it ended."
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    return process

def end(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

database = Database.create(URL, store_id="5" * 32, actor="ann", folds=FOLDS, patience=20.0)
say(database, "parent")
"""


def run(source, *arguments):
    """Run a script and return its output's lines."""
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", BEGINNING + textwrap.dedent(source), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Exception ignored" not in ended.stderr, ended.stderr
    return ended.stdout.splitlines()


@pytest.fixture
def sqlite_url(tmp_path):
    """The URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path}/store.db"


def test_what_a_child_writes_outlives_its_parent_s_connections(database_url):
    lines = run(
        """
        ready, go = os.pipe(), os.pipe()
        def work():
            say(database, "one")
            os.write(ready[1], b"1")
            os.read(go[0], 1)
            say(database, "two")
        process = child(work)
        os.read(ready[0], 1)
        database.close()
        open_().close()  # whoever believes to be the last to close takes the write-ahead log away
        os.write(go[1], b"1")
        assert end(process) == 0
        print(said())
        """,
        database_url,
    )
    assert lines == ["parent one two"]


@pytest.mark.slow
def test_parent_and_child_write_at_the_same_time_and_the_file_stays_whole(sqlite_url):
    lines = run(
        """
        import sqlite3
        def work():
            for number in range(200):
                say(database, "x")
        process = child(work)
        for number in range(200):
            say(database, "y")
        database.close()
        assert end(process) == 0
        words = said().split()
        whole, = sqlite3.connect(URL[10:]).execute("PRAGMA integrity_check").fetchone()
        print(words.count("x"), words.count("y"), whole)
        """,
        sqlite_url,
    )
    assert lines == ["200 200 ok"]


def test_no_sqlite_file_is_open_in_a_child(sqlite_url):
    lines = run(
        """
        again = open_()  # a second pool on the same file
        again.store()
        lost = again._file.connect()  # and a connection that is in no pool
        cursor = lost.execute("SELECT * FROM event")
        def work():
            folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
            held = [os.path.realpath(f"{folder}/{number}") for number in os.listdir(folder)]
            print([name for name in held if "store.db" in name], flush=True)
            say(again, "child")
        assert end(child(work)) == 0
        say(database, "still")
        print(said())
        """,
        sqlite_url,
    )
    assert lines == ["[]", "parent child still"]


def test_a_fork_waits_for_the_transactions_under_way(sqlite_url):
    lines = run(
        """
        inside = threading.Event()
        def busy(tx):
            tx.record("said", "busy", {})
            inside.set()
            while forking._state.closed is None:
                inside.wait(0)
        thread = threading.Thread(target=lambda: database.write(busy))
        thread.start()
        inside.wait()
        assert end(child(lambda: say(database, "child"))) == 0
        thread.join()
        print(said())
        """,
        sqlite_url,
    )
    assert lines == ["parent busy child"]


def test_a_child_of_a_busy_parent_is_told_what_to_do_and_harms_nothing(sqlite_url, tmp_path):
    lines = run(
        """
        forking.PATIENCE = 0.01
        inside, go = threading.Event(), threading.Event()
        def busy(tx):
            tx.record("said", "busy", {})
            inside.set()
            go.wait()
        thread = threading.Thread(target=lambda: database.write(busy))
        thread.start()
        inside.wait()
        def work():
            other = Database.create(sys.argv[2], store_id="S2", actor="ann", folds=FOLDS)
            say(other, "elsewhere")
            other.close()
            for attempt in (database.store, open_, open_):
                try:
                    attempt()
                except StoreUnavailable as error:
                    print("spawn start method" in str(error), flush=True)
            grandchild = os.fork()
            if grandchild == 0:
                open_()
            os._exit(1)
        process = child(work)
        assert end(process) == 1
        go.set()
        thread.join()
        say(database, "after")
        print(said())
        """,
        sqlite_url,
        f"sqlite:///{tmp_path}/other.db",
    )
    assert lines[:3] == ["True"] * 3
    assert lines[-1] == "parent busy after"


@pytest.mark.slow
def test_a_child_that_ends_orderly_leaves_its_busy_parent_s_file_alone(sqlite_url):
    lines = run(
        """
        forking.PATIENCE = 0.01
        inside, go = threading.Event(), threading.Event()
        def busy(tx):
            inside.set()
            go.wait()
        thread = threading.Thread(target=lambda: database.write(busy), daemon=True)
        thread.start()
        inside.wait()
        closed = os.pipe()
        process = os.fork()
        if process == 0:
            os.read(closed[0], 1)
            sys.exit(0)
        go.set()
        thread.join()
        say(database, "one")
        database.close()
        say(database, "two")
        os.write(closed[1], b"1")
        assert end(process) == 0
        say(database, "three")
        print(said())
        """,
        sqlite_url,
    )
    assert lines == ["parent one two three"]


def test_a_fork_inside_a_transaction_commits_it_once(sqlite_url):
    lines = run(
        """
        def work(tx):
            tx.record("said", "once", {})
            return os.fork()
        try:
            process = database.write(work)
        except StoreUnavailable as error:
            print("spawn start method" in str(error), flush=True)
            os._exit(3)
        assert end(process) == 3
        say(database, "after")
        print(said())
        """,
        sqlite_url,
    )
    assert lines == ["True", "parent once after"]


@pytest.mark.slow
def test_many_threads_of_a_child_use_none_of_its_parent_s_connections(database_url):
    lines = run(
        """
        before = database._engine
        def work():
            barrier, used = threading.Barrier(8), []
            def look(number):
                barrier.wait()
                say(database, f"t{number}")
                used.append(database._engine)
            threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
            for one in threads: one.start()
            for one in threads: one.join()
            print(len(used), len(set(map(id, used))), before in used, flush=True)
        assert end(child(work)) == 0
        say(database, "after")
        print(len(said().split()))
        """,
        database_url,
    )
    assert lines == ["8 1 False", "10"]


def test_many_threads_of_a_process_forked_unnoticed_use_none_either(database_url):
    lines = run(
        """
        before = database._engine
        database._pid = -1  # as in a child of a program that embeds Python and does not tell it
        barrier, used = threading.Barrier(8), []
        def look(number):
            barrier.wait()
            database.store()
            used.append(database._engine)
        threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
        for one in threads: one.start()
        for one in threads: one.join()
        print(len(used), before in used)
        """,
        database_url,
    )
    assert lines == ["8 False"]


def test_a_child_waits_for_no_lock_that_a_thread_of_its_parent_holds(database_url, tmp_path):
    lines = run(
        """
        from lineart import recording
        from lineart.storage.backends.local import LocalBackend
        from lineart.storage.engine import Engine
        from pathlib import Path

        class Slow(LocalBackend):
            def put(self, key, parts):
                if threading.current_thread().name == "slow":
                    inside.set()
                    go.wait()
                super().put(key, parts)

        inside, go = threading.Event(), threading.Event()
        database.close()
        engine = Engine.create(Slow(Path(sys.argv[2])), URL + sys.argv[3], actor="ann", folds=FOLDS)
        engine._lock.acquire()
        recording._lock.acquire()
        engine.database.write(lambda tx: tx.record("said", "flushed", {}))
        thread = threading.Thread(target=engine.journal.flush, name="slow")
        thread.start()
        inside.wait()
        def work():
            with recording._lock:
                engine.write(lambda tx: tx.record("said", "child", {}))
            row = engine.database.store()
            print(row.seq - row.journalled, flush=True)
        assert end(child(work)) == 0
        go.set()
        thread.join()
        recording._lock.release()
        engine._lock.release()
        engine.write(lambda tx: tx.record("said", "after", {}))
        print(*(event.subject for event in engine.journal.events(1)))
        """,
        database_url,
        str(tmp_path / "bucket"),
        "" if "postgres" in database_url else ".engine",
    )
    assert lines[0] == "0"
    assert lines[1].endswith("flushed child after")


def test_two_threads_fork_at_once(sqlite_url):
    lines = run(
        """
        barrier, ends = threading.Barrier(2), []
        def fork(what):
            barrier.wait()
            ends.append(end(child(lambda: say(database, what))))
        threads = [threading.Thread(target=fork, args=("child",)) for _ in range(2)]
        for one in threads: one.start()
        for one in threads: one.join()
        print(ends, said())
        """,
        sqlite_url,
    )
    assert lines == ["[0, 0] parent child child"]
