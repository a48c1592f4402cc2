"""What is particular to PostgreSQL: lost connections, marks of commits, errors of the server."""

import contextlib
import socket
import threading
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from sqlalchemy import text

from lineart.storage.database import Database
from lineart.storage.errors import StoreBusy, StoreUnavailable

pytestmark = pytest.mark.slow

FOLDS = {"said": lambda connection, event: None}


class Proxy:
    """A wire to the server that can be cut at a COMMIT, once, in one of three ways.

    "before": the COMMIT never comes to the server. "after": it is done, and its answer is lost. "late": the client is
    cut off, and the COMMIT comes to the server only while the client's next transaction waits for it.
    """

    def __init__(self, url):
        self.url = url
        self.directory = parse_qs(urlsplit(url).query)["host"][0]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut = None
        self.cuts = 0
        self.word = b"COMMIT\0"
        self.refusing = False
        self.held = None
        self.open = []
        threading.Thread(target=self.serve, daemon=True).start()

    def client_url(self, password=""):
        name = urlsplit(self.url).path
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}{name}"

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(f"{self.directory}/.s.PGSQL.5432")
                self.open += [client, server]
                threading.Thread(target=self.upstream, args=(client, server), daemon=True).start()
                threading.Thread(target=self.downstream, args=(client, server), daemon=True).start()

    def upstream(self, client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self.cut and self.word in data:
                    how, self.cut = self.cut, None
                    self.cuts += 1
                    if how == "after":
                        # Committed by this other way before the client hears that the wire is cut.
                        self.quiet = client
                        server.sendall(data)
                        return
                    if how == "late":
                        self.held = (server, data)
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    server.shutdown(socket.SHUT_RDWR)
                    client.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
                if self.held and b"commit_mark" in data:
                    self.release()
            server.shutdown(socket.SHUT_RDWR)

    quiet = None

    def downstream(self, client, server):
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if self.quiet is client and b"COMMIT\0" in data:
                    break
                client.sendall(data)
            if not (self.held and self.held[0] is server):
                client.shutdown(socket.SHUT_RDWR)

    def release(self):
        """Send the held COMMIT once the next transaction waits for the one that it ends."""
        (server, data), self.held = self.held, None
        with psycopg.connect(self.url, autocommit=True) as connection:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%commit_mark%'"
            )
            while connection.execute(waiting).fetchone() == (0,):
                pass
        server.sendall(data)

    def close(self):
        self.listener.close()
        for one in self.open:
            one.close()


@pytest.fixture
def proxy(postgres_url):
    """A wire to a database that holds a new store."""
    Database.create(postgres_url, store_id="S1", actor="ann", folds=FOLDS).close()
    wire = Proxy(postgres_url)
    yield wire
    wire.close()


@pytest.fixture
def database(proxy):
    """The store, opened over the wire."""
    made = Database.open(proxy.client_url(), actor="ann", folds=FOLDS, patience=20.0, sleep=lambda seconds: None)
    yield made
    made.close()


def subjects(url):
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT subject FROM event WHERE seq > 1 ORDER BY seq").fetchall()]


@pytest.mark.parametrize(("how", "calls"), [("before", 2), ("after", 1), ("late", 1)])
def test_a_connection_lost_at_commit_neither_loses_work_nor_does_it_twice(proxy, database, how, calls):
    made = []

    def work(tx):
        made.append(len(made) + 1)
        tx.record("said", "work", {})
        return len(made)

    proxy.cut = how
    assert database.write(work) == calls
    assert proxy.cuts == 1
    assert len(made) == calls
    assert subjects(proxy.url) == ["work"]
    database.write(work)
    assert subjects(proxy.url) == ["work", "work"]


def test_a_connection_lost_at_commit_again_and_again_is_made_up_for(proxy, database):
    made = []

    def work(tx):
        made.append(len(made))
        proxy.cut = ["before", "late", None][min(len(made) - 1, 2)]
        tx.record("said", f"{len(made)}", {})
        return len(made)

    assert database.write(work) == 2
    assert proxy.cuts == 2
    assert subjects(proxy.url) == ["2"]


