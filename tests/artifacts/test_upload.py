from __future__ import annotations

import os
import shutil
import threading

import pytest
from blake3 import blake3

import lineart
from lineart.artifacts.prepare import BUFFER, ROOM, prepare
from lineart.artifacts.recall import Recall
from lineart.artifacts.source import BytesSource, file_source
from lineart.artifacts.stat_cache import StatCache
from lineart.artifacts.upload import BATCH, WINDOW, upload
from lineart.storage import recipe
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.chunking import Cutter
from lineart.storage.errors import LineartError, SourceChanged, StoreUnavailable
from lineart.storage.rooms import Room

MIB = 1 << 20
NOTHING = Recall(StatCache(None), {})
LONG = (WINDOW + 3) * BUFFER  # a file that is still being read when the first of it is done


def noise(size, seed=b"0"):
    return blake3(seed).digest(length=size)


def sources(*datas):
    return [(f"{number:06d}", BytesSource(data)) for number, data in enumerate(datas)]


def uploaded(store, given, progress=None):
    with store.engine.session() as session:
        entries = list(upload(given, session, store.engine.marker.chunking, NOTHING, progress))
        session.flush()
        store.engine.write(session.commit)
    return entries, session


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER + 7])
@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_a_digest_is_that_of_the_content_whatever_the_size(store, tmp_path, size, kind):
    data = noise(size)
    (tmp_path / "f").write_bytes(data)
    source = BytesSource(data) if kind == "bytes" else file_source(str(tmp_path / "f"), (tmp_path / "f").stat())
    ((entry,), _) = uploaded(store, [("f", source)])
    assert (entry.size, entry.digest) == (size, blake3(data).digest())
    pieces = []
    if entry.recipe is not None:
        pieces = list(recipe.walk(entry.recipe, size, store.engine.chunks.get))
        assert len(pieces) > 1
    elif size:
        pieces = [(entry.digest, size)]
    assert b"".join(store.engine.chunks.get(digest) for digest, _ in pieces) == data
    if size <= MIB:
        assert entry.recipe is None


def test_entries_come_in_the_order_of_the_sources(store):
    datas = [noise(size, bytes([size % 251])) for size in (5, 3 * MIB, 1, 0, 2 * MIB, 100, 9 * MIB)]
    entries, _ = uploaded(store, sources(*datas))
    assert [entry.digest for entry in entries] == [blake3(data).digest() for data in datas]
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)


def test_more_small_files_than_a_batch_holds(store):
    entries, session = uploaded(store, sources(*(str(number).encode() for number in range(2 * BATCH + 3))))
    assert len(entries) == session.new_chunks == 2 * BATCH + 3


def test_equal_content_is_stored_once(store):
    same, large = noise(1000), noise(5 * MIB, b"x")
    _, first = uploaded(store, sources(same, same, large, large, same))
    _, second = uploaded(store, sources(large, same))
    assert first.new_bytes < 5 * MIB + 20_000
    assert (second.new_chunks, second.new_bytes) == (0, 0)


def test_a_file_that_is_known_as_a_file_of_one_chunk_needs_no_recipe_twice(store):
    zeros = bytes(20 * MIB)
    _, first = uploaded(store, sources(zeros))
    assert first.new_bytes < MIB
    _, second = uploaded(store, sources(zeros, zeros + b"1"))
    assert second.new_bytes < MIB


def test_progress_adds_up_to_all_files_and_all_bytes(store):
    seen = []
    datas = [b"", b"abc", noise(3 * MIB), noise(BUFFER * 2 + 5)]
    uploaded(store, sources(*datas), lambda files, size: seen.append((files, size)))
    assert tuple(map(sum, zip(*seen, strict=True))) == (4, sum(map(len, datas)))


