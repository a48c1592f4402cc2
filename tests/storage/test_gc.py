"""The collector below artifacts: what it frees, what it must leave, and where it may stop."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from sqlalchemy import select, update

from lineart.storage import packs, repair, strays, tables
from lineart.storage.backends.local import LocalBackend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.checkpoint import merge_journal
from lineart.storage.chunks import plan
from lineart.storage.database import Database
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, IntegrityError, LineartError, StoreUnavailable
from lineart.storage.gc import Collector, Marked
from lineart.storage.layout import parse_journal_key
from lineart.storage.marks import Marks, RootGone
from lineart.storage.pack import PackKind
from lineart.storage.session import PacksGone
from lineart.storage.tables import PackState

MINUTE = 60 * 10**9  # ns
DAY = 24 * 3600 * 10**9  # ns


class Clock:
    """Nanoseconds, as the test says."""

    def __init__(self):
        self.now = 1_700_000_000 * 10**9

    def __call__(self):
        return self.now


class Wanted:
    """Roots that are chunks: `always`, and from the second question on `later`; pins are chunks, too."""

    def __init__(self, always=(), later=()):
        self.always, self.later = set(always), set(later)
        self.asked = 0
        self.on_mark = lambda: None

    def read(self, connection):
        self.asked += 1
        pins = set(connection.execute(select(tables.pin.c.digest)).scalars())
        return self.always | pins | (self.later if self.asked > 1 else set())

    def mark(self, root, marks):
        self.on_mark()
        marks.add([root])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(bench, database_url, clock):
    """A store whose clock the test moves (on SQLite)."""
    made = Engine.create(bench.Watched(), database_url, actor="ann", folds={})
    made.database.close()
    made.database = Database.open(database_url, actor="ann", folds={}, clock=clock)
    made.chunks.database = made.journal._database = made.database
    yield made
    made.close()


def collect(engine, *always, **more):
    return Collector(engine, Wanted(always, **more)).run()


def objects(engine):
    return {one.key for one in engine.backend.list("") if one.key.startswith(("packs/", "meta/"))}


def events(engine, kind="packs.deleting"):
    return [one for one in engine.journal.events() if one.kind == kind]


def test_what_nothing_needs_is_freed_in_one_go(engine, bench):
    (kept,) = bench.store(engine, [bench.data(1)])
    bench.store(engine, [bench.data(2)])
    before = objects(engine)
    report = collect(engine, kept)
    assert (report.freed.packs, report.kept.packs) == (1, 1)
    assert len(objects(engine)) == 1
    assert set(bench.states(engine).values()) == {PackState.LIVE}
    assert bench.index(engine) == {(kept, key) for key in objects(engine)}
    assert engine.chunks.get(kept) == bench.data(1)
    (event,) = events(engine)
    (gone,) = before - objects(engine)
    assert event.data == {"packs": [gone.rpartition("/")[2]], "size": report.freed.size}
    assert (event.actor, event.reason) == ("ann", "nothing needs them")


def test_a_dry_run_says_the_same_and_changes_nothing(engine, bench):
    kept, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    bench.store(engine, [bench.data(20)])
    before = objects(engine), bench.states(engine), bench.index(engine), engine.database.store()
    said = Collector(engine, Wanted([kept])).preview()
    assert (objects(engine), bench.states(engine), bench.index(engine), engine.database.store()) == before
    done = collect(engine, kept)
    assert (said.freed, said.written) == (done.freed, done.written)
    assert (said.freed.packs, said.written) == (2, 1000)


def test_a_mostly_dead_pack_is_repacked_and_read_from_its_new_place(engine, bench):
    kept, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    (located,) = engine.chunks.locate([kept]).values()
    collect(engine, kept)
    assert engine.chunks.locate([kept])[kept].pack != located.pack
    assert engine.chunks.get(kept) == bench.data(0)
    (read,) = plan([located])
    assert [bytes(data) for _, data in engine.chunks.load(read)] == [bench.data(0)]  # a reader who looked it up before
    assert collect(engine, kept).freed.packs == 0


def test_a_pack_of_which_half_is_wanted_stays(engine, bench):
    digests = bench.store(engine, [bench.data(n) for n in range(4)])
    before = objects(engine)
    assert collect(engine, *digests[:2]).freed.packs == 0
    assert objects(engine) == before


def test_copies_that_another_live_pack_holds_are_not_made_again(engine, bench):
    one, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    bench.store(engine, [bench.data(0)])
    report = collect(engine, one)
    assert (report.freed.packs, report.written, len(objects(engine))) == (1, 0, 1)
    assert engine.chunks.get(one) == bench.data(0)


def test_two_mostly_dead_packs_do_not_lean_on_each_other(engine, bench):
    one, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    bench.store(engine, [bench.data(0), *(bench.data(n) for n in range(20, 28))])
    collect(engine, one)
    assert engine.chunks.get(one) == bench.data(0)
    assert len(objects(engine)) == 1


def test_of_two_packs_with_the_same_chunk_one_is_always_live(engine, bench):
    """However two collectors take turns: each asks in the transaction that condemns, and again in that which sweeps."""
    (digest,) = bench.store(engine, [bench.data(1)])
    bench.store(engine, [bench.data(1)])
    one, two = engine.database.read(lambda connection: packs.packs_in(connection, [PackState.LIVE]))
    write = engine.write
    assert write(lambda tx: packs.condemn_copied(tx, one.id, [digest], "a"))
    assert not write(lambda tx: packs.condemn_copied(tx, two.id, [digest], "b"))
    bench.set_state(engine, PackState.CONDEMNED, two.object)  # by one whose mark is older, and who will see it later
    assert write(lambda tx: packs.sweep_copied(tx, one, [digest], "a", "why")) == []
    assert bench.states(engine)[one.object] == PackState.LIVE
    assert write(lambda tx: packs.condemn_copied(tx, one.id, [digest], "a")) is False
    write(lambda tx: packs.revive(tx, [two.id]))
    assert write(lambda tx: packs.condemn_copied(tx, one.id, [digest], "a"))
    assert write(lambda tx: packs.sweep_copied(tx, one, [digest], "another", "why")) == []
    assert write(lambda tx: packs.sweep_copied(tx, one, [digest], "a", "why")) == [one]


def test_a_pack_is_judged_by_its_footer_where_the_index_lacks_a_row(engine, bench):
    kept, _ = bench.store(engine, [bench.data(1), bench.data(2)])
    engine.chunks.forget(engine.chunks.locate([kept])[kept])
    assert collect(engine, kept).freed.packs == 0
    assert len(objects(engine)) == 1


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_pack_that_cannot_be_read_is_left_alone_and_named(engine, bench, damage):
    bench.store(engine, [bench.data(1)])
    (key,) = objects(engine)
    if damage == "gone":
        engine.backend.delete([key])
    else:
        bench.cut(engine.backend, key, -1)
    report = collect(engine)
    assert report.freed.packs == 0
    assert [key in one for one in report.notes] == [True]
    assert bench.states(engine) == {key: PackState.LIVE}


def test_a_missing_pack_is_left_alone(engine, bench):
    bench.store(engine, [bench.data(1)])
    bench.set_state(engine, PackState.MISSING)
    collect(engine)
    assert set(bench.states(engine).values()) == {PackState.MISSING}
    assert len(objects(engine)) == 1


def test_what_a_commit_reached_between_the_marks_is_seen_by_the_second(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    report = collect(engine, later=[digest])
    assert (report.freed.packs, report.spared.packs) == (0, 1)
    assert set(bench.states(engine).values()) == {PackState.LIVE}
    assert engine.chunks.get(digest) == bench.data(1)


def test_a_repacked_pack_stays_if_more_of_it_is_wanted_meanwhile(engine, bench):
    one, two, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    report = collect(engine, one, later=[two])
    assert report.spared.packs == 1
    assert engine.chunks.get(two) == bench.data(1)


def test_a_writer_that_relies_on_a_condemned_pack_makes_it_live(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    bench.set_state(engine, PackState.CONDEMNED)
    with engine.session() as session:
        assert session.known([digest]) == {digest}
        engine.write(session.commit)
    assert set(bench.states(engine).values()) == {PackState.LIVE}


def test_a_commit_after_the_sweep_is_refused_and_done_again(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    with engine.session() as session:
        assert session.known([digest]) == {digest}
        collect(engine)
        with pytest.raises(PacksGone):
            engine.write(session.commit)
    bench.store(engine, [bench.data(2)])  # on SQLite a row id would come back without its AUTOINCREMENT
    with pytest.raises(PacksGone):
        engine.write(session.commit)


def test_pins_of_living_sessions_are_kept_and_of_dead_ones_not(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    with engine.session([digest]):
        assert collect(engine).freed.packs == 0
        bench.expire(engine)
        report = collect(engine)
    assert (report.freed.packs, report.sessions) == (1, 1)
    assert bench.count(engine, "pin") == bench.count(engine, "session") == 0


def test_uploads_of_a_living_session_are_left_to_it(engine, bench):
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), PackKind.DATA)
        session.flush()
        assert collect(engine).freed.packs == 0
        assert set(bench.states(engine).values()) == {PackState.UPLOADED}
        engine.write(session.commit)
    assert engine.chunks.get(bench.name(bench.data(1))) == bench.data(1)


def test_uploads_of_a_session_that_ended_without_a_commit_are_freed(engine, bench):
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), PackKind.DATA)
        session.flush()
    assert set(bench.states(engine).values()) == {PackState.UPLOADED}
    said = Collector(engine, Wanted()).preview()
    assert collect(engine).freed == said.freed
    assert (said.freed.packs, objects(engine), bench.states(engine)) == (1, set(), {})


def pass_time(engine, clock, nanoseconds):
    """Let time pass for strays; PostgreSQL's clock is the server's, so there the first sight is put back."""
    clock.now += nanoseconds
    if engine.database.dialect == "postgresql":
        seen = tables.stray.c.seen
        engine.database.write(lambda tx: tx.execute(update(tables.stray).values(seen=seen - nanoseconds // 1000)))


def test_an_upload_that_lands_after_its_session_was_expired_is_no_pack_and_goes_when_it_is_old(engine, bench, clock):
    def expire(what, key):
        if what == "put" and key.startswith("packs/"):
            engine.backend.on = lambda what, key: None
            bench.expire(engine)
            assert set(bench.states(engine).values()) == {PackState.UPLOADING}
            collect(engine)  # dead, its object not there yet, and so its row goes

    engine.backend.on = expire
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), PackKind.DATA)
        with pytest.raises(PacksGone):
            session.flush()
    assert (len(objects(engine)), bench.states(engine)) == (1, {})
    report = collect(engine)
    assert (report.waiting.packs, report.strays.packs) == (1, 0)
    pass_time(engine, clock, 7 * DAY - MINUTE)
    assert collect(engine).strays.packs == 0
    pass_time(engine, clock, MINUTE)
    said = Collector(engine, Wanted()).preview()
    assert said.strays.packs == 1
    report = collect(engine)
    assert (report.strays, report.freed.packs) == (said.strays, 0)
    assert (objects(engine), bench.count(engine, "stray")) == (set(), 0)
    assert events(engine)[-1].reason == "unknown to the database for seven days"


def test_an_unknown_object_that_holds_what_is_wanted_is_kept_for_a_repair(engine, bench, clock):
    (digest,) = bench.store(engine, [bench.data(1)])
    bench.run(engine, "DELETE FROM chunk")
    bench.run(engine, "DELETE FROM pack")
    collect(engine, digest)
    bench.run(engine, "UPDATE stray SET seen = 1")
    report = collect(engine, digest)
    assert report.strays.packs == 0
    assert "art repair database" in report.notes[0]
    assert len(objects(engine)) == 1


def test_an_unknown_object_that_is_no_pack_is_left_alone(engine, bench):
    engine.backend.put(f"packs/ab/ab{'0' * 30}", [b"something"])
    engine.backend.put("packs/ab/readme", [b"something"])
    collect(engine)
    bench.run(engine, "UPDATE stray SET seen = 1")
    assert "no sound pack" in collect(engine).notes[0]
    assert len(objects(engine)) == 2


def test_an_object_that_somebody_registered_meanwhile_is_no_stray(engine, bench):
    bench.store(engine, [bench.data(1)])
    (known,) = engine.database.read(lambda connection: packs.packs_in(connection, [PackState.LIVE]))
    unknown = known._replace(key=b"k" * 16)
    given_up = engine.write(lambda tx: packs.enter_strays(tx, [known, unknown], "why"))
    assert [one.key for one in given_up] == [unknown.key]
    assert bench.states(engine) == {known.object: PackState.LIVE, unknown.object: PackState.DELETING}
    again = engine.write(lambda tx: packs.enter_strays(tx, [unknown], "why"))  # by another collector, at once
    assert again == [given_up[0]._replace(state=PackState.DELETING)]
    assert [one.data["packs"] for one in events(engine)] == [[unknown.key.hex()]] * 2


def test_a_database_that_lacks_events_collects_nothing(engine, bench):
    bench.store(engine, [bench.data(1)])
    bench.run(engine, "DELETE FROM event")
    bench.run(engine, "UPDATE store SET seq = 0, journalled = 0")
    for act in (Collector(engine, Wanted()).run, Collector(engine, Wanted()).preview):
        with pytest.raises(Conflict, match="art repair database"):
            act()
    assert len(objects(engine)) == 1


def test_nothing_is_deleted_before_its_event_is_in_the_journal(engine, bench):
    bench.store(engine, [bench.data(1)])

    def refuse(what, key):
        if what == "put" and key.startswith("journal/"):
            raise StoreUnavailable("the journal cannot be written")

    engine.backend.on = refuse
    with pytest.raises(StoreUnavailable):
        collect(engine)
    assert len(objects(engine)) == 1
    assert set(bench.states(engine).values()) == {PackState.DELETING}
    engine.backend.on = lambda what, key: None
    assert collect(engine).freed.packs == 1
    assert (objects(engine), len(events(engine))) == (set(), 1)


class Interrupted:
    """A database where `first` takes place just before the first look at what others are deleting."""

    def __init__(self, inner, first):
        self.inner, self.first = inner, first

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def read(self, work):
        if "Collector.run" in work.__qualname__ and self.first is not None:
            first, self.first = self.first, None
            first()
        return self.inner.read(work)


def test_what_another_collector_gave_up_is_not_deleted_before_its_event_either(engine, bench):
    """The other has committed that, and has not come to the journal yet."""
    bench.store(engine, [bench.data(1)])
    bench.set_state(engine, PackState.DEAD)
    whole = engine.database
    engine.begin_writing()
    engine.database = Interrupted(whole, lambda: whole.write(lambda tx: packs.sweep(tx, "another", "why")))
    counts = []
    engine.backend.on = lambda what, key: counts.append(len(events(engine))) if what == "delete" else None
    assert collect(engine).freed.packs == 1
    assert counts == [1]
    engine.database = whole


def test_a_repair_after_the_event_offers_none_of_what_was_given_up(engine, bench, tmp_path):
    """The collector of a lost database may still be deleting."""
    (digest,) = bench.store(engine, [bench.data(1)])
    engine.backend.on = lambda what, key: stop() if what == "delete" else None

    def stop():
        raise StoreUnavailable("cut off")

    with pytest.raises(StoreUnavailable):
        collect(engine)
    engine.backend.on = lambda what, key: None
    url = f"sqlite:///{tmp_path}/rebuilt.db"
    repair.repair_database(engine.backend, url, actor="bo", folds={})
    rebuilt = Engine.open(engine.backend, url, actor="bo", folds={})
    assert set(bench.states(rebuilt).values()) == {PackState.DELETING}
    assert rebuilt.chunks.locate([digest]) == {}
    assert collect(rebuilt).freed.packs == 1
    assert objects(engine) == set()
    rebuilt.close()


def test_a_repair_beside_a_collector_does_not_bring_back_what_is_gone(engine, bench, database_url):
    """It has listed a pack that the collector then deletes, rows and all."""
    bench.store(engine, [bench.data(1)])

    def interfere(what, key):
        if what == "get" and key.startswith("packs/"):
            engine.backend.on = lambda what, key: None
            raw = engine.backend.get(key)
            collect(engine)
            engine.backend.put(key, [raw])  # so that the footer can still be read, by the one who listed it

    bench.run(engine, "UPDATE pack SET state = 0")
    bench.run(engine, "UPDATE pack SET session = 'gone'")
    engine.backend.on = interfere
    repair.repair_database(engine.backend, database_url, actor="bo", folds={})
    assert PackState.LIVE not in bench.states(engine).values()


def story(bench, engine):
    """Some garbage, some that is wanted, a mostly dead pack, and what a lost writer left; the wanted digests."""
    wanted = bench.store(engine, [bench.data(1)])
    bench.store(engine, [bench.data(2)])
    bench.store(engine, [bench.data(3)], PackKind.META)
    wanted += bench.store(engine, [bench.data(n) for n in range(10, 18)])[:2]
    with engine.session() as session:
        session.add(bench.coded(bench.data(4)), PackKind.DATA)
        session.flush()
    return wanted


def numbers(bench):
    return {bench.name(bench.data(n)): n for n in (1, 10, 11)}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["FAIL_BEFORE", "FAIL_AFTER", "TRUNCATE", "UNREACHABLE"])
def test_a_failure_at_any_operation_loses_nothing_and_the_next_collector_goes_on(bench, faults, tmp_path, fault):
    for n in itertools.count(1):
        memory, url = MemoryBackend(), f"sqlite:///{tmp_path}/{n}.db"
        first = bench.create(url, memory)
        wanted = story(bench, first)
        first.close()
        backend = faults.FaultBackend(memory)
        engine = bench.open_(url, backend)
        engine.begin_writing()
        start = backend.count
        backend.faults[start + n] = faults.Fault[fault]
        with suppress(LineartError):
            collect(engine, *wanted)
        ended = backend.count < start + n
        backend.revive()
        for digest, number in numbers(bench).items():
            assert engine.chunks.get(digest) == bench.data(number)
        bench.expire(engine)  # what the first was copying
        collect(engine, *wanted)
        assert len(objects(engine)) == 2, backend.log[start + n - 1]
        assert set(bench.states(engine).values()) == {PackState.LIVE}
        assert {row[0] for row in bench.index(engine)} == set(wanted)
        engine.close()
        if ended:
            return


class Stops:
    """A database that is gone from its n-th writing transaction on, before or after it took place."""

    def __init__(self, inner, at, *, done):
        self.inner, self.left, self.done = inner, at, done

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def write(self, work):
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.done):
            raise StoreUnavailable("the database is gone")
        result = self.inner.write(work)
        if self.left == 0:
            raise StoreUnavailable("the answer was lost")
        return result


@pytest.mark.slow
@pytest.mark.parametrize("done", [False, True])
def test_a_crash_between_any_two_steps_loses_nothing_and_the_next_collector_goes_on(bench, tmp_path, done):
    for n in itertools.count(1):
        url, memory = f"sqlite:///{tmp_path}/{n}.db", MemoryBackend()
        engine = bench.create(url, memory)
        wanted = story(bench, engine)
        whole = engine.database
        engine.database = engine.chunks.database = engine.journal._database = Stops(whole, n, done=done)
        try:
            collect(engine, *wanted)
            ended = True
        except StoreUnavailable:
            ended = False
        engine.close()
        engine = bench.open_(url, memory)
        for digest, number in numbers(bench).items():
            assert engine.chunks.get(digest) == bench.data(number)
        bench.expire(engine)  # what the first was copying
        collect(engine, *wanted)
        assert len(objects(engine)) == 2
        assert set(bench.states(engine).values()) == {PackState.LIVE}
        engine.close()
        if ended:
            return


def test_what_a_root_that_is_gone_shared_with_others_is_followed_again(engine, bench):
    """Its way was broken off behind a page that another root needs as well."""
    (digest,) = bench.store(engine, [bench.data(1)])

    class Roots:
        def read(self, connection):
            return {1, 2}

        def mark(self, root, marks):
            if marks.follow(b"shared") and root == 2:
                marks.add([digest])
            if root == 1:
                raise RootGone

    Collector(engine, Roots()).run()
    assert engine.chunks.get(digest) == bench.data(1)


def test_a_root_that_was_gone_and_is_one_again_is_followed(engine, bench):
    """Another collector gave it up while it was marked, and the same content was logged anew before the second look."""
    (digest,) = bench.store(engine, [bench.data(1)])
    asked = []

    class Roots:
        def read(self, connection):
            return {1}

        def mark(self, root, marks):
            asked.append(root)
            if len(asked) == 1:
                raise RootGone
            marks.add([digest])

    Collector(engine, Roots()).run()
    assert engine.chunks.get(digest) == bench.data(1)


def test_what_a_dry_run_marked_is_not_marked_again(engine, bench):
    kept, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    bench.store(engine, [bench.data(20)])
    roots = Wanted([kept])
    count = []
    roots.on_mark = lambda: count.append(1)
    with Marked() as marked:
        said = Collector(engine, roots).preview(marked)
        done = Collector(engine, roots).run(marked)
    assert len(count) == 1
    assert (said.freed, said.written) == (done.freed, done.written)
    assert engine.chunks.get(kept) == bench.data(0)


@pytest.mark.parametrize("also", [1, 2])
def test_what_came_since_the_dry_run_is_kept(engine, bench, also):
    """Between the two somebody thinks: versions come and packs are written, in packs of their own and in the old."""
    kept, *_ = bench.store(engine, [bench.data(n) for n in range(8)])
    roots = Wanted([kept])
    with Marked() as marked:
        Collector(engine, roots).preview(marked)
        new = bench.store(engine, [bench.data(30), bench.data(also)])
        roots.always |= set(new)
        Collector(engine, roots).run(marked)
    for digest, number in zip([kept, *new], (0, 30, also), strict=True):
        assert engine.chunks.get(digest) == bench.data(number)


def test_what_was_given_up_since_the_dry_run_stays_for_the_next_one(engine, bench):
    first, second = bench.store(engine, [bench.data(1)]) + bench.store(engine, [bench.data(2)])
    roots = Wanted([first, second])
    with Marked() as marked:
        Collector(engine, roots).preview(marked)
        roots.always = {first}
        assert Collector(engine, roots).run(marked).freed.packs == 0
    assert collect(engine, first).freed.packs == 1


def test_the_mark_of_another_store_is_not_believed(engine, bench, tmp_path):
    other = bench.create(f"sqlite:///{tmp_path}/other.db", MemoryBackend())
    (digest,) = bench.store(engine, [bench.data(1)])
    with Marked() as marked:
        Collector(other, Wanted()).preview(marked)
        Collector(engine, Wanted([digest])).run(marked)
    assert engine.chunks.get(digest) == bench.data(1)
    other.close()


def test_a_mark_serves_one_run(engine, bench):
    first, second = bench.store(engine, [bench.data(1)]) + bench.store(engine, [bench.data(2)])
    with Marked() as marked:
        Collector(engine, Wanted([first, second])).preview(marked)
        Collector(engine, Wanted([first, second])).run(marked)
        assert Collector(engine, Wanted([first])).run(marked).freed.packs == 1


def test_a_dry_run_that_failed_leaves_no_mark(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])

    class Broken(Wanted):
        def mark(self, root, marks):
            raise IntegrityError("unreadable")

    with Marked() as marked:
        with pytest.raises(IntegrityError):
            Collector(engine, Broken([digest])).preview(marked)
        Collector(engine, Wanted([digest])).run(marked)
    assert engine.chunks.get(digest) == bench.data(1)


def test_a_collector_never_sweeps_what_another_condemned(engine, bench):
    """The other has marked, but not for the second time; its mark may not see what this one's did."""
    (digest,) = bench.store(engine, [bench.data(1)])
    bench.run(engine, "UPDATE pack SET state = 3, stamp = 'another'")
    roots = Wanted()
    collector = Collector(engine, roots)

    def take_over():  # between the two marks
        if roots.asked == 2:
            bench.run(engine, "UPDATE pack SET stamp = 'another'")

    roots.later = {bench.name(b"nothing")}
    roots.on_mark = take_over
    assert collector.run().freed.packs == 0
    assert engine.chunks.get(digest) == bench.data(1)


