"""What fixed work costs in things that do not wobble: requests, bytes, pages, statements, files opened, stat calls.

No time is measured here. Each bound is what the work cost when the line was written, with room only for what differs
from run to run; who lowers a count lowers the bound, and who raises one has to say why.
"""

import os
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import pytest
from blake3 import blake3
from sqlalchemy import Engine as Statements
from sqlalchemy import event

import lineart
from lineart.artifacts.content import Content
from lineart.artifacts.entry import Entry
from lineart.artifacts.manifest import Manifest, build, diff, edit
from lineart.lineage.run import draft_of
from lineart.settings import Settings
from lineart.storage.backends.blocks import BlockFolder
from lineart.storage.backends.cache import CachingBackend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.engine import Engine
from lineart.store import FOLDS, Store, create_settings, open_settings

FILES, FOLDERS = 2000, 20
ENTRIES = 20_000
LARGE = 40 << 20
STATS = {"stat", "lstat", "fstat"}


class Counted(MemoryBackend):
    """Memory that counts requests by method and by the folder of the key, and the bytes that go in and out."""

    def __init__(self):
        super().__init__("counted")
        self.requests, self.moved, self._counting = Counter(), Counter(), threading.Lock()

    def get(self, key, start=0, length=None):
        data = super().get(key, start, length)
        self._note("get", key, len(data))
        return data

    def size(self, key):
        self._note("size", key)
        return super().size(key)

    def put(self, key, parts):
        self._note("put", key, sum(map(len, parts)))
        super().put(key, parts)

    def put_new(self, key, data):
        self._note("put", key, len(data))
        return super().put_new(key, data)

    def list(self, prefix):
        self._note("list", prefix)
        return super().list(prefix)

    def delete(self, keys):
        self._note("delete", "")
        super().delete(keys)

    def _note(self, method, key, size=0):
        with self._counting:
            self.requests[method, key.partition("/")[0]] += 1
            self.moved[method] += size


_listening = []  # lists in which what is opened is noted now


def _hear(name, arguments):
    if name == "open":
        for noted in _listening:
            noted.append(arguments[0])


sys.addaudithook(_hear)


@contextmanager
def counting(backend=None):
    """Lend a dictionary that holds, afterwards, what was done meanwhile, in this thread and those begun since."""
    cost, sent, calls, opened = {}, Counter(), Counter(), []
    requests, moved = (Counter(), Counter()) if backend is None else (backend.requests, backend.moved)
    requests.clear()
    moved.clear()

    def statement(connection, cursor, text, parameters, context, many):
        sent["statement"] += 1

    def commit(connection):
        sent["commit"] += 1

    def profile(frame, what, function):
        if what == "c_call":
            calls[function.__name__] += 1

    before = sys.getprofile()
    event.listen(Statements, "before_cursor_execute", statement)
    event.listen(Statements, "commit", commit)
    _listening.append(opened)
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield cost
    finally:
        sys.setprofile(before)
        threading.setprofile(before)
        _listening.remove(opened)
        event.remove(Statements, "commit", commit)
        event.remove(Statements, "before_cursor_execute", statement)
        cost |= {
            "requests": sum(requests.values()),
            "gets of content": requests["get", "packs"],
            "gets of pages": requests["get", "meta"],
            "puts": sum(n for (method, _), n in requests.items() if method == "put"),
            "bytes read": moved["get"],
            "bytes written": moved["put"],
            "statements": sent["statement"],
            "transactions": sent["commit"],
            "files opened": len(opened),
            "stat calls": sum(calls[name] for name in STATS),
        }


def noise(size, seed):
    return blake3(seed).digest(length=size)


def fill(folder):
    """Write 2,000 files of 500 to 1,999 bytes into 20 folders, 2.5 MB in all."""
    for number in range(FOLDERS):
        (folder / f"{number:02d}").mkdir(parents=True)
    for number in range(FILES):
        path = folder / f"{number % FOLDERS:02d}" / f"{number:04d}"
        path.write_bytes(noise(500 + number % 1500, b"%d" % number))


def log(store, folder):
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder)
    return store.log(draft)


