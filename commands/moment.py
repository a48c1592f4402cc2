"""What an alias meant at a time, as text and as JSON: which version, who put it there, when, why, and until when.

Knows the values that history gives; must not know stores or streams. Pure. Times are told to the second and in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..display import Cell, Value, iso
from .views import event_json

if TYPE_CHECKING:
    from ..artifacts.history import Held
    from ..storage.events import Event

__all__ = ["moment_headline", "moment_json", "moment_line", "moment_pairs"]

SECOND = 1_000_000  # µs


def moment_headline(held: Held) -> tuple[str, str]:
    """Return the alias, and what it meant at which time."""
    return f"{held.project}/{held.collection}:{held.alias}", f"{_meant(held)} at {_second(held.at)}"


def moment_pairs(held: Held) -> list[tuple[str, Value]]:
    """Return names and values: short for people, whole for programs."""
    pairs: list[tuple[str, Value]] = [("meant", _meant(held) + _state(held))]
    if held.since is not None:
        pairs += [("since", _time(held.since)), ("by", held.since.actor)]
        if held.since.reason:
            pairs.append(("why", held.since.reason))
        if held.version is not None and held.since.data["from"] is not None:
            pairs.append(("before", f"v{held.since.data['from']}"))
    if held.until is None:
        pairs.append(("until", "now"))
        return pairs
    after = held.until.data["to"]
    pairs += [("until", _time(held.until)), ("then", "nothing" if after is None else f"v{after}")]
    pairs.append(("then by", held.until.actor))
    if held.until.reason:
        pairs.append(("then why", held.until.reason))
    return pairs


def moment_line(held: Held) -> tuple[str, Value]:
    """Return the alias, and in one line since when it meant what it did, by whom, why, and until when."""
    return f"{held.alias} then", Cell(*(_line(held, _second), _line(held, lambda at: iso(at) or "")))


def _line(held: Held, told: Any) -> str:
    parts = [f"{_meant(held)} at {told(held.at)}"]
    if held.since is not None:
        reason = f': "{held.since.reason}"' if held.since.reason else ""
        parts.append(f"since {told(held.since.time)} by {held.since.actor}{reason}")
    parts.append("until now" if held.until is None else f"until {told(held.until.time)}")
    return ", ".join(parts)


def moment_json(held: Held) -> dict[str, Any]:
    """Return what `--json` prints of it."""
    return {
        "collection": f"{held.project}/{held.collection}",
        "alias": held.alias,
        "at": iso(held.at),
        "ref": None if held.version is None else held.version.ref,
        "version": None if held.version is None else held.version.version,
        "state": None if held.version is None else held.version.state,
        "since": None if held.since is None else event_json(held.since),
        "until": None if held.until is None else event_json(held.until),
    }


def _meant(held: Held) -> str:
    return "nothing" if held.version is None else held.version.version


def _state(held: Held) -> str:
    return "" if held.version is None or held.version.state == "live" else f" (by now {held.version.state})"


def _time(event: Event) -> Cell:
    return Cell(_second(event.time), iso(event.time) or "")


def _second(at: int) -> str:
    return iso(at // SECOND * SECOND) or ""
