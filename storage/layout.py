"""The name of every object in the bucket, as pure functions between names and values.

Knows the format's "Keys" table; must not know what the objects hold or how they are stored. Names sort as their
sequence numbers do, so a listing of a journal folder comes in the order of events.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import InvalidInput

__all__ = [
    "CHECKPOINTS",
    "JOURNAL",
    "JOURNAL_SPAN",
    "MARKER",
    "META",
    "PACKS",
    "JournalName",
    "PackName",
    "checkpoint_key",
    "journal_folder",
    "journal_key",
    "pack_folder",
    "pack_key",
    "parse_journal_key",
    "parse_pack_key",
]

MARKER = "lineart.json"
PACKS = "packs/"
META = "meta/"
JOURNAL = "journal/"
CHECKPOINTS = "journal/checkpoint/"
JOURNAL_SPAN = 10_000  # events whose names share a folder

_PACK_ID = 16  # bytes
_FOLDERS = {1: PACKS, 2: META}
_KINDS = {"packs": 1, "meta": 2}
_LARGEST = 10**12 - 1
_PACK = re.compile(r"(packs|meta)/([0-9a-f]{2})/([0-9a-f]{32})")
_SEGMENT = re.compile(r"journal/([0-9]{8})/([0-9]{12})-([0-9]{12})-([0-9a-f]{16})\.jsonl")
_CHECKPOINT = re.compile(r"journal/checkpoint/([0-9]{12})-([0-9]{12})\.jsonl\.zst")
_CHECKSUM = re.compile(r"[0-9a-f]{16}")


class PackName(NamedTuple):
    """What a pack's key says: its kind (1 data, 2 meta) and its 16 byte id."""

    kind: int
    id: bytes


class JournalName(NamedTuple):
    """What a journal object's key says: the first and last `seq` in it, and a checksum, unless it is a checkpoint."""

    first: int
    last: int
    checksum: str | None

    @property
    def is_checkpoint(self) -> bool:
        """Whether the object is a merged, compressed one."""
        return self.checksum is None


def pack_folder(kind: int) -> str:
    """Return the prefix of all packs of a kind (1 data, 2 meta); InvalidInput for another kind."""
    folder = _FOLDERS.get(kind)
    if folder is None:
        raise InvalidInput(f"no such kind of pack: {kind!r}")
    return folder


def pack_key(kind: int, pack_id: bytes) -> str:
    """Return the key of a pack.

    >>> pack_key(1, bytes(range(16)))
    'packs/00/000102030405060708090a0b0c0d0e0f'
    """
    if len(pack_id) != _PACK_ID:
        raise InvalidInput(f"a pack id has {_PACK_ID} bytes, not {len(pack_id)}")
    digits = pack_id.hex()
    return f"{pack_folder(kind)}{digits[:2]}/{digits}"


def parse_pack_key(key: str) -> PackName | None:
    """Read a pack's key; None where the key is not one, so that foreign objects can be passed over.

    >>> parse_pack_key("packs/00/readme.txt") is None
    True
    """
    found = _PACK.fullmatch(key)
    if found is None or not found[3].startswith(found[2]):
        return None
    return PackName(_KINDS[found[1]], bytes.fromhex(found[3]))


def journal_folder(seq: int) -> str:
    """Return the prefix of the journal objects whose first event is in the same span of 10,000 as `seq`.

    >>> journal_folder(12_345)
    'journal/00000001/'
    """
    _check_range(seq, seq)
    return f"{JOURNAL}{seq // JOURNAL_SPAN:08d}/"


def journal_key(first: int, last: int, checksum: str) -> str:
    """Return the key of a journal object that holds the events `first` to `last`, both included.

    The checksum is the first 8 bytes of the BLAKE3 of the object, in hex. InvalidInput where the events would lie in
    two folders.

    >>> journal_key(1, 3, "0123456789abcdef")
    'journal/00000000/000000000001-000000000003-0123456789abcdef.jsonl'
    """
    _check_range(first, last)
    if first // JOURNAL_SPAN != last // JOURNAL_SPAN:
        raise InvalidInput(f"events {first} to {last} do not belong in one journal object: split at {JOURNAL_SPAN}")
    if not _CHECKSUM.fullmatch(checksum):
        raise InvalidInput(f"not a checksum for a journal key: {checksum!r}")
    return f"{journal_folder(first)}{first:012d}-{last:012d}-{checksum}.jsonl"


def checkpoint_key(first: int, last: int) -> str:
    """Return the key of the merged events `first` to `last`, both included.

    >>> checkpoint_key(1, 10_000)
    'journal/checkpoint/000000000001-000000010000.jsonl.zst'
    """
    _check_range(first, last)
    return f"{CHECKPOINTS}{first:012d}-{last:012d}.jsonl.zst"


def parse_journal_key(key: str) -> JournalName | None:
    """Read the key of a journal object or checkpoint; None where the key is neither, or contradicts itself."""
    found = _SEGMENT.fullmatch(key)
    if found is not None:
        first, last = int(found[2]), int(found[3])
        same_folder = int(found[1]) == first // JOURNAL_SPAN == last // JOURNAL_SPAN
        return JournalName(first, last, found[4]) if first <= last and same_folder else None
    found = _CHECKPOINT.fullmatch(key)
    if found is not None:
        first, last = int(found[1]), int(found[2])
        return JournalName(first, last, None) if first <= last else None
    return None


def _check_range(first: int, last: int) -> None:
    if not 0 <= first <= last <= _LARGEST:
        raise InvalidInput(f"not a range of sequence numbers: {first} to {last}")