def test_the_executable_bit_is_kept(store, tmp_path):
    for name, mode in (("run", 0o755), ("data", 0o644)):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / name).chmod(mode)
    draft = lineart.Artifact("x")
    draft.add_dir(tmp_path, ignore="*.db*")
    store.log(draft)
    got = store.artifact("x").download(tmp_path / "out")
    assert os.access(got / "run", os.X_OK)
    assert not (got / "data").stat().st_mode & 0o111


# A file that is not what was added

SIZES = {"empty": 0, "small": 1000, "large": LONG}


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path):
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path):
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"changed")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # the clock of some disks ticks slowly


def replace_by_a_twin(path):
    before = path.stat()
    twin = path.with_name("twin")
    twin.write_bytes(path.read_bytes())
    os.utime(twin, ns=(before.st_atime_ns, before.st_mtime_ns))
    twin.replace(path)


def replace(path, make):
    path.unlink()
    make(path)


CHANGES = {
    "grows": grow,
    "shrinks": shrink,
    "is rewritten": rewrite,
    "is replaced by a twin": replace_by_a_twin,
    "vanishes": lambda path: path.unlink(),
    "becomes a fifo": lambda path: replace(path, os.mkfifo),
    "becomes a folder": lambda path: replace(path, os.mkdir),
    "becomes a device": lambda path: replace(path, lambda p: p.symlink_to("/dev/zero")),
    "becomes a loop": lambda path: replace(path, lambda p: p.symlink_to(p.name)),
    "becomes a link to nothing": lambda path: replace(path, lambda p: p.symlink_to("nowhere")),
    "loses its folder": lambda path: (shutil.rmtree(path.parent), path.parent.touch()),
}


@pytest.fixture
def added(tmp_path):
    """A function that makes a file and a draft of it."""

    def make(size):
        path = tmp_path / "in" / "file"
        path.parent.mkdir()
        with path.open("wb") as file:
            file.truncate(size)
        draft = lineart.Artifact("x")
        draft.add_file(path)
        return path, draft

    return make


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_between_add_and_log_is_named_and_nothing_is_logged(store, added, size, change):
    if (size, change) == ("empty", "shrinks"):
        change = "grows"
    path, draft = added(SIZES[size])
    CHANGES[change](path)
    with pytest.raises(SourceChanged, match=r"in/file changed since it was added"):
        store.log(draft)
    assert store.collections() == []
    assert draft.state == "draft"


def test_a_socket_put_in_a_files_place_does_not_hang(store, added, special):
    path, draft = added(0)
    path.unlink()
    special("socket", path)
    with pytest.raises(SourceChanged):
        store.log(draft)


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_logged_is_named(store, added, change):
    path, draft = added(LONG)
    changed = threading.Event()

    def progress(files, size):
        if not changed.is_set():
            changed.set()
            CHANGES[change](path)

    store.watch = lambda what: progress
    with pytest.raises(SourceChanged, match="in/file"):
        store.log(draft)
    assert changed.is_set()
    assert store.collections() == []
    store.watch = None
    assert store.check(read_data=True).clean


@pytest.mark.parametrize("change", ["vanishes", "becomes a fifo", "is replaced by a twin"])
def test_a_file_whose_name_is_taken_away_while_it_is_read_is_still_what_was_added(store, added, change):
    path, draft = added(LONG)
    changed = threading.Event()

    def progress(files, size):
        if not changed.is_set():
            changed.set()
            CHANGES[change](path)

    store.watch = lambda what: progress
    logged = store.log(draft)
    assert logged["file"].digest == blake3(bytes(LONG)).digest()


def test_a_file_that_changes_after_another_was_read_is_named(store, tmp_path):
    def given():
        for number in range(BATCH + 2):
            (tmp_path / f"{number:04d}").write_bytes(b"x")
            path = tmp_path / f"{number:04d}"
            yield f"{number:04d}", file_source(str(path), path.stat())
            if number == 1:
                grow(path)

    with store.engine.session() as session, pytest.raises(SourceChanged, match="0001"):
        list(upload(given(), session, store.engine.marker.chunking, NOTHING))


