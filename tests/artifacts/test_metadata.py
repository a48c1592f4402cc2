from __future__ import annotations

import copy
import enum
import json
import pickle
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lineart
from lineart.artifacts.metadata import LARGEST, Metadata, encode_json, plain
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.storage.errors import InvalidInput


class Scalar:
    """What numpy's scalars and arrays look like from outside."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


class Later:
    """What is too large to be in memory before its test and after it, as parameters are."""

    def __init__(self, make):
        self.make = make


class Colour(str, enum.Enum):  # noqa: UP042 - the older kind, whose str() is not its value
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def nested(depth):
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cyclic_list():
    value: list = []
    value.append(value)
    return value


def cyclic_dict():
    value: dict = {}
    value["again"] = value
    return value


def cyclic_twice():
    value: list = []
    value += [value, value]
    return value


def doubling():
    value: list = []
    for _ in range(60):
        value = [value, value]
    return value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda below: st.lists(below) | st.dictionaries(st.text("abcä "), below),
    max_leaves=20,
)


@settings(max_examples=25)
@given(st.dictionaries(st.text("abc"), JSON))
def test_json_is_kept_as_it_is(value):
    kept = Metadata(value)
    assert kept == value
    assert json.loads(encode_json(kept)) == value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Scalar(3), 3),
        (Scalar(2.5), 2.5),
        (Scalar(True), True),
        (Scalar([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ([Scalar(1)], [1]),
        (Path("a/b"), "a/b"),
        (("train", "test"), ["train", "test"]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset([2, 1]), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01T00:00:00+00:00"),
        (date(2026, 5, 1), "2026-05-01"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (-(2**63), -(2**63)),
        (-0.0, 0.0),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (-float("inf"), "-Infinity"),
        (Scalar([1.5, float("nan")]), [1.5, "NaN"]),
    ],
)
def test_close_relatives_become_json(value, kept):
    got = plain(value)
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"bytes", "bytes"),
        (object(), "object"),
        (1 + 2j, "complex"),
        (len, "builtin"),
        (2**63, "64 bits"),
        ({1: 2}, "keys are text"),
        ({None: 2}, "keys are text"),
        ({"a\0": 1}, "NUL"),
        ("\udc80", "Unicode"),
        ("a\0b", "NUL"),
        ({"\udc80": 1}, "Unicode"),
        (Path("caf\udce9"), "Unicode"),
        (nested(80), "deep"),
        (cyclic_list(), "holds itself"),
        (cyclic_dict(), "holds itself"),
        (cyclic_twice(), "holds itself"),
        (Later(lambda: "x" * 100_000_000), "put it into a file"),
        (Later(lambda: {"x" * 100_000_000: 1}), "put it into a file"),
        (["x" * 1000] * 100_000, "put it into a file"),
        (Scalar(Scalar(b"")), "bytes"),
    ],
)
def test_what_json_cannot_hold_is_refused_when_it_is_assigned(value, message):
    value = value.make() if isinstance(value, Later) else value
    held = Metadata()
    with pytest.raises(InvalidInput, match=message) as caught:
        held["key"] = value
    assert len(str(caught.value)) < 500
    assert held == {}
    with pytest.raises(InvalidInput, match=message):
        Metadata({"key": value})
    with pytest.raises(InvalidInput):
        lineart.Artifact("a", metadata={"key": value})


def test_values_that_hold_one_another_again_and_again_come_to_an_end():
    with pytest.raises(InvalidInput, match="too much"):
        plain(doubling())


def test_the_place_of_what_is_wrong_is_named():
    with pytest.raises(InvalidInput, match=r"metadata\['a'\]\[1\]\['b'\] is a complex"):
        Metadata({"a": [0, {"b": 1j}]})
    with pytest.raises(InvalidInput, match=r"config\['lr'\]"):
        Metadata(what="config")["lr"] = b""


@pytest.mark.parametrize("value", [[1], "text", 5, [("a", 1)]])
def test_metadata_is_a_dict(value):
    with pytest.raises(InvalidInput, match="is a dict"):
        Metadata(value)
    artifact = lineart.Artifact("a")
    with pytest.raises(InvalidInput):
        artifact.metadata = value


def test_every_way_to_assign_is_checked():
    held = Metadata()
    bad = {"a": 1j}
    for assign in (
        lambda: held.update(bad),
        lambda: held.update([("a", 1j)]),
        lambda: held.update(a=1j),
        lambda: held.setdefault("a", 1j),
        lambda: held.__ior__(bad),
        lambda: held.__setitem__("a", 1j),
    ):
        with pytest.raises(InvalidInput):
            assign()
    held |= {"x": Scalar(1)}
    held.update({"y": 2}, z=3)
    assert held.setdefault("x", 9) == 1
    assert held == {"x": 1, "y": 2, "z": 3}


def test_all_of_it_together_has_to_fit():
    held = Metadata()
    text = "ä" * (LARGEST // 20)
    for number in range(9):
        held[str(number)] = text
    with pytest.raises(InvalidInput, match="put it into a file"):
        held["9"] = text
    assert len(held) == 9
    held["0"] = ""
    held["9"] = text  # room was made
    encode_json(held)


def test_replacing_one_value_again_and_again_never_fills_it():
    held = Metadata()
    for _ in range(40):
        held["step"] = "x" * (LARGEST // 8)
    assert list(held) == ["step"]


def test_a_guard_is_asked_before_any_change():
    def refuse():
        raise PermissionError

    held = Metadata({"a": 1}, before=refuse)
    for change in (
        lambda: held.__setitem__("b", 1),
        lambda: held.__delitem__("a"),
        lambda: held.pop("a"),
        held.popitem,
        held.clear,
        lambda: held.update(b=1),
    ):
        with pytest.raises(PermissionError):
            change()
    assert held == {"a": 1}


def test_keys_can_be_removed():
    held = Metadata({"a": 1, "b": 2, "c": 3, "d": 4})
    del held["a"]
    assert held.pop("b") == 2
    assert held.pop("b", None) is None
    assert held.popitem() == ("d", 4)
    held.clear()
    assert held == {}


def test_it_can_be_copied_and_pickled():
    held = Metadata({"a": [1]})
    for twin in (copy.deepcopy(held), pickle.loads(pickle.dumps(held)), copy.copy(held)):
        assert twin == {"a": [1]}
        twin["b"] = 2
    assert held == {"a": [1]}


def test_what_is_assigned_is_copied():
    value = {"a": [1]}
    held = Metadata(value)
    value["a"].append(2)
    assert held == {"a": [1]}


def test_what_crept_in_below_is_found_before_anything_is_logged(store, make):
    artifact = make(metadata={"a": [1]})
    artifact.metadata["a"].append(1j)
    with pytest.raises(InvalidInput, match=r"\['a'\]\[1\]"):
        store.log(artifact)
    assert store.collections() == []
    artifact.metadata["a"].pop()
    logged = store.log(artifact)
    logged.metadata["a"].append(cyclic_list())
    with pytest.raises(InvalidInput):
        logged.save()


def test_what_crept_in_below_is_kept_as_what_is_assigned_is(store, make):
    artifact = make(metadata={"a": [1]})
    artifact.metadata["a"].extend([float("nan"), Scalar(2.5), (3,)])
    logged = store.log(artifact)
    assert logged.metadata == {"a": [1, "NaN", 2.5, [3]]}
    logged.metadata["a"].append(-float("inf"))
    logged.save()
    assert store.artifact("data").metadata == {"a": [1, "NaN", 2.5, [3], "-Infinity"]}


def test_a_loss_that_is_no_number_does_not_keep_a_model_from_being_logged(store, make):
    with start_run(store, "p", capture=Capture.none(), interval=None) as run:
        given = {"loss": float("nan"), "best": float("inf")}
        run.summary.update(given)
        first = run.log_artifact(make("model", metadata=given))
        again = make("model", metadata={**given, "epochs": [1]})
        again.metadata["epochs"].append(float("nan"))
        run.log_artifact(again)
    found = store.run(run.id)
    assert first.metadata == found.record.summary == {"loss": "NaN", "best": "Infinity"}
    assert found.made[0].metadata == {**first.metadata, "epochs": [1, "NaN"]}
    json.dumps(first.record.to_json(), allow_nan=False)


@pytest.mark.parametrize("words", [5, b"bytes", "nul \0", "\udc80", "x" * (LARGEST + 1)])
def test_a_description_is_text_of_a_sane_length(words, log):
    with pytest.raises(InvalidInput, match="description"):
        lineart.Artifact("a", description=words)
    logged = log()
    with pytest.raises(InvalidInput, match="description"):
        logged.description = words
    logged.description = None


def test_metadata_that_is_as_large_as_may_be_comes_back(store, log):
    value = {"a": "x" * (LARGEST - 100), "b": {"c": [None, True, 1.5, "ä\u2028\x7f"]}}
    log(metadata=value, description="y" * 500_000)
    assert store.artifact("data").metadata == value
    assert store.check(read_data=True).clean


def test_numpy_is_not_needed_and_not_imported():
    assert "numpy" not in vars(sys.modules["lineart.artifacts.metadata"])
