"""Events and their lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.storage.errors import IntegrityError, InvalidInput
from lineart.storage.events import LINE_LIMIT, Event, canonical, plain

LINE = (
    b'{"actor":"ann","data":{"from":null,"to":6},"kind":"alias.set","reason":"better","seq":7,'
    b'"subject":"digits/mod\xc3\xa8le","time":1700000000000000}\n'
)
EVENT = Event("alias.set", "digits/modèle", {"to": 6, "from": None}, "better", 1_700_000_000_000_000, "ann", 7)

text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def test_the_line_of_an_event_is_pinned():
    assert EVENT.to_line() == LINE
    assert Event.from_line(LINE) == EVENT


@given(st.dictionaries(text, json_values, max_size=5), text, text, st.none() | text, st.integers(0), st.integers(1))
def test_every_event_reads_back_from_one_line(data, subject, actor, reason, time, seq):
    event = Event("kind", subject, data, reason, time, actor, seq)
    line = event.to_line()
    assert line.count(b"\n") == 1
    assert Event.from_line(line) == event
    assert Event.from_line(line).to_line() == line


def test_the_order_of_keys_does_not_matter():
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})


def test_folds_see_data_as_it_reads_back():
    assert plain({"a": (1, 2)}) == ('{"a":[1,2]}', {"a": [1, 2]})


@pytest.mark.parametrize(
    "bad", [float("nan"), float("-inf"), b"bytes", {1: "a", "1": "b"}, {True: 1, "true": 2}, "\ud800", object()]
)
def test_what_is_not_json_is_refused(bad):
    with pytest.raises(InvalidInput):
        plain({"value": bad})


def test_data_that_is_nested_without_end_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput):
        plain({"value": deep})


def test_an_event_without_a_number_has_no_line():
    with pytest.raises(InvalidInput):
        Event("kind", "subject", {}, None, 0, "ann").to_line()


def test_an_event_longer_than_the_limit_has_no_line():
    with pytest.raises(InvalidInput, match="more than"):
        Event("kind", "subject", {"a": "x" * LINE_LIMIT}, None, 0, "ann", 1).to_line()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        LINE.replace(b'"seq":7', b'"seq":0'),
        LINE.replace(b'"seq":7', b'"seq":true'),
        LINE.replace(b'"seq":7', b'"seq":7.5'),
        LINE.replace(b'"seq":7', b'"seq":7,"seq":8'),
        LINE.replace(b'"to":6', b'"to":NaN'),
        LINE.replace(b'"to":6', b'"to":1e999'),
        LINE.replace(b'"actor":"ann",', b""),
        LINE.replace(b'"actor":"ann"', b'"actor":null'),
        LINE.replace(b'"actor":"ann"', b'"actor":"ann","more":1'),
        LINE[:-3],
        b'{"a":' * 100_000,
        b'{"actor":' + b"9" * 10_000 + b"}",
    ],
)
def test_a_hostile_line_is_refused(line):
    with pytest.raises(IntegrityError):
        Event.from_line(line)
