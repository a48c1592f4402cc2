"""A writer's session: the order of writes, what a commit relies on, and what failures leave behind."""

import gc
import threading

import pytest
from sqlalchemy import delete, select

from lineart.storage import tables
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.chunks import ChunkStore
from lineart.storage.errors import Conflict, LineartError, StoreUnavailable
from lineart.storage.layout import parse_pack_key
from lineart.storage.pack import Encoded, PackBuilder, PackKind, SealedPack, read_slots
from lineart.storage.session import PacksGone, Session
from lineart.storage.tables import PackState

MIB = 1 << 20
DATA, META = PackKind


@pytest.fixture
def engine(bench, database_url):
    made = bench.create(database_url)
    yield made
    made.close()


@pytest.fixture
def quick(bench, tmp_path):
    """A store on SQLite only, for what the kind of database makes no difference to."""
    made = bench.create(f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


def write(engine, *chunks):
    """Put chunks of data into the bucket, and stop before the commit."""
    with engine.session() as session:
        for one in chunks:
            session.add(one, DATA)
        session.flush()


def commit(engine, session):
    session.flush()
    engine.write(session.commit)


def test_a_content_of_which_a_copy_was_forgotten_meanwhile_is_not_taken_for_known(quick, bench):
    (chunk,) = bench.coded(bench.data(1))
    write(quick, [chunk])
    with quick.session() as session:
        assert session.known([chunk.digest]) == {chunk.digest}
        quick.database.write(lambda tx: tx.execute(delete(tables.chunk)))  # as who reads damaged bytes does
        assert session.known([chunk.digest]) == set()


# The order of writes


def test_a_pack_is_registered_before_its_upload_and_indexed_only_afterwards(engine, bench):
    seen = []

    def look(what, key):
        if what == "put" and parse_pack_key(key):
            seen.append((bench.states(engine)[key], {row for row in bench.index(engine) if row[1] == key}))

    engine.backend.on = look
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), DATA)
        session.flush()
        assert seen == [(PackState.UPLOADING, set())]
        (key,) = bench.states(engine)
        assert bench.states(engine)[key] == PackState.UPLOADED
        assert bench.index(engine) == {(bench.name(bench.data(1)), key)}
        engine.write(session.commit)
    assert bench.states(engine)[key] == PackState.LIVE


def kinds_when_put(engine, bench):
    """Note, at each put of a pack: its kind, and the kinds of those that are registered and not durable yet."""
    seen = []

    def look(what, key):
        if what == "put" and parse_pack_key(key):
            durable = {one.key for one in engine.backend.inner.list("")}
            waiting = {parse_pack_key(k).kind for k in bench.states(engine) if k not in durable}
            seen.append((parse_pack_key(key).kind, waiting))

    engine.backend.on = look
    return seen


def test_packs_of_data_are_durable_before_packs_of_pages(engine, bench):
    seen = kinds_when_put(engine, bench)
    with engine.session() as session:
        session.add(bench.coded(b"page"), META)
        for n in range(18):
            session.add(bench.coded(bench.data(n, 4 * MIB)), DATA)
        session.add(bench.coded(b"another page"), META)
        session.flush()
    assert [kind for kind, _ in seen] == [DATA, DATA, DATA, META]
    assert seen[-1][1] == {META}


def test_a_pack_of_pages_that_is_full_before_the_end_waits_for_the_data_too(quick, bench):
    seen = kinds_when_put(quick, bench)
    with quick.session() as session:
        session.add(bench.coded(b"what the pages are about"), DATA)
        session.add(bench.coded(*(bench.data(n, 4 * MIB) for n in range(9))), META)
        session.add(bench.coded(b"more of it"), DATA)
        commit(quick, session)
    assert [kind for kind, _ in seen] == [DATA, META, DATA, META]
    assert all(waiting == {META} for kind, waiting in seen if kind == META)


def test_chunks_lie_in_their_pack_in_the_order_of_adding(quick, bench):
    contents = [bench.data(n) for n in range(50)]
    with quick.session() as session:
        for start in range(0, 50, 7):
            session.add(bench.coded(*contents[start : start + 7]), DATA)
        commit(quick, session)
    found = quick.chunks.locate([bench.name(one) for one in contents])
    assert sorted(found, key=lambda one: found[one].offset) == [bench.name(one) for one in contents]


