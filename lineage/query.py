"""Selectors asked of a store: sets of versions, and the graph of what was selected.

Knows the rows of versions, runs and edges; must not know how a selector is written or a graph is shown. Every question
is answered within one read transaction, over one snapshot.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import networkx as nx
from sqlalchemy import Connection, Select, func, select

from ..artifacts import tables as artifact_tables
from ..artifacts.reading import read_records
from ..artifacts.ref import Ref, fold_name
from ..storage.database import select_in
from ..storage.errors import InvalidInput, InvalidName
from . import tables
from .closure import DOWN, UP, Found, Way, edges_of_runs, edges_of_versions, reached, walk
from .globs import Many, One, matcher
from .graph import EXTERNAL, assemble, lineage_graph, reach
from .runs import PRODUCED, USED
from .select import And, Attribute, Function, Not, Or, Selector, Steps, parse_selector

if TYPE_CHECKING:
    from ..artifacts.catalog import Catalog
    from ..artifacts.records import VersionRecord

__all__ = ["path_graph", "plain_ref", "select_versions", "selected_graph", "selected_ids"]

_version, _collection, _project = artifact_tables.version, artifact_tables.collection, artifact_tables.project
_alias, _tag, _reference = artifact_tables.alias, artifact_tables.tag, artifact_tables.reference
_run, _run_tag, _edge = tables.run, tables.run_tag, tables.edge
_NUMBERS = "SELECT id, number FROM version WHERE collection {in}"


def plain_ref(text: str) -> Ref | None:
    """Return what a text means as a ref; None where it can only be a selector."""
    try:
        return Ref.parse(text)
    except InvalidName:
        return None


def select_versions(catalog: Catalog, text: str, project: str) -> list[VersionRecord]:
    """Return the versions that a selector means, deleted ones included, by project, collection and number.

    `project` is that of bare names. Raises InvalidSelector, and NotFound where a name without globs means nothing.
    """
    wanted = parse_selector(text)

    def work(connection: Connection) -> list[VersionRecord]:
        return list(read_records(connection, sorted(_Asker(connection, catalog, project).ask(wanted))).values())

    return sorted(catalog.engine.database.read(work), key=lambda one: (one.project, one.collection, one.number))


def selected_ids(catalog: Catalog, text: str, project: str) -> set[int]:
    """Return the row ids of the versions that a selector means, without what else is known of them."""
    wanted = parse_selector(text)
    return catalog.engine.database.read(lambda connection: _Asker(connection, catalog, project).ask(wanted))


def selected_graph(
    catalog: Catalog, wanted: str | Ref, project: str, *, down: bool = False, depth: int | None = None
) -> nx.DiGraph:
    """Return the graph of a selector: of `+x`, `x+` and a plain ref the closure, else what was selected.

    A plain ref means `+ref`, with `down` it means `ref+`; `depth` bounds either. Of any other set the graph has the
    versions and the runs that produced them, and `cut` says which came from more than was selected too; of a path it
    has the runs on it alone. Its `roots` are the versions nothing else in it was made from. Raises as
    `select_versions` does, and InvalidInput for `down` and `depth` with a selector, which says these things itself.
    """
    ref = wanted if isinstance(wanted, Ref) else plain_ref(wanted)
    if ref is not None:
        return lineage_graph(catalog, [catalog.resolve(ref, project)], up=not down, down=down, depth=depth)
    tree = parse_selector(str(wanted))
    if down or depth is not None:
        raise InvalidInput(f"down and depth go with a plain ref; in a selector write 2+({wanted}) or ({wanted})+2")
    return _graph_of(catalog, tree, project)


def path_graph(catalog: Catalog, start: str | Ref, end: str | Ref, project: str) -> nx.DiGraph:
    """Return the graph of what lies between two versions, or sets of them, with those of the ends that it joins.

    A plain ref means that version, as everywhere else. The graph is empty where nothing leads from one to the other.
    """
    return _graph_of(catalog, Function("path", (_end(start), _end(end))), project)


def _end(wanted: str | Ref) -> Selector:
    ref = wanted if isinstance(wanted, Ref) else plain_ref(wanted)
    return parse_selector(str(wanted)) if ref is None else One(ref)


def _graph_of(catalog: Catalog, tree: Selector, project: str) -> nx.DiGraph:
    def work(connection: Connection) -> nx.DiGraph:
        asker = _Asker(connection, catalog, project)
        if isinstance(tree, Steps):
            sides = (tree.up != 0 or tree.down == 0, tree.down != 0)
            return reach(connection, sorted(asker.ask(tree.of)), tree.up, tree.down, sides=sides)
        is_path = isinstance(tree, Function) and tree.name == "path"
        return _among(connection, asker.ask(tree), is_path=is_path)

    return catalog.engine.database.read(work)


class _Asker:
    """Answers one selector; sets are of row ids."""

    def __init__(self, connection: Connection, catalog: Catalog, project: str) -> None:
        self._connection = connection
        self._catalog = catalog
        self._project = project

    def ask(self, one: Selector) -> set[int]:
        """Return the versions that a selector means; recurses as deep as the parser lets it nest."""
        match one:
            case One(ref):
                return {self._catalog.resolve_in(self._connection, ref, self._project).id}
            case Many():
                return self._named(one)
            case Attribute():
                return self._ids(_of_attribute(self._connection, one))
            case Steps(of, up, down):
                return self._closure(of, up, UP) | self._closure(of, down, DOWN)
            case Not(of):
                return self._ids(select(_version.c.id)) - self.ask(of)
            case And(parts):
                return self._all_of(parts)
            case Or(parts):
                return set[int]().union(*map(self.ask, parts))
            case Function():
                return self._called(one)

    def _called(self, one: Function) -> set[int]:
        if one.name == "path":
            start, end = one.arguments
            return self._closure(start, None, DOWN) & self._closure(end, None, UP)
        return self._ends(one.arguments[0], UP if one.name == "roots" else DOWN)

    def _ids(self, wanted: Select[Any]) -> set[int]:
        return set(self._connection.execute(wanted).scalars())

    def _all_of(self, parts: tuple[Selector, ...]) -> set[int]:
        """Return what is in all sets; what is in none of some is taken away, so that the store is not listed for it."""
        kept = [self.ask(one) for one in parts if not isinstance(one, Not)]
        gone = [self.ask(one.of) for one in parts if isinstance(one, Not)]
        found = set.intersection(*kept) if kept else self._ids(select(_version.c.id))
        return found.difference(*gone)

    def _named(self, many: Many) -> set[int]:
        numbers = None if many.version is None else matcher(many.version)
        rows = select_in(self._connection, _NUMBERS, self._collections(many))
        return {row[0] for row in rows if numbers is None or numbers.fullmatch(f"v{row[1]}")}

    def _collections(self, many: Many) -> list[int]:
        """Return the collections that a name means: the one, or NotFound; with globs any number of them."""
        if many.collection is not None:
            return [self._catalog.find_collection(self._connection, many.collection, self._project)]
        owned = _collection.join(_project, _project.c.id == _collection.c.project)
        listed = select(_collection.c.id, _collection.c.key, _project.c.key.label("owner")).select_from(owned)
        name, project = matcher(many.name), matcher(many.project or self._project)
        rows = self._connection.execute(listed)
        return [row.id for row in rows if name.fullmatch(row.key) and project.fullmatch(row.owner)]

    def _closure(self, of: Selector, depth: int | None, way: Way) -> set[int]:
        starts = self.ask(of)
        return starts if depth == 0 else reached(self._connection, starts, depth, way)

    def _ends(self, of: Selector, way: Way) -> set[int]:
        """Return where a walk ends: versions beside which is no run with anything but themselves beyond it."""
        found = Found()
        walk(self._connection, found, self.ask(of), None, way)
        beyond: dict[str, set[int]] = defaultdict(set)
        for edge in found.edges:
            if edge.direction == way.far:
                beyond[edge.run].add(edge.version)
        beside = (edge for edge in found.edges if edge.direction == way.near)
        inner = {edge.version for edge in beside if len(beyond[edge.run]) > (edge.version in beyond[edge.run])}
        return set(found.versions) - inner


def _of_attribute(connection: Connection, one: Attribute) -> Select[Any]:
    """Return the statement for the versions of which something is so."""
    value, key = one.value, fold_name(one.value)
    owned = select(_version.c.id).join(_collection, _collection.c.id == _version.c.collection)
    match one.key:
        case "state":
            return select(_version.c.id).where(_version.c.state == value.lower())
        case "type":
            return owned.where(_same(connection, _collection.c.type, value))
        case "project":
            return owned.join(_project, _project.c.id == _collection.c.project).where(_project.c.key == key)
        case "alias":
            return select(_alias.c.version).where(_alias.c.key == key)
        case "external":  # a folder means what is in it, too
            url = _reference.c.url
            at = func.substr(url, 1, len(value)) == value if value.endswith("/") else url == value
            return select(_reference.c.version).where(at)
        case "tag":
            return select(_tag.c.version).where(_same(connection, _tag.c.name, value))
    return _of_run(connection, one)


def _of_run(connection: Connection, one: Attribute) -> Select[Any]:
    """Return the statement for the versions that were produced by a run of which something is so."""
    made = select(_edge.c.version).where(_edge.c.direction == PRODUCED)
    if one.key == "run":
        return made.where(_edge.c.run == one.value)
    if one.key == "run_tag":
        tagged = made.join(_run_tag, _run_tag.c.run == _edge.c.run)
        return tagged.where(_same(connection, _run_tag.c.name, one.value))
    column = _run.c[one.key.removeprefix("run_")]
    return made.join(_run, _run.c.id == _edge.c.run).where(_same(connection, column, one.value))


def _same(connection: Connection, column: Any, value: str) -> Any:
    """Return the condition that a name is one that differs by case at most, by our rule and not by the database's."""
    known = connection.execute(select(column).distinct().where(column.is_not(None))).scalars()
    return column.in_([one for one in known if fold_name(one) == fold_name(value)])


