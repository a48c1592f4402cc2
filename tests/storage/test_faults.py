"""The same story told with one failure at every place in turn, and a writer that is killed at any moment.

Afterwards, with the failure gone: what was acknowledged reads back, what is visible is whole, check finds nothing, and
the story can be told again to its end.
"""

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.backends.retry import RetryingBackend
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, IntegrityError, LineartError
from lineart.store import FOLDS, Store

BIG = 5 << 19  # bytes: three chunks or so
STEPS = ("log", "log changed", "promote", "download")


class Story:
    """A store over a backend, on a copy of one that was just made; `acknowledged` says how far the telling came."""

    def __init__(self, folder, bench, template):
        self.folder = folder
        self.big = bench.data(1, BIG)
        self.trees = {
            0: {"big.bin": self.big, "notes/a": b"a" * 9000, "notes/b": b"", "same": b"a" * 9000},
            1: {"big.bin": self.big[: BIG // 2] + b"changed" + self.big[BIG // 2 :], "notes/a": b"new", "notes/b": b""},
        }
        self.acknowledged = []  # in this telling
        self.promised = set()  # in any
        self.memory = MemoryBackend("bucket")
        self.url = f"sqlite:///{folder}/store.db"
        self._numbers = itertools.count()
        objects, database = template
        folder.mkdir()
        (folder / "store.db").write_bytes(database)
        for key, raw in objects.items():
            self.memory.put(key, [raw])

    def open(self, backend):
        engine = Engine.open(backend, self.url, actor="ann", folds=FOLDS)
        return Store(engine, Settings("memory://bucket", None, "p", self.folder / "downloads"))

    def tell(self, backend):
        """Do everything once and note what was acknowledged; what fails ends it."""
        self.acknowledged.clear()
        store = self.open(backend)
        try:
            first = self._draft(0)
            store.log(first)
            self._acknowledge("log")
            second = first.new_draft()
            for path in ("big.bin", "notes/a"):
                second.add_bytes(self.trees[1][path], path, overwrite=True)
            second.remove("same")
            store.log(second)
            self._acknowledge("log changed")
            store.promote("model:v0", "best", reason="told")
            self._acknowledge("promote")
            self._download(store)
            self._acknowledge("download")
        finally:
            store.close()

    def try_to_tell(self, backend):
        """Tell it as far as it goes; what ended it, if anything did."""
        try:
            self.tell(backend)
        except LineartError as error:
            return error
        return None

    def _acknowledge(self, step):
        self.acknowledged.append(step)
        self.promised.add(step)

    def _draft(self, number):
        draft = Artifact("model", type="model")
        for path, content in self.trees[number].items():
            draft.add_bytes(content, path)
        return draft

    def _download(self, store):
        target = self.folder / f"out{next(self._numbers)}"
        try:
            store.artifact("model:v1").download(target)
        finally:  # whatever has its final name has the right content
            for path, content in self.trees[1].items():
                assert not (target / path).exists() or (target / path).read_bytes() == content
        assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == set(self.trees[1])

    def visible(self, store):
        """Read every version that can be seen, whole; their numbers."""
        numbers = []
        for collection in store.collections():
            for version in store.versions(f"{collection.project}/{collection.name}"):
                logged = store.artifact(f"{collection.project}/{collection.name}:{version.version}")
                found = {entry.path: entry.read_bytes() for entry in logged.files()}
                assert found == self.trees[version.number]
                assert (version.file_count, version.size) == (len(found), sum(map(len, found.values())))
                numbers.append(version.number)
        return numbers

    def require_kept(self, store):
        """What is visible is whole, and what was acknowledged is among it."""
        numbers = self.visible(store)
        assert numbers in ([], [0], [0, 1])
        assert ("log" in self.promised) <= (0 in numbers)
        assert ("log changed" in self.promised) <= (1 in numbers)
        if "promote" in self.promised:
            assert store.resolve("model:best").number == 0


@pytest.fixture(scope="session")
def template(bench, tmp_path_factory):
    """The objects and the database of a store that was just made."""
    folder = tmp_path_factory.mktemp("template")
    memory = MemoryBackend("bucket")
    Engine.create(memory, f"sqlite:///{folder}/store.db", actor="ann", folds=FOLDS).close()
    return {info.key: memory.get(info.key) for info in memory.list("")}, (folder / "store.db").read_bytes()


@pytest.fixture
def stories(bench, template, tmp_path):
    """A function that makes a fresh story."""
    numbers = itertools.count()
    return lambda: Story(tmp_path / f"{next(numbers)}", bench, template)


@pytest.fixture
def length(stories, faults):
    """How many operations the story takes."""
    backend = faults.FaultBackend((story := stories()).memory)
    story.tell(backend)
    assert story.acknowledged == list(STEPS)
    return backend.count


def afterwards(story):
    """With all faults gone: everything holds, and telling it again comes to its end."""
    store = story.open(story.memory)
    story.require_kept(store)
    report = store.check(read_data=True)
    assert report.problems == []
    store.close()
    story.tell(story.memory)
    assert story.acknowledged == list(STEPS)
    store = story.open(story.memory)
    story.require_kept(store)
    report = store.check(read_data=True)
    assert report.problems == []
    assert [note for note in report.notes if "journal" in note or "mends" in note] == []
    store.close()


ONCE = ("FAIL_BEFORE", "FAIL_AFTER", "TIMEOUT", "UNREACHABLE", "TRUNCATE", "STALE")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ONCE)
def test_one_failure_at_any_operation_loses_nothing(stories, faults, length, fault):
    for n in range(1, length + 1):
        story = stories()
        backend = faults.FaultBackend(story.memory, {n: faults.Fault[fault]})
        error = story.try_to_tell(backend)
        assert not isinstance(error, Conflict), (n, backend.log[n - 1], error)
        afterwards(story)


@pytest.mark.slow
def test_a_bucket_that_is_dead_from_any_operation_on_loses_nothing(stories, faults, length):
    for n in range(1, length + 1):
        story = stories()
        with pytest.raises(LineartError):
            story.tell(faults.FaultBackend(story.memory, dead_from=n))
        afterwards(story)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["TIMEOUT", "UNREACHABLE", "TRUNCATE"])
