"""What a version reaches: by runs, by drafts that went on from it, and by versions that hold the same files.

Knows edges, digests, and the events that say what a version was changed from; must not know aliases, or how an answer
is shown. Each round of a search asks for all that is new by batches; rounds are as many as ways change between runs
on the one hand and drafts and equal files on the other.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from ...artifacts.tables import version
from ...storage.bulk import select_in
from ..closure import DOWN, Found, walk
from ..runs import PRODUCED

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["DRAFT", "RUN", "SAME", "Reach", "Step", "reach", "steps_of"]

RUN, DRAFT, SAME = "run", "draft", "same"  # how one version came of another
BATCH = 500  # numbers asked for at once

_CONTENT = "SELECT id, collection, digest, file_count FROM version WHERE id {in}"
_EQUAL = "SELECT id, digest FROM version WHERE digest {in}"
_NAMESAKES = (  # a draft keeps the name of what it goes on from, and may be logged into any project
    "SELECT beside.id, p.name, beside.name FROM collection AS one JOIN collection AS beside ON beside.key = one.key "
    "JOIN project AS p ON p.id = beside.project WHERE one.id {in}"
)
_DRAFTS = (  # event data are canonical JSON; metadata may read like this, too
    "SELECT subject, data FROM event WHERE subject {in} AND kind = 'version.logged' "
    """AND data LIKE '%"base":{"collection":%'"""
)


class Reach(NamedTuple):
    """All that was reached, and what leads from one version to another beside the edges of runs."""

    found: Found
    equal: dict[int, list[int]]  # versions that hold the same files as one, itself included; each in one shared list
    drafts: dict[int, list[int]]  # versions that were changed from one


class Step(NamedTuple):
    """How a version is reached the shortest way; `how`, `before` and `run` are None where the search began."""

    version: int
    steps: int
    how: str | None = None
    before: int | None = None
    run: str | None = None


def reach(connection: Connection, starts: Iterable[int]) -> Reach:
    """Return what is reached from versions: every version, run and edge once."""
    found, links = Found(), _Links(connection)
    new = list(starts)
    while new:
        before = len(found.versions)
        walk(connection, found, new, None, DOWN, onward=True)
        added = list(islice(reversed(found.versions), len(found.versions) - before))  # there is no way to its middle
        linked = links.beside(added)
        new = [one for one in linked if one not in found.versions]
    return Reach(found, links.equal, links.drafts)


class _Links:
    """What versions are tied to without a run; what was asked for once is not asked for again."""

    def __init__(self, connection: Connection) -> None:
        self.equal: dict[int, list[int]] = {}
        self.drafts: dict[int, list[int]] = defaultdict(list)
        self._connection = connection
        self._digests = set[bytes]()
        self._collections = set[int]()

    def beside(self, versions: list[int]) -> list[int]:
        """Return the versions that hold the same files as some, and all drafts that began with one of them."""
        rows = select_in(self._connection, _CONTENT, versions)
        # What has no file is not the same data: it is none.
        linked = self._equal({bytes(row[2]) for row in rows if row[3]})
        self._read_drafts({row[1] for row in rows})
        linked += versions
        seen = set(linked)
        for one in linked:  # which grows meanwhile
            drafts = [other for other in self.drafts.get(one, ()) if other not in seen]
            seen.update(drafts)
            linked += drafts
        return linked

    def _equal(self, digests: set[bytes]) -> list[int]:
        new = digests - self._digests
        self._digests |= new
        groups: dict[bytes, list[int]] = defaultdict(list)
        for one, digest in select_in(self._connection, _EQUAL, new):
            groups[bytes(digest)].append(one)
        several = [sorted(group) for group in groups.values() if len(group) > 1]
        self.equal.update((one, group) for group in several for one in group)
        return [one for group in several for one in group]

    def _read_drafts(self, collections: set[int]) -> None:
        """Read what was changed from what in some collections, and in those of other projects with their names."""
        new = collections - self._collections
        if not new:
            return
        names = {f"{row[1]}/{row[2]}": int(row[0]) for row in select_in(self._connection, _NAMESAKES, new)}
        self._collections.update(names.values())
        pairs = list(self._pairs(names))
        ids = self._ids({one for pair in pairs for one in pair})
        for base, draft in pairs:
            if base in ids and draft in ids:
                self.drafts[ids[base]].append(ids[draft])

    def _pairs(self, names: dict[str, int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Yield collection and number of what was changed, and of what came of it."""
        for subject, text in select_in(self._connection, _DRAFTS, names):
            data = json.loads(text)
            base = data.get("base")
            if base is not None and (origin := names.get(f"{base['project']}/{base['collection']}")) is not None:
                yield (origin, base["number"]), (names[subject], data["number"])

    def _ids(self, places: set[tuple[int, int]]) -> dict[tuple[int, int], int]:
        numbers: dict[int, list[int]] = defaultdict(list)
        for collection, number in sorted(places):
            numbers[collection].append(number)
        found = {}
        for collection, some in numbers.items():
            for start in range(0, len(some), BATCH):
                asked = select(version.c.number, version.c.id).where(
                    version.c.collection == collection, version.c.number.in_(some[start : start + BATCH])
                )
                found.update({(collection, number): one for number, one in self._connection.execute(asked)})
        return found


def steps_of(reached: Reach, starts: Iterable[int]) -> list[Step]:
    """Return the shortest way to everything, breadth first; of several that are as short, the one recorded first.

    A run is a step, and so is a draft; what holds the same files is no further away.
    """
    users: dict[int, list[str]] = defaultdict(list)
    products: dict[str, list[int]] = defaultdict(list)
    for edge in reached.found.edges:
        if edge.direction == PRODUCED:
            products[edge.run].append(edge.version)
        else:
            users[edge.version].append(edge.run)
    way: list[Step] = []
    level = [Step(one, 0) for one in starts]
    seen = {one.version for one in level}
    done = set[str | int]()  # runs, and groups of equal versions by their first
    while level:
        for step in level:  # which grows meanwhile
            group = reached.equal.get(step.version)
            if group is not None and group[0] not in done:
                done.add(group[0])
                level += (Step(one, step.steps, SAME, step.version) for one in _new(group, seen))
        further: list[Step] = []
        for step in level:
            for run in users[step.version]:
                if run not in done:
                    done.add(run)
                    further += (Step(one, step.steps + 1, RUN, step.version, run) for one in _new(products[run], seen))
            drafts = _new(reached.drafts.get(step.version, ()), seen)
            further += (Step(one, step.steps + 1, DRAFT, step.version) for one in drafts)
        way += level
        level = further
    return way


def _new(some: Iterable[int], seen: set[int]) -> list[int]:
    new = [one for one in some if one not in seen]
    seen.update(new)
    return new
