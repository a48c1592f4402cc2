"""Which version of a collection is its newest: what staleness is measured by, and what a tree names beside an older.

Knows versions, and the runs that produced them. A repetition (`art repro`) that comes out different is a new version,
with a higher number than any, of something that may be old: it is not newer than what it repeats.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from ..artifacts.history import read_history
from ..artifacts.ref import LATEST
from ..storage.bulk import select_in

__all__ = ["Member", "newest_of"]

_HIGHEST = """
SELECT version.id, version.collection, version.number FROM version JOIN (
  SELECT collection, max(number) AS number FROM version WHERE state = 'live' AND collection {in} GROUP BY collection
) AS highest ON highest.collection = version.collection AND highest.number = version.number
"""
_LIVE = "SELECT id, collection, number FROM version WHERE state = 'live' AND collection {in}"
_MAKERS = """
SELECT edge.version, run.code FROM edge JOIN run ON run.id = edge.run
WHERE edge.direction = 'produced' AND edge.version {in}
"""


class Member(NamedTuple):
    """A version by its row, its collection's, and its number."""

    id: int
    collection: int
    number: int


def newest_of(connection: Connection, collections: Iterable[int]) -> dict[int, Member]:
    """Return the newest live version of each collection that has any, leaving out what only repetitions made.

    What nobody logged but a repetition was never `latest`.
    """
    newest = {row[1]: Member(*row) for row in select_in(connection, _HIGHEST, collections)}
    for doubtful in _repeated(connection, newest.values()):
        logged = {event.data["to"] for event in read_history(connection, doubtful.collection, LATEST)}
        live = [Member(*row) for row in select_in(connection, _LIVE, [doubtful.collection])]
        del newest[doubtful.collection]
        if earlier := [one for one in live if one.number in logged]:
            newest[doubtful.collection] = max(earlier, key=lambda one: one.number)
    return newest


def _repeated(connection: Connection, members: Iterable[Member]) -> list[Member]:
    """Return those of some versions whose producers, if there are any, are all repetitions."""
    given = list(members)
    makers: dict[int, list[bool]] = defaultdict(list)
    for version, code in select_in(connection, _MAKERS, [one.id for one in given]):
        makers[version].append('"again"' in code and bool(json.loads(code).get("again")))
    return [one for one in given if one.id in makers and all(makers[one.id])]
