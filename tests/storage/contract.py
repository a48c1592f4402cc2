"""What every backend must do, as functions that take an empty backend.

Knows the interface only. A new backend's test asks for the fixture `clause`, which runs it once for each function of
CLAUSES, in its own words:

    def test_my_backend_keeps_the_contract(clause):
        clause(MyBackend(...))
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lineart.storage.backends.base import Backend, ObjectInfo
from lineart.storage.backends.retry import RetryingBackend
from lineart.storage.errors import InvalidInput, InvalidName, NotFound

Clause = Callable[[Backend], None]


def what_was_put_can_be_got(backend: Backend) -> None:
    backend.put("packs/aa/one", [b"hello", b" ", memoryview(b"world")])
    assert backend.get("packs/aa/one") == b"hello world"
    assert backend.size("packs/aa/one") == 11


def a_put_replaces_what_was_there(backend: Backend) -> None:
    backend.put("packs/aa/one", [b"a long first version"])
    backend.put("packs/aa/one", [b"short"])
    assert backend.get("packs/aa/one") == b"short"
    assert backend.size("packs/aa/one") == 5


def an_object_may_be_empty(backend: Backend) -> None:
    backend.put("journal/empty", [])
    backend.put("journal/void", [b"", b""])
    assert backend.get("journal/empty") == b""
    assert backend.get("journal/void", 0, 10) == b""
    assert backend.size("journal/empty") == 0
    assert list(backend.list("journal/")) == [ObjectInfo("journal/empty", 0), ObjectInfo("journal/void", 0)]


def a_range_is_like_a_slice(backend: Backend) -> None:
    data = bytes(range(100))
    backend.put("meta/aa/x", [data])
    for start, length in [(0, 10), (10, 20), (90, 10), (90, 50), (0, 100), (0, 1000), (99, 1), (50, 0), (5, None)]:
        stop = None if length is None else start + length
        assert backend.get("meta/aa/x", start, length) == data[start:stop], (start, length)


def a_range_past_the_end_is_empty(backend: Backend) -> None:
    backend.put("meta/aa/x", [b"0123456789"])
    assert backend.get("meta/aa/x", 10, 5) == b""
    assert backend.get("meta/aa/x", 10) == b""
    assert backend.get("meta/aa/x", 1000, 1) == b""
    assert backend.get("meta/aa/x", 10, 0) == b""


def a_negative_range_is_refused(backend: Backend) -> None:
    backend.put("meta/aa/x", [b"0123456789"])
    with pytest.raises(InvalidInput):
        backend.get("meta/aa/x", -1, 5)
    with pytest.raises(InvalidInput):
        backend.get("meta/aa/x", 0, -5)


def what_is_absent_is_not_found(backend: Backend) -> None:
    backend.put("packs/aa/one", [b"1"])
    for absent in ("packs/aa/two", "packs/aa", "packs", "packs/bb/one", "lineart.json"):
        with pytest.raises(NotFound, match=absent):
            backend.get(absent)
        with pytest.raises(NotFound):
            backend.get(absent, 0, 10)
        with pytest.raises(NotFound):
            backend.get(absent, 0, 0)
        with pytest.raises(NotFound):
            backend.size(absent)


def put_new_takes_the_first_only(backend: Backend) -> None:
    assert backend.put_new("lineart.json", b"first") is True
    assert backend.put_new("lineart.json", b"second") is False
    assert backend.put_new("lineart.json", b"first") is False
    assert backend.get("lineart.json") == b"first"


def put_new_works_again_after_a_deletion(backend: Backend) -> None:
    assert backend.put_new("journal/a/1", b"first")
    backend.delete(["journal/a/1"])
    assert backend.put_new("journal/a/1", b"second")
    assert backend.get("journal/a/1") == b"second"


def one_of_many_wins_put_new(backend: Backend) -> None:
    backend.put_new("warm/up", b"")  # some services have to be learnt first
    contestants = 8
    start = threading.Barrier(contestants)
    patient = RetryingBackend(backend)  # a server may break off a read of what another is just replacing

    def contend(number: int) -> bool:
        start.wait()
        return patient.put_new("lineart.json", b"%d" % number)

    with ThreadPoolExecutor(contestants) as pool:
        won = list(pool.map(contend, range(contestants)))
    content = int(backend.get("lineart.json"))
    assert won[content], "the one whose bytes are there must have been told so"
    if backend.conditional:
        assert sum(won) == 1


def a_list_is_sorted_complete_and_below_its_prefix(backend: Backend) -> None:
    keys = [
        "lineart.json",
        "packs/aa/2",
        "packs/aa/1",
        "packs/ab/1",
        "packs-old/aa/1",
        "packs/b",
        "meta/aa/1",
        "packs.txt",
    ]
    for number, key in enumerate(keys):
        backend.put(key, [b"x" * number])
    sizes = {key: number for number, key in enumerate(keys)}
    everything = [ObjectInfo(key, sizes[key]) for key in sorted(keys)]
    assert list(backend.list("")) == everything
    assert list(backend.list("packs/")) == [info for info in everything if info.key.startswith("packs/")]
    assert list(backend.list("packs/aa/")) == [ObjectInfo("packs/aa/1", 2), ObjectInfo("packs/aa/2", 1)]
    assert list(backend.list("nothing/")) == []


def an_empty_place_lists_nothing(backend: Backend) -> None:
    assert list(backend.list("")) == []


def a_list_is_never_stale(backend: Backend) -> None:
    for number in range(5):
        backend.put(f"packs/aa/{number}", [b"x"])
        assert len(list(backend.list("packs/"))) == number + 1
    backend.delete(["packs/aa/3"])
    assert [info.key for info in backend.list("packs/")] == [f"packs/aa/{n}" for n in (0, 1, 2, 4)]
    backend.put("packs/aa/0", [b"longer"])
    assert next(iter(backend.list("packs/"))) == ObjectInfo("packs/aa/0", 6)


def a_list_may_be_left_half_way(backend: Backend) -> None:
    for number in range(5):
        backend.put(f"packs/aa/{number}", [b"x"])
    listing = iter(backend.list("packs/"))
    assert next(listing).key == "packs/aa/0"
    del listing
    assert len(list(backend.list("packs/"))) == 5


def a_prefix_must_be_a_folder(backend: Backend) -> None:
    with pytest.raises(InvalidInput):
        list(backend.list("packs"))
    with pytest.raises(InvalidName):
        list(backend.list("../"))


def deleting_is_idempotent(backend: Backend) -> None:
    for number in range(3):
        backend.put(f"packs/aa/{number}", [b"x"])
    backend.delete(["packs/aa/0", "packs/aa/2", "packs/zz/absent"])
    backend.delete(["packs/aa/0"])
    backend.delete([])
    assert [info.key for info in backend.list("")] == ["packs/aa/1"]
    with pytest.raises(NotFound):
        backend.get("packs/aa/0")


def keys_cannot_leave_the_root(backend: Backend) -> None:
    for key in (
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\0b",
        "a\\b",
        ".tmp-1",
        "packs/.tmp-x",
    ):
        for operation in (
            lambda key=key: backend.get(key),
            lambda key=key: backend.size(key),
            lambda key=key: backend.put(key, [b""]),
            lambda key=key: backend.put_new(key, b""),
            lambda key=key: backend.delete([key]),
        ):
            with pytest.raises(InvalidName):
                operation()
    assert list(backend.list("")) == []


def many_parts_are_one_object(backend: Backend) -> None:
    parts = [bytes([number % 256]) * (number % 7) for number in range(5000)]
    backend.put("packs/aa/many", parts)
    assert backend.get("packs/aa/many") == b"".join(parts)


def a_whole_pack_keeps_every_bit(backend: Backend) -> None:
    block = os.urandom(1 << 20)
    parts = [block] * 7 + [b"\r\n--==0==--\r\n\0\xff", memoryview(block)[:-3]]
    whole = b"".join(parts)
    backend.put("packs/aa/big", parts)
    assert backend.size("packs/aa/big") == len(whole)
    assert backend.get("packs/aa/big") == whole
    assert backend.get("packs/aa/big", 7 << 20, 100) == whole[7 << 20 : (7 << 20) + 100]


def content_that_looks_like_protocol_is_kept(backend: Backend) -> None:
    for number, data in enumerate(
        [b"\n--==0==--", b"--==0==", b"\r\n0\r\n\r\n", b"\n--==0==\n\nx", b"<Error/>", b"\r", b"\n", b"x\r\n"]
    ):
        backend.put(f"meta/aa/{number}", [data])
        assert backend.get(f"meta/aa/{number}") == data
        assert backend.put_new(f"meta/bb/{number}", data)
        assert backend.get(f"meta/bb/{number}") == data


def many_threads_may_use_it_at_once(backend: Backend) -> None:
    def work(number: int) -> None:
        data = bytes([number]) * (1000 + number)
        backend.put(f"packs/{number:02x}/x", [data])
        assert backend.get(f"packs/{number:02x}/x") == data
        assert backend.get(f"packs/{number:02x}/x", 10, 10) == data[10:20]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(32)))
    assert len(list(backend.list("packs/"))) == 32


def it_may_be_used_after_close(backend: Backend) -> None:
    backend.put("packs/aa/1", [b"x"])
    backend.close()
    assert backend.get("packs/aa/1") == b"x"
    backend.close()
    backend.close()


def its_url_tells_no_secret(backend: Backend) -> None:
    assert backend.url
    assert "secret" not in backend.url


CLAUSES: list[Clause] = [
    value
    for value in list(globals().values())
    if callable(value) and getattr(value, "__module__", None) == __name__ and getattr(value, "__name__", "") != "Clause"
]
