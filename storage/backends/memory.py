"""Objects in this process's memory, for tests and demonstrations.

Knows a dict and a lock; must not know what the objects mean. Nothing outlives the process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from ..errors import NotFound
from .base import Backend, ObjectInfo, check_key, check_prefix, check_slice

__all__ = ["MemoryBackend", "named_memory"]


class MemoryBackend(Backend):
    """An empty place in memory.

    >>> backend = MemoryBackend()
    >>> backend.put("packs/aa", [b"one", b"two"])
    >>> backend.get("packs/aa", 2, 3)
    b'etw'
    """

    def __init__(self, name: str = "") -> None:
        self.url = f"memory://{name}"
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return a slice of the object."""
        check_slice(start, length)
        data = self._whole(key)
        return data[start:] if length is None else data[start : start + length]

    def size(self, key: str) -> int:
        """Return the object's size in bytes."""
        return len(self._whole(key))

    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        """Keep the parts, joined."""
        check_key(key)
        data = b"".join(parts)
        with self._lock:
            self._objects[key] = data

    def put_new(self, key: str, data: bytes) -> bool:
        """Keep the object unless there is one."""
        check_key(key)
        with self._lock:
            if key in self._objects:
                return False
            self._objects[key] = bytes(data)
            return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what was below the prefix when the listing began."""
        check_prefix(prefix)
        with self._lock:
            found = [ObjectInfo(key, len(data)) for key, data in self._objects.items() if key.startswith(prefix)]
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, keys: Sequence[str]) -> None:
        """Forget objects."""
        for key in keys:
            check_key(key)
        with self._lock:
            for key in keys:
                self._objects.pop(key, None)

    def _whole(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise NotFound(f"no object {key} in {self.url}")
        return data


_named: dict[str, MemoryBackend] = {}


def named_memory(name: str) -> MemoryBackend:
    """Return the place of that name in this process, the same one each time."""
    return _named.setdefault(name, MemoryBackend(name))
