"""Packs: the immutable objects that hold many chunks, as bytes and as values.

Knows the bytes of a pack, and nothing else: not keys, backends, the index, or what a chunk means. Everything here is a
function of its arguments, save a new pack's random nonce. A chunk's stored form is codec.py's, whose names are given on
from here. The layout is normative in docs/format.md, "Chunks, recipes, packs".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, islice
from operator import itemgetter, lt
from typing import NamedTuple

from .codec import MAX_CHUNK, Buffer, Codec, Encoded, decode, encode, fits
from .digest import SIZE as DIGEST_SIZE
from .digest import Hasher
from .errors import FormatTooNew, IntegrityError, InvalidInput

__all__ = [
    "HEADER_SIZE",
    "MAX_CHUNK",
    "MAX_CHUNKS",
    "SLOT_SIZE",
    "TARGET",
    "TRAILER_SIZE",
    "Buffer",
    "Codec",
    "Encoded",
    "PackBuilder",
    "PackKind",
    "SealedPack",
    "Slot",
    "decode",
    "encode",
    "footer_range",
    "parse_footer",
    "read_slots",
]

FORMAT = 1
MAX_CHUNKS = 65_536
TARGET = 32 << 20

_HEADER = struct.Struct("<4sBBH16s")
_SLOT = struct.Struct("<32sQIIB7x")
_TRAILER = struct.Struct("<QII32s8s")
_COVERED = struct.Struct("<QI")  # the part of the trailer that the hash covers
HEADER_SIZE = _HEADER.size
SLOT_SIZE = _SLOT.size
TRAILER_SIZE = _TRAILER.size
_MAGIC = b"LAPK"
_END = b"LAPKEND1"
_TAIL = 64 << 10  # bytes: what a first read takes from a pack's end, enough for 1,169 chunks
_WHOLE = 256 << 10  # bytes: up to here one read of everything is cheaper than two


class PackKind(IntEnum):
    """What a pack holds: file content, or the store's own pages, recipes and small notes."""

    DATA = 1
    META = 2


