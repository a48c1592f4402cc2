"""Reading chunks: joined reads, damaged copies, packs that move, and buckets that are away."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from lineart.storage.chunks import ChunkStore, Location, plan
from lineart.storage.digest import Digest
from lineart.storage.errors import IntegrityError, StoreUnavailable
from lineart.storage.layout import MARKER
from lineart.storage.pack import PackKind
from lineart.storage.session import PacksGone
from lineart.storage.tables import PackState

MIB = 1 << 20


@pytest.fixture
def engine(bench, tmp_path):
    made = bench.create(f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


@pytest.fixture
def everywhere(bench, database_url):
    """A store on each kind of database."""
    made = bench.create(database_url)
    yield made
    made.close()


# The plan of reads: pure


def at(offset, stored=1000, pack=1):
    key = bytes([pack]) * 16
    return Location(f"{pack}-{offset}".encode().ljust(32), pack, key, 1, PackState.LIVE, offset, stored, stored, 0)


def test_neighbours_are_one_read():
    (read,) = plan([at(24), at(1024), at(2024)])
    assert (read.start, read.length, len(read.chunks)) == (24, 3000, 3)
    assert read.key == at(24).object


def test_a_gap_of_a_mebibyte_is_read_across_and_a_wider_one_is_not():
    assert len(plan([at(0), at(1000 + MIB)])) == 1
    assert len(plan([at(0), at(1001 + MIB)])) == 2


def test_a_joined_read_does_not_outgrow_its_span():
    reads = plan([at(n * 4 * MIB, 4 * MIB) for n in range(5)])
    assert [len(read.chunks) for read in reads] == [2, 2, 1]


def test_packs_are_never_joined():
    assert [read.key for read in plan([at(0, pack=2), at(0, pack=1)])] == [at(0, pack=1).object, at(0, pack=2).object]


def test_a_chunk_that_is_wanted_twice_is_read_once():
    (read,) = plan([at(500), at(500), at(500)])
    assert len(read.chunks) == 1


def test_nothing_wanted_is_no_read():
    assert plan([]) == []


def test_every_chunk_lies_inside_exactly_one_read_whatever_is_wanted():
    chance = random.Random(7)
    for _ in range(200):
        wanted, offset = [], 24
        for _ in range(chance.randrange(1, 40)):
            stored = chance.choice([1, 300, 70_000, 2 * MIB, 4 * MIB])
            wanted.append(at(offset, stored, chance.randrange(1, 4)))
            offset += stored + chance.choice([0, 0, 5, MIB - 1, MIB + 1])
        chance.shuffle(wanted)
        reads = plan(wanted)
        assert sorted(one for read in reads for one in read.chunks) == sorted(wanted)
        for read in reads:
            assert all(read.start <= one.offset for one in read.chunks)
            assert all(one.offset + one.stored <= read.start + read.length for one in read.chunks)
            assert read.length <= 8 * MIB
            assert read.start == read.chunks[0].offset


# Finding


@pytest.mark.parametrize("state", [PackState.UPLOADING, PackState.DELETING, PackState.DEAD])
def test_packs_that_are_not_whole_or_are_going_are_never_offered(everywhere, bench, state):
    (digest,) = bench.store(everywhere, [bench.data(1)])
    bench.set_state(everywhere, state)
    assert everywhere.chunks.locate([digest]) == {}
    with everywhere.session() as session:
        assert session.known([digest]) == set()


@pytest.mark.parametrize("state", [PackState.UPLOADED, PackState.LIVE, PackState.CONDEMNED])
def test_packs_that_are_whole_are_offered(everywhere, bench, state):
    (digest,) = bench.store(everywhere, [bench.data(1)])
    bench.set_state(everywhere, state)
    assert everywhere.chunks.get(digest) == bench.data(1)


def test_of_two_copies_the_one_in_a_live_pack_is_preferred(everywhere, bench):
    bench.store(everywhere, [bench.data(1)])
    (digest,) = bench.store(everywhere, [bench.data(1)])
    for key in bench.states(everywhere):
        bench.set_state(everywhere, PackState.CONDEMNED)
        bench.set_state(everywhere, PackState.LIVE, key)
        assert everywhere.chunks.locate([digest])[digest].object == key


def test_thousands_of_chunks_are_found_at_once(everywhere, bench):
    contents = [b"%d" % n for n in range(5000)]
    digests = bench.store(everywhere, contents)
    found = everywhere.chunks.locate([*digests, *digests[:10], bytes(32)])
    assert set(found) == set(digests)
    assert everywhere.chunks.get_many(digests) == dict(zip(digests, contents, strict=True))
    assert everywhere.chunks.get_many([]) == {}


def test_a_chunk_that_no_pack_holds_is_named(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    lost = bench.name(b"lost")
    with pytest.raises(IntegrityError, match=f"{Digest(lost)}.*1 of 2"):
        engine.chunks.get_many([digest, lost])


def test_a_chunk_of_another_size_than_its_recipe_says_is_refused(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    assert [one.size for one in engine.chunks.locate_in_order([(digest, 1000)] * 3, batch=2)] == [1000] * 3
    with pytest.raises(IntegrityError, match="1000 bytes, its recipe says 999"):
        list(engine.chunks.locate_in_order([(digest, 999)]))


# Damage


@dataclass
class Kinds:
    """Ways in which one copy can be bad."""

    bench: object

    def flip(self, backend, key):
        self.bench.flip(backend, key)

    def cut(self, backend, key):
        self.bench.cut(backend, key, 500)

    def empty(self, backend, key):
        backend.put(key, [b""])

    def gone(self, backend, key):
        backend.delete([key])


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "gone"])
def test_a_damaged_copy_is_replaced_by_another_packs_and_forgotten(everywhere, bench, how):
    bench.store(everywhere, [bench.data(1)])
    (digest,) = bench.store(everywhere, [bench.data(1)])
    bad = everywhere.chunks.locate([digest])[digest].object
    (good,) = set(bench.states(everywhere)) - {bad}
    getattr(Kinds(bench), how)(everywhere.backend, bad)
    assert everywhere.chunks.get(digest) == bench.data(1)
    assert bench.offered(everywhere) == {(digest, good)}


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "gone"])
def test_a_chunk_without_a_good_copy_is_an_error_with_the_key_until_good_content_is_stored_again(
    everywhere, bench, how
):
    digest, other = bench.store(everywhere, [bench.data(1), bench.data(2, 90_000)])
    (key,) = bench.states(everywhere)
    getattr(Kinds(bench), how)(everywhere.backend, key)
    with pytest.raises(IntegrityError) as caught:
        everywhere.chunks.get(digest)
    assert key in str(caught.value)
    assert str(Digest(digest)) in str(caught.value)
    assert (digest, key) not in bench.offered(everywhere)
    assert (other, key) in bench.index(everywhere)  # nobody has looked at that one
    with everywhere.session() as session:
        session.put(digest, bench.data(1), PackKind.DATA)
        session.flush()
        everywhere.write(session.commit)
    assert everywhere.chunks.get(digest) == bench.data(1)


def test_a_pack_that_was_away_for_a_while_is_taken_up_again(everywhere, bench):
    digest, other = bench.store(everywhere, [bench.data(1), bench.data(2, 90_000)])
    (key,) = bench.states(everywhere)
    kept = everywhere.backend.get(key)
    everywhere.backend.delete([key])
    for _ in range(2):
        with pytest.raises(IntegrityError):
            everywhere.chunks.get(digest)
    everywhere.backend.put(key, [kept])
    assert everywhere.chunks.get_many([digest, other]) == {digest: bench.data(1), other: bench.data(2, 90_000)}
    assert bench.offered(everywhere) == {(digest, key), (other, key)}


def test_a_pack_that_is_away_is_not_relied_on(everywhere, bench):
    (digest,) = bench.store(everywhere, [bench.data(1)])
    (key,) = bench.states(everywhere)
    everywhere.backend.delete([key])
    with everywhere.session() as relying:
        assert relying.known([digest]) == {digest}
        with pytest.raises(IntegrityError):
            everywhere.chunks.get(digest)
        relying.flush()
        with pytest.raises(PacksGone):
            everywhere.write(relying.commit)


def test_bytes_that_came_wrong_only_once_cost_one_more_read_and_no_row(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    (key,) = bench.states(engine)

    class Once(bench.Watched):
        spoilt = False

        def get(self, key, start=0, length=None):
            raw = bytearray(super().get(key, start, length))
            if not self.spoilt and key != MARKER:
                self.spoilt = True
                raw[0] ^= 1
            return bytes(raw)

    engine.chunks.backend = Once(engine.backend)
    assert engine.chunks.get(digest) == bench.data(1)
    assert bench.index(engine) == {(digest, key)}


def test_a_compressed_copy_that_cannot_be_decoded_is_damage_like_any_other(engine, bench):
    (digest,) = bench.store(engine, [b"abc" * 30_000])
    (key,) = bench.states(engine)
    bench.overwrite(engine.backend, key, lambda raw: raw.__setitem__(slice(24, 60), b"\xff" * 36))
    with pytest.raises(IntegrityError, match=key):
        engine.chunks.get(digest)


def test_one_bad_chunk_does_not_spoil_its_neighbours(engine, bench):
    contents = [bench.data(n) for n in range(5)]
    digests = bench.store(engine, contents)
    bench.store(engine, [contents[0]])
    bad = engine.chunks.locate(digests[:2])[digests[1]].object
    bench.flip(engine.backend, bad)
    assert engine.chunks.get_many(digests) == dict(zip(digests, contents, strict=True))


def test_where_the_database_can_only_be_read_another_copy_is_still_found(engine, bench):
    bench.store(engine, [bench.data(1)])
    (digest,) = bench.store(engine, [bench.data(1)])
    bench.flip(engine.backend, engine.chunks.locate([digest])[digest].object)
    reader = ChunkStore(engine.backend, bench.Unwritable(engine.database))
    assert reader.get(digest) == bench.data(1)
    assert len(bench.index(engine)) == 2
    for key in bench.states(engine):
        bench.cut(engine.backend, key, 100)
    with pytest.raises(IntegrityError, match=str(Digest(digest))):
        reader.get(digest)


# A bucket that changes or goes away meanwhile


def test_a_pack_that_a_collector_moved_is_found_where_it_is_now(everywhere, bench):
    (digest,) = bench.store(everywhere, [bench.data(1)])
    (old,) = bench.states(everywhere)
    moved = []

    def repack(what, key):
        if (what, key) == ("get", old) and not moved:
            moved.append(key)
            bench.store(everywhere, [bench.data(1)])
            bench.set_state(everywhere, PackState.DELETING, old)
            everywhere.backend.inner.delete([old])

    everywhere.backend.on = repack
    assert everywhere.chunks.get(digest) == bench.data(1)
    assert moved
    assert (digest, old) in bench.index(everywhere)  # the collector's own to remove


def test_a_bucket_that_is_not_mounted_loses_no_row(everywhere, bench):
    (digest,) = bench.store(everywhere, [bench.data(1)])
    before = bench.index(everywhere)
    everywhere.backend.inner.delete([info.key for info in everywhere.backend.inner.list("")])
    with pytest.raises(StoreUnavailable, match="mounted"):
        everywhere.chunks.get(digest)
    assert bench.index(everywhere) == before


def test_a_bucket_that_cannot_be_reached_loses_no_row(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    (key,) = bench.states(engine)

    def down(what, key):
        raise StoreUnavailable("connection refused", transient=True)

    engine.backend.on = down
    with pytest.raises(StoreUnavailable, match="refused"):
        engine.chunks.get(digest)
    engine.backend.on = lambda what, key: None
    assert bench.index(engine) == {(digest, key)}


def test_a_bucket_that_goes_away_between_the_pack_and_the_marker_loses_no_row(engine, bench):
    (digest,) = bench.store(engine, [bench.data(1)])
    (key,) = bench.states(engine)
    engine.backend.inner.delete([key])

    def down(what, key):
        if key == MARKER:
            raise StoreUnavailable("connection refused", transient=True)

    engine.backend.on = down
    with pytest.raises(StoreUnavailable):
        engine.chunks.get(digest)
    assert bench.index(engine) == {(digest, key)}


# Long contents


@pytest.fixture
def pool():
    with ThreadPoolExecutor(3) as made:
        yield made


def test_a_long_content_comes_in_order_with_repetitions_over_many_packs(engine, bench, pool):
    contents = [bench.data(n, 700_000) for n in range(40)]
    for start in range(0, 40, 7):
        bench.store(engine, contents[start : start + 7])
    order = [random.Random(3).randrange(40) for _ in range(90)]
    located = engine.chunks.locate_in_order((bench.name(contents[n]), 700_000) for n in order)
    for n, got in zip(order, engine.chunks.stream(located, pool), strict=True):
        assert bytes(got) == contents[n]


def test_an_error_in_a_reading_thread_comes_out_at_its_place(engine, bench, pool):
    contents = [bench.data(n, 4 * MIB) for n in range(7)]
    for one in contents:
        bench.store(engine, [one])
    digests = [bench.name(one) for one in contents]
    bench.flip(engine.backend, engine.chunks.locate([digests[5]])[digests[5]].object)
    stream = engine.chunks.stream(engine.chunks.locate_in_order((one, 4 * MIB) for one in digests), pool)
    assert [bytes(next(stream)) for _ in range(4)] == contents[:4]
    with pytest.raises(IntegrityError, match=str(Digest(digests[5]))):
        list(stream)


def test_a_stream_that_nobody_reads_to_its_end_reads_little(engine, bench, pool):
    contents = [bench.data(n, 4 * MIB) for n in range(20)]
    for one in contents:
        bench.store(engine, [one])
    engine.backend.calls.clear()
    stream = engine.chunks.stream(engine.chunks.locate_in_order((bench.name(one), 4 * MIB) for one in contents), pool)
    assert bytes(next(stream)) == contents[0]
    stream.close()
    pool.shutdown()
    assert len(engine.backend.packs("get")) <= 8  # of twenty: the first batch of two, and three more ahead
