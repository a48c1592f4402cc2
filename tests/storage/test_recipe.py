"""Recipes: what is built walks back, and what is damaged or hostile is refused in bounded memory."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.storage.errors import FormatTooNew, IntegrityError, InvalidInput
from lineart.storage.recipe import MAX_ITEMS, MAX_LEVEL, Finder, Recipe, build, decode, encode, walk

pack = msgspec.msgpack.encode
MAX_CHUNK = 4 << 20


def items(count: int) -> list[tuple[bytes, int]]:
    return [(blake3(number.to_bytes(4)).digest(), 1 + number % MAX_CHUNK) for number in range(count)]


def total(chunks) -> int:
    return sum(size for _, size in chunks)


def put(store: dict[bytes, bytes], recipe: Recipe) -> bytes:
    data = encode(recipe)
    store[blake3(data).digest()] = data
    return blake3(data).digest()


def refused(store: dict[bytes, bytes], root: bytes, size: int, width: int = MAX_ITEMS) -> None:
    with pytest.raises(IntegrityError):
        list(walk(root, size, store.__getitem__, width))


@pytest.mark.parametrize("count", range(2, 82))
def test_a_file_of_any_number_of_chunks_walks_back(count):
    store, chunks = {}, items(count)
    root = build(iter(chunks), store.__setitem__, width=3)
    assert list(walk(root, total(chunks), store.__getitem__, width=3)) == chunks
    assert all(blake3(data).digest() == digest for digest, data in store.items())
    depth = next(level for level in range(5) if 3 ** (level + 1) >= count)
    assert decode(store[root]).level == depth


def test_a_recipe_holds_65536_items_before_there_is_a_second_level():
    for count, recipes, level in ((MAX_ITEMS, 1, 0), (MAX_ITEMS + 1, 3, 1)):
        store, chunks = {}, items(count)
        root = build(chunks, store.__setitem__)
        assert len(store) == recipes
        assert decode(store[root]).level == level
        assert list(walk(root, total(chunks), store.__getitem__)) == chunks
        assert all(len(data) < MAX_CHUNK for data in store.values())


def test_the_largest_recipe_is_no_larger_than_a_chunk():
    assert len(encode(Recipe(MAX_LEVEL, [(b"\xff" * 32, 2**63)] * MAX_ITEMS))) < MAX_CHUNK


def test_one_chunk_many_times_is_a_file_too():
    store, chunks = {}, items(1) * 10
    root = build(chunks, store.__setitem__, width=3)
    assert list(walk(root, 10, store.__getitem__, width=3)) == chunks


def test_recipes_are_read_only_when_they_are_needed():
    store, chunks, got = {}, items(9), []
    root = build(chunks, store.__setitem__, width=3)
    walked = walk(root, total(chunks), lambda digest: got.append(digest) or store[digest], width=3)
    assert not got
    next(walked)
    assert len(got) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_a_file_of_fewer_than_two_chunks_has_no_recipe(count):
    with pytest.raises(InvalidInput):
        build(items(count), {}.__setitem__)


@pytest.mark.parametrize("bad", [(bytes(32), 0), (bytes(32), MAX_CHUNK + 1), (bytes(31), 5)])
def test_a_chunk_that_no_reader_would_accept_is_not_written(bad):
    with pytest.raises(InvalidInput):
        build([*items(2), bad], {}.__setitem__)


def test_a_file_of_more_chunks_than_the_levels_hold_is_refused():
    build(items(16), {}.__setitem__, width=2)
    with pytest.raises(InvalidInput):
        build(items(17), {}.__setitem__, width=2)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, MAX_LEVEL),
    st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, 2**63)), min_size=1, max_size=50),
)
def test_a_recipe_reads_back(level, content):
    assert decode(encode(Recipe(level, content))) == Recipe(level, content)


D = bytes(32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        pack([1, 0]),
        pack([1, 0, [], 1]),
        pack([1, 0, []]),
        pack([0, 0, [[D, 1]]]),
        pack([-1, 0, [[D, 1]]]),
        pack([1, -1, [[D, 1]]]),
        pack([1, MAX_LEVEL + 1, [[D, 1]]]),
        pack([1, 0, [[D, 0]]]),
        pack([1, 0, [[D, -1]]]),
        pack([1, 0, [[D, 1.0]]]),
        pack([1, 0, [[D, True]]]),
        pack([1, 0, [[D, None]]]),
        pack([1, 0, [[D]]]),
        pack([1, 0, [[D, 1, 1]]]),
        pack([1, 0, [[D[1:], 1]]]),
        pack([1, 0, [[D + D, 1]]]),
        pack([1, 0, [["x" * 32, 1]]]),
        pack([1, 0, {}]),
        pack([1, 0, [[D, 1]]]) + b"\0",
        pack([1, 0, [[D, 1]]])[:-1],
        b"\x93\x01\x00\x91\x92\xc4\x20" + D + b"\xcc\x01",  # an integer longer than needed
        b"\x93\x01\x00\x91\x92\xc5\x00\x20" + D + b"\x01",  # bytes with a longer head than needed
        b"\xdc\x00\x03\x01\x00\x91\x92\xc4\x20" + D + b"\x01",
        b"\x93\x01\x00\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        bytes(MAX_CHUNK + 1),
        pack([1, 0, [[D, 1]] * (MAX_ITEMS + 1)]),
    ],
)
def test_what_is_no_recipe_is_an_integrity_error_in_little_memory(data):
    tracemalloc.start()
    with pytest.raises(IntegrityError):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < (1 << 20) + 8 * len(data)
    tracemalloc.stop()


def test_a_later_format_asks_for_an_upgrade():
    with pytest.raises(FormatTooNew):
        decode(pack([2, 0, [[D, 1]]]))


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_mutated_recipe_is_refused_or_another_recipe(data):
    raw = bytearray(encode(Recipe(1, items(4))))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(raw))
    except IntegrityError:
        return
    except FormatTooNew:
        assert raw[1] > 1
        return
    assert encode(found) == raw


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises((IntegrityError, FormatTooNew)):
        decode(data)


def test_a_walk_that_gives_another_total_is_refused():
    store, chunks = {}, items(7)
    root = build(chunks, store.__setitem__, width=3)
    refused(store, root, total(chunks) + 1, 3)
    refused(store, root, total(chunks) - 1, 3)
    flat = build(chunks, store.__setitem__)
    refused(store, flat, 0)


def test_a_child_that_gives_another_total_is_refused():
    store = {}
    children = [(put(store, Recipe(0, items(3))), 6), (put(store, Recipe(0, items(2))), 4)]
    refused(store, put(store, Recipe(1, children)), 10, 3)


@pytest.mark.parametrize("level", [0, 2, 3])
def test_a_child_of_another_level_than_one_below_is_refused(level):
    store = {}
    child = put(store, Recipe(level if level != 0 else 1, items(3)))
    refused(store, put(store, Recipe(level if level != 0 else 3, [(child, 6), (child, 6)])), 12, 3)


def test_a_root_of_one_item_is_refused():
    store = {}
    refused(store, put(store, Recipe(0, [(D, 5)])), 5)
    full = put(store, Recipe(0, items(3)))
    refused(store, put(store, Recipe(1, [(full, 6)])), 6, 3)


def test_only_the_last_recipe_of_a_level_may_hold_fewer_items():
    store = {}
    full, part = put(store, Recipe(0, items(3))), put(store, Recipe(0, items(2)))
    assert len(list(walk(put(store, Recipe(1, [(full, 6), (part, 3)])), 9, store.__getitem__, 3))) == 5
    refused(store, put(store, Recipe(1, [(part, 3), (full, 6)])), 9, 3)
    refused(store, put(store, Recipe(0, items(4))), 10, 3)


def test_a_chunk_larger_than_any_is_refused():
    store = {}
    refused(store, put(store, Recipe(0, [(D, 1), (D, MAX_CHUNK + 1)])), MAX_CHUNK + 2)


@pytest.mark.parametrize("count", [2, 3, 4, 9, 10, 27, 28, 81])
def test_a_chunk_is_found_by_any_offset_in_any_order(count):
    store, chunks = {}, items(count)
    root, size = build(chunks, store.__setitem__, width=3), total(chunks)
    places, begin = [], 0
    for digest, length in chunks:
        places.append((digest, begin, length))
        begin += length
    offsets = [at for _, start, length in places for at in (start, start + length - 1)]
    finder = Finder(root, size, store.__getitem__, width=3)
    for at in [*offsets, *reversed(offsets), *offsets[::3]]:
        assert finder.at(at) == next(one for one in places if one[1] <= at < one[1] + one[2])


def test_finding_a_chunk_reads_the_recipes_on_the_way_to_it_and_no_others():
    store, chunks = {}, items(27)
    read = []
    finder = Finder(build(chunks, store.__setitem__, width=3), total(chunks), lambda d: read.append(d) or store[d], 3)
    finder.at(0)
    finder.at(total(chunks) - 1)
    assert len(read) == 5
    finder.at(total(chunks) - 2)
    assert len(read) == 5


def test_a_file_that_is_said_to_be_huge_is_entered_in_little_memory():
    """Two small recipes may stand for as many chunks as they like."""
    store = {}
    digest, size = put(store, Recipe(0, [(D, 1)] * 1000)), 1000
    for level in (1, 2, 3):
        digest, size = put(store, Recipe(level, [(digest, size)] * 1000)), size * 1000
    tracemalloc.start()
    finder = Finder(digest, size, store.__getitem__, 1000)
    assert finder.at(size - 1) == (D, size - 1, 1)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_finder_refuses_what_a_walk_refuses_once_it_comes_there():
    store = {}
    full, part = put(store, Recipe(0, items(3))), put(store, Recipe(0, items(2)))
    for children, size in (([(part, 3), (full, 6)], 9), ([(full, 6), (part, 4)], 10)):
        root = put(store, Recipe(1, children))
        finder = Finder(root, size, store.__getitem__, 3)
        with pytest.raises(IntegrityError):
            [finder.at(offset) for offset in (0, size - 1)]
    for root, size in ((put(store, Recipe(0, [(D, 5)])), 5), (full, 7)):
        with pytest.raises(IntegrityError):
            Finder(root, size, store.__getitem__, 3)