def put_entries(store, draft, numbers, content):
    """Log a version with contents from memory."""
    for number in numbers:
        draft.add_bytes(content(number), path_of(number), overwrite=True)
    return store.log(draft)


def path_of(number):
    return f"{number // 100:03d}/{number:05d}"


def import_all(store, folder, settle):
    """Do a little of everything, so that no module is imported, and so opened, while anything is counted."""
    (folder / "data").mkdir()
    (folder / "data" / "file").write_bytes(b"content")
    (folder / "data" / "large").write_bytes(noise(5 << 20, b"large"))
    settle()
    for _ in range(2):
        log(store, folder / "data")
        store.status(folder / "data")
        store.artifact("data").download(folder / "out")
    put_entries(store, store.artifact("data").new_draft(), [1], lambda number: b"changed")
    store.artifact("data:v1").diff(store.artifact("data:v0"))
    store.artifact("data").open("file").read()
    Engine.open(store.engine.backend, store.settings.database, actor="ana@here", folds=FOLDS).close()


@pytest.fixture(scope="module")
def new_store(tmp_path_factory, settle):
    """A function that makes a store with a folder of its own: in memory, over SQLite."""
    made = []

    def make(backend, place=None):
        folder = tmp_path_factory.mktemp("work")
        url = f"sqlite:///{folder}/database.db"
        settings = Settings(backend.url, url, "p", folder / "artifacts", cache=folder / "cache")
        engine = Engine.create(place or backend, url, actor="ana@here", folds=FOLDS)
        made.append(Store(engine, settings))
        return made[-1], folder

    import_all(*make(MemoryBackend()), settle)
    yield make
    for store in made:
        store.close()