def test_what_is_transient_is_not_even_noticed_behind_retries(stories, faults, length, fault):
    for n in range(1, length + 1):
        story = stories()
        backend = faults.FaultBackend(story.memory, {n: faults.Fault[fault]})
        story.tell(RetryingBackend(backend, sleep=lambda seconds: None))
        assert story.acknowledged == list(STEPS)
        afterwards(story)


@pytest.mark.slow
def test_a_bit_flipped_in_any_read_or_write_never_comes_out_as_content(stories, faults, length):
    """Of a read: it is read again. Of a write, unnoticed: it is found, forgotten, and healed by logging again."""
    for n in range(1, length + 1):
        story = stories()
        backend = faults.FaultBackend(story.memory, {n: faults.Fault.FLIP})
        error = story.try_to_tell(backend)
        assert error is None or isinstance(error, IntegrityError | Conflict), (n, backend.log[n - 1], error)
        what, key = backend.log[n - 1]
        if what != "put":
            afterwards(story)
            continue
        store = story.open(story.memory)
        report = store.check(read_data=True)
        assert not report.clean
        if key.startswith("journal/"):
            assert all(where == "journal" for where, _ in report.problems)
            story.require_kept(store)
            store.close()
            continue
        assert any(where == key for where, _ in report.problems)
        assert any(where.startswith("p/model:v") for where, _ in report.problems)
        with pytest.raises(IntegrityError):
            story.visible(store)
        store.close()
        for _ in range(3):  # each damaged page, recipe or chunk that is met is forgotten
            error = story.try_to_tell(story.memory)
            if error is None:
                break
            assert isinstance(error, IntegrityError)
        assert story.acknowledged == list(STEPS)
        store = story.open(story.memory)
        story.require_kept(store)
        assert store.check(read_data=True).problems == []
        store.close()


def fail_twice(stories, faults, length, rounds, seed):
    """Tell stories with each kind of failure after each, at operations that a deck of all of them gives."""
    chance = random.Random(seed)
    decks = [[], []]
    pairs = itertools.cycle(itertools.product([faults.Fault[name] for name in ONCE], repeat=2))
    for kinds in itertools.islice(pairs, rounds):
        story = stories()
        for deck, fault in zip(decks, kinds, strict=True):
            if not deck:
                deck.extend(chance.sample(range(1, length + 1), length))
            n = deck.pop()
            error = story.try_to_tell(faults.FaultBackend(story.memory, {n: fault}))
            assert not isinstance(error, Conflict), (n, fault, error)
        afterwards(story)


