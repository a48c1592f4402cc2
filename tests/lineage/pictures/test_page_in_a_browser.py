"""The page as a reader meets it, in a real Chromium: it searches, folds and explains, and asks nobody for anything.

The browser is driven over its debugging pipe, so that nothing is listened on. It is stopped by its handle.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time

import pytest

from lineart.lineage.pictures.page import page

pytestmark = pytest.mark.slow

PATIENCE = 60.0  # seconds for one answer
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,800",
    "--remote-debugging-pipe",
)


class Browser:
    """A browser and its one tab; `events` are what it has told so far."""

    def __init__(self, folder):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        assert program, "this test needs Chromium: apt-get install chromium"
        asked, self._out = os.pipe()
        self._in, answered = os.pipe()
        script = f'exec "$@" 3<&{asked} 4>&{answered}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *OPTIONS, f"--user-data-dir={folder}"],
            pass_fds=(asked, answered),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(asked)
        os.close(answered)
        self._left, self._number, self._session, self.events = b"", 0, None, []

    def start(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        return self

    def ask(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], max(until - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def open(self, url):
        self.ask("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        """Return what a piece of script comes to."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key, text=None):
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text or key} if kind == "keyDown" and len(key) == 1 else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, **extra)

    def click(self, selector):
        where = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def texts(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

    def complaints(self):
        """Return errors of scripts, what was logged, and every request but for the file itself."""
        wrong = [event for event in self.events if event["method"] in {"Runtime.exceptionThrown", "Log.entryAdded"}]
        wrong += [event for event in self.events if event["method"] == "Runtime.consoleAPICalled"]
        asked = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        wrong += [one for one in asked if not one["params"]["request"]["url"].startswith("file://")]
        return wrong, len(asked)

    def stop(self):
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)


@pytest.fixture
def show(tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.start()

        def open_page(graph):
            file = tmp_path / "page.html"
            file.write_text(page(graph), encoding="utf-8")
            browser.open(file.as_uri())
            return browser

        yield open_page
    finally:
        browser.stop()


def test_a_reader_looks_around_searches_folds_and_reads(show, digits):
    tab = show(digits)
    assert tab.count("#picture .node") == 28
    assert tab.texts("h1") == ["digits/model:v7"]

    tab.press("/")
    for char in "production":
        tab.press(char)
    assert tab.texts("#found") == ["1 of 1"]
    assert tab.texts(".node.match .title") == ["model:v7"]
    tab.run("document.getElementById('query').select()")
    for char in "tokenize":
        tab.press(char)
    assert tab.texts("#found") == ["1 of 3"]
    tab.press("Enter")
    tab.press("Enter")
    assert tab.texts("#found") == ["3 of 3"]
    assert "lighting" in tab.run("document.getElementById('world').getAttribute('class')")
    centre = tab.run(
        "(() => { const box = document.querySelector('.node.lit.match').getBoundingClientRect();"
        " return [box.x, box.y]; })()"
    )
    assert all(0 < one < 1280 for one in centre)
    tab.press("Escape")
    assert tab.count(".node.match") == 0

    merge = tab.run(
        "[...document.querySelectorAll('.node')].find((one) => one.textContent.startsWith('run:r6m4')).dataset.node"
    )
    tab.press("f")
    tab.click(f'.node[data-node="{merge}"]')
    assert tab.texts("#details h2") == ["merge"]
    assert "r6m4" in tab.texts("#details dd")
    assert tab.texts("#details .near button") == [*(f"labels-part:v{n}" for n in range(4)), "labels:v9"]
    assert tab.texts("#details .sides button") == ["Hide upstream", "Hide downstream"]
    tab.press("[")
    assert tab.count(".node.away") == 4
    assert tab.count(".edge.away") == 4
    assert tab.texts(".handle.kept text") == ["+4"]
    assert tab.texts("#said") == ["4 hidden, 4 in all"]
    tab.press("/")
    for char in "labels-part:v2":
        tab.press(char)
    assert tab.count(".node.away") == 0, "what is found is shown again"
    tab.press("Escape")

    tab.press("Escape")
    assert tab.run("document.getElementById('details').hidden")
    before = tab.run("document.getElementById('world').getAttribute('transform')")
    tab.press("+")
    assert tab.run("document.getElementById('world').getAttribute('transform')") != before
    tab.click("#fit")
    tab.run("document.querySelector('.node.root').focus()")
    tab.press("ArrowLeft")
    assert tab.run("document.activeElement.getAttribute('aria-label')").startswith("run:r8k2")
    tab.press("Enter")
    assert tab.texts("#details h2") == ["train"]
    assert tab.complaints() == ([], 1)


def test_bad_labels_do_nothing_but_stand_there(show, hostile, bad):
    tab = show(hostile)
    assert tab.texts("title")[0] == "digits/b1:v0 · lineage"
    assert tab.run("document.title") == "digits/b1:v0 · lineage"
    for number in range(tab.count("#picture .node")):
        node = f"document.querySelector('.node[data-node=\"{number}\"]')"
        tab.run(f"{node}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert tab.count("#details img, #details script, #picture img, #picture script") == 0
    tab.run("document.getElementById('query').value = 'onerror'; query.dispatchEvent(new Event('input'))")
    assert tab.count(".node.match") == 3
    assert tab.run("document.title") == "digits/b1:v0 · lineage"
    assert tab.complaints() == ([], 1)


def test_hiding_a_side_hides_what_is_reached_only_there(show, make):
    raw, mine, shared = make.v("raw:v0", 1), make.v("mine:v0", 1), make.v("shared:v0", 1)
    left, right, model = make.v("left:v0", 1), make.v("right:v0", 1), make.v("model:v0", 1)
    make.r("r1", [raw], [mine])
    make.r("r2", [mine, shared], [left])
    make.r("r3", [shared], [right])
    make.r("r4", [left, right], [model])
    tab = show(make.rooted(model))
    key = "document.querySelector('.node[data-node=\"3\"]')"
    assert tab.run(f"{key}.querySelector('title').textContent").startswith("digits/left:v0")
    tab.run(f"{key}.focus()")
    tab.press("[")
    away = tab.texts(".node.away .title")
    assert sorted(away) == ["mine:v0", "r1", "r2", "raw:v0"]
    tab.press("]")
    assert "Nothing to hide" in tab.texts("#said")[0]
    tab.click("#unfold")
    assert tab.count(".node.away") == 0
    assert tab.complaints() == ([], 1)


def test_a_large_graph_opens_at_a_size_that_can_be_read(show, chain):
    tab = show(chain(250))
    height = tab.run("document.querySelector('.node.root .title').getBoundingClientRect().height")
    assert height > 8
    box = tab.run(
        "(() => { const box = document.querySelector('.node.root').getBoundingClientRect(); return [box.x, box.y]; })()"
    )
    assert 0 < box[0] < 1280
    assert 0 < box[1] < 800
    assert not tab.run("document.getElementById('map').hasAttribute('hidden')")
    assert tab.complaints() == ([], 1)
