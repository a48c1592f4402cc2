from __future__ import annotations

import struct
import tracemalloc

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.artifacts.entry import Entry
from lineart.artifacts.manifest import Manifest, build, diff, edit
from lineart.artifacts.manifest_page import MAX_PAGE, PageReader, top_place
from lineart.storage.errors import FormatTooNew, IntegrityError

pack = msgspec.msgpack.encode
MEBIBYTE = 2**20


def item(path, size=1, **other):
    fields = {
        "path": path,
        "kind": 0,
        "size": size,
        "digest": bytes(32),
        "recipe": None,
        "executable": False,
        "external": None,
    }
    return list({**fields, **other}.values())


def leaf(*items):
    return pack([1, 0, list(items)])


class Store(dict):
    """A store that a hostile hand has filled: pages by digest, put together freely."""

    def add(self, page):
        digest = blake3(page).digest()
        self[digest] = page
        return digest

    def above(self, page, path=None, entries=None, size=None):
        """Return what an honest parent would say of a page, but for what is given."""
        _, level, items = msgspec.msgpack.decode(page)
        honest_entries = sum(i[2] for i in items) if level else len(items)
        honest_size = sum(i[3] if level else i[2] for i in items)
        return [
            items[-1][0] if path is None else path,
            self.add(page),
            honest_entries if entries is None else entries,
            honest_size if size is None else size,
        ]

    def get(self, digests):
        return {digest: self[digest] for digest in digests}


def refused(root, get, match="manifest page b3:[0-9a-f]{64} is damaged"):
    """Whatever reads the manifest whole must refuse it, in bounded memory."""
    tracemalloc.start()
    try:
        for read in (
            lambda: list(Manifest(root, get).walk()),
            lambda: list(diff(Manifest(build([], {}.__setitem__).digest, with_empty(get)), Manifest(root, get))),
        ):
            with pytest.raises(IntegrityError, match=match):
                read()
        assert tracemalloc.get_traced_memory()[1] < 32 * MEBIBYTE
    finally:
        tracemalloc.stop()


def with_empty(get):
    empty = {}
    build([], empty.__setitem__)
    return lambda digests: {d: empty[d] if d in empty else get([d])[d] for d in digests}


def refused_page(page, match="is damaged"):
    store = Store()
    root = store.add(page)
    refused(root, store.get, match)
    for read in (
        lambda m: m.entries,
        lambda m: m.size,
        lambda m: m.lookup("a"),
        lambda m: list(m.children()),
        lambda m: list(m.pages()),
    ):
        with pytest.raises(IntegrityError, match=match):
            read(Manifest(root, store.get))
    with pytest.raises(IntegrityError, match=match):
        edit(root, {"new": Entry("new", 0, 1, bytes(32))}, store.get, {}.__setitem__)


def full_leaf(start, count=2048):
    """A page of items none of which ends it by its path."""
    paths, number = [], start
    while len(paths) < count:
        path = f"{number:08d}"
        if int.from_bytes(blake3(b"\0" + path.encode()).digest()[:4], "little") * 384 >= 2**32:
            paths.append(path)
        number += 1
    return leaf(*map(item, paths))


@pytest.fixture(scope="module")
def pair():
    return full_leaf(0), leaf(item("99999998"), item("99999999"))


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a//b", "a/", ".", "", "a\0b", "x" * 4097, "é" * 2049])
def test_a_page_with_a_path_outside_the_grammar_is_refused(path):
    refused_page(leaf(item(path)))


@pytest.mark.parametrize("paths", [["b", "a"], ["a", "a"], ["a", "a/x"], ["a", "a-b", "a/x"], ["\U0001f600", "\uffff"]])
def test_a_page_of_unsorted_twin_or_clashing_paths_is_refused(paths):
    refused_page(leaf(*map(item, paths)))


@pytest.mark.parametrize(
    "bad",
    [
        item("a", kind=2),
        item("a", kind=-1),
        item("a", kind=False),
        item("a", size=-1),
        item("a", size=2**63),
        item("a", size=1.0),
        item("a", digest=bytes(31)),
        item("a", digest="x" * 32),
        item("a", recipe=b""),
        item("a", executable=1),
        item("a", external=["s3://x", None, None]),
        item("a", kind=1),
        item("a", kind=1, recipe=bytes(32), external=["s3://x", None, None]),
        item("a", kind=1, external=["", None, None]),
        item("a", kind=1, external=["s3://x", None]),
        item("a", kind=1, external=["s3://x", None, None, None]),
        item("a", kind=1, external=["s3://" + "x" * 5000, None, None]),
        item(b"a"),
        item("a")[:6],
        item("a")[:4],
        [*item("a"), None],
        {"path": "a"},
        None,
    ],
)
def test_an_entry_that_is_not_of_the_format_is_refused(bad):
    refused_page(leaf(bad))