def test_what_a_backend_still_holds_of_a_file_is_never_written_over(new_store, tmp_path):
    kept = []

    class Keeping(MemoryBackend):
        def put(self, key, parts):
            kept.append((parts, [bytes(part) for part in parts]))
            super().put(key, parts)

    store = new_store(Keeping())
    data = noise(160 * MIB)
    (tmp_path / "f").write_bytes(data)
    ((entry,), _) = uploaded(store, [("f", file_source(str(tmp_path / "f"), (tmp_path / "f").stat()))])
    assert entry.digest == blake3(data).digest()
    views = [part for parts, _ in kept for part in parts if type(part) is memoryview and type(part.obj) is Room]
    assert sum(map(len, views)) > 100 * MIB
    assert all([bytes(part) for part in parts] == before for parts, before in kept)


def test_little_that_is_new_in_a_file_does_not_keep_all_of_it_in_memory(store, tmp_path):
    data = bytearray(noise(40 * MIB))
    uploaded(store, [("f", BytesSource(bytes(data)))])
    with store.engine.session() as session:
        for start in range(0, len(data), BUFFER):
            data[start + MIB : start + MIB + 9] = b"different"
            pieces = Cutter().feed(Room(bytes(ROOM) + data[start : start + BUFFER]), ROOM)
            prepared = prepare(pieces, session)
            assert prepared.new
            assert {type(one.data) for one in prepared.new} == {bytes}
        assert type(prepare(Cutter().feed(Room(ROOM + BUFFER), ROOM), session).new[0].data) is bytes, "compressed"
        whole = prepare(Cutter().feed(Room(bytes(ROOM) + noise(BUFFER, b"new")), ROOM), session)
        assert {type(one.data) for one in whole.new} == {memoryview}


def test_what_a_failed_log_had_uploaded_is_found_by_the_next(new_store, hooked, tmp_path, make):
    store = new_store(hooked)
    data = noise(40 * MIB)
    failing = make(files={"a": data})
    sent = []

    def on_put(key):
        sent.append(key)
        if key.startswith("meta"):
            raise StoreUnavailable("injected")

    hooked.on_put = on_put
    with pytest.raises(StoreUnavailable):
        store.log(failing)
    assert store.collections() == []
    assert any(key.startswith("packs") for key in sent)
    hooked.on_put = None
    before = sum(info.size for info in hooked.list("packs/"))
    logged = store.log(failing)  # the draft is as it was
    assert sum(info.size for info in hooked.list("packs/")) == before
    assert logged.read_bytes("a") == data
    assert store.check(read_data=True).clean


@pytest.mark.parametrize("place", ["packs/", "meta/", "journal/"])
def test_a_bucket_that_cannot_be_written_stops_the_log_and_no_thread_is_left(new_store, hooked, make, place):
    store = new_store(hooked)
    threads = set(threading.enumerate())

    def on_put(key):
        if key.startswith(place):
            raise StoreUnavailable(f"{key}: the bucket is read-only")

    hooked.on_put = on_put
    with pytest.raises(LineartError, match="read-only"):
        store.log(make(files={"a": noise(2 * MIB), "b": b"1"}))
    assert {one for one in threading.enumerate() if one not in threads and not one.daemon} == set()
    hooked.on_put = None
    assert store.log(make(files={"a": noise(2 * MIB), "b": b"1"})).version == "v0"
    assert store.check(read_data=True).clean


def test_data_is_durable_before_pages_and_pages_before_the_version(new_store, hooked, make):
    store = new_store(hooked)
    order = []
    hooked.on_put = lambda key: order.append((key.split("/")[0], len(store.catalog.collections("p"))))
    store.log(make(files={"a": noise(3 * MIB)}))
    kinds = [kind for kind, _ in order]
    assert kinds == sorted(kinds, key=["packs", "meta", "journal"].index)
    assert {versions for kind, versions in order if kind != "journal"} == {0}
