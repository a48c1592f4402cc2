"""What a notebook shows of graphs, runs and versions."""

from __future__ import annotations

import copy
import doctest
import pickle
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import networkx as nx
import pytest

import lineart
import lineart.artifacts.display as display_module
from lineart.lineage.graph import LineageGraph
from lineart.lineage.pictures.notebook import MOST_NODES, notebook_html, notebook_text
from lineart.lineage.run import start_run


def tags(text):
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    Parser().feed(text)
    return found


def lineage(graph):
    """Return the same graph as the class that stores hand out."""
    return LineageGraph(graph)


def test_a_graph_is_a_picture_where_html_is_shown_and_a_tree_where_it_is_not(digits):
    graph = lineage(digits)
    html = graph._repr_html_()
    ET.fromstring(html)
    assert {tag for tag, _ in tags(html)} <= {"div", "svg", "g", "title", "rect", "path", "polygon", "text"}
    assert html.count('class="node ') == 28
    assert "28 nodes: 20 versions" in html
    text = graph._repr_mimebundle_()["text/plain"]
    assert text.splitlines()[0].startswith("digits/model:v7")
    assert text.splitlines()[-1].startswith("28 nodes")


def test_copies_and_parts_are_shown_like_the_whole(digits):
    graph = lineage(digits)
    for other in (
        graph.copy(),
        graph.subgraph(list(graph)[:9]),
        copy.deepcopy(graph),
        pickle.loads(pickle.dumps(graph)),
    ):
        assert isinstance(other, LineageGraph)
        assert "<svg" in other._repr_html_()
        assert "text/plain" in other._repr_mimebundle_()
    assert "<svg" in graph.reverse()._repr_html_()
    assert "9 nodes" in graph.subgraph(list(graph)[:9])._repr_mimebundle_()["text/plain"]


def test_what_is_computed_from_a_graph_is_left_to_networkx(digits):
    graph = lineage(digits)
    other = nx.relabel_nodes(graph, str, copy=True)
    other.add_node("more")
    for one in (other, LineageGraph(), nx.condensation(graph)):
        assert getattr(one, "_repr_html_", lambda: None)() is None
        assert getattr(one, "_repr_mimebundle_", dict)() == {}


def test_labels_are_text_and_nothing_else(hostile):
    html = notebook_html(hostile)
    ET.fromstring(html)
    for tag, attributes in tags(html):
        assert tag not in {"script", "style", "img", "a"}
        assert not [name for name in attributes if name.startswith("on") or name in {"href", "src"}]


def test_a_large_graph_is_shown_in_part_and_says_so(chain):
    graph = chain(400)
    html = notebook_html(graph)
    assert html.count('class="node ') == MOST_NODES + 1
    assert "500 nodes furthest from what was asked for are left out" in html
    assert "--format html" in html
    lines = notebook_text(graph).splitlines()
    assert len(lines) == 102
    assert lines[-1].startswith("800 nodes")
    assert "more lines" in lines[-2]


def test_an_empty_graph_can_be_shown(make):
    ET.fromstring(notebook_html(make.rooted()))
    assert notebook_text(make.rooted()).startswith("0 nodes")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEART_CAPTURE", "none")
    with lineart.create(tmp_path / "store", project="p") as made:
        yield made


def test_what_a_store_hands_out_is_shown(store):
    draft = lineart.Artifact("raw", metadata={"<b>": "</td>\u202e"}, description="first & last")
    draft.add_bytes(b"1", "f")
    assert '<th colspan="2">draft raw</th>' in draft._repr_html_()
    ET.fromstring(draft._repr_html_())
    with start_run(store, "p", job_type="<i>prep", config={"lr": 0.1, "x": "y" * 1000}) as run:
        logged = run.log_artifact(draft, aliases=["best"])
        running = run._repr_html_()
    assert "<svg" in store.lineage("raw")._repr_html_()
    assert "<svg" in logged.upstream()._repr_html_()
    html = logged._repr_html_()
    ET.fromstring(html)
    assert '<th colspan="2">p/raw:v0</th>' in html
    assert "<td>first &amp; last</td>" in html
    assert "&lt;b&gt;: &lt;/td&gt;\\u202e" in html
    assert "<td>best, latest</td>" in html
    ET.fromstring(running)
    assert "&lt;i&gt;prep" in running
    assert "lr: 0.1" in running
    assert "more characters" in running
    assert "finished" in run._repr_html_()


def test_the_examples_run():
    assert doctest.testmod(display_module).failed == 0
