from __future__ import annotations

import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.artifacts.entry import Entry
from lineart.artifacts.manifest import Manifest, Root, build, edit, overlay
from lineart.storage.errors import InvalidInput, InvalidName


class Pages(dict):
    """Pages in memory; remembers which were read and which were put."""

    def __init__(self):
        self.read, self.written = [], []

    def put(self, digest, page):
        assert blake3(page).digest() == digest
        self.written.append(digest)
        self[digest] = page

    def get(self, digests):
        self.read += digests
        return {digest: self[digest] for digest in digests}

    def build(self, entries) -> Root:
        return build(sorted(entries, key=lambda e: e.path), self.put)

    def edit(self, root, changes) -> Root:
        self.read, self.written = [], []
        return edit(root.digest, changes, self.get, self.put)


def entry(path: str, content: int = 0) -> Entry:
    return Entry(path, 0, content, blake3(f"{path} {content}".encode()).digest())


def clashes(paths) -> bool:
    return any(path[:i] in paths for path in paths for i, letter in enumerate(path) if letter == "/")


def changed(tree, changes):
    return {path: e for path, e in {**tree, **changes}.items() if e is not None}


def check_edit(pages, tree, root, changes):
    """Edit, and compare with building from scratch; returns what is there afterwards."""
    after = changed(tree, changes)
    if clashes(after):
        with pytest.raises(InvalidName, match="is a file and also the folder of"):
            pages.edit(root, changes)
        return tree, root
    old = set(Manifest(root.digest, pages.get).pages())
    edited = pages.edit(root, changes)
    scratch = Pages()
    assert edited == scratch.build(after.values())
    new = set(scratch)
    assert set(pages.written) == new - old, "every new page is put, and no other"
    assert len(set(pages.written)) == len(pages.written)
    return after, edited


names = st.lists(st.sampled_from(["a", "b", "a-", "a!", "a0"]), min_size=1, max_size=3).map("/".join)
deltas = st.dictionaries(names, st.none() | st.integers(0, 3), max_size=12)


@given(st.lists(deltas, max_size=6))
@settings(max_examples=100, deadline=None)
def test_any_sequence_of_edits_of_a_small_tree_equals_building(sequence):
    pages, tree = Pages(), {}
    root = pages.build([])
    for delta in sequence:
        changes = {path: None if content is None else entry(path, content) for path, content in delta.items()}
        tree, root = check_edit(pages, tree, root, changes)


def random_paths(rng, count, width):
    """Paths of few different parts, so that files and folders clash often and far apart."""
    parts = ["a", "a-", "a!", "a.", "a0", "b", "é"]
    return {
        "/".join(rng.choices(parts, k=rng.randint(1, width))) + rng.choice(["", f"{rng.randrange(50)}"])
        for _ in range(count)
    }


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_edits_of_trees_of_many_pages_equal_building_or_are_refused(seed):
    rng = random.Random(seed)
    paths = random_paths(rng, rng.choice([300, 2000, 5000]), 8)
    folders = {path[:i] for path in paths for i, letter in enumerate(path) if letter == "/"}
    tree = {path: entry(path) for path in paths - folders}
    pages = Pages()
    root = pages.build(tree.values())
    for _ in range(8):
        changes = {}
        here = sorted(tree)
        kind = rng.randrange(6)
        if kind == 0 and here:  # one file becomes a folder, or a folder a file
            path = rng.choice(here)
            folder = path.rpartition("/")[0] or path
            changes = {p: None for p in here if p.startswith(folder + "/")} if rng.random() < 0.7 else {}
            changes[folder] = entry(folder)
        elif kind == 1 and here:
            path = rng.choice(here)
            changes = {f"{path}/x": entry(f"{path}/x"), path: None if rng.random() < 0.5 else entry(path, 2)}
        elif kind == 2 and here:  # a range goes
            start = rng.randrange(len(here))
            changes = dict.fromkeys(here[start : start + rng.choice([1, 50, 1500, 9999])])
        elif kind == 3:
            changes = {path: entry(path, 5) for path in random_paths(rng, rng.choice([1, 3]), 8)}
        else:
            some = rng.sample(here, min(len(here), rng.choice([1, 5, 200])))
            changes = {path: rng.choice([None, entry(path, 3), entry(path), tree[path]]) for path in some}
            changes |= {f"{path}~{i}": entry(path + f"~{i}") for path in some[:3] for i in range(rng.choice([1, 900]))}
        tree, root = check_edit(pages, tree, root, changes)


