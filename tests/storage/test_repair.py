"""Repairing a database: below artifacts, against buckets and databases that lack things or disagree.

What an event means is a pin here; whole stores are repaired in tests/test_repair_store.py.
"""

import pytest
from sqlalchemy import select, text

from lineart.storage import tables
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.database import Database
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, IntegrityError, LineartError, NotFound
from lineart.storage.layout import MARKER, journal_folder, pack_folder
from lineart.storage.pack import PackKind
from lineart.storage.repair import repair_database
from lineart.storage.session import PacksGone
from lineart.storage.tables import PackState


def put(connection, event):
    """Fold: a pin stands for whatever an event changes."""
    values = {"session": event.subject, "digest": str(event.data["value"]).encode()}
    connection.execute(text("INSERT INTO pin (session, digest) VALUES (:session, :digest)"), values)


FOLDS = {"put": put}


class Stopped(Exception):
    """The process ended here."""


class Stopping(Database):
    """A database whose process ends around its n-th transaction, before it or after."""

    left, after = 0, False

    def read(self, work):
        return self._count(lambda: super(Stopping, self).read(work))

    def write(self, work):
        return self._count(lambda: super(Stopping, self).write(work))

    def _count(self, call):
        type(self).left -= 1
        if self.left == 0 and not self.after:
            raise Stopped
        result = call()
        if self.left == 0:
            raise Stopped
        return result


@pytest.fixture
def bucket():
    return MemoryBackend("bucket")


@pytest.fixture
def urls(request, tmp_path):
    """A function that gives empty SQLite databases."""
    numbers = iter(range(1000))
    return lambda: f"sqlite:///{tmp_path}/other-{next(numbers)}.db"


def record(engine, *values):
    engine.write(lambda tx: [tx.record("put", "subject", {"value": value}) for value in values])


@pytest.fixture
def engine(bench, bucket, database_url):
    """A store with packs of both kinds and some events."""
    engine = Engine.create(bucket, database_url, actor="ann", folds=FOLDS)
    for seed in range(3):
        bench.store(engine, [bench.data(seed), bench.data(seed + 10)])
        bench.store(engine, [bench.data(seed + 20)], PackKind.META)
        record(engine, seed, f"{seed} again")
    yield engine
    engine.close()


def events(engine):
    return engine.database.read(lambda c: c.execute(select(tables.event).order_by(tables.event.c.seq)).all())


def pins(engine):
    return set(engine.database.read(lambda c: c.execute(text("SELECT session, digest FROM pin")).all()))


def held(bench, engine):
    """Everything that a repair brings back."""
    store = engine.database.store()
    return bench.index(engine), bench.states(engine), events(engine), pins(engine), store


def repair(bucket, url, **how):
    return repair_database(bucket, url, actor="bo", folds=FOLDS, **how)


def test_a_lost_database_comes_back_as_it_was(bench, engine, bucket, urls):
    url = urls()
    repaired = repair(bucket, url)
    assert (repaired.events, repaired.packs, repaired.chunks, repaired.damaged) == (7, 6, 9, [])
    again = Engine.open(bucket, url, actor="bo", folds=FOLDS)
    assert held(bench, again) == held(bench, engine)
    record(again, "next")
    assert [event.seq for event in events(again)] == list(range(1, 9))
    again.close()


def test_repairing_what_is_whole_changes_nothing(bench, engine, bucket, database_url):
    before = held(bench, engine)
    for _ in range(2):
        repaired = repair(bucket, database_url)
        assert (repaired.events, repaired.packs, repaired.chunks, repaired.damaged) == (0, 0, 0, [])
        assert held(bench, engine) == before
    record(engine, "next")


def test_an_outbox_that_was_never_flushed_is_kept(bench, engine, bucket, database_url):
    engine.database.write(lambda tx: tx.record("put", "subject", {"value": "committed"}))
    before = held(bench, engine)
    assert repair(bucket, database_url).events == 0
    assert held(bench, engine) == before
    engine.journal.flush()
    assert [event.seq for event in engine.journal.events()] == list(range(1, 9))


def test_a_bucket_that_holds_no_store_is_named(bucket, urls):
    with pytest.raises(NotFound, match="its marker is the first thing"):
        repair(bucket, urls())


