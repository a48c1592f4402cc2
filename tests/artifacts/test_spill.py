from __future__ import annotations

import os
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.artifacts.entry import Entry, External
from lineart.artifacts.spill import sorted_entries
from lineart.storage.errors import InvalidName


def entry(path: str) -> Entry:
    return Entry(path, 0, len(path), bytes(32))


def lowest_free_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spill")


@given(st.sets(st.text(st.sampled_from("ab-é😀"), min_size=1, max_size=6)), st.integers(1, 20), st.randoms())
def test_entries_come_out_sorted_whatever_the_order_and_the_limit(folder, paths, limit, rng):
    shuffled = list(paths)
    rng.shuffle(shuffled)
    got = [e.path.encode() for e in sorted_entries(map(entry, shuffled), limit, folder)]
    assert got == sorted(path.encode() for path in paths)
    assert not list(folder.iterdir())


def test_many_runs_are_merged_in_several_passes_with_few_files_open(tmp_path):
    paths = [f"{i:06d}" for i in range(9000)]
    random.Random(1).shuffle(paths)
    lowest = lowest_free_descriptor()
    merged = sorted_entries(map(entry, paths), 2, tmp_path)
    got = [next(merged)]
    assert lowest_free_descriptor() - lowest < 200
    got += merged
    assert [e.path for e in got] == sorted(paths)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_path_that_is_there_twice_is_named(tmp_path, limit):
    with pytest.raises(InvalidName, match="'b' is there twice"):
        list(sorted_entries(map(entry, ["b", "a", "c", "b"]), limit, tmp_path))
    assert not list(tmp_path.iterdir())


def test_all_fields_survive_the_disk(tmp_path):
    entries = [
        Entry("a", 0, 2**60, b"d" * 32, b"r" * 32, executable=True),
        Entry("b", 1, 5, b"e" * 32, external=External("s3://b/k", "etag", "v1")),
        entry("c"),
    ]
    assert list(sorted_entries(reversed(entries), 1, tmp_path)) == entries


def test_nothing_is_left_when_the_reader_stops_early_or_the_source_fails(tmp_path):
    merged = sorted_entries(map(entry, "dcba"), 1, tmp_path)
    next(merged)
    merged.close()

    def failing():
        yield from map(entry, "dcba")
        raise OSError("the source vanished")

    with pytest.raises(OSError, match="vanished"):
        list(sorted_entries(failing(), 1, tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_fits_in_memory_touches_no_disk(tmp_path):
    assert len(list(sorted_entries(map(entry, "cba"), 4, tmp_path / "absent"))) == 3


def test_memory_is_bounded_by_the_limit(tmp_path):
    source = (entry(f"{i * 7919 % 40_009:06d}-{'x' * 200}") for i in range(40_000))
    tracemalloc.start()
    count = sum(1 for _ in sorted_entries(source, 1000, tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 16 * 2**20


def test_a_limit_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        sorted_entries([], 0, tmp_path)
