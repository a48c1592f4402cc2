"""Whether the moves of each alias agree: what an event says that it meant before, and what the event before had said.

Knows the events of aliases (docs/format.md, "Events"); must not know rows. A row that somebody has edited is found by
comparing rows (`rows.py`), until the next promotion begins from it: after that the rows follow from the events again,
and the contradiction between two of these is all that is left of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..storage.errors import IntegrityError
from ..storage.rows import moment
from .history import REMOVED, SET
from .ref import LATEST, fold_name

if TYPE_CHECKING:
    from ..storage.check import CheckReport
    from ..storage.events import Event
    from ..storage.recorded import Recorded

__all__ = ["Moves"]


class _Move(NamedTuple):
    """What one event did to an alias."""

    of: str  # project/collection
    alias: str
    before: int | None
    after: int | None
    seq: int
    time: int  # µs
    actor: str
    reason: str | None

    @property
    def key(self) -> tuple[str, str]:
        return fold_name(self.of), fold_name(self.alias)

    @property
    def who(self) -> str:
        return f"event {self.seq} ({moment(self.time)[:16].replace('T', ' ')} UTC by {self.actor})"


class _Contradiction(NamedTuple):
    """A move that did not begin where the one before it had ended; None: no event had set the alias."""

    ended: _Move | None
    begun: _Move

    def __str__(self) -> str:
        begun, ended = self.begun, self.ended
        if begun.after is None:
            moved = f"took it from {_version(begun.before)}"
        else:
            moved = f"moved it from {_version(begun.before)} to {_version(begun.after)}"
        if ended is None:
            had = "no event had set it"
        elif ended.after is None:
            had = f"{ended.who} had taken it away"
        else:
            had = f"{ended.who} had moved it to {_version(ended.after)}"
        return f"{begun.who} {moved}, but before that, {had}: in between something moved it without a trace"


class Moves:
    """Follows every alias through the events of a store, which it is shown in their order.

    A contradiction stays a problem until it is put on record: until somebody takes the alias away, or sets it after it
    was away. `latest`, which nobody may take away, has only to follow another log. Then it is a note.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._whole = True  # every event was seen so far
        self._last: dict[tuple[str, str], _Move] = {}
        self._open: dict[tuple[str, str], list[_Contradiction]] = {}
        self._settled: list[tuple[_Contradiction, _Move]] = []

    def look(self, one: Recorded) -> None:
        """Take in an event; behind one that is missing or in dispute, nothing is known of any alias."""
        known = one.seq == self._seq + 1 and one.same
        self._seq = one.seq
        try:
            move = _read(one.event) if one.kind in {SET, REMOVED} else None
        except IntegrityError:  # a row that is no event, of which others speak
            known, move = False, None
        if not known:
            self._whole = False
            self._last.clear()
        if move is not None:
            self._follow(move)

    def tell(self, report: CheckReport) -> None:
        """Add what was found to a report."""
        for one in (one for several in self._open.values() for one in several):
            report.wrong(_thing(one.begun), f"{one}; {_advice(one.begun)}")
        for one, by in self._settled:
            reason = f': "{by.reason}"' if by.reason else ""
            report.notes.append(f"{_thing(one.begun)}: {one}; it began anew with {by.who}{reason}")

    def _follow(self, move: _Move) -> None:
        last = self._last.get(move.key)
        self._last[move.key] = move
        if last is None and not self._whole:
            return
        if move.before != (None if last is None else last.after):
            self._open.setdefault(move.key, []).append(_Contradiction(last, move))
        elif move.key in self._open and (None in {move.before, move.after} or move.key[1] == LATEST):
            self._settled += [(one, move) for one in self._open.pop(move.key)]


def _read(event: Event) -> _Move | None:
    """Return what an event says; None where it says nothing that can be compared."""
    data: dict[str, Any] = event.data
    alias, before, after = (data.get(name) for name in ("alias", "from", "to"))
    numbers = all(one is None or (isinstance(one, int) and not isinstance(one, bool)) for one in (before, after))
    if not isinstance(alias, str) or "from" not in data or not numbers:
        return None
    return _Move(event.subject, alias, before, after, event.seq or 0, event.time, event.actor, event.reason)


def _version(number: int | None) -> str:
    return "none" if number is None else f"v{number}"


def _thing(move: _Move) -> str:
    return f"alias {move.alias} of {move.of}"


def _advice(move: _Move) -> str:
    if move.key[1] == LATEST:
        return "what it meant then is not known; with the next log this becomes a note"
    return (
        "what it meant then is not known; find out who edits the database, and put it on record:"
        f" `art alias rm {move.of}:{move.alias} --reason TEXT`, then promote the right version again"
    )
