"""DOT: what is written is read back by a strict reader of DOT's quoting.

By hand, Graphviz drew all that these tests write, and its labels were the ones that were meant.
"""

from __future__ import annotations

import doctest
import html
import re

import pytest

import lineart.lineage.pictures.dot as dot_module
from lineart.lineage.pictures.dot import dot
from lineart.lineage.pictures.drawing import clean

TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z_][A-Za-z_0-9]*|-?\d+(?:\.\d+)?)|(->|[{}\[\]=,;]))', re.DOTALL)


def tokens(text):
    text, at, found = text.rstrip(), 0, []
    while at < len(text):
        token = TOKEN.match(text, at)
        assert token, text[at : at + 80]
        found.append(token[1] or token[2] or token[3])
        at = token.end()
    return found


def attributes(words):
    assert words.pop(0) == "["
    found = {}
    while words[0] != "]":
        name, equals, value = words.pop(0), words.pop(0), words.pop(0)
        assert equals == "="
        found[name] = value
        if words[0] == ",":
            words.pop(0)
    words.pop(0)
    return found


def read(text):
    """Return nodes (name → label) and edges; fails at whatever else there is."""
    words = tokens(text)
    assert words[:3] == ["digraph", "lineage", "{"]
    assert words[-1] == "}"
    del words[:3], words[-1]
    nodes, edges = {}, []
    while words:
        name = words.pop(0)
        if words[0] == "->":
            words.pop(0)
            edges.append((plain(name), plain(words.pop(0))))
            attributes(words)
        else:
            known = attributes(words)
            if name not in {"graph", "node", "edge"}:
                assert plain(name) not in nodes
                nodes[plain(name)] = label(known["label"])
        assert words.pop(0) == ";"
    return nodes, edges


def plain(name):
    return name[1:-1].replace('\\"', '"')


def label(quoted):
    r"""Return what Graphviz shows of a label: `\n` breaks the line, `\\` is a backslash, `\N` would be the name."""
    text = re.sub(r"\\(.)", lambda code: {"n": "\n", "\\": "\\", '"': '"'}[code[1]], quoted[1:-1])
    return html.unescape(text)


def test_a_graph_is_nodes_by_their_names_and_edges(digits):
    text = dot(digits)
    nodes, edges = read(text)
    assert set(nodes) == set(digits)
    assert sorted(edges) == sorted(digits.edges())
    assert nodes["digits/model:v7"] == "model:v7\n1.2 GiB · 1 file\n[best] [production]"
    assert nodes["run:r8k2"] == "train\nr8k2 · a1b2c3d+ · 6h12m"
    assert "rankdir=LR" in text
    assert re.search(r'"digits/dataset:v2" \[.*dashed', text)
    assert re.search(r'"s3://corpus/web/" \[.*cylinder', text)
    assert re.search(r'"s3://corpus/web/" -> "digits/clean:v4" \[.*dotted', text)


def test_labels_are_inert_and_come_back_whole(hostile, bad):
    nodes, edges = read(dot(hostile))
    assert (len(nodes), len(edges)) == (len(hostile), hostile.number_of_edges())
    shown = "\n".join(nodes.values())
    assert all(clean(text) in shown for text in bad)


@pytest.mark.parametrize("text", ["\\", '\\"', "\\N", "a\\nb", "&lt;", "&amp;amp;", "\\\\", '"'])
def test_escapes_and_entities_of_graphviz_stay_text(text):
    assert label(dot_module._quote(text)) == text
    assert len(tokens(dot_module._quote(text))) == len(tokens(dot_module._name(text))) == 1


def test_nothing_is_left_out_however_large(fan, chain):
    assert len(read(dot(fan(1000)))[0]) == 1002
    assert len(read(dot(chain(500)))[0]) == 1002 + 1000 - 1  # both have a run r1


def test_cycles_and_nothing_can_be_drawn(make):
    assert read(dot(make.rooted())) == ({}, [])
    a = make.v("a:v0", 1)
    make.r("r", [a], [a])
    assert read(dot(make.rooted(a)))[1] == [("digits/a:v0", "run:r"), ("run:r", "digits/a:v0")]


def test_the_examples_run():
    assert doctest.testmod(dot_module).failed == 0
