"""Writers, collectors, some of them cut off, and clocks that run out, in every order of their calls that seeds come to.

Afterwards every version that somebody was told of reads back, and check finds nothing wrong. A seed that fails is
printed with the last calls; `pytest -m soak` tries many more of them.
"""

import itertools
import random
from datetime import timedelta

import pytest
from sqlalchemy import text

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.chunks import ChunkStore
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, IntegrityError, NotFound
from lineart.storage.journal import Journal
from lineart.store import FOLDS, Store


class Bucket(MemoryBackend):
    """Lets no pack go before the journal says so."""

    def delete(self, keys):
        written = b"".join(self.get(info.key) for info in self.list("journal/"))
        for key in keys:
            assert key.rpartition("/")[2].encode() in written, f"{key} is deleted before its event is in the journal"
        super().delete(keys)


class Play:
    """One store, and everybody who works on it at once."""

    def __init__(self, helpers, seed, url, folder):
        self.helpers, self.seed, self.url, self.folder = helpers, seed, url, folder
        self.bucket = Bucket("bucket")
        Engine.create(self.bucket, url, actor="founder", folds=FOLDS).close()
        self.stage = helpers.Stage(seed)
        self.promised = {}  # content by ref, of what was acknowledged and not deleted
        self.contents = {}  # of every version that there ever was
        self.taken = set()  # refs that were deleted
        chance = random.Random(seed)
        self.blobs = [chance.randbytes(400 + n) for n in range(9)]
        with self.open(self.bucket) as store:
            self.log(store, "old", range(8))  # of which most will be dead, and some wanted again
            for n in range(3):
                self.log(store, f"old{n}", [n])
            self.log(store, "kept", [0, 7])
            self.delete(store, "p/old:v0")

    def open(self, backend, database=lambda one: one):
        engine = Engine.open(backend, self.url, actor="ann", folds=FOLDS)
        engine.database = database(engine.database)
        engine.chunks = ChunkStore(backend, engine.database)
        engine.journal = Journal(backend, engine.database)
        return Store(engine, Settings("memory://bucket", None, "p", self.folder / "downloads"))

    def log(self, store, name, numbers, base=None):
        content = {f"f{n}": self.blobs[n] for n in numbers}
        if base is None:
            draft = Artifact(name, type="model")
        else:
            draft = store.artifact(base).new_draft()
            content = self.contents[base] | content
        for path, data in content.items():
            draft.add_bytes(data, path, overwrite=True)
        logged = store.log(draft)
        self.contents[logged.ref] = content
        if logged.ref not in self.taken:
            self.promised[logged.ref] = content

    def delete(self, store, ref):
        self.promised.pop(ref, None)
        self.taken.add(ref)
        store.delete(ref, force=True)

    def actor(self, name, act):
        def run():
            backend = self.helpers.StagedBackend(self.bucket, self.stage, name)
            with self.open(backend, lambda one: self.helpers.StagedDatabase(one, self.stage, name)) as store:
                act(store, random.Random(f"{self.seed} {name}"))

        self.stage.add(name, run)

    def write(self, store, chance):
        for _ in range(3):
            name = chance.choice(["ann", "bo"])
            try:
                base = chance.choice([*sorted(self.contents), None, None])
                self.log(
                    store,
                    base.removeprefix("p/").partition(":")[0] if base else name,
                    chance.sample(range(9), chance.randint(1, 3)),
                    base,
                )
            except (Conflict, NotFound):  # what it was to follow was deleted, or purged
                continue
            except IntegrityError:  # or its pages went while it was read
                if base is None or store.resolve(base).state != "purged":
                    raise

    def collect(self, store, chance):
        for _ in range(2):
            store.gc(grace=timedelta(0))

    def clear(self, store, chance):
        for _ in range(3):
            if not self.promised:
                return
            ref = chance.choice(sorted(self.promised))
            self.delete(store, ref)
            if chance.random() < 0.4:
                try:
                    store.restore(ref)
                except NotFound:
                    continue
                self.promised[ref] = self.contents[ref]

    def run_out(self, store, chance):
        for _ in range(4):
            store.engine.database.write(lambda tx: tx.execute(text("UPDATE session SET expires = 1")))

    def run(self):
        for name in ("ann", "bo"):
            self.actor(name, self.write)
        for name in ("collector 1", "collector 2"):
            self.actor(name, self.collect)
        self.actor("clearer", self.clear)
        for name, act, most in (("writer cut off", self.write, 30), ("collector cut off", self.collect, 60)):
            self.actor(name, act)
            self.stage.cut_after[name] = self.stage.chance.randint(1, most)
        self.actor("clock", self.run_out)
        self.stage.play()
        self.require_kept()
        with self.open(self.bucket) as store:
            self.run_out(store, None)
            store.gc(grace=timedelta(0))
            again = store.gc(grace=timedelta(0))
            assert again.packs.freed.packs == 0, again
        self.require_kept()

    def require_kept(self):
        with self.open(self.bucket) as store:
            for ref, content in self.promised.items():
                logged = store.artifact(ref)
                assert {one.path: one.read_bytes() for one in logged.files()} == content, ref
            assert store.check(read_data=True).problems == []


def play(helpers, seed, url, folder):
    one = Play(helpers, seed, url, folder)
    try:
        one.run()
    except BaseException as error:
        error.add_note(f"seed {seed}; the last calls:\n" + "\n".join(one.stage.log[-60:]))
        raise
    return one


def test_nothing_is_lost_however_writers_and_collectors_take_turns(interleaving, tmp_path):
    for seed in range(4):
        play(interleaving, seed, f"sqlite:///{tmp_path}/{seed}.db", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 40, 20))
def test_nothing_is_lost_in_many_more_orders(interleaving, tmp_path, first):
    for seed in range(100 + first, 120 + first):
        play(interleaving, seed, f"sqlite:///{tmp_path}/{seed}.db", tmp_path)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_thousands_of_orders(interleaving, tmp_path):
    for seed in itertools.islice(itertools.count(1000), 3000):
        play(interleaving, seed, f"sqlite:///{tmp_path}/{seed}.db", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 204))
def test_nothing_is_lost_on_postgresql_either(interleaving, tmp_path, postgres_url, seed):
    play(interleaving, seed, postgres_url, tmp_path)
