"""The rule by which a version is out of date, applied to a closure of edges.

Knows edges, and the numbers of versions in their collections; must not know a database. Pure.

The rule. A run is behind in a collection where a newer live version exists than the newest that it used of it; deleted
versions do not count as newer, nor what only repetitions made. A version is out of date where every run that produced
it is behind somewhere, or used something that is out of date itself: equal content is one version, and one run with the
newest inputs is enough to say that it would come out the same today. Two things do not make it so, or nothing that is
made in rounds could ever be fresh: an earlier version of its own collection, which it goes on from, and a newer version
that itself came of it. What it goes on from hands its own reasons on, but for collections of which the run used the
newest beside it. A version that refers to a place outside the store which is not what it was is out of date itself,
whatever its runs say: who asked the places hands in which those are.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

import networkx as nx

from ..closure import Found
from ..newest import Member
from ..runs import PRODUCED

__all__ = ["Judge", "Reasons"]

_NONE: frozenset[int] = frozenset()


class Reasons(NamedTuple):
    """Why a version is out of date by one of its runs; `roots` are the collections that are behind, near or far."""

    behind: list[tuple[int, int]]  # what was used, what is newest
    through: list[int]
    roots: frozenset[int]


class Judge:
    """Judges all versions of a closure; `roots` holds, of those out of date, the collections that made them so.

    Versions are judged in the order of their production, which is nearly always that of dependence; where it is not, or
    in a circle, what depends on a change is judged again. Reasons only ever grow, so that comes to an end.
    """

    def __init__(
        self,
        found: Found,
        members: Mapping[int, Member],
        newest: Mapping[int, Member],
        moved: Collection[int] = (),
    ) -> None:
        self._members = members
        self._newest = newest
        self._used: dict[str, dict[int, list[Member]]] = {}  # by collection, the newest last
        self._made: dict[int, list[str]] = defaultdict(list)  # runs of a version, in the order of producing it
        self._products: dict[str, list[int]] = defaultdict(list)
        self._users: dict[int, list[str]] = defaultdict(list)
        self._place: dict[int, int] = {}
        for edge in found.edges:
            if edge.direction == PRODUCED:
                self._made[edge.version].append(edge.run)
                self._products[edge.run].append(edge.version)
                self._place[edge.version] = edge.id
            else:
                self._users[edge.version].append(edge.run)
                member = members[edge.version]
                self._used.setdefault(edge.run, {}).setdefault(member.collection, []).append(member)
        for inputs in self._used.values():
            for same in inputs.values():
                same.sort(key=lambda one: one.number)
        self._circle = self._circles()
        self._heirs: dict[int, tuple[Mapping[int, int], Mapping[int, int]]] = {}
        self._alike: dict[str, Reasons] = {}
        self._own = {one: frozenset({-1 - one}) for one in moved}
        self.roots: dict[int, frozenset[int]] = dict(self._own)

    def judge(self) -> None:
        """Find the roots of everything."""
        queue = [(place, version) for version, place in self._place.items()]
        heapq.heapify(queue)
        waiting = set(self._place)
        judged: set[str] = set()  # runs of which a product was judged already
        while queue:
            _, version = heapq.heappop(queue)
            waiting.discard(version)
            judged.update(self._made[version])
            roots = self._roots_of(version)
            if roots == self.roots.get(version, _NONE):
                continue
            self.roots[version] = roots
            for run in self._users[version]:
                self._alike.pop(run, None)
                for product in self._products[run] if run in judged else ():
                    if product not in waiting:
                        waiting.add(product)
                        heapq.heappush(queue, (self._place[product], product))

    def place(self, version: int) -> tuple[int, int]:
        """Return where a version stands among those that nothing else orders: when it was produced last."""
        return self._place.get(version, 0), version

    def last_run(self, version: int) -> str | None:
        """Return the run that produced a version last; None where none is known."""
        return self._made[version][-1] if version in self._made else None

    def needs(self, version: int) -> list[int]:
        """Return what is out of date and would have to be made again before a version is."""
        why = self.reasons(version, self.last_run(version))
        return [one for one in (*why.through, *(newest for _, newest in why.behind)) if one in self.roots]

    def reasons(self, version: int, run: str | None) -> Reasons:
        """Return why a version is out of date by one of its runs, as far as it is known by now.

        That a place moved which it refers to is not among them. They are the same for all that a run made, but for
        what goes round with what the run used.
        """
        if run is None:
            return Reasons([], [], _NONE)
        circle = self._circle_of(self._members[version].collection)
        if any(self._circle_of(one) == circle for one in self._used.get(run, ())):
            return self._reasons(version, run)
        if run not in self._alike:
            self._alike[run] = self._reasons(version, run)
        return self._alike[run]

    def _reasons(self, version: int, run: str) -> Reasons:
        behind, through, roots = [], [], set[int]()
        inputs = self._used.get(run, {})
        current: set[int] | None = None
        for collection, same in inputs.items():
            used = same[-1] if same[-1].id != version else same[-2] if len(same) > 1 else None
            if used is None:  # a run that used what it produced
                continue
            newest = self._newest.get(collection)
            older = newest is not None and used.number < newest.number
            handed = self.roots.get(used.id, _NONE)
            if self._goes_on(version, collection, older=older):
                if current is None:
                    current = {one for one, those in inputs.items() if self._is_current(one, those[-1])}
                handed -= current
            elif older:
                assert newest is not None
                behind.append((used.id, newest.id))
                roots.add(collection)
                continue
            if handed:
                through.append(used.id)
                roots |= handed
        return Reasons(behind, through, frozenset(roots))

    def _roots_of(self, version: int) -> frozenset[int]:
        """Return the roots by the last run, or none where any of its runs would do the same today."""
        own = self._own.get(version, _NONE)
        roots = _NONE
        for run in self._made[version]:
            roots = self.reasons(version, run).roots
            if not roots:
                return own
        return roots | own

    def _is_current(self, collection: int, used: Member) -> bool:
        newest = self._newest.get(collection)
        return newest is None or used.number >= newest.number

    def _goes_on(self, version: int, collection: int, *, older: bool) -> bool:
        """Whether a version goes on from what it used of a collection, rather than being derived from it."""
        own = self._members[version].collection
        if own == collection:
            return True
        if not older or self._circle_of(own) != self._circle_of(collection):
            return False
        return self._newest_came_of(collection, version)

    def _circle_of(self, collection: int) -> int:
        return self._circle.get(collection, -1 - collection)

    def _newest_came_of(self, collection: int, version: int) -> bool:
        """Whether the newest version of a collection came of a version, by a way within the circle that both are in."""
        circle = self._circle_of(collection)
        if circle not in self._heirs:
            those = [one for one in self._newest if self._circle_of(one) == circle]
            self._heirs[circle] = self._heirs_of(circle, {one: 1 << at for at, one in enumerate(those)})
        bits, heirs = self._heirs[circle]
        return bool(bits[collection] & heirs.get(version, 0))

    def _heirs_of(self, circle: int, bits: Mapping[int, int]) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Return, with the bits, those of the collections whose newest version is a version or came of it.

        All collections of a circle are asked at once, against the order of production: a set of them is one number.
        The ways lead through collections of which nothing lives, too: those have no bit.
        """
        heirs: dict[int, int] = defaultdict(int)
        queue: list[tuple[int, int]] = []
        for collection, bit in bits.items():
            heirs[self._newest[collection].id] |= bit
            queue.append((-self._place.get(self._newest[collection].id, 0), self._newest[collection].id))
        heapq.heapify(queue)
        waiting = {version for _, version in queue}
        while queue:
            _, version = heapq.heappop(queue)
            waiting.discard(version)
            handed = heirs[version]
            for run in self._made.get(version, ()):
                for collection, same in self._used.get(run, {}).items():
                    for one in same if self._circle_of(collection) == circle else ():
                        if heirs[one.id] | handed != heirs[one.id]:
                            heirs[one.id] |= handed
                            if one.id not in waiting:
                                waiting.add(one.id)
                                heapq.heappush(queue, (-self._place.get(one.id, 0), one.id))
        return bits, heirs

    def _circles(self) -> dict[int, int]:
        """Return for each collection a number that it shares with those it goes round with."""
        graph = nx.DiGraph()
        shapes = {  # of many runs few differ in the collections that they use and make
            (frozenset(self._used.get(run, ())), frozenset(self._members[one].collection for one in made))
            for run, made in self._products.items()
        }
        for number, (used, made) in enumerate(shapes):
            graph.add_edges_from((one, -1 - number) for one in used)
            graph.add_edges_from((-1 - number, one) for one in made)
        circles = nx.strongly_connected_components(graph)
        return {one: number for number, circle in enumerate(circles) for one in circle if one >= 0}
