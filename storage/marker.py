"""The marker: the one object that says what a bucket holds and by which rules.

Knows the marker's bytes; must not know how they are fetched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Self

from .chunking import ChunkingParameters
from .errors import FormatTooNew, IntegrityError

__all__ = ["FORMAT", "Marker"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Marker:
    """What `lineart.json` says; written once, when the store is made."""

    store_id: str  # 32 hex digits
    single_machine: bool = False
    chunking: ChunkingParameters = field(default_factory=ChunkingParameters)

    def encode(self) -> bytes:
        """Return the marker's bytes: one JSON object with sorted keys, and a line feed."""
        data = {
            "format": FORMAT,
            "store": self.store_id,
            "single_machine": self.single_machine,
            "chunking": self.chunking.to_json(),
        }
        return json.dumps(data, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, raw: bytes, url: str) -> Self:
        """Read a marker; FormatTooNew or IntegrityError names the store's `url`."""
        try:
            data = json.loads(raw)
            format_ = int(data["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{url}: lineart.json is not a store's marker") from error
        if format_ > FORMAT:
            raise FormatTooNew(f"{url} has format {format_}; this Lineart reads up to {FORMAT}; upgrade it")
        try:
            return cls(str(data["store"]), bool(data["single_machine"]), ChunkingParameters.from_json(data["chunking"]))
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{url}: lineart.json is damaged: {error}") from error
