"""A bucket behind a bad wire: requests refused, answers cut, connections that hang, at every request in turn.

Each telling ends well after repetitions, or in one error of ours; with the wire mended, the store is clean and holds
what was acknowledged. No waiting is real: repetitions do not sleep, and a silent server is given up on at once.
"""

import itertools
import logging
import os
import subprocess
import sys
from datetime import timedelta
from random import Random

import pytest

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.remote import RemoteBackend
from lineart.storage.backends.retry import RetryingBackend
from lineart.storage.engine import Engine
from lineart.storage.errors import LineartError, StoreUnavailable
from lineart.store import FOLDS, Store

pytestmark = pytest.mark.slow

NOISE = Random(7).randbytes(1 << 20)
TREES = [
    {"big.bin": NOISE, "notes/a": b"a" * 9000, "notes/empty": b""},
    {"big.bin": NOISE[: 1 << 19] + b"changed" + NOISE[1 << 19 :], "notes/a": b"new"},
]
STEPS = ["log", "log changed", "promote", "download", "delete", "gc"]


def xml(code):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()


@pytest.fixture
def proxy(moto_endpoint, proxies):
    made = proxies.Proxy(moto_endpoint)
    yield made
    made.close()


class Story:
    """A store in a bucket, told of over the wire; `promised` is what was acknowledged, in any telling."""

    def __init__(self, folder, location, proxy, put_blank):
        self.folder, self.location, self.proxy = folder, location, proxy
        self.database = f"sqlite:///{folder}/store.db"
        self.promised = set()
        self._outs = itertools.count()
        put_blank(self.direct(), folder / "store.db")

    def direct(self):
        return RemoteBackend(*self.location)

    def wired(self, attempts=7, read_timeout=60):
        options = {
            **self.location.storage_options,
            "endpoint_url": self.proxy.url,
            "config_kwargs": {"read_timeout": read_timeout},
        }
        return RetryingBackend(RemoteBackend(self.location.url, options), attempts=attempts, sleep=lambda _: None)

    def open(self, backend):
        engine = Engine.open(backend, self.database, actor="ann", folds=FOLDS)
        return Store(engine, Settings(self.location.url, None, "p", self.folder / "downloads"))

    def tell(self, backend):
        """Do everything once; what fails ends it."""
        with self.open(backend) as store:
            for number, name in enumerate(STEPS[:2]):
                draft = Artifact("model", type="model")
                for path, content in TREES[number].items():
                    draft.add_bytes(content, path)
                store.log(draft)
                self.promised.add(name)
            store.promote("model:v0", "best")
            self.promised.add("promote")
            out = self.folder / f"out{next(self._outs)}"
            try:
                store.artifact("model:v1").download(out)
            finally:
                self.require_right(out)
            store.delete("model:v1", force=True)
            self.promised.add("delete")
            store.gc(grace=timedelta(0))
            self.promised.add("gc")

    def try_to_tell(self, backend):
        """Tell it as far as it goes; what ended it, if anything did."""
        try:
            self.tell(backend)
        except LineartError as error:
            return error
        return None

    @staticmethod
    def require_right(out):
        for path, content in TREES[1].items():
            assert not (out / path).exists() or (out / path).read_bytes() == content

    def require_kept(self):
        """What was acknowledged is there, what is there is whole, and check finds nothing."""
        with self.open(self.direct()) as store:
            versions = {one.number: one for one in store.versions("model")} if store.collections() else {}
            for one in versions.values():
                if one.state == "live":
                    found = {entry.path: entry.read_bytes() for entry in store.artifact(f"model:{one.version}").files()}
                    assert found == TREES[one.number]
            assert ("log" in self.promised) <= (0 in versions and versions[0].state == "live")
            assert ("log changed" in self.promised) <= (1 in versions)
            assert ("delete" in self.promised) <= (1 not in versions or versions[1].state != "live")
            if "promote" in self.promised:
                assert store.resolve("model:best").number == 0
            assert store.check(read_data=True).problems == []


@pytest.fixture
def new_story(tmp_path, new_location, proxy, put_blank):
    numbers = itertools.count()

    def make():
        folder = tmp_path / f"story{next(numbers)}"
        folder.mkdir()
        return Story(folder, new_location("s3-moto"), proxy, put_blank)

    return make


