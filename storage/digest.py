"""The digest: a BLAKE3-256 of content, as a value.

Knows the hash function and its printed form; must not know what the content is. BLAKE3 is specified at
https://github.com/BLAKE3-team/BLAKE3-specs. Inside pages, packs and rows a digest travels as 32 plain bytes (encoders
take nothing else, and there are millions of them); `Digest` is what people see and type.
"""

from __future__ import annotations

import re
from typing import Self

from blake3 import blake3

from .errors import InvalidName

__all__ = ["PREFIX", "SIZE", "Digest", "Hasher"]

PREFIX = "b3:"
SIZE = 32
Hasher = blake3
_HEX = re.compile(r"[0-9a-f]{64}")


class Digest(bytes):
    """32 bytes of BLAKE3 that print as `b3:` and 64 hex digits.

    It is a `bytes`, so it compares equal to the plain bytes that rows and entries hold.

    >>> str(Digest.of(b"abc"))
    'b3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85'
    """

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        """Take 32 raw bytes; any other length is a ValueError (InvalidName)."""
        if len(raw) != SIZE:
            raise InvalidName(f"a digest has {SIZE} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        """Hash bytes in memory."""
        return cls(blake3(data).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the printed form, with or without `b3:`; InvalidName if it is anything else."""
        digits = text.removeprefix(PREFIX)
        if not _HEX.fullmatch(digits):
            raise InvalidName(f"not a digest: {text!r} (expected {PREFIX} and 64 hex digits)")
        return cls(bytes.fromhex(digits))

    @property
    def short(self) -> str:
        """The first eight hex digits behind `b3:`, for people."""
        return f"{PREFIX}{self.hex()[:8]}"

    def __str__(self) -> str:
        return PREFIX + self.hex()

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"
