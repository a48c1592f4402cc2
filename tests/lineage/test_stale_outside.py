"""What is out of date because places outside the store changed: asked for, and only then looked at."""

from __future__ import annotations

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import lineart
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run


class Corpus:
    """corpus:v0, which refers to two files of a folder, → data:v0 → model:v0; words:v0 refers to nothing."""

    def __init__(self, store, folder):
        self.store = store
        self.folder = folder
        self.write("a", "one")
        self.write("deep/b", "two")
        self.refer("corpus", f"{folder.as_uri()}/")
        self.make("words")
        self.make("data", "corpus", "words")
        self.make("model", "data")

    def write(self, path, text):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def refer(self, name, *urls, **how):
        draft = lineart.Artifact(name)
        for at, url in enumerate(urls):
            draft.add_reference(url, name=str(at), **how)
        return self.store.log(draft)

    def make(self, name, *used, content=None):
        draft = lineart.Artifact(name)
        draft.add_bytes((content or name).encode(), "f")
        with start_run(self.store, "p", capture=Capture.none()) as run:
            for one in used:
                run.use_artifact(one)
            return run.log_artifact(draft)

    def stale(self, selector=None, **how):
        """Return what is out of date, as text, and the notes."""
        found = self.store.stale(selector, externals=True, **how)
        told = {}
        for one in found:
            reasons = [f"{behind.used.name}<{behind.newest.version}" for behind in one.behind]
            reasons += [f"through {other.name}" for other in one.through]
            reasons += [
                f"{place.changed} changed, {place.gone} gone, {place.new} new at {place.url.rsplit('/', 2)[1]}"
                for place in one.outside
            ]
            told[one.version.name] = ", ".join(reasons)
        return told, found.unasked


@pytest.fixture
def corpus(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as store:
        yield Corpus(store, tmp_path / "web")


ALL = {"data:v0": "through corpus:v0", "model:v0": "through data:v0"}


def test_nothing_is_asked_or_said_of_places_unless_somebody_wants_it(corpus):
    assert corpus.stale() == ({}, ())
    corpus.write("a", "other")
    assert not corpus.store.stale()
    assert corpus.stale("words") == ({}, ())


def test_what_a_place_has_not_any_more_makes_out_of_date_what_refers_to_it_and_all_that_came_of_it(corpus):
    corpus.write("a", "other")
    corpus.write("c", "three")
    corpus.write("d", "four")
    (corpus.folder / "deep" / "b").unlink()
    assert corpus.stale() == ({"corpus:v0": "1 changed, 1 gone, 2 new at web", **ALL}, ())
    assert list(corpus.stale("model")[0]) == ["model:v0"], "only what was asked for is told"
    (first, *_) = corpus.store.stale(externals=True)
    assert (first.version.name, first.run) == ("corpus:v0", None), "in the order in which to make it again"


def test_a_place_that_is_gone_has_nothing_any_more(corpus):
    shutil.rmtree(corpus.folder)
    assert corpus.stale() == ({"corpus:v0": "0 changed, 2 gone, 0 new at web", **ALL}, ())


def test_what_was_logged_again_is_asked_in_place_of_the_older(corpus):
    corpus.write("a", "other")
    corpus.refer("corpus", f"{corpus.folder.as_uri()}/")
    assert corpus.stale() == ({"data:v0": "corpus:v0<v1", "model:v0": "through data:v0"}, ())
    corpus.make("data", "corpus", "words", content="anew")
    corpus.make("model", "data", content="anew")
    assert corpus.stale() == ({}, ())


def test_a_version_that_a_run_made_and_that_refers_is_told_both(corpus):
    draft = lineart.Artifact("mixture")
    draft.add_reference(f"{corpus.folder.as_uri()}/a", name="a")
    with start_run(corpus.store, "p", capture=Capture.none()) as run:
        run.use_artifact("words")
        run.log_artifact(draft)
    corpus.make("tuned", "mixture")
    corpus.write("a", "other")
    told, _ = corpus.stale("mixture or tuned")
    assert told == {"mixture:v0": "1 changed, 0 gone, 0 new at web", "tuned:v0": "through mixture:v0"}
    corpus.make("words", content="anew")
    told, _ = corpus.stale("mixture")
    assert told == {"mixture:v0": "words:v0<v1, 1 changed, 0 gone, 0 new at web"}


def test_what_nobody_looked_at_when_it_was_logged_cannot_have_changed(corpus):
    corpus.refer("unseen", f"{corpus.folder.as_uri()}/a", checksum=False)
    corpus.write("a", "other")
    assert corpus.stale("unseen") == ({}, ())


def test_a_place_that_does_not_answer_is_named_and_the_others_are_asked(corpus, web):
    web.pages["/x"] = "1"
    corpus.refer("page", f"{web.url}/x")
    corpus.make("both", "page", "corpus")
    assert corpus.stale() == ({}, ())
    web.pages["/x"] = "2"
    assert corpus.stale("both") == ({"both:v0": "through page:v0"}, ())
    web.pages["/x"] = None
    corpus.write("a", "other")
    told, (why,) = corpus.stale("both")
    assert told == {"both:v0": "through corpus:v0"}
    assert why.startswith(f"{web.url}/x could not be asked: cannot read {web.url}/x")
    del web.pages["/x"]
    assert corpus.stale("both") == ({"both:v0": "through page:v0, through corpus:v0"}, ())


class Web:
    """Pages by their etags; one of None is refused."""

    def __init__(self):
        pages = self.pages = {}

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                etag = pages.get(self.path, "")
                self.send_response(403 if etag is None else 200 if etag else 404)
                if etag:
                    self.send_header("ETag", f'"{etag}"')
                    self.send_header("Content-Length", "1")
                self.end_headers()

            do_GET = do_HEAD  # noqa: N815 - the name that http.server looks for

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web():
    made = Web()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()
