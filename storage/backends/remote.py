"""Objects in a bucket, through any fsspec file system.

Knows keys, processes and threads; what differs between services is a Dialect. Must not know what the objects mean.
fsspec is told to share no instance and to remember no listing, so that nothing stale is ever answered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import NotFound, StoreUnavailable
from .base import Backend, ObjectInfo, check_key, check_prefix, check_slice
from .diagnosis import Trouble, diagnose
from .dialects import Dialect, dialect_for, without_secrets

__all__ = ["RemoteBackend"]


class RemoteBackend(Backend):
    """A bucket, or a folder in one, at `url`; `storage_options` go to the fsspec file system.

    Connections are opened by the first request. Each operation is one request (a put below 5 GB, a ranged get, a page
    of a listing, a thousand deletions), and fails at once: wrap it in RetryingBackend. On an S3 service that is not
    Amazon's, the first `put_new` costs three, to learn whether the service knows conditional writes.

    >>> backend = RemoteBackend("memory://bucket/team")
    >>> backend.put("packs/aa", [b"one", b"two"])
    >>> backend.get("packs/aa", 2, 3)
    b'etw'
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.url = without_secrets(url).rstrip("/")
        self._dialect: Dialect = dialect_for(url, dict(storage_options or {}))
        self._root = self._dialect.root
        self._by_process: dict[int, Any] = {}  # sockets and event loops do not survive a fork
        self._conditional: bool | None = None

    @property
    def conditional(self) -> bool:
        """Whether put-if-absent is atomic; known once a `put_new` has been made."""
        return self._conditional is True

    @property
    def parallelism(self) -> int:
        """Requests wait for the network, not for a core."""
        return 8

    @property
    def gathers(self) -> bool:
        """The libraries of clouds take one piece."""
        return True

    @property
    def span(self) -> int:
        """Much, for each request is waited for."""
        return 8 << 20

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object by one ranged request."""
        check_key(key)
        check_slice(start, length)
        if length == 0:
            self.size(key)
            return b""
        try:
            data = self._dialect.get(self._files(), self._path(key), start, None if length is None else start + length)
        except Exception as error:
            if diagnose(error).status == 416:  # behind the end of an object that exists
                return b""
            raise self._translate(error, "read", key) from error
        if length is not None and len(data) > length:
            raise StoreUnavailable(f"{self.url} does not honour ranged reads: {len(data)} bytes came, not {length}")
        return data

    def size(self, key: str) -> int:
        """Return the object's size in bytes."""
        check_key(key)
        try:
            return self._dialect.size(self._files(), self._path(key))
        except Exception as error:
            raise self._translate(error, "read", key) from error

    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write an object by one request; it is durable when that is answered."""
        check_key(key)
        data = parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
        try:
            self._dialect.put(self._files(), self._path(key), data)
        except Exception as error:
            raise self._translate(error, "write", key) from error

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one.

        Where the service has no conditional write: look, write, read back, which two callers at the same moment can
        both pass; `conditional` is false then.
        """
        check_key(key)
        try:
            if self._conditional is None:
                self._conditional = self._dialect.conditional(self._files())
            if self._conditional:
                return self._dialect.create(self._files(), self._path(key), data)
            if self._exists(key):
                return False
            if self._conditional is None:
                return self._create_and_learn(key, data)
            self._dialect.put(self._files(), self._path(key), data)
            return self._is_ours(key, data)
        except (NotFound, StoreUnavailable):
            raise
        except Exception as error:
            raise self._translate(error, "write", key) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield objects page by page as the service sends them."""
        check_prefix(prefix)
        return self._list(prefix)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, as many at once as the service takes."""
        for key in keys:
            check_key(key)
        if not keys:
            return
        try:
            self._dialect.delete(self._files(), [self._path(key) for key in keys])
        except Exception as error:
            raise self._translate(error, "delete", keys[0]) from error

    def close(self) -> None:
        """Drop this process's connections; those that a parent process opened are not touched."""
        self._by_process.pop(os.getpid(), None)

    def _files(self) -> Any:
        """Return this process's fsspec file system; no lock, which a fork could leave locked for ever."""
        files = self._by_process.get(os.getpid())
        if files is None:
            files = self._by_process.setdefault(os.getpid(), self._dialect.connect())
        return files

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if self._root else key

    def _exists(self, key: str) -> bool:
        try:
            self.size(key)
        except NotFound:
            return False
        return True

    def _create_and_learn(self, key: str, data: bytes) -> bool:
        """Write the same bytes twice, on condition: a service that accepts the second one ignores the condition."""
        files, path = self._files(), self._path(key)
        if not self._dialect.create(files, path, data):
            self._conditional = True
            return False
        self._conditional = not self._dialect.create(files, path, data)
        return self._conditional or self._is_ours(key, data)

    def _is_ours(self, key: str, data: bytes) -> bool:
        """Read back what was written; some services remove an object for a moment while another writer replaces it."""
        try:
            return self.get(key) == data
        except NotFound as error:
            raise StoreUnavailable(
                f"{self.url}/{key} was written and is not there: another writer may be replacing it", transient=True
            ) from error

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        cut = len(self._root) + 1 if self._root else 0
        try:
            for path, size in self._dialect.list(self._files(), self._path(prefix)):
                yield ObjectInfo(path[cut:], size)
        except GeneratorExit:
            raise
        except Exception as error:
            raise self._translate(error, "list", prefix) from error

    def _translate(self, error: Exception, what: str, key: str) -> NotFound | StoreUnavailable:
        trouble: Trouble = diagnose(error)
        if trouble.absent and what == "read":
            return NotFound(f"no object {key} in {self.url}")
        place = f"{self.url}/{key}" if key else self.url
        return StoreUnavailable(
            f"cannot {what} {place}: {trouble.advice(what, self._dialect.place)}", transient=trouble.transient
        )
