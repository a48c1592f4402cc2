"""Chunks read through copies on this machine: a wrong copy costs a request, and never a byte or a row of the index."""

import pytest

from lineart.storage.backends.blocks import BlockFolder
from lineart.storage.backends.cache import CachingBackend
from lineart.storage.errors import IntegrityError
from lineart.storage.tables import PackState


@pytest.fixture
def place(bench):
    return bench.Watched()


@pytest.fixture
def blocks(tmp_path):
    return BlockFolder(tmp_path / "blocks", 1 << 30)


@pytest.fixture
def engine(bench, place, blocks, tmp_path):
    made = bench.create(f"sqlite:///{tmp_path}/store.db", CachingBackend(place, blocks))
    yield made
    made.close()


def spoil(place, blocks, key, at=40):
    """Keep a block that is whole in itself, but holds what the place never said."""
    raw = bytearray(place.inner.get(key))
    raw[at] ^= 4
    blocks.store(key, 0, bytes(raw), last=True)


def test_what_was_read_is_read_again_without_a_request(engine, bench, place):
    digests = bench.store(engine, [bench.data(n, 60_000) for n in range(30)])
    for _ in range(2):
        found = engine.chunks.get_many(digests)
        assert [found[one] for one in digests] == [bench.data(n, 60_000) for n in range(30)]
        assert len(place.packs("get")) == 1
    assert place.packs("size") == []


def test_a_wrong_copy_is_asked_for_again_and_costs_no_row(engine, bench, place, blocks):
    digests = bench.store(engine, [bench.data(1), bench.data(2)])
    (key,) = place.packs()
    spoil(place, blocks, key)
    before = bench.offered(engine)
    for digest in digests:
        assert engine.chunks.get(digest) in {bench.data(1), bench.data(2)}
    assert bench.offered(engine) == before
    for _ in range(2):
        place.calls.clear()
        assert engine.chunks.get_many(digests) == {bench.name(bench.data(n)): bench.data(n) for n in (1, 2)}
    assert place.packs("get") == [], "the wrong copy is gone, and a good one is kept"


def test_copies_that_somebody_keeps_spoiling_do_no_harm(bench, place, tmp_path):
    class Spoilt(BlockFolder):
        def drop(self, key):
            super().drop(key)
            spoil(place, self, key)

    blocks = Spoilt(tmp_path / "blocks", 1 << 30)
    engine = bench.create(f"sqlite:///{tmp_path}/store.db", CachingBackend(place, blocks))
    (digest,) = bench.store(engine, [bench.data(1)])  # writing a pack drops what is kept of it, so it is spoilt
    before = bench.offered(engine)
    for _ in range(3):
        assert engine.chunks.get(digest) == bench.data(1)
    assert bench.offered(engine) == before
    engine.close()


def test_damage_in_the_place_is_still_damage(engine, bench, place):
    (digest,) = bench.store(engine, [bench.data(1)])
    (key,) = place.packs()
    bench.flip(place.inner, key)
    with pytest.raises(IntegrityError):
        engine.chunks.get(digest)
    assert bench.offered(engine) == set()


def test_a_pack_that_is_gone_is_set_aside_though_a_part_of_it_is_kept(engine, bench, place, blocks):
    contents = [bench.data(n, 1 << 20) for n in range(3)]
    digests = bench.store(engine, contents)
    (key,) = place.packs()
    first = next(digest for digest in digests if engine.chunks.locate([digest])[digest].offset < 1 << 19)
    assert engine.chunks.get(first)
    place.inner.delete([key])
    assert engine.chunks.get(first), "what is kept is served"
    with pytest.raises(IntegrityError, match="gone"):
        engine.chunks.get_many(digests)
    assert bench.states(engine) == {key: PackState.MISSING}


def test_the_engine_itself_sees_the_place_and_not_its_copies(engine, place):
    assert engine.backend is place
    assert engine.journal._backend is place
