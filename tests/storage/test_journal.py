"""The journal: written in order, read back whole, and refused where it is not."""

import json
import threading

import pytest
import zstandard
from blake3 import blake3
from sqlalchemy import text

from lineart.storage import tables
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.database import Database
from lineart.storage.errors import Conflict, FormatTooNew, IntegrityError, StoreUnavailable
from lineart.storage.events import Event
from lineart.storage.journal import Journal
from lineart.storage.layout import checkpoint_key, journal_key, parse_journal_key


def put(connection, event):
    """Fold: a pin stands for whatever an event changes."""
    values = {"session": event.subject, "digest": str(event.data["value"]).encode()}
    connection.execute(text("INSERT INTO pin (session, digest) VALUES (:session, :digest)"), values)


FOLDS = {"put": put}


class Bucket(MemoryBackend):
    """Counts LISTs, and fails at the n-th call, before or after it landed."""

    def __init__(self):
        super().__init__()
        self.lists = self.calls = 0
        self.fail_at, self.landed = 0, False

    def list(self, prefix):
        self.lists += 1
        return super().list(prefix)

    def put(self, key, parts):
        self.calls += 1
        if self.calls == self.fail_at and not self.landed:
            raise StoreUnavailable("the wire was cut", transient=True)
        super().put(key, parts)
        if self.calls == self.fail_at:
            raise StoreUnavailable("the answer was lost", transient=True)


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


@pytest.fixture
def bucket():
    """A bucket in memory."""
    return Bucket()


@pytest.fixture
def journal(bucket, database):
    """The journal of the store."""
    return Journal(bucket, database)


def record(database, *values):
    database.write(lambda tx: [tx.record("put", "subject", {"value": value}) for value in values])


def names(bucket):
    return [(name.first, name.last) for info in bucket.list("journal/") if (name := parse_journal_key(info.key))]


def count_from(database, seq):
    """Make the store one that has had `seq` events, all of them in the journal."""
    database.write(lambda tx: tx.execute(tables.store.update().values(seq=seq, journalled=seq)))


def lines(first, last, **changes):
    fields = {"kind": "put", "subject": "s", "data": {}, "reason": None, "time": 1, "actor": "a", **changes}
    return [
        Event(**{**fields, "data": {"value": seq, **fields["data"]}, "seq": seq}).to_line()
        for seq in range(first, last + 1)
    ]


def test_a_flush_writes_one_object_and_then_nothing(journal, database, bucket):
    record(database, 1, 2)
    assert journal.flush() == 3
    assert names(bucket) == [(1, 3)]
    assert journal.flush() == 3
    assert names(bucket) == [(1, 3)]
    assert database.store().journalled == 3
    record(database, 3)
    assert journal.flush() == 4
    assert names(bucket) == [(1, 3), (4, 4)]