@pytest.fixture(scope="module")
def small(new_store, settle):
    """What each step of a life with 2,000 small files costs."""
    backend = Counted()
    store, folder = new_store(backend)
    data, out = folder / "data", folder / "out"
    fill(data)
    settle()
    costs = {}
    for work, call in {
        "log": lambda: log(store, data),
        "log again": lambda: log(store, data),
        "log again at once": lambda: store.log(draft_of(data, "data", "dataset")),
        "status": lambda: store.status(data),
        "fetch": lambda: store.artifact("data").download(out),
        "fetch again": lambda: store.artifact("data").download(out),
        "log 1 % changed": lambda: log(store, data),
        "fetch 1 % changed": lambda: store.artifact("data").download(out),
    }.items():
        if work == "log 1 % changed":
            for number in range(FILES // 100):
                (data / f"{number % FOLDERS:02d}" / f"{number:04d}").write_bytes(b"changed %d" % number)
            settle()
        with counting(backend) as costs[work]:
            call()
    return costs


@pytest.fixture(scope="module")
def large(new_store, settle):
    """What each step of a life with one file of 40 MiB costs."""
    backend = Counted()
    store, folder = new_store(backend)
    data = folder / "data"
    data.mkdir()
    (data / "file").write_bytes(noise(LARGE, b"large"))
    settle()
    costs = {}
    with counting(backend) as costs["log"]:
        log(store, data)
    with counting(backend) as costs["log again"]:
        log(store, data)
    with counting(backend) as costs["fetch"]:
        store.artifact("data").download(folder / "out")
    with open(data / "file", "r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"changed")
    settle()
    with counting(backend) as costs["log changed"]:
        log(store, data)
    return costs


@pytest.fixture(scope="module")
def many(new_store):
    """What each question to versions of 20,000 entries costs, and making them."""
    backend = Counted()
    store, _ = new_store(backend)
    costs = {}
    with counting(backend) as costs["log"]:
        put_entries(store, lineart.Artifact("data"), range(ENTRIES), lambda number: b"%d" % number)
    with counting(backend) as costs["edit one entry"]:
        put_entries(store, store.artifact("data:v0").new_draft(), [ENTRIES // 2], lambda number: b"changed")
    ten = range(1000, ENTRIES, ENTRIES // 10)
    put_entries(store, store.artifact("data:v0").new_draft(), ten, lambda number: b"ten")
    one, chunks = store.resolve("data:v0"), store.engine.chunks
    for work, call in {
        "diff": lambda: store.artifact("data:v2").diff(store.artifact("data:v0")),
        "list a folder": lambda: list(Content(one.digest, chunks).children("050")),
        "open a path": lambda: store.artifact("data:v0").open(path_of(5000)).read(),
        "resolve an alias": lambda: store.resolve("data:latest"),
    }.items():
        with counting(backend) as costs[work]:
            call()
    with (
        counting(backend) as costs["open the store and resolve an alias"],
        Store(Engine.open(backend, store.settings.database, actor="ana@here", folds=FOLDS), store.settings) as again,
    ):
        again.resolve("data:latest")
    return costs


SMALL = [
    ("log", "requests", 3, "a pack of contents, one of pages, one event: no request is made for a file"),
    ("log", "bytes written", 2_450_000, "the contents, and 80 bytes for each file's place in pack and manifest"),
    ("log", "statements", 65, "rows go in by the hundred: no statement is made for a file"),
    ("log", "transactions", 14, "chunks are looked up and claimed by the batch"),
    ("log", "files opened", FILES + FOLDERS + 5, "every file is opened once, in its folder; the walk opens nothing"),
    ("log", "stat calls", 2 * FILES + 75, "one a file when it is found, one when it is open"),
    ("log again", "requests", 0, "nothing is written, and what is there is known by the database"),
    ("log again", "statements", 21, "what the stat cache names is looked up by the batch"),
    ("log again", "transactions", 8, "no transaction is made for a file"),
    ("log again", "files opened", FOLDERS + 4, "folders are opened to be looked at safely; no file is read"),
    ("log again", "stat calls", 2 * FILES + 50, "one a file when it is found, one before the version is believed"),
    ("status", "requests", 2, "the pages of the manifest, the root first"),
    ("log again at once", "stat calls", FILES + 50, "one a file: nobody could change one between two of one call"),
    ("status", "statements", 7, "the version is resolved and its pages are located"),
    ("status", "files opened", 5, "no file is read"),
    ("status", "stat calls", FILES + 55, "one a file"),
    ("fetch", "requests", 6, "the root, the pages below it, and packs by the range: no request is made for a file"),
    ("fetch", "bytes read", 2_340_000, "nothing is read twice, and hardly anything that is not wanted"),
    ("fetch", "statements", 14, "chunks are located by the batch"),
    ("fetch", "transactions", 7, "chunks are located by the batch"),
    ("fetch", "files opened", FILES + 50, "every file is opened once, to be written"),
    ("fetch", "stat calls", FILES + 100, "one a file, when it is written"),
    ("fetch again", "requests", 0, "what the folder holds is remembered: not even a page is read"),
    ("fetch again", "statements", 5, "the version is resolved, that is all"),
    ("fetch again", "files opened", 5, "nothing is read"),
    ("fetch again", "stat calls", FILES + 48, "one a file, and what the last holder of the lock has left"),
    ("log 1 % changed", "requests", 3, "a pack of contents, one of pages, one event"),
    ("log 1 % changed", "bytes written", 81_000, "what changed, and the pages that name it"),
    ("log 1 % changed", "statements", 44, "what did not change is looked up by the batch"),
    ("log 1 % changed", "files opened", FILES // 100 + FOLDERS + 7, "only what changed is read"),
    ("log 1 % changed", "stat calls", 2 * FILES + 80, "two a file, as where nothing changed"),
    ("fetch 1 % changed", "requests", 6, "pages of the version, and ranges of packs"),
    ("fetch 1 % changed", "gets of pages", 2, "what stays of the other version is known without its pages"),
    ("fetch 1 % changed", "bytes read", 79_000, "the pages of the version, and what changed"),
    ("fetch 1 % changed", "files opened", FILES // 100 + FOLDERS + 9, "only what changed is written"),
    ("fetch 1 % changed", "stat calls", FILES + 190, "one a file, and a few more for those that changed"),
]
LARGE_FILE = [
    ("log", "puts", 4, "32 MiB of contents make a pack"),
    ("log", "requests", 4, "nothing is asked of the bucket"),
    ("log", "bytes written", LARGE + 6000, "contents, and a hundred bytes for each chunk"),
    ("log", "statements", 55, "chunks are recorded by the pack"),
    ("log", "files opened", 6, "the file is opened once"),
    ("log again", "requests", 1, "the recipe is looked at, the contents are not"),
    ("log again", "files opened", 4, "the file is not read"),
    ("fetch", "requests", 35, "neighbours are read together, over a mebibyte at a time"),
    ("fetch", "bytes read", LARGE + 3000, "contents once, the page and the recipe"),
    ("fetch", "statements", 8, "chunks are located by the batch"),
    ("log changed", "requests", 3, "a pack of contents, one of pages, one event"),
    ("log changed", "bytes written", 1_390_000, "the one chunk that changed, and the recipe"),
    ("log changed", "statements", 44, "what did not change is looked up by the batch"),
]
MANY = [
    ("log", "requests", 3, "a pack of contents, one of pages, one event"),
    ("log", "bytes written", 1_924_000, "96 bytes an entry"),
    ("log", "statements", 260, "rows go in by the hundred"),
    ("log", "transactions", 50, "two a batch of a thousand, and a few"),
    ("edit one entry", "puts", 3, "a pack of contents, one of pages, one event"),
    ("edit one entry", "requests", 5, "two pages are read for it"),
    ("edit one entry", "bytes read", 35_000, "one page a level, not the manifest"),
    ("edit one entry", "bytes written", 36_000, "one page a level, not the manifest"),
    ("edit one entry", "statements", 47, "as many as in a version of three entries"),
    ("edit one entry", "transactions", 14, "as many as in a version of three entries"),
    ("diff", "requests", 4, "one a level and version: all leaves that differ come in one range"),
    ("diff", "statements", 14, "two versions are resolved, pages are located by the level"),
    ("list a folder", "requests", 2, "one a level"),
    ("list a folder", "bytes read", 33_000, "one page a level"),
    ("list a folder", "statements", 2, "pages are located by the level"),
    ("open a path", "requests", 3, "one a level, and the content"),
    ("open a path", "bytes read", 33_000, "one page a level, and the content"),
    ("open a path", "statements", 8, "the version is resolved, pages and content are located"),
    ("resolve an alias", "requests", 0, "the bucket is not asked"),
    ("resolve an alias", "statements", 5, "as many as in a store of three versions"),
    ("open the store and resolve an alias", "requests", 1, "the marker is read"),
    ("open the store and resolve an alias", "statements", 6, "one to open it, five for the alias"),
    ("open the store and resolve an alias", "files opened", 1, "none of the store: the system's list of mounts"),
]


def each(bounds):
    return pytest.mark.parametrize(("work", "what", "most", "why"), bounds, ids=[f"{b[0]}: {b[1]}" for b in bounds])


@each(SMALL)
def test_work_on_many_small_files_costs_no_more_than_it_did(small, work, what, most, why):
    assert small[work][what] <= most, f"{work}, {what}: {why}"


@each(LARGE_FILE)
def test_work_on_a_large_file_costs_no_more_than_it_did(large, work, what, most, why):
    assert large[work][what] <= most, f"{work}, {what}: {why}"


@each(MANY)
def test_work_on_a_version_of_many_entries_costs_no_more_than_it_did(many, work, what, most, why):
    assert many[work][what] <= most, f"{work}, {what}: {why}"


def test_what_is_counted_is_seen(small):
    first = small["log"]
    assert first["puts"] == first["requests"] == 3
    assert first["bytes written"] > 2_000_000
    assert first["files opened"] >= FILES
    assert first["stat calls"] >= FILES
    assert first["statements"] > first["transactions"] > 1
    assert small["fetch"]["gets of content"] >= 1
    assert small["fetch"]["gets of pages"] >= 1
    assert small["fetch"]["bytes read"] > 2_000_000


class Pages(dict):
    """Pages by digest; knows which were read and put."""

    def __init__(self):
        super().__init__()
        self.forget()

    def keep(self, digest, page):
        self.put.add(digest)
        self[digest] = page

    def fetch(self, digests):
        self.asked += 1
        self.read |= set(digests)
        return {digest: self[digest] for digest in digests}

    def forget(self):
        self.asked, self.read, self.put = 0, set(), set()


@pytest.fixture(scope="module")
def pages():
    """A manifest of 20,000 entries, and the pages that were put for it."""
    made = Pages()
    root = build((entry(number) for number in range(ENTRIES)), made.keep)
    return made, root.digest


def entry(number, content=0):
    return Entry(path_of(number), 0, 1, bytes([content]) * 32)


def test_a_manifest_of_many_entries_has_a_page_for_four_hundred_of_them(pages):
    made, _ = pages
    assert 30 <= len(made.put) <= 60, "a page holds 512 entries on average"


def test_an_edit_reads_and_puts_one_page_a_level(pages):
    made, root = pages
    made.forget()
    edit(root, {path_of(9000): entry(9000, 1)}, made.fetch, made.keep)
    assert len(made.read) <= 2, "the root, and the leaf of the entry"
    assert len(made.put) <= 2, "the root, and the leaf of the entry"


def test_a_diff_of_two_versions_reads_the_pages_that_differ(pages):
    made, root = pages
    other = edit(root, {path_of(n): entry(n, 1) for n in range(1000, ENTRIES, 2000)}, made.fetch, made.keep).digest
    made.forget()
    assert len(list(diff(Manifest(root, made.fetch), Manifest(other, made.fetch)))) == 10
    assert len(made.read) <= 22, "two roots, and ten leaves of each"
    assert made.asked <= 4, "one request a level and version"


@pytest.mark.parametrize(
    ("question", "most"),
    [
        (lambda one: list(one.children("050")), 2),
        (lambda one: one.lookup(path_of(5000)), 2),
        (lambda one: one.entries, 1),
    ],
    ids=["list a folder", "open a path", "count"],
)
def test_a_question_to_a_manifest_reads_one_page_a_level_where_it_can(pages, question, most):
    made, root = pages
    made.forget()
    question(Manifest(root, made.fetch))
    assert len(made.read) <= most, "the root, and the leaves that hold the answer"


def test_a_warm_fetch_asks_the_place_for_nothing(new_store, tmp_path, settle):
    place = Counted()
    kept = CachingBackend(place, BlockFolder(tmp_path / "blocks", 1 << 30))
    store, folder = new_store(place, kept)
    fill(folder / "data")
    settle()
    log(store, folder / "data")
    with counting(place) as cold:
        store.artifact("data").download(tmp_path / "cold")
    with counting(place) as warm:
        store.artifact("data").download(tmp_path / "warm")
    assert 1 <= cold["requests"] <= 6, "whole blocks come in ranges: no request is made for a file"
    assert warm["requests"] == 0, "pages and contents are kept on this machine"


@pytest.mark.slow
def test_two_thousand_files_go_to_a_bucket_and_come_back_in_few_requests(new_location, proxies, tmp_path, settle):
    location = new_location("s3-moto")
    proxy = proxies.Proxy(location.storage_options["endpoint_url"])
    options = {**location.storage_options, "endpoint_url": proxy.url}
    url = f"sqlite:///{tmp_path}/store.db"
    settings = Settings(location.url, url, "p", tmp_path / "d", storage_options=options, cache=tmp_path / "cache")
    fill(tmp_path / "data")
    settle()
    counts = {}

    def asked(work):
        counts[work] = len(proxy.requests)
        proxy.requests.clear()

    try:
        create_settings(settings).close()
        proxy.requests.clear()
        with open_settings(settings) as store:
            asked("open")
            log(store, tmp_path / "data")
            asked("log")
            log(store, tmp_path / "data")
            asked("log again")
            store.artifact("data").download(tmp_path / "cold")
            asked("fetch")
            store.artifact("data").download(tmp_path / "warm")
            asked("fetch warm")
    finally:
        proxy.close()
    assert sum(map(len, (names for _, _, names in os.walk(tmp_path / "warm")))) == FILES
    assert counts["open"] <= 1, "the marker"
    assert counts["log"] <= 5, "two looks at the journal, once; a pack of contents, one of pages, one event"
    assert counts["log again"] == 0, "the database knows"
    assert counts["fetch warm"] == 0, "pages and contents are kept on this machine"
    assert 1 <= counts["fetch"] <= 4, "pages and packs by the range: no request is made for a file"