@pytest.mark.slow
def test_two_failures_one_after_the_other_lose_nothing(stories, faults, length):
    """The second strikes the try that repairs what the first one left; every kind comes after every other once."""
    assert length <= len(ONCE) ** 2, "each operation fails in both places"
    fail_twice(stories, faults, length, len(ONCE) ** 2, seed=20)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(21, 25))
def test_two_failures_one_after_the_other_lose_nothing_at_any_two_operations(stories, faults, length, seed):
    fail_twice(stories, faults, length, 25 * len(ONCE) ** 2, seed)


@pytest.mark.parametrize("fault", ["FAIL_BEFORE", "FAIL_AFTER", "TRUNCATE", "UNREACHABLE"])
def test_a_store_whose_making_fails_anywhere_can_be_made_or_opened_afterwards(bench, faults, tmp_path, fault):
    for n in itertools.count(1):
        memory, url = MemoryBackend(), f"sqlite:///{tmp_path}/{n}.db"
        backend = faults.FaultBackend(memory, {n: faults.Fault[fault]})
        try:
            Engine.create(backend, url, actor="ann", folds=FOLDS).close()
            made = True
        except LineartError:
            made = False
        if backend.count < n:
            return
        try:
            engine = Engine.create(memory, url, actor="ann", folds=FOLDS)
            assert not made
        except Conflict:
            engine = Engine.open(memory, url, actor="ann", folds=FOLDS)
        engine.begin_writing()
        assert [event.kind for event in engine.journal.events()] == ["store.created"]
        bench.store(engine, [b"x"])
        engine.close()


# Killed

WRITER = """
import random, sys
from lineart.artifacts.artifact import Artifact
from lineart.environment import settings_here
from lineart.store import open_or_create

start = int(sys.argv[1])
print("started", flush=True)
store = open_or_create(settings_here())
base = random.Random(0).randbytes(3 << 20)
for n in range(start, start + 1000):
    draft = Artifact("model", type="model")
    draft.add_bytes(b"version %d" % n, "number")
    draft.add_bytes(random.Random(n).randbytes(60_000), "new")
    draft.add_bytes(base[: n * 1000] + b"%d" % n + base[n * 1000 :], "big")
    logged = store.log(draft, aliases=["best"])
    print(n, logged.version, flush=True)
"""


def content(n):
    base = random.Random(0).randbytes(3 << 20)
    return {
        "number": b"version %d" % n,
        "new": random.Random(n).randbytes(60_000),
        "big": base[: n * 1000] + b"%d" % n + base[n * 1000 :],
    }


def kill_again_and_again(folder: Path, times: int, seed: int) -> None:
    """Kill a writer at random moments; at least every tenth in its start, when the store may be half made."""
    chance = random.Random(seed)
    environment = {**os.environ, "LINEART_STORE": str(folder / "store"), "HOME": str(folder)}
    start, promised = 0, {}
    for turn in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(start)], stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        lines = iter(process.stdout.readline, "")
        said = [next(lines) for _ in range(1 if turn % 10 == 0 else chance.choice([1, 2, 3, 5]))]
        try:
            process.wait(chance.uniform(0, 0.4 if len(said) == 1 else 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
        else:
            raise AssertionError(f"the writer ended by itself with {process.returncode}")
        said += lines
        process.stdout.close()
        process.wait()
        for line in said[1:]:
            number, version = line.split()
            promised[version] = start = int(number)
        start += 1
        verify(folder / "store", promised, whole=turn == times - 1 or turn % 50 == 49)
    assert len(promised) > times // 2


def verify(folder: Path, promised: dict[str, int], *, whole: bool) -> None:
    from lineart.settings import Settings
    from lineart.store import open_or_create

    with open_or_create(Settings(str(folder), None, "default", folder.parent / "artifacts", implicit=True)) as store:
        report = store.check(read_data=True)
        assert report.problems == []
        seen = {one.version for one in store.versions("model")} if promised or store.collections() else set()
        assert set(promised) <= seen
        for version in seen if whole else sorted(promised)[-3:]:
            logged = store.artifact(f"model:{version}")
            found = {entry.path: entry.read_bytes() for entry in logged.files()}
            number = int(found["number"].split()[1])
            assert promised.get(version, number) == number
            assert found == content(number)


@pytest.mark.slow
def test_a_writer_that_is_killed_keeps_every_promise(tmp_path):
    kill_again_and_again(tmp_path, times=6, seed=1)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(2, 6))
def test_a_writer_that_is_killed_hundreds_of_times_keeps_every_promise(tmp_path, seed):
    kill_again_and_again(tmp_path, times=100, seed=seed)