def ending(level: int, path: str) -> bool:
    return int.from_bytes(blake3(bytes([level]) + path.encode()).digest()[:4], "little") * 384 < 2**32


@pytest.fixture(scope="module")
def steep():
    """A tree of three levels in few entries: its leaves end as early as pages can, and so do pages above."""
    ends, tops, number = [], [], 0
    while len(tops) < 3 or len(ends) < 500:
        number += 1
        mark = f"{number:x}"
        # The order of entries is set by what stands before, so marks are looked for under the final path.
        if len(tops) < 3:
            path = f"{128 * 128 * (len(tops) + 1) - 1:06d}-{mark}"
            if ending(0, path) and ending(1, path):
                tops.append(path)
                continue
        slot = 128 * (len(ends) + 1) - 1
        if len(ends) < 500 and ending(0, f"{slot:06d}-{mark}"):
            ends.append(f"{slot:06d}-{mark}")
    special = {path[:6]: path for path in [*ends, *tops]}
    paths = [special.get(f"{i:06d}", f"{i:06d}") for i in range(128 * 400)]
    tree = {path: entry(path) for path in paths}
    pages = Pages()
    root = pages.build(tree.values())
    top = Manifest(root.digest, pages.get)
    assert top.reader.one(top.top)[0] == 2
    return pages, tree, root


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_edits_of_a_tree_of_three_levels_equal_building(steep, seed):
    pages, tree, root = steep
    rng = random.Random(seed)
    for _ in range(3):
        here = sorted(tree)
        if not here:
            return
        start = rng.randrange(len(here))
        changes = {
            path: rng.choice([None, entry(path, 1)])
            for path in rng.sample(here, min(len(here), rng.choice([1, 3, 60])))
        }
        if rng.random() < 0.4:  # cut a range out, or leave nothing else
            end = start + rng.choice([1, 128, 300, 20_000])
            gone = here[start:end] if rng.random() < 0.6 else here[:start] + here[end:]
            changes |= dict.fromkeys(gone)
        changes |= {
            f"{path}!{i}": entry(f"{path}!{i}")
            for path in here[start : start + 2]
            for i in range(rng.choice([0, 1, 700]))
        }
        tree, root = check_edit(pages, tree, root, changes)


@pytest.mark.slow
def test_a_tree_loses_and_gains_levels_one_page_at_a_time(steep):
    pages, tree, root = steep
    here = sorted(tree)
    for keep in (here[:1], here[-1:], here[:128], here[128:256], here[-129:], here[: 128 * 128], here[128 * 128 :], []):
        kept = set(keep)
        smaller, small = check_edit(pages, tree, root, {path: None for path in here if path not in kept})
        check_edit(pages, smaller, small, {path: tree[path] for path in here if path not in kept})


@pytest.mark.slow
def test_an_old_page_of_a_single_item_does_not_become_the_root(steep):
    pages, tree, _ = steep
    here = sorted(tree)[: 128 * 128 + 5]
    tree = {path: tree[path] for path in here}
    root = pages.build(tree.values())
    assert Manifest(root.digest, pages.get).reader.one(Manifest(root.digest, pages.get).top)[0] == 2
    check_edit(pages, tree, root, dict.fromkeys(here[: 128 * 128]))


def test_one_changed_entry_changes_one_page_a_level_and_reads_no_more():
    tree = {path: entry(path) for path in (f"data/c{i // 500:02d}/{i:06d}" for i in range(20_000))}
    pages = Pages()
    root = pages.build(tree.values())
    path = sorted(tree)[9999]
    _, after = check_edit(pages, tree, root, {path: entry(path, 9)})
    pages.edit(root, {path: entry(path, 9)})
    assert (len(pages.written), len(pages.read)) == (2, 2)
    pages.edit(after, {path: entry(path)})
    assert len(pages.read) == 2
    pages.edit(root, {f"{path}-new": entry(f"{path}-new")})
    assert len(pages.written) <= 4
    assert len(pages.read) <= 5


def test_changes_that_change_nothing_give_the_same_root_and_put_nothing():
    tree = {path: entry(path) for path in (f"{i:06d}" for i in range(3000))}
    pages = Pages()
    root = pages.build(tree.values())
    path = "001500"
    for changes in ({}, {path: tree[path]}, {"absent": None}, {f"{path}x": None, "zzz": None, "000/0": None}):
        assert pages.edit(root, changes) == root
        assert pages.written == []


