from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.artifacts.entry import (
    EXTERNAL,
    FILE,
    MAX_INTEGER,
    Entry,
    External,
    PathOrder,
    check_path,
    check_paths,
    encode_entries,
    shown,
)
from lineart.storage.errors import InvalidInput, InvalidName

BAD = [
    "",
    "/",
    "/x",
    "x/",
    "a//b",
    ".",
    "..",
    "../x",
    "a/..",
    "a/./b",
    "a/../b",
    "a\0b",
    "x" * 4097,
    "é" * 2049,
    "\udcff",
]
FINE = [
    "a",
    "...",
    "a/.b",
    "..a",
    "a..",
    "C:\\x",
    "..\\x",
    "CON",
    "a b",
    "a\nb",
    "\x7f",
    "%2e%2e/x",
    "é" * 2048,
    "x" * 4096,
    "e\u0301",
]


@pytest.mark.parametrize("path", BAD)
def test_a_path_outside_the_grammar_is_refused(path):
    with pytest.raises(InvalidName):
        check_path(path)
    with pytest.raises(InvalidName):
        check_paths(["a", path, "b"])


@pytest.mark.parametrize("path", FINE)
def test_what_a_posix_disk_can_hold_is_kept(path):
    check_path(path)
    check_paths(["a", path, "b"])


def test_a_name_that_is_not_utf8_is_escaped_in_the_message():
    with pytest.raises(InvalidName, match=r"'caf\\udce9'") as caught:
        check_path("caf\udce9")
    str(caught.value).encode()
    assert "ignore" in str(caught.value)


def test_a_long_name_is_shortened_and_control_characters_are_escaped_in_messages():
    assert len(shown("x" * 9999)) < 250
    assert shown("a\x1b[31m\n") == "'a\\x1b[31m\\n'"


@given(st.lists(st.text(st.sampled_from("a./\0é\udc80"), max_size=6), max_size=6))
def test_checking_many_paths_equals_checking_each(paths):
    def refused(check) -> bool:
        try:
            check()
        except InvalidName:
            return True
        return False

    assert refused(lambda: check_paths(paths)) == any(refused(lambda path=path: check_path(path)) for path in paths)


def naive_order_holds(paths: list[str]) -> bool:
    files = set(paths)
    folders = {path[:i] for path in paths for i, letter in enumerate(path) if letter == "/"}
    ascending = [p.encode() for p in paths] == sorted({p.encode() for p in paths})
    return ascending and not files & folders


@given(st.sets(st.text(st.sampled_from("ab-/0é😀"), max_size=7)), st.integers(1, 5))
def test_the_order_of_paths_refuses_exactly_clashes_whatever_the_portions(paths, portion):
    ordered = sorted(paths)
    order = PathOrder()
    try:
        for start in range(0, len(ordered), portion):
            order.feed(ordered[start : start + portion])
        held = True
    except InvalidName:
        held = False
    assert held == naive_order_holds(ordered)


@given(st.lists(st.sampled_from(["a", "a-b", "a/x", "b", "b/c"]), max_size=5), st.integers(1, 3))
def test_the_order_of_paths_refuses_what_is_unsorted_or_twice(paths, portion):
    order = PathOrder()
    try:
        for start in range(0, len(paths), portion):
            order.feed(paths[start : start + portion])
        held = True
    except InvalidName:
        held = False
    assert held == naive_order_holds(paths)


def test_a_file_and_its_folder_are_found_across_neighbours():
    with pytest.raises(InvalidName, match=r"'a' is a file and also the folder of 'a/x'"):
        PathOrder().feed(["a", "a!", "a-b", "a-b-c", "a/x"])
    PathOrder().feed(["a", "a-b", "a.b/x", "a0/x"])


def test_an_entry_is_an_array_of_seven_in_the_order_of_the_format():
    entry = Entry("p", EXTERNAL, 5, bytes(32), None, True, External("s3://b/k", "e", None))
    assert msgspec.msgpack.decode(encode_entries([entry])[0]) == [
        "p", 1, 5, bytes(32), None, True, ["s3://b/k", "e", None],
    ]  # fmt: skip


def test_entries_survive_encoding():
    entries = [
        Entry("a", FILE, 0, bytes(32)),
        Entry("b", FILE, MAX_INTEGER, b"\xff" * 32, b"r" * 32, executable=True),
        Entry("c", EXTERNAL, 9, bytes(32), external=External("https://x/" + "y" * 4000)),
    ]
    assert [msgspec.msgpack.decode(data, type=Entry) for data in encode_entries(entries)] == entries
    assert encode_entries([]) == []


@pytest.mark.parametrize(
    "entry",
    [
        Entry("bad", 2, 0, bytes(32)),
        Entry("bad", FILE, -1, bytes(32)),
        Entry("bad", FILE, MAX_INTEGER + 1, bytes(32)),
        Entry("bad", FILE, 2**70, bytes(32)),
        Entry("bad", FILE, 1, b"short"),
        Entry("bad", FILE, 1, bytes(32), b"short"),
        Entry("bad", FILE, 1, bytes(32), external=External("s3://x")),
        Entry("bad", EXTERNAL, 1, bytes(32)),
        Entry("bad", EXTERNAL, 1, bytes(32), bytes(32), external=External("s3://x")),
        Entry("bad", EXTERNAL, 1, bytes(32), external=External("")),
        Entry("bad", EXTERNAL, 1, bytes(32), external=External("u" * 4097)),
        Entry("bad", EXTERNAL, 1, bytes(32), external=External("u", "e" * 257)),
        Entry("bad", FILE, 1.5, bytes(32)),
        Entry("bad", FILE, 1, object()),
    ],
)
def test_fields_that_cannot_be_stored_are_refused_by_name(entry):
    with pytest.raises(InvalidInput, match="'bad'"):
        encode_entries([Entry("good", FILE, 0, bytes(32)), entry])
