"""A lineage graph as a value that can be drawn: boxes with words in them, and arrows. The same for every picture.

Knows graphs as `graph.py` makes them and what a box says; must not know formats, fonts or places. Pure. All text is
fit to be shown: what would act on a reader (controls, bidirectional marks) is escaped, and names too long for a box
are shortened in the middle. What was left out to stay within a limit stands in `notes` and in boxes of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..columns import escape
from ..graph import EXTERNAL, REFERS, RUN, VERSION
from ..printing import abbreviate, print_duration, print_size
from ..runs import FINISHED, PRODUCED, USED, RunRecord
from .condense import BESIDE, DOWN, UP, Plan, condense, whole

if TYPE_CHECKING:
    import networkx as nx

    from ...artifacts.records import ExternalRecord, VersionRecord

__all__ = ["REST", "Drawing", "Edge", "Node", "clean", "count_kinds", "draw", "roots_of", "shorten"]

REST = "rest"  # the kind of a box that stands for what is left out
LONGEST = 48  # characters of a title, a line or a chip
CHIPS = 6  # aliases of one box; the page's details have them all
LATEST, LIVE = "latest", "live"
_Said = tuple[str, list[str], list[str], str]  # title, lines, chips, state
_SIDES = {UP: "further upstream", DOWN: "further downstream", BESIDE: "more"}


@dataclass(frozen=True, slots=True)
class Node:
    """One box: a version, a run, an external source, several that are alike, or what is left out.

    `members` are the graph's nodes that it stands for. `state` is that of the version or run; `badge` is the state
    where it is worth a word: not of live versions and finished runs.
    """

    key: str  # unique in the drawing
    kind: str
    title: str
    lines: tuple[str, ...]
    chips: tuple[str, ...]
    state: str
    is_root: bool = False
    members: tuple[str, ...] = ()

    @property
    def badge(self) -> str:
        """The state where it is worth a word."""
        return "" if self.state in {LIVE, FINISHED} else self.state

    @property
    def is_gone(self) -> bool:
        """Whether it is a deleted or purged version."""
        return self.kind == VERSION and self.state != LIVE


class Edge(NamedTuple):
    """One arrow between two boxes, by their places in `Drawing.nodes`; `note` says more, where there is more."""

    tail: int
    head: int
    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a picture shows. `counts` is of the whole graph; `notes` say what of it is not shown, and why."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    counts: str
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What was asked for, in a few words."""
        roots = [clean(node.key if len(node.members) == 1 else node.title) for node in self.nodes if node.is_root]
        if not roots:
            return "Lineage"
        return roots[0] if len(roots) == 1 else f"{roots[0]} and {len(roots) - 1:,} more"


def draw(graph: nx.DiGraph, *, nodes: int | None = None, edges: int | None = None) -> Drawing:
    """Return what a picture of a lineage graph shows, in at most so many boxes and arrows; None is any number.

    A graph above a limit is drawn with equal siblings folded; if that is not enough, what is furthest from the roots
    is left out, and one box for each side stands for it.
    """
    keys = list(graph)
    place = {key: at for at, key in enumerate(keys)}
    roots = roots_of(graph)
    links = [(place[tail], place[head]) for tail, head in graph.edges()]
    if (nodes is None or len(keys) <= nodes) and (edges is None or len(links) <= edges):
        plan = whole(len(keys), links)
    else:
        alike = [_likeness(graph, key) for key in keys]
        most = (max(nodes or len(keys), 1), len(links) if edges is None else edges)
        plan = condense(links, alike, [place[root] for root in roots], *most)
    return _Drawer(graph, keys, roots).drawing(plan)


def roots_of(graph: nx.DiGraph) -> list[str]:
    """Return what was asked for; a part of a graph (`graph.subgraph(…)`) may have lost it."""
    return [root for root in dict.fromkeys(graph.graph.get("roots", ())) if root in graph]


