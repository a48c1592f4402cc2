"""Bucket and database as one store: made, matched, opened, and written in order."""

import json
import subprocess
import sys
import threading

import pytest
from sqlalchemy import text

from lineart.storage.chunking import ChunkingParameters
from lineart.storage.database import Database
from lineart.storage.engine import TRIES, Engine
from lineart.storage.errors import Conflict, FormatTooNew, IntegrityError, NotFound, StoreUnavailable
from lineart.storage.layout import JOURNAL, MARKER
from lineart.storage.marker import Marker
from lineart.storage.session import PacksGone
from lineart.storage.tables import PackState


def put(connection, event):
    """Fold: a pin stands for whatever an event changes."""
    values = {"session": event.subject, "digest": str(event.data["value"]).encode()}
    connection.execute(text("INSERT INTO pin (session, digest) VALUES (:session, :digest)"), values)


FOLDS = {"put": put}


def create(url, backend, **options):
    return Engine.create(backend, url, actor="ann", folds=FOLDS, **options)


def open_(url, backend):
    return Engine.open(backend, url, actor="bo", folds=FOLDS)


def note(engine, value):
    engine.write(lambda tx: tx.record("put", "subject", {"value": value}))


@pytest.fixture
def bucket(bench):
    return bench.Watched()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def engine(database_url, bucket):
    made = create(database_url, bucket)
    yield made
    made.close()


def values(engine):
    return [event.data.get("value") for event in engine.journal.events()]


# Making


def test_a_store_that_was_made_can_be_opened(engine, bucket, database_url):
    again = open_(database_url, bucket)
    assert again.marker == engine.marker
    assert again.database.store().store_id == engine.marker.store_id
    again.close()
    again.close()
    assert json.loads(bucket.get(MARKER)) == {
        "format": 1,
        "store": engine.marker.store_id,
        "single_machine": False,
        "chunking": ChunkingParameters().to_json(),
    }


def test_a_store_is_not_made_twice(engine, bucket, bench, database_url, tmp_path):
    with pytest.raises(Conflict, match="holds a store already"):
        create(database_url, bucket)
    with pytest.raises(Conflict, match="holds a store already"):
        create(f"sqlite:///{tmp_path}/other.db", bucket)
    assert not (tmp_path / "other.db").exists()
    with pytest.raises(Conflict, match="holds a store already"):
        create(database_url, bench.Watched())
    assert open_(database_url, bucket).marker == engine.marker


@pytest.mark.parametrize("step", ["put_new", "journal"])
def test_a_creation_that_was_interrupted_is_finished_by_the_next_try(database_url, bucket, step):
    def crash(what, key):
        if what == step or (what == "put" and key.startswith("journal") and step == "journal"):
            raise StoreUnavailable("power cut")

    bucket.on = crash
    with pytest.raises(StoreUnavailable):
        create(database_url, bucket, single_machine=True)
    bucket.on = lambda what, key: None
    if step == "put_new":
        with pytest.raises(NotFound):
            open_(database_url, bucket)
        engine = create(database_url, bucket, single_machine=True)
    else:
        with pytest.raises(Conflict):
            create(database_url, bucket, single_machine=True)
        engine = open_(database_url, bucket)
        engine.begin_writing()
    assert engine.marker.single_machine
    assert engine.database.store().store_id == engine.marker.store_id
    assert [event.kind for event in engine.journal.events()] == ["store.created"]
    engine.close()


def test_a_bucket_that_answers_nothing_leaves_no_database(url, bucket, tmp_path):
    def down(what, key):
        raise StoreUnavailable("no route to host")

    bucket.on = down
    with pytest.raises(StoreUnavailable):
        create(url, bucket)
    assert list(tmp_path.iterdir()) == []


def test_of_two_databases_that_are_made_for_one_bucket_at_once_one_loses(url, bucket, tmp_path):
    def meanwhile(what, key):
        if what == "put_new":
            bucket.on = lambda what, key: None
            create(url, bucket).close()

    bucket.on = meanwhile
    with pytest.raises(Conflict, match="at the same moment"):
        create(f"sqlite:///{tmp_path}/other.db", bucket)
    engine = open_(url, bucket)
    assert engine.database.store().store_id == engine.marker.store_id


def test_of_two_that_make_one_store_at_once_both_have_it_as_it_was_written(url, bucket):
    def meanwhile(what, key):
        if what == "put_new":
            bucket.on = lambda what, key: None
            create(url, bucket, single_machine=True).close()

    bucket.on = meanwhile
    engine = create(url, bucket)
    assert engine.marker == Marker.decode(bucket.get(MARKER), "")
    assert engine.marker.single_machine
    engine.close()


def test_threads_that_make_one_store_at_once_end_with_one_store(database_url, bucket):
    made, refused = [], []

    def work():
        try:
            made.append(create(database_url, bucket))
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made
    assert len(made) + len(refused) == 5
    assert {one.marker.store_id for one in made} == {Marker.decode(bucket.get(MARKER), "").store_id}
    for n, engine in enumerate(made):
        note(engine, n)
        engine.close()


