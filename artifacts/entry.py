"""One path of a manifest, and the rules that paths obey.

Knows the fields of an entry, their encoding and the grammar of paths; must not know pages, chunks or disks. Whether a
path can be written on some platform is asked elsewhere: what a POSIX disk can hold is kept here as it is. Format:
docs/format.md, "Manifest".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter, lt
from typing import Annotated

import msgspec
from blake3 import blake3

from ..storage.errors import InvalidInput, InvalidName

__all__ = [
    "EXTERNAL",
    "FILE",
    "MAX_INTEGER",
    "MAX_PATH",
    "UNSEEN",
    "Entry",
    "External",
    "PathOrder",
    "check_path",
    "check_paths",
    "encode_entries",
    "external_digest",
    "shown",
]

FILE = 0
EXTERNAL = 1
UNSEEN = bytes(32)  # the digest of an external entry that nobody looked at
MAX_PATH = 4096  # bytes of UTF-8
MAX_INTEGER = 2**63 - 1  # sizes and counts; what a database column holds

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
_Url = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Label = Annotated[str, msgspec.Meta(max_length=256)]


class External(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where the bytes of an external entry stay, and which state of them was meant.

    `url` has 1 to 4,096 characters; `etag` and `version` are the server's own words, up to 256 characters each.
    """

    url: _Url
    etag: _Label | None = None
    version: _Label | None = None

    @property
    def is_told(self) -> bool:
        """Whether the server told which state it is; else the entry's digest is that of the bytes, or UNSEEN."""
        return self.etag is not None or self.version is not None


class Entry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """One path of a manifest: a file of the store or an external entry.

    `kind` is FILE or EXTERNAL; `size` is bytes; `digest` is the BLAKE3 of the content (32 plain bytes), or of an
    external entry what `external_digest` says; `recipe` is the digest of the recipe of a file of several chunks;
    `external` is there exactly for EXTERNAL, which has no recipe.
    Nothing is checked here (there are millions): `encode_entries` and the reader of pages do.

    >>> Entry("data/a.txt", FILE, 3, bytes(32)).executable
    False
    """

    path: str
    kind: Annotated[int, msgspec.Meta(ge=0, le=1)]
    size: Count
    digest: Hash
    recipe: Hash | None = None
    executable: bool = False
    external: External | None = None

    def __repr__(self) -> str:
        from ..storage.brief import brief, few

        where = None if self.external is None else f"at {self.external.url}"
        kind = "executable" if self.executable else None
        return brief(
            f"Entry {self.path}", few(self.size, "byte") or "empty", f"b3:{self.digest.hex()[:8]}", kind, where
        )


def shown(path: str) -> str:
    """Escape a path for a message: printable, one line, at most about 200 characters."""
    return repr(path) if len(path) <= 200 else f"{path[:200]!r}… ({len(path)} characters)"


