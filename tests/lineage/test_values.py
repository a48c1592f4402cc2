"""Config and summary take anything and save JSON."""

from __future__ import annotations

import argparse
import dataclasses
import doctest
import enum
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lineart.lineage.values as module
from lineart.lineage.values import Changes, Values, plain, to_mapping
from lineart.storage.errors import InvalidInput


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    out: Path = Path("x/y")


class Colour(enum.Enum):
    RED = "red"


class Broken:
    def __repr__(self):
        raise ZeroDivisionError

    def tolist(self):
        raise ZeroDivisionError


class Scalar:
    size = 1

    def tolist(self):
        return 7


@pytest.mark.parametrize(
    "given",
    [{"lr": 0.1, "out": "x/y"}, argparse.Namespace(lr=0.1, out="x/y", _hidden=1), Settings(out="x/y")],
)
def test_a_config_is_a_mapping_a_namespace_or_a_dataclass(given):
    assert to_mapping(given) == {"lr": 0.1, "out": "x/y"}


def test_no_config_is_empty_and_anything_else_is_refused():
    assert to_mapping(None) == {}
    for odd in (3, "text", [1], Settings):
        with pytest.raises(InvalidInput):
            to_mapping(odd)


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (math.inf, "Infinity"),
        (1 << 70, str(1 << 70)),
        (True, True),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        ({3: {1, 2}}, {"3": [1, 2]}),
        ((1, 2), [1, 2]),
        (Settings(), {"lr": 0.1, "out": "x/y"}),
        (datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01T00:00:00+00:00"),
        (Scalar(), 7),
        (Broken(), "<Broken: no repr, ZeroDivisionError>"),
        ("\ud800", "\\ud800"),
        (b"\xff", "b'\\xff'"),
    ],
)
def test_values_become_json(value, json_value):
    assert plain(value) == json_value


def test_a_value_that_holds_itself_ends():
    loop = []
    loop.append(loop)
    json.dumps(plain(loop))


@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_becomes_strict_json(value):
    json.dumps(plain(value), allow_nan=False).encode()


def test_values_are_read_and_written_as_items_and_as_attributes():
    config = Values({"lr": 0.1})
    config.lr = 0.2
    config["seed"] = 7
    config.update({"a": 1}, b=2)
    config.update(argparse.Namespace(c=3))
    assert dict(config) == {"lr": 0.2, "seed": 7, "a": 1, "b": 2, "c": 3}
    assert (config.seed, len(config), "a" in config) == (7, 5, True)
    del config.a, config["b"]
    assert list(config) == ["lr", "seed", "c"]
    with pytest.raises(AttributeError, match="there are: lr, seed, c"):
        _ = config.epochs
    assert "seed" in dir(config)


def test_changes_are_known_until_they_are_stored():
    summary = Values({"old": 1})
    assert not summary.changed
    summary["loss"] = math.nan
    changes, mark = summary.changes()
    assert changes == Changes({"loss": "NaN"})
    summary["loss"] = 1.0
    summary.settle(mark)
    assert summary.changed, "what came after the mark is not stored"
    changes, mark = summary.changes()
    assert changes == Changes({"loss": 1.0})
    summary.settle(mark)
    assert not summary.changed


def test_what_other_processes_wrote_stays():
    config = Values({"a": 1, "b": 2})
    config.a = 3
    del config["b"]
    changes, _ = config.changes()
    assert changes.apply({"a": 1, "b": 2, "theirs": 5}) == {"a": 3, "theirs": 5}


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
