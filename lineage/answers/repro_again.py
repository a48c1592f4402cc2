"""A run that repeats another: it is given the same inputs under the same aliases, and its products are compared.

Knows ledgers and edges; must not know processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection

from ...artifacts.gone import absent_bytes
from ...artifacts.reading import read_records
from ...artifacts.records import VersionRecord
from ..edges import lock_run, record_use
from ..masking import MASK
from .repro import live_twin, used_and_made

if TYPE_CHECKING:
    from ...storage.database import Transaction
    from ..ledger import Ledger

__all__ = ["Verdict", "give_inputs", "unmasked", "verdicts"]


class Verdict(NamedTuple):
    """A version that was to be made again, and what was made; None: nothing was, in its collection."""

    wanted: VersionRecord
    made: VersionRecord | None

    @property
    def same(self) -> bool:
        """Whether what was made is equal, bit for bit."""
        return self.made is not None and self.made.digest == self.wanted.digest


def give_inputs(ledger: Ledger, run: str, repeated: Sequence[str]) -> list[VersionRecord]:
    """Record that a run uses what others used, so that their aliases mean to it what they meant to them.

    For a version that is deleted, a live one of its collection with the same content is taken; NotFound where there is
    none. Returns the versions that it uses now.
    """

    def work(tx: Transaction) -> list[VersionRecord]:
        inputs, _ = used_and_made(tx.connection, repeated)
        lock_run(tx, run)
        given = []
        for version, aliases in inputs:
            meant = _live(tx.connection, version)
            for alias in aliases or (None,):
                record_use(tx, run, meant.id, alias)
            given.append(meant)
        return given

    return ledger.catalog.engine.write(work)


def _live(connection: Connection, version: VersionRecord) -> VersionRecord:
    """Return a version, or one with the same content that lives."""
    found = live_twin(connection, version)
    if found is None:
        raise absent_bytes(connection, version)
    return version if found == version.id else read_records(connection, [found])[found]


def verdicts(ledger: Ledger, run: str, repeated: Sequence[str]) -> list[Verdict]:
    """Compare what a run made with what those that it repeats had made, collection by collection."""

    def work(connection: Connection) -> list[Verdict]:
        return _compare(used_and_made(connection, repeated)[1], used_and_made(connection, [run])[1])

    return ledger.catalog.engine.database.read(work)


def _compare(wanted: Iterable[VersionRecord], made: Iterable[VersionRecord]) -> list[Verdict]:
    """Pair equal content first; what is left of a collection is paired in order."""
    left: dict[tuple[str, str], list[VersionRecord]] = {}
    for one in made:
        left.setdefault((one.project, one.collection), []).append(one)
    pairs: list[Verdict] = []
    for one in wanted:
        those = left.get((one.project, one.collection), [])
        equal = next((other for other in those if other.digest == one.digest), None)
        if equal is not None:
            those.remove(equal)
        pairs.append(Verdict(one, equal))
    return [one if one.made is not None else Verdict(one.wanted, _first(left, one.wanted)) for one in pairs]


def _first(left: dict[tuple[str, str], list[VersionRecord]], wanted: VersionRecord) -> VersionRecord | None:
    """Take what is left of a version's collection."""
    those = left.get((wanted.project, wanted.collection))
    return those.pop(0) if those else None


def unmasked(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without the values that were hidden: what is not known is better absent than wrong.

    >>> unmasked({"lr": 0.1, "api_key": "***", "db": {"password": "***", "host": "h"}})
    {'lr': 0.1, 'db': {'host': 'h'}}
    """
    return {
        name: unmasked(value) if isinstance(value, dict) else value for name, value in config.items() if value != MASK
    }
