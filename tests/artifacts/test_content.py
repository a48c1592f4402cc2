from __future__ import annotations

import io
import random
import subprocess
import sys
import tracemalloc

import pytest
from blake3 import blake3

import lineart
from lineart.artifacts.collection import NewVersion
from lineart.artifacts.entry import Entry
from lineart.artifacts.manifest import Folder, build
from lineart.storage import recipe
from lineart.storage.errors import InvalidName, NotFound
from lineart.storage.pack import PackKind

MIB = 1 << 20
LARGE = blake3(b"large").digest(length=5 * MIB + 123)
FILES = {"a": b"alpha", "empty": b"", "sub/large": LARGE, "sub/x": b"1", "sub/deep/y": b"22"}


@pytest.fixture
def version(log):
    return log(files=FILES)


def test_bytes_are_read_without_a_download(version, tmp_path):
    for path, data in FILES.items():
        assert version.read_bytes(path) == data
        assert version[path].read_bytes() == data
        with version.open(path) as file:
            assert file.read() == data
    assert not (tmp_path / "artifacts").exists()


def test_a_stream_seeks_as_a_file_does(version):
    chooser = random.Random(7)
    with version.open("sub/large") as file, io.BytesIO(LARGE) as model:
        assert file.seekable()
        assert file.readable()
        assert not file.writable()
        for _ in range(60):
            whence = chooser.choice([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])
            offset = chooser.randint(-len(LARGE) // 3, len(LARGE))
            try:
                expected = model.seek(offset, whence) if whence == io.SEEK_SET or offset >= 0 else None
            except ValueError:
                expected = None
            if expected is None:
                continue
            assert file.seek(offset, whence) == expected
            size = chooser.choice([0, 1, 100, MIB, 3 * MIB])
            assert file.read(size) == model.read(size)
            assert file.tell() == model.tell()


def test_a_seek_that_means_nothing_is_a_value_error(version):
    with version.open("a") as file:
        for arguments in ((-1,), (-10, io.SEEK_END), (0, 7)):
            with pytest.raises(ValueError, match=r"seek|whence"):
                file.seek(*arguments)
        file.seek(1000)
        assert file.read() == b""


def test_a_stream_reads_lines(store, log):
    log("lines", {"t": b"one\ntwo\n"})
    with io.TextIOWrapper(store.artifact("lines").open("t")) as text:
        assert list(text) == ["one\n", "two\n"]


def test_what_is_not_a_file_says_so(version):
    for read in (version.read_bytes, version.open, version.__getitem__):
        with pytest.raises(NotFound, match="'sub' is a folder"):
            read("sub")
        with pytest.raises(NotFound, match="'nothing' not found"):
            read("nothing")
        with pytest.raises((NotFound, InvalidName)):
            read("../a")


def test_files_come_lazily_in_order_and_by_prefix(version):
    assert [one.path for one in version.files()] == sorted(FILES)
    assert [one.path for one in version.files("sub/deep")] == ["sub/deep/y"]
    assert [(one.path, one.size) for one in version.files("a")] == [("a", 5)]
    assert next(version.files()).digest.hex() == blake3(b"alpha").hexdigest()
    with pytest.raises(NotFound, match="it holds a, empty, sub/"):
        next(version.files("su"))


def test_one_level_can_be_listed(version):
    content = version._held().content
    names = [one.name if isinstance(one, Folder) else one.path for one in content.children("sub")]
    assert names == ["deep", "sub/large", "sub/x"]


def log_what_is_hostile(store):
    """Log a version of a few kilobytes whose one file is said to have millions of chunks."""
    with store.engine.session() as session:

        def put(data, kind=PackKind.META):
            digest = blake3(data).digest()
            session.put(digest, data, kind)
            return digest

        wide = recipe.MAX_ITEMS
        low = put(recipe.encode(recipe.Recipe(0, [(put(b"z", PackKind.DATA), 1)] * wide)))
        top = put(recipe.encode(recipe.Recipe(1, [(low, wide)] * 64)))
        entry = Entry("big", 0, wide * 64, bytes(32), top, executable=False, external=None)
        root = build([entry], lambda _, page: put(page))
        session.flush()
        new = NewVersion(root.digest, root.size, root.entries, None, {})
        store.catalog.log("p", "evil", "t", new, session)


def test_a_file_that_is_said_to_have_millions_of_chunks_is_opened_in_little_memory(store):
    log_what_is_hostile(store)
    tracemalloc.start()
    with store.artifact("evil").open("big") as file:
        assert file.read(1) == b"z"
        file.seek(-1, io.SEEK_END)
        assert file.read() == b"z"
    assert tracemalloc.get_traced_memory()[1] < 48 * MIB
    tracemalloc.stop()


CHECK = """
import re, sys
from pathlib import Path
import lineart
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10
with lineart.open(sys.argv[1], project="p") as store:
    assert store.check(journal=True).problems == []  # of another store: all that is imported is
with lineart.open(sys.argv[2], project="p") as store:
    before = peak()
    assert store.check().problems == []
print(peak() - before)
"""


@pytest.mark.slow
def test_a_check_of_a_file_that_is_said_to_have_millions_of_chunks_takes_little_memory(tmp_path, make):
    """In a process of its own, whose peak the system knows: counting each allocation takes five times as long."""
    with lineart.create(tmp_path / "sound", project="p") as store:
        store.log(make())
    with lineart.create(tmp_path / "hostile", project="p") as store:
        log_what_is_hostile(store)
    command = [sys.executable, "-c", CHECK, tmp_path / "sound", tmp_path / "hostile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 96
