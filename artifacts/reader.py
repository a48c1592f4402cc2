"""A seekable stream over the bytes of one entry: where it stands, and how it is moved.

Knows a place and an end; must not know where bytes come from, which is for those who derive from it.
"""

from __future__ import annotations

import io
from abc import abstractmethod

__all__ = ["Reader"]


class Reader(io.RawIOBase):
    """A stream to be read; who derives from it gives `readinto`, which reads from `_at` on and moves it, and `_end`."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0  # of the next byte

    @abstractmethod
    def _end(self) -> int:
        """Return how many bytes there are."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place; past the end is allowed and reads nothing."""
        if whence == io.SEEK_SET:
            start = 0
        elif whence == io.SEEK_CUR:
            start = self._at
        elif whence == io.SEEK_END:
            start = self._end()
        else:
            raise ValueError(f"seek to {offset} from {whence}")
        if start + offset < 0:
            raise ValueError(f"seek to {offset} from {whence}")
        self._at = start + offset
        return self._at
