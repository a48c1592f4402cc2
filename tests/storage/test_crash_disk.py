"""A local store keeps what it acknowledged through a crash at any moment, on a disk that loses what was not synced."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from pathlib import Path

import pytest

from lineart.storage.backends.disk import Disk
from lineart.storage.backends.local import LocalBackend
from lineart.storage.errors import StoreUnavailable


class Crash(BaseException):
    """The power goes."""


class File:
    """A file's bytes as they were written, and how much of them a crash cannot take."""

    def __init__(self) -> None:
        self.written = b""
        self.safe = False
        self.dropped = False  # a failed fsync threw the pages away: a later one that succeeds means nothing


class CrashDisk(Disk):
    """A real disk that remembers what was synchronised; after a crash, `survive` shows one state it may come back in.

    The power goes before call number `crash_at`. `failing` are the numbers of syncs that fail, as Linux fails them:
    once, and the pages are dropped. `lies` are calls that do nothing ("sync", "sync_folder"), to see the test fail.
    Names are kept, or dropped, each by itself, until their folder is synchronised, which is harsher than most journals.
    """

    def __init__(self, root: Path, crash_at: int | None = None, failing: frozenset[int] = frozenset(), lies=()) -> None:
        self.root = str(root)
        self.crash_at = crash_at
        self.failing = failing
        self.lies = lies
        self.calls = self.syncs = 0
        self.open: dict[int, File] = {}
        self.names: dict[str, File | None] = {}  # as the running system sees them; None is a folder
        self.durable: dict[str, File | None] = {}
        self.attic: dict[str, list[File | None]] = {}  # what a name was since its folder was last synchronised

    def _call(self) -> None:
        if self.crash_at is not None and self.calls >= self.crash_at:
            raise Crash
        self.calls += 1

    def _sync_fails(self) -> bool:
        self.syncs += 1
        return self.syncs in self.failing

    def _name(self, path: str, file: File | None) -> None:
        self.attic.setdefault(path, []).append(self.names.get(path))
        self.names[path] = file

    def create(self, path):
        self._call()
        descriptor = super().create(path)
        self.open[descriptor] = File()
        self._name(path, self.open[descriptor])
        return descriptor

    def write(self, descriptor, parts):
        for part in parts:
            self._call()
            super().write(descriptor, [part])
            self.open[descriptor].written += bytes(part)

    def sync(self, descriptor):
        self._call()
        file = self.open[descriptor]
        if self._sync_fails():
            file.dropped = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if "sync" not in self.lies and not file.dropped:
            file.safe = True

    def close(self, descriptor):
        super().close(descriptor)
        self.open.pop(descriptor)

    def rename(self, source, target):
        self._call()
        super().rename(source, target)
        self._name(target, self.names[source])
        self._gone(source)

    def link(self, source, target):
        self._call()
        super().link(source, target)
        self._name(target, self.names[source])

    def remove(self, path):
        self._call()
        super().remove(path)
        self._gone(path)

    def make_folder(self, path):
        self._call()
        super().make_folder(path)
        self._name(path, None)

    def sync_folder(self, path):
        self._call()
        if self._sync_fails():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if "sync_folder" in self.lies:
            return
        for name in {*self.names, *self.durable}:
            if os.path.dirname(name) == path:
                self.attic.pop(name, None)
                self.durable.pop(name, None)
                if name in self.names:
                    self.durable[name] = self.names[name]

    def _gone(self, path: str) -> None:
        self.attic.setdefault(path, []).append(self.names.pop(path))

    def survive(self, chance: random.Random, target: Path) -> LocalBackend:
        """Build in `target` what may be left: of each name an old or the new meaning, of each file what was safe."""
        target.mkdir()
        for path in sorted({*self.names, *self.durable, *self.attic}):
            if path in self.attic or self.names.get(path) is not self.durable.get(path):
                absent = object()
                meanings = [self.names.get(path, absent), self.durable.get(path, absent), *self.attic.get(path, [])]
                meaning = chance.choice(meanings)
                if meaning is absent or (meaning is None and path not in self.names):
                    continue
                if meaning is None and self.names[path] is not None:
                    continue  # there was nothing of that name before
            else:
                meaning = self.durable[path]
            place = target / os.path.relpath(path, self.root)
            if not place.parent.is_dir():
                continue  # its folder's name is lost, and it with it
            if meaning is None:
                place.mkdir()
            else:
                place.write_bytes(meaning.written if meaning.safe else self._cut(meaning, chance))
        return LocalBackend(target)

    def _cut(self, file: File, chance: random.Random) -> bytes:
        size = len(file.written)
        most = max(0, size - 1) if file.dropped else size
        return file.written[: chance.choice([0, most, chance.randint(0, most)])]


