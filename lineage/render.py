"""Lineage as text: a tree for people, a document for programs.

Knows graphs as `graph.py` makes them (node and edge attributes) and nothing of where they come from. Pure. Every node
is expanded once; nothing is left out without saying so; no step recurses, and no line grows with the graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from .columns import UNICODE, Line, Style, lay_out
from .externals import EXTERNAL
from .printing import abbreviate, print_duration, print_size
from .runs import FINISHED, RunRecord, iso_time

if TYPE_CHECKING:
    import networkx as nx

    from ..artifacts.records import ExternalRecord, VersionRecord

__all__ = ["lineage_document", "lineage_tree", "lineage_trees"]

PLACES = 6  # outside the store that a version refers to, and which have a line each
DEEPEST = 40  # levels; what is deeper goes on at the margin, so that lines stay readable and work stays linear


@dataclass(frozen=True, slots=True)
class _Item:
    """A line to be: versions (several where equal raw ones are folded), a run that made nothing, or places."""

    versions: tuple[str, ...]
    run: str | None = None  # on the way down: the run that stands beside its product, or alone
    places: tuple[str, ...] = ()  # outside the store, of one version; several are one line where they are many


def lineage_tree(graph: nx.DiGraph, *, down: bool = False, style: Style = UNICODE) -> str:
    """Return the tree of a lineage graph, from its roots up to raw data, or with `down` to what was made of them.

    A run stands beside what it made. A node that stands in several places is expanded at the first and `(above)` at the
    others. Equal raw siblings are one line. Where a newer version of an input exists that is not in the tree, the line
    says so. The last line counts nodes and says what lies beyond the depth that was asked for. Ends with a newline.
    """
    lines = _Tree(graph, down=down, style=style).lines()
    return lay_out([*lines, Line(0, footer(graph, down=down, style=style))], style)


def lineage_trees(graph: nx.DiGraph, *, style: Style = UNICODE) -> str:
    """Return the tree of a lineage graph the way it was walked; of one that was walked both ways, one tree for each."""
    if not (graph.graph["up"] and graph.graph["down"]):
        return lineage_tree(graph, down=graph.graph["down"], style=style)
    return "".join(lineage_tree(_half(graph, down=down), down=down, style=style) for down in (False, True))


def _half(graph: nx.DiGraph, *, down: bool) -> nx.DiGraph:
    """Return what lies on one side of the roots, and they themselves."""
    neighbours = graph.successors if down else graph.predecessors
    seen = set(graph.graph["roots"])
    todo = list(seen)
    while todo:
        new = [one for one in neighbours(todo.pop()) if one not in seen]
        seen.update(new)
        todo += new
    return graph.subgraph(seen).copy()


class _Tree:
    def __init__(self, graph: nx.DiGraph, *, down: bool, style: Style) -> None:
        self._graph = graph
        self._down = down
        self._style = style
        self._home: str | None = None  # the project whose name goes without saying
        self._expanded: set[str] = set()
        self._later: deque[str] = deque()

    def lines(self) -> list[Line]:
        """Return the lines of every root, then of what was too deep below them."""
        lines: list[Line] = []
        roots = self._graph.graph["roots"]
        for root in dict.fromkeys(roots):
            self._home = self._record(root).project
            lines += self._block(root, root_line=True)
        while self._later:
            lines += self._block(self._later.popleft(), root_line=False)
        return lines

    def _block(self, root: str, *, root_line: bool) -> list[Line]:
        lines: list[Line] = []
        stack: list[tuple[int, bool, _Item]] = [(0, True, _Item((root,)))]
        while stack:
            level, last, item = stack.pop()
            known = tuple(one for one in item.versions if one in self._expanded)
            if 0 < len(known) < len(item.versions):  # a sibling before them has shown some of these meanwhile
                rest = tuple(one for one in item.versions if one not in self._expanded)
                stack.append((level, last, _Item(rest)))
                last, item = False, _Item(known)
            line = self._line(level, last, item, is_root=level == 0, again=level == 0 and not root_line)
            lines.append(line)
            children = self._children_to_show(item)
            if children and level >= DEEPEST:
                self._later.append(item.versions[0])
                line.remark += self._style.separator + "goes on below" if line.remark else "goes on below"
                continue
            below = [(level + 1, at == len(children) - 1, one) for at, one in enumerate(children)]
            stack.extend(reversed(below))
        return lines

    # What is shown

    def _children_to_show(self, item: _Item) -> list[_Item]:
        if len(item.versions) != 1 or item.versions[0] in self._expanded:
            return []
        self._expanded.add(item.versions[0])
        return self._products(item.versions[0]) if self._down else self._inputs(item.versions[0])

    def _inputs(self, node: str) -> list[_Item]:
        """Return what the runs that made a version used, in the order of use, equal raw ones together."""
        inputs: dict[str, None] = {}
        for run in self._runs_before(node):
            inputs.update((one, None) for one in _ordered(self._graph, run, before=True) if one != node)
        folded: dict[Any, list[str]] = {}
        for one in inputs:
            folded.setdefault(self._fold_key(one), []).append(one)
        items = [_Item(tuple(self._by_number(group))) for group in folded.values()]
        places = self._places_before(node)
        if len(places) > PLACES:
            return [*items, _Item((), places=places)]
        return items + [_Item((), places=(one,)) for one in places]

    def _fold_key(self, node: str) -> Any:
        """Return what raw siblings must have in common to be one line; what is not raw stands alone."""
        record = self._record(node)
        if not self._is_raw(node) or record.state != "live" or _labels(record):
            return node
        return record.project, record.collection, self._newer(node)

    def _products(self, node: str) -> list[_Item]:
        """Return what was made of a version, each with the first run that made it so; runs that made nothing, too."""
        items: dict[str, _Item] = {}
        for run in _ordered(self._graph, node, before=False):
            made = [one for one in _ordered(self._graph, run, before=False) if one != node]
            for one in made:
                items.setdefault(one, _Item((one,), run))
            if not made:
                items[run] = _Item((), run)
        return list(items.values())

    # One line

    def _line(self, level: int, last: bool, item: _Item, *, is_root: bool, again: bool) -> Line:
        if item.places:
            return self._place_line(level, item.places, last=last)
        if not item.versions:
            assert item.run is not None
            run: RunRecord = self._graph.nodes[item.run]["record"]
            return Line(level, self._title(run), remark=self._join("no output", *self._about(run)), last=last)
        first = item.versions[0]
        above = first in self._expanded
        record = self._record(first)
        line = Line(level, self._name(item.versions, is_root=is_root), last=last)
        if again:
            line.remark = "(from above)"
            self._expanded.discard(first)  # its children are what this block is for
            return line
        if not above and record.state == "live":
            line.size = print_size(sum(self._record(one).size for one in item.versions))
        labels = [] if above else _labels(record)
        newer = None if is_root or above else self._newer(first)
        line.labels = " ".join(labels + ([] if newer is None else [f"newer: v{newer}"]))
        line.remark = self._remark(item, above=above)
        if len(item.versions) > 1:
            for one in item.versions:
                self._expanded.add(one)
        return line

    def _place_line(self, level: int, places: tuple[str, ...], *, last: bool) -> Line:
        records: list[ExternalRecord] = [self._graph.nodes[one]["record"] for one in places]
        name, count = places[0], sum(one.objects for one in records)
        remark = "raw, external"
        if len(places) > 1:
            head = commonprefix(places)  # noqa: RUF071 - of URLs, and cut at a slash
            name = head[: head.rfind("/") + 1] + self._style.ellipsis
            remark += f", {len(places):,} places"
        if count != 1 or name.endswith("/"):
            remark += f", {count:,} object{'s' * (count != 1)}"
        size = sum(one.size for one in records)
        return Line(level, name, print_size(size) if size else "", remark=remark, last=last)

    def _remark(self, item: _Item, *, above: bool) -> str:
        first = item.versions[0]
        count = len(item.versions)
        parts = ["(above)"] if above else []
        if not above and not self._down and self._is_raw(first):
            parts.append("raw")
        if count > 1:
            parts.append(f"{count} versions")
        remark = ", ".join(parts)
        runs = [] if above else self._beside(item)
        if runs and count == 1:
            beside = self._join(self._title(runs[0]), *self._about(runs[0]))
            more = f" and {len(runs) - 1} more run{'s' * (len(runs) > 2)}" if len(runs) > 1 else ""
            remark = f"{remark} {self._style.arrow} {beside}{more}".lstrip()
        elif runs:
            remark += f", {len(runs)} run{'s' * (len(runs) > 1)}"
        if not above and any(self._graph.nodes[one]["cut"] for one in item.versions):
            remark = f"{remark}, more beyond" if remark else "more beyond"
        return remark

    def _beside(self, item: _Item) -> list[RunRecord]:
        """Return the runs that stand beside a line: on the way down, first the one through which it is reached."""
        runs: dict[str, None] = {} if item.run is None else {item.run: None}
        for version in item.versions:
            runs.update(dict.fromkeys(self._runs_before(version)))
        return [self._graph.nodes[run]["record"] for run in runs]

    def _name(self, versions: tuple[str, ...], *, is_root: bool) -> str:
        record = self._record(versions[0])
        name = (
            record.collection
            if record.project == self._home and not is_root
            else f"{record.project}/{record.collection}"
        )
        return f"{name}:{abbreviate([self._record(one).number for one in versions], self._style)}"

    def _title(self, run: RunRecord) -> str:
        what = run.job_type or run.name
        return run.id if what == run.id else f"{what} {run.id}"

    def _about(self, run: RunRecord) -> list[str]:
        commit = run.commit
        about = [] if commit is None else [commit[:7] + ("+" if run.dirty else "")]
        if run.duration is not None:
            about.append(print_duration(run.duration))
        return about if run.state == FINISHED else [*about, run.state]

    def _join(self, *parts: str) -> str:
        return self._style.separator.join(parts)

    # What the graph says

    def _record(self, node: str) -> VersionRecord:
        record: VersionRecord = self._graph.nodes[node]["record"]
        return record

    def _runs_before(self, node: str) -> list[str]:
        return [one for one in _ordered(self._graph, node, before=True) if self._graph.nodes[one]["kind"] != EXTERNAL]

    def _places_before(self, node: str) -> tuple[str, ...]:
        found = [one for one in self._graph.predecessors(node) if self._graph.nodes[one]["kind"] == EXTERNAL]
        return tuple(sorted(found))

    def _is_raw(self, node: str) -> bool:
        """Whether no run that made it used anything else, and it refers to no place; beyond the depth nobody knows."""
        return (
            not self._graph.nodes[node]["cut"]
            and all(set(self._graph.predecessors(run)) <= {node} for run in self._runs_before(node))
            and not self._places_before(node)
        )

    def _newer(self, node: str) -> int | None:
        """Return the number of a newer version, unless that stands in the tree itself or this one is deleted."""
        newer: int | None = self._graph.nodes[node]["newer"]
        record = self._record(node)
        if newer is None or record.state != "live" or f"{record.project}/{record.collection}:v{newer}" in self._graph:
            return None
        return newer

    def _by_number(self, versions: Iterable[str]) -> list[str]:
        return sorted(versions, key=lambda one: self._record(one).number)


def _labels(record: VersionRecord) -> list[str]:
    """Return the aliases but `latest`, or that it is deleted or purged."""
    if record.state != "live":
        return [record.state]
    return [alias for alias in record.aliases if alias != "latest"]


def _ordered(graph: nx.DiGraph, node: str, *, before: bool) -> list[str]:
    """Return neighbours in the order in which the edges to them were recorded."""
    edges = graph.in_edges(node, data="order") if before else graph.out_edges(node, data="order")
    return [edge[0] if before else edge[1] for edge in sorted(edges, key=lambda edge: edge[2])]


def footer(graph: nx.DiGraph, *, down: bool, style: Style = UNICODE) -> str:
    """Return the line that counts what is shown, and says what is not."""
    kinds = [kind for _, kind in graph.nodes(data="kind")]
    counts = [(kinds.count(kind), kind) for kind in ("version", "run")]
    if places := kinds.count(EXTERNAL):
        counts.append((places, EXTERNAL))
    said = ", ".join(f"{count:,} {kind}{'s' * (count != 1)}" for count, kind in counts)
    beyond = sum(1 for _, cut in graph.nodes(data="cut") if cut)
    depth = graph.graph["depth"]
    rest = "nothing left out"
    if beyond:
        side = "downstream" if down else "upstream"
        more = f"{beyond:,} version{'s' * (beyond != 1)} ha{'ve' if beyond != 1 else 's'} more {side}"
        rest = f"{more} than was selected" if depth is None else f"depth {depth}: {more}"
    return f"{len(kinds):,} node{'s' * (len(kinds) != 1)}: {said}{style.separator}{rest}"


def lineage_document(graph: nx.DiGraph) -> dict[str, Any]:
    """Return a lineage graph as JSON values: `schema` 1, roots, nodes and edges; bytes are integers, times UTC.

    Edges point the way that data flows. `complete` is False where `depth` ended the walk; such nodes have `cut`.
    """
    nodes = []
    for node, data in graph.nodes(data=True):
        shown = data["record"].to_json()
        if data["kind"] == "version":
            shown["created"] = iso_time(data["record"].created)
            shown["newer"] = None if data["newer"] is None else f"v{data['newer']}"
            shown["cut"] = data["cut"]
        nodes.append({"node": node, "kind": data["kind"], **shown})
    edges = [
        {"from": tail, "to": head, "kind": data["kind"], "time": iso_time(data["time"]), **data["data"]}
        for tail, head, data in sorted(graph.edges(data=True), key=lambda edge: edge[2]["order"])
    ]
    return {
        "schema": 1,
        "roots": list(graph.graph["roots"]),
        "upstream": graph.graph["up"],
        "downstream": graph.graph["down"],
        "depth": graph.graph["depth"],
        "complete": not any(node.get("cut") for node in nodes),
        "nodes": nodes,
        "edges": edges,
    }