@pytest.mark.parametrize("word", [b"INSERT INTO event", b"UPDATE store", b"INSERT INTO commit_mark"])
def test_a_connection_lost_within_the_transaction_is_made_up_for(proxy, database, word):
    proxy.cut, proxy.word = "before", word
    database.write(lambda tx: tx.record("said", "work", {}))
    assert proxy.cuts == 1
    assert subjects(proxy.url) == ["work"]


def test_a_read_is_repeated_after_a_lost_connection(proxy, database):
    assert database.store().seq == 1
    proxy.cut, proxy.word = "before", b"seq"
    assert database.store().seq == 1
    assert proxy.cuts == 1


def test_a_server_that_stays_away_is_named_without_the_password(proxy):
    url = proxy.client_url(password="hunter2")
    database = Database.open(url, actor="ann", folds=FOLDS, patience=0.5, sleep=lambda seconds: None)
    proxy.refusing = True
    proxy.cut, proxy.word = "before", b"seq"
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as caught:
        database.store()
    assert caught.value.transient
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as caught:
        Database.open(url, actor="ann", folds=FOLDS, sleep=None)
    assert "hunter2" not in str(caught.value)
    database.close()


def test_a_database_that_does_not_exist_is_not_worth_trying_again(postgres_url):
    with pytest.raises(StoreUnavailable, match="nowhere") as caught:
        Database.open(postgres_url.replace("/test_", "/nowhere_"), actor="ann", folds=FOLDS)
    assert not caught.value.transient


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_the_server_undid_for_others_is_repeated(database, proxy, state):
    made = []

    def work(tx):
        made.append(1)
        tx.record("said", "work", {})
        if len(made) < 3:
            tx.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'undone' USING ERRCODE = '{state}'; END $$"))

    database.write(work)
    assert len(made) == 3
    assert subjects(proxy.url) == ["work"]


def test_what_is_always_undone_ends_as_busy(postgres_url):
    database = Database.create(postgres_url, store_id="S1", actor="ann", folds=FOLDS, patience=0.1)
    with pytest.raises(StoreBusy):
        database.write(lambda tx: tx.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$")))
    database.close()


def test_marks_of_long_ago_are_removed(database, proxy):
    database.write(lambda tx: None)
    with psycopg.connect(proxy.url) as connection:
        connection.execute("INSERT INTO commit_mark VALUES ('old', 1000)")
    database.prune_marks()
    with psycopg.connect(proxy.url) as connection:
        marks = connection.execute("SELECT id FROM commit_mark").fetchall()
    assert len(marks) == 1
    assert marks != [("old",)]


def test_commits_are_durable_whatever_the_database_was_set_to(proxy, postgres_url):
    name = urlsplit(postgres_url).path[1:]
    setting = text("SELECT current_setting('synchronous_commit')")
    for found, used in (("off", "on"), ("remote_apply", "remote_apply")):
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {found}")
        database = Database.open(postgres_url, actor="ann", folds=FOLDS)
        assert database.write(lambda tx: tx.execute(setting).scalar_one()) == used
        database.close()


def test_reads_cannot_write(database):
    with pytest.raises(Exception, match="read-only"):
        database.read(lambda connection: connection.execute(text("UPDATE store SET seq = 9")))


def test_time_is_the_servers(postgres_url):
    database = Database.create(postgres_url, store_id="S1", actor="ann", folds=FOLDS, clock=lambda: 0)
    with psycopg.connect(postgres_url) as connection:
        clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        (before,) = connection.execute(clock).fetchone()
        event = database.write(lambda tx: tx.record("said", "work", {}))
        (after,) = connection.execute(clock).fetchone()
    assert before <= event.time <= after
    database.close()