# What is known


def test_what_is_in_the_store_or_in_this_session_is_not_written_again(engine, bench):
    first, second = bench.data(1), bench.data(2)
    bench.store(engine, [first])
    with engine.session() as session:
        assert session.known([bench.name(first), bench.name(second)]) == {bench.name(first)}
        session.put(bench.name(first), first, DATA)
        session.put(bench.name(second), second, DATA)
        assert session.known([bench.name(second)]) == {bench.name(second)}
        session.put(bench.name(second), second, META)
        session.add(bench.coded(second, second), DATA)
        assert (session.new_chunks, session.new_bytes) == (1, 1000)
        commit(engine, session)
    assert len(bench.index(engine)) == 2


def test_only_what_is_not_in_the_index_yet_is_remembered(quick, bench):
    """However many chunks a session stores, it holds the digests of the packs under way."""
    with quick.session() as session:
        for n in range(9):
            session.add(bench.coded(bench.data(n, 4 * MIB)), DATA)  # the ninth is the first of another pack
        session._wait()
        assert session._pending == {bench.name(bench.data(8, 4 * MIB))}
        names = {bench.name(bench.data(n, 4 * MIB)) for n in range(9)}
        assert session.known(names) == names
        session.flush()
        assert session._pending == set()
        assert session.known(names) == names
        commit(quick, session)
    assert set(bench.states(quick).values()) == {PackState.LIVE}


class Slow:
    """A database whose readers stand still, with what they read in hand, while `meanwhile` happens."""

    def __init__(self, database, meanwhile):
        self.inner = database
        self.meanwhile = meanwhile

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def read(self, work):
        found = self.inner.read(work)
        self.meanwhile()
        return found


def test_a_chunk_is_known_at_the_very_moment_when_it_enters_the_index(quick, bench):
    content, other = bench.data(1), bench.data(2)
    uploading, proceed = threading.Event(), threading.Event()

    def hold(what, key):
        if what == "put" and parse_pack_key(key):
            uploading.set()
            assert proceed.wait(60)

    def finish():
        proceed.set()
        flushing.join()

    quick.backend.on = hold
    session = Session(ChunkStore(quick.backend, Slow(quick.database, finish)), "ann")
    with session:
        session.add(bench.coded(content), DATA)
        flushing = threading.Thread(target=session.flush)
        flushing.start()
        assert uploading.wait(60)
        assert session.known([bench.name(content), bench.name(other)]) == {bench.name(content)}
        assert session._pending == set()
        commit(quick, session)
    assert quick.chunks.get(bench.name(content)) == content


def test_a_chunk_that_is_stored_twice_because_it_was_asked_for_too_early_does_no_harm(engine, bench):
    content = bench.data(1)
    with engine.session() as session:
        for _ in range(2):
            session.add(bench.coded(content), DATA)
            session.flush()
        commit(engine, session)
    assert len(bench.index(engine)) == 2
    assert set(bench.states(engine).values()) == {PackState.LIVE}
    assert engine.chunks.get(bench.name(content)) == content


def test_a_pack_that_is_being_uploaded_is_not_offered_to_others(engine, bench):
    content, offered = bench.data(1), []

    def look(what, key):
        if what == "put" and parse_pack_key(key):
            offered.append(engine.chunks.locate([bench.name(content)]))

    engine.backend.on = look
    bench.store(engine, [content])
    assert offered == [{}]


def test_what_an_interrupted_log_uploaded_is_found_by_the_next_try(engine, bench):
    contents = [bench.data(n) for n in range(3)]
    write(engine, bench.coded(*contents))
    assert set(bench.states(engine).values()) == {PackState.UPLOADED}
    engine.backend.calls.clear()
    with engine.session() as session:
        for one in contents:
            session.put(bench.name(one), one, DATA)
        commit(engine, session)
    assert engine.backend.packs() == []
    assert set(bench.states(engine).values()) == {PackState.LIVE}