def test_collectors_at_once_do_no_harm(bench, tmp_path):
    url, memory = f"sqlite:///{tmp_path}/store.db", MemoryBackend()
    engine, other = bench.create(url, memory), bench.open_(url, memory)
    wanted = story(bench, engine)
    roots = Wanted(wanted)
    calls = iter(range(100))
    roots.on_mark = lambda: next(calls) == 1 and collect(other, *wanted)
    Collector(engine, roots).run()
    collect(engine, *wanted)
    for digest, number in numbers(bench).items():
        assert engine.chunks.get(digest) == bench.data(number)
    assert len(objects(engine)) == 2
    engine.close()
    other.close()


def test_unfinished_files_of_a_local_store_go_when_they_are_old(bench, tmp_path):
    backend = LocalBackend(tmp_path / "store")
    engine = bench.create(f"sqlite:///{tmp_path}/store.db", backend)
    bench.store(engine, [bench.data(1)])
    left = tmp_path / "store" / "packs" / "ab" / ".tmp-1-0011223344556677"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    assert list(backend.unfinished()) == ["packs/ab/.tmp-1-0011223344556677"]
    assert collect(engine).leftovers == 0
    assert collect(engine).leftovers == 0
    bench.run(engine, f"UPDATE stray SET seen = seen - {strays.AGE}")
    assert collect(engine).leftovers == 1
    assert not left.exists()
    assert bench.count(engine, "stray") == 0
    engine.close()