def _among(connection: Connection, versions: set[int], *, is_path: bool) -> nx.DiGraph:
    """Return the graph of versions and the runs that produced them; of a path, those that also used one of them."""
    found = _found_among(connection, versions, is_path=is_path)
    graph = assemble(connection, found, (), {"up": True, "down": False, "depth": None})
    if is_path:  # between the two is no place outside
        graph.remove_nodes_from([node for node, kind in graph.nodes(data="kind") if kind == EXTERNAL])
    graph.graph["roots"] = _last(graph)
    return graph


def _found_among(connection: Connection, versions: set[int], *, is_path: bool) -> Found:
    found = Found(dict.fromkeys(sorted(versions)))
    made = edges_of_versions(connection, versions, PRODUCED)
    used = edges_of_runs(connection, {edge.run for edge in made}, USED)
    within = {edge.run for edge in used if edge.version in versions}
    without = {edge.run for edge in used if edge.version not in versions}
    found.runs.update((edge.run, None) for edge in made if not is_path or edge.run in within)
    found.cut.update(edge.version for edge in made if edge.run in without)
    for edges, direction in ((made, PRODUCED), (used, USED)):
        inside = (edge for edge in edges if edge.run in found.runs and edge.version in versions)
        found.edges.add([(one.id, one.run, one.version, one.time, one.data) for one in inside], direction)
    return found


def _last(graph: nx.DiGraph) -> list[str]:
    """Return versions from which everything in a graph is found upstream: one of every cycle that nothing leaves."""
    place = {node: at for at, node in enumerate(graph)}  # versions stand before runs
    circles = nx.strongly_connected_components(graph)
    ends = (one for one in circles if all(head in one for node in one for head in graph.successors(node)))
    return sorted((min(one, key=place.__getitem__) for one in ends), key=place.__getitem__)