GOOD = leaf(item("a"), item("b"))


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"\x93",
        b"\xc1",
        b"\x93\x01",
        GOOD[:-1],
        GOOD + b"\0",
        GOOD * 2,
        pack([1, 0]),
        pack([1, 0, [], None]),
        pack([0, 0, []]),
        pack([1, -1, []]),
        pack([1, 1, []]),
        pack([1, 16, [["a", bytes(32), 1, 1]]]),
        pack([1, 0, {}]),
        pack({"format": 1}),
        b"\x93\x01\x00\xdc\x00\x00",  # an array header longer than needed
        b"\x93\x01\xcc\x00\x90",  # an integer longer than needed
        b"\x93\xd0\x01\x00\x90",
        b"\xdc\x00\x03\x01\x00\x90",
        b"\x93\x01\x00\xdd\xff\xff\xff\xff",  # claims of what does not come
        b"\x93\x01\x01\xdd\xff\xff\xff\xff" + b"\x94" * 1000,
        b"\x93\x01\x00\x91\x97\xdb\xff\xff\xff\xff",
        b"\x93\x01\x00\x91\x97\xa1\xff" + GOOD[7:],  # not UTF-8
        b"\x93\x01\x00" + b"\x91" * 900_000,  # deep
        b"\x93\x01\x00\x91\x97\xa1a\x00\x01\xc4\x20" + bytes(32) + b"\x91" * 900_000,
    ],
)
def test_truncated_garbled_or_differently_encoded_pages_are_refused(page):
    refused_page(page)


def test_a_page_of_a_later_format_says_so():
    store = Store()
    root = store.add(pack([2, 0, []]))
    with pytest.raises(FormatTooNew, match="format 2"):
        list(Manifest(root, store.get).walk())


def test_oversized_pages_are_refused_undecoded():
    refused_page(
        b"\x93\x01\x00" + b"\xdd" + struct.pack(">I", 2**25) + b"\x90" * 2**22, match="more than a page can have"
    )
    refused_page(b"\x93\x01\x00" + b"\xdd" + struct.pack(">I", MAX_PAGE) + b"\x90" * (MAX_PAGE - 8))


def test_too_many_items_are_refused(pair):
    _, _, items = msgspec.msgpack.decode(pair[0])
    refused_page(leaf(*items, item("99999999")))


def test_a_page_that_goes_on_past_an_item_that_ends_it_is_refused():
    paths = [f"{i:08d}" for i in range(2000)]
    pages = {}
    root = build([Entry(path, 0, 1, bytes(32)) for path in paths], pages.__setitem__)
    assert len(pages) > 2
    assert root.digest in pages
    refused_page(leaf(*map(item, paths)), match="goes on past an item")


def ends_a_page(path):
    return int.from_bytes(blake3(b"\0" + path.encode()).digest()[:4], "little") * 384 < 2**32


def test_a_page_that_goes_on_is_refused_beside_an_honest_one_with_the_same_paths(pair):
    paths = [f"{i:08d}" for i in range(10_000, 13_000)]
    first = next(i for i, path in enumerate(paths) if i >= 140 and ends_a_page(path))
    before = [path for path in paths[:first] if not ends_a_page(path)]
    behind = [path for path in paths[first + 1 :] if not ends_a_page(path)][:1000]
    assert len(before) > 127
    store = Store()

    def tree(paths):
        pages = pair[0], leaf(*map(item, paths))
        return Manifest(store.add(pack([1, 1, [store.above(page) for page in pages]])), store.get)

    honest = [*before[:100], paths[first], *behind]  # none of a page's first 127 ends it
    hostile = [*before, paths[first], *behind]
    assert [one.path for one in diff(tree(behind), tree(honest))] == honest[:101]
    for a, b in ((honest, hostile), (hostile, honest)):
        with pytest.raises(IntegrityError, match="goes on past an item"):
            list(diff(tree(a), tree(b)))


def test_a_page_that_goes_on_past_a_mebibyte_is_refused():
    paths, number = [], 0
    while len(paths) < 257:
        path = f"{number:08d}" + "x" * 4088
        number += 1
        if int.from_bytes(blake3(b"\0" + path.encode()).digest()[:4], "little") * 384 >= 2**32:
            paths.append(path)
    refused_page(leaf(*map(item, paths)), match="past the bytes")


def test_a_page_that_ends_where_no_page_ends_is_refused(pair):
    store = Store()
    first, second = leaf(*msgspec.msgpack.decode(pair[0])[2][:100]), pair[1]
    refused(store.add(pack([1, 1, [store.above(first), store.above(second)]])), store.get, "ends where no page ends")


def test_honest_pages_put_together_by_hand_are_read(pair):
    store = Store()
    root = store.add(pack([1, 1, [store.above(page) for page in pair]]))
    assert len(list(Manifest(root, store.get).walk())) == 2050


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"entries": 2047}, "2048 entries"),
        ({"entries": 2**62}, "its parent says"),
        ({"size": 7}, "its parent says"),
        ({"path": "00009999"}, "last path"),
        ({"path": "00000001"}, "last path"),
    ],
)
def test_a_parent_that_lies_about_a_page_is_refused(pair, lie, match):
    store = Store()
    root = store.add(pack([1, 1, [store.above(pair[0], **lie), store.above(pair[1])]]))
    refused(root, store.get, match)
    for read in (lambda m: m.lookup("00000000"), lambda m: list(m.walk("00000000")), lambda m: list(m.children())):
        with pytest.raises(IntegrityError, match="is damaged"):
            read(Manifest(root, store.get))


