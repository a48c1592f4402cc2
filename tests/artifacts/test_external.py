"""Objects that stay where they are: found, referred to, fetched, and refused where they are not what they were."""

import hashlib
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import botocore.session
import fsspec
import pytest
from blake3 import blake3

import lineart
from lineart.artifacts import draft as draft_module
from lineart.artifacts import external, outside
from lineart.artifacts.draft import Draft
from lineart.artifacts.entry import UNSEEN, external_digest
from lineart.artifacts.external import find_objects
from lineart.artifacts.urls import check_url
from lineart.storage import schema
from lineart.storage.backends import outside_clouds, outside_web
from lineart.storage.errors import (
    Conflict,
    Frozen,
    IntegrityError,
    InvalidInput,
    InvalidName,
    NotFound,
    StoreUnavailable,
    VerifyError,
)

SECRET = "not-a-secret"


@pytest.fixture
def store(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as made:
        yield made


@pytest.fixture
def memory():
    """fsspec's files in memory, which have no etags; emptied afterwards."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(external, "_WAIT", 0.0)


class Web:
    """A web server whose objects, headers and faults a test sets."""

    def __init__(self):
        self.objects = {}  # path: (bytes, etag or None)
        self.faults = []  # taken one by one by bodies: a status, or minus the bytes after which one breaks off
        self.asked = []
        self.ranges = True
        self.gate = threading.Event()  # a body breaks off when this is set
        self.gate.set()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, *, body):
                web.asked.append((self.command, self.path, self.headers.get("Range")))
                fault = web.faults.pop(0) if body and web.faults else None
                if self.path not in web.objects or (fault or 0) > 0:
                    self.send_response(fault if (fault or 0) > 0 else 404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data, etag = web.objects[self.path]
                start = 0
                if self.headers.get("Range") and web.ranges and self.headers.get("If-Range", etag) == etag:
                    start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(data) - start))
                if etag is not None:
                    self.send_header("ETag", etag)
                self.end_headers()
                if body and fault is not None:
                    self.wfile.write(data[start : start - fault])
                    web.gate.wait(30)
                    self.close_connection = True
                elif body:
                    self.wfile.write(data[start:])

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # connections are closed on purpose

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def web():
    made = Web()
    yield made
    made.close()


class Bucket:
    """An S3 bucket, and the environment that leads there."""

    def __init__(self, location, monkeypatch):
        endpoint = location.storage_options["endpoint_url"]
        self.name = location.url.split("/")[2]
        self.url = f"s3://{self.name}"
        for name, value in (
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        self.client = botocore.session.get_session().create_client("s3")

    def put(self, key, data):
        return self.client.put_object(Bucket=self.name, Key=key, Body=data)


@pytest.fixture
def bucket(new_location, monkeypatch):
    made = Bucket(new_location("s3-moto"), monkeypatch)
    yield made
    made.client.close()


def refer(store, url, *arguments, **options):
    """Log a version that refers to a URL alone."""
    draft = lineart.Artifact("there")
    draft.add_reference(url, *arguments, **options)
    return store.log(draft)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


# What is kept


def test_a_file_is_hashed_and_its_url_is_kept(store, tmp_path):
    (tmp_path / "a b.txt").write_bytes(b"hello")
    version = refer(store, tmp_path / "a b.txt")
    entry = version["a b.txt"]
    assert entry.external.url == f"file://{tmp_path}/a%20b.txt"
    assert (entry.external.etag, entry.external.version) == (None, None)
    assert bytes(entry.digest) == blake3(b"hello").digest()
    assert (version.size, version.file_count) == (5, 1)
    assert store.check(read_data=True).problems == []


def test_a_folder_brings_all_that_is_below_it_under_a_name_or_at_the_top(store, tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/a").write_bytes(b"1")
    (tmp_path / "in/sub/b").write_bytes(b"22")
    draft = lineart.Artifact("there")
    draft.add_reference(f"file://{tmp_path}/in", "web")
    draft.add_reference(str(tmp_path / "in") + "/")
    version = store.log(draft)
    assert [one.path for one in version.files()] == ["a", "sub/b", "web/a", "web/sub/b"]
    (place,) = store.catalog.references_of(bytes(version.digest))
    assert (place.url, place.objects, place.size) == (f"file://{tmp_path}/in/", 4, 6)


def test_without_checksum_nothing_is_asked_of_anybody(store, monkeypatch):
    monkeypatch.setattr(external, "open_outside", lambda *_: pytest.fail("asked"))
    version = refer(store, "s3://no-such-bucket/key.bin", checksum=False)
    entry = version["key.bin"]
    assert (entry.size, bytes(entry.digest), entry.external.etag) == (0, UNSEEN, None)
    with pytest.raises(InvalidInput, match="listed"):
        refer(store, "s3://no-such-bucket/folder/", checksum=False)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://ana:hunter2@host/x", "password"),
        ("s3://AKIA:hunter2@bucket/x", "password"),
        ("https://host/x?X-Amz-Signature=hunter2", "Signature"),
        ("https://host/x?a=1&access_token=hunter2", "token"),
        ("https://host/x?sig=hunter2", "sig"),
        ("https://host/" + "x" * 5000, "4096"),
        ("s3://bucket/\udce9", "UTF-8"),
        ("simplecache::s3://bucket/x", "neither"),
        ("", "neither"),
    ],
)
def test_urls_that_may_not_be_kept_are_refused_and_their_secrets_not_shown(url, word):
    with pytest.raises(InvalidInput) as caught:
        check_url(url)
    assert word in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_one_place_has_one_url():
    assert check_url("S3A://b/k") == "s3://b/k"
    assert check_url("gcs://b") == check_url("gs://b/") == "gs://b/"
    assert check_url("HTTPS://h/x?page=2#top") == "https://h/x?page=2"
    assert check_url("local:///a/../b") == "file:///b"


def test_a_url_of_nothing_is_not_found_and_of_an_unknown_kind_refused(store, tmp_path, web):
    with pytest.raises(NotFound, match="nothing does not exist"):
        refer(store, tmp_path / "nothing")
    with pytest.raises(NotFound, match="nothing is at"):
        refer(store, f"{web.url}/nothing")
    with pytest.raises(InvalidInput, match="nosuch"):
        refer(store, "nosuch://a/b")


def test_a_logged_version_takes_no_references(store, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    version = refer(store, tmp_path / "a")
    with pytest.raises(Frozen):
        version.add_reference(tmp_path / "a")


def test_what_has_no_etag_is_read_and_hashed(store, memory):
    memory.pipe({"/b/x/1": b"one", "/b/x/2": b"two"})
    version = refer(store, "memory://b/x", "m")
    assert {one.path: bytes(one.digest) for one in version.files()} == {
        "m/1": blake3(b"one").digest(),
        "m/2": blake3(b"two").digest(),
    }
    assert version["m/1"].external.url == "memory://b/x/1"


def test_of_what_has_an_etag_nothing_is_read(store, web):
    web.objects["/d.bin"] = (b"x" * 1000, '"e1"')
    entry = refer(store, f"{web.url}/d.bin")["d.bin"]
    assert (entry.size, entry.external.etag) == (1000, "e1")
    assert bytes(entry.digest) == external_digest(1000, "e1", None)
    assert [method for method, *_ in web.asked] == ["HEAD"]


def test_an_etag_that_is_too_long_to_be_kept_is_as_good_as_none(store, web):
    web.objects["/d"] = (b"data", '"' + "e" * 300 + '"')
    entry = refer(store, f"{web.url}/d")["d"]
    assert (entry.external.etag, bytes(entry.digest)) == (None, blake3(b"data").digest())


# Paths


@pytest.mark.parametrize("key", ["x/../../escape", "x//y", "x/./y", "x/\0y"])
def test_hostile_keys_are_refused_and_nothing_is_added(monkeypatch, key):
    class Hostile:
        lists = True
        place = "there"

        def look(self, url, version=None):
            raise FileNotFoundError(url)

        def list(self, url):
            yield "good", external.Seen(1, "e")
            yield key, external.Seen(1, "e")

    monkeypatch.setattr(external, "open_outside", lambda *_: Hostile())
    draft = lineart.Artifact("there")
    with pytest.raises(InvalidName):
        draft.add_reference("s3://bucket/")
    assert list(draft.take_draft().ordered()) == []
    assert draft.take_draft().references == set()


def test_two_objects_of_one_path_are_a_conflict_unless_one_replaces_the_other(store, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"same")
    draft = lineart.Artifact("there")
    draft.add_reference(tmp_path / "a/x")
    with pytest.raises(Conflict, match=r"a/x and now from .*b/x"):
        draft.add_reference(tmp_path / "b/x")
    draft.add_reference(tmp_path / "b/x", overwrite=True)
    version = store.log(draft)
    assert version["x"].external.url.endswith("/b/x")
    assert [one.url for one in store.catalog.references_of(bytes(version.digest))] == [f"file://{tmp_path}/b/x"]


def test_a_listing_of_a_million_keys_is_never_in_memory_at_once(monkeypatch, tmp_path):
    held = []

    class Long:
        lists = True
        place = "there"

        def list(self, url):
            for number in range(3_000):
                held.append(number)
                yield f"{number:07d}", external.Seen(1, f"e{number}")

    monkeypatch.setattr(external, "open_outside", lambda *_: Long())
    found = find_objects("s3://bucket/")
    assert len(held) == 1  # only to know whether there is anything
    draft = Draft(limit=500, folder=str(tmp_path))
    draft.add_all(found.objects)
    assert draft.totals() == (3_000, 3_000)
    assert len(draft._sources) <= 500
    assert [path for path, _ in draft.ordered()] == [f"{number:07d}" for number in range(3_000)]


# Fetching


def test_a_download_fetches_what_is_elsewhere_and_the_second_time_asks_nothing(store, web, tmp_path):
    web.objects["/d.bin"] = (b"x" * 100_000, '"e1"')
    (tmp_path / "f").write_bytes(b"of a disk")
    draft = lineart.Artifact("mixed")
    draft.add_reference(f"{web.url}/d.bin", "far/d.bin")
    draft.add_reference(tmp_path / "f", "near/f")
    draft.add_reference(f"{web.url}/d.bin", "unseen.bin", checksum=False)
    draft.add_bytes(b"own", "own.txt")
    version = store.log(draft)
    wanted = {"far/d.bin": b"x" * 100_000, "near/f": b"of a disk", "unseen.bin": b"x" * 100_000, "own.txt": b"own"}
    for way in (version.download, version.checkout):
        folder = tmp_path / way.__name__
        way(folder)
        found = contents(folder)
        found.pop(".lineart-checkout", None)
        assert {path: found[path] for path in wanted} == wanted
        asked = len(web.asked)
        way(folder)
        version.verify(folder)
        assert len(web.asked) == asked
    assert version.download(tmp_path / "one", "far") == tmp_path / "one"
    assert contents(tmp_path / "one") == {"far/d.bin": b"x" * 100_000}


def test_a_file_that_was_fetched_and_changed_is_found_out_and_fetched_again(store, web, tmp_path):
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    version = refer(store, f"{web.url}/d")
    version.download(tmp_path / "out")
    (tmp_path / "out/d").write_bytes(b"y" * 1000)
    with pytest.raises(VerifyError):
        version.verify(tmp_path / "out")
    version.download(tmp_path / "out")
    assert (tmp_path / "out/d").read_bytes() == b"x" * 1000
    version.verify(tmp_path / "out")


def test_a_folder_that_was_fetched_is_what_status_says_it_is(store, web, tmp_path):
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    version = refer(store, f"{web.url}/d")
    version.download(tmp_path / "out")
    assert not store.status(tmp_path / "out")[1]
    (tmp_path / "out/d").write_bytes(b"y" * 1000)
    assert store.status(tmp_path / "out")[1].changed == ["d"]


def test_a_fetched_folder_that_nobody_remembers_is_judged_by_sizes_and_fetched_again(store, web, tmp_path):
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    draft = lineart.Artifact("there")
    draft.add_reference(f"{web.url}/d")
    draft.add_reference(f"{web.url}/d", "unseen", checksum=False)
    version = store.log(draft)
    version.download(tmp_path / "out")
    shutil.rmtree(store.cache / "stat")
    version.verify(tmp_path / "out")
    assert store.status(tmp_path / "out", against=version.ref)[1].same == 2
    (tmp_path / "out/d").write_bytes(b"longer" * 1000)
    with pytest.raises(VerifyError):
        version.verify(tmp_path / "out")
    assert store.status(tmp_path / "out", against=version.ref)[1].changed == ["d"]
    version.download(tmp_path / "out")
    assert contents(tmp_path / "out") == {"d": b"x" * 1000, "unseen": b"x" * 1000}


def test_a_downloaded_folder_that_is_logged_becomes_files_with_their_own_digests(store, web, tmp_path):
    web.objects["/d"] = (b"", '"e1"')
    web.objects["/e"] = (b"e" * 5000, '"e2"')
    draft = lineart.Artifact("there")
    draft.add_reference(f"{web.url}/d")
    draft.add_reference(f"{web.url}/e")
    store.log(draft).download(tmp_path / "out")
    copy = lineart.Artifact("copy")
    copy.add_dir(tmp_path / "out")
    logged = store.log(copy)
    assert {one.path: bytes(one.digest) for one in logged.files()} == {
        "d": blake3(b"").digest(),
        "e": blake3(b"e" * 5000).digest(),
    }
    assert store.check(read_data=True).problems == []


def test_links_and_clones_are_made_of_what_the_store_has_and_the_rest_is_copied(store, tmp_path):
    (tmp_path / "f").write_bytes(b"of a disk")
    draft = lineart.Artifact("mixed")
    draft.add_reference(tmp_path / "f")
    draft.add_bytes(b"own", "own")
    version = store.log(draft)
    for link in ("hardlink", "symlink", "reflink"):
        version.download(tmp_path / link, link=link)
        assert contents(tmp_path / link) == {"f": b"of a disk", "own": b"own"}
        assert (tmp_path / link / "f").stat().st_nlink == 1


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ((b"y" * 1000, '"e2"'), "its etag is e2, and was e1"),
        ((b"x" * 999, '"e1"'), "999 bytes; 1,000 were logged"),
        ((b"x" * 1000, None), "its etag is not told any more"),
        (None, "it is gone"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_what_changed_at_its_place_is_refused_and_nothing_wrong_is_left(store, web, tmp_path, now, what, there):
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    version = refer(store, f"{web.url}/d")
    if now is None:
        del web.objects["/d"]
    else:
        web.objects["/d"] = now
    folder = tmp_path / "out"
    if there:
        folder.mkdir()
        (folder / "mine").write_bytes(b"mine")
    with pytest.raises(IntegrityError, match=what) as caught:
        version.download(folder)
    assert f"{web.url}/d" in str(caught.value)
    assert (contents(folder) == {"mine": b"mine"}) if there else not folder.exists()
    with pytest.raises(IntegrityError, match=what):
        version.read_bytes("d")


def test_a_file_that_changed_since_it_was_logged_is_refused(store, tmp_path):
    (tmp_path / "f").write_bytes(b"before")
    version = refer(store, tmp_path / "f")
    (tmp_path / "f").write_bytes(b"afterw")
    with pytest.raises(IntegrityError, match="its content is not what it was"):
        version.download(tmp_path / "out")
    (tmp_path / "f").write_bytes(b"longer than before")
    with pytest.raises(IntegrityError, match="bytes"):
        version.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_read_that_breaks_off_goes_on_where_it_was(store, web, tmp_path):
    data = bytes(range(256)) * 20_000
    web.objects["/d"] = (data, '"e1"')
    version = refer(store, f"{web.url}/d")
    web.faults = [-3_000_000, 503, -300_000]
    web.asked.clear()
    web.gate.clear()
    found = []
    for part in external.Places().stream(version["d"]._entry):
        found.append(part)
        web.gate.set()
    assert b"".join(found) == data
    ranges = [given for _, _, given in web.asked]
    assert ranges[0] is None
    assert len(ranges) == 4
    assert all(ranges[1:])


def test_a_server_without_ranges_is_read_from_the_start_again(store, web):
    data = bytes(range(256)) * 4000
    web.objects["/d"] = (data, '"e1"')
    web.ranges = False
    version = refer(store, f"{web.url}/d")
    web.faults = [-100_000]
    assert version.read_bytes("d") == data


def test_a_read_that_always_breaks_off_ends(store, web):
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    version = refer(store, f"{web.url}/d")
    web.faults = [503] * 100
    with pytest.raises(StoreUnavailable, match="cannot read http"):
        version.read_bytes("d")
    assert len(web.faults) == 100 - external.ATTEMPTS


def test_an_object_that_is_replaced_while_it_is_read_is_refused(store, web):
    web.objects["/d"] = (b"x" * 5_000_000, '"e1"')
    version = refer(store, f"{web.url}/d", checksum=False)
    stream = external.Places().stream(version["d"]._entry)
    web.faults = [-3_000_000]
    web.gate.clear()
    first = next(stream)
    web.objects["/d"] = (b"y" * 5_000_000, '"e2"')
    web.gate.set()
    with pytest.raises(IntegrityError, match="etag is e2, and was e1"):
        list(stream)
    assert set(first) == {ord("x")}


def test_what_may_not_be_read_says_so(store, web):
    web.objects["/d"] = (b"x", '"e1"')
    version = refer(store, f"{web.url}/d")
    web.faults = [403]
    with pytest.raises(StoreUnavailable, match="permission denied"):
        version.read_bytes("d")


def test_a_stream_can_be_read_from_anywhere(store, web, tmp_path):
    data = os.urandom(300_000)
    web.objects["/d"] = (data, '"e1"')
    (tmp_path / "f").write_bytes(data)
    for url in (f"{web.url}/d", tmp_path / "f"):
        version = refer(store, url)
        with version.open(next(version.files()).path) as file:
            assert file.read(10) == data[:10]
            file.seek(-10, os.SEEK_END)
            assert file.read() == data[-10:]
            file.seek(1000)
            assert file.read(200_000) == data[1000:201_000]
            file.seek(0)
            assert file.read() == data
    unseen = refer(store, f"{web.url}/d", checksum=False)
    with unseen.open("d") as file:
        assert file.seek(0, os.SEEK_END) == 300_000


def test_a_stream_that_was_read_to_its_end_was_verified(store, tmp_path):
    (tmp_path / "f").write_bytes(b"before")
    version = refer(store, tmp_path / "f")
    (tmp_path / "f").write_bytes(b"afterw")
    with version.open("f") as file, pytest.raises(IntegrityError):
        file.read()


def test_a_url_that_somebody_else_logged_with_a_password_is_not_followed(store):
    from lineart.artifacts.source import ExternalSource

    draft = lineart.Artifact("hostile")
    source = ExternalSource("https://ana:pw@127.0.0.1/x", 1, external_digest(1, "e", None), "e", None)
    draft.take_draft().add("x", source)
    with pytest.raises(InvalidInput, match="password"):
        store.log(draft).read_bytes("x")


def test_a_server_that_falls_silent_is_given_up(store, web, monkeypatch):
    monkeypatch.setattr(outside_web, "SILENCE", 0.1)
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    version = refer(store, f"{web.url}/d")
    web.gate.clear()
    web.faults = [0] * 20
    with pytest.raises(StoreUnavailable, match="cannot read http"):
        version.read_bytes("d")
    web.gate.set()
    assert 20 - len(web.faults) == external.ATTEMPTS


def test_what_fails_leaves_nothing_of_what_else_was_being_fetched(store, web, tmp_path):
    web.objects["/large"] = (b"x" * 8_000_000, '"e1"')
    web.objects["/gone"] = (b"x", '"e1"')
    draft = lineart.Artifact("there")
    draft.add_reference(f"{web.url}/large", "a")
    draft.add_reference(f"{web.url}/gone", "b")
    version = store.log(draft)
    del web.objects["/gone"]
    web.faults = []
    with pytest.raises(IntegrityError, match="it is gone"):
        version.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".out")] == []


def test_many_objects_come_whole_with_few_under_way_at_once(store, web, tmp_path, monkeypatch):
    for number in range(200):
        web.objects[f"/{number}"] = (b"%d" % number * 100, f'"e{number}"')
    draft = lineart.Artifact("there")
    for number in range(200):
        draft.add_reference(f"{web.url}/{number}")
    version = store.log(draft)
    most = []
    begin = outside.Gathering._begin

    def watched(self, entry):
        begin(self, entry)
        most.append(len(self._under_way))

    monkeypatch.setattr(outside.Gathering, "_begin", watched)
    version.download(tmp_path / "out")
    assert contents(tmp_path / "out") == {f"{n}": b"%d" % n * 100 for n in range(200)}
    assert max(most) <= outside.WINDOW


def test_progress_counts_what_is_fetched_from_elsewhere(store, web, tmp_path):
    web.objects["/d"] = (b"x" * 1000, '"e1"')
    draft = lineart.Artifact("there")
    draft.add_reference(f"{web.url}/d")
    draft.add_bytes(b"own", "own")
    version = store.log(draft)
    told = []
    store.watch = lambda what: lambda files, size: told.append((files, size))
    version.download(tmp_path / "out")
    assert [sum(column) for column in zip(*told, strict=True)] == [2, 1003]


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_database_of_an_earlier_schema_takes_references(tmp_path, monkeypatch, request, kind):
    url = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with monkeypatch.context() as before:
        before.setattr(schema, "HEAD", "0002")
        lineart.create(tmp_path / "store", database=url, project="p").close()
    (tmp_path / "f").write_bytes(b"of a disk")
    with lineart.open(tmp_path / "store", database=url, project="p") as store:
        version = refer(store, tmp_path / "f")
        assert [one.objects for one in store.catalog.references_of(bytes(version.digest))] == [1]


# Versions made from versions


def test_a_new_draft_keeps_what_is_external_and_counts_what_changed(store, tmp_path):
    for name in ("a/1", "a/2", "a/3", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    first = refer(store, tmp_path / "a", "data")
    draft = first.new_draft()
    draft.remove("data/2")
    draft.add_bytes(b"own", "data/3", overwrite=True)
    draft.add_reference(tmp_path / "b/1")
    second = store.log(draft)
    url = f"file://{tmp_path}"
    assert [(one.url, one.objects, one.size) for one in store.catalog.references_of(bytes(second.digest))] == [
        (f"{url}/a/", 1, 3),
        (f"{url}/b/1", 1, 3),
    ]
    third = second.new_draft()
    third.remove("data")
    assert [one.url for one in store.catalog.references_of(bytes(store.log(third).digest))] == [f"{url}/b/1"]
    fourth = first.new_draft()
    fourth.add_reference(tmp_path / "a/2", "again")  # a place below one of the base: counted anew
    assert [(one.url, one.objects) for one in store.catalog.references_of(bytes(store.log(fourth).digest))] == [
        (f"{url}/a/", 2),
        (f"{url}/a/2", 2),
    ]
    plain = store.artifact("there:v0").new_draft()
    plain.add_bytes(b"more", "more")
    assert store.log(plain).record.refers


def test_many_places_are_told_apart_up_to_a_thousand_and_then_by_folder(store):
    draft = lineart.Artifact("many")
    for number in range(1200):
        draft.add_reference(f"s3://b/f{number % 3}/{number}.bin", f"{number}", checksum=False)
    places = store.catalog.references_of(bytes(store.log(draft).digest))
    assert [(one.url, one.objects) for one in places] == [(f"s3://b/f{n}/", 400) for n in range(3)]


def test_a_draft_holds_no_more_places_than_fit_in_memory(monkeypatch):
    monkeypatch.setattr(draft_module, "LIMIT", 100)
    draft = Draft()
    for number in range(250):
        draft.refers_to(f"s3://b/f{number % 3}/{number}.bin")
    assert {"s3://b/f0/", "s3://b/f1/", "s3://b/f2/"} <= draft.references
    assert len(draft.references) <= 101


def test_a_file_of_another_version_is_taken_over_without_being_read(store, tmp_path):
    data = os.urandom(3 << 20)  # several chunks
    script = tmp_path / "run.sh"
    script.write_bytes(b"#!/bin/sh\n")
    script.chmod(0o755)
    draft = lineart.Artifact("model")
    draft.add_bytes(data, "weights")
    draft.add_bytes(b"", "empty")
    draft.add_file(script)
    (tmp_path / "f").write_bytes(b"of a disk")
    draft.add_reference(tmp_path / "f")
    model = store.log(draft)
    bundle = lineart.Artifact("bundle")
    for path in ("weights", "empty", "run.sh", "f"):
        bundle.add_reference(model[path], None if path == "run.sh" else f"m/{path}")
    logged = store.log(bundle)
    assert logged.read_bytes("m/weights") == data
    assert logged.read_bytes("m/empty") == b""
    assert logged["m/f"].external.url == model["f"].external.url
    assert logged.download(tmp_path / "out").joinpath("run.sh").stat().st_mode & 0o100
    assert {one.path: bytes(one.digest) for one in logged.files()} == {
        ("run.sh" if path == "run.sh" else f"m/{path}"): bytes(model[path].digest)
        for path in ("weights", "empty", "run.sh", "f")
    }
    assert store.check(read_data=True).problems == []


def test_a_file_taken_over_is_kept_when_the_version_it_came_from_is_gone(store):
    from datetime import timedelta

    draft = lineart.Artifact("model")
    draft.add_bytes(b"w" * 5000, "weights")
    model = store.log(draft)
    bundle, late = lineart.Artifact("bundle"), lineart.Artifact("late")
    bundle.add_reference(model["weights"])
    late.add_reference(model["weights"], "w2")
    logged = store.log(bundle)
    model.delete(force=True)
    store.gc(grace=timedelta(0))
    assert logged.read_bytes("weights") == b"w" * 5000
    logged.delete(force=True)
    store.gc(grace=timedelta(0))
    with pytest.raises(Conflict, match=r"p/model:v0/weights is not in this store any more"):
        store.log(late)


def test_a_file_of_another_store_is_refused(store, tmp_path):
    draft = lineart.Artifact("model")
    draft.add_bytes(b"w", "weights")
    model = store.log(draft)
    taken = lineart.Artifact("taken")
    taken.add_reference(model["weights"])
    with lineart.create(tmp_path / "other") as other, pytest.raises(InvalidInput, match="another store"):
        other.log(taken)


def test_the_journal_gives_the_references_back(store, tmp_path):
    from lineart.settings import Settings
    from lineart.store import open_settings, repair

    (tmp_path / "f").write_bytes(b"of a disk")
    version = refer(store, tmp_path / "f")
    known = store.catalog.references_of(bytes(version.digest))
    store.close()
    settings = Settings(str(tmp_path / "store"), f"sqlite:///{tmp_path}/again.db", "p", tmp_path / "downloads")
    repair(settings)
    with open_settings(settings) as again:
        assert again.catalog.references_of(bytes(version.digest)) == known
        assert again.artifact("there").record.refers


# S3


@pytest.mark.slow
def test_objects_of_s3_are_known_by_their_etags(store, bucket, tmp_path):
    bucket.put("web/a.txt", b"aaa")
    version = refer(store, f"{bucket.url}/web/a.txt")
    entry = version["a.txt"]
    assert (entry.size, entry.external.etag) == (3, hashlib.md5(b"aaa").hexdigest())
    assert version.read_bytes("a.txt") == b"aaa"
    bucket.put("web/a.txt", b"bbb")
    with pytest.raises(IntegrityError, match="it has been replaced"):
        version.download(tmp_path / "out")
    bucket.client.delete_object(Bucket=bucket.name, Key="web/a.txt")
    with pytest.raises(IntegrityError, match="it is gone"):
        version.download(tmp_path / "out")


@pytest.mark.slow
def test_a_prefix_of_s3_costs_one_listing(store, bucket, tmp_path, monkeypatch):
    for number in range(1005):  # more than a page
        bucket.put(f"web/{number:04d}", b"%d" % number)
    bucket.put("web2/other", b"")
    bucket.put("web/", b"")
    calls = []
    newest = outside_clouds.S3._newest

    def counted(self, *arguments):
        calls.append(arguments)
        return newest(self, *arguments)

    monkeypatch.setattr(outside_clouds.S3, "_newest", counted)
    monkeypatch.setattr(outside_clouds.S3, "look", lambda *_: pytest.fail("asked for one object"))
    version = refer(store, f"{bucket.url}/web/", "w")
    assert version.file_count == 1005
    assert len(calls) == 1
    assert store.catalog.references_of(bytes(version.digest))[0].objects == 1005
    version.download(tmp_path / "out", "w/1004")
    assert contents(tmp_path / "out") == {"w/1004": b"1004"}


@pytest.mark.slow
def test_a_versioned_bucket_gives_back_what_was_there(store, bucket, tmp_path):
    versioning = {"Status": "Enabled"}
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=versioning)
    first = bucket.put("web/a", b"old")["VersionId"]
    bucket.put("web/gone", b"gone")
    version = refer(store, f"{bucket.url}/web/")
    alone = refer(store, f"{bucket.url}/web/a")
    bucket.put("web/a", b"newer")
    bucket.client.delete_object(Bucket=bucket.name, Key="web/gone")
    assert version["a"].external.version == alone["a"].external.version == first
    assert version.read_bytes("gone") == b"gone"
    version.download(tmp_path / "out")
    assert contents(tmp_path / "out") == {"a": b"old", "gone": b"gone"}
    named = refer(store, f"{bucket.url}/web/a?versionId={first}")
    assert (named["a"].external.url, named["a"].external.version) == (f"{bucket.url}/web/a", first)
    newest = refer(store, f"{bucket.url}/web")
    assert [one.path for one in newest.files()] == ["a"]
    assert newest.read_bytes("a") == b"newer"


@pytest.mark.slow
def test_storage_options_reach_the_place_and_are_not_kept(store, new_location, tmp_path, monkeypatch):
    location = new_location("s3-moto")
    bucket = Bucket(location, monkeypatch)
    bucket.put("a", b"aaa")
    bucket.client.close()
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    refer(store, f"{bucket.url}/a", storage_options=location.storage_options)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert SECRET.encode() not in kept


@pytest.mark.slow
def test_objects_of_gcs_are_known_by_their_generations(store, new_location, tmp_path, monkeypatch):
    location = new_location("gcs")
    name = location.url.split("/")[2]
    monkeypatch.setitem(fsspec.config.conf, "gs", location.storage_options)
    files = fsspec.filesystem("gcs", **location.storage_options)
    files.pipe({f"{name}/web/{number}": b"%d" % number for number in range(5)})
    version = refer(store, f"gs://{name}/web")
    assert version.file_count == 5
    assert all(one.external.version and one.external.etag is None for one in version.files())
    version.download(tmp_path / "out")
    assert contents(tmp_path / "out") == {str(number): b"%d" % number for number in range(5)}
    files.pipe(f"{name}/web/1", b"other")
    with pytest.raises(IntegrityError, match="web/1"):
        version.read_bytes("1")
