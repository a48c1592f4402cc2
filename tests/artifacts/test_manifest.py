from __future__ import annotations

import random
import tracemalloc

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.artifacts.entry import Entry, External
from lineart.artifacts.manifest import Change, Folder, Manifest, Root, build, diff, renames
from lineart.storage.errors import InvalidInput, InvalidName


class Pages(dict):
    """Pages in memory; remembers which were asked for and how often."""

    def __init__(self):
        self.read, self.calls = [], 0

    def put(self, digest, page):
        assert blake3(page).digest() == digest
        self[digest] = page

    def get(self, digests):
        self.calls += 1
        self.read += digests
        return {digest: self[digest] for digest in digests}

    def build(self, entries) -> Root:
        return build(sorted(entries, key=lambda e: e.path), self.put)

    def open(self, root) -> Manifest:
        self.read, self.calls = [], 0
        return Manifest(root.digest, self.get)


def entry(path: str, size: int = 1) -> Entry:
    return Entry(path, 0, size, blake3(f"{path} {size}".encode("utf-8", "replace")).digest())


def numbered(count: int) -> list[Entry]:
    return [entry(f"data/class{i // 300:03d}/{i:06d}.png", i) for i in range(count)]


def without_clashes(paths):
    folders = {path[:i] for path in paths for i, letter in enumerate(path) if letter == "/"}
    return sorted(path for path in paths if path not in folders)


def plain_build(entries):
    """The format once more, from its description, slowly: all pages, and the root digest."""
    pages = {}

    def level_pages(level, items):
        page = []
        for index, item in enumerate(items):
            page.append(item)
            value = int.from_bytes(blake3(bytes([level]) + item[0].encode()).digest()[:4], "little")
            size = sum(len(msgspec.msgpack.encode(i)) for i in page) if len(items[0][0]) > 1000 else 0
            ends = (value * 384 < 2**32 and len(page) >= 128) or len(page) == 2048 or size >= 2**20
            if ends or index == len(items) - 1:
                data = msgspec.msgpack.encode([1, level, page])
                pages[blake3(data).digest()] = data
                sums = (
                    [sum(i[2] for i in page), sum(i[3] for i in page)]
                    if level
                    else [len(page), sum(i[2] for i in page)]
                )
                yield [page[-1][0], blake3(data).digest(), *sums]
                page = []

    items = [list(msgspec.structs.astuple(e)) for e in sorted(entries, key=lambda e: e.path.encode())]
    if not items:
        data = msgspec.msgpack.encode([1, 0, []])
        return {blake3(data).digest(): data}, blake3(data).digest()
    level = 0
    items = list(level_pages(0, items))
    while len(items) > 1:
        level += 1
        items = list(level_pages(level, items))
    return pages, items[0][1]


names = st.lists(st.sampled_from(["a", "b", "a-", "a!", "a0", ".x", "é", "😀"]), min_size=1, max_size=4).map("/".join)
small_trees = st.sets(names, max_size=40).map(without_clashes)