CREATE = """
import sys
from pathlib import Path
from lineart.storage.backends.local import LocalBackend
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict
sys.stdin.readline()
try:
    engine = Engine.create(LocalBackend(Path(sys.argv[1])), sys.argv[2], actor="ann", folds={})
except Conflict:
    print("refused")
else:
    print(engine.marker.store_id)
"""


@pytest.mark.slow
def test_processes_that_make_one_store_at_once_end_with_one_store(database_url, tmp_path):
    command = [sys.executable, "-c", CREATE, str(tmp_path / "bucket"), database_url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = []
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        said.append(process.communicate(timeout=60)[0].strip())
        assert process.returncode == 0
    from lineart.storage.backends.local import LocalBackend

    engine = Engine.open(LocalBackend(tmp_path / "bucket"), database_url, actor="ann", folds={})
    assert set(said) - {"refused"} == {engine.marker.store_id}
    engine.close()


def test_a_marker_that_landed_damaged_is_noticed_by_its_maker(url, bucket):
    class Lying(type(bucket)):
        def put_new(self, key, data):
            return super().put_new(key, data.replace(b"1", b"x", 1))

    with pytest.raises(IntegrityError):
        create(url, Lying())


def test_a_bucket_whose_marker_was_lost_is_never_taken_for_an_empty_one(url, bucket, tmp_path):
    first = create(url, bucket)
    note(first, 1)
    kept = bucket.get(MARKER)
    bucket.delete([MARKER])
    with pytest.raises(Conflict, match=MARKER):
        create(f"sqlite:///{tmp_path}/other.db", bucket)
    with pytest.raises(Conflict):
        create(url, bucket)
    assert [info.key for info in bucket.list("") if info.key == MARKER] == []
    bucket.put(MARKER, [kept])
    assert open_(url, bucket).marker == first.marker


# Opening


def test_an_empty_place_is_no_store(url, bucket, tmp_path):
    with pytest.raises(NotFound, match="no store"):
        open_(url, bucket)
    assert list(tmp_path.iterdir()) == []
    assert {what for what, _ in bucket.calls} == {"get"}


def test_a_bucket_without_its_database_is_no_store(url, bucket, tmp_path):
    create(url, bucket).close()
    with pytest.raises(NotFound, match=r"other\.db"):
        open_(f"sqlite:///{tmp_path}/other.db", bucket)
    assert not (tmp_path / "other.db").exists()


def test_a_bucket_and_a_database_of_two_stores_are_told_apart(url, bucket, bench, tmp_path):
    one = create(url, bucket)
    two = create(f"sqlite:///{tmp_path}/other.db", bench.Watched())
    with pytest.raises(Conflict) as caught:
        open_(f"sqlite:///{tmp_path}/other.db", bucket)
    assert one.marker.store_id[:8] in str(caught.value)
    assert two.marker.store_id[:8] in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"format": "one"}',
        b'{"format": Infinity}',
        b'{"format": null}',
        b'{"format": 1}',
        b'{"format": 1, "store": "x", "single_machine": false, "chunking": null}',
        b'{"format": 1, "store": "x", "single_machine": false, "chunking": {"minimum": -1}}',
        b'{"format": 0, "store": "' + b"a" * 32 + b'", "single_machine": false, "chunking": {}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_marker_is_named(raw):
    with pytest.raises(IntegrityError, match=r"lineart\.json|chunking"):
        Marker.decode(raw, "s3://bucket")


@pytest.mark.parametrize("field", ["store", "single_machine"])
def test_a_marker_with_a_field_of_another_kind_is_damaged(field):
    value = json.loads(Marker("a" * 32).encode())
    for wrong in (None, 7, "no", [], "A" * 32):
        with pytest.raises(IntegrityError):
            Marker.decode(json.dumps({**value, field: wrong}).encode(), "s3://bucket")


def test_a_marker_reads_back_as_it_was_written():
    for marker in (
        Marker("0" * 32),
        Marker("ab" * 16, single_machine=True),
        Marker("1" * 32, False, ChunkingParameters(average=1 << 19)),
    ):
        assert Marker.decode(marker.encode(), "") == marker
    assert Marker("0" * 32).encode() == (
        b'{"chunking": {"average": 1048576, "maximum": 4194304, "minimum": 262144, "normalization": 2, '
        b'"single": 1048576}, "format": 1, "single_machine": false, "store": "00000000000000000000000000000000"}\n'
    )


def test_a_store_of_a_later_format_is_refused_by_name(engine, bucket, database_url, tmp_path):
    bucket.put(MARKER, [json.dumps({"format": 2, "anything": "else"}).encode()])
    with pytest.raises(FormatTooNew, match="format 2"):
        open_(database_url, bucket)
    with pytest.raises(FormatTooNew):
        create(f"sqlite:///{tmp_path}/other.db", bucket)


