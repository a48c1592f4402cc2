"""Repeating what is transient, and only that."""

from __future__ import annotations

import pytest

from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.backends.retry import RetryingBackend
from lineart.storage.errors import NotFound, StoreUnavailable


@pytest.fixture
def slept():
    return []


@pytest.fixture
def retrying(slept):
    def make(inner, **options):
        return RetryingBackend(inner, sleep=slept.append, random=lambda: 1.0, **options)

    return make


def test_it_keeps_the_contract(clause, retrying):
    clause(retrying(MemoryBackend()))


def test_it_keeps_the_contract_while_every_fourth_operation_fails(clause, retrying, faults):
    failing = dict.fromkeys(range(1, 1000, 4), faults.Fault.UNREACHABLE)
    clause(retrying(faults.FaultBackend(MemoryBackend(), failing)))


@pytest.mark.parametrize("what", ["get", "size", "put", "put_new", "list", "delete"])
@pytest.mark.parametrize("fault", ["UNREACHABLE", "TIMEOUT", "TRUNCATE"])
def test_every_operation_is_right_after_a_transient_failure(what, fault, retrying, faults):
    inner = MemoryBackend()
    for number in range(6):
        inner.put(f"a/{number}", [b"0123456789"])
    backend = retrying(faults.FaultBackend(inner, {1: faults.Fault[fault]}))
    if what == "get":
        assert backend.get("a/1", 2, 4) == b"2345"
    elif what == "size":
        assert backend.size("a/1") == 10
    elif what == "put":
        backend.put("a/1", [b"new"])
        assert inner.get("a/1") == b"new"
    elif what == "put_new":
        assert backend.put_new("a/new", b"new")
        assert not backend.put_new("a/new", b"newer")
        assert inner.get("a/new") == b"new"
    elif what == "list":
        assert [info.key for info in backend.list("a/")] == [f"a/{number}" for number in range(6)]
    else:
        backend.delete(["a/0", "a/1"])
        assert [info.key for info in inner.list("")] == [f"a/{number}" for number in range(2, 6)]


def test_it_waits_longer_each_time_up_to_a_cap_and_then_gives_up(slept, retrying, faults):
    inner = faults.FaultBackend(MemoryBackend(), dict.fromkeys(range(1, 100), faults.Fault.UNREACHABLE))
    backend = retrying(inner, attempts=6, base=1.0, cap=5.0)
    with pytest.raises(StoreUnavailable, match="injected"):
        backend.get("a/1")
    assert inner.count == 6
    assert slept == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_it_waits_a_random_part_of_the_time(slept, faults):
    inner = faults.FaultBackend(MemoryBackend(), {1: faults.Fault.UNREACHABLE, 2: faults.Fault.UNREACHABLE})
    chances = iter([0.5, 0.25])
    RetryingBackend(inner, base=1.0, sleep=slept.append, random=lambda: next(chances)).put("a/1", [b""])
    assert slept == [0.5, 0.5]


def test_what_is_not_transient_is_not_repeated(slept, retrying, faults):
    inner = faults.FaultBackend(MemoryBackend(), {1: faults.Fault.FAIL_BEFORE})
    backend = retrying(inner)
    with pytest.raises(StoreUnavailable):
        backend.put("a/1", [b"x"])
    with pytest.raises(NotFound):
        backend.get("a/1")
    assert inner.count == 2
    assert slept == []


def test_other_bytes_are_not_taken_for_ours_after_a_failure(retrying, faults):
    inner = MemoryBackend()
    inner.put("a/1", [b"theirs"])
    backend = retrying(faults.FaultBackend(inner, {1: faults.Fault.UNREACHABLE}))
    assert not backend.put_new("a/1", b"ours")


def test_a_short_read_at_the_end_of_an_object_is_no_failure(slept, retrying):
    inner = MemoryBackend()
    inner.put("a/1", [b"0123"])
    assert retrying(inner).get("a/1", 2, 100) == b"23"
    assert slept == []


def test_equal_bytes_are_taken_for_ours_after_a_failure_only(retrying, faults):
    inner = MemoryBackend()
    inner.put("a/1", [b"equal"])
    backend = retrying(faults.FaultBackend(inner, {2: faults.Fault.UNREACHABLE}))
    assert not backend.put_new("a/1", b"equal")
    assert backend.put_new("a/1", b"equal"), "an answer that was lost cannot be told from this"
