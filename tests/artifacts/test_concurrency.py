"""Two at once: processes that log, promote and download against each other, and the memory of a large log."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from random import Random

import pytest

import lineart

pytestmark = pytest.mark.slow

START = """
import sys
import lineart
store = lineart.open(sys.argv[1], database=sys.argv[2] or None)
print("ready", flush=True)
sys.stdin.readline()
"""

LOG = (
    START
    + """
import json
who, count, same = sys.argv[3], int(sys.argv[4]), sys.argv[5] == "same"
got = []
for number in range(count):
    draft = lineart.Artifact("shared", type="dataset")
    draft.add_bytes(str(number if same else (who, number)).encode(), "content")
    draft.add_bytes(b"the same for all", "common")
    logged = store.log(draft, aliases=[f"by-{who}"])
    got.append([logged.record.number, logged.digest.hex()])
print(json.dumps(got))
"""
)

PROMOTE = (
    START
    + """
from lineart.storage.errors import Conflict
for turn in range(int(sys.argv[3])):
    print("turn", flush=True)
    sys.stdin.readline()
    try:
        store.promote(f"shared:{sys.argv[4]}", "best", expect=sys.argv[5] if turn else "none")
        print("won", flush=True)
    except Conflict:
        print("lost", flush=True)
"""
)

GET = (
    START
    + """
version = store.artifact("shared")
version.download(sys.argv[3])
version.verify(sys.argv[3])
"""
)


class Two:
    """Processes that begin together."""

    def __init__(self, program, *arguments):
        self.all = [
            subprocess.Popen([sys.executable, "-c", program, *map(str, one)], stdin=-1, stdout=-1, text=True)
            for one in arguments
        ]
        for one in self.all:
            assert one.stdout.readline() == "ready\n"

    def go(self):
        for one in self.all:
            one.stdin.write("go\n")
            one.stdin.flush()

    def lines(self):
        return [one.stdout.readline().strip() for one in self.all]

    def end(self):
        outputs = [one.communicate(timeout=240)[0] for one in self.all]
        assert [one.returncode for one in self.all] == [0] * len(self.all)
        return outputs


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """The address and the database of an empty store, on both databases."""
    database = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    lineart.create(tmp_path / "store", database=database or None).close()
    return str(tmp_path / "store"), database


def reopened(place):
    return lineart.open(place[0], database=place[1] or None)


def test_two_processes_that_log_at_once_get_every_number_once(place):
    count = 200
    two = Two(LOG, (*place, "ana", count, "other"), (*place, "bo", count, "other"))
    two.go()
    got = [json.loads(output) for output in two.end()]
    with reopened(place) as store:
        versions = store.versions("shared")
        assert [one.number for one in versions] == list(range(2 * count))
        assert sorted(number for part in got for number, _ in part) == list(range(2 * count))
        by_number = {one.number: one.digest.hex() for one in versions}
        assert {number: digest for part in got for number, digest in part} == by_number
        for part in got:
            assert [number for number, _ in part] == sorted(number for number, _ in part)
        assert store.resolve("shared").number == 2 * count - 1
        assert store.resolve("shared:by-ana").number == got[0][-1][0]
        assert store.resolve("shared:by-bo").number == got[1][-1][0]
        report = store.check(read_data=True)
        assert report.problems == []
        assert report.events == 1 + 2 + 2 * count * 3 == len(list(store.engine.journal.events()))


def test_two_processes_that_log_the_same_make_one_version_of_it(place):
    count = 40
    two = Two(LOG, (*place, "ana", count, "same"), (*place, "bo", count, "same"))
    two.go()
    ana, bo = (json.loads(output) for output in two.end())
    assert ana == bo
    with reopened(place) as store:
        assert [one.number for one in store.versions("shared")] == list(range(count))
        assert store.check(read_data=True).problems == []


def test_of_two_that_promote_at_once_one_wins(place):
    turns = 15
    with reopened(place) as store:
        for number in range(3):
            draft = lineart.Artifact("shared")
            draft.add_bytes(str(number).encode(), "a")
            store.log(draft)
        two = Two(PROMOTE, (*place, turns, "v0", "v2"), (*place, turns, "v1", "v2"))
        two.go()
        for _ in range(turns):
            assert two.lines() == ["turn", "turn"]
            two.go()
            results = two.lines()
            assert sorted(results) == ["lost", "won"]
            winner = results.index("won")
            assert store.resolve("shared:best").number == winner
            store.promote("shared:v2", "best", expect=f"v{winner}")
        two.end()
        assert store.check().problems == []


def test_two_processes_that_download_into_one_folder_at_once(place, tmp_path):
    with reopened(place) as store:
        draft = lineart.Artifact("shared")
        for number in range(300):
            draft.add_bytes(str(number).encode() * 100, f"d{number % 7}/{number}")
        draft.add_bytes(bytes(5_000_000), "large")
        store.log(draft)
    for out in (tmp_path / "out", tmp_path / "existing"):
        if out.name == "existing":
            out.mkdir()
        three = Two(GET, *[(*place, out)] * 3)
        three.go()
        three.end()
        assert sum(path.is_file() for path in out.rglob("*")) == 301
    assert {path.name for path in tmp_path.iterdir()} == {"store", "out", "existing"}


def test_a_download_while_a_log_is_under_way_is_whole(place, tmp_path):
    count = 30
    with reopened(place) as store:
        first = lineart.Artifact("shared", type="dataset")
        first.add_bytes(b"0", "content")
        store.log(first)
        two = Two(LOG, (*place, "ana", count, "other"))
        two.go()
        for turn in range(count):
            version = store.artifact("shared")
            folder = version.checkout(tmp_path / "out")
            version.verify(folder)
            assert version.record.number >= 0, turn
        two.end()
        assert store.resolve("shared").number == count


def test_threads_of_one_process_share_a_store(place):
    with reopened(place) as store:
        failed = []

        def work(who):
            try:
                for number in range(10):
                    draft = lineart.Artifact("shared")
                    draft.add_bytes(f"{who} {number}".encode(), "a")
                    store.log(draft)
                    assert store.artifact(draft.ref).read_bytes("a") == f"{who} {number}".encode()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failed == []
        assert [one.number for one in store.versions("shared")] == list(range(40))


def test_two_that_make_a_collection_and_its_project_at_once(place):
    for turn in range(3):
        two = Two(LOG.replace('"shared"', f'"new-{turn}"'), (*place, "ana", 2, "other"), (*place, "bo", 2, "other"))
        two.go()
        two.end()
    with reopened(place) as store:
        assert [one.versions for one in store.collections()] == [4, 4, 4]
        assert store.check(read_data=True).problems == []


def test_two_that_make_one_store_at_once(tmp_path):
    program = """