@pytest.fixture
def story(new_story):
    return new_story()


FAULTS = {
    "is slow down": lambda p: p.Answer(503, xml("SlowDown")),
    "is an internal error": lambda p: p.Answer(500, xml("InternalError")),
    "is bare 502": lambda p: p.Answer(502, b"<html>bad gateway</html>"),
    "is lost": lambda p: p.Answer(0),
    "is lost though it landed": lambda p: p.Answer(0, lands=True),
    "is slow down though it landed": lambda p: p.Answer(503, xml("SlowDown"), lands=True),
    "is cut on the way down": lambda p: p.Mishap(down=0.5),
    "has its question cut on the way up": lambda p: p.Mishap(up=0.5),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_whole_story_is_told_where_every_other_answer(story, proxy, proxies, fault, caplog):
    """Each operation fails at its first try, and the wire's own repetitions are hit as well."""
    bad = FAULTS[fault](proxies)
    last = {}

    def every_other(number, method, path):
        what = method, path.partition("?")[0]
        last[what] = not last.get(what, False)
        return bad if last[what] else None

    proxy.script = every_other
    story.tell(story.wired())
    assert story.promised >= {"log", "log changed", "promote", "delete", "gc"}
    story.require_kept()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("fault", ["is slow down", "is lost", "is slow down though it landed"])
def test_a_bucket_that_goes_away_at_any_request_ends_in_one_error_and_loses_nothing(new_story, proxy, proxies, fault):
    """Every eleventh request: which operation that is differs from telling to telling by what runs beside it."""
    bad = FAULTS[fault](proxies)
    for first in itertools.count(1, 11):
        story = new_story()
        start = len(proxy.requests)
        proxy.script = lambda number, method, path, at=start + first: bad if number >= at else None
        error = story.try_to_tell(story.wired(attempts=2))
        proxy.script = lambda number, method, path: None
        story.require_kept()
        if error is None:
            assert first > 10
            return
        assert isinstance(error, StoreUnavailable), error
        assert "busy or the connection broke" in str(error) or "does not answer" in str(error)
        assert story.location.url in str(error)


def test_a_server_that_is_slow_is_waited_for(story, proxy, proxies):
    proxy.script = lambda number, method, path: proxies.Mishap(delay=0.05)
    story.tell(story.wired(attempts=1))
    story.require_kept()


def test_a_connection_that_hangs_is_given_up_and_tried_again(story, proxy, proxies):
    proxy.script = lambda number, method, path: proxies.Mishap(silent=True) if number % 9 == 0 else None
    story.tell(story.wired(read_timeout=0.5))
    story.require_kept()


def test_a_server_that_hangs_for_ever_ends_in_one_error(story, proxy, proxies):
    proxy.script = lambda number, method, path: proxies.Mishap(silent=True)
    with pytest.raises(StoreUnavailable, match="cannot read"):
        story.tell(story.wired(attempts=2, read_timeout=0.3))
    proxy.script = lambda number, method, path: None
    story.require_kept()


def test_nobody_waits_for_ever_unless_told_otherwise(new_location):
    """The defaults that are documented: ten seconds for a connection, a minute of silence."""
    s3 = RemoteBackend(*new_location("s3-moto"))._files().s3.meta.config
    assert (s3.connect_timeout, s3.read_timeout) == (10, 60)
    gcs = RemoteBackend("gs://bucket/team", {"token": "anon"})._files()
    assert (gcs.requests_timeout.sock_connect, gcs.requests_timeout.sock_read) == (10, 60)


# Refused for good


REFUSALS = {
    "expired": (400, "ExpiredToken", "expired: log in again"),
    "wrong": (403, "InvalidAccessKeyId", "credentials are not valid"),
    "forbidden": (403, "AccessDenied", "permission denied"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_credentials_that_end_at_any_request_end_the_work_at_once_and_lose_nothing(new_story, proxy, proxies, refusal):
    status, code, says = REFUSALS[refusal]
    for first in itertools.count(1, 11):
        story = new_story()
        start = len(proxy.requests)
        refused = []

        def script(number, method, path, at=start + first, refused=refused):
            if number < at:
                return None
            refused.append(path)
            return proxies.Answer(status, b"" if method == "HEAD" else xml(code))

        proxy.script = script
        error = story.try_to_tell(story.wired())
        proxy.script = lambda number, method, path: None
        story.require_kept()
        if error is None:
            return
        assert isinstance(error, StoreUnavailable), error
        assert says in str(error) or "permission denied" in str(error), error
        assert not error.transient
        assert len(refused) <= 12, "what is not transient is not repeated"


@pytest.mark.parametrize("what", ["key", "secret"])
def test_wrong_credentials_are_named_by_a_server_that_looks_at_them(new_location, tmp_path, what):
    location = new_location("s3-rclone")
    backend = RemoteBackend(*location)
    Engine.create(backend, f"sqlite:///{tmp_path}/store.db", actor="ann", folds=FOLDS).close()
    wrong = RetryingBackend(RemoteBackend(location.url, {**location.storage_options, what: "wrong"}), sleep=None)
    refused = "credentials are not valid"
    with pytest.raises(StoreUnavailable, match=refused) as caught:
        Engine.open(wrong, f"sqlite:///{tmp_path}/store.db", actor="ann", folds=FOLDS)
    assert not caught.value.transient
    with pytest.raises(StoreUnavailable, match=refused):
        wrong.put("packs/aa/1", [b"x"])


@pytest.fixture
def read_only(story, proxy, proxies):
    """A story told by the first writer, in a bucket that may only be read since."""
    with story.open(story.direct()) as store:
        draft = Artifact("model", type="model")
        for path, content in TREES[0].items():
            draft.add_bytes(content, path)
        store.log(draft)
        unwanted = Artifact("unwanted", type="model")
        unwanted.add_bytes(b"dead" * 5000, "dead")
        store.log(unwanted)
        store.delete("unwanted:v0")
    story.promised.add("log")
    denied = proxies.Answer(403, xml("AccessDenied"))
    proxy.script = lambda number, method, path: denied if method in {"PUT", "POST", "DELETE"} else None
    yield story
    proxy.script = lambda number, method, path: None
    story.require_kept()


def test_a_bucket_that_may_only_be_read_is_read(read_only):
    with read_only.open(read_only.wired()) as store:
        out = read_only.folder / "out"
        store.artifact("model").download(out)
        assert (out / "big.bin").read_bytes() == NOISE
        assert store.check(read_data=True).problems == []


@pytest.mark.parametrize("act", ["log", "log what is known", "promote", "delete", "gc"])
def test_each_write_to_a_bucket_that_may_only_be_read_is_refused_in_words(read_only, act):
    with read_only.open(read_only.wired()) as store:
        draft = Artifact("model", type="model")
        draft.add_bytes(b"other" if act == "log" else NOISE, "big.bin")
        acts = {
            "promote": lambda: store.promote("model:v0", "best"),
            "delete": lambda: store.delete("model:v0"),
            "gc": lambda: store.gc(grace=timedelta(0)),
        }
        with pytest.raises(StoreUnavailable, match="permission denied: the credentials in use may not write"):
            acts.get(act, lambda: store.log(draft))()
    if act == "delete":  # it took place in the database, and the journal has it once it can be written again
        read_only.promised.discard("log")


@pytest.mark.parametrize("what", ["silent", "forbidden", "cut"])
def test_the_command_says_it_in_a_line_without_a_traceback(story, proxy, proxies, tmp_path, what):
    bad = {
        "silent": proxies.Answer(503, xml("SlowDown")),
        "forbidden": proxies.Answer(403, xml("AccessDenied")),
        "cut": proxies.Mishap(down=0.5),
    }[what]
    (tmp_path / "file").write_bytes(NOISE)
    proxy.script = lambda number, method, path: bad
    program = (
        "import random; random.random = lambda: 0.0\n"  # the share of the waiting time that is waited
        "from lineart.cli import main; main()"
    )
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_ENDPOINT_URL": proxy.url,
        "LINEART_STORE": story.location.url,
        "LINEART_DATABASE": story.database,
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-c", program, "log", str(tmp_path / "file"), "model"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode not in {0, 1}
    assert "Traceback" not in done.stderr
    assert "Unclosed" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4, done.stderr
    assert story.location.url in done.stderr.replace("\n", "")
    proxy.script = lambda number, method, path: None
    story.require_kept()
