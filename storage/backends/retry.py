"""A backend around another that tries again what may succeed when it is repeated.

Knows which errors are transient; must not know what place is behind it. Waiting: exponential back-off with full jitter,
capped (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import StoreUnavailable
from .base import Backend, ObjectInfo
from .wrapping import WrappingBackend

__all__ = ["RetryingBackend"]

T = TypeVar("T")


class RetryingBackend(WrappingBackend):
    """`inner`, with transient failures repeated up to `attempts` calls in all.

    Before the n-th repetition it waits a random part of min(cap, base * 2^n) seconds. A read that brings less than
    the object holds is repeated too. What is not transient, or fails to the end, is raised as it came.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        attempts: int = 7,
        base: float = 0.2,
        cap: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        super().__init__(inner)
        self._attempts = attempts
        self._base = base
        self._cap = cap
        self._sleep = sleep
        self._random = random

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read; where fewer bytes came than were asked for, the object's size tells whether some were lost."""

        def whole() -> bytes:
            data = self.inner.get(key, start, length)
            if length is not None and len(data) < length:
                expected = min(length, max(0, self.inner.size(key) - start))
                if len(data) < expected:
                    raise StoreUnavailable(
                        f"reading {key} of {self.url} broke off: {len(data)} of {expected} bytes came", transient=True
                    )
            return data

        return self._repeat(whole)

    def get_at_most(self, key: str, start: int, length: int) -> bytes:
        """Read, and take what comes."""
        return self._repeat(lambda: self.inner.get_at_most(key, start, length))

    def refresh(self, key: str) -> None:
        """Pass it on."""
        self.inner.refresh(key)

    def size(self, key: str) -> int:
        """Ask for the size."""
        return self._repeat(lambda: self.inner.size(key))

    def put(self, key: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write, from the start each time."""
        self._repeat(lambda: self.inner.put(key, parts))

    def put_new(self, key: str, data: bytes) -> bool:
        """Write unless there is one; an earlier try whose answer was lost is recognised by its bytes.

        So, after a transient failure, what another wrote counts as ours if it is equal: data must name its writer.
        """
        repeated = False

        def attempt() -> bool:
            nonlocal repeated
            again, repeated = repeated, True
            return self.inner.put_new(key, data) or (again and self.inner.get(key) == data)

        return self._repeat(attempt)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List; after a failure on the way it goes on behind the last key that was yielded."""
        last: str | None = None
        failures = 0
        while True:
            try:
                for info in self.inner.list(prefix):
                    if last is None or info.key > last:
                        last = info.key
                        failures = 0
                        yield info
                return
            except StoreUnavailable as error:
                failures += 1
                self._wait_or_raise(error, failures)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete; those that are gone already are no error."""
        self._repeat(lambda: self.inner.delete(keys))

    def unfinished(self) -> Iterator[str]:
        """Ask the inner backend."""
        return self.inner.unfinished()

    def discard(self, names: Sequence[str]) -> None:
        """Remove; those that are gone already are no error."""
        self._repeat(lambda: self.inner.discard(names))

    def _repeat(self, operation: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return operation()
            except StoreUnavailable as error:
                failures += 1
                self._wait_or_raise(error, failures)

    def _wait_or_raise(self, error: StoreUnavailable, failures: int) -> None:
        if not error.transient or failures >= self._attempts:
            raise error
        self._sleep(self._random() * min(self._cap, self._base * 2 ** (failures - 1)))