def test_a_commit_reprieves_condemned_packs_that_it_relies_on_and_no_others(engine, bench):
    (wanted,) = bench.store(engine, [bench.data(1)])
    bench.store(engine, [bench.data(2)])
    bench.set_state(engine, PackState.CONDEMNED)
    bench.run(engine, "UPDATE pack SET stamp = 'collector'")
    with engine.session() as session:
        assert session.known([wanted])
        commit(engine, session)
    key = engine.chunks.locate([wanted])[wanted].object
    assert {k for k, state in bench.states(engine).items() if state == PackState.LIVE} == {key}
    assert bench.count(engine, "pack WHERE stamp IS NULL") == 1


@pytest.mark.parametrize("fate", [PackState.DELETING, PackState.DEAD, "gone"])
def test_a_commit_on_a_pack_that_was_collected_is_refused(engine, bench, fate):
    kept, lost = bench.store(engine, [bench.data(1)]) + bench.store(engine, [bench.data(2)])
    with engine.session() as session:
        assert session.known([kept, lost]) == {kept, lost}
        session.flush()
        key = engine.chunks.locate([lost])[lost].object
        if fate == "gone":
            bench.run(engine, "DELETE FROM pack WHERE key = :key", key=parse_pack_key(key).id)
        else:
            bench.set_state(engine, fate, key)
        with pytest.raises(PacksGone):
            engine.write(session.commit)


def test_a_commit_may_rely_on_more_packs_than_a_statement_has_parameters(quick, bench):
    many = 40_000

    def fill(tx):
        keys = ("id", "key", "kind", "state", "size")
        packs = ((n + 1, n.to_bytes(16, "big"), 1, PackState.CONDEMNED, 100) for n in range(many))
        tx.insert_many(bench.pack, keys, packs)
        chunks = ((n.to_bytes(32, "big"), n + 1, 24, 1, 1, 0) for n in range(many))
        tx.insert_many(tables.chunk, ("digest", "pack", "offset", "stored", "size", "codec"), chunks)

    quick.database.write(fill)
    with quick.session() as session:
        assert len(session.known([n.to_bytes(32, "big") for n in range(many)])) == many
        commit(quick, session)
    assert bench.count(quick, "pack WHERE state = 2") == many


# Expiry, pins


def test_a_session_and_its_pins_are_there_while_it_lives_and_gone_afterwards(engine, bench):
    with engine.session([b"\x01" * 32, b"\x02" * 32]) as session:
        assert (bench.count(engine, "session"), bench.count(engine, "pin")) == (1, 2)
        session.flush()
    assert (bench.count(engine, "session"), bench.count(engine, "pin")) == (0, 0)


@pytest.mark.parametrize("how", ["UPDATE session SET expires = 1", "DELETE FROM session"])
def test_an_expired_session_commits_nothing(engine, bench, how):
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), DATA)
        session.flush()
        bench.run(engine, how)
        with pytest.raises(PacksGone, match="expired"):
            engine.write(session.commit)
    assert set(bench.states(engine).values()) == {PackState.UPLOADED}


@pytest.mark.parametrize("how", ["UPDATE session SET expires = 1", "UPDATE pack SET state = 5"])
def test_a_pack_whose_session_or_registration_ended_during_the_upload_is_never_indexed(engine, bench, how):
    def end(what, key):
        if what == "put" and parse_pack_key(key):
            bench.run(engine, how)

    engine.backend.on = end
    with pytest.raises(PacksGone):
        write(engine, bench.coded(bench.data(1)))
    assert bench.index(engine) == set()
    assert PackState.UPLOADED not in bench.states(engine).values()


def test_a_heartbeat_renews_a_session_and_raises_none_from_the_dead(engine, bench):
    with engine.session() as session:
        bench.expire(engine)
        engine.database.write(session._renew)
        commit(engine, session)
        bench.run(engine, "DELETE FROM session")
        engine.database.write(session._renew)
        assert bench.count(engine, "session") == 0


# Many at once


def test_two_sessions_may_write_the_same_content_at_once(engine, bench):
    content = bench.data(1)
    with engine.session() as one, engine.session() as two:
        for session in (one, two):
            session.put(bench.name(content), content, DATA)
        for session in (one, two):
            commit(engine, session)
    assert engine.chunks.get(bench.name(content)) == content
    assert set(bench.states(engine).values()) == {PackState.LIVE}


