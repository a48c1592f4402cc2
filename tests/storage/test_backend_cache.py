"""Keeping copies on this machine: few requests, right bytes whatever the folder holds, and a bound."""

from __future__ import annotations

import errno
import logging
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lineart.storage.backends.base import Backend
from lineart.storage.backends.blocks import BlockFolder, PrivateDisk, _read
from lineart.storage.backends.cache import CachingBackend
from lineart.storage.backends.local import LocalBackend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.backends.retry import RetryingBackend
from lineart.storage.errors import NotFound, StoreUnavailable
from lineart.storage.layout import pack_key

BLOCK = 1000
HEAD = 96  # bytes of a block's file before its content
KEY = pack_key(1, bytes(range(16)))
OTHER = pack_key(2, bytes(range(1, 17)))
CONTENT = random.Random(3).randbytes(5 * BLOCK + 300)
LARGE = 1 << 30


class Place(MemoryBackend):
    """A place that notes what is asked of it; `on` is called before each read takes place."""

    def __init__(self):
        super().__init__("place")
        self.asked = []
        self.on = lambda start: None

    def get(self, key, start=0, length=None):
        self.asked.append((start, length))
        self.on(start)
        return super().get(key, start, length)

    def size(self, key):
        self.asked.append("size")
        return super().size(key)


@pytest.fixture
def place():
    made = Place()
    made.put(KEY, [CONTENT])
    return made


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "blocks"


@pytest.fixture
def over(folder):
    def make(inner, size=LARGE, **options):
        return CachingBackend(inner, BlockFolder(folder, size, block=BLOCK, **options))

    return make


def files_of(folder):
    return sorted(path for path in folder.glob("*/*/*"))


def file_of(folder, number):
    (found,) = folder.glob(f"*/*/{number}")
    return found


# The contract


def test_it_keeps_the_contract_even_where_everything_is_kept(clause, folder):
    clause(CachingBackend(MemoryBackend(), BlockFolder(folder, LARGE, block=1 << 17), keeps=lambda key: True))


def test_it_keeps_the_contract_while_every_fourth_operation_fails(clause, folder, faults):
    failing = faults.FaultBackend(MemoryBackend(), dict.fromkeys(range(1, 1000, 4), faults.Fault.UNREACHABLE))
    patient = RetryingBackend(failing, sleep=lambda seconds: None)
    clause(CachingBackend(patient, BlockFolder(folder, LARGE, block=1 << 17), keeps=lambda key: True))


def test_it_keeps_the_contract_where_nothing_can_be_kept(clause, folder):
    folder.write_bytes(b"no folder")
    clause(CachingBackend(MemoryBackend(), BlockFolder(folder, LARGE), keeps=lambda key: True))


# Requests


def test_what_was_read_once_is_not_asked_for_again(place, over):
    backend = over(place)
    assert backend.get(KEY, 1500, 2000) == CONTENT[1500:3500]
    assert place.asked == [(1000, 3000)]
    for start, length in [(1500, 2000), (1000, 3000), (1999, 2), (3999, 1)]:
        assert backend.get(KEY, start, length) == CONTENT[start : start + length]
    assert over(place).get(KEY, 1000, 10) == CONTENT[1000:1010], "another backend finds it, too"
    assert len(place.asked) == 1


def test_each_run_of_missing_blocks_is_one_request(place, over):
    backend = over(place)
    backend.get(KEY, 2000, 1)
    place.asked.clear()
    assert backend.get(KEY, 10, 4500) == CONTENT[10:4510]
    assert place.asked == [(0, 2000), (3000, 2000)]


def test_any_range_is_what_the_place_has_whatever_was_read_before(place, over):
    chance = random.Random(5)
    for _ in range(30):
        backend = over(place)
        for _ in range(12):
            start, length = chance.randrange(7000), chance.choice([None, 1, 999, 1000, chance.randrange(1, 7000)])
            end = None if length is None else start + length
            assert backend.get(KEY, start, length) == CONTENT[start:end], (start, length)
        backend.blocks.prune(chance.randrange(5000))


