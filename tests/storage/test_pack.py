"""Packs and stored chunks: what is written reads back, and what is damaged or hostile is refused in bounded memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.storage import codec as codec_module
from lineart.storage.errors import FormatTooNew, IntegrityError, InvalidInput
from lineart.storage.pack import (
    HEADER_SIZE,
    MAX_CHUNK,
    MAX_CHUNKS,
    SLOT_SIZE,
    TRAILER_SIZE,
    Codec,
    Encoded,
    PackBuilder,
    PackKind,
    SealedPack,
    Slot,
    decode,
    encode,
    footer_range,
    parse_footer,
    read_slots,
)

NOISE = blake3(b"noise").digest(length=1 << 20)
TEXT = " ".join(f"{i} times {i * i} is {i**3}" for i in range(60_000)).encode()[: 1 << 20]


def chunk(data: bytes) -> Encoded:
    return encode(blake3(data).digest(), data)


def sealed(contents: list[bytes], kind: PackKind = PackKind.DATA, nonce: bytes = bytes(16)) -> SealedPack:
    builder = PackBuilder(kind, nonce)
    for data in contents:
        builder.add(chunk(data))
    return builder.seal()


def read(data: bytes, pack_id: bytes, kind: PackKind | None = None) -> list[Slot]:
    return read_slots(lambda start, length: data[start : start + length], len(data), pack_id, kind)


def forged(
    slots: list[tuple[bytes, int, int, int, int]],
    payload: bytes,
    *,
    magic: bytes = b"LAPK",
    version: int = 1,
    kind: int = 1,
    reserved: int = 0,
    pad: bytes = bytes(7),
) -> tuple[bytes, bytes]:
    """A pack whose hash is right whatever its fields say, as somebody hostile would make it."""
    header = magic + struct.pack("<BBH", version, kind, reserved) + bytes(16)
    footer = b"".join(struct.pack("<32sQIIB", *slot) + pad for slot in slots)
    covered = struct.pack("<QI", len(header) + len(payload), len(slots))
    seal = blake3(header + footer + covered).digest()
    return header + payload + footer + covered + bytes(4) + seal + b"LAPKEND1", seal[:16]


def refused(*args, **kwargs) -> None:
    data, pack_id = forged(*args, **kwargs)
    with pytest.raises(IntegrityError):
        read(data, pack_id)


# Stored chunks


@pytest.mark.parametrize(
    "data", [b"x", NOISE[:1024], NOISE[:8192], NOISE[:70_000], NOISE, TEXT[:100], TEXT[:5000], TEXT]
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_chunk_reads_back_whatever_it_holds(data, kind):
    encoded = encode(blake3(data).digest(), kind(data))
    assert decode(encoded.codec, encoded.data, encoded.size) == data
    assert decode(encoded.codec, memoryview(encoded.data), encoded.size) == data


@pytest.mark.parametrize("data", [NOISE[:1024], TEXT[:5000]])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_what_happens_to_a_buffer_later_does_not_reach_the_chunk(data, kind):
    buffer = kind(data)
    encoded = encode(blake3(data).digest(), memoryview(buffer))
    if kind is bytearray:
        buffer[:] = bytes(len(buffer))
    assert decode(encoded.codec, encoded.data, encoded.size) == data


def test_a_view_of_bytes_is_not_copied():
    view = memoryview(NOISE)[7:70_000]
    assert encode(blake3(view).digest(), view).data is view


@pytest.mark.parametrize("size", [1, 2000, 3000, 8192, 65_536, 65_537, 1 << 20])
def test_noise_is_stored_raw(size):
    assert chunk(NOISE[:size]).codec == Codec.RAW


@pytest.mark.parametrize("size", [1000, 3000, 65_536, 65_537, 1 << 20])
def test_text_is_stored_smaller_as_a_frame_that_carries_its_size(size):
    encoded = chunk(TEXT[:size])
    assert encoded.codec == Codec.ZSTD
    assert len(encoded.data) < 0.9 * size
    assert zstandard.frame_content_size(encoded.data) == size


def test_a_readable_header_on_noise_is_not_worth_compressing():
    assert chunk(TEXT[:16_384] + NOISE[: (1 << 20) - 16_384]).codec == Codec.RAW


def test_noise_before_zeros_is_worth_compressing():
    assert chunk(NOISE[:300_000] + bytes(700_000)).codec == Codec.ZSTD
    assert chunk(NOISE[:6000] + bytes(2500)).codec == Codec.ZSTD


def test_a_raw_chunk_does_not_refer_to_the_callers_buffer():
    buffer = bytearray(NOISE[:5000])
    encoded = encode(bytes(32), memoryview(buffer))
    buffer[:] = bytes(5000)
    assert encoded.data == NOISE[:5000]


@pytest.mark.parametrize("data", [b"", bytes(MAX_CHUNK + 1)])
def test_a_chunk_is_neither_empty_nor_larger_than_the_limit(data):
    with pytest.raises(InvalidInput):
        encode(bytes(32), data)


def test_a_chunk_that_compression_changed_is_not_stored():
    other = zstandard.compress(b"b" * 5000)
    with pytest.raises(IntegrityError, match="memory"):
        codec_module._compare(bytes(32), b"a" * 5000, other)


def test_many_threads_may_encode_and_decode_at_once():
    pieces = [TEXT[i * 997 : i * 997 + 20_000] for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(chunk, pieces))
        assert list(pool.map(lambda one: decode(one.codec, one.data, one.size), stored)) == pieces


@pytest.mark.parametrize("size", [0, -1, MAX_CHUNK + 1, 1 << 62])
@pytest.mark.parametrize("codec", list(Codec))
def test_a_length_outside_the_format_is_refused_before_anything_is_read(codec, size):
    with pytest.raises(IntegrityError):
        decode(codec, b"abc", size)


def test_a_raw_chunk_of_another_length_is_refused():
    with pytest.raises(IntegrityError):
        decode(Codec.RAW, b"abc", 4)


@pytest.mark.parametrize("codec", [2, 3, 255, -1])
def test_an_unknown_codec_is_refused(codec):
    with pytest.raises(IntegrityError, match="codec"):
        decode(codec, b"abc", 3)


FRAME = zstandard.compress(TEXT[:5000])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"(",
        b"abc" * 100,
        FRAME[:-1],
        FRAME + b"\0",
        FRAME + FRAME,
        FRAME + b"\x50\x2a\x4d\x18\x00\x00\x00\x00",  # a skippable frame behind it
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + FRAME,  # and before it
        zstandard.ZstdCompressor(write_content_size=False).compress(TEXT[:5000]),
        zstandard.compress(TEXT[:5001]),
        zstandard.compress(TEXT[:4999]),
        bytes.fromhex("28b52ffd60 8812 230300 7a"),  # announces 5,000 bytes, its one block gives 100
        bytes.fromhex("28b52ffd40 a0 8812 0300"),  # a window of 1 GiB
    ],
)
def test_a_frame_that_is_not_exactly_the_chunk_is_refused(frame):
    with pytest.raises(IntegrityError):
        decode(Codec.ZSTD, frame, 5000)


def test_a_bomb_is_refused_without_being_unpacked():
    bomb = zstandard.compress(bytes(1 << 28))
    tracemalloc.start()
    with pytest.raises(IntegrityError):
        decode(Codec.ZSTD, bomb, 5000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_frame_gives_an_integrity_error_or_as_many_bytes_as_expected(data):
    frame = bytearray(FRAME)
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(Codec.ZSTD, bytes(frame), 5000)
    except IntegrityError:
        return
    assert len(found) == 5000  # its digest is for the caller to check


# Building


def test_a_pack_reads_back_in_the_order_in_which_its_chunks_came():
    contents = [TEXT[:5000], b"z", NOISE[:3000], b"a"]
    pack = sealed(contents, PackKind.META)
    data = b"".join(pack.parts)
    slots = read(data, pack.id, PackKind.META)
    assert slots == pack.slots
    assert len(data) == pack.size
    assert [slot.digest for slot in slots] == sorted(blake3(one).digest() for one in contents)
    laid = sorted(slots, key=lambda slot: slot.offset)
    assert [decode(one.codec, data[one.offset : one.offset + one.stored], one.size) for one in laid] == contents


def test_a_chunk_added_twice_is_stored_once():
    assert sealed([b"a", b"b", b"a"]) == sealed([b"a", b"b"])


def test_equal_chunks_make_packs_of_different_ids():
    first, second = PackBuilder(PackKind.DATA), PackBuilder(PackKind.DATA)
    for builder in (first, second):
        builder.add(chunk(b"abc"))
    assert first.seal().id != second.seal().id


def test_sealing_again_gives_an_equal_pack():
    builder = PackBuilder(PackKind.DATA)
    builder.add(chunk(b"abc"))
    assert builder.seal() == builder.seal()


def test_a_builder_knows_what_it_holds_and_how_large_it_would_be():
    builder = PackBuilder(PackKind.DATA, target=10_000)
    builder.add(chunk(NOISE[:4000]))
    assert len(builder) == 1
    assert blake3(NOISE[:4000]).digest() in builder
    assert bytes(32) not in builder
    assert not builder.full
    builder.add(chunk(NOISE[4000:10_000]))
    assert builder.full
    assert builder.size == builder.seal().size == sum(map(len, builder.seal().parts))


def test_a_pack_holds_at_most_65536_chunks():
    builder = PackBuilder(PackKind.DATA)
    for number in range(MAX_CHUNKS):
        assert not builder.full
        builder.add(Encoded(number.to_bytes(32), b"x", 1, 0))
    assert builder.full
    with pytest.raises(InvalidInput):
        builder.add(Encoded(MAX_CHUNKS.to_bytes(32), b"x", 1, 0))
    pack = builder.seal()
    assert read(b"".join(pack.parts), pack.id) == pack.slots


def test_an_empty_pack_is_not_sealed():
    with pytest.raises(InvalidInput):
        PackBuilder(PackKind.DATA).seal()


def test_a_nonce_has_16_bytes():
    with pytest.raises(InvalidInput):
        PackBuilder(PackKind.DATA, b"short")


@pytest.mark.parametrize(
    "bad",
    [
        Encoded(bytes(31), b"a", 1, 0),
        Encoded(bytes(32), b"a", 2, 0),
        Encoded(bytes(32), b"", 0, 0),
        Encoded(bytes(32), b"", 1, 1),
        Encoded(bytes(32), b"ab", 2, 1),
        Encoded(bytes(32), b"a", 2, 2),
        Encoded(bytes(32), b"a", MAX_CHUNK + 1, 1),
    ],
)
def test_a_chunk_that_no_reader_would_accept_is_not_added(bad):
    with pytest.raises(InvalidInput):
        PackBuilder(PackKind.DATA).add(bad)


# Reading


def test_a_small_pack_takes_one_read_a_usual_one_two_and_one_of_many_chunks_three():
    for contents, expected in (
        ([b"abc"], 1),
        ([NOISE[i * 50_000 : (i + 1) * 50_000] for i in range(20)], 2),
        ([NOISE[i * 500 : (i + 1) * 500] for i in range(2000)], 3),
    ):
        pack = sealed(contents)
        data = b"".join(pack.parts)
        reads = []

        def ranged(start, length, data=data, reads=reads):
            reads.append((start, length))
            return data[start : start + length]

        assert read_slots(ranged, len(data), pack.id, PackKind.DATA) == pack.slots
        assert len(reads) == expected
        assert all(start >= 0 and length > 0 for start, length in reads)


def test_a_pack_of_the_other_kind_is_refused():
    pack = sealed([b"abc"], PackKind.META)
    with pytest.raises(IntegrityError, match="kind"):
        read(b"".join(pack.parts), pack.id, PackKind.DATA)


def test_a_pack_under_another_id_is_refused():
    with pytest.raises(IntegrityError):
        read(b"".join(sealed([b"abc"]).parts), bytes(16))


def test_every_mutated_byte_outside_the_payload_is_an_integrity_error():
    pack = sealed([TEXT[:3000], b"z", NOISE[:300]])
    data = b"".join(pack.parts)
    end = len(data) - TRAILER_SIZE - len(pack.slots) * SLOT_SIZE
    for place in [*range(HEADER_SIZE), *range(end, len(data))]:
        for value in {data[place] ^ (1 << bit) for bit in range(8)} | {0, 255} - {data[place]}:
            mutated = bytearray(data)
            mutated[place] = value
            with pytest.raises(IntegrityError):
                read(bytes(mutated), pack.id)


def test_every_truncation_is_an_integrity_error():
    pack = sealed([b"abc", b"z" * 300])
    data = b"".join(pack.parts)
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            read(data[:size], pack.id)
        with pytest.raises(IntegrityError):
            read_slots(lambda start, length, size=size: data[start : min(start + length, size)], len(data), pack.id)


@pytest.mark.parametrize("short", [0, 1, 2])
def test_a_read_that_comes_back_short_is_an_integrity_error(short):
    pack = sealed([NOISE[i * 500 : (i + 1) * 500] for i in range(2000)])
    data = b"".join(pack.parts)
    calls = iter(range(3))

    def ranged(start, length):
        return data[start : start + length - (next(calls) == short)]

    with pytest.raises(IntegrityError):
        read_slots(ranged, len(data), pack.id)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**40))
def test_any_bytes_are_an_integrity_error(data, size):
    for announced in (len(data), size):
        with pytest.raises(IntegrityError):
            read_slots(lambda start, length: data[start : start + length], announced, bytes(16))
    with pytest.raises(IntegrityError):
        parse_footer(data[:24], data[24:-56], data[-56:], bytes(16))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**42))
def test_a_footer_is_never_larger_than_its_object_or_than_the_format_allows(offset, count, size):
    trailer = struct.pack("<QII32s8s", offset, count, 0, bytes(32), b"LAPKEND1")
    for announced in (size, offset + count * SLOT_SIZE + TRAILER_SIZE):
        try:
            start, length = footer_range(trailer, announced)
        except IntegrityError:
            continue
        assert HEADER_SIZE < start < start + length < announced
        assert length <= MAX_CHUNKS * SLOT_SIZE


def test_a_huge_count_is_refused_in_little_memory():
    pack = sealed([b"abc"])
    data = bytearray(b"".join(pack.parts))
    data[-48:-44] = b"\xff" * 4
    tracemalloc.start()
    with pytest.raises(IntegrityError):
        read(bytes(data), pack.id)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


# Hostile packs, whose hash is right

A, B = bytes(31) + b"\1", bytes(31) + b"\2"


def test_a_forged_pack_that_keeps_the_rules_is_read():
    data, pack_id = forged([(A, 25, 2, 2, 0), (B, 24, 1, 1, 0)], b"xyy")
    assert read(data, pack_id) == [Slot(A, 25, 2, 2, 0), Slot(B, 24, 1, 1, 0)]


def test_a_sound_pack_of_a_later_format_asks_for_an_upgrade():
    data, pack_id = forged([(A, 24, 1, 1, 0)], b"x", version=2)
    with pytest.raises(FormatTooNew):
        read(data, pack_id)


@pytest.mark.parametrize(
    "field",
    [
        {"magic": b"LAPX"},
        {"version": 0},
        {"kind": 0},
        {"kind": 3},
        {"reserved": 1},
        {"pad": b"\0\0\0\0\0\0\1"},
        {"pad": b"\1\0\0\0\0\0\0"},
    ],
)
def test_a_field_outside_the_format_is_refused(field):
    refused([(A, 24, 1, 1, 0)], b"x", **field)


@pytest.mark.parametrize(
    "slots",
    [
        [(B, 24, 1, 1, 0), (A, 25, 1, 1, 0)],  # not sorted
        [(A, 24, 1, 1, 0), (A, 25, 1, 1, 0)],  # one digest twice
        [(A, 24, 2, 2, 0), (B, 24, 2, 2, 0)],  # one place twice
        [(A, 24, 2, 2, 0), (B, 25, 1, 1, 0)],  # overlapping
        [(A, 25, 1, 1, 0)],  # a gap in front
        [(A, 24, 1, 1, 0)],  # a gap behind
        [(A, 23, 3, 3, 0)],  # in the header
        [(A, 24, 3, 3, 0)],  # in the footer
        [(A, 2**64 - 1, 2, 2, 0)],
        [(A, 24, 2, 3, 0)],  # raw, of another length
        [(A, 24, 2, 2, 1)],  # zstd, not smaller
        [(A, 24, 2, 3, 2)],  # unknown codec
        [(A, 24, 2, 2**32 - 1, 1)],  # larger than any chunk
        [(A, 24, 2, 2, 0), (B, 26, 0, 5, 1)],  # nothing stored
        [(A, 24, 2, 2, 0), (B, 26, 0, 0, 0)],  # an empty chunk
    ],
)
def test_slots_that_break_the_rules_are_refused(slots):
    refused(slots, b"xy")


def test_a_pack_without_chunks_is_refused():
    refused([], b"xy" * 100)


def test_a_reserved_field_of_the_trailer_is_refused():
    data, pack_id = forged([(A, 24, 1, 1, 0)], b"x")
    changed = bytearray(data)
    changed[-44] = 1
    with pytest.raises(IntegrityError):
        read(bytes(changed), pack_id)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=30), st.integers(0, 2**32))
def test_any_chunks_make_a_pack_that_reads_back_in_any_order_of_adding(contents, seed):
    shuffled = random.Random(seed).sample(contents, len(contents))
    for order in (contents, shuffled):
        pack = sealed(order)
        data = b"".join(pack.parts)
        found = {
            slot.digest: decode(slot.codec, data[slot.offset : slot.offset + slot.stored], slot.size)
            for slot in read(data, pack.id)
        }
        assert found == {blake3(one).digest(): one for one in contents}