# Marks


def test_marks_beyond_their_memory_are_all_there(tmp_path):
    digests = [n.to_bytes(4, "big") * 8 for n in range(30_000)]
    with Marks(cache=1 << 20) as marks:
        marks.add(reversed(digests))
        assert list(marks) == digests
        assert marks.among([digests[7], b"x" * 32]) == {digests[7]}
        marks.begin_again()
        marks.add([digests[0], b"y" * 32])
        assert list(marks.late()) == [b"y" * 32]
        assert [marks.follow(digests[0]), marks.follow(digests[0])] == [True, False]


# Checkpoints


def fill(bench, engine, count):
    for n in range(count):
        engine.write(lambda tx, n=n: tx.record("packs.deleting", "packs", {"packs": [f"{n:032x}"], "size": 0}))


def names(engine):
    return [parse_journal_key(one.key) for one in engine.backend.list("journal/")]


def test_many_journal_objects_become_one_with_the_same_events(engine, bench):
    fill(bench, engine, 12)
    before = list(engine.journal.events())
    assert merge_journal(engine, fewest=20) == 0
    assert merge_journal(engine, fewest=12) == 13
    (name,) = names(engine)
    assert (name.first, name.last, name.is_checkpoint) == (1, 13, True)
    assert list(engine.journal.events()) == before
    fill(bench, engine, 3)
    assert [(one.first, one.last) for one in names(engine)] == [(14, 14), (15, 15), (16, 16), (1, 13)]
    assert merge_journal(engine, fewest=3) == 4  # a small checkpoint is taken in
    assert [(one.first, one.last) for one in names(engine)] == [(1, 16)]
    assert list(engine.journal.events())[:13] == before
    engine.journal.check_tail()


