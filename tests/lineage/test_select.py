"""The grammar of selectors: what is read, how it is printed again, and where an error points."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lineart.lineage.globs as globs_module
import lineart.lineage.select as select_module
from lineart.artifacts.ref import Ref
from lineart.lineage.globs import Many, One, matcher
from lineart.lineage.select import (
    ATTRIBUTES,
    DEEPEST,
    VALUES,
    And,
    Attribute,
    Function,
    Not,
    Or,
    Steps,
    parse_selector,
)
from lineart.storage.errors import InvalidInput, InvalidSelector

X, Y, Z = Many(None, "x"), Many(None, "y"), Many(None, "z")

READ = {
    "x": X,
    "  x\n": X,
    "p/x": Many("p", "x"),
    "team/p/x": Many("team/p", "x"),
    "x:v7": One(Ref(None, "x", 7)),
    "x:best": One(Ref(None, "x", alias="best")),
    "x:epoch=3": One(Ref(None, "x", alias="epoch=3")),
    "a.b-c_2:v1.0": One(Ref(None, "a.b-c_2", alias="v1.0")),
    "x@b3:0123abcd": One(Ref(None, "x", digest="0123abcd")),
    "x:best@1970-01-01": One(Ref.parse("x:best@1970-01-01")),
    "x@1970-01-01T12:00:00+02:00": One(Ref.parse("x@1970-01-01T10:00:00Z")),
    "x@1970-01-01T12:00:00.5+02:00+1": Steps(One(Ref.parse("x@1970-01-01T10:00:00.5Z")), 0, 1),
    "x@1970-01-01T12:00:00Z+2": Steps(One(Ref.parse("x@1970-01-01T12:00:00Z")), 0, 2),
    "x:v*": Many(None, "x", "v*"),
    "*/x:v3": Many("*", "x", "v3"),
    "x-*:v1?": Many(None, "x-*", "v1?"),
    "*": Many(None, "*"),
    "team/*/*": Many("team/*", "*"),
    "+x": Steps(X, None, 0),
    "x+": Steps(X, 0, None),
    "+x+": Steps(X, None, None),
    "2+x+1": Steps(X, 2, 1),
    "2 + x + 1": Steps(X, 2, 1),
    "0+x": Steps(X, 0, 0),
    "x+1000000000": Steps(X, 0, 10**9),
    "2x+1": Steps(Many(None, "2x"), 0, 1),
    "(+x)+": Steps(Steps(X, None, 0), 0, None),
    "type=model": Attribute("type", "model"),
    "TYPE=model": Attribute("type", "model"),
    'tag="needs review"': Attribute("tag", "needs review"),
    r'tag="\"\\"': Attribute("tag", '"\\'),
    "tag=a=b": Attribute("tag", "a=b"),
    "state=Deleted": Attribute("state", "Deleted"),
    'job_type="a*"': Attribute("job_type", "a*"),
    "+type=model+1": Steps(Attribute("type", "model"), None, 1),
    "x or y and not z": Or((X, And((Y, Not(Z))))),
    "(x or y) and z": And((Or((X, Y)), Z)),
    "x AND y OR z": Or((And((X, Y)), Z)),
    "not not x": Not(Not(X)),
    "not +x": Not(Steps(X, None, 0)),
    "x and (y and z)": And((X, And((Y, Z)))),
    "roots(x)": Function("roots", (X,)),
    "roots": Many(None, "roots"),
    "Sinks( x or y )+": Steps(Function("sinks", (Or((X, Y)),)), 0, None),
    "path(x, +y)": Function("path", (X, Steps(Y, None, 0))),
    "type": Many(None, "type"),
}


@pytest.mark.parametrize("text", READ)
def test_a_selector_is_read(text):
    assert parse_selector(text) == READ[text]
    assert parse_selector(str(READ[text])) == READ[text]


WRONG = {
    "": (0, "expected a name"),
    "   ": (3, "expected a name"),
    "and": (0, "expected a name"),
    "x y": (2, "expected `and`, `or` or the end, not `y`"),
    "x and": (5, "expected a name"),
    "x and and y": (6, "not `and`"),
    "x and and": (6, "not `and`"),
    "not": (3, "expected a name"),
    "(x": (2, "expected `and`, `or` or `)`"),
    "x)": (1, "not `)`"),
    "()": (1, "not `)`"),
    "+": (1, "expected a name"),
    "++x": (1, "not `+`"),
    "x++": (2, "not `+`"),
    "5": (0, "digits only"),
    "-1+x": (0, "0 or more"),
    "x+-1": (2, "0 or more"),
    "x+1000000001": (2, "at most 1,000,000,000 steps"),
    "x+" + "9" * 5000: (2, "at most"),
    "x+1x": (2, "not `1x`"),
    "path(x)": (6, "`,` and the other end"),
    "path(x, y, z)": (9, "expected `and`, `or` or `)`, not `,`"),
    "roots()": (6, "expected a name"),
    "frob(x)": (0, "there is no function 'frob'; there are roots, sinks, path"),
    "frob=x": (0, "there is no attribute 'frob'; there are alias, "),
    "x and tag=": (10, "expected a value behind `tag=`"),
    'tag="x': (4, "is not closed"),
    '"x"': (0, "expected a name"),
    'x and "': (6, "is not closed"),
    "tag=a*": (4, "in quotes"),
    "state=lost": (6, "live, deleted, purged"),
    "x:v01": (0, "is written v1"),
    "x:prod*": (0, "over version numbers"),
    "*:best": (0, "alias=…"),
    "*:v01": (0, "is written v1"),
    "x:v7/weights": (0, "whole versions"),
    "a*/b/c/d": (0, "at most one '/'"),
    "-*": (0, "a name has"),
    "s3://bucket/*": (0, "over version numbers"),
    "s3://bucket/x": (0, "URL"),
    "x and é": (6, "not allowed"),
    "x\x00": (0, "not allowed"),
    "٣+x": (0, "not allowed"),
    "🙂": (0, "not allowed"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_selector_is_refused_at_its_place(text):
    position, said = WRONG[text]
    with pytest.raises(InvalidSelector) as caught:
        parse_selector(text)
    assert caught.value.position == position
    assert said in str(caught.value)
    assert isinstance(caught.value, InvalidInput)


def test_an_error_shows_the_text_and_a_caret_below_the_place():
    with pytest.raises(InvalidSelector) as caught:
        parse_selector("model and and x")
    assert str(caught.value).splitlines()[1:] == ["  model and and x", "            ^"]


def test_the_caret_stands_right_behind_wide_and_unprintable_characters():
    with pytest.raises(InvalidSelector) as caught:
        parse_selector('tag="日本\x1b[2J" )')
    _, shown, caret = str(caught.value).split("\n")
    assert "\x1b" not in shown
    assert caret.index("^") == len('  tag="') + 4 + len("\\x1b[2J") + len('" ')


def test_of_a_long_text_the_error_shows_what_is_near():
    with pytest.raises(InvalidSelector) as caught:
        parse_selector(" or ".join(["abc"] * 5000) + " ) " + " or ".join(["xyz"] * 5000))
    assert len(str(caught.value)) < 500
    assert str(caught.value).count("…") == 2


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 99_999 + ")" * 99_999,
        "not " * 24_000 + "x",
        "roots(" * 16_000,
        "x and (" * 14_000,
        "+(" * 50_000,
    ],
)
def test_what_nests_without_end_is_refused(text):
    with pytest.raises(InvalidSelector, match=r"within each other|characters"):
        parse_selector(text)


def test_as_deep_as_is_allowed_is_read_and_printed():
    text = "+(" * DEEPEST + "x" + ")" * DEEPEST
    assert parse_selector(str(parse_selector(text))) == parse_selector(text)
    with pytest.raises(InvalidSelector, match=f"more than {DEEPEST}"):
        parse_selector(f"({text})")


def test_thousands_of_alternatives_are_no_nesting():
    assert len(parse_selector(" or ".join(f"x:v{n}" for n in range(5000))).parts) == 5000


def test_a_hostile_glob_takes_no_time():
    assert not matcher("*a" * 60 + "b").fullmatch("a" * 128)
    assert not matcher("*?" * 60 + "b").fullmatch("a" * 128)


@given(st.text(alphabet='xv1+*?()=,":@/. \\-\nandortyp', max_size=40))
def test_any_text_is_read_or_refused_at_a_place_in_it(text):
    try:
        found, position = parse_selector(text), 0
    except InvalidSelector as error:
        found, position = None, error.position
    assert 0 <= position <= len(text)
    assert found is None or parse_selector(str(found)) == found


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,6}", fullmatch=True).filter(
    lambda one: one.lower() not in {"and", "or", "not"}
)
refs = st.builds(Ref, st.none() | names, names, version=st.integers(0, 10**6)) | st.builds(
    Ref, names, names, alias=names.filter(lambda one: not one.lower().lstrip("v").isdigit()), at=st.integers(0, 10**15)
)
patterns = st.builds(
    Many, st.none() | names | st.just("*"), names.map(lambda one: f"{one}*"), st.none() | st.just("v?")
)
attributes = st.builds(
    Attribute, st.sampled_from([one for one in ATTRIBUTES if one not in VALUES]), st.text(max_size=9)
)
leaves = refs.map(One) | st.builds(Many, st.none() | names, names) | patterns | attributes
steps = st.none() | st.integers(0, 10**9)


def larger(inner):
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return (
        st.builds(Steps, inner, steps, steps)
        | st.builds(Not, inner)
        | st.builds(And, several)
        | st.builds(Or, several)
        | st.builds(lambda name, one: Function(name, (one,)), st.sampled_from(["roots", "sinks"]), inner)
        | st.builds(lambda a, b: Function("path", (a, b)), inner, inner)
    )


@given(st.recursive(leaves, larger, max_leaves=12))
def test_what_is_printed_is_read_as_the_same(tree):
    assert parse_selector(str(tree)) == tree


@pytest.mark.parametrize("module", [select_module, globs_module])
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0
