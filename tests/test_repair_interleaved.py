"""Repairs of the index beside writers, collectors and clocks that run out, at every interleaving that seeds come to.

The play is that of test_collector_interleaved; two repairs take part in it, and one pack's trailer is damaged before it
begins, so that they have something to set aside.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lineart.storage.layout import parse_pack_key


def _collectors():
    path = Path(__file__).with_name("test_collector_interleaved.py")
    spec = importlib.util.spec_from_file_location("lineart_tests_collectors", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


collectors = _collectors()


class Play(collectors.Play):
    """The same store, and repairs of its index."""

    def mend(self, store, chance):
        found = store.repair_index(read_data=True)
        assert (found.index.damaged, found.index.missing) == ([], [])

    def run(self):
        keys = [one.key for one in self.bucket.list("") if parse_pack_key(one.key)]
        damaged = self.stage.chance.choice(keys)
        raw = bytearray(self.bucket.get(damaged))
        raw[-1] ^= 1
        self.bucket.put(damaged, [bytes(raw)])
        for name in ("repairer 1", "repairer 2"):
            self.actor(name, self.mend)
        super().run()
        assert any(one.key == damaged for one in self.bucket.list("")), "no program deletes what is damaged"


@pytest.fixture
def play(interleaving, tmp_path):
    def start(seed, url):
        one = Play(interleaving, seed, url, tmp_path)
        try:
            one.run()
        except BaseException as error:
            error.add_note(f"seed {seed}; the last calls:\n" + "\n".join(one.stage.log[-60:]))
            raise

    return start


def test_nothing_is_lost_however_repairs_take_turns_with_writers_and_collectors(play, tmp_path):
    for seed in range(3):
        play(seed, f"sqlite:///{tmp_path}/{seed}.db")


@pytest.mark.slow
@pytest.mark.parametrize("first", [100, 110])
def test_nothing_is_lost_in_more_orders_of_repairs(play, tmp_path, first):
    for seed in range(first, first + 10):
        play(seed, f"sqlite:///{tmp_path}/{seed}.db")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 203))
def test_nothing_is_lost_by_repairs_on_postgresql_either(play, postgres_url, seed):
    play(seed, postgres_url)