def test_what_is_written_is_pinned_to_the_byte(bucket, tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    database = Database.create(url, store_id="S1", actor="ann", folds=FOLDS, clock=lambda: 1_700_000_000_000_000_000)
    database.write(lambda tx: tx.record("put", "é", {"value": 1.5, "a": None}, "why"))
    Journal(bucket, database).flush()
    assert [bucket.get(info.key) for info in bucket.list("journal/")] == [
        b"".join(
            [
                b'{"actor":"ann","data":{"store_id":"S1"},"kind":"store.created","reason":null,"seq":1,"subject":"store","time":1700000000000000}\n',
                b'{"actor":"ann","data":{"a":null,"value":1.5},"kind":"put","reason":"why","seq":2,"subject":"\xc3\xa9","time":1700000000000000}\n',
            ]
        )
    ]
    database.close()


def test_the_journal_holds_the_events_of_the_database(journal, database):
    record(database, 1, "é", {"deep": [1, None]})
    journal.flush()
    kept = database.read(lambda connection: connection.execute(tables.event.select().order_by(text("seq"))).all())
    assert [(e.seq, e.time, e.actor, e.kind, e.subject, e.reason, e.data) for e in journal.events()] == [
        (*tuple(row)[:6], json.loads(row.data)) for row in kept
    ]
    assert [event.seq for event in journal.events(after=2)] == [3, 4]
    assert list(journal.events(after=4)) == []


def test_objects_are_split_where_a_folder_ends(journal, database, bucket):
    count_from(database, 9_997)
    record(database, *range(5))
    assert journal.flush() == 10_002
    assert names(bucket) == [(9_998, 9_999), (10_000, 10_002)]
    assert [event.seq for event in journal.events(after=9_997)] == list(range(9_998, 10_003))


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_at_any_write_leaves_a_gapless_prefix_and_the_next_flush_ends_it(journal, database, bucket, at, landed):
    count_from(database, 9_998)
    bucket.fail_at, bucket.landed = at, landed
    flushed = 0
    for value in range(3):  # 9,999 | 10,000 | 10,001
        record(database, value)
        try:
            flushed = journal.flush()
        except StoreUnavailable:
            have = [event.seq for event in journal.events(after=9_998)]
            assert have == list(range(9_999, 9_999 + len(have)))
            assert database.store().journalled <= 9_998 + len(have)
    assert flushed or at == 3
    assert journal.flush() == 10_001
    assert [event.seq for event in journal.events(after=9_998)] == [9_999, 10_000, 10_001]


def test_flushers_that_write_the_same_events_do_no_harm(database, bucket, url):
    record(database, 1, 2, 3)
    Journal(bucket, database).flush()
    database.write(lambda tx: tx.execute(tables.store.update().values(journalled=1)))  # as another flusher saw it
    Journal(bucket, database).flush()
    assert names(bucket) == [(1, 4), (2, 4)]
    assert [event.seq for event in Journal(bucket, database).events()] == [1, 2, 3, 4]


def test_the_journal_never_goes_back(database, bucket):
    record(database, 1)

    class Late(Bucket):
        def put(self, key, parts):
            bucket.put(key, parts)
            record(database, 2)
            Journal(bucket, database).flush()

    Journal(Late(), database).flush()
    assert database.store().journalled == 3
    assert names(bucket) == [(1, 2), (1, 3)]


@pytest.mark.slow
def test_threads_that_record_and_flush_at_once_leave_every_event_in_the_journal(database, bucket, url):
    journal = Journal(bucket, database)
    other = Database.open(url, actor="bob", folds=FOLDS)

    def work(mine, number):
        for value in range(15):
            record(mine, f"{number}.{value}")
            assert (journal if mine is database else Journal(bucket, other)).flush() > value

    threads = [threading.Thread(target=work, args=(mine, number)) for number, mine in enumerate([database, other] * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in journal.events()] == list(range(1, 62))
    assert database.store().journalled == 61
    other.close()


def test_an_outbox_that_lost_events_is_named(journal, database):
    record(database, 1, 2)
    database.write(lambda tx: tx.execute(tables.event.delete().where(tables.event.c.seq == 2)))
    with pytest.raises(IntegrityError, match="lacks events"):
        journal.flush()


def put_lines(bucket, first, last, parts):
    """Put an object whose name says of its bytes what is true, whatever the bytes are."""
    data = b"".join(parts)
    bucket.put(journal_key(first, last, blake3(data).hexdigest()[:16]), [data])


# The tail


def test_a_database_that_has_every_event_is_let_through_at_two_lists(journal, database, bucket):
    record(database, 1, 2)
    journal.flush()
    bucket.lists = 0
    journal.check_tail()
    assert bucket.lists == 2


@pytest.mark.parametrize(
    "key",
    [
        journal_key(3, 3, "0" * 16),
        journal_key(1, 7, "0" * 16),
        checkpoint_key(1, 3),
    ],
)
def test_a_database_that_lacks_an_event_is_refused(journal, database, bucket, key):
    record(database, 1)
    journal.flush()
    bucket.put(key, [b"whatever"])
    with pytest.raises(Conflict, match="art repair database"):
        journal.check_tail()


def test_the_tail_is_seen_across_the_end_of_a_folder(journal, database, bucket):
    count_from(database, 9_998)
    record(database, "the last of its folder")
    journal.check_tail()
    put_lines(bucket, 10_000, 10_000, [b"whatever"])
    with pytest.raises(Conflict):
        journal.check_tail()


def test_events_that_others_write_during_the_look_are_no_conflict(database, url):
    class Busy(Bucket):
        def list(self, prefix):
            record(other, prefix)
            Journal(bucket, other).flush()
            return bucket.list(prefix)

    bucket = Bucket()
    other = Database.open(url, actor="bob", folds=FOLDS)
    Journal(Busy(), database).check_tail()
    other.close()


# Reading


def test_a_checkpoint_stands_for_its_sources(journal, bucket):
    bucket.put(checkpoint_key(1, 5), [zstandard.compress(b"".join(lines(1, 5)))])
    put_lines(bucket, 4, 5, lines(4, 5))
    put_lines(bucket, 6, 6, lines(6, 6))
    bucket.put("journal/README", [b"not ours"])
    assert [event.seq for event in journal.events()] == [1, 2, 3, 4, 5, 6]
    assert [event.seq for event in journal.events(after=3)] == [4, 5, 6]


def test_a_gap_is_refused_after_what_is_whole(journal, bucket):
    put_lines(bucket, 1, 2, lines(1, 2))
    put_lines(bucket, 4, 5, lines(4, 5))
    seen = []
    with pytest.raises(IntegrityError, match="breaks off after event 2 of 5"):
        seen.extend(event.seq for event in journal.events())


def test_two_objects_that_do_not_agree_are_refused(journal, bucket):
    put_lines(bucket, 1, 2, lines(1, 2))
    put_lines(bucket, 2, 3, lines(2, 3, actor="another"))
    with pytest.raises(IntegrityError, match="another event 2"):
        list(journal.events())


DAMAGE = {
    "cut in a line": b"".join(lines(1, 2))[:-5],
    "cut between lines": lines(1, 1)[0],
    "one event more": b"".join(lines(1, 3)),
    "not JSON": lines(1, 1)[0] + b"\xff\n",
    "other numbers": b"".join(lines(2, 3)),
    "empty": b"",
    "a line without end": b"x" * (17 << 20),
}


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_object_is_refused(journal, bucket, data):
    put_lines(bucket, 1, 2, [data])
    with pytest.raises(IntegrityError):
        list(journal.events())


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_object_is_passed_over_where_another_has_its_events(journal, bucket, data):
    put_lines(bucket, 1, 2, [data])
    put_lines(bucket, 1, 3, lines(1, 3))
    assert [event.seq for event in journal.events()] == [1, 2, 3]


def test_a_flipped_bit_is_found_by_the_name_of_the_object(journal, database, bucket):
    record(database, "production")
    journal.flush()
    (key,) = [info.key for info in bucket.list("journal/")]
    bucket.put(key, [bucket.get(key).replace(b"production", b"prodtction")])
    with pytest.raises(IntegrityError, match="its name says"):
        list(journal.events())


@pytest.mark.parametrize(
    "data", [b"", b"not zstd", zstandard.compress(b"".join(lines(1, 2)))[:-9], zstandard.compress(b"\0" * (64 << 20))]
)
def test_a_hostile_checkpoint_is_refused(journal, bucket, data):
    bucket.put(checkpoint_key(1, 2), [data])
    with pytest.raises(IntegrityError):
        list(journal.events())


# Rebuilding


def test_a_database_is_rebuilt_from_the_journal(journal, database, bucket, tmp_path):
    record(database, *range(1500))
    journal.flush()
    blank = Database.create_blank(f"sqlite:///{tmp_path}/blank.db", store_id="S1", actor="eve", folds=FOLDS)
    rebuilt = Journal(bucket, blank)
    assert rebuilt.replay() == 1501
    assert rebuilt.replay() == 1501
    for table in (tables.event, tables.pin, tables.store):
        wanted = table.select().order_by(*table.primary_key)
        assert blank.read(lambda c, w=wanted: c.execute(w).all()) == database.read(
            lambda c, w=wanted: c.execute(w).all()
        )
    rebuilt.check_tail()
    assert rebuilt.flush() == 1501
    blank.close()


def test_a_journal_of_another_store_is_refused(journal, bucket, tmp_path):
    journal.flush()
    blank = Database.create_blank(f"sqlite:///{tmp_path}/blank.db", store_id="S2", actor="eve", folds=FOLDS)
    with pytest.raises(Conflict, match="S1"):
        Journal(bucket, blank).replay()
    blank.close()


def test_a_database_that_went_its_own_way_is_refused(journal, database, bucket, tmp_path):
    journal.flush()
    blank = Database.create_blank(f"sqlite:///{tmp_path}/blank.db", store_id="S1", actor="eve", folds=FOLDS)
    Journal(bucket, blank).replay()
    record(database, "mine")
    journal.flush()
    record(blank, "theirs")
    with pytest.raises(Conflict, match="another in the journal"):
        Journal(bucket, blank).replay()
    blank.close()


def test_an_event_of_a_newer_kind_says_to_upgrade(journal, bucket):
    journal.flush()
    put_lines(bucket, 2, 2, lines(2, 2, kind="from.the.future"))
    with pytest.raises(FormatTooNew, match=r"from\.the\.future"):
        journal.replay()


def test_an_object_holds_no_more_than_its_limit_and_is_not_read_any_further(bucket, database):
    record(database, *(str(number) * 1000 for number in range(5)))
    small = Journal(bucket, database, largest=2600)
    assert small.flush() == 6
    assert names(bucket) == [(1, 3), (4, 5), (6, 6)]
    assert [event.seq for event in small.events()] == list(range(1, 7))
    lengths = []
    plain_get = bucket.get
    bucket.get = lambda key, start=0, length=None: lengths.append(length) or plain_get(key, start, length)
    key = next(info.key for info in bucket.list("journal/") if parse_journal_key(info.key).first == 4)
    bucket.put(key, [bytes(10_000)])
    with pytest.raises(IntegrityError, match="breaks off after event 3 of 6"):
        list(small.events())
    assert set(lengths) == {2601}


def test_a_flush_that_broke_off_between_two_objects_goes_on_from_there(bucket, database):
    record(database, *(str(number) * 1000 for number in range(5)))
    bucket.fail_at = 2
    small = Journal(bucket, database, largest=2600)
    with pytest.raises(StoreUnavailable):
        small.flush()
    assert small.flush() == 6
    assert [event.seq for event in small.events()] == list(range(1, 7))