def test_everything_can_go_and_come_back():
    tree = {path: entry(path) for path in (f"{i:06d}" for i in range(3000))}
    pages = Pages()
    root, empty = pages.build(tree.values()), Pages().build([])
    assert pages.edit(root, dict.fromkeys(tree)) == empty
    assert pages.edit(empty, tree) == root
    assert pages.edit(empty, {"x": None}) == empty


@pytest.mark.parametrize("between", [0, 1, 5000])
def test_a_file_beside_its_folder_is_refused_however_far_apart(between):
    middle = {path: entry(path) for path in (f"a-{i:06d}" for i in range(between))}
    pages = Pages()
    for first, second in (("a", "a/x"), ("a/x", "a"), ("a", "a/x/y/z"), ("a/x/y/z", "a")):
        root = pages.build([*middle.values(), entry(first)])
        with pytest.raises(InvalidName, match=f"'a' is a file and also the folder of '{max(first, second)}'"):
            pages.edit(root, {second: entry(second)})
        replaced = pages.edit(root, {second: entry(second), first: None})
        assert replaced == Pages().build([*middle.values(), entry(second)])
        with pytest.raises(InvalidName):
            pages.edit(pages.build(middle.values()), {first: entry(first), second: entry(second)})


def test_a_file_at_the_end_of_one_page_is_no_folder_of_a_path_in_the_next():
    pages = Pages()
    tree = {path: entry(path) for path in (f"{i:06d}" for i in range(3000))}
    root = pages.build(tree.values())
    level, items = Manifest(root.digest, pages.get).reader.one(Manifest(root.digest, pages.get).top)
    assert level == 1
    for last in [item.path for item in items]:
        with pytest.raises(InvalidName, match=f"'{last}' is a file and also the folder of '{last}/x'"):
            pages.edit(root, {f"{last}/x": entry(f"{last}/x")})
        check_edit(pages, tree, root, {f"{last}/x": entry(f"{last}/x"), last: None})
        check_edit(pages, tree, root, {f"{last}-": entry(f"{last}-")})


def test_a_folder_of_many_pages_can_be_replaced_by_a_file_only_when_it_goes_whole():
    inside = {path: entry(path) for path in (f"a/{i:06d}" for i in range(5000))}
    middle = {path: entry(path) for path in (f"a-{i:06d}" for i in range(5000))}
    pages = Pages()
    root = pages.build([*inside.values(), *middle.values()])
    gone = dict.fromkeys(inside)
    assert pages.edit(root, {**gone, "a": entry("a")}) == Pages().build([*middle.values(), entry("a")])
    del gone["a/004999"]
    with pytest.raises(InvalidName, match="'a/004999'"):
        pages.edit(root, {**gone, "a": entry("a")})


@pytest.mark.parametrize("bad", ["", "/x", "x/", "a//b", "..", "a\0", "\udcff", "x" * 4097])
def test_bad_paths_are_refused_before_anything_is_put(bad):
    pages = Pages()
    root = pages.build([entry("a")])
    with pytest.raises(InvalidName):
        pages.edit(root, {bad: Entry(bad, 0, 1, bytes(32)), "b": entry("b")})
    assert pages.written == []


def test_a_change_under_another_name_and_unfit_fields_are_refused():
    pages = Pages()
    root = pages.build([entry("a")])
    with pytest.raises(InvalidInput, match="another path"):
        pages.edit(root, {"b": entry("c")})
    with pytest.raises(InvalidInput, match="'b'"):
        pages.edit(root, {"b": Entry("b", 0, -1, bytes(32))})


@given(deltas, st.sets(names, max_size=4), deltas)
def test_laying_entries_over_others_gives_what_editing_gives(before, removed, after):
    old = {path: entry(path, content or 0) for path, content in before.items()}
    new = {path: entry(path, content or 0) for path, content in after.items()}
    gone = {path for path in old for top in removed if path == top or path.startswith(top + "/")}
    expected = changed(old, {**dict.fromkeys(gone), **new})
    laid = overlay((old[path] for path in sorted(old)), removed, (new[path] for path in sorted(new)))
    assert [one.path for one in laid] == sorted(expected)
    laid = overlay((old[path] for path in sorted(old)), removed, (new[path] for path in sorted(new)))
    assert {one.path: one for one in laid} == expected
