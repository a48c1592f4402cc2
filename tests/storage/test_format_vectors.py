"""Every encoding of chunks, recipes and packs, pinned: a change here is another format, and old stores must be read."""

from __future__ import annotations

import struct

import pytest
import zstandard
from blake3 import blake3

from lineart.storage import recipe
from lineart.storage.chunking import ChunkingParameters, Cutter
from lineart.storage.pack import Encoded, PackBuilder, PackKind, decode, read_slots

FRAME = bytes.fromhex("28b52ffd20642303007a")  # 100 times "z": one block that repeats one byte, made by hand

PACK = bytes.fromhex(
    "4c41504b01020000000102030405060708090a0b0c0d0e0f61626328b52ffd20"
    "642303007a002d3adedff11b61f14c886e35afa036736dcd87a74d27b5c15102"
    "25d0f592e2132500000000000000010000000100000000000000000000005f19"
    "508361aa8db66e050a566db4f05eaa31a75cb5b68abcc4d72fc0cbf08a801b00"
    "0000000000000a0000006400000001000000000000006437b3ac38465133ffb6"
    "3b75273a8db548c558465d79db03fd359c6cd5bd9d8518000000000000000300"
    "000003000000000000000000000026000000000000000300000000000000a613"
    "f27c401f0b63d59dbd66406b0fa74addbab96ea4df0383730ab99c253f5d4c41"
    "504b454e4431"
)
PACK_ID = bytes.fromhex("a613f27c401f0b63d59dbd66406b0fa7")

STREAM = blake3(b"lineart chunking").digest(length=16 << 20)  # BLAKE3's extendable output
CUTS = [
    1_329_183,
    697_207,
    1_451_295,
    1_256_788,
    1_534_520,
    267_425,
    1_065_166,
    1_226_147,
    1_105_925,
    1_146_010,
    1_816_707,
    1_208_053,
    1_460_496,
    1_212_294,
]


def lengths(data: bytes, parameters: ChunkingParameters) -> list[int]:
    cutter = Cutter(parameters)
    return [len(chunk) for chunk in cutter.feed(data) + cutter.finish()]


def independent(data: bytes) -> dict[bytes, bytes]:
    """Read a pack as docs/format.md describes it, by nothing but struct, BLAKE3 and zstd."""
    offset, count, reserved, seal, end = struct.unpack("<QII32s8s", data[-56:])
    assert (end, reserved, offset + 56 * count + 56) == (b"LAPKEND1", 0, len(data))
    footer = data[offset:-56]
    assert blake3(data[:24] + footer + data[-56:-44]).digest() == seal
    chunks = {}
    for digest, at, stored, size, codec, pad in struct.iter_unpack("<32sQIIB7s", footer):
        chunk = data[at : at + stored]
        chunks[digest] = zstandard.decompress(chunk, max_output_size=size) if codec else chunk
        assert (len(chunks[digest]), pad) == (size, bytes(7))
        assert blake3(chunks[digest]).digest() == digest
    return chunks


def test_the_bytes_of_a_pack():
    builder = PackBuilder(PackKind.META, nonce=bytes(range(16)))
    builder.add(Encoded(blake3(b"abc").digest(), b"abc", 3, 0))
    builder.add(Encoded(blake3(b"z" * 100).digest(), FRAME, 100, 1))
    builder.add(Encoded(blake3(b"\0").digest(), b"\0", 1, 0))
    pack = builder.seal()
    assert b"".join(pack.parts) == PACK
    assert pack.id == PACK_ID


def test_the_pinned_pack_is_read():
    slots = read_slots(lambda start, length: PACK[start : start + length], len(PACK), PACK_ID, PackKind.META)
    assert [tuple(slot)[1:] for slot in slots] == [(37, 1, 1, 0), (27, 10, 100, 1), (24, 3, 3, 0)]
    found = [decode(slot.codec, PACK[slot.offset : slot.offset + slot.stored], slot.size) for slot in slots]
    assert found == [b"\0", b"z" * 100, b"abc"]
    assert [blake3(data).digest() for data in found] == [slot.digest for slot in slots]


def test_an_independent_reader_finds_the_same_chunks():
    assert sorted(independent(PACK).values()) == [b"\0", b"abc", b"z" * 100]


def test_the_cut_points_of_the_default_parameters():
    assert lengths(STREAM, ChunkingParameters()) == CUTS


def test_the_cut_points_of_small_parameters():
    parameters = ChunkingParameters(minimum=64, average=256, maximum=1024, normalization=2, single=300)
    assert lengths(STREAM[:6000], parameters) == [
        *(310, 393, 135, 257, 273, 305, 90, 412, 272, 314),
        *(377, 334, 325, 362, 454, 308, 277, 102, 283, 417),
    ]


def test_the_first_cut_follows_the_written_algorithm():
    """Follow docs/format.md with the gear table that it names by its hash."""
    from pyfastcdc.py.constants import GEAR

    assert blake3(struct.pack("<256Q", *GEAR)).hexdigest() == (
        "9af822d1e10df25d0157a43ccd0a73b56d1c1d0a5d77acb4e6e979522d0fe149"
    )
    value = 0
    for at in range(256 << 10, 4 << 20):
        value = ((value << 1) + GEAR[STREAM[at]]) & 0xFFFF_FFFF_FFFF_FFFF
        if value & (0x0000_D937_6753_7000 if at < 1 << 20 else 0x0000_D907_0753_7000) == 0:
            break
    assert at == CUTS[0]


ABC, ZZZ, NUL = (blake3(data).digest() for data in (b"abc", b"z" * 100, b"\0"))


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (
            recipe.Recipe(0, [(ABC, 3), (ZZZ, 300), (NUL, 70_000)]),
            f"93 01 00 93 92c420{ABC.hex()} 03 92c420{ZZZ.hex()} cd012c 92c420{NUL.hex()} ce00011170",
        ),
        (
            recipe.Recipe(1, [(ABC, 5_000_000_000)] * 2),
            f"93 01 01 92 92c420{ABC.hex()} cf000000012a05f200 92c420{ABC.hex()} cf000000012a05f200",
        ),
    ],
)
def test_the_bytes_of_a_recipe(value, raw):
    assert recipe.encode(value) == bytes.fromhex(raw)
    assert recipe.decode(bytes.fromhex(raw)) == value


def test_the_recipes_of_a_file_of_65537_chunks():
    chunks = [(blake3(number.to_bytes(4, "little")).digest(), number + 1) for number in range(65_537)]
    put = {}
    root = recipe.build(chunks, put.__setitem__)
    assert {digest.hex(): len(data) for digest, data in put.items()} == {
        "8631e4e9d8feec903ca6cff0ae47160f5a6a528c242181ae396340f19a10be69": 2_489_996,
        "e14991dbf139e05d219b6deb588ec0f859f7586eb5512a3e1396c29fb678ad2d": 44,
        "1810de590d0be2f06512cecf58a8a9044de2b6a86cd26a6150b69e559a463d66": 84,
    }
    assert root.hex() == "1810de590d0be2f06512cecf58a8a9044de2b6a86cd26a6150b69e559a463d66"