def test_large_checkpoints_are_left_and_followed_by_others(engine, bench):
    fill(bench, engine, 6)
    before = list(engine.journal.events())
    merge_journal(engine, fewest=1, largest=600, small=1)
    assert len(names(engine)) > 2
    assert list(engine.journal.events()) == before
    old = names(engine)
    fill(bench, engine, 2)
    merge_journal(engine, fewest=1, largest=600, small=1)
    assert names(engine)[: len(old)] == old
    assert [one.seq for one in engine.journal.events()] == list(range(1, 10))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["FAIL_BEFORE", "FAIL_AFTER", "TRUNCATE", "FLIP"])
def test_a_failure_while_the_journal_is_merged_loses_no_event(bench, faults, tmp_path, fault):
    for n in itertools.count(1):
        backend = faults.FaultBackend(MemoryBackend())
        engine = bench.create(f"sqlite:///{tmp_path}/{n}.db", backend)
        fill(bench, engine, 5)
        expected = list(engine.journal.events())
        start = backend.count
        backend.faults[start + n] = faults.Fault[fault]
        with suppress(LineartError):
            merge_journal(engine, fewest=1)
        ended = backend.count < start + n
        backend.revive()
        assert list(engine.journal.events()) == expected
        merge_journal(engine, fewest=1)
        merge_journal(engine, fewest=1)
        assert list(engine.journal.events()) == expected
        engine.close()
        if ended:
            return


def test_who_reads_the_journal_while_it_is_merged_misses_nothing(engine, bench):
    fill(bench, engine, 40)
    expected = list(engine.journal.events())
    reading = engine.journal.events()
    first = next(reading)
    merge_journal(engine, fewest=1)
    assert [first, *reading] == expected


@pytest.mark.parametrize("end", [-1, -4, -20])
def test_a_checkpoint_that_is_cut_short_gives_no_event(engine, bench, end):
    fill(bench, engine, 5)
    merge_journal(engine, fewest=1)
    (key,) = (one.key for one in engine.backend.list("journal/"))
    bench.cut(engine.backend, key, end)
    with pytest.raises(IntegrityError, match=r"cut short|breaks off"):
        next(engine.journal.events())