def clean(text: str, room: int | None = LONGEST) -> str:
    r"""Return text that is safe to show in one line, shortened in the middle to `room` characters.

    >>> clean("a" * 30 + "\n" + "b" * 30, 21)
    'aaaaaaaaaa…bbbbbbbbbb'
    """
    if room is not None and len(text) > 4 * room:  # of what is shown nothing depends on what is far inside
        text = text[: 2 * room] + text[-2 * room :]
    return shorten(escape(text), room)


def shorten(text: str, room: int | None) -> str:
    """Return text with its middle left out where it is longer than `room`: the end of a name tells most."""
    if room is None or len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"


def count_kinds(kinds: Iterable[str]) -> str:
    """Say how many of each kind there are.

    >>> count_kinds(["version", "run", "version"])
    '2 versions, 1 run'
    """
    counts = Counter(kinds)
    words = {VERSION: "version", RUN: "run", EXTERNAL: "external"}
    return ", ".join(
        f"{counts[kind]:,} {word}{'s' * (counts[kind] != 1)}" for kind, word in words.items() if counts[kind]
    )


def _likeness(graph: nx.DiGraph, key: str) -> tuple[Any, ...]:
    """Return what boxes must have in common, beside their neighbours, to be one."""
    data = graph.nodes[key]
    record = data["record"]
    if data["kind"] == VERSION:
        named = key if any(alias != LATEST for alias in record.aliases) else None
        return VERSION, record.project, record.collection, record.state, data.get("cut", False), named
    if data["kind"] == RUN:
        return RUN, record.project, record.job_type, record.state
    return (EXTERNAL,)


