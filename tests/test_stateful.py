"""A store that is logged to, cleared out, cut off, lost and rebuilt, in any order, beside a model that is a dict.

After each step the store says what the model says, every content reads back, and check finds nothing. A step that was
cut off has taken place or not; a database that was lost comes back as the journal has it.
"""

import copy
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.engine import Engine
from lineart.storage.errors import Conflict, LineartError, NotFound
from lineart.storage.repair import repair_database
from lineart.store import FOLDS, Store

BLOBS = [b"", b"one", *(Random(n).randbytes(700 * (n + 1)) for n in range(5)), b"text " * 3000]
PATHS = ["a", "b/c", "b/d", "e"]
NAMES = ["model", "data"]
ALIASES = ["best", "old"]

names, aliases = st.sampled_from(NAMES), st.sampled_from(ALIASES)
trees = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(range(len(BLOBS))), max_size=4)
cuts = st.none() | st.none() | st.integers(1, 40)  # operations of the bucket that still work


@dataclass
class Model:
    """What a store must say: contents and states by collection and number, and where aliases are."""

    files: dict = field(default_factory=lambda: {name: [] for name in NAMES})
    states: dict = field(default_factory=lambda: {name: [] for name in NAMES})
    aliases: dict = field(default_factory=dict)

    def log(self, name, tree, given):
        numbers = [n for n, one in enumerate(self.files[name]) if one == tree and self.states[name][n] == "live"]
        if not numbers:
            self.files[name].append(dict(tree))
            self.states[name].append("live")
        number = numbers[0] if numbers else len(self.files[name]) - 1
        self.aliases.update({(name, alias): number for alias in given})
        return number

    def delete(self, name, number):
        self.states[name][number] = "deleted" if self.states[name][number] == "live" else self.states[name][number]
        self.aliases = {key: n for key, n in self.aliases.items() if (key[0], n) != (name, number)}

    def restore(self, name, number):
        self.states[name][number] = "live"

    def purge(self):
        for name, states in self.states.items():
            self.states[name] = ["purged" if one == "deleted" else one for one in states]

    def promote(self, name, number, alias):
        self.aliases[name, alias] = number

    def between(self, before, after):
        """Whether each collection is as it was before or after; a step of one transaction has only one."""
        return all(
            {"states": self.states[name], "files": self.files[name], "aliases": self.of(name)} in [
                {"states": one.states[name], "files": one.files[name], "aliases": one.of(name)}
                for one in (before, after)
            ]
            for name in NAMES
        )  # fmt: skip

    def of(self, name):
        return {key: number for key, number in self.aliases.items() if key[0] == name}