@st.composite
def large_trees(draw):
    """Some thousands of entries in folders whose names clash in all the ways that paths can."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    parts = ["a", "a-", "a.", "a0", "b", "c" * 30, "zz", "é"]
    count = draw(st.sampled_from([100, 600, 2500, 4000]))
    paths = {
        "/".join(rng.choices(parts, k=rng.randint(1, 7))) + f"{rng.choice('/-')}{rng.randrange(999)}"
        for _ in range(count)
    }
    return without_clashes(paths)


trees = small_trees | large_trees()


@given(trees, st.randoms())
@settings(max_examples=30, deadline=None)
def test_walking_gives_back_what_was_built_and_the_order_of_adding_does_not_matter(paths, rng):
    entries = [entry(path, len(path)) for path in paths]
    pages = Pages()
    root = pages.build(entries)
    shuffled = entries[:]
    rng.shuffle(shuffled)
    assert Pages().build(shuffled) == root
    manifest = pages.open(root)
    assert list(manifest.walk()) == entries
    assert (manifest.entries, manifest.size) == (root.entries, root.size) == (len(paths), sum(map(len, paths)))
    listed = list(manifest.pages())
    assert sorted(listed) == sorted(pages)


@given(trees)
@settings(max_examples=30, deadline=None)
def test_a_second_implementation_makes_the_same_pages(paths):
    entries = [entry(path) for path in paths]
    pages = Pages()
    root = pages.build(entries)
    assert (dict(pages), root.digest) == plain_build(entries)


@pytest.mark.parametrize("length", [3000, 4096])
def test_pages_of_long_paths_end_at_a_mebibyte(length):
    entries = [entry(f"{i:05d}" + "x" * (length - 5)) for i in range(2000)]
    pages = Pages()
    root = pages.build(entries)
    assert (dict(pages), root.digest) == plain_build(entries)
    assert max(map(len, pages.values())) > 2**20
    assert list(pages.open(root).walk()) == entries


def test_a_page_ends_at_2048_items_where_no_path_ends_it():
    paths = [f"{i:08d}" for i in range(4_000_000)]
    dull = []
    for path in paths:
        if int.from_bytes(blake3(b"\0" + path.encode()).digest()[:4], "little") * 384 >= 2**32:
            dull.append(entry(path))
        if len(dull) == 5000:
            break
    pages = Pages()
    root = pages.build(dull)
    assert dict(pages) == plain_build(dull)[0]
    assert [c[2] for c in msgspec.msgpack.decode(pages[root.digest])[2]] == [2048, 2048, 904]


@given(trees, st.data())
@settings(max_examples=30, deadline=None)
def test_lookup_equals_a_dict_and_a_prefix_is_whole_parts(paths, data):
    entries = {path: entry(path) for path in paths}
    pages = Pages()
    manifest = pages.open(pages.build(entries.values()))
    for path in data.draw(st.lists(st.sampled_from(paths) | names, max_size=20)) if paths else ["a"]:
        assert manifest.lookup(path) == entries.get(path)
        for prefix in {path, path.rpartition("/")[0], path[:2].rstrip("/.") or "a"}:
            wanted = [e for p, e in entries.items() if not prefix or p == prefix or p.startswith(prefix + "/")]
            assert list(manifest.walk(prefix)) == wanted
    assert manifest.lookup("absent") is None
    assert manifest.lookup("") is None


def plain_listing(entries, folder):
    head = folder + "/" if folder else ""
    found = {}
    for e in entries:
        if e.path.startswith(head):
            name, slash, _ = e.path[len(head) :].partition("/")
            if slash:
                old = found.get(name + "/", Folder(name, 0, 0))
                found[name + "/"] = Folder(name, old.entries + 1, old.size + e.size)
            else:
                found[name] = e
    return list(found.values())


@given(trees, st.data())
@settings(max_examples=30, deadline=None)
def test_children_equal_a_naive_listing(paths, data):
    entries = [entry(path, len(path)) for path in paths]
    pages = Pages()
    manifest = pages.open(pages.build(entries))
    for path in ["", *(data.draw(st.lists(st.sampled_from(paths), max_size=10)) if paths else [])]:
        for folder in {path, path.rpartition("/")[0], path.split("/")[0]}:
            assert list(manifest.children(folder)) == plain_listing(entries, folder)


def change_list(old, new):
    return [Change(p, old.get(p), new.get(p)) for p in sorted(old | new) if old.get(p) != new.get(p)]


@given(trees, trees, st.randoms())
@settings(max_examples=30, deadline=None)
def test_a_diff_is_the_difference_of_the_sets(one, other, rng):
    old = {path: entry(path) for path in one}
    near = {path: e if rng.random() > 0.01 else entry(path, 2) for path, e in old.items() if rng.random() > 0.01}
    pages = Pages()
    a = pages.open(pages.build(old.values()))
    for new in (near, {path: entry(path) for path in other}, {}, old):
        b = pages.open(pages.build(new.values()))
        assert list(diff(a, b)) == change_list(old, new)
        assert list(diff(b, a)) == change_list(new, old)


def test_large_trees_are_read_page_by_page():
    entries = numbered(20_000)
    pages = Pages()
    root = pages.build(entries)
    other = pages.build([*entries[:9000], entry(entries[9000].path, 77), *entries[9001:]])

    manifest = pages.open(root)
    assert manifest.lookup(entries[12_345].path) == entries[12_345]
    assert len(pages.read) == 2

    manifest = pages.open(root)
    assert list(manifest.children()) == [Folder("data", 20_000, root.size)]
    assert len(pages.read) <= 3

    manifest = pages.open(root)
    assert len(list(manifest.walk("data/class010"))) == 300
    assert len(pages.read) <= 4

    a, b = pages.open(root), pages.open(other)
    assert [c.path for c in diff(a, b)] == [entries[9000].path]
    assert len(pages.read) == 4

    manifest = pages.open(root)
    assert len(list(manifest.pages())) == len(set(manifest.pages()))
    assert pages.read == [root.digest]

    manifest = pages.open(root)
    assert list(manifest.walk()) == entries
    assert len(pages.read) > 30
    assert pages.calls <= 3


def test_a_prefix_skips_the_pages_between_a_file_and_the_folder_of_its_name():
    between = [entry(f"a-{i:06d}") for i in range(20_000)]
    pages = Pages()
    manifest = pages.open(pages.build([entry("a/x"), *between, entry("A")]))
    assert [e.path for e in manifest.walk("a")] == ["a/x"]
    assert len(pages.read) <= 4


@pytest.mark.parametrize("bad", ["/x", "a//b", "..", "a/../b", "a\0", "\udcff", ""])
def test_building_refuses_a_bad_path(bad):
    with pytest.raises(InvalidName):
        build(sorted([entry("a"), entry(bad), entry("zz")], key=lambda e: e.path), Pages().put)


@pytest.mark.parametrize("paths", [["b", "a"], ["a", "a"], ["a", "a-b", "a/x"], ["a", "a/x"]])
def test_building_refuses_disorder_twins_and_clashes(paths):
    with pytest.raises(InvalidName, match="'a"):
        build(map(entry, paths), Pages().put)


def test_building_refuses_a_clash_many_pages_apart():
    between = [entry(f"a-{i:06d}") for i in range(5000)]
    with pytest.raises(InvalidName, match=r"'a' is a file and also the folder of 'a/x'"):
        build([entry("a"), *between, entry("a/x")], Pages().put)
    build([entry("a"), *between, entry("a0/x")], Pages().put)


def test_building_refuses_fields_that_cannot_be_stored():
    with pytest.raises(InvalidInput, match="'a'"):
        build([Entry("a", 0, -1, bytes(32))], Pages().put)
    with pytest.raises(InvalidInput, match="at most"):
        build([Entry(name, 0, 2**62, bytes(32)) for name in "ab"], Pages().put)


def test_building_streams_and_its_memory_does_not_grow():
    def put(digest, page):
        assert digest

    def peak(count):
        tracemalloc.start()
        build((entry(f"{i:07d}") for i in range(count)), put)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    assert peak(60_000) < peak(10_000) + 2**20


def test_renames_pair_each_entry_once_and_never_empty_files():
    def at(path, content, size=1, kind=0):
        return Entry(path, kind, size, blake3(content).digest(), external=External("s3://x") if kind else None)

    old = [at("a", b"1"), at("b", b"1"), at("c", b"2"), at("e", b"", 0), at("x", b"3")]
    new = [at("p", b"1"), at("q", b"1"), at("r", b"1"), at("f", b"", 0), at("y", b"3", kind=1), at("z", b"4")]
    changes = [*[Change(e.path, e, None) for e in old], *[Change(e.path, None, e) for e in new]]
    changes.append(Change("m", at("m", b"2"), at("m", b"9")))
    assert [(r.old.path, r.new.path) for r in renames(changes)] == [("a", "p"), ("b", "q")]


def test_prefixes_and_folders_outside_the_grammar_are_refused_at_the_call():
    manifest = Pages().open(Root(bytes(32), 0, 0))
    for bad in ("/", "a/", "..", "\udcff"):
        with pytest.raises(InvalidName):
            manifest.walk(bad)
        with pytest.raises(InvalidName):
            manifest.children(bad)
