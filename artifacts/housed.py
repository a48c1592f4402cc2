"""The part of an artifact that asks the store it lives in: who made and used it, and whether it is to stay.

Knows the store as its `Home` only. A base of `Artifact`; its methods are for versions, and raise NotLogged for a draft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .awaited import Awaited

if TYPE_CHECKING:
    import networkx

    from .logged import Home
    from .records import VersionRecord

__all__ = ["Housed"]


class Housed(Awaited):
    """Something that may live in a store."""

    def logged_by(self) -> Any:
        """Return the run that first produced it (a RunRecord), or None."""
        return self._held().home.logged_by(self._held().record)

    def used_by(self) -> list[Any]:
        """Return the runs that used it (RunRecords)."""
        return self._held().home.used_by(self._held().record)

    def upstream(self, depth: int | None = None) -> networkx.DiGraph:
        """Return the graph of what it was made from."""
        return self._held().home.graph(self._held().record, down=False, depth=depth)

    def downstream(self, depth: int | None = None) -> networkx.DiGraph:
        """Return the graph of what was made from it."""
        return self._held().home.graph(self._held().record, down=True, depth=depth)

    def delete(self, force: bool = False, *, reason: str | None = None) -> None:
        """Delete it; what `Store.delete` says holds here. It can be restored for seven days at least."""
        logged = self._held()
        self.settle(logged.home.delete(logged.record, force=force, reason=reason)[0], logged.home)

    def restore(self, *, reason: str | None = None) -> None:
        """Bring it back after `delete`; what `Store.restore` says holds here."""
        logged = self._held()
        self.settle(logged.home.restore(logged.record, reason=reason), logged.home)

    def settle(self, record: VersionRecord, home: Home) -> Self:
        """Become the logged version that `record` describes."""
        raise NotImplementedError
