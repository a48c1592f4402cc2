"""A reader of stores that was written from docs/format.md alone: no Lineart is imported, no database is asked.

It checks what that page says must be checked on the way to a file's bytes, and raises `Damaged` otherwise. `objects` is
any mapping from the keys of a bucket to the bytes of its objects.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import zstandard
from blake3 import blake3

JOURNAL = re.compile(r"journal/(?:(\d{8})|checkpoint)/(\d{12})-(\d{12})(?:-([0-9a-f]{16})\.jsonl|\.jsonl\.zst)")
PACK = re.compile(r"(packs|meta)/([0-9a-f]{2})/(\2[0-9a-f]{30})")


class Damaged(Exception):
    """Something is not as the format says."""


class Copy(NamedTuple):
    key: str
    offset: int
    stored: int
    size: int
    codec: int


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Damaged(what)


class Reader:
    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = objects
        self.marker = json.loads(objects["lineart.json"])
        require(self.marker["format"] == 1, "a store of a later format")
        self.index: dict[bytes, list[Copy]] = {}
        for key in objects:
            if PACK.fullmatch(key):
                self.read_footer(key)

    def read_footer(self, key: str) -> None:
        """Note where the chunks of a pack are ("Packs")."""
        pack = self.objects[key]
        at, count, reserved, digest, magic = struct.unpack("<QII32s8s", pack[-56:])
        require(magic == b"LAPKEND1" and reserved == 0 and 1 <= count <= 65_536, f"{key}: trailer")
        require(at + 56 * count + 56 == len(pack), f"{key}: size")
        require(blake3(pack[:24] + pack[at:-56] + pack[-56:-44]).digest() == digest, f"{key}: hash")
        require(digest[:16].hex() == key[-32:], f"{key}: name")
        kind = 1 if key.startswith("packs/") else 2
        require(pack[:8] == b"LAPK" + bytes([1, kind, 0, 0]), f"{key}: header")
        slots = list(struct.iter_unpack("<32sQIIB7s", pack[at:-56]))
        require(all(a[0] < b[0] for a, b in itertools.pairwise(slots)), f"{key}: order of slots")
        end = 24
        for chunk, offset, stored, size, codec, pad in sorted(slots, key=lambda slot: slot[1]):
            require(offset == end and 1 <= size <= 4 << 20 and pad == bytes(7), f"{key}: slot")
            require(stored == size if codec == 0 else codec == 1 and 0 < stored < size, f"{key}: codec")
            self.index.setdefault(chunk, []).append(Copy(key, offset, stored, size, codec))
            end += stored
        require(end == at, f"{key}: payload")

    def chunk(self, digest: bytes) -> bytes:
        """Return a verified chunk from the first of its copies that is sound ("Chunks")."""
        for copy in self.index.get(digest, []):
            data = self.objects[copy.key][copy.offset : copy.offset + copy.stored]
            if copy.codec == 1:
                require(zstandard.frame_content_size(data) == copy.size, "content size of a frame")
                data = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
            if len(data) == copy.size and blake3(data).digest() == digest:
                return data
        raise Damaged(f"chunk {digest.hex()}")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events in the order of `seq`, each once ("Reading the journal")."""
        found = []
        for key in self.objects:
            if (m := JOURNAL.fullmatch(key)) is not None and (m[1] is None) == (m[4] is None):
                first, last = int(m[2]), int(m[3])
                if m[1] is None or int(m[1]) == first // 10_000 == last // 10_000:
                    found.append((first, last, key, m[4]))
        seen: dict[int, bytes] = {}
        for first, last, key, checksum in sorted(found):
            data = self.objects[key]
            if checksum is not None:
                require(blake3(data).hexdigest()[:16] == checksum, f"{key}: checksum")
            else:
                data = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data).read()
            lines = data.splitlines(keepends=True)
            require(len(lines) == last - first + 1 and data.endswith(b"\n"), f"{key}: lines")
            require(first <= len(seen) + 1, f"{key}: a gap before it")
            for seq, line in enumerate(lines, first):
                if seq <= len(seen):
                    require(seen[seq] == line, f"{key}: another event {seq}")
                    continue
                event = json.loads(line)
                require(set(event) == {"actor", "data", "kind", "reason", "seq", "subject", "time"}, f"{key}: members")
                require(event["seq"] == seq, f"{key}: order")
                seen[seq] = line
                yield event

    def versions(self) -> dict[str, bytes]:
        """Return `project/collection:v0` → digest of the manifest, and the same for aliases ("Events")."""
        digests: dict[str, bytes] = {}
        for event in self.events():
            data, name = event["data"], event["subject"]
            if event["kind"] == "version.logged":
                digests[f"{name}:v{data['number']}"] = bytes.fromhex(data["digest"].removeprefix("b3:"))
            elif event["kind"] == "alias.set":
                digests[f"{name}:{data['alias']}"] = digests[f"{name}:v{data['to']}"]
            elif event["kind"] == "alias.removed":
                del digests[f"{name}:{data['alias']}"]
        return digests

    def entries(self, page: bytes, level: int | None = None) -> Iterator[list[Any]]:
        """Yield [path, kind, size, digest, recipe, executable, external] below a page ("Pages and entries")."""
        raw = self.chunk(page)
        decoded = msgspec.msgpack.decode(raw)
        require(msgspec.msgpack.encode(decoded) == raw and decoded[0] == 1, "encoding of a page")
        require(level is None or decoded[1] == level, "level of a page")
        for item in decoded[2]:
            if decoded[1] == 0:
                yield item
                continue
            below = list(self.entries(item[1], decoded[1] - 1))
            require([below[-1][0], len(below), sum(e[2] for e in below)] == [item[0], *item[2:]], "totals of a page")
            yield from below

    def pieces(self, recipe: bytes, size: int, level: int | None = None) -> Iterator[bytes]:
        """Yield the chunks of a recipe, in order ("Recipes")."""
        format_, found, items = msgspec.msgpack.decode(self.chunk(recipe))
        require(format_ == 1 and (level is None or found == level) and sum(n for _, n in items) == size, "recipe")
        for digest, part in items:
            if found:
                yield from self.pieces(digest, part, found - 1)
            else:
                data = self.chunk(digest)
                require(len(data) == part, "size of a chunk")
                yield data

    def file(self, entry: list[Any]) -> bytes:
        """Return the verified content of an entry of kind 0 ("Reading a store")."""
        path, _, size, digest, recipe, *_ = entry
        data = b"" if size == 0 else self.chunk(digest) if recipe is None else b"".join(self.pieces(recipe, size))
        require(len(data) == size and blake3(data).digest() == digest, f"{path}: content")
        return data
