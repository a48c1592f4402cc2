"""A backend that fails as told, by the number of the operation, around any other backend.

    backend = faults.FaultBackend(MemoryBackend(), {3: faults.Fault.FAIL_AFTER})

Knows the interface only. Operations are counted from 1, in the order in which they begin: get, size, put, put_new, list
and delete. To run a scenario failing at every n: run it once without faults, read `count`, then once for each n.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator, Mapping, Sequence

from lineart.storage.backends.base import Backend, ObjectInfo
from lineart.storage.errors import StoreUnavailable


class Fault(enum.Enum):
    """What happens to one operation."""

    FAIL_BEFORE = "fails; nothing was done (not transient)"
    FAIL_AFTER = "fails, though it was done (not transient)"
    TIMEOUT = "fails, though it was done (transient: a retry may follow)"
    UNREACHABLE = "fails; nothing was done (transient)"
    TRUNCATE = "get: half of the bytes come; list: half of the keys; put: half lands, and it fails (transient)"
    FLIP = "get: one bit of what comes is wrong; put, put_new: one bit of what lands is wrong, unnoticed"
    STALE = "list: what was written last is not in it yet; others: no effect"


class FaultBackend(Backend):
    """`inner`, with `faults` by operation number; from operation `dead_from` on, nothing works any more (a crash).

    `count` is how many operations began, `log` their names and keys. `revive()` forgets faults and death, and goes on.
    """

    def __init__(self, inner: Backend, faults: Mapping[int, Fault] | None = None, dead_from: int | None = None) -> None:
        self.inner = inner
        self.url = inner.url
        self.faults = dict(faults or {})
        self.dead_from = dead_from
        self.log: list[tuple[str, str]] = []
        self._last_written: str | None = None
        self._lock = threading.Lock()

    @property
    def conditional(self) -> bool:
        return self.inner.conditional

    @property
    def count(self) -> int:
        return len(self.log)

    def revive(self) -> None:
        """Let everything work from here on."""
        self.faults.clear()
        self.dead_from = None

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        fault = self._begin("get", key)
        data = self.inner.get(key, start, length)
        if fault is Fault.TRUNCATE:
            return data[: len(data) // 2]
        if fault is Fault.FLIP:
            return flipped(data)
        self._end(fault, "get", key)
        return data

    def size(self, key: str) -> int:
        fault = self._begin("size", key)
        size = self.inner.size(key)
        self._end(fault, "size", key)
        return size

    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        fault = self._begin("put", key)
        if fault is Fault.TRUNCATE:
            whole = b"".join(parts)
            self.inner.put(key, [whole[: len(whole) // 2]])
            raise StoreUnavailable(f"injected: put of {key} broke off", transient=True)
        self.inner.put(key, [flipped(b"".join(parts))] if fault is Fault.FLIP else parts)
        self._last_written = key
        self._end(fault, "put", key)

    def put_new(self, key: str, data: bytes) -> bool:
        fault = self._begin("put_new", key)
        if fault is Fault.TRUNCATE:
            raise StoreUnavailable(f"injected: put_new of {key} broke off", transient=True)
        new = self.inner.put_new(key, flipped(data) if fault is Fault.FLIP else data)
        self._last_written = key
        self._end(fault, "put_new", key)
        return new

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        fault = self._begin("list", prefix)
        found = list(self.inner.list(prefix))
        if fault is Fault.STALE:
            found = [info for info in found if info.key != self._last_written]
        yield from found[: len(found) // 2] if fault is Fault.TRUNCATE else found
        if fault is Fault.TRUNCATE:
            raise StoreUnavailable(f"injected: list of {prefix} broke off", transient=True)
        self._end(fault, "list", prefix)

    def delete(self, keys: Sequence[str]) -> None:
        fault = self._begin("delete", ",".join(keys))
        if fault is Fault.TRUNCATE:
            self.inner.delete(keys[: len(keys) // 2])
            raise StoreUnavailable("injected: delete broke off", transient=True)
        self.inner.delete(keys)
        self._end(fault, "delete", ",".join(keys))

    def close(self) -> None:
        self.inner.close()

    def _begin(self, what: str, key: str) -> Fault | None:
        with self._lock:
            self.log.append((what, key))
            number = len(self.log)
        if self.dead_from is not None and number >= self.dead_from:
            raise StoreUnavailable(f"injected: dead since operation {self.dead_from}")
        fault = self.faults.get(number)
        if fault in {Fault.FAIL_BEFORE, Fault.UNREACHABLE}:
            raise StoreUnavailable(f"injected: {what} {key} failed before", transient=fault is Fault.UNREACHABLE)
        return fault

    def _end(self, fault: Fault | None, what: str, key: str) -> None:
        if fault in {Fault.FAIL_AFTER, Fault.TIMEOUT}:
            raise StoreUnavailable(f"injected: {what} {key} failed after", transient=fault is Fault.TIMEOUT)


def flipped(data: bytes) -> bytes:
    """Return the bytes with one bit in the middle changed; what is empty gets a byte."""
    if not data:
        return b"\x01"
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 0x10
    return bytes(changed)
