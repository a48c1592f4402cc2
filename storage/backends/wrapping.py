"""What backends around another have in common: they say of their place what that one says.

Knows the interface only; what a wrapper adds is its own.
"""

from __future__ import annotations

from .base import Backend

__all__ = ["WrappingBackend"]


class WrappingBackend(Backend):
    """A backend around `inner`; a subclass does the reading and writing."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.url = inner.url

    @property
    def conditional(self) -> bool:
        """What the inner backend says."""
        return self.inner.conditional

    @property
    def parallelism(self) -> int:
        """What the inner backend says."""
        return self.inner.parallelism

    @property
    def gathers(self) -> bool:
        """What the inner backend says."""
        return self.inner.gathers

    @property
    def span(self) -> int:
        """What the inner backend says."""
        return self.inner.span

    def close(self) -> None:
        """Close the inner backend."""
        self.inner.close()
