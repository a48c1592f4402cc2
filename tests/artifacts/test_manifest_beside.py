"""A page that is read beside its counterpart of another tree is judged as it would be alone."""

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lineart.artifacts.manifest_page import Alike, Beside, PageReader, Place
from lineart.storage.errors import IntegrityError

pack = msgspec.msgpack.encode
HOSTILE = ["", ".", "..", "/x", "a//b", "a/../b", "a/", "a\0b", "x" * 5000, "é" * 2500]


def ends_a_page(path, level):
    return int.from_bytes(blake3(bytes([level]) + path.encode()).digest()[:4], "little") * 384 < 2**32


def numbered(level):
    paths = [f"d/{i:05d}" for i in range(6000)]
    return paths, [path for path in paths if ends_a_page(path, level)]


PATHS = [numbered(0), numbered(1)]


def page_of(paths, level, kind=0):
    if level:
        return pack([1, level, [[path, bytes(32), 1, 1] for path in paths]])
    return pack([1, 0, [[path, kind, 1, bytes(32), None, False, None] for path in paths]])


@st.composite
def pairs(draw):
    """A level, where a page of it begins, the paths of an honest page, and those of one that is like it."""
    level = draw(st.sampled_from([0, 1]))
    every, ending = PATHS[level]
    start = draw(st.integers(0, 3000))
    size = draw(st.sampled_from([1, 2, 126, 127, 128, 129, 130, 200, 700]))
    honest = [path for path in every[start:] if path not in ending][:size]
    if draw(st.booleans()):
        behind = next((path for path in ending if path > honest[-1]), None)
        honest += [] if behind is None else [behind]
    other = list(honest)
    if draw(st.booleans()):  # what may end a page, among the first, where it must not, or where the other page ends
        other += every[every.index(other[-1]) + 1 :][: draw(st.integers(0, 200))]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.one_of(st.integers(0, len(other)), st.sampled_from([0, 126, 127, 128, len(other)])))
        what = draw(st.sampled_from(["drop", "swap", "twice", "ending", "hostile", "below", "cut"]))
        if what == "drop":
            del other[at : at + draw(st.sampled_from([1, 2, 127]))]
        elif what == "swap":
            other[at : at + 2] = other[at : at + 2][::-1]
        elif what == "twice":
            other[at:at] = other[at : at + 1]
        elif what == "ending" and ending:
            other = sorted({*other, draw(st.sampled_from(ending))})
        elif what == "hostile":
            other.insert(at, draw(st.sampled_from(HOSTILE)))
        elif what == "below" and at < len(other):
            other.insert(at + 1, other[at] + "/x")
        elif what == "cut":
            other = other[:at]
    return level, draw(st.sampled_from([None, "a", "d", "d/00000"])), honest, other


def judged(reader, place, beside):
    try:
        return list(reader.fetch([place], beside=beside))
    except IntegrityError as error:
        return str(error)


@settings(max_examples=400, deadline=None)
@given(pairs(), st.booleans(), st.sampled_from([0, 1]))
def test_a_page_is_judged_beside_another_as_it_is_alone(pair, last, kind):
    level, after, honest, other = pair
    for first, second in ((honest, other), (other, honest)):
        pages = {blake3(page).digest(): page for page in (page_of(first, level), page_of(second, level, kind))}
        one, two = (Place(digest, None, after, None, last) for digest in (*pages, *pages)[:2])

        def get(digests, pages=pages):
            return {digest: pages[digest] for digest in digests}

        beside = Beside()
        judged(PageReader(get), one, beside)
        assert judged(PageReader(get), two, beside) == judged(PageReader(get), two, None)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(("stands", "moved", "ends"), [(126, 1, True), (125, 2, True), (125, 1, False), (0, 127, True)])
def test_a_path_that_ends_no_page_among_the_first_may_end_one_further_behind(level, stands, moved, ends):
    every, ending = PATHS[level]
    at = every.index(ending[3])
    before, behind = ([path for path in part if path not in ending] for part in (every[:at], every[at:]))
    honest = [*before[len(before) - stands :], ending[3], *behind[:300]]
    shifted = [*(f"c/{number}" for number in range(100, 100 + moved)), *honest]
    pages = {blake3(page).digest(): page for page in (page_of(honest, level), page_of(shifted, level))}
    reader = PageReader(lambda digests: {digest: pages[digest] for digest in digests})
    for one, two in (pages, reversed(pages)):
        beside = Beside()
        first, second = (judged(reader, Place(digest, None, None, None, last=True), beside) for digest in (one, two))
        found = dict(zip((one, two), (first, second), strict=True))
        assert [isinstance(found[digest], str) for digest in pages] == [False, ends]
        assert not ends or "goes on past an item" in found[list(pages)[1]]


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 9), max_size=8))
def test_what_is_alike_is_at_both_ends_and_does_not_overlap(one, other):
    beside, place = Beside(), Place(bytes(32), 0, None, None, last=True)
    beside.keep(place, list(map(str, other)))
    start, end, others = found = beside.alike(place, list(map(str, one)))
    assert one[:start] == other[:start]
    assert one[len(one) - end :] == other[len(other) - end :]
    assert start + end <= min(len(one), len(other))
    assert others == len(other)
    assert one != other or found == (len(one), 0, len(one))
    assert beside.alike(place, []) == Alike()


def test_pages_without_a_counterpart_are_not_held_for_ever():
    beside = Beside()
    for number in range(1000):
        beside.keep(Place(bytes(32), 0, str(number), None, last=True), ["x"])
    assert beside.alike(Place(bytes(32), 0, "0", None, last=True), ["x"]) == Alike()
    assert beside.alike(Place(bytes(32), 0, "999", None, last=True), ["x"]) == Alike(1, 0, 1)
