"""Which aliases versions held in the past: since when, until when, and who moved them away.

Knows the events that move aliases (docs/format.md, "Events"); must not know why somebody asks. All moves of many
collections are read together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...artifacts.ref import LATEST, fold_name
from ...storage.bulk import select_in
from ...storage.events import Event

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ...artifacts.records import VersionRecord

__all__ = ["HeldBefore", "held_before"]

TOGETHER = 500  # collections whose moves are held at once
_MOVES = (  # those of `latest`, which moves by itself, are most of them
    "SELECT kind, subject, data, reason, time, actor, seq FROM event WHERE subject {in} "
    """AND kind IN ('alias.set', 'alias.removed') AND data NOT LIKE '%"alias":"latest"%'"""
)


@dataclass(frozen=True, slots=True)
class HeldBefore:
    """An alias that a version held for a time, and the events between which it did."""

    version: VersionRecord  # as it is now
    alias: str
    since: Event | None  # None where no event says that it was given it
    until: Event  # gave the alias to another version, or took it away


def held_before(connection: Connection, versions: Iterable[VersionRecord]) -> list[HeldBefore]:
    """Return the aliases but `latest` that versions held and lost, what was lost last first."""
    wanted: dict[str, dict[int, VersionRecord]] = defaultdict(dict)
    for one in versions:
        wanted[f"{one.project}/{one.collection}"][one.number] = one
    found: list[HeldBefore] = []
    subjects = sorted(wanted)
    for start in range(0, len(subjects), TOGETHER):
        some = subjects[start : start + TOGETHER]
        last: dict[tuple[str, str], Event] = {}
        for row in sorted(select_in(connection, _MOVES, some), key=lambda row: row.seq):
            move = Event(row.kind, row.subject, json.loads(row.data), row.reason, row.time, row.actor, row.seq)
            key = (move.subject, fold_name(move.data["alias"]))
            before = last.get(key)
            last[key] = move
            version = wanted[move.subject].get(move.data["from"])
            if version is not None and key[1] != LATEST:
                since = before if before is not None and before.data["to"] == version.number else None
                found.append(HeldBefore(version, (since or move).data["alias"], since, move))
    return sorted(found, key=lambda one: one.until.seq or 0, reverse=True)
