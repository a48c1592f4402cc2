"""A disk that fills up at any write: of the bucket's folder, of the database, of the place that is downloaded to.

Each ends in one error that says so; with room again the store is clean, holds what it promised, and goes on.
"""

import errno
import itertools
import os
import subprocess
import sys
from datetime import timedelta
from random import Random

import pytest
import sqlalchemy

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.disk import Disk
from lineart.storage.backends.local import LocalBackend
from lineart.storage.engine import Engine
from lineart.storage.errors import StoreUnavailable
from lineart.store import FOLDS, Store

pytestmark = pytest.mark.slow

NOISE = Random(3).randbytes(200_000)
FILES = {f"many/{n}": NOISE[n * 100 : n * 100 + 900] for n in range(250)} | {"one": NOISE}


class Filling(Disk):
    """A disk with room for so many more bytes; what does not fit is written in part, as on a real one."""

    def __init__(self):
        self.room = None

    def create(self, path):
        if self.room is not None and self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return super().create(path)

    def write(self, descriptor, parts):
        whole = b"".join(parts)
        if self.room is None or len(whole) <= self.room:
            super().write(descriptor, [whole])
            self.room = None if self.room is None else self.room - len(whole)
            return
        super().write(descriptor, [whole[: self.room]])
        self.room = 0
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Place:
    """A store of one version in a folder, on a disk that can be filled."""

    def __init__(self, folder, put_blank):
        self.folder = folder
        self.disk = Filling()
        self.database = f"sqlite:///{folder}/store.db"
        folder.mkdir()
        put_blank(self.backend(), folder / "store.db")
        with self.open() as store:
            self.log(store, "first", {"a": b"a" * 5000})

    def backend(self):
        return LocalBackend(self.folder / "store", self.disk)

    def open(self):
        engine = Engine.open(self.backend(), self.database, actor="ann", folds=FOLDS)
        return Store(engine, Settings(str(self.folder / "store"), None, "p", self.folder / "downloads"))

    @staticmethod
    def log(store, name, files):
        draft = Artifact(name, type="data")
        for path, content in files.items():
            draft.add_bytes(content, path)
        return store.log(draft)

    def work(self, store):
        """Write in every way that there is."""
        self.log(store, "second", FILES)
        store.promote("second:v0", "best")
        store.delete("first:v0")
        store.gc(grace=timedelta(0))

    def try_to_work(self, store):
        """Do it as far as it goes; what ended it, if anything did."""
        try:
            self.work(store)
        except StoreUnavailable as error:
            return error
        return None

    def require_sound(self, *, second):
        with self.open() as store:
            assert store.check(read_data=True).problems == []
            for collection in store.collections():
                for one in store.versions(collection.name):
                    if one.state == "live":
                        found = {e.path: e.read_bytes() for e in store.artifact(f"{collection.name}:v0").files()}
                        assert found == ({"a": b"a" * 5000} if collection.name == "first" else FILES)
            if second:
                assert store.resolve("second:v0").file_count == len(FILES)


def test_a_folder_that_fills_up_at_any_byte_loses_nothing(tmp_path, put_blank):
    seen = set()
    for room in itertools.chain(range(0, 3000, 700), itertools.count(3000, 40_000)):
        place = Place(tmp_path / f"{room}", put_blank)
        place.disk.room = room
        with place.open() as store:
            error = place.try_to_work(store)
        place.disk.room = None
        if error is None:
            break
        assert "the disk is full: free some space and try again" in str(error)
        assert not error.transient
        seen.add(room)
        with place.open() as store:
            assert list(store.engine.backend.unfinished()) == [], "what did not fit is removed at once"
        place.require_sound(second=False)
        with place.open() as store:
            place.work(store)
        place.require_sound(second=True)
    assert len(seen) > 6


def limit(database, pages):
    """Let a SQLite file grow by so many pages, on every connection; None for no limit."""

    def take(raw, *_):
        count = raw.execute("PRAGMA page_count").fetchone()[0] if pages is not None else 0
        database.allowed = getattr(database, "allowed", None) or count + (pages or 0)
        raw.execute(f"PRAGMA max_page_count={database.allowed if pages is not None else 1 << 30}")

    sqlalchemy.event.listen(database._engine, "checkout", take)
    return lambda: sqlalchemy.event.remove(database._engine, "checkout", take)


def test_a_database_whose_disk_fills_up_at_any_page_loses_nothing(tmp_path, put_blank):
    full = 0
    for pages in itertools.count():
        place = Place(tmp_path / f"{pages}", put_blank)
        with place.open() as store:
            limit(store.engine.database, pages)
            error = place.try_to_work(store)
        if error is None:
            break
        assert "the space left on the disk" in str(error)
        full += 1
        place.require_sound(second=False)
        with place.open() as store:
            place.work(store)
        place.require_sound(second=True)
    assert full > 2


TIGHT = """
import errno, os, sys
import lineart
from lineart.storage.errors import LineartError
store, out, room = sys.argv[1], sys.argv[2], sys.argv[3]
opened = lineart.open(store)
what = None
try:
    if room == "download":
        opened.artifact("data").download(out)
    else:
        draft = lineart.Artifact("more", type="data")
        draft.add_bytes(os.urandom(8 << 20), "more")
        opened.log(draft)
except LineartError as error:
    what = error
print(type(what).__name__, what)
opened.close()
left = os.statvfs(out if os.path.isdir(out) else os.path.dirname(out))
print("left", left.f_bavail * left.f_frsize)
with lineart.open(store) as again:
    print("problems", again.check(read_data=True).problems, sorted(one.name for one in again.collections()))
"""
NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def can_mount():
    try:
        trial = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/tmp"]
        done = subprocess.run(trial, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this machine lets nobody mount a small disk")
@pytest.mark.parametrize("what", ["download", "log"])
def test_a_real_disk_that_fills_up_is_named_and_nothing_is_left_on_it(tmp_path, what):
    """On a tmpfs of four mebibytes in a namespace of its own, which is gone when the process ends."""
    import lineart

    small = tmp_path / "small"
    small.mkdir()
    with lineart.create(tmp_path / "made") as store:
        draft = Artifact("data", type="data")
        draft.add_bytes(Random(1).randbytes(6 << 20 if what == "download" else 1000), "data")
        store.log(draft)
    place = "made" if what == "download" else "small/made"
    script = (
        'mount -t tmpfs -o size=4m none "$1" && { [ "$2" = download ] || cp -r "$3" "$1/made"; } && shift 3 && "$@"'
    )
    command = [sys.executable, "-c", TIGHT, str(tmp_path / place), str(small / "out"), what]
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script, "sh", str(small), what, str(tmp_path / "made"), *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, left, problems = done.stdout.splitlines()
    assert "No space left on device" in said or "the disk is full" in said, said
    assert not said.startswith("NoneType")
    assert int(left.split()[1]) > 3 << 20, "what did not fit is removed"
    assert problems.startswith("problems [] ['data']"), problems
