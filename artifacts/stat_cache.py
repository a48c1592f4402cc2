"""What the files of a folder were when they were last read: who meets one unchanged need not read it again.

Knows stat results, digests, and the files in which it keeps them; must not know stores or drafts. Each folder has one
flat file in the user's cache folder, replaced as a whole: losing it, or writing it twice at once, costs time only. A
row is kept only where the kernel's clock had moved on since the file's last change, so that no later change can leave
the same times behind (racy-git.txt in git's documentation describes the trap). A writer through a memory map is not
noticed: the kernel may leave all times of such a file as they are.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
import warnings
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
from blake3 import blake3

from ..storage.mounts import network_filesystem
from .source import FileSource

__all__ = ["MOST", "Known", "Origin", "Row", "Snapshot", "StatCache", "clock", "mistrust", "prefix_of", "settled"]

_LARGEST = 2**63  # what an integer of 64 bits cannot hold
MOST = 500_000  # files of one folder: what is beyond is read again
BYTES = 256 << 20  # of all folders together; those used least recently go first
_MAGIC = b"LASTAT1\n"
_HEAD = len(_MAGIC) + 32  # and the BLAKE3 of what follows
_COARSE = 2_000_000_000  # nanoseconds: the coarsest clock of a filesystem that counts in whole seconds
_SYNTHETIC = {"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk"}  # their inode numbers or ctimes are made up
_STAMPS: int | None = 5 if sys.platform == "linux" else None  # CLOCK_REALTIME_COARSE, which stamps files
_LAG = 50_000_000  # nanoseconds that the clock of files may be behind elsewhere


class Origin(NamedTuple):
    """The version that a whole folder was logged as or downloaded from."""

    store: str  # its id
    ref: str
    digest: bytes  # of the manifest


class Known(msgspec.Struct, frozen=True, gc=False):
    """The content that a file had: its digest, and its recipe's where it has several chunks; and who put it there."""

    digest: bytes
    recipe: bytes | None = None
    placed: bool = False  # by a download, so that nobody has only this copy


Row: TypeAlias = tuple[FileSource, Known]
"""A file as it was, and what it held."""


class _File(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    root: str
    origin: tuple[str, str, bytes] | None
    paths: list[str]  # below the root
    times: bytes  # of each file mtime and ctime, as signed integers of 64 bits
    numbers: bytes  # of each file size, inode and device, unsigned
    executable: bytes
    digests: bytes
    recipes: dict[int, bytes]  # by row
    placed: bytes = b""  # older snapshots do not tell


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_File).decode


class Snapshot:
    """What is remembered of one folder: its files as they were, by path, and the version that it was."""

    def __init__(self, rows: Mapping[str, Row], origin: Origin | None = None) -> None:
        self.rows = rows
        self.origin = origin

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, file: FileSource) -> Known | None:
        """Return what a file holds if it is what it was; None where it has to be read."""
        row = self.rows.get(file.path)
        return row[1] if row is not None and row[0] == file else None


class StatCache:
    """The snapshots of one user's folders; `folder` None remembers nothing. Safe from many threads and processes.

    >>> StatCache(None).load("data").get(FileSource("data/a", 1, 2, 3, 4, 5, False)) is None
    True
    """

    def __init__(self, folder: Path | None, *, limit: int = BYTES, mountinfo: str | None = None) -> None:
        self._folder = folder
        self._limit = limit  # bytes of all snapshots
        self._mountinfo = mountinfo  # in place of what the kernel says

    @classmethod
    def below(cls, cache: Path | None) -> StatCache:
        """Return the one in a user's cache folder, if there is one."""
        return cls(None if cache is None else cache / "stat")

    @property
    def off(self) -> bool:
        """Whether nothing is remembered."""
        return self._folder is None

    def load(self, root: str) -> Snapshot:
        """Return what is remembered of a folder; files are named as they are reached through `root`."""
        where = self._place(root)
        data = None if where is None else _read(where, self._limit)
        if data is None:
            return Snapshot({})
        try:
            return _unpacked(data, root)
        except (ValueError, UnicodeError):  # written by another version of this program, or by nobody we know
            return Snapshot({})

    def save(self, root: str, rows: Iterable[Row], origin: Origin | None = None) -> None:
        """Remember a folder as it is now, in place of what was known; `origin` if it holds just that version.

        Only rows that are `settled` may be given. What the disk of the cache refuses is no error.
        """
        where = self._place(root)
        kept = None if where is None else _trusted(rows, root, self._mountinfo)
        if where is None or kept is None:
            return
        data = _packed(os.path.realpath(root), root, kept, origin)
        with suppress(OSError):  # a full or read-only disk: the next log reads the files again
            _make_room(where.parent, self._limit - len(data))
            _replace(where, data)

    def forget(self, root: str) -> None:
        """Remember nothing of a folder any more."""
        where = self._place(root)
        if where is not None:
            with suppress(OSError):
                where.unlink()

    def load_note(self, root: str, kind: str) -> bytes | None:
        """Return what else was noted of a folder; None where nothing was."""
        where = self._place(root, kind)
        data = None if where is None else _read(where, self._limit)
        if data is None or data[:32] != blake3(memoryview(data)[32:]).digest():
            return None
        return data[32:]

    def save_note(self, root: str, kind: str, note: bytes) -> None:
        """Note something else of a folder, in place of what was noted; what the disk refuses is no error."""
        where = self._place(root, kind)
        if where is not None:
            with suppress(OSError):
                _make_room(where.parent, self._limit - len(note))
                _replace(where, blake3(note).digest() + note)

    def _place(self, root: str, kind: str = "stat") -> Path | None:
        if self._folder is None:
            return None
        try:
            whole = os.path.realpath(root).encode()
        except UnicodeEncodeError:
            return None
        return self._folder / f"{blake3(whole).hexdigest()[:32]}.{kind}"


