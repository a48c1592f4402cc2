"""Every format of a lineage graph takes every graph: circles, what is deleted, two stores in one, hostile words."""

from __future__ import annotations

import json

import networkx as nx
import pytest

from lineart.artifacts.records import ExternalRecord
from lineart.artifacts.ref import Ref
from lineart.lineage.columns import ASCII
from lineart.lineage.exchange.graphml import graphml
from lineart.lineage.exchange.openlineage import event_lines
from lineart.lineage.exchange.prov import prov_json
from lineart.lineage.graph import lineage_graph
from lineart.lineage.pictures.dot import dot
from lineart.lineage.pictures.mermaid import mermaid
from lineart.lineage.pictures.page import page
from lineart.lineage.render import lineage_document, lineage_trees

HOSTILE = [
    "<script>alert(1)</script>",
    "\"]; click a href 'javascript:x' --> \"",
    "'; DROP TABLE run; -- \\",
    "line\nbreak\r\n\ttab",
    "\x1b[2J\x07\x00\x9b",
    "\u202egnp.exe \u2028\u2029 \ufeff",
    "]]> --> <!-- %% %}{ #quot; &amp; &#60;",
    "\ud800 lone",
    "x" * 10_000,
    "",
]
FORMATS = {
    "tree": lineage_trees,
    "ascii": lambda graph: lineage_trees(graph, style=ASCII),
    "json": lambda graph: json.dumps(lineage_document(graph)),
    "mermaid": mermaid,
    "dot": dot,
    "html": page,
    "graphml": graphml,
    "openlineage": lambda graph: "".join(event_lines(graph)),
    "prov": prov_json,
}
PLAIN = {"tree", "ascii", "mermaid", "dot"}  # nothing of what a terminal or a reader would act on
MARKUP = {"mermaid", "html", "graphml"}  # shown by what may run scripts


def circle(world):
    """One run logs what it used; two more make each other's inputs."""
    a = world.log("a", "1")
    world.log("a", "1", world.run("a:v0"))
    first = world.run("a:v0")
    b = world.log("b", "2", first)
    c = world.log("c", "3", world.run("b:v0"))
    world.ledger.use(first, Ref.parse("c:v0"), "p")
    return [a, b, c]


def deleted(world):
    gone = world.log("d", "4")
    made = world.log("e", "5", world.run("d:v0"))
    world.delete(gone)
    return [made]


def hostile(world):
    version = world.log("a", "0")
    for number, text in enumerate(HOSTILE):
        words = {"name": text, "job_type": text, "group": text, "notes": text, "config": {text or "empty": [text]}}
        run = world.run("a:latest", **words)
        kept = text.replace("\ud800", "")  # which metadata refuses
        version = world.log("a", f"{number + 1}", run, metadata={kept or "empty": kept})
    return [version]


def nothing(_):
    return []


WORLDS = {make.__name__: make for make in (circle, deleted, hostile, nothing)}
SIDES = {"up": {"up": True}, "down": {"up": False, "down": True}, "both": {"down": True}}


def graph_of(world, make, **sides):
    return lineage_graph(world.catalog, make(world), **sides)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("make", WORLDS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_takes_it(world, form, make, sides):
    text = FORMATS[form](graph_of(world, WORLDS[make], **SIDES[sides]))
    assert text.encode().decode() == text  # no lone surrogate is left
    if form in PLAIN:
        assert not {char for char in text if char < " " and char not in "\n\t"}
        assert not {"\x7f", "\x9b", "\u202e", "\u2028", "\u2029"}.intersection(text)
    if form in MARKUP:
        assert "<script>alert" not in text


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_takes_the_histories_of_two_stores_in_one_graph(world, form):
    mine, other = graph_of(world, circle), graph_of(world, deleted)
    other.add_node("s3://corpus/web/", kind="external", record=ExternalRecord("s3://corpus/web/", 3, 9))
    other.add_edge("s3://corpus/web/", "p/e:v0", kind="refers", time=0, order=0, data={})
    other.graph["store"] = "6" * 32
    both = nx.compose(mine, other)
    both.graph["roots"] = [*mine.graph["roots"], *other.graph["roots"]]
    text = FORMATS[form](both)
    assert [name for name in ("a", "b", "c", "d", "e") if f"{name}:v0" not in text] == []
    assert "s3://corpus" in text