@pytest.mark.parametrize("size", [0, 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 1])
def test_an_object_of_any_size_is_read_whole_once(over, size):
    place = Place()
    place.put(KEY, [CONTENT[:size]])
    backend = over(place)
    assert [backend.get(KEY) for _ in range(2)] == [CONTENT[:size]] * 2
    assert backend.get(KEY, 0, 5000) == CONTENT[:size]
    assert backend.get(KEY, size, 10) == b""
    assert place.asked == [(0, None)]


def test_reading_near_the_end_asks_for_no_size(place, over):
    backend = over(RetryingBackend(place))
    assert backend.get(KEY, 5100, 200) == CONTENT[5100:]
    assert place.asked == [(5000, 1000)]


def test_an_end_that_was_met_is_known_from_then_on(place, over):
    backend = over(RetryingBackend(place))
    assert backend.get(KEY, 5000, 1000) == CONTENT[5000:]
    place.asked.clear()
    assert backend.get(KEY, 5299, 4000) == CONTENT[5299:]
    assert backend.get(KEY, 5900, 10) == b""
    assert backend.get(KEY, 5000) == CONTENT[5000:]
    assert place.asked == []


@pytest.mark.parametrize("first", [(0, 400), (0, 900), (0, 1000), (0, None)])
def test_an_answer_that_broke_off_is_never_taken_for_the_objects_end(over, faults, first):
    inner = MemoryBackend()
    inner.put(KEY, [CONTENT])
    broken = faults.FaultBackend(inner, {1: faults.Fault.TRUNCATE})
    backend = over(RetryingBackend(broken, sleep=lambda seconds: None))
    if first[1] is not None:  # of a read to the end nobody can tell but whoever verifies it
        assert backend.get(KEY, *first) == CONTENT[: first[1]]
        assert backend.get(KEY, 0, 2500) == CONTENT[:2500]
    else:
        backend.get(KEY)
        backend.refresh(KEY)
    assert backend.get(KEY) == CONTENT


def test_only_packs_are_kept(over, folder):
    inner = MemoryBackend()
    for key in ("lineart.json", "journal/00000000/x.jsonl", "packs/aa/foreign.txt"):
        inner.put(key, [b"one"])
        assert over(inner).get(key) == b"one"
        inner.put(key, [b"two"])
        assert over(inner).get(key, 0, 3) == b"two"
    assert not folder.exists()


def test_everything_but_reading_is_asked_of_the_place(place, over):
    backend = over(place)
    backend.get(KEY, 0, 10)
    MemoryBackend.delete(place, [KEY])
    with pytest.raises(NotFound):
        backend.size(KEY)
    assert list(backend.list("")) == []
    assert backend.origin is place
    with pytest.raises(NotFound):
        backend.get(KEY, 4000, 1)


@pytest.mark.parametrize(
    "forget", [lambda b: b.delete([KEY]), lambda b: b.put(KEY, [b"new"]), lambda b: b.refresh(KEY)]
)
def test_what_was_deleted_written_or_proved_wrong_is_forgotten(place, over, folder, forget):
    backend = over(place)
    backend.get(KEY)
    assert files_of(folder)
    forget(backend)
    assert not files_of(folder)


def test_a_retrying_backend_passes_on_what_proved_wrong(place, over, folder):
    backend = RetryingBackend(over(place))
    backend.get(KEY)
    backend.refresh(KEY)
    assert not files_of(folder)


def test_unfinished_files_of_the_place_are_seen_and_removed_through_it(tmp_path, over):
    local = LocalBackend(tmp_path / "place")
    local.put(KEY, [b"x"])
    left = (tmp_path / "place" / KEY).with_name(".tmp-1-left")
    left.write_bytes(b"")
    backend = over(local)
    (found,) = backend.unfinished()
    backend.discard([found])
    assert not left.exists()


# Threads and processes


def test_two_threads_that_read_on_from_one_another_ask_for_no_block_twice(place, over):
    backend = over(place)
    arrived, go_on = threading.Barrier(3), threading.Event()

    def hold(start):
        arrived.wait(10)
        assert go_on.wait(10)

    place.on = hold
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(backend.get, KEY, 0, 2500)
        while not place.asked:
            time.sleep(0.001)
        second = pool.submit(backend.get, KEY, 2500, 2500)
        arrived.wait(10)  # both have asked, so neither waits for the other first
        go_on.set()
        assert (first.result(), second.result()) == (CONTENT[:2500], CONTENT[2500:5000])
    assert sorted(place.asked) == [(0, 3000), (3000, 2000)]