def test_a_database_of_another_store_is_refused(bench, engine, bucket, urls):
    other = Engine.create(MemoryBackend("other"), url := urls(), actor="ann", folds=FOLDS)
    before = held(bench, other)
    with pytest.raises(Conflict, match="belongs to store"):
        repair(bucket, url)
    assert held(bench, other) == before
    other.close()


def test_a_database_of_something_else_is_left_alone(engine, bucket, tmp_path, urls):
    import sqlite3

    url = urls()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(LineartError):
        repair(bucket, url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def copied(bucket):
    copy = MemoryBackend("copy")
    for info in bucket.list(""):
        copy.put(info.key, [bucket.get(info.key)])
    return copy


@pytest.fixture
def twins(engine, bucket, urls):
    """A store, and a copy of it with a database of its own; both have the same history so far."""
    other, url = copied(bucket), urls()
    repair(other, url)
    twin = Engine.open(other, url, actor="bo", folds=FOLDS)
    yield engine, twin, url
    twin.close()


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("behind", [True, False])
def test_a_database_that_went_its_own_way_is_refused(bench, twins, bucket, flushed, behind):
    """Whether its own events are in a journal or not, and whether the bucket's history is longer or not."""
    engine, twin, url = twins
    record(engine, "here", *(["and", "more"] if behind else []))
    if flushed:
        record(twin, "there")
    else:
        twin.database.write(lambda tx: tx.record("put", "subject", {"value": "there"}))
    before = held(bench, twin)
    with pytest.raises(Conflict, match="is another in the journal"):
        repair(bucket, url)
    assert held(bench, twin) == before


def test_a_bucket_that_is_older_than_the_database_is_refused(bench, twins, bucket):
    _, twin, url = twins
    record(twin, "only there")
    before = held(bench, twin)
    with pytest.raises(Conflict, match="an older copy"):
        repair(bucket, url)
    assert held(bench, twin) == before


def test_an_older_backup_is_brought_up_to_date(bench, twins, bucket):
    engine, backup, url = twins
    bench.store(engine, [bench.data(50), bench.data(1)])
    record(engine, "later", "still later")
    repaired = repair(bucket, url)
    assert (repaired.events, repaired.packs, repaired.chunks) == (2, 1, 2)
    assert held(bench, backup) == held(bench, engine)


def test_packs_that_a_backup_knows_as_unfinished_become_readable(bench, twins, bucket):
    engine, backup, url = twins
    keys = sorted(bench.states(backup))
    waiting = [PackState.UPLOADING, PackState.UPLOADED, PackState.CONDEMNED, PackState.MISSING]
    unfinished = dict(zip(keys, waiting, strict=False))
    for key, state in unfinished.items():
        bench.set_state(backup, state, key)
    assert repair(bucket, url).packs == 4
    assert held(bench, backup) == held(bench, engine)


def test_a_pack_that_is_being_deleted_is_not_brought_back(bench, engine, bucket, database_url):
    key = min(bench.states(engine))
    bench.set_state(engine, PackState.DELETING, key)
    assert repair(bucket, database_url).packs == 0
    assert bench.states(engine)[key] == PackState.DELETING


def test_a_damaged_pack_is_named_and_the_rest_comes_back(bench, engine, bucket, urls):
    cut, garbled, gone = (info.key for info in list(bucket.list(pack_folder(PackKind.DATA))))
    bench.overwrite(bucket, cut, lambda raw: raw.__delitem__(slice(len(raw) // 2, None)))
    bench.flip(bucket, garbled, -1)
    bucket.put(gone, [])
    url = urls()
    repaired = repair(bucket, url)
    assert sorted(where for where, _ in repaired.damaged) == sorted([cut, garbled, gone])
    assert (repaired.events, repaired.packs) == (7, 3)
    again = Engine.open(bucket, url, actor="bo", folds=FOLDS)
    assert bench.index(again) == {row for row in bench.index(engine) if row[1] not in {cut, garbled, gone}}
    assert events(again) == events(engine)
    again.close()


def lose_the_last(bucket):
    """Take the journal's last object away; return its key and what it held."""
    last = [info.key for info in bucket.list(journal_folder(1))][1]
    kept = bucket.get(last)
    bucket.delete([last])
    return last, kept


def test_a_database_to_which_a_repair_has_not_come_yet_is_no_empty_store(bench, engine, bucket, urls):
    last, kept = lose_the_last(bucket)
    url = urls()
    with pytest.raises(IntegrityError, match="art repair journal"):
        repair(bucket, url)
    with pytest.raises(NotFound, match="`art repair database` goes on with it"):
        Engine.open(bucket, url, actor="bo", folds=FOLDS)
    bucket.put(last, [kept])
    repair(bucket, url)
    again = Engine.open(bucket, url, actor="bo", folds=FOLDS)
    assert held(bench, again) == held(bench, engine)
    again.close()


def test_a_journal_with_a_hole_is_refused_and_nobody_can_write_until_it_is_whole(bench, engine, bucket, urls):
    last, kept = lose_the_last(bucket)
    url = urls()
    with pytest.raises(IntegrityError, match="breaks off after event"):
        repair(bucket, url)
    repair(bucket, url, up_to_hole=True)
    half = Engine.open(bucket, url, actor="bo", folds=FOLDS)
    with pytest.raises(Conflict, match="art repair database"):
        record(half, "too early")
    bucket.put(last, [kept])
    repair(bucket, url)
    assert held(bench, half) == held(bench, engine)
    half.close()


def test_an_unreadable_part_of_the_journal_that_a_backup_has_already_is_no_hindrance(bench, twins, bucket):
    engine, backup, url = twins
    for info in list(bucket.list(journal_folder(1))):
        bench.flip(bucket, info.key, 5)
    record(engine, "later")
    assert repair(bucket, url).events == 1
    assert events(backup) == events(engine)


FAULTS = ("FAIL_BEFORE", "FAIL_AFTER", "TRUNCATE", "FLIP")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_at_any_request_leaves_a_database_that_a_second_repair_completes(
    bench, engine, bucket, faults, urls, fault
):
    whole = held(bench, engine)
    watched = faults.FaultBackend(bucket)
    repair(watched, urls())
    for n in range(1, watched.count + 1):
        url = urls()
        try:
            repaired = repair(faults.FaultBackend(bucket, {n: faults.Fault[fault]}), url)
            assert repaired.damaged or fault in {"FLIP", "TRUNCATE"}, watched.log[n - 1]
        except LineartError:
            pass
        repair(bucket, url)
        again = Engine.open(bucket, url, actor="bo", folds=FOLDS)
        assert held(bench, again) == whole, watched.log[n - 1]
        again.close()


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_ends_at_any_transaction_leaves_a_database_that_a_second_repair_completes(
    bench, engine, bucket, urls, after
):
    whole = held(bench, engine)
    for n in range(1, 100):
        url = urls()
        Stopping.left, Stopping.after = n, after
        try:
            repair(bucket, url, kind=Stopping)
            ended = True
        except Stopped:
            ended = False
        repair(bucket, url)
        again = Engine.open(bucket, url, actor="bo", folds=FOLDS)
        assert held(bench, again) == whole
        again.close()
        if ended:
            assert n > 9
            return
    raise AssertionError("it never ended")


def test_a_log_that_is_under_way_beside_a_repair_loses_nothing(bench, engine, database_url):
    """The repair strikes while a pack is in the bucket and not yet in the index, and just before the commit."""
    watched = bench.Watched(engine.chunks.backend)
    engine.chunks.backend = watched
    wanted = bench.coded(bench.data(60), bench.data(61))
    repaired = []

    def strike():
        repaired.append(repair(engine.backend, database_url).packs)

    def put(key, parts, inner=watched.put):
        inner(key, parts)
        strike()

    watched.put = put
    with engine.session() as session:
        session.add(wanted, PackKind.DATA)
        with pytest.raises(PacksGone):
            session.flush()
    del watched.put
    with engine.session() as session:
        assert session.known(one.digest for one in wanted) == {one.digest for one in wanted}
        strike()
        session.flush()
        engine.write(session.commit)
    assert repaired == [1, 0]
    assert [engine.chunks.get(one.digest) for one in wanted] == [bench.data(60), bench.data(61)]


def test_the_marker_that_is_too_large_is_refused_unread(engine, bucket, urls):
    bucket.put(MARKER, [bytes(1 << 20)])
    with pytest.raises(IntegrityError, match="more than 65536 bytes"):
        repair(bucket, urls())
