"""A chunk's stored form: its bytes, raw or as one zstd frame.

Knows codecs, and when compressing is worth it; must not know packs or what a chunk means. Every function may run in
many threads at once. Normative in docs/format.md, "Chunks, recipes, packs".
"""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import NamedTuple, TypeAlias, TypeGuard

from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError, frame_content_size

from .errors import IntegrityError, InvalidInput
from .rooms import Room

__all__ = ["MAX_CHUNK", "Buffer", "Codec", "Encoded", "decode", "encode", "fits"]

Buffer: TypeAlias = bytes | bytearray | memoryview  # a memoryview must be contiguous and of unsigned bytes

MAX_CHUNK = 4 << 20  # bytes

_LEVEL = 2  # on text, code, tables and weights: level 3 costs 5-50 % more time for 6 % fewer bytes at best
_SAMPLE = 64 << 10
_SHRINKS = 0.9
_PROBE_FROM = 2 << 10
_VALUES = bytes(range(256))
_NOISE = 150  # different values among some 256 bytes: noise has 162, give or take 6; text has less than 100


class Codec(IntEnum):
    """How a chunk's bytes are stored."""

    RAW = 0
    ZSTD = 1


_FIXED = (bytes, Room)
_RAW, _ZSTD = int(Codec.RAW), int(Codec.ZSTD)  # rows and structs take plain integers


class Encoded(NamedTuple):
    """A chunk as it will be stored: `data` is its stored form, `size` its length in bytes before that."""

    digest: bytes
    data: bytes | memoryview
    size: int
    codec: int


class _Zstd(threading.local):
    """One compressor and decompressor for each thread: they are costly to make and must not be shared."""

    def __init__(self) -> None:
        self.compress = ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=False).compress
        # A damaged frame may ask for a window far larger than any chunk; it gets none.
        self.decompress = ZstdDecompressor(max_window_size=MAX_CHUNK).decompress


_zstd = _Zstd()


def _shrunk(data: Buffer, size: int) -> bytes | None:
    """Compress what a sample shows to be worth it; None means that it is stored raw."""
    compress = _zstd.compress
    if size > _SAMPLE:
        if len(compress(_sample(data, size))) >= _SHRINKS * _SAMPLE:
            return None
        stored = compress(data)
        return stored if len(stored) < size else None
    # Small files come by the ten thousands, and most that do not shrink (images, audio) show it in 1 KiB at a third
    # of the price. What is missed are long repeats of noise within one small file.
    if size > _PROBE_FROM:
        if len(_VALUES.translate(None, bytes(data[:: size // 256 | 1]))) <= 256 - _NOISE:
            return None
        last = size - 256
        first, second = last // 3, last * 2 // 3
        probe = b"".join((data[:256], data[first : first + 256], data[second : second + 256], data[last:]))
        if len(compress(probe)) >= len(probe):
            return None
    stored = compress(data)
    return stored if len(stored) < _SHRINKS * size else None


def _sample(data: Buffer, size: int) -> bytes:
    """Join 16 pieces from the start to the end: a header or a padded end alone says little about the rest."""
    length = _SAMPLE // 16
    starts = [(size - length) * index // 15 for index in range(16)]
    return b"".join([data[start : start + length] for start in starts])


def encode(digest: bytes, data: Buffer) -> Encoded:
    """Give a chunk the form it is stored in: zstd where a sample of 64 KiB shrinks below 0.9, else raw.

    `data` is 1 byte to 4 MiB, else InvalidInput; the result never refers to a buffer that its owner may change.
    What was compressed is decompressed and compared before it is returned (IntegrityError: this machine is not to be
    trusted). Safe to call from many threads; the work is done without the interpreter's lock.

    >>> encode(bytes(32), b"abc" * 1000).codec
    1
    """
    size = len(data)
    if not 0 < size <= MAX_CHUNK:
        raise InvalidInput(f"a chunk has 1 to {MAX_CHUNK} bytes, not {size}")
    stored = _shrunk(data, size)
    if stored is None:
        return Encoded(digest, data if _is_fixed(data) else bytes(data), size, _RAW)
    _compare(digest, data, stored)
    return Encoded(digest, stored, size, _ZSTD)


def _is_fixed(data: Buffer) -> TypeGuard[bytes | memoryview]:
    """Whether nobody changes a buffer: it is bytes, or a view of bytes or of a room, which it keeps as a whole."""
    return type(data) is bytes or (type(data) is memoryview and type(data.obj) in _FIXED)


def _compare(digest: bytes, data: Buffer, stored: bytes) -> None:
    back = decode(_ZSTD, stored, len(data))
    if not back.startswith(data):  # of equal length by now; unlike ==, this compares views at the speed of memcmp
        raise IntegrityError(f"chunk {digest.hex()} did not survive compression; suspect this machine's memory")


def decode(codec: int, stored: Buffer, size: int) -> bytes:
    """Give back a chunk's bytes from its stored form; the caller then checks their digest.

    Allocates no more than `size` bytes, and never more than 4 MiB. IntegrityError for an unknown codec, a frame that
    announces or gives another length than `size`, damage that zstd notices, and bytes behind the frame.

    >>> decode(Codec.RAW, b"abc", 3)
    b'abc'
    """
    length = len(stored)
    if not 0 < size <= MAX_CHUNK:
        raise IntegrityError(f"a chunk of {size} bytes is announced; it has 1 to {MAX_CHUNK}")
    if codec == _RAW:
        if length != size:
            raise IntegrityError(f"a raw chunk of {size} bytes is stored in {length}")
        return stored if type(stored) is bytes else bytes(stored)
    if codec != _ZSTD:
        raise IntegrityError(f"codec {codec} is unknown")
    try:
        announced = frame_content_size(stored)
        if announced != size:
            raise IntegrityError(f"a zstd frame announces {announced} bytes where {size} were expected")
        data = _zstd.decompress(stored, allow_extra_data=False)
    except ZstdError as error:
        raise IntegrityError(f"a stored chunk is not a zstd frame: {error}") from error
    if len(data) != size:
        raise IntegrityError(f"a zstd frame gave {len(data)} bytes where {size} were expected")
    return data


def fits(stored: int, size: int, codec: int) -> bool:
    """Tell whether `size` bytes may be stored as `stored` bytes: raw as they are, or as a frame that is smaller."""
    if not 0 < size <= MAX_CHUNK:
        return False
    return stored == size if codec == _RAW else codec == _ZSTD and 0 < stored < size