class Machine(RuleBasedStateMachine):
    faults = put_blank = None

    def __init__(self):
        super().__init__()
        self.temporary = TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.numbers = itertools.count()
        self.bucket = MemoryBackend("bucket")
        self.model = Model()
        self.durable = Model()  # what the journal has at least
        self.url = self.new_url()
        self.put_blank(self.bucket, self.url.removeprefix("sqlite:///"))
        self.store = None
        self.open()

    def new_url(self):
        return f"sqlite:///{self.folder}/{next(self.numbers)}.db"

    def open(self):
        if self.store is not None:
            self.store.close()
        self.wire = self.faults.FaultBackend(self.bucket)
        engine = Engine.open(self.wire, self.url, actor="ann", folds=FOLDS)
        self.store = Store(engine, Settings("memory://bucket", None, "p", self.folder / "downloads"))

    def seen(self):
        """Read everything there is into a model."""
        found = Model()
        for one in self.store.collections():
            for version in self.store.versions(one.name):
                tree = None
                if version.state == "live":
                    files = {entry.path: entry.read_bytes() for entry in self.store.artifact(version.ref).files()}
                    tree = {path: BLOBS.index(content) for path, content in files.items()}
                assert version.number == len(found.files[one.name])
                found.files[one.name].append(tree)
                found.states[one.name].append(version.state)
                found.aliases |= {(one.name, a): version.number for a in version.aliases if a != "latest"}
                assert not version.aliases or version.state == "live"
        return found

    def plain(self, model):
        """Return a model as far as it can be seen: the files of live versions."""
        found = copy.deepcopy(model)
        for name, states in found.states.items():
            found.files[name] = [
                tree if state == "live" else None for tree, state in zip(found.files[name], states, strict=True)
            ]
        return found

    def remember(self, seen, *models):
        """Take what was seen for the model; files of versions that cannot be seen are as some model has them."""
        for name in NAMES:
            for number, tree in enumerate(seen.files[name]):
                if tree is None:
                    seen.files[name][number] = next(
                        m.files[name][number] for m in models if number < len(m.files[name])
                    )
        return seen

    def step(self, act, cut, predict):
        """Do something, cut off after so many operations or not; only what was cut may not have taken place."""
        before, after = self.model, copy.deepcopy(self.model)
        expected = predict(after)
        self.wire.dead_from = None if cut is None else self.wire.count + cut
        try:
            result = act()
        except LineartError as error:
            if cut is None or isinstance(error, Conflict | NotFound):
                raise
            self.recover(before, after)
            return
        if self.wire.dead_from is not None and self.wire.count >= self.wire.dead_from:
            self.open()  # whatever failed, nobody was told: then it had been done
        self.wire.dead_from = None
        assert result == expected
        self.model = after
        self.durable = copy.deepcopy(after)

    def recover(self, *models):
        """Open the store again, which is as one of two models has it."""
        self.open()
        seen = self.seen()
        assert seen.between(*map(self.plain, models))
        self.model = self.remember(seen, *reversed(models))

    def existing(self, data, *states):
        there = [(name, n) for name in NAMES for n, one in enumerate(self.model.states[name]) if one in states]
        return data.draw(st.sampled_from(there))

    def has(self, *states):
        return any(one in states for name in NAMES for one in self.model.states[name])

    @initialize(tree=trees)
    def begin(self, tree):
        self.log("model", tree, [], None)

    @rule(name=names, tree=trees, given=st.lists(aliases, max_size=1), cut=cuts)
    def log(self, name, tree, given, cut):
        def act():
            draft = Artifact(name)
            for path, blob in tree.items():
                draft.add_bytes(BLOBS[blob], path)
            return self.store.log(draft, aliases=given).record.number

        self.step(act, cut, lambda model: model.log(name, tree, given))

    @precondition(lambda self: self.has("live"))
    @rule(data=st.data(), tree=trees, gone=st.sampled_from(PATHS), cut=cuts)
    def draft(self, data, tree, gone, cut):
        name, number = self.existing(data, "live")
        base = self.model.files[name][number]
        wanted = {path: blob for path, blob in base.items() if path != gone} | tree

        def act():
            draft = self.store.artifact(f"{name}:v{number}").new_draft()
            if gone in base:
                draft.remove(gone)
            for path, blob in tree.items():
                draft.add_bytes(BLOBS[blob], path, overwrite=True)
            return self.store.log(draft).record.number

        self.step(act, cut, lambda model: model.log(name, wanted, []))

    @precondition(lambda self: self.has("live"))
    @rule(data=st.data(), alias=aliases, cut=cuts)
    def promote(self, data, alias, cut):
        name, number = self.existing(data, "live")
        act = lambda: self.store.promote(f"{name}:v{number}", alias) and None  # noqa: E731
        self.step(act, cut, lambda model: model.promote(name, number, alias))

    @precondition(lambda self: self.has("live"))
    @rule(data=st.data(), cut=cuts)
    def delete(self, data, cut):
        name, number = self.existing(data, "live")
        ref = f"{name}:v{number}"
        if number in self.model.of(name).values():
            with pytest.raises(Conflict):
                self.store.delete(ref)
        self.step(lambda: self.store.delete(ref, force=True) and None, cut, lambda model: model.delete(name, number))

    @precondition(lambda self: self.has("deleted"))
    @rule(data=st.data(), cut=cuts)
    def restore(self, data, cut):
        name, number = self.existing(data, "deleted")
        act = lambda: self.store.restore(f"{name}:v{number}") and None  # noqa: E731
        self.step(act, cut, lambda model: model.restore(name, number))

    @precondition(lambda self: self.has("purged"))
    @rule(data=st.data())
    def restore_what_is_gone(self, data):
        name, number = self.existing(data, "purged")
        with pytest.raises(NotFound):
            self.store.restore(f"{name}:v{number}")

    @rule(cut=cuts)
    def collect(self, cut):
        self.step(lambda: self.store.gc(grace=timedelta(0)) and None, cut, Model.purge)

    @rule()
    def collect_within_the_grace(self):
        self.store.gc()

    @rule()
    def reopen(self):
        self.open()

    @rule(cut=st.none() | st.integers(1, 20))
    def lose_the_database(self, cut):
        """What was acknowledged comes back; what was cut off in the database alone may be lost with it."""
        self.store.close()
        self.url = self.new_url()
        if cut is not None:
            wire = self.faults.FaultBackend(self.bucket, dead_from=cut)
            try:
                repair_database(wire, self.url, actor="ann", folds=FOLDS)
            except LineartError:
                assert wire.count >= cut
        assert repair_database(self.bucket, self.url, actor="ann", folds=FOLDS).damaged == []
        self.recover(self.durable, self.model)
        self.durable = copy.deepcopy(self.model)

    @invariant()
    def the_store_says_what_the_model_says(self):
        assert self.seen() == self.plain(self.model)
        for one in self.store.collections():
            live = [version for version in self.store.versions(one.name) if version.state == "live"]
            assert sum("latest" in version.aliases for version in live) <= 1
        assert self.store.check(read_data=True).problems == []

    def teardown(self):
        assert self.store.check(journal=True).problems == []
        self.store.close()
        self.temporary.cleanup()


def drive(faults, put_blank, examples, steps):
    kind = type("Driven", (Machine,), {"faults": faults, "put_blank": staticmethod(put_blank)})
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(kind, settings=how)


@pytest.mark.slow
def test_a_store_does_what_a_dict_does_through_cuts_collections_and_lost_databases(faults, put_blank):
    drive(faults, put_blank, examples=30, steps=20)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_store_does_what_a_dict_does_for_a_long_time(faults, put_blank):
    drive(faults, put_blank, examples=1500, steps=60)