def test_who_waited_for_a_thread_that_failed_asks_by_itself(place, over):
    backend = over(place)
    asked, fail = threading.Event(), threading.Event()

    def once(start):
        place.on = lambda start: None
        asked.set()
        assert fail.wait(10)
        raise StoreUnavailable("injected")

    place.on = once
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(backend.get, KEY, 0, 500)
        assert asked.wait(10)
        second = pool.submit(backend.get, KEY, 0, 700)
        fail.set()
        assert second.result() == CONTENT[:700]
        with pytest.raises(StoreUnavailable, match="injected"):
            first.result()
    assert backend.get(KEY, 0, 1000) == CONTENT[:1000]


def test_a_child_process_waits_for_no_thread_of_its_parent(place, over):
    backend = over(place)
    backend._fetching[KEY, 0] = threading.Event()  # as a thread that is fetching just now would
    backend.blocks._lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if backend.get(KEY, 0, 10) == CONTENT[:10] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_reads_are_right_while_others_empty_the_folder(place, over):
    backend = over(place)
    done = threading.Event()

    def empty():
        while not done.is_set():
            BlockFolder(Path(backend.blocks.path), LARGE, block=BLOCK).prune(0)

    def read(seed):
        chance = random.Random(seed)
        for _ in range(150):
            start = chance.randrange(5000)
            assert backend.get(KEY, start, 1200) == CONTENT[start : start + 1200]

    with ThreadPoolExecutor(4) as pool:
        emptying = pool.submit(empty)
        try:
            list(pool.map(read, range(3)))
        finally:
            done.set()
        emptying.result()
    assert backend.blocks.usable


PROGRAM = """
import random, sys
from pathlib import Path
from lineart.storage.backends.blocks import BlockFolder
from lineart.storage.backends.cache import CachingBackend
from lineart.storage.backends.local import LocalBackend

class Counting(LocalBackend):
    requests = 0
    def get(self, *args):
        Counting.requests += 1
        return super().get(*args)

place, folder, key, size, seed = sys.argv[1:]
inner = Counting(Path(place))
whole = LocalBackend(Path(place)).get(key)
backend = CachingBackend(inner, BlockFolder(Path(folder), int(size), block=1000))
chance = random.Random(int(seed))
for _ in range(200):
    start, length = chance.randrange(5300), chance.randrange(1, 3000)
    assert backend.get(key, start, length) == whole[start : start + length]
assert backend.blocks.usable
print(Counting.requests)
"""


def start(tmp_path, folder, size, seed):
    target = tmp_path / "place" / KEY
    if not target.exists():
        target.parent.mkdir(parents=True)
        target.write_bytes(CONTENT)
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "place"), str(folder), KEY, str(size), str(seed)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_a_process_finds_what_another_has_read(tmp_path, folder):
    first, _ = start(tmp_path, folder, LARGE, 1).communicate(timeout=60)
    second, _ = start(tmp_path, folder, LARGE, 2).communicate(timeout=60)
    assert 0 < int(first) <= 6
    assert int(second) == 0


def test_processes_that_share_too_small_a_folder_read_right_and_keep_to_its_bound(tmp_path, folder):
    size = 5 * (BLOCK + HEAD)
    running = [start(tmp_path, folder, size, seed) for seed in range(4)]
    for one in running:
        one.communicate(timeout=120)
    assert [one.returncode for one in running] == [0] * 4
    assert BlockFolder(folder, size, block=BLOCK).usage().size <= size + len(running) * (BLOCK + HEAD)


# What may be wrong with a file


def flip(at):
    def change(path):
        raw = bytearray(path.read_bytes())
        raw[at] ^= 1
        path.write_bytes(raw)

    return change


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def enlarge(path):
    path.write_bytes(path.read_bytes() + bytes(BLOCK))


def swap(path):
    path.write_bytes(path.with_name("0").read_bytes())


