"""Lineage graphs made by hand, and labels that mean harm.

For tests: `make` builds a graph (`v`, `r`, `external`), `digits` is a small real one, `hostile` has every bad label in
every place, and `lines_run` counts the lines of Python that a call takes.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lineart.artifacts.records import ExternalRecord

BAD = (
    "\"quoted\" 'x'",
    "</script><script>document.title='stolen'</script>",
    "<img src=x onerror=\"document.title='stolen'\">",
    "a\nb\r\nc\u2028d",
    '%%{init: {"theme": "dark"}}%% end',
    "1. first",
    "- item",
    "`code` **bold** _it_",
    "style:x#abc;y",
    "classDef a:#f00;",
    "\ufb02°°60¶ß",
    "#quot; &lt; &amp; #60;",
    'x"] --> y["z',
    '\\N \\" \\',
    "\u202eback\u202c",
    "日本語 العربية",
    "$$x$$ fa:fa-car",
    "]]> --> <!-- -->",
    "lone \ud800",
    "\U0001f680" * 60,
    "A" * 10_000,
    "${title} $title",
    "\x00\x1b[31m",
)


def _sibling():
    path = Path(__file__).parent.parent / "test_render.py"
    spec = importlib.util.spec_from_file_location("lineart_tests_makers", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


makers = _sibling()


class Builder(makers.Maker):
    def external(self, url, *versions, objects=4112, size=1 << 40):
        self.graph.add_node(url, kind="external", record=ExternalRecord(url, objects, size))
        for one in versions:
            self._edge(url, one, "refers")
        return url

    def rooted(self, *roots):
        self.graph.graph["roots"] = list(roots)
        return self.graph


@pytest.fixture
def make():
    return Builder()


@pytest.fixture
def digits():
    made, model = makers.digits()
    made.__class__ = Builder
    made.external("s3://corpus/web/", "digits/clean:v4")
    return made.rooted(model)


@pytest.fixture
def bad():
    return BAD


@pytest.fixture
def hostile(make):
    for at, text in enumerate(BAD):
        first, last = make.v(f"a{at}:v0", 1, [text]), make.v(f"b{at}:v0", 1)
        make.r(f"r{at} {text}", [first], [last], text, state="failed")
        make.external(f"s3://{text}", first)
    return make.rooted("digits/b1:v0")


@pytest.fixture
def chain(make):
    def build(length):
        last = None
        for number in range(length):
            before, last = last, make.v(f"step:v{number}", 1)
            make.r(f"r{number}", [before] if before else [], [last])
        return make.rooted(last)

    return build


@pytest.fixture
def fan(make):
    def build(width, *, alike=False):
        inputs = [make.v(f"part:v{n}" if alike else f"c{n}:v0", 1) for n in range(width)]
        model = make.v("model:v0", 1)
        make.r("r1", inputs, [model], "train")
        return make.rooted(model)

    return build


@pytest.fixture
def lines_run():
    def count(call):
        found = 0

        def trace(frame, event, argument):
            nonlocal found
            found += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
        return found

    return count