KEYS = ["packs/aa/1", "packs/bb/2", "journal/x/1", "lineart.json"]


def content(key: str, version: int) -> bytes:
    return f"{key} {version} ".encode() * 20


def scenario(backend: LocalBackend, tried: dict, kept: dict) -> None:
    """Write; note what was tried, and what was acknowledged."""

    def write(key: str, version: int, *, new: bool) -> None:
        data = content(key, version)
        tried.setdefault(key, [None]).append(data)
        if new:
            if backend.put_new(key, data):
                kept[key] = data
            else:
                tried[key].pop()
        else:
            before = kept.pop(key, None)
            if before is not None:
                tried[key][0] = before  # until it is acknowledged, the old one may come back, but never nothing
            backend.put(key, [data[:7], data[7:]])
            kept[key] = data
            tried[key] = [data]

    write("lineart.json", 1, new=True)
    write("lineart.json", 2, new=True)
    write("packs/aa/1", 1, new=False)
    write("packs/bb/2", 1, new=False)
    write("packs/aa/1", 2, new=False)
    write("journal/x/1", 1, new=True)
    write("journal/x/1", 2, new=False)


def run(folder: Path, seed: int, **options) -> tuple[CrashDisk, list[str]]:
    """Run the scenario on a disk, crash it, and return what was found wrong afterwards."""
    root = folder / "store"
    root.mkdir(parents=True)
    disk = CrashDisk(root, **options)
    tried: dict[str, list] = {}
    kept: dict[str, bytes] = {}
    with contextlib.suppress(Crash, StoreUnavailable):
        scenario(LocalBackend(root, disk), tried, kept)
    left = disk.survive(random.Random(seed), folder / "after")
    found = {info.key: left.get(info.key) for info in left.list("")}
    wrong = [f"{key} was acknowledged and is not there" for key, data in kept.items() if found.get(key) != data]
    wrong += [f"{key} holds what nobody wrote" for key in found if found[key] not in tried[key]]
    wrong += [f"{key} was there and is gone" for key in tried if key not in found and tried[key][0] is not None]
    return disk, wrong


def calls_of_a_whole_run(folder: Path) -> int:
    disk, wrong = run(folder, 0)
    assert wrong == []
    return disk.calls


def test_a_crash_before_any_call_loses_nothing_acknowledged_and_shows_nothing_half(tmp_path):
    for crash_at in range(calls_of_a_whole_run(tmp_path / "whole") + 1):
        for seed in range(8):
            _, wrong = run(tmp_path / f"{crash_at}-{seed}", seed, crash_at=crash_at)
            assert wrong == [], (crash_at, seed)


def test_a_failed_fsync_loses_nothing_acknowledged(tmp_path):
    syncs = run(tmp_path / "whole", 0)[0].syncs
    for failing in range(1, syncs + 1):
        for seed in range(8):
            _, wrong = run(tmp_path / f"{failing}-{seed}", seed, failing=frozenset({failing}))
            assert wrong == [], (failing, seed)


def test_a_failed_fsync_and_a_crash_lose_nothing_acknowledged(tmp_path):
    whole = calls_of_a_whole_run(tmp_path / "whole")
    chance = random.Random(7)
    for seed in range(150):
        options = {"crash_at": chance.randrange(whole + 6), "failing": frozenset(chance.sample(range(1, 20), 2))}
        _, wrong = run(tmp_path / str(seed), seed, **options)
        assert wrong == [], (seed, options)


@pytest.mark.parametrize("lie", ["sync", "sync_folder"])
def test_a_disk_that_lies_is_found_out(tmp_path, lie):
    assert any(run(tmp_path / str(seed), seed, lies=(lie,))[1] for seed in range(20)), "the simulation has no teeth"


def test_a_failed_fsync_that_is_simply_repeated_would_be_found_out(tmp_path):
    class Repeating(CrashDisk):
        def sync(self, descriptor):
            try:
                super().sync(descriptor)
            except OSError:
                super().sync(descriptor)

    for seed in range(20):
        root = tmp_path / str(seed)
        (root / "store").mkdir(parents=True)
        disk = Repeating(root / "store", failing=frozenset({1}))
        LocalBackend(root / "store", disk).put("a", [b"0123456789"])
        if disk.survive(random.Random(seed), root / "after").get("a") != b"0123456789":
            return
    raise AssertionError("the simulation has no teeth")