class Slot(NamedTuple):
    """Where a chunk lies in its pack: `offset` is bytes from the object's start, `stored` and `size` are bytes."""

    digest: bytes
    offset: int
    stored: int
    size: int
    codec: int


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A whole pack: `b"".join(parts)` is the object of `size` bytes whose name is `id` (16 bytes) in hex.

    `slots` are sorted by digest, as in the footer.
    """

    id: bytes
    kind: PackKind
    parts: list[bytes | memoryview]
    slots: list[Slot]
    size: int


class PackBuilder:
    """Gathers encoded chunks, in the order in which a reader will want them, into one pack; not for several threads.

    `size` is bytes of the object if it were sealed now. `full` asks for a new pack; the target (bytes) may be
    overshot by one chunk. `nonce` is 16 random bytes unless it is given, which only a test with fixed bytes should.

    >>> builder = PackBuilder(PackKind.DATA)
    >>> builder.add(encode(bytes(32), b"abc"))
    >>> builder.seal().size
    139
    """

    def __init__(self, kind: PackKind, nonce: bytes | None = None, target: int = TARGET) -> None:
        nonce = os.urandom(16) if nonce is None else nonce
        if len(nonce) != 16:
            raise InvalidInput(f"a pack's nonce has 16 bytes, not {len(nonce)}")
        self._kind = PackKind(kind)
        self._parts: list[bytes | memoryview] = [_HEADER.pack(_MAGIC, FORMAT, kind, 0, nonce)]
        self._slots: dict[bytes, Slot] = {}
        self._end = HEADER_SIZE
        self._target = target

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._slots

    @property
    def size(self) -> int:
        """Bytes of the object if it were sealed now."""
        return self._end + len(self._slots) * SLOT_SIZE + TRAILER_SIZE

    @property
    def full(self) -> bool:
        """Whether the pack has reached its target or the number of chunks that a pack may hold."""
        return self.size >= self._target or len(self._slots) >= MAX_CHUNKS

    def add(self, chunk: Encoded) -> None:
        """Append a chunk; one that the pack holds already is not stored twice.

        InvalidInput past 65,536 chunks, and for lengths that no reader would accept.
        """
        digest, data, size, codec = chunk
        slots = self._slots
        if digest in slots:
            return
        stored = len(data)
        if len(slots) >= MAX_CHUNKS:
            raise InvalidInput(f"a pack holds at most {MAX_CHUNKS} chunks")
        if len(digest) != DIGEST_SIZE or not fits(stored, size, codec):
            raise InvalidInput(
                f"no chunk for a pack: digest {digest.hex()}, {stored} bytes for {size}, codec {codec}",
            )
        slots[digest] = Slot(digest, self._end, stored, size, codec)
        self._parts.append(data)
        self._end += stored

    def seal(self) -> SealedPack:
        """Close the pack with its footer and trailer; calling it again gives an equal pack.

        InvalidInput if nothing was added.
        """
        if not self._slots:
            raise InvalidInput("a pack without chunks cannot be sealed")
        slots = [self._slots[digest] for digest in sorted(self._slots)]
        pack = _SLOT.pack
        footer = b"".join([pack(*slot) for slot in slots])
        covered = _COVERED.pack(self._end, len(slots))
        seal = Hasher(self._parts[0]).update(footer).update(covered).digest()
        trailer = _TRAILER.pack(self._end, len(slots), 0, seal, _END)
        parts = [*self._parts, footer, trailer]
        return SealedPack(seal[:16], self._kind, parts, slots, self.size)


def footer_range(trailer: bytes, object_size: int) -> tuple[int, int]:
    """Find the footer: (offset, length) in bytes, from a pack's last 56 bytes and the object's size.

    IntegrityError if the trailer cannot belong to an object of that size. The length is below the object's and at most
    3.5 MiB, so it may be read into memory at once; that it is the right one only `parse_footer` shows.
    """
    offset, count = _trailer(trailer)[:2]
    length = count * SLOT_SIZE
    if offset + length + TRAILER_SIZE != object_size:
        raise IntegrityError(
            f"a pack of {object_size} bytes announces a footer of {count} chunks at {offset}, which does not end it"
        )
    return offset, length


def _trailer(trailer: bytes) -> tuple[int, int, bytes]:
    """Read footer offset, number of chunks, and hash."""
    if len(trailer) != TRAILER_SIZE:
        raise IntegrityError(f"a pack's trailer has {TRAILER_SIZE} bytes, not {len(trailer)}")
    offset, count, reserved, seal, end = _TRAILER.unpack(trailer)
    if end != _END or reserved:
        raise IntegrityError("the object does not end as a pack does")
    if not 0 < count <= MAX_CHUNKS:
        raise IntegrityError(f"a pack announces {count} chunks; it has 1 to {MAX_CHUNKS}")
    if offset < HEADER_SIZE + count:
        raise IntegrityError(f"a pack announces {count} chunks in front of byte {offset}, where they have no room")
    return offset, count, seal


def parse_footer(
    header: bytes, footer: bytes, trailer: bytes, pack_id: bytes, kind: PackKind | None = None
) -> list[Slot]:
    """Read where each chunk of a pack lies, sorted by digest; every field is checked against the pack's id.

    `header` is the first 24 bytes, `trailer` the last 56, `footer` what `footer_range` points to. IntegrityError if
    anything is not what the id (16 bytes) or the format says, or if the pack is not of `kind`; FormatTooNew if it is
    sound but of a later format. The chunks lie end to end between header and footer, so no two overlap.
    """
    name = pack_id.hex()
    offset, count, seal = _trailer(trailer)
    if len(header) != HEADER_SIZE or len(footer) != count * SLOT_SIZE:
        raise IntegrityError(f"pack {name}: {len(header)} bytes of header, {len(footer)} of footer for {count} chunks")
    found = Hasher(header).update(footer).update(_COVERED.pack(offset, count)).digest()
    if found != seal or found[:16] != pack_id:
        raise IntegrityError(f"pack {name}: header, footer and trailer hash to {found[:16].hex()}")
    magic, version, stated, reserved, _ = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise IntegrityError(f"pack {name}: the object does not begin as a pack does")
    if version > FORMAT:
        raise FormatTooNew(f"pack {name} is of format {version}; this Lineart reads up to {FORMAT}: upgrade")
    if version != FORMAT or reserved or stated not in (PackKind.DATA, PackKind.META):
        raise IntegrityError(f"pack {name}: format {version}, kind {stated}, reserved {reserved}")
    if kind is not None and stated != kind:
        raise IntegrityError(f"pack {name} is of kind {stated}, where {int(kind)} belongs")
    if any(footer[column::SLOT_SIZE].strip(b"\0") for column in range(SLOT_SIZE - 7, SLOT_SIZE)):
        raise IntegrityError(f"pack {name}: the footer's padding is not zero")
    slots = list(map(Slot._make, _SLOT.iter_unpack(footer)))
    _check_slots(slots, offset, name)
    return slots


def _check_slots(slots: list[Slot], end: int, name: str) -> None:
    digests = list(map(itemgetter(0), slots))
    if not all(map(lt, digests, islice(digests, 1, None))):
        raise IntegrityError(f"pack {name}: the footer is not sorted by digest")
    for _, _, stored, size, codec in slots:
        # Asked once more in place for the common case: this runs 65,536 times for a pack of small files.
        if (codec or stored != size or not 0 < size <= MAX_CHUNK) and not fits(stored, size, codec):
            raise IntegrityError(f"pack {name}: a chunk of {size} bytes is stored in {stored} with codec {codec}")
    laid = sorted(slots, key=itemgetter(1))
    ends = accumulate(map(itemgetter(2), laid), initial=HEADER_SIZE)
    if not all(slot.offset == start for slot, start in zip(laid, ends, strict=False)) or next(ends) != end:
        raise IntegrityError(f"pack {name}: the chunks do not lie end to end")


def read_slots(
    read: Callable[[int, int], bytes], object_size: int, pack_id: bytes, kind: PackKind | None = None
) -> list[Slot]:
    """Read where each chunk lies of a pack of which only id and size (bytes) are known, in one to three reads.

    `read(start, length)` gives that range of the object, or less if it ends before. One read for up to 256 KiB, two for
    up to 1,169 chunks. Raises what `parse_footer` does.
    """
    if object_size < HEADER_SIZE + 1 + SLOT_SIZE + TRAILER_SIZE:
        raise IntegrityError(f"pack {pack_id.hex()}: {object_size} bytes are too few for a pack")
    taken = object_size if object_size <= _WHOLE else _TAIL
    tail = read(object_size - taken, taken)
    if len(tail) != taken:
        raise IntegrityError(f"pack {pack_id.hex()} has fewer bytes than the {object_size} announced")
    trailer = tail[-TRAILER_SIZE:]
    offset, length = footer_range(trailer, object_size)
    begin = offset - (object_size - taken)
    footer = tail[begin : begin + length] if begin >= 0 else read(offset, length)
    header = tail[:HEADER_SIZE] if taken == object_size else read(0, HEADER_SIZE)
    return parse_footer(header, footer, trailer, pack_id, kind)
