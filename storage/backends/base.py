"""The interface that every place of bytes offers.

Knows keys and bytes; must not know what they mean. A key is a relative path of `/`-separated parts, as layout.py makes
them. Objects are written whole and never changed in part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import InvalidInput, InvalidName

__all__ = ["Backend", "ObjectInfo", "check_key", "check_prefix", "check_slice", "is_unfinished"]

TEMPORARY = ".tmp-"  # what backends call files that are not finished; no key has a part that starts so


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing: its key, and its size in bytes."""

    key: str
    size: int


def check_key(key: str) -> None:
    """Raise InvalidName for a key that is empty, leaves the root, or could be taken for an unfinished file."""
    parts = key.split("/")
    if any(part in {"", ".", ".."} or part.startswith(TEMPORARY) for part in parts) or "\0" in key or "\\" in key:
        raise InvalidName(f"not a key of a store: {key!r}")


def is_unfinished(name: str) -> bool:
    """Whether a name is that of a file that is not finished; no key is.

    >>> is_unfinished("packs/aa/.tmp-1-ab"), is_unfinished("packs/aa/bb")
    (True, False)
    """
    return name.rpartition("/")[2].startswith(TEMPORARY)


def check_prefix(prefix: str) -> None:
    """Raise InvalidInput or InvalidName unless the prefix is empty or names a folder by a trailing `/`."""
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidInput(f"a prefix must end with '/': {prefix!r}")
        check_key(prefix[:-1])


def check_slice(start: int, length: int | None) -> None:
    """Raise InvalidInput for a negative start or length."""
    if start < 0 or (length is not None and length < 0):
        raise InvalidInput(f"not a range of bytes: start {start}, length {length}")


class Backend(ABC):
    """A place that holds objects by key; thread-safe, and every method may be called again after it failed.

    `url` names the place in messages, without secrets. `conditional` is true where `put_new` is decided by the place
    itself; elsewhere two callers at the same moment may both be told that theirs was new.
    """

    url: str

    @property
    def conditional(self) -> bool:
        """Whether put-if-absent is atomic here."""
        return True

    @property
    def parallelism(self) -> int:
        """How many requests at once are worth it: few where only cores are busy, more where answers are waited for."""
        return 3

    @property
    def gathers(self) -> bool:
        """Whether an object is sent from one piece of memory: who has it in parts joins them, and lets go of them."""
        return False

    @property
    def span(self) -> int:
        """Bytes that one read should bring where more is wanted: few where they fit into a processor's cache."""
        return 2 << 20

    @property
    def origin(self) -> Backend:
        """The place itself, past any copies of it: what is verified is this."""
        return self

    @abstractmethod
    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes from `start`, or what there is of them, like a slice; NotFound if there is no object.

        One request. StoreUnavailable if the place cannot be reached.
        """

    def get_at_most(self, key: str, start: int, length: int) -> bytes:
        """Do as `get`, for a caller who can do with less: that fewer bytes came is not looked into."""
        return self.get(key, start, length)

    def refresh(self, key: str) -> None:  # noqa: ARG002 - for those that keep copies
        """Forget copies of an object that proved wrong, where any are kept."""
        return

    def kept(self, key: str, start: int, length: int) -> bytes | None:  # noqa: ARG002 - for those that keep copies
        """Return what copies on this machine say that an object holds there; None where they do not have all of it.

        The place itself is not asked.
        """
        return None

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the object's size in bytes; NotFound if there is no object."""

    @abstractmethod
    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write the parts, end to end, as one object, in place of what was there; durable when it returns.

        Readers see the old object or the whole new one. One request.
        """

    @abstractmethod
    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; False if there was. Durable when it returns, whoever wrote it."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object below a folder (`prefix` ends with `/`, or is empty for all), sorted by key, never stale.

        Objects written or deleted meanwhile may or may not be among them. Unfinished files never are.
        """

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that do not exist are no error. An error says that some may still be there."""

    def unfinished(self) -> Iterator[str]:
        """Yield the names of files that were never finished: of writers at work, and of those that crashed."""
        return iter(())

    def discard(self, names: Sequence[str]) -> None:  # noqa: ARG002 - for those that have such files
        """Remove files that `unfinished` named; those that are gone are no error."""
        return

    def close(self) -> None:
        """Let go of connections; a later call opens them again."""
        return