def test_a_session_relies_on_what_another_uploaded_and_gave_up(engine, bench):
    content = bench.data(1)
    with engine.session() as one, engine.session() as two:
        one.put(bench.name(content), content, DATA)
        one.flush()
        assert two.known([bench.name(content)])
        one.close()
        commit(engine, two)
    assert set(bench.states(engine).values()) == {PackState.LIVE}


def in_threads(count, work):
    """Run work(0) … work(count-1) at once and raise what the first of them raised."""
    errors = []

    def run(n):
        try:
            work(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_many_threads_lose_no_chunk_and_store_none_twice(engine, bench):
    contents = [bench.data(n, 20_000) for n in range(400)]

    def work(n):
        for one in contents[n * 20 :] + contents[: n * 20]:
            session.put(bench.name(one), one, DATA)

    with engine.session() as session:
        in_threads(6, work)
        commit(engine, session)
    index = bench.index(engine)
    assert {digest for digest, _ in index} == {bench.name(one) for one in contents}
    assert len(index) == len(contents)
    got = engine.chunks.get_many([bench.name(one) for one in contents])
    assert got == {bench.name(one): one for one in contents}


@pytest.mark.slow
@pytest.mark.parametrize("writers", [1, 4])
def test_at_most_four_packs_are_in_memory(quick, bench, writers):
    most, scales = [], threading.Lock()  # one weighing at a time: it keeps what it looks at

    def headers():
        alive = (one for one in gc.get_objects() if isinstance(one, SealedPack | PackBuilder))
        return {(one.parts if isinstance(one, SealedPack) else one._parts)[0] for one in alive}

    def weigh(what, key):
        if what == "put" and parse_pack_key(key):
            with scales:
                most.append(len(headers()))

    class Forgetful(bench.Watched):
        def put(self, key, parts):
            self._note("put", key)

    backend = Forgetful(quick.backend.inner)
    backend.on = weigh
    body = bench.data(0, 4 * MIB)

    def work(n):
        for turn in range(3):
            session.add((large(body, n, turn, k) for k in range(20)), DATA)
            session.add([Encoded(bench.name(b"page %d %d" % (n, turn)), b"page", 4, 0)], META)
            for k in range(20, 28):
                session.add([large(body, n, turn, k)], DATA)

    def large(body, *numbers):
        return Encoded(bench.name(repr(numbers).encode()), body, 4 * MIB, 0)

    gc.collect()
    with Session(ChunkStore(backend, quick.database), "ann") as session:
        in_threads(writers, work)
        session.flush()
    assert len(most) >= 10 * writers
    assert max(most) <= 4


# Failures


def fail(error, first=1):
    """Make an `on` that fails puts of packs from the n-th on."""
    calls = []

    def on(what, key):
        if what == "put" and parse_pack_key(key):
            calls.append(key)
            if len(calls) >= first:
                raise error

    return on


def test_an_error_of_an_upload_comes_out_and_leaves_nothing_visible(engine, bench):
    engine.backend.on = fail(StoreUnavailable("no space left"))
    with pytest.raises(StoreUnavailable, match="no space"):
        write(engine, bench.coded(bench.data(1)))
    assert bench.index(engine) == set()
    assert set(bench.states(engine).values()) == {PackState.UPLOADING}
    assert bench.count(engine, "session") == 0


def test_an_error_of_an_upload_stops_the_adding_of_more(quick, bench):
    quick.backend.on = fail(StoreUnavailable("no space left"))
    with pytest.raises(StoreUnavailable, match="no space"):
        write(quick, *(_large(bench, n) for n in range(80)))
    assert len(quick.backend.packs()) <= 5


def _large(bench, n, kept={}):  # noqa: B006 - the same bytes serve for all
    body = kept.setdefault("body", bench.data(0, 4 * MIB))
    return [Encoded(bench.name(b"%d" % n), body, 4 * MIB, 0)]


def test_a_session_whose_upload_failed_can_never_commit(engine, bench):
    engine.backend.on = fail(StoreUnavailable("no space left"))
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), DATA)
        with pytest.raises(StoreUnavailable):
            session.flush()
        engine.backend.on = lambda what, key: None  # and whoever heard of it kept it to himself
        with pytest.raises(LineartError):
            session.flush()
        with pytest.raises(LineartError):
            engine.write(session.commit)
        with pytest.raises(LineartError):
            session.add(bench.coded(bench.data(2)), DATA)


