"""What a run is: the facts of its record, and the store that it is recorded in, as far as a run needs it.

Knows records and the ledger; must not know what a run does, or its process. A base of `Run`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from ..artifacts.logged import Home

if TYPE_CHECKING:
    from ..artifacts.artifact import Artifact
    from ..artifacts.catalog import Also
    from .ledger import Ledger
    from .runs import RunRecord

__all__ = ["Described", "RunHome"]


class RunHome(Home, Protocol):
    """What a run needs of the store that it is recorded in."""

    ledger: Ledger

    @property
    def url(self) -> str | None:
        """Where it is, without secrets; None where nothing is recorded."""

    def log(
        self, artifact: Artifact, *, aliases: Iterable[str], tags: Iterable[str], project: str, also: Also, quiet: bool
    ) -> Artifact:
        """Log a draft, doing `also` in the same transaction, and return it as a version; quiet: no alias moves."""


class Described:
    """Something that a record of a run describes."""

    _record: RunRecord
    _home: RunHome

    @property
    def repeats(self) -> bool:
        """Whether it only makes again what other runs made: then no alias moves to what it logs."""
        return bool(self._record.code.get("again"))

    @property
    def id(self) -> str:
        """Its id, unique in the store."""
        return self._record.id

    @property
    def name(self) -> str:
        """Its name; the id where none was given."""
        return self._record.name

    @property
    def project(self) -> str:
        """The project in which bare names are looked for first, and in which its products are logged."""
        return self._record.project

    @property
    def job_type(self) -> str | None:
        """What kind of work it is: `train`, `prep`."""
        return self._record.job_type

    @property
    def group(self) -> str | None:
        """What it belongs to together with other runs."""
        return self._record.group

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags; assign to change them."""
        return self._record.tags

    @tags.setter
    def tags(self, value: Iterable[str]) -> None:
        self._home.ledger.update(self.id, tags=value)
        self._record = self._home.ledger.get(self.id)

    @property
    def notes(self) -> str | None:
        """Words about it; assign to change them."""
        return self._record.notes

    @notes.setter
    def notes(self, value: str) -> None:
        self._home.ledger.update(self.id, notes=value)
        self._record = self._home.ledger.get(self.id)

    @property
    def url(self) -> str | None:
        """What names it outside its store: the store's URL and its id; None where nothing is recorded.

        It is no page: `lineart.open` takes what stands before the last `#`.
        """
        return None if self._home.url is None else f"{self._home.url}#run={self.id}"

    @property
    def state(self) -> str:
        """`running`, or how it ended: `finished`, `failed`, `crashed`."""
        return self._record.state
