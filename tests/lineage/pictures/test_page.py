"""The page: one file, inert data, a policy that allows nothing else, and all that is known of each node."""

from __future__ import annotations

import base64
import doctest
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib.resources import files

import pytest

import lineart.lineage.pictures.page as page_module
from lineart.lineage.pictures.drawing import draw
from lineart.lineage.pictures.facts import facts
from lineart.lineage.pictures.page import MOST_NODES, embed, page
from lineart.lineage.pictures.svg import draw_svg


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self.open = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.open = (tag, dict(attributes).get("id")) if tag in {"script", "style"} else None

    def handle_data(self, data):
        if self.open:
            self.text[self.open] = self.text.get(self.open, "") + data

    def handle_endtag(self, tag):
        self.open = None


def data_of(text):
    return json.loads(Elements(text).text["script", "data"])


def node(text, key):
    (found,) = [one for one in data_of(text)["nodes"] if one["key"] == key]
    return found


def test_the_page_asks_nobody_for_anything_and_runs_nothing_but_its_own(digits):
    text = page(digits)
    elements = Elements(text)
    names = {"src", "href", "action", "xlink:href", "style", "srcset", "data", "poster", "background"}
    for tag, attributes in elements.found:
        assert not names & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag not in {"link", "iframe", "object", "embed", "base", "img", "form", "foreignobject"}
    (policy,) = [one["content"] for tag, one in elements.found if one.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, own in (("style-src", ("style", None)), ("script-src", ("script", None))):
        digest = base64.b64encode(hashlib.sha256(elements.text[own].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "url(" not in elements.text["style", None]
    assert "@import" not in elements.text["style", None]
    assert not re.search(r"\b(fetch|XMLHttpRequest|eval|innerHTML|import)\b", elements.text["script", None])
    assert text.endswith("</html>\n")


def test_labels_are_text_and_nothing_else(hostile, make):
    plain = page(hostile)
    kinds = [tag for tag, _ in Elements(plain).found]
    assert kinds.count("script") == 2
    assert kinds.count("style") == 1
    assert "img" not in kinds
    picture = draw_svg(draw(hostile)).markup
    ET.fromstring(f"<svg>{picture}</svg>")
    assert not any(char in plain for char in "\x00\x1b\r\u2028\u202e\ud800")
    plain.encode()


def test_data_cannot_leave_its_element():
    text = embed({"a": "</script><!-- \u2028\u2029 & \ud800"})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!-- \u2028\u2029 & \ud800"}


def test_the_picture_is_there_without_script(digits):
    text = page(digits)
    (svg,) = [one for tag, one in Elements(text).found if tag == "svg" and one.get("id") == "picture"]
    assert re.fullmatch(r"0 0 \d+ \d+", svg["viewbox"])
    shapes = [one.get("class", "") for tag, one in Elements(text).found if tag == "g"]
    assert sum(name.startswith("node version") for name in shapes) == 20
    assert sum(name.startswith("node run") for name in shapes) == 7
    assert sum(name.startswith("node external") for name in shapes) == 1
    assert sum(name.endswith(" root") for name in shapes) == 1
    assert sum(" gone" in name and name.startswith("node") for name in shapes) == 1
    assert sum(name.startswith("edge refers") for name in shapes) == 1
    assert "<title>digits/model:v7, 1.2 GiB · 1 file, best, production</title>" in text


def test_all_that_is_known_of_a_version_and_a_run_is_in_their_details(make):
    model = make.v("model:v3", 2048, ["best"])
    make.r("r1", [make.v("raw:v0", 5)], [model], "train", "a1b2c3d" + "0" * 33, dirty=True)
    record = make.graph.nodes["run:r1"]["record"]
    record.config.update(lr=0.1)
    record.code["command"] = ["python", "train.py", "--name", "a b"]
    make.graph.nodes[model]["record"].metadata.update(accuracy=0.97)
    make.graph.edges["digits/raw:v0", "run:r1"]["data"] = {"aliases": ["clean"]}
    text = page(make.rooted(model))
    version = {name: value for name, value, _ in node(text, model)["facts"]}
    assert version["ref"] == model
    assert version["size"] == "2.0 KiB (2,048 bytes)"
    assert version["metadata"] == '{\n  "accuracy": 0.97\n}'
    assert version["digest"] == "b3:" + "0" * 64
    assert version["get"] == "art get digits/model:v3"
    run = {name: value for name, value, _ in node(text, "run:r1")["facts"]}
    assert run["commit"] == "a1b2c3d" + "0" * 33 + " and changes not committed"
    assert run["command"] == "python train.py --name 'a b'"
    assert run["config"] == '{\n  "lr": 0.1\n}'
    assert "best" in node(text, model)["words"]
    assert "a1b2c3d" in node(text, "run:r1")["words"]
    assert data_of(text)["edges"][0][2] == "as clean"


def test_a_fact_that_is_very_long_is_cut_and_says_so(make):
    record = make.graph.nodes[make.v("a:v0", 1)]["record"]
    record.metadata.update(text="x" * 100_000)
    (metadata,) = [one for one in facts("version", record) if one.name == "metadata"]
    assert len(metadata.text) < 4100
    assert metadata.text.endswith("more characters")


def test_a_deleted_version_cannot_be_got(make):
    record = make.graph.nodes[make.v("a:v0", state="deleted")]["record"]
    names = {one.name: one.text for one in facts("version", record)}
    assert names["state"] == "deleted"
    assert "get" not in names


@pytest.mark.slow
def test_a_graph_too_large_is_drawn_in_part_and_says_so(chain):
    text = page(chain(2000))
    assert len(data_of(text)["nodes"]) == MOST_NODES + 1
    assert '<ul class="notes"' in text
    assert "1,000 nodes furthest from what was asked for are left out" in text
    (rest,) = [one for one in data_of(text)["nodes"] if one["kind"] == "rest"]
    assert "and 950 more" in rest["facts"][0][1]


def test_what_is_folded_can_be_found_by_the_names_of_its_members(fan):
    text = page(fan(4000, alike=True))
    (pile,) = [one for one in data_of(text)["nodes"] if one["kind"] == "4,000 versions"]
    assert "digits/part:v3999" in pile["words"]


def test_cycles_and_nothing_can_be_shown(make):
    assert data_of(page(make.rooted()))["nodes"] == []
    a = make.v("a:v0", 1)
    make.r("r", [a], [a])
    make._edge(a, a, "used")
    text = page(make.rooted(a))
    assert len(data_of(text)["edges"]) == 3
    assert "nan" not in text.lower().replace("name", "")


@pytest.mark.parametrize("name", ["page.html", "page.css", "page.js"])
def test_the_parts_of_the_page_are_plain_text_that_cannot_end_their_element(name):
    text = files("lineart.lineage.pictures").joinpath(name).read_text(encoding="utf-8")
    assert "\r" not in text
    if name != "page.html":
        assert "</" not in text


def test_the_examples_run():
    assert doctest.testmod(page_module).failed == 0