def clock() -> int:
    """Return the time that the kernel would stamp a file with now, in nanoseconds since the epoch."""
    return time.time_ns() - _LAG if _STAMPS is None else time.clock_gettime_ns(_STAMPS)


def settled(file: FileSource, known_at: int) -> bool:
    """Whether any later change of a file must show in its times; `known_at` is `clock()` before it was read."""
    changed_at = file.changed_at
    fits = -_LARGEST <= file.mtime < _LARGEST  # somebody may have set it to anything
    return fits and (changed_at if changed_at % 1_000_000_000 else changed_at + _COARSE) < known_at


def mistrust(path: str, mountinfo: str | None = None) -> str | None:
    """Return the filesystem that a folder is on if its times and inode numbers cannot be relied on."""
    if mountinfo is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
                mountinfo = file.read()
        except OSError:
            return None  # not Linux
    return network_filesystem(os.path.realpath(path), mountinfo, _SYNTHETIC)


def _trusted(rows: Iterable[Row], root: str, mountinfo: str | None) -> list[Row] | None:
    """Keep the rows of files on the folder's own disk; None where that is not trusted at all."""
    kind = mistrust(root or ".", mountinfo)
    if kind is not None:
        warnings.warn(
            f"{root or '.'} is on {kind}, which does not tell reliably when a file changed: every file is read each "
            "time",
            stacklevel=2,
        )
        return None
    try:
        device = os.stat(root or ".").st_dev
    except OSError:
        return None
    return list(islice((row for row in rows if row[0].device == device), MOST))


def _packed(whole: str, root: str, rows: Sequence[Row], origin: Origin | None) -> bytes:
    skip = len(prefix_of(root))
    files = [file for file, _ in rows]
    times, numbers = array("q"), array("Q")
    for one in files:
        times.extend((one.mtime, one.changed_at))
        numbers.extend((one.size, one.inode, one.device))
    payload = _encode(
        _File(
            root=whole,
            origin=origin,
            paths=[one.path[skip:] for one in files],
            times=times.tobytes(),
            numbers=numbers.tobytes(),
            executable=bytes([one.executable for one in files]),
            digests=b"".join([content.digest for _, content in rows]),
            recipes={index: content.recipe for index, (_, content) in enumerate(rows) if content.recipe is not None},
            placed=bytes([content.placed for _, content in rows]),
        )
    )
    return b"".join((_MAGIC, blake3(payload).digest(), payload))


def _unpacked(data: bytes, root: str) -> Snapshot:
    payload = memoryview(data)[_HEAD:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : _HEAD] != blake3(payload).digest():
        raise ValueError("not a snapshot")
    file = _decode(payload)
    if file.root != os.path.realpath(root):
        raise ValueError("of another folder")
    times, numbers = array("q", file.times), array("Q", file.numbers)
    count = len(file.paths)
    placed = file.placed or bytes(count)
    if (
        not len(placed)
        == len(times) // 2
        == len(numbers) // 3
        == len(file.executable)
        == len(file.digests) // 32
        == count
    ):
        raise ValueError("columns of unequal length")
    prefix = prefix_of(root)
    paths = [prefix + path for path in file.paths]
    files = map(
        FileSource,
        paths,
        numbers[::3],
        times[::2],
        times[1::2],
        numbers[1::3],
        numbers[2::3],
        map(bool, file.executable),
    )
    starts = range(0, count * 32, 32)
    contents = [Known(file.digests[one : one + 32], None, bool(by)) for one, by in zip(starts, placed, strict=True)]
    for index, recipe in file.recipes.items():
        contents[index] = Known(contents[index].digest, recipe, contents[index].placed)
    rows = dict(zip(paths, zip(files, contents, strict=True), strict=True))
    return Snapshot(rows, None if file.origin is None else Origin(*file.origin))


def prefix_of(root: str) -> str:
    """Return what the paths of files begin with that are reached through a folder."""
    return root if not root or root.endswith("/") else root + "/"


def _read(path: Path, limit: int) -> bytes | None:
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(number, "rb") as file:
            if os.fstat(number).st_size > limit:
                return None
            os.utime(number)  # so that what is used is kept
            return file.read()
    except OSError:
        return None


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _make_room(folder: Path, room: int) -> None:
    """Remove the snapshots used least recently, and what crashed writers left, until all fit into some bytes."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as listed:
        found = sorted(((one.stat().st_mtime_ns, one.stat().st_size, one.path) for one in listed), reverse=True)
    for _, size, path in found:
        room -= size
        if room < 0:
            Path(path).unlink(missing_ok=True)
