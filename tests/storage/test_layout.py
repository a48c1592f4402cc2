"""Keys and what they say, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.storage import layout
from lineart.storage.errors import InvalidInput

ID = bytes.fromhex("a1b2c3d4e5f60718293a4b5c6d7e8f90")
SUM = "0123456789abcdef"


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        (layout.MARKER, "lineart.json"),
        (layout.pack_key(1, ID), "packs/a1/a1b2c3d4e5f60718293a4b5c6d7e8f90"),
        (layout.pack_key(2, ID), "meta/a1/a1b2c3d4e5f60718293a4b5c6d7e8f90"),
        (layout.pack_folder(1), "packs/"),
        (layout.pack_folder(2), "meta/"),
        (layout.journal_folder(0), "journal/00000000/"),
        (layout.journal_folder(9_999), "journal/00000000/"),
        (layout.journal_folder(10_000), "journal/00000001/"),
        (layout.journal_key(1, 1, SUM), "journal/00000000/000000000001-000000000001-0123456789abcdef.jsonl"),
        (
            layout.journal_key(123_456, 129_999, SUM),
            "journal/00000012/000000123456-000000129999-0123456789abcdef.jsonl",
        ),
        (layout.checkpoint_key(1, 123_456), "journal/checkpoint/000000000001-000000123456.jsonl.zst"),
    ],
)
def test_keys_are_pinned(key, wanted):
    assert key == wanted


@pytest.mark.parametrize(
    "make",
    [
        lambda: layout.pack_key(3, ID),
        lambda: layout.pack_key(1, ID[:15]),
        lambda: layout.journal_key(9_999, 10_000, SUM),
        lambda: layout.journal_key(2, 1, SUM),
        lambda: layout.journal_key(-1, 1, SUM),
        lambda: layout.journal_key(1, 1, ""),
        lambda: layout.journal_key(1, 1, SUM.upper()),
        lambda: layout.journal_key(1, 1, SUM[:-1]),
        lambda: layout.checkpoint_key(1, 10**12),
        lambda: layout.journal_folder(10**12),
    ],
)
def test_what_has_no_key_is_refused(make):
    with pytest.raises(InvalidInput):
        make()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "lineart.json",
        "packs/a1/a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "packs/a1/A1B2C3D4E5F60718293A4B5C6D7E8F90",
        "packs/a2/a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "packs/a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "other/a1/a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "packs/a1/a1b2c3d4e5f60718293a4b5c6d7e8f90\n",
        "packs/a1/a1b2c3d4e5f60718293a4b5c6d7e8f90.tmp",
        "journal/00000000/000000000001-000000000001.jsonl",
        "journal/00000000/000000000001-000000000001-0123456789ABCDEF.jsonl",
        "journal/00000001/000000000001-000000000001-0123456789abcdef.jsonl",
        "journal/00000000/000000000002-000000000001-0123456789abcdef.jsonl",
        "journal/00000000/000000009999-000000010000-0123456789abcdef.jsonl",
        "journal/0/1-1-0123456789abcdef.jsonl",
        "journal/checkpoint/000000000001-000000000001.jsonl",
        "journal/checkpoint/000000000002-000000000001.jsonl.zst",
    ],
)
def test_foreign_keys_are_passed_over(key):
    assert layout.parse_pack_key(key) is None
    assert layout.parse_journal_key(key) is None


@given(st.sampled_from([1, 2]), st.binary(min_size=16, max_size=16))
def test_a_pack_key_is_read_back(kind, pack_id):
    assert layout.parse_pack_key(layout.pack_key(kind, pack_id)) == (kind, pack_id)


@given(st.integers(0, 10**12 - 1), st.integers(0, 9_999), st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_a_journal_key_is_read_back(first, more, checksum):
    last = min(first + more, first // 10_000 * 10_000 + 9_999)
    name = layout.parse_journal_key(layout.journal_key(first, last, checksum))
    assert name == (first, last, checksum)
    assert not name.is_checkpoint
    checkpoint = layout.parse_journal_key(layout.checkpoint_key(first, last))
    assert checkpoint == (first, last, None)
    assert checkpoint.is_checkpoint


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_keys_sort_as_their_events_do(one, other):
    first, second = (layout.journal_key(seq, seq, SUM) for seq in (one, other))
    assert (first < second) == (one < other)


@given(st.text())
def test_any_text_can_be_asked(text):
    layout.parse_pack_key(text)
    layout.parse_journal_key(text)