def check_path(path: str) -> None:
    """Check one path against the rules of the format; InvalidName says which one it breaks.

    The rules: UTF-8 of 1 to 4,096 bytes; parts separated by `/`; no empty part, `.` or `..`; no NUL. Backslashes,
    colons and other control characters are plain characters.

    >>> check_path("data/train/0001.png")
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidName(f"the name {shown(path)} is not UTF-8; rename the file or ignore it") from None
    if not path:
        raise InvalidName("a path may not be empty")
    if size > MAX_PATH:
        raise InvalidName(f"the path {shown(path)} has {size} bytes; at most {MAX_PATH} are kept")
    if "\0" in path:
        raise InvalidName(f"the path {shown(path)} holds a NUL character")
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            what = f"the part {part!r}" if part else "an empty part (two slashes, or one at its start or end)"
            raise InvalidName(f"the path {shown(path)} has {what}")


def check_paths(paths: Sequence[str]) -> None:
    """Check many paths as `check_path` does, but all at once; InvalidName names the first that breaks a rule."""
    text = f"/{'/'.join(paths)}/"
    dots = "/." in text and ("/./" in text or "/../" in text)
    wrong = bool(paths) and (dots or "//" in text or "\0" in text)
    if not wrong and text.isascii():
        wrong = max(map(len, paths), default=0) > MAX_PATH
    elif not wrong:
        try:
            text.encode()
            wrong = max(map(len, map(str.encode, paths))) > MAX_PATH
        except UnicodeEncodeError:
            wrong = True
    if wrong:
        for path in paths:
            check_path(path)


class PathOrder:
    """What must hold between paths: strictly ascending by bytes, and none is both a file and a folder.

    Feed it the paths of one tree in order, in any portions. A file `a` and a path `a/x` need not be neighbours
    (`a-b` lies between), but whatever lies between begins with `a`: so it is enough to keep the files that are string
    prefixes of the last path, and to compare with the longest of them. UTF-8 sorts as Python's strings do.
    """

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: list[str] = []  # each is a string prefix of the next; the last is the last path

    def feed(self, paths: Sequence[str]) -> None:
        """Take the next paths; InvalidName names the two that break a rule."""
        if not paths:
            return
        still = self._open
        if still and not still[-1] < paths[0]:
            raise _disorder(still[-1], paths[0])
        following = paths[1:]
        if not all(map(lt, paths, following)):
            raise next(_disorder(a, b) for a, b in zip(paths, following, strict=False) if not a < b)
        while still and not paths[0].startswith(still[-1]):
            still.pop()
        if not still and not any(map(str.startswith, following, paths)):
            self._open = [paths[-1]]
            return
        for path in paths:
            while still and not path.startswith(still[-1]):
                still.pop()
            if still and path[len(still[-1])] == "/":
                raise InvalidName(f"{shown(still[-1])} is a file and also the folder of {shown(path)}")
            still.append(path)


def _disorder(before: str, after: str) -> InvalidName:
    if before == after:
        return InvalidName(f"the path {shown(after)} is there twice")
    return InvalidName(f"the paths {shown(before)} and {shown(after)} are not in the order of their bytes")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode
path_of = attrgetter("path")


def misfit(entries: Iterable[Entry]) -> Entry | None:
    """Return the first entry whose kind does not agree with its other fields, if there is one."""
    for entry in [e for e in entries if e.kind or e.external is not None]:
        if entry.kind != EXTERNAL or entry.external is None or entry.recipe is not None:
            return entry
    return None


def external_digest(size: int, etag: str | None, version: str | None) -> bytes:
    """Return the digest of an external entry whose bytes were not read: what the server told of it, or UNSEEN.

    >>> external_digest(3, "900150983cd24fb0d6963f7d28e17f72", None).hex()[:16]
    'c2e9efc7d57d8538'
    """
    if etag is None and version is None:
        return UNSEEN
    return blake3(_encode(("external", etag, version, size))).digest()


def encode_entries(entries: Sequence[Entry]) -> list[bytes]:
    """Encode entries one by one; InvalidInput names the first whose fields cannot be stored.

    What was encoded is decoded again, so nothing is written that a reader would refuse. Paths are not checked here.
    """
    try:
        encoded = list(map(_encode, entries))
        _decode(b"\xdd" + len(encoded).to_bytes(4, "big") + b"".join(encoded))
        wrong = misfit(entries)
    except (ValueError, TypeError, OverflowError) as error:
        raise _unfit(entries, error) from None
    if wrong is not None:
        raise InvalidInput(f"the entry {shown(wrong.path)} mixes the fields of a file and of an external entry")
    return encoded


def _unfit(entries: Sequence[Entry], error: Exception) -> InvalidInput:
    for entry in entries:
        try:
            _decode(b"\x91" + _encode(entry))
        except (ValueError, TypeError, OverflowError) as exact:
            return InvalidInput(f"the entry {shown(str(entry.path))} cannot be stored: {exact}")
    return InvalidInput(f"an entry cannot be stored: {error}")
