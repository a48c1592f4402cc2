"""The marker: the one object that says what a bucket holds and by which rules.

Knows the marker's bytes; must not know how they are fetched.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Self

from .chunking import ChunkingParameters
from .errors import FormatTooNew, IntegrityError

__all__ = ["FORMAT", "LARGEST", "Marker"]

FORMAT = 1
LARGEST = 1 << 16  # bytes
_ID = re.compile(r"[0-9a-f]{32}")


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
        if len(raw) > LARGEST:
            raise IntegrityError(f"{url}: lineart.json is damaged: it has more than {LARGEST} bytes")
        try:
            data = json.loads(raw)
            format_ = data["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(f"{url}: lineart.json is not a store's marker") from error
        if type(format_) is not int or format_ < 1:
            raise IntegrityError(f"{url}: lineart.json is damaged: its format is {format_!r:.40}")
        if format_ > FORMAT:
            raise FormatTooNew(f"{url} has format {format_}; this Lineart reads up to {FORMAT}; upgrade it")
        store, single = data.get("store"), data.get("single_machine")
        if not isinstance(store, str) or not _ID.fullmatch(store) or not isinstance(single, bool):
            raise IntegrityError(f"{url}: lineart.json is damaged: store {store!r:.80}, single_machine {single!r:.80}")
        return cls(store, single, ChunkingParameters.from_json(data.get("chunking")))
