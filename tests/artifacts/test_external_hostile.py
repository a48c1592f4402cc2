"""Places that answer what no place should: nothing wrong is logged, and what is refused says why."""

import os
import socket
import threading

import pytest

import lineart
from lineart.artifacts.urls import check_url
from lineart.storage.errors import InvalidInput, StoreUnavailable


@pytest.fixture
def store(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as made:
        yield made


@pytest.fixture
def says():
    """Return a function that makes a web server which answers everything with the same bytes, and gives its URL."""
    servers = []

    def serve(server, head, body):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 " + head + b"\r\nConnection: close\r\n\r\n" + (b"" if asked[:4] == b"HEAD" else body)
                )

    def make(head, body=b""):
        server = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(server, head, body), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.getsockname()[1]}/data"

    yield make
    for server, thread in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def refer(store, url, *arguments, **options):
    draft = lineart.Artifact("there")
    draft.add_reference(url, *arguments, **options)
    return store.log(draft)


def test_an_etag_that_is_no_utf_8_is_as_good_as_none(store, says):
    entry = refer(store, says(b'200 OK\r\nContent-Length: 3\r\nETag: "a\xff"', b"abc"))["data"]
    assert (entry.size, entry.external.etag) == (3, None)


@pytest.mark.parametrize("status", ["302 Found", "304 Not Modified", "204 No Content"])
def test_an_answer_without_an_object_is_no_object(store, says, status):
    with pytest.raises(StoreUnavailable, match=status[:3]):
        refer(store, says(f'{status}\r\nETag: "e"\r\nContent-Length: 0'.encode()))
    assert store.collections() == []


def test_a_part_that_nobody_asked_for_is_not_taken_for_the_whole(store, says):
    with pytest.raises(StoreUnavailable, match="bytes 5-7/8"):
        refer(store, says(b"206 Partial Content\r\nContent-Range: bytes 5-7/8\r\nContent-Length: 3", b"abc"))


@pytest.mark.parametrize("url", ["http://[::1/x", "file://[::1/x", "s3://[b/x"])
def test_what_is_no_url_is_bad_input(store, url):
    with pytest.raises(InvalidInput, match="no URL"):
        refer(store, url)


def test_a_user_name_in_a_web_url_may_be_a_token_and_is_refused():
    with pytest.raises(InvalidInput, match="password") as caught:
        check_url("https://hunter2@host/x")
    assert "hunter2" not in str(caught.value)


def test_a_file_whose_name_is_not_utf_8_is_found_where_it_is(store, tmp_path):
    path = os.fsencode(tmp_path) + b"/b\xff.txt"
    with open(path, "wb") as file:
        file.write(b"bytes")
    version = refer(store, os.fsdecode(path), "b.txt")
    assert version["b.txt"].external.url.endswith("/b%FF.txt")
    assert version.read_bytes("b.txt") == b"bytes"


def test_what_is_neither_a_file_nor_a_folder_is_bad_input(store, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("fifo", "endless"):
        with pytest.raises(InvalidInput, match="neither a file nor a folder"):
            refer(store, tmp_path / name)
