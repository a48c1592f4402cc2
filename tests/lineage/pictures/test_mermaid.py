"""Mermaid: what is written is read back by a strict reader of the little of the language that is used.

By hand, real Mermaid 11 parsed all that these tests write, and its pictures of the bad labels showed them as they are.
"""

from __future__ import annotations

import doctest
import re

import pytest

import lineart.lineage.pictures.mermaid as mermaid_module
from lineart.lineage.columns import escape
from lineart.lineage.pictures.drawing import clean
from lineart.lineage.pictures.mermaid import MOST_CHARACTERS, MOST_EDGES, mermaid

SAFE = r"(?:[^\W\d_]|[\d ,:/()+=…·⁠._-]|[^\x00-\x7f]|#\d+;|<br>)*"
LINE = re.compile(
    "  (?:"
    + "|".join(
        (
            r"%% (?P<comment>[^{}]*)",
            rf'(?P<box>n\d+|note)(?P<shape>\["{SAFE}"\]|\(\["{SAFE}"\]\)|\[\("{SAFE}"\)\]|>"{SAFE}"\])',
            r"(?P<tail>n\d+) (?:-->|-\.->) (?P<head>n\d+)",
            r"classDef [a-z]+ (?:[a-z-]+:[#\w. ]+,?)+",
            r"class (?P<members>(?:n\d+|note)(?:,n\d+|,note)*) [a-z]+",
        )
    )
    + ")"
)


def read(text):
    """Return boxes (name → label) and edges; fails at a line that is anything else."""
    assert text.endswith("\n")
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    boxes, edges = {}, []
    for line in lines:
        found = LINE.fullmatch(line)
        assert found, line
        if found["box"]:
            assert found["box"] not in boxes
            label = re.search(r'"(.*)"', found["shape"])[1]
            boxes[found["box"]] = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label.replace("<br>", "\n"))
        elif found["tail"]:
            edges.append((found["tail"], found["head"]))
        elif found["members"]:
            assert set(found["members"].split(",")) <= set(boxes)
    assert {end for edge in edges for end in edge} <= set(boxes)
    return boxes, edges


def test_a_graph_is_boxes_and_arrows(digits):
    text = mermaid(digits)
    boxes, edges = read(text)
    assert len(boxes) == len(digits)
    assert len(edges) == digits.number_of_edges()
    assert "model:v7\n1.2 GiB · 1 file\n[best] [production]" in boxes.values()
    assert '(["train<br>r8k2 · a1b2c3d+ · 6h12m"])' in text
    assert '[("s3://corpus/web/<br>4,112 objects · 1.0 TiB")]' in text
    assert "-.->" in text
    assert text.splitlines()[1] == "  %% 28 nodes: 20 versions, 7 runs, 1 external"
    gone = re.search(r"class (n\d+) gone", text)[1]
    assert boxes[gone] == "dataset:v2\ndeleted"


def test_labels_are_inert_and_come_back_whole(hostile, bad):
    text = mermaid(hostile)
    boxes, edges = read(text)
    assert (len(boxes), len(edges)) == (len(hostile), hostile.number_of_edges())
    shown = "\n".join(boxes.values()).replace("\u2060", "")
    for label in bad:
        assert clean(label).replace("\ufb02", "fl") in shown
    for word in ("script>", "%%{", "style:", "classDef a", "$$", ":fa-", "\ufb02", "`"):
        assert word not in text


@pytest.mark.parametrize("text", ["style x:y#1", "a classDef b", "1. x", "- x", "$$$$", "fab:fa-x", "__x__"])
def test_what_mermaid_would_read_as_more_than_text_is_taken_apart(text):
    written = mermaid_module._text(text)
    assert re.fullmatch(SAFE, written)
    assert text not in written


def test_a_large_graph_stays_within_the_limits_and_says_so(chain):
    text = mermaid(chain(2000))
    boxes, edges = read(text)
    assert len(edges) <= MOST_EDGES
    assert len(text.encode("utf-16-le")) // 2 <= MOST_CHARACTERS
    assert "left out" in boxes["note"]
    assert "4,000 nodes" in boxes["note"]
    assert re.search(r"%% [\d,]+ nodes furthest from what was asked for are left out", text)
    assert any("further upstream" in label for label in boxes.values())


def test_a_graph_of_long_names_is_cut_by_characters(make):
    last = None
    for number in range(400):
        before, last = last, make.v(f"{'中' * 40}{number}:v0", 1, ["\U0001f680" * 30])
        if before:
            make.r(f"r{number}", [before], [last], '"' * 100)
    text = mermaid(make.rooted(last))
    read(text)
    assert MOST_CHARACTERS // 2 < len(text.encode("utf-16-le")) // 2 <= MOST_CHARACTERS


def test_ten_thousand_siblings_are_one_box(fan):
    boxes, edges = read(mermaid(fan(10_000, alike=True)))
    assert len(boxes) == 4  # the note is one
    assert len(edges) == 2


def test_ten_thousand_that_differ_are_left_out_but_some(fan):
    boxes, edges = read(mermaid(fan(10_000)))
    assert len(edges) <= MOST_EDGES
    assert 300 < len(boxes) < 520


def test_cycles_and_nothing_can_be_drawn(make):
    assert read(mermaid(make.rooted())) == ({}, [])
    a = make.v("a:v0", 1)
    make.r("r", [a], [a])
    assert read(mermaid(make.rooted(a)))[1] == [("n0", "n1"), ("n1", "n0")]
    make._edge(a, a, "used")
    assert ("n0", "n0") in read(mermaid(make.rooted(a)))[1]


def test_terminal_escapes_are_those_of_the_tree():
    assert mermaid_module._text(escape("\x1b[31m")) == "#92;x1b#91;31m"


def test_the_examples_run():
    assert doctest.testmod(mermaid_module).failed == 0
