"""Objects of any place, looked at and read as they are there: with the etag and the version that the service tells.

Knows fsspec's general interface and this machine's files; what clouds and web servers need stands in outside_clouds.py
and outside_web.py. Must not know stores, nor what the objects are for. Changes nothing anywhere. Errors of the clients
pass untranslated: `diagnose` reads them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import InvalidInput
from . import local_path
from .dialects import Dialect, dialect_for

__all__ = ["Outside", "Seen", "Stream", "bare", "open_outside", "total", "version_of"]

_PART = 4 << 20  # bytes read at once
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hang
_NO_VERSION = {None, "", "null"}


class Seen(NamedTuple):
    """What a service tells of an object; `size` is None where it does not tell."""

    size: int | None
    etag: str | None = None
    version: str | None = None


class Stream(NamedTuple):
    """An object that is being read: what the service told with it, and its bytes; `close` it, read or not."""

    seen: Seen
    parts: Iterator[bytes]
    close: Callable[[], object]


class Outside:
    """One service, by fsspec's general interface. Safe from many threads."""

    lists = True

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._dialect: Dialect = dialect_for(url, options)
        self.place = self._dialect.place
        self._connected: Any = None

    @property
    def _files(self) -> Any:
        if self._connected is None:
            self._connected = self._dialect.connect()
        return self._connected

    def look(self, url: str, version: str | None = None) -> Seen:  # noqa: ARG002 - others have versions
        """Return what is there; FileNotFoundError, or what the client raises for that, where nothing is."""
        return _seen(self._files.info(self._path(url)))

    def list(self, url: str) -> Iterator[tuple[str, Seen]]:
        """Yield the path below a folder, and what is told, of every object in it; `url` ends with a slash."""
        head = self._path(url).rstrip("/") + "/"
        found = self._files.find(head.rstrip("/"), detail=True)
        for path in sorted(found):
            if path.startswith(head) and found[path].get("type") == "file":
                yield path[len(head) :], _seen(found[path])

    def open(self, url: str, wanted: Seen, start: int = 0) -> Stream:  # noqa: ARG002 - others can say what they want
        """Begin to read from a byte on; the state that is wanted is asked for where the service can be asked so."""
        path = self._path(url)
        seen = _seen(self._files.info(path))
        parts = self._parts(path, seen, start)
        return Stream(seen, parts, parts.close)

    def _path(self, url: str) -> str:
        return str(self._files._strip_protocol(url))  # noqa: SLF001 - fsspec's hook for users of classes

    def _parts(self, path: str, before: Seen, start: int) -> Generator[bytes]:
        with self._files.open(path, "rb") as file:
            file.seek(start)
            while data := file.read(_PART):
                yield bytes(data)
        if _seen(self._files.info(path)) != before:
            raise ChangedMeanwhileError(path)


class ChangedMeanwhileError(OSError):
    """An object changed while it was read."""


class _Disk(Outside):
    """Files of this machine, of which no etag tells anything: whoever wants to know them must read them."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:  # noqa: ARG002 - there are none
        self.place = url

    def look(self, url: str, version: str | None = None) -> Seen:  # noqa: ARG002 - a disk has none
        found = os.stat(local_path(url))
        if stat.S_ISDIR(found.st_mode):
            raise FileNotFoundError(url)  # as an object it is not there
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput(f"{url} is neither a file nor a folder")
        return Seen(found.st_size)

    def open(self, url: str, wanted: Seen, start: int = 0) -> Stream:  # noqa: ARG002 - nothing can be asked for
        number = os.open(local_path(url), _OPEN)
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            raise FileNotFoundError(f"{url} is no file")
        return Stream(Seen(found.st_size), self._read(url, number, found, start), partial(os.close, number))

    def _read(self, url: str, number: int, before: os.stat_result, start: int) -> Iterator[bytes]:
        at = start
        while data := os.pread(number, _PART, at):
            yield data
            at += len(data)
        now = os.fstat(number)
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ChangedMeanwhileError(url)


def open_outside(url: str, options: Mapping[str, Any] | None = None) -> Outside:
    """Return the service that a URL is of; InvalidInput where nothing here speaks it. Nothing is asked yet."""
    scheme = urlsplit(url).scheme.lower()
    given = dict(options or {})
    if scheme == "file":
        return _Disk(url, given)
    if scheme in {"s3", "gs"}:
        from .outside_clouds import S3, Gcs

        return S3(url, given) if scheme == "s3" else Gcs(url, given)
    if scheme in {"http", "https"}:
        try:
            from .outside_web import Web
        except ImportError as error:
            raise InvalidInput(f"{scheme}:// needs a package that is not installed: pip install aiohttp") from error
        return Web(url, given)
    return Outside(url, given)


def _seen(info: Mapping[str, Any]) -> Seen:
    """Read what fsspec's file systems tell, each in its own words."""
    if info.get("type") == "directory":
        raise FileNotFoundError(info.get("name"))
    etag = next((info[name] for name in ("ETag", "etag", "Etag") if info.get(name)), None)
    version = next((info[name] for name in ("version_id", "VersionId", "generation") if info.get(name)), None)
    size = info.get("size")
    return Seen(None if size is None else int(size), bare(etag), version_of(version))


def bare(etag: Any) -> str | None:
    """Return an etag without the quotes that some answers have and others do not."""
    text = "" if etag is None else str(etag)
    return (text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text) or None


def version_of(version: Any) -> str | None:
    """Return a version as text; None where an object has none, which S3 calls `null`."""
    return None if version in _NO_VERSION else str(version)


def total(whole: str | None, length: Any) -> int | None:
    """Return an object's size: behind the slash of a Content-Range, or the length where all of it comes."""
    if whole is not None:
        text = whole.rpartition("/")[2]
        return int(text) if text.isdigit() else None
    return None if length is None else int(length)