import sys
import lineart
from lineart.storage.errors import Conflict
print("ready", flush=True)
sys.stdin.readline()
try:
    print(lineart.create(sys.argv[1]).id)
except Conflict:
    print("there")
"""
    for turn in range(3):
        two = Two(program, (tmp_path / str(turn),), (tmp_path / str(turn),))
        two.go()
        # One that comes between the other's rows and its marker finishes what looks like a crash: the same store.
        made = {line.strip() for line in two.end()} - {"there"}
        with lineart.open(tmp_path / str(turn)) as store:
            assert made == {store.id}
            assert store.check(read_data=True).problems == []


LARGE = """
import os, re, sys
from pathlib import Path
import lineart
root, what = Path(sys.argv[1]), sys.argv[2]
if what == "log":
    with lineart.create(root / "store") as store:
        draft = lineart.Artifact("large")
        draft.add_file(root / "large.bin")
        store.log(draft)
else:
    with lineart.open(root / "store") as store:
        store.artifact("large").download(root / "out")
# Not ru_maxrss: that begins with what the process had that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.fixture
def memory_disk(tmp_path):
    """A folder in memory where there is one, so that the speed of a disk stays out."""
    shared = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(dir=shared)) if shared.is_dir() else tmp_path
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_a_gibibyte_is_logged_and_fetched_in_400_mebibytes(memory_disk):
    noise = Random(7)
    with (memory_disk / "large.bin").open("wb") as file:
        for number in range(256):  # half of it shrinks
            file.write(noise.randbytes(4 << 20) if number % 2 else noise.randbytes(1 << 10) * (4 << 10))
    for what in ("log", "get"):
        command = [sys.executable, "-c", LARGE, str(memory_disk), what]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
        assert int(done.stdout) < 400, f"{what}: {done.stdout} MiB"
    compared = subprocess.run(["cmp", memory_disk / "large.bin", memory_disk / "out" / "large.bin"], check=False)
    assert compared.returncode == 0
