from __future__ import annotations

import errno
import os
import random
import tempfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.artifacts.source import BytesSource, FileSource
from lineart.artifacts.spill import BLOCK, HEAVY, Row, Spill, in_portions, merge
from lineart.storage.errors import Conflict

names = st.text(st.sampled_from("ab-/0é😀"), min_size=1, max_size=5)


def row(path, source=None, *, overwrite=False):
    return Row(path, overwrite, source or BytesSource(path.encode()))


def ordered(paths):
    return [row(path) for path in sorted(paths)]


def read(*runs):
    return [one for rows in merge([run.portions() for run in runs]) for one in rows]


@pytest.fixture
def spill(tmp_path):
    made = Spill(str(tmp_path))
    yield made
    made.close()
    assert not list(tmp_path.iterdir())


@given(st.lists(st.lists(names, max_size=8), max_size=6))
def test_runs_are_merged_in_the_order_of_bytes_and_the_oldest_row_of_a_path_comes_first(lists):
    spill = Spill()
    rows = [[row(path, BytesSource(b"%d" % age)) for path in sorted(paths)] for age, paths in enumerate(lists)]
    got = read(*map(spill.write, rows))
    assert got == sorted([one for run in rows for one in run], key=lambda one: one.path.encode())
    spill.close()


def test_rows_of_one_path_come_together_however_many_there_are(spill):
    """They may fill several blocks of a run, while other runs have the path, too."""
    runs = [spill.write([row("p")] * (2 * BLOCK + age)) for age in range(3)]
    (rows,) = merge([run.portions() for run in runs])
    assert len(rows) == 6 * BLOCK + 3


def test_runs_on_disk_and_rows_in_memory_are_merged_alike(spill):
    paths = [f"{number:05d}" for number in range(3 * BLOCK)]
    run = spill.write(ordered(paths[::2]))
    held = in_portions(paths[1::2], lambda some: [row(path) for path in some])
    assert [one.path for rows in merge([run.portions(), held]) for one in rows] == paths


def test_all_fields_survive_the_disk(spill):
    rows = [
        row("a", FileSource("/data/ä", 2**60, -1, 2**62, 2**64 - 1, 2**63, executable=True), overwrite=True),
        row("b", BytesSource(bytes(range(256)))),
        row("c", FileSource("relative", 0, 0, 0, 0, 0, executable=False)),
    ]
    assert read(spill.write(rows)) == rows


@pytest.mark.parametrize(
    "source",
    [
        FileSource("/not \udcff utf-8/a", 1, 2, 3, 4, 5, executable=False),
        FileSource("/a", 1, 10**23, 3, 4, 5, executable=True),
    ],
    ids=["a folder whose name is not UTF-8", "a time that somebody made up"],
)
def test_whatever_a_disk_has_survives_another(spill, source):
    rows = [row("a"), row("b", source)]
    assert read(spill.write(rows)) == rows


@given(st.sets(names.filter(lambda path: not path.endswith("/")), max_size=30), names)
def test_a_path_is_removed_with_what_lies_below_it_and_nothing_else(paths, gone):
    spill = Spill()
    run = spill.write(ordered(paths))
    rest = [path for path in sorted(paths) if path != gone and not path.startswith(gone + "/")]
    assert run.remove(gone) == (len(rest) < len(paths))
    assert [one.path for one in read(run)] == rest
    assert (len(run), run.size) == (len(rest), sum(len(path.encode()) for path in rest))
    assert not run.remove(gone)
    spill.close()


def test_a_block_that_begins_with_what_is_removed_keeps_the_rest(spill):
    run = spill.write(ordered(["b/1", "b/2", "b0"]))
    assert run.remove("b")
    assert [one.path for one in read(run)] == ["b0"]


@pytest.mark.parametrize("gone", ["b", "b/000001", "b/000600", "c", "a"])
def test_removing_from_many_blocks(spill, gone):
    paths = ["a", *(f"b/{number:06d}" for number in range(5 * BLOCK)), "b-", "b0", "c"]
    run = spill.write(ordered(paths))
    assert run.remove(gone)
    assert [one.path for one in read(run)] == sorted(p for p in paths if p != gone and not p.startswith(gone + "/"))


def test_nothing_is_written_before_there_is_something_to_write(tmp_path):
    spill = Spill(str(tmp_path / "absent"))
    assert read(spill.write([])) == []
    spill.close()


def lowest_free_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def test_the_file_has_no_name_and_is_gone_with_its_spill(tmp_path):
    lowest = lowest_free_descriptor()
    spill = Spill(str(tmp_path))
    runs = [spill.write(ordered("abc")) for _ in range(9)]
    assert not list(tmp_path.iterdir())
    assert lowest_free_descriptor() == lowest + 1
    del spill, runs
    assert lowest_free_descriptor() == lowest


def test_a_closed_spill_reads_no_other_file(spill):
    run = spill.write(ordered("abc"))
    spill.close()
    spill.close()
    with pytest.raises(OSError) as caught:
        read(run)
    assert caught.value.errno == errno.EBADF


def test_a_disk_that_takes_no_more_is_named_and_what_was_written_stays(spill, tmp_path, small_disk):
    run = spill.write(ordered("abc"))
    noise = random.Random(1)
    with small_disk(1 << 16), pytest.raises(Conflict, match="TMPDIR") as caught:
        spill.write([row(f"{number:04d}", BytesSource(noise.randbytes(4096))) for number in range(100)])
    assert str(tmp_path) in str(caught.value)
    assert read(run, spill.write(ordered("de"))) == ordered("abcde")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Conflict, match="absent gives none"):
        Spill(str(tmp_path / "absent")).write(ordered("a"))


def test_the_folder_is_the_systems_unless_it_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(Conflict, match="absent gives none"):
        Spill().write(ordered("a"))


def test_a_merge_holds_a_block_of_each_run_however_long_they_are(spill):
    count = 40_000
    runs = [spill.write(row(f"{number:06d}-{'x' * 200}") for number in range(start, count, 8)) for start in range(8)]
    tracemalloc.start()
    assert sum(len(rows) for rows in merge([run.portions() for run in runs])) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9 * BLOCK * 1000


def test_blocks_of_much_content_are_short(spill):
    content = BytesSource(bytes(HEAVY // 4))
    run = spill.write([row(f"{number:02d}", content) for number in range(40)])
    assert max(len(portion.load()) for portion in run.portions()) == 4