def test_a_marker_that_came_wrong_once_is_read_again(url, bucket, bench):
    create(url, bucket).close()

    class Once(bench.Watched):
        def get(self, key, start=0, length=None):
            return super().get(key, start, length)[: 20 if len(self.calls) < 2 else None]

    again = Once(bucket)
    open_(url, again).close()
    assert len(again.calls) == 2


# Writing


def test_a_write_is_in_the_journal_when_it_returns(engine):
    assert engine.write(lambda tx: tx.record("put", "subject", {"value": 1}) and "result") == "result"
    assert values(engine) == [None, 1]
    assert engine.database.store().journalled == 2


def test_the_first_write_of_the_next_opener_flushes_what_a_crash_left(engine, bucket, database_url):
    def crash(what, key):
        if what == "put" and key.startswith(JOURNAL):
            raise StoreUnavailable("power cut")

    bucket.on = crash
    with pytest.raises(StoreUnavailable):
        note(engine, "committed, not journalled")
    bucket.on = lambda what, key: None
    assert values(engine) == [None]
    again = open_(database_url, bucket)
    with again.session():
        assert values(again) == [None, "committed, not journalled"]
    note(again, "next")
    assert values(again) == [None, "committed, not journalled", "next"]
    again.close()


def test_the_next_write_of_the_same_engine_flushes_it_too(engine, bucket):
    def crash(what, key):
        if what == "put" and key.startswith(JOURNAL):
            raise StoreUnavailable("power cut")

    bucket.on = crash
    with pytest.raises(StoreUnavailable):
        note(engine, 1)
    bucket.on = lambda what, key: None
    note(engine, 2)
    assert values(engine) == [None, 1, 2]


def test_an_empty_database_for_a_bucket_with_a_journal_is_refused(engine, bucket, tmp_path):
    note(engine, 1)
    before = list(bucket.list(""))
    other = f"sqlite:///{tmp_path}/empty.db"
    Database.create_blank(other, store_id=engine.marker.store_id, actor="eve", folds=FOLDS).close()
    for _ in range(2):
        with pytest.raises(NotFound, match="art repair database"):
            open_(other, bucket)
    assert list(bucket.list("")) == before


def test_a_restored_backup_is_refused_before_it_writes(url, bucket, tmp_path):
    engine = create(url, bucket)
    note(engine, 1)
    engine.close()
    backup = tmp_path / "backup.db"
    backup.write_bytes((tmp_path / "store.db").read_bytes())
    later = open_(url, bucket)
    note(later, 2)
    restored = open_(f"sqlite:///{backup}", bucket)
    with pytest.raises(Conflict, match="art repair database"):
        note(restored, 3)
    assert values(later) == [None, 1, 2]


def test_many_threads_write_at_once(engine):
    def work(n):
        for k in range(5):
            note(engine, n * 10 + k)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values(engine)[1:]) == sorted(n * 10 + k for n in range(5) for k in range(5))


# Small contents


def test_blobs_are_stored_and_named_in_one_transaction(engine, bench):
    blobs = [b"a diff", b"a lock file", b"a diff"]
    named = engine.put_blobs(blobs, lambda tx, digests: tx.record("put", "blobs", {"value": len(digests)}) and digests)
    assert [engine.chunks.get(digest) for digest in named] == blobs
    assert values(engine) == [None, 3]
    engine.backend.calls.clear()
    assert engine.put_blobs(blobs, lambda tx, digests: digests) == named
    assert engine.backend.packs() == []
    assert bench.count(engine, "session") == 0


def test_blobs_whose_packs_are_collected_meanwhile_are_made_again(engine, bench):
    tries = []

    def also(tx, digests):
        tries.append(digests)
        return digests

    bench.store(engine, [b"a diff"])

    class Collected(bench.Watched):
        def put(self, key, parts):
            super().put(key, parts)
            if len(tries) < 1 and key.startswith("meta/"):
                bench.set_state(engine, PackState.DELETING)  # the old pack, which this commit relies on
                tries.append(None)

    engine.chunks.backend = Collected(engine.backend.inner)
    named = engine.put_blobs([b"a diff", b"a lock file"], also)
    assert [engine.chunks.get(digest) for digest in named] == [b"a diff", b"a lock file"]
    assert PackState.LIVE in bench.states(engine).values()


def test_work_whose_packs_are_collected_again_and_again_ends_with_an_error(engine, bench):
    tries = []

    def expire(what, key):
        if what == "put" and key.startswith("meta/"):
            tries.append(key)
            bench.expire(engine)

    engine.backend.on = expire
    with pytest.raises(PacksGone):
        engine.put_blobs([b"a diff"], lambda tx, digests: digests)
    assert len(tries) == TRIES
    assert bench.count(engine, "session") == 0
    assert bench.index(engine) == set()