def test_of_two_uploads_that_failed_neither_is_forgotten(quick, bench):
    quick.backend.on = fail(StoreUnavailable("no space left"))
    with quick.session() as session:
        for n in range(17):
            try:
                session.add(_large(bench, n), DATA)
            except StoreUnavailable:
                continue
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                session.flush()
        with pytest.raises(StoreUnavailable):
            quick.write(session.commit)


def test_a_chunk_that_no_pack_takes_spoils_the_session_not_the_store(quick, bench):
    with quick.session() as session:
        with pytest.raises(LineartError):
            session.add([*(_large(bench, n)[0] for n in range(8)), Encoded(b"short", b"x", 1, 0)], DATA)
        with pytest.raises(LineartError):
            session.flush()
        with pytest.raises(LineartError):
            quick.write(session.commit)


def test_nothing_is_committed_before_it_is_flushed(engine, bench):
    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), DATA)
        with pytest.raises(RuntimeError, match="flush"):
            engine.write(session.commit)
        commit(engine, session)


def test_a_transaction_that_is_undone_leaves_the_packs_uncommitted(engine, bench):
    def work(tx):
        session.commit(tx)
        raise Conflict("somebody else was first")

    with engine.session() as session:
        session.add(bench.coded(bench.data(1)), DATA)
        session.flush()
        with pytest.raises(Conflict, match="first"):
            engine.write(work)
    assert set(bench.states(engine).values()) == {PackState.UPLOADED}


def test_closing_again_and_closing_after_failures_is_fine(engine, bench):
    engine.backend.on = fail(StoreUnavailable("no space left"))
    session = engine.session()
    session.add(bench.coded(bench.data(1)), DATA)
    with pytest.raises(StoreUnavailable):
        session.flush()
    session.close()
    session.close()
    assert bench.count(engine, "session") == 0
    with pytest.raises(StoreUnavailable):
        session.add(bench.coded(bench.data(2)), DATA)


def test_where_the_database_is_away_at_the_end_the_error_is_still_the_first_one(quick, bench):
    database = bench.Unwritable(quick.database)
    database.refused = False
    session = Session(ChunkStore(quick.backend, database), "ann", [bytes(32)])
    database.refused = True
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError
    assert bench.count(quick, "session") == 1  # it expires by itself


def test_a_committed_session_whose_end_cannot_be_told_is_no_failure(quick, bench):
    database = bench.Unwritable(quick.database)
    database.refused = False
    with Session(ChunkStore(quick.backend, database), "ann") as session:
        session.add(bench.coded(bench.data(1)), DATA)
        commit(quick, session)
        database.refused = True
    assert quick.chunks.get(bench.name(bench.data(1))) == bench.data(1)


def test_packs_in_the_bucket_read_back_by_their_footers(quick, bench):
    contents = [bench.data(1), b"a" * 50_000]
    bench.store(quick, contents)
    ((key, _),) = bench.states(quick).items()
    raw = quick.backend.get(key)
    slots = read_slots(lambda start, length: raw[start : start + length], len(raw), parse_pack_key(key).id, DATA)
    assert {slot.digest for slot in slots} == {bench.name(one) for one in contents}
    size = quick.database.read(lambda c: c.execute(select(bench.pack.c.size)).scalar_one())
    assert size == len(raw)


class Gathering(MemoryBackend):
    """A place that takes one piece of memory; notes the number of parts of each object."""

    gathers = True
    counts: tuple[int, ...] = ()

    def put(self, key, parts):
        if parse_pack_key(key):
            self.counts += (len(parts),)
        super().put(key, parts)


@pytest.mark.parametrize(("gathers", "parts"), [(True, 1), (False, 3 + 3)])
def test_a_pack_is_joined_where_the_place_takes_one_piece(bench, tmp_path, gathers, parts):
    backend = Gathering("gathering")
    backend.gathers = gathers
    engine = bench.create(f"sqlite:///{tmp_path}/store.db", backend)
    with engine.session() as session:
        session.add(bench.coded(*(bench.data(seed) for seed in range(3))), DATA)
        commit(engine, session)
    assert backend.counts == (parts,)
    assert engine.chunks.get(bench.name(bench.data(2))) == bench.data(2)
    engine.close()
