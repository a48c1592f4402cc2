"""The backend that fails as told does so, and keeps the contract where it is told nothing."""

from __future__ import annotations

import pytest

from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.errors import StoreUnavailable


def test_without_faults_it_keeps_the_contract(clause, faults):
    clause(faults.FaultBackend(MemoryBackend()))


def test_faults_come_by_operation_number(faults):
    backend = faults.FaultBackend(MemoryBackend(), {1: faults.Fault.FAIL_BEFORE, 2: faults.Fault.FAIL_AFTER})
    with pytest.raises(StoreUnavailable):
        backend.put("a/1", [b"x"])
    assert list(backend.inner.list("")) == []
    with pytest.raises(StoreUnavailable):
        backend.put("a/1", [b"x"])
    assert backend.get("a/1") == b"x"
    assert backend.count == 3
    assert backend.log[-1] == ("get", "a/1")


def test_bytes_come_short_or_wrong(faults):
    fault = faults.Fault
    backend = faults.FaultBackend(MemoryBackend(), {2: fault.TRUNCATE, 3: fault.FLIP, 5: fault.FLIP})
    backend.put("a/1", [b"abcdef"])
    assert backend.get("a/1") == b"abc"
    assert backend.get("a/1") == b"abctef"
    assert backend.get("a/1") == b"abcdef"
    backend.put("a/2", [b"abcdef"])
    assert backend.get("a/2") == b"abctef"


def test_a_dead_backend_stays_dead_until_it_is_revived(faults):
    backend = faults.FaultBackend(MemoryBackend(), dead_from=2)
    backend.put("a/1", [b"x"])
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            backend.get("a/1")
    backend.revive()
    assert backend.get("a/1") == b"x"
    assert [info.key for info in backend.list("")] == ["a/1"]


def test_a_stale_list_lacks_the_last_write(faults):
    backend = faults.FaultBackend(MemoryBackend(), {3: faults.Fault.STALE})
    backend.put("a/1", [b"x"])
    backend.put("a/2", [b"x"])
    assert [info.key for info in backend.list("")] == ["a/1"]
    assert [info.key for info in backend.list("")] == ["a/1", "a/2"]
