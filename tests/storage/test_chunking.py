"""Cut points: the same however a file arrives, and in bounded memory."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Sequence

import pyfastcdc
import pyfastcdc.py
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.storage.chunking import ChunkingParameters, Cutter, compiled
from lineart.storage.errors import IntegrityError, InvalidInput

SMALL = ChunkingParameters(minimum=64, average=256, maximum=1024, normalization=2, single=300)
ODD = ChunkingParameters(minimum=65, average=301, maximum=1025, normalization=1, single=0)


def whole(data: bytes, parameters: ChunkingParameters) -> list[bytes]:
    if len(data) <= parameters.single:
        return [data] if data else []
    cutter = pyfastcdc.FastCDC(
        parameters.average,
        min_size=parameters.minimum,
        max_size=parameters.maximum,
        normalized_chunking=parameters.normalization,
    )
    return [bytes(chunk.data) for chunk in cutter.cut_buf(data)]


def portions(data: bytes, sizes: list[int]) -> list[bytes]:
    cut, at = [], 0
    for size in sizes:
        cut.append(data[at : at + size])
        at += size
    return [*cut, data[at:]]


def fed(parts: list[bytes], parameters: ChunkingParameters, rooms: Sequence[int] = (0,)) -> list[bytes]:
    cutter = Cutter(parameters)
    chunks = []
    before = bytearray()
    for part, room in zip(parts, itertools.cycle(rooms)):
        buffer = bytearray(b"\xdd" * room + part)
        chunks += [bytes(chunk) for chunk in cutter.feed(buffer, room)]
        for used in (before, buffer)[: 1 if room else 2]:
            used[:] = b"\xee" * len(used)  # the caller uses its buffers again
        before = buffer
    return chunks + [bytes(chunk) for chunk in cutter.finish()]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([SMALL, ODD]),
    st.integers(0, 12_000),
    st.sampled_from([2, 3, 256]),
    st.lists(st.one_of(st.integers(0, 40), st.integers(0, 5000)), max_size=40),
    st.integers(0, 2**32),
    st.lists(st.sampled_from([0, 1, 700, 1025, 2000]), min_size=1, max_size=4),
)
def test_cuts_do_not_depend_on_how_the_bytes_arrive(parameters, size, letters, sizes, seed, rooms):
    data = bytes(random.Random(seed).choices(range(letters), k=size))
    assert fed(portions(data, sizes), parameters, rooms) == whole(data, parameters)


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("portion", [64 << 10, 1 << 20, (4 << 20) - 1, 4 << 20, 8 << 20, 32 << 20])
def test_cuts_of_a_large_file_do_not_depend_on_the_portions(portion, odd):
    data = blake3(b"large").digest(length=(20 << 20) + odd)
    sizes = [odd] + [portion] * (len(data) // portion)
    expected = whole(data, ChunkingParameters())
    assert fed(portions(data, sizes), ChunkingParameters()) == expected
    assert fed(portions(data, sizes), ChunkingParameters(), [4 << 20]) == expected


def test_gathered_small_portions_before_a_large_one_are_cut_alike():
    data = blake3(b"mixed").digest(length=40 << 20)
    sizes = [1 << 20] * 7 + [9 << 20, 5, 4 << 20, 4 << 20, 1]
    expected = whole(data, ChunkingParameters())
    assert fed(portions(data, sizes), ChunkingParameters()) == expected
    assert fed(portions(data, sizes), ChunkingParameters(), [4 << 20, 0, 3 << 20]) == expected


def test_what_has_room_before_it_is_not_copied():
    data = bytearray((4 << 20) + (8 << 20))
    data[4 << 20 :] = blake3(b"room").digest(length=8 << 20)
    cutter = Cutter()
    first = cutter.feed(data, 4 << 20)
    assert first
    assert {id(chunk.obj) for chunk in first} == {id(data)}
    following = bytearray(data)
    assert {id(chunk.obj) for chunk in cutter.feed(following, 4 << 20)} == {id(following)}


def test_an_empty_file_has_no_chunk():
    assert fed([], SMALL) == fed([b"", b""], SMALL) == []


def test_a_file_of_up_to_the_single_size_is_one_chunk():
    data = blake3(b"single").digest(length=301)
    assert fed([data[:100], data[100:300]], SMALL) == [data[:300]]
    assert fed([data], SMALL) == whole(data, SMALL)
    assert b"".join(fed([data], SMALL)) == data


def test_a_file_in_which_no_cut_is_found_is_cut_at_the_maximum():
    assert [len(chunk) for chunk in fed([bytes(5000)], SMALL)] == [1024, 1024, 1024, 1024, 904]
    assert [len(chunk) for chunk in fed([bytes(1024)] * 4, SMALL)] == [1024] * 4


def test_chunks_are_within_the_limits_and_keep_every_byte():
    data = blake3(b"limits").digest(length=100_000)
    chunks = fed([data], SMALL)
    assert b"".join(chunks) == data
    assert all(64 <= len(chunk) <= 1024 for chunk in chunks[:-1])


def test_an_insertion_moves_only_the_cuts_near_it():
    data = blake3(b"insert").digest(length=200_000)
    changed = data[:90_000] + b"inserted" + data[90_000:]
    before, after = set(fed([data], SMALL)), set(fed([changed], SMALL))
    assert len(after - before) < 8


def test_the_memory_does_not_grow_with_the_file():
    part = blake3(b"memory").digest(length=1 << 20)
    tracemalloc.start()
    cutter = Cutter()
    for _ in range(200):
        cutter.feed(part)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_the_chunks_are_read_only():
    assert all(chunk.readonly for chunk in Cutter(SMALL).feed(bytearray(5000)))


def test_the_slow_fallback_is_refused():
    assert compiled(pyfastcdc.FastCDC) is pyfastcdc.FastCDC
    with pytest.raises(InvalidInput, match="compiled"):
        compiled(pyfastcdc.py.FastCDC)


def test_the_parameters_of_a_store_are_pinned():
    assert ChunkingParameters().to_json() == {
        "minimum": 262_144,
        "average": 1_048_576,
        "maximum": 4_194_304,
        "normalization": 2,
        "single": 1_048_576,
    }


@pytest.mark.parametrize("parameters", [ChunkingParameters(), SMALL, ODD])
def test_parameters_read_back(parameters):
    assert ChunkingParameters.from_json(parameters.to_json()) == parameters


GOOD = SMALL.to_json()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        GOOD | {"more": 1},
        {key: value for key, value in GOOD.items() if key != "single"},
        GOOD | {"minimum": 63},
        GOOD | {"minimum": 300},
        GOOD | {"minimum": (1 << 20) + 1, "average": 2 << 20, "maximum": 4 << 20},
        GOOD | {"average": 100},
        GOOD | {"average": 2000},
        GOOD | {"maximum": 1023},
        GOOD | {"maximum": (4 << 20) + 1},
        GOOD | {"normalization": 4},
        GOOD | {"normalization": -1},
        GOOD | {"single": 1025},
        GOOD | {"single": -1},
        GOOD | {"single": 300.0},
        GOOD | {"single": "300"},
        GOOD | {"single": True},
        GOOD | {"single": None},
    ],
)
def test_damaged_parameters_are_an_integrity_error(value):
    with pytest.raises(IntegrityError):
        ChunkingParameters.from_json(value)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2 << 20), st.integers(0, 5 << 20), st.integers(0, 5 << 20), st.integers(-1, 5))
def test_every_accepted_set_of_parameters_makes_a_cutter(minimum, average, maximum, normalization):
    try:
        parameters = ChunkingParameters(minimum, average, maximum, normalization, single=0)
    except InvalidInput:
        return
    Cutter(parameters)
