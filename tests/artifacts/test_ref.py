"""The ref grammar: what reads as what, what is refused and with which words."""

from __future__ import annotations

import doctest
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lineart.artifacts.ref as module
from lineart.artifacts.ref import (
    Ref,
    check_alias,
    check_name,
    check_project,
    check_tag,
    fold_name,
    format_time,
    parse_time,
)
from lineart.storage.errors import InvalidName

MAY_2 = int(datetime(2026, 5, 2, tzinfo=UTC).timestamp()) * 10**6


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("model", Ref(None, "model")),
        ("raw/train", Ref("raw", "train")),
        ("team/digits/model", Ref("team/digits", "model")),
        ("model:v7", Ref(None, "model", version=7)),
        ("model:latest", Ref(None, "model", alias="latest")),
        ("model:v1.0", Ref(None, "model", alias="v1.0")),
        ("model:epoch=3", Ref(None, "model", alias="epoch=3")),
        ("digits/model:best/weights/0.bin", Ref("digits", "model", alias="best", path="weights/0.bin")),
        ("model:v0/a:b@c", Ref(None, "model", version=0, path="a:b@c")),
        ("model@b3:1f3c9a07", Ref(None, "model", digest="1f3c9a07")),
        ("model@b3:1F3C9A07…", Ref(None, "model", digest="1f3c9a07")),
        ("model@b3:1f3c9a07/x y", Ref(None, "model", digest="1f3c9a07", path="x y")),
        ("model:production@2026-05-01", Ref(None, "model", alias="production", at=MAY_2 - 1)),
        ("model:production@2026-05-02T02:00:00+02:00/f", Ref(None, "model", alias="production", at=MAY_2, path="f")),
        ("model@2026-05-02T00:00:00.000001z", Ref(None, "model", at=MAY_2 + 1)),
    ],
)
def test_a_ref_reads_as(text, ref):
    assert Ref.parse(text) == ref


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "collection name is empty"),
        ("model:", "character 7: nothing after ':'"),
        ("model:/x", "nothing after ':'"),
        ("model@", "is not a time"),
        ("mo del", "' ' (character 3) is not allowed"),
        ("modèle:v1", "'è' (character 4)"),
        ("/model", "project is empty"),
        ("model/", "collection name is empty"),
        ("a//b", "its part is empty"),
        ("a/b/c/d", "a path follows only an explicit ':version'"),
        ("p/-x", "character 3: collection name '-x' starts with '-'"),
        (".x", "starts with '.'"),
        ("123", "digits only"),
        ("And", "selector grammar"),
        ("x" * 129, "129 characters, at most 128"),
        ("model:7", "version '7' is written v7"),
        ("model:V7", "is written v7"),
        ("model:v007", "is written v7"),
        ("model:be st", "alias 'be st'"),
        ("model:b3:1f3c9a07", "written with '@': @b3:1f3c9a07"),
        ("model:best@b3:1f3c9a07", "character 12: a digest stands in place of ':best'"),
        ("model@1f3c9a07", "a digest is written @b3:1f3c9a07"),
        ("model@b3:1f3c", "8 to 64 hex digits"),
        ("model@b3:" + "0" * 65, "8 to 64 hex digits"),
        ("model:v3@2026-05-01", "v3 is the same at any time"),
        ("model:best@2026-13-01", "names no real moment"),
        ("model:best@0001-01-01T00:00:00+10:00", "names no real moment"),
        ("model:best@2026-05-01T12", "is not a time"),
        ("model:best@yesterday", "is not a time"),
        ("model:v1//x", "character 10: the path"),
        ("model:v1/", "a path may not be empty"),
        ("model:v1/a/../b", "has the part '..'"),
        ("model:v1/a\0b", "holds a NUL"),
        ("s3://bucket/x", "is a URL, not a ref"),
        ("model:v99999999999999999999", "is written"),
    ],
)
def test_a_bad_ref_is_refused_with_the_rule_and_the_place(text, words):
    with pytest.raises(InvalidName) as caught:
        Ref.parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a b"},
        {"name": "a", "project": "a/b/c"},
        {"name": "a", "version": 1, "alias": "best"},
        {"name": "a", "version": -1},
        {"name": "a", "version": 1, "at": 5},
        {"name": "a", "digest": "1f3c9a07", "at": 5},
        {"name": "a", "digest": "1F3C9A07"},
        {"name": "a", "alias": "v3"},
        {"name": "a", "path": "x"},
        {"name": "a", "version": 1, "path": "/x"},
    ],
)
def test_a_ref_that_could_not_be_written_cannot_be_made(fields):
    with pytest.raises(InvalidName):
        Ref(**{"project": None, **fields})


names = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=128).filter(
    lambda s: s[0] not in "-." and not s.isdigit() and s.lower() not in {"and", "or", "not"}
)
projects = st.one_of(st.none(), names, st.builds("{}/{}".format, names, names))
aliases = names.filter(lambda s: not (s[0] in "vV" and s[1:].isdigit()))
digests = st.text("0123456789abcdef", min_size=8, max_size=64)
times = st.integers(-(10**15), 10**17)
paths = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
        lambda s: s not in {".", ".."}
    ),
    min_size=1,
).map("/".join)
choices = st.one_of(
    st.fixed_dictionaries({"version": st.integers(0, 10**18 - 1)}),
    st.fixed_dictionaries({"alias": aliases}),
    st.fixed_dictionaries({"digest": digests}),
    st.fixed_dictionaries({"alias": aliases, "at": times}),
    st.fixed_dictionaries({"at": times}),
)
refs = st.one_of(
    st.builds(Ref, projects, names),
    st.builds(
        lambda p, n, choice, path: Ref(p, n, **choice, path=path), projects, names, choices, st.none() | paths
    ).filter(lambda ref: "://" not in str(ref)),
)


@given(refs)
def test_what_is_printed_reads_as_the_same_ref(ref):
    assert Ref.parse(str(ref)) == ref
    assert str(Ref.parse(str(ref))) == str(ref)


@given(st.text())
def test_any_text_is_a_ref_or_an_invalid_name(text):
    try:
        ref = Ref.parse(text)
    except InvalidName:
        return
    assert Ref.parse(str(ref)) == ref


@given(st.text("abv31:@/-.", max_size=20))
def test_text_near_the_grammar_is_a_ref_that_round_trips_or_an_invalid_name(text):
    test_any_text_is_a_ref_or_an_invalid_name.hypothesis.inner_test(text)


@given(times)
def test_times_print_and_read_as_the_same_moment(at):
    assert parse_time(format_time(at)) == at


def test_a_date_means_its_last_microsecond():
    assert parse_time("2026-05-01") == MAY_2 - 1
    assert format_time(MAY_2 - 1) == "2026-05-01"
    assert format_time(MAY_2) == "2026-05-02T00:00:00Z"


def test_digits_past_the_microsecond_are_cut():
    assert parse_time("1970-01-01T00:00:00.1234567899Z") == 123456


def test_names_that_differ_only_by_case_have_one_key():
    assert fold_name("Model.A") == fold_name("model.a")


@pytest.mark.parametrize("text", ["gold", "needs review", "epoch=3", "v3", "a.b"])
def test_a_tag_may_hold_spaces(text):
    check_tag(text)


@pytest.mark.parametrize("text", ["", " gold", "gold ", "a\tb", "a/b", "2024", "not"])
def test_a_bad_tag_is_refused(text):
    with pytest.raises(InvalidName):
        check_tag(text)


@pytest.mark.parametrize("text", ["v3", "V3", "3", "a b", "or", "-x", "a:b"])
def test_a_bad_alias_is_refused(text):
    with pytest.raises(InvalidName):
        check_alias(text)


@pytest.mark.parametrize("text", ["a", "team/project", "A.b/c-d"])
def test_a_project_may_hold_one_slash(text):
    check_project(text)


@pytest.mark.parametrize("text", ["", "/", "a/", "a/b/c", "a/-b", "a b"])
def test_a_bad_project_is_refused(text):
    with pytest.raises(InvalidName):
        check_project(text)


def test_the_message_says_what_was_named():
    with pytest.raises(InvalidName, match="run name 'a b'"):
        check_name("run name", "a b")


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