def link(path):
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


WRONG = {
    **{f"bit {at}": flip(at) for at in (0, 8, 40, 44, 48, 56, 60, 64, HEAD, HEAD + BLOCK - 1)},
    **{f.__name__: f for f in (shorten, empty, enlarge, swap, link, make_folder, make_pipe)},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_not_the_block_is_a_miss_and_is_replaced(place, over, folder, wrong):
    backend = over(place)
    backend.get(KEY)
    place.asked.clear()
    WRONG[wrong](file_of(folder, 2))
    assert backend.get(KEY, 0, 5300) == CONTENT
    assert place.asked == [(2000, 1000)]
    assert backend.get(KEY) == CONTENT
    assert len(place.asked) == 1
    assert backend.blocks.usable
    assert not file_of(folder, 2).is_symlink()


def test_a_folder_or_a_pipe_of_the_right_size_is_no_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert _read(str(tmp_path), 0, LARGE, PrivateDisk()) is None
    assert _read(str(tmp_path / "pipe"), 0, LARGE, PrivateDisk()) is None


def test_a_block_of_another_object_is_a_miss(place, over, folder):
    backend = over(place)
    place.put(OTHER, [bytes(3000)])
    backend.get(KEY, 2000, 1000)
    good = file_of(folder, 2).read_bytes()
    backend.refresh(KEY)
    backend.get(OTHER, 2000, 1000)
    path = file_of(folder, 2)
    path.write_bytes(good)
    assert backend.get(OTHER, 2000, 1000) == bytes(1000)


def test_blocks_of_another_size_are_a_miss(place, over, folder):
    over(place).get(KEY)
    assert CachingBackend(place, BlockFolder(folder, LARGE, block=500)).get(KEY, 1200, 900) == CONTENT[1200:2100]


def test_only_the_user_may_look_into_it(place, over, folder):
    before = os.umask(0)
    try:
        over(place).get(KEY)
    finally:
        os.umask(before)
    made = [folder, *folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}


# What may be wrong with the disk


class BadDisk(PrivateDisk):
    """A disk on which one kind of call fails while `number` is set."""

    def __init__(self, call, number=errno.ENOSPC):
        self.call, self.number, self.seen = call, number, 0

    def _meet(self, call):
        if call == self.call:
            self.seen += 1
            raise OSError(self.number, os.strerror(self.number))

    def create(self, path):
        self._meet("create")
        return super().create(path)

    def write(self, descriptor, parts):
        super().write(descriptor, parts[:1])
        self._meet("write")
        super().write(descriptor, parts[1:])

    def rename(self, source, target):
        self._meet("rename")
        super().rename(source, target)

    def make_folder(self, path):
        self._meet("make_folder")
        super().make_folder(path)

    def touch(self, descriptor):
        self._meet("touch")


@pytest.mark.parametrize("call", ["create", "write", "rename", "make_folder"])
def test_a_disk_that_fails_costs_requests_and_one_word(place, over, folder, caplog, call):
    disk = BadDisk(call)
    backend = over(place, disk=disk)
    with caplog.at_level(logging.WARNING, "lineart"):
        assert backend.get(KEY, 0, 2500) == CONTENT[:2500]
        place.asked.clear()
        assert backend.get(KEY, 10, 2500) == CONTENT[10:2510]
    assert place.asked == [(10, 2500)], "what is left alone is not rounded out for"
    assert disk.seen == 1
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text
    assert files_of(folder) == []


@pytest.mark.parametrize("what", ["file", "dangling", "outer", "lock"])
def test_a_hostile_folder_costs_requests_only(place, over, folder, what):
    probe = over(place)
    inner = Path(probe.blocks._folder(KEY))
    if what == "file":
        folder.write_bytes(b"")
    elif what == "dangling":
        folder.symlink_to("nowhere")
    elif what == "outer":
        inner.parent.parent.mkdir(parents=True)
        inner.parent.write_bytes(b"")
    else:
        (folder / "lock").mkdir(parents=True)
    for _ in range(2):
        assert over(place).get(KEY, 0, 2500) == CONTENT[:2500]
        assert over(place).get(KEY) == CONTENT
        over(place).refresh(KEY)


@pytest.mark.parametrize("call", ["create", "touch"])
def test_a_folder_that_can_only_be_read_serves_what_it_has(place, over, folder, call):
    over(place).get(KEY, 0, 2000)
    place.asked.clear()
    for path in files_of(folder):
        age(path, 5)
    backend = over(place, disk=BadDisk(call, errno.EROFS))
    assert backend.get(KEY, 500, 1000) == CONTENT[500:1500]
    assert backend.blocks.usable
    assert place.asked == []


# The bound


def test_it_never_holds_more_than_its_size(place, over, folder):
    size = 20 * (BLOCK + HEAD)
    backend = over(place, size)
    for number in range(60):
        key = pack_key(1, bytes([number]) * 16)
        place.put(key, [CONTENT])
        backend.get(key, 0, 1000 * (1 + number % 5))
        assert backend.blocks.usage().size <= size
    assert backend.blocks.usage().size >= size // 2, "and it makes use of it"


def age(path, hours):
    os.utime(path, (time.time() - 3600 * hours,) * 2)


def test_what_was_used_longest_ago_goes_first(place, over, folder):
    backend = over(place)
    backend.get(KEY)
    for number, hours in enumerate([5, 2, 6, 3, 4, 7]):
        age(file_of(folder, number), hours)
    assert backend.get(KEY, 2000, 1) == CONTENT[2000:2001]  # used now, so it is the last to go
    removed = backend.blocks.prune(3 * (BLOCK + HEAD))
    assert [path.name for path in files_of(folder)] == ["1", "2", "3"]
    assert (removed.blocks, removed.size) == (3, 2 * BLOCK + 300 + 3 * HEAD)


def test_a_block_is_said_to_be_used_once_an_hour(place, over, folder):
    backend = over(place)
    backend.get(KEY, 0, 1000)
    path = file_of(folder, 0)
    for hours, touched in [(0.5, False), (2, True)]:
        age(path, hours)
        before = path.stat().st_mtime
        backend.get(KEY, 0, 1000)
        assert (path.stat().st_mtime != before) is touched


def test_a_size_of_next_to_nothing_keeps_nothing(place, over, folder):
    backend = over(place, 2 * BLOCK)
    assert backend.get(KEY, 10, 1000) == CONTENT[10:1010]
    assert place.asked == [(10, 1000)]
    assert not folder.exists()


def test_files_that_are_not_its_own_are_never_removed(place, over, folder, tmp_path):
    backend = over(place)
    backend.get(KEY)
    own = tmp_path / "own"
    own.mkdir()
    (own / "1").write_bytes(b"mine")
    inner = file_of(folder, 0).parent
    foreign = [folder / "notes.txt", folder / "thesis" / "1", inner / "readme", folder / "ab" / "short" / "1"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    (folder / "ab" / ("c" * 32)).symlink_to(own)
    backend.blocks.prune(0)
    assert all(path.exists() for path in [*foreign, own / "1"])
    assert backend.blocks.usage().size == 0


def test_what_an_interrupted_write_left_is_counted_and_goes(place, over, folder):
    backend = over(place)
    backend.get(KEY, 0, 1000)
    left = file_of(folder, 0).with_name(".tmp-1-x")
    left.write_bytes(bytes(500))
    age(left, 9)
    assert backend.blocks.usage().size == 500 + BLOCK + HEAD
    backend.blocks.prune(BLOCK + HEAD)
    assert [path.name for path in files_of(folder)] == ["0"]


def test_while_another_process_makes_room_a_read_goes_on(place, over):
    backend = over(place)
    backend.get(KEY, 0, 10)
    other = over(place, 2 * (BLOCK + HEAD))
    with BlockFolder(Path(backend.blocks.path), LARGE)._alone(2):
        assert other.get(KEY) == CONTENT


def test_a_backend_that_keeps_no_copies_is_the_place_itself():
    class Plain(MemoryBackend):
        pass

    plain: Backend = Plain()
    assert plain.origin is plain
    plain.put("a", [b"abc"])
    assert plain.get_at_most("a", 1, 10) == b"bc"
    plain.refresh("a")