def test_totals_out_of_range_are_refused():
    refused_page(pack([1, 1, [["a", bytes(32), 2**62, 1], ["b", bytes(32), 2**62, 1]]]), match="out of range")
    refused_page(leaf(item("a", 2**62), item("b", 2**62)), match="out of range")


def test_a_page_whose_paths_begin_before_the_page_in_front_ends_is_refused(pair):
    store = Store()
    overlapping = leaf(item("00000003"), item("99999999"))
    refused(
        store.add(pack([1, 1, [store.above(pair[0]), store.above(overlapping)]])), store.get, "order of their bytes"
    )


def test_a_page_of_the_wrong_level_is_refused(pair):
    store = Store()
    inner = pack([1, 1, [store.above(page) for page in pair]])
    beside = store.above(leaf(item("~")))
    for level in (1, 3, 15):
        root = store.add(pack([1, level, [store.above(inner), beside]]))
        refused(root, store.get, "level")


def test_an_inner_root_of_one_item_is_refused(pair):
    store = Store()
    refused_page(pack([1, 1, [store.above(pair[0])]]), match="at least two items")


def test_a_page_that_is_its_own_child_is_refused():
    fake = bytes(32)
    page = pack([1, 15, [["a", fake, 1, 1], ["b", fake, 1, 1]]])
    refused(fake, lambda digests: dict.fromkeys(digests, page), "level")


def test_a_long_ladder_of_pages_that_all_lie_is_refused():
    def get(digests):
        return {
            d: pack([1, 15 - d[0], [["a", bytes([d[0] + 1]) * 32, 1, 1], ["b", bytes([d[0] + 1]) * 32, 1, 1]]])
            for d in digests
        }

    refused(bytes(32), get)


def test_a_page_that_the_store_does_not_return_is_refused():
    refused(bytes(32), lambda digests: {}, "it is missing")


def test_a_file_that_is_a_folder_pages_away_is_refused_when_walked_or_listed():
    store = Store()
    between = []
    number = 0
    while len(between) < 4095:
        path = f"a-{number:08d}"
        number += 1
        if int.from_bytes(blake3(b"\0" + path.encode()).digest()[:4], "little") * 384 >= 2**32:
            between.append(path)
    paths = ["a", *between, "a/x"]
    leaves = [leaf(*map(item, paths[i : i + 2048])) for i in range(0, len(paths), 2048)]
    root = store.add(pack([1, 1, [store.above(page) for page in leaves]]))
    manifest = Manifest(root, store.get)
    for read in (manifest.walk, manifest.children, lambda: manifest.walk("a")):
        with pytest.raises(IntegrityError, match="'a' is a file and also the folder of 'a/"):
            list(read())


def parse(page):
    return PageReader(lambda digests: dict.fromkeys(digests, page)).one(top_place(bytes(32)))


def accepts_only_the_format(page):
    """A parser of hostile bytes either refuses them or gives what encodes to exactly these bytes."""
    try:
        level, items = parse(page)
    except (IntegrityError, FormatTooNew):
        return
    assert pack([1, level, items]) == page


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"\x93\x01" + tail))
@settings(max_examples=300, deadline=None)
def test_the_parser_withstands_random_bytes(page):
    accepts_only_the_format(page)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=33),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=20,
)


@given(
    plain
    | st.lists(plain, max_size=7).map(lambda fields: [1, 0, [fields]])
    | st.lists(plain, max_size=5).map(lambda fields: [1, 1, [fields]])
)
@settings(max_examples=150, deadline=None)
def test_the_parser_withstands_other_msgpack(value):
    accepts_only_the_format(pack(value))


SAMPLES = [
    GOOD,
    leaf(
        item("a", kind=1, external=["s3://x", "e", None]),
        item("b/c", recipe=bytes(32)),
        *[item(f"c/{i:02d}") for i in range(30)],
    ),
    pack([1, 1, [[f"{i:03d}", bytes([i]) * 32, i, i * 300] for i in range(200)]]),
]


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=500, deadline=None)
def test_the_parser_withstands_damaged_pages(page, data):
    damaged = bytearray(page)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        what = data.draw(st.sampled_from(["flip", "cut", "insert", "end"]))
        if what == "flip" and damaged:
            damaged[where] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "cut":
            del damaged[where : where + data.draw(st.integers(1, 40))]
        elif what == "insert":
            damaged[where:where] = data.draw(st.binary(min_size=1, max_size=10))
        else:
            del damaged[where:]
    accepts_only_the_format(bytes(damaged))
