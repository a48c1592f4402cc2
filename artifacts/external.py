"""External entries: objects at other places, found to be referred to, and read from where they are, verified.

Knows URLs, what is kept of an object, and what tells that it changed; must not know stores, or where bytes go.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from blake3 import blake3

from ..storage.backends import local_path
from ..storage.backends.diagnosis import Trouble, diagnose
from ..storage.backends.outside import ChangedMeanwhileError, Outside, Seen, open_outside
from ..storage.errors import IntegrityError, InvalidInput, LineartError, NotFound, SourceChanged, StoreUnavailable
from .entry import UNSEEN, Entry, External, external_digest, shown
from .source import ExternalSource
from .tree import walk_tree
from .urls import check_length, check_url, cut_version, name_of

__all__ = ["Found", "Places", "find_objects"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD = 256  # characters of an etag or version; of a longer one nothing is kept, as if it were not told
ATTEMPTS = 5  # of one read, which goes on where it broke off
_WAIT = 0.2  # seconds before the second, twice as long before each next


class Found(NamedTuple):
    """What a URL means: what stands for it, a name for one object, and the objects; a path is None for one alone."""

    url: str
    name: str
    objects: Iterator[tuple[str | None, ExternalSource]]


def find_objects(url: str, *, checksum: bool = True, options: Mapping[str, Any] | None = None) -> Found:
    """Return what a checked URL means: an object, or all objects below a folder, which is listed as it is iterated.

    Without `checksum` nothing is asked of anybody. Raises NotFound where nothing is there, InvalidInput where a folder
    cannot be listed, StoreUnavailable where the place does not answer; so does the iterator.
    """
    url, version = cut_version(url)
    is_web = url.startswith(("http://", "https://"))
    name = name_of(url)
    if not checksum:
        if url.endswith("/") and not is_web:
            raise InvalidInput(f"to refer to {url} it has to be listed; with checksum=False name an object of it")
        return Found(url, name, iter([(None, ExternalSource(url, 0, UNSEEN, None, version))]))
    service = open_outside(url, options)
    if is_web or not url.endswith("/"):
        try:
            source = _source(service, url, _looked(service, url, version), version)
        except NotFound:
            if not service.lists or version is not None:
                raise
        else:
            return Found(url, name, iter([(None, source)]))
        url += "/"
    objects = _listed(service, url)
    first = next(objects, None)
    if first is None:
        raise NotFound(f"nothing is at {url.rstrip('/')}, nor below it")
    return Found(url, name, _chained(first, objects))


def _chained(
    first: tuple[str, ExternalSource], rest: Iterable[tuple[str, ExternalSource]]
) -> Iterator[tuple[str | None, ExternalSource]]:
    yield first
    yield from rest


def _looked(service: Outside, url: str, version: str | None) -> Seen:
    try:
        return service.look(url, version)
    except LineartError:
        raise
    except Exception as error:
        raise _translated(error, url, service.place) from error


def _listed(service: Outside, url: str) -> Iterator[tuple[str, ExternalSource]]:
    try:
        if url.startswith("file:"):
            for path, file in walk_tree(os.fspath(local_path(url))):
                yield path, _source(service, url + quote(os.fsencode(path)), Seen(file.size), None)
            return
        for path, seen in service.list(url):
            yield path, _source(service, url + path, seen, None)
    except (GeneratorExit, LineartError):
        raise
    except Exception as error:
        raise _translated(error, url, service.place) from error


def _source(service: Outside, url: str, seen: Seen, version: str | None) -> ExternalSource:
    """Return what is kept of an object: what was told of it, or the digest of its bytes where too little was."""
    check_length(url)
    etag, version = _word(seen.etag), _word(version or seen.version)
    if seen.size is not None and (etag is not None or version is not None):
        return ExternalSource(url, seen.size, external_digest(seen.size, etag, version), etag, version)
    hasher, size = blake3(), 0
    try:
        for part in _read(service, url, Seen(None), 0):
            hasher.update(part)
            size += len(part)
    except _GoneError as error:
        raise SourceChanged(f"{url} cannot be kept hold of: {error}; try again when nobody writes to it") from error
    return ExternalSource(url, size, hasher.digest(), None, None)


def _word(told: str | None) -> str | None:
    """Return an etag or version as it can be kept; HTTP allows bytes in it that are no UTF-8 (RFC 9110, obs-text)."""
    return told if told is not None and len(told) <= _WORD and not _SURROGATE.search(told) else None


class Places:
    """The places that entries are read from, each connected to once. Safe from many threads."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], Outside] = {}
        self._lock = threading.Lock()

    def stream(self, entry: Entry, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of an external entry from one on; IntegrityError where they are not what was logged.

        What the server told is asked for and compared; the size is compared; and where the bytes were read when they
        were logged, their digest is, if they are read from the first to the last. Of an entry that was logged unseen
        nothing is known. A read that breaks off goes on where it was.
        """
        meant = _meant(entry)
        if start >= entry.size > 0:
            return
        hasher = blake3() if entry.digest != UNSEEN and not meant.is_told and not start else None
        size = start
        try:
            for part in _read(self._service(meant.url), meant.url, _wanted(entry), start):
                size += len(part)
                if entry.digest != UNSEEN and size > entry.size:
                    raise _changed(entry, f"it has more than the {entry.size:,} bytes that were logged")
                if hasher is not None:
                    hasher.update(part)
                yield part
        except _GoneError as error:
            raise _changed(entry, str(error)) from error
        if entry.digest != UNSEEN and size != entry.size:
            raise _changed(entry, f"it has {size:,} bytes; {entry.size:,} were logged")
        if hasher is not None and hasher.digest() != entry.digest:
            raise _changed(entry, "its content is not what it was")

    def size(self, entry: Entry) -> int:
        """Return how many bytes an entry has that nobody looked at; ValueError where its place does not tell."""
        meant = _meant(entry)
        size = _looked(self._service(meant.url), meant.url, meant.version).size
        if size is None:
            raise ValueError(f"{meant.url} does not tell its size")
        return size

    def check(self, entry: Entry) -> None:
        """Raise IntegrityError where an object is gone or has changed; it is read where only its bytes tell."""
        meant, wanted = _meant(entry), _wanted(entry)
        if entry.digest != UNSEEN and not meant.is_told:
            for _ in self.stream(entry):
                pass
            return
        try:
            seen = self._service(meant.url).look(meant.url, meant.version)
        except LineartError:
            raise
        except Exception as error:
            trouble = diagnose(error)
            if trouble.absent:
                raise _changed(entry, "it is gone") from error
            raise _translated(error, meant.url, self._service(meant.url).place) from error
        different = _difference(wanted, seen)
        if different is not None:
            raise _changed(entry, different)

    def _service(self, url: str) -> Outside:
        parts = urlsplit(url)
        key = parts.scheme, parts.netloc
        with self._lock:
            if key not in self._services:
                check_url(url)  # what others have logged is no reason to go anywhere
                self._services[key] = open_outside(url)
            return self._services[key]


class _GoneError(Exception):
    """An object is not there any more, or is another."""


def _meant(entry: Entry) -> External:
    assert entry.external is not None
    return entry.external


def _wanted(entry: Entry) -> Seen:
    meant = _meant(entry)
    return Seen(None if entry.digest == UNSEEN else entry.size, meant.etag, meant.version)


def _changed(entry: Entry, what: str) -> IntegrityError:
    return IntegrityError(
        f"{_meant(entry).url} is not what was logged as {shown(entry.path)}: {what}; bring it back there, or log anew"
    )


def _difference(wanted: Seen, seen: Seen) -> str | None:
    """Say what is other than it should be; None where nothing is, as far as both are known."""
    if wanted.version is None and wanted.etag is not None and _word(seen.etag) != wanted.etag:
        return f"its etag is {seen.etag or 'not told any more'}, and was {wanted.etag}"
    if wanted.version is not None and seen.version not in {None, wanted.version}:
        return f"its version is {seen.version}, and was {wanted.version}"
    if wanted.size is not None and seen.size is not None and wanted.size != seen.size:
        return f"it has {seen.size:,} bytes; {wanted.size:,} were logged"
    return None


def _read(service: Outside, url: str, wanted: Seen, start: int) -> Iterator[bytes]:
    """Yield an object's bytes, going on where a read broke off as long as it is the same object; _GoneError if not."""
    failures, at = 0, start
    while True:
        before = at
        try:
            stream = service.open(url, wanted, at)
            try:
                different = _difference(wanted, stream.seen)
                if different is not None:
                    raise _GoneError(different)
                etag, version = wanted.etag or _word(stream.seen.etag), wanted.version or _word(stream.seen.version)
                wanted = Seen(wanted.size, etag, version)  # a read that goes on must go on with the same object
                for part in stream.parts:
                    at += len(part)
                    yield part
            finally:
                stream.close()
            if stream.seen.size is None or at >= stream.seen.size:
                return
            trouble = Trouble(None, "", frozenset({"IncompleteRead"}), f"it broke off after {at:,} bytes")
            cause: Exception | None = None
        except (GeneratorExit, _GoneError, LineartError):
            raise
        except ChangedMeanwhileError as error:
            raise _GoneError("it changed while it was read") from error
        except Exception as error:  # noqa: BLE001 - of whatever client; it is translated below
            trouble, cause = diagnose(error), error
        if trouble.absent:
            raise _GoneError("it is gone") from cause
        if trouble.status == 412:
            raise _GoneError("it has been replaced") from cause
        failures = failures + 1 if at == before else 1
        if not trouble.transient or failures >= ATTEMPTS:
            raise _translated_trouble(trouble, url, service.place) from cause
        time.sleep(_WAIT * 2 ** (failures - 1))


def _translated(error: Exception, url: str, place: str) -> NotFound | StoreUnavailable:
    trouble = diagnose(error)
    if trouble.absent:
        return NotFound(f"nothing is at {url}")
    return _translated_trouble(trouble, url, place)


def _translated_trouble(trouble: Trouble, url: str, place: str) -> StoreUnavailable:
    return StoreUnavailable(f"cannot read {url}: {trouble.advice('read', place)}", transient=trouble.transient)