class _Drawer:
    def __init__(self, graph: nx.DiGraph, keys: Sequence[str], roots: Sequence[str]) -> None:
        self._graph = graph
        self._keys = keys
        self._roots = set(roots)
        owners = [
            graph.nodes[key]["record"].project for key in (*roots, *keys[:1]) if graph.nodes[key]["kind"] == VERSION
        ]
        self._home = owners[0] if owners else None  # the project whose name goes without saying

    def drawing(self, plan: Plan) -> Drawing:
        kinds = [self._graph.nodes[key]["kind"] for key in self._keys]
        nodes: list[Node] = []
        taken: set[str] = set()
        for group in plan.groups:
            node = self._node(tuple(self._keys[one] for one in group))
            nodes.append(node if node.key not in taken else _renamed(node, taken))
            taken.add(nodes[-1].key)
        for side, members in plan.rests:
            said = count_kinds(kinds[one] for one in members)
            gone = tuple(self._keys[one] for one in members)
            nodes.append(Node(f"rest {side}", REST, said, (_SIDES[side], "left out here"), (), LIVE, members=gone))
        edges = tuple(self._arrow(nodes, tail, head) for tail, head in plan.edges)
        total = f"{len(kinds):,} node{'s' * (len(kinds) != 1)}"
        counts = f"{total}: {count_kinds(kinds)}" if kinds else total
        return Drawing(tuple(nodes), edges, counts, self._notes(plan, nodes))

    def _arrow(self, nodes: Sequence[Node], tail: int, head: int) -> Edge:
        """Return an arrow; of one that stands for many no more is said than its kind."""
        first, last = nodes[tail], nodes[head]
        if len(first.members) > 1 or len(last.members) > 1 or REST in {first.kind, last.kind}:
            return Edge(tail, head, _kind_between(first.kind, last.kind))
        data = self._graph.edges[first.members[0], last.members[0]]
        named = [clean(str(one)) for one in (data.get("data") or {}).get("aliases", ())]
        return Edge(tail, head, data["kind"], f"as {', '.join(named)}" if named else "")

    def _notes(self, plan: Plan, nodes: Sequence[Node]) -> tuple[str, ...]:
        notes = []
        folds = [node for node in nodes if node.kind != REST and len(node.members) > 1]
        if folds:
            inside = sum(len(node.members) for node in folds)
            notes.append(f"{inside:,} nodes with equal neighbours are folded into {len(folds):,}")
        gone = sum(len(members) for _, members in plan.rests)
        if gone:
            notes.append(
                f"{gone:,} nodes furthest from what was asked for are left out; a graph of fewer steps is shown whole"
            )
        cut = sum(1 for _, cut in self._graph.nodes(data="cut") if cut)
        if cut:
            depth = self._graph.graph.get("depth")
            why = "than was selected" if depth is None else f"than depth {depth} shows"
            notes.append(f"{cut:,} version{'s have' if cut != 1 else ' has'} more beyond {why}")
        return tuple(notes)

    # What a box says

    def _node(self, members: tuple[str, ...]) -> Node:
        kind = self._graph.nodes[members[0]]["kind"]
        records = [self._graph.nodes[key]["record"] for key in members]
        is_root = not self._roots.isdisjoint(members)
        if kind == VERSION:
            title, lines, chips, state = self._version(members, records)
        else:
            title, lines, chips, state = self._run(records) if kind == RUN else self._external(records)
        shown = tuple(clean(line) for line in lines if line)
        named = tuple(clean(chip, LONGEST // 2) for chip in chips[:CHIPS])
        if len(chips) > CHIPS:
            named += (f"{len(chips) - CHIPS} more",)
        return Node(clean(members[0], None), kind, clean(title), shown, named, clean(state), is_root, members)

    def _version(self, members: Sequence[str], records: Sequence[VersionRecord]) -> _Said:
        first = records[0]
        name = first.collection if first.project == self._home else f"{first.project}/{first.collection}"
        title = f"{clean(name, LONGEST - 12)}:{shorten(abbreviate(one.number for one in records), 12)}"
        words = [f"{len(members):,} versions"] if len(members) > 1 else []
        if first.state == LIVE:
            words.append(print_size(sum(one.size for one in records)))
            words += [] if len(members) > 1 else [_count(first.file_count, "file")]
        lines = [" · ".join(words)]
        newer = self._newer(members[0], first) if len(members) == 1 else None
        lines += [] if newer is None else [f"newer: v{newer}"]
        lines += ["more beyond"] if any(self._graph.nodes[key].get("cut") for key in members) else []
        return title, lines, [alias for one in records for alias in one.aliases if alias != LATEST], first.state

    def _newer(self, key: str, record: VersionRecord) -> int | None:
        """Return the number of a newer version, unless that stands in the graph itself or this one is gone."""
        newer: int | None = self._graph.nodes[key].get("newer")
        if newer is None or record.state != LIVE or f"{record.project}/{record.collection}:v{newer}" in self._graph:
            return None
        return newer

    def _run(self, records: Sequence[RunRecord]) -> _Said:
        first = records[0]
        title = first.job_type or first.name
        if len(records) > 1:
            return (first.job_type or "runs"), [f"{len(records):,} runs"], [], first.state
        words = [] if title == first.id else [first.id]
        words += [] if first.commit is None else [first.commit[:7] + "+" * first.dirty]
        words += [] if first.duration is None else [print_duration(first.duration)]
        return title, [" · ".join(words)], [], first.state

    def _external(self, records: Sequence[ExternalRecord]) -> _Said:
        objects = _count(sum(one.objects for one in records), "object")
        line = f"{objects} · {print_size(sum(one.size for one in records))}"
        if len(records) > 1:
            return f"{len(records):,} externals", [line], [], LIVE
        return records[0].url, [line], [], LIVE


def _kind_between(first: str, last: str) -> str:
    """Return the kind of an arrow between boxes of two kinds."""
    if first == EXTERNAL:
        return REFERS
    return USED if last == RUN or (last == REST and first == VERSION) else PRODUCED


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _renamed(node: Node, taken: set[str]) -> Node:
    """Return a box whose key is its own: names that differ only by what is escaped would be one."""
    at = 2
    while f"{node.key} ({at})" in taken:
        at += 1
    return Node(f"{node.key} ({at})", *(getattr(node, name) for name in Node.__slots__[1:]))
