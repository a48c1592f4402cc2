"""How a version could be made again: the runs that led to it, in order, with what each of them used and produced.

Knows edges, runs and the texts that they recorded; must not know shells (`repro_script.py` writes the plan as one).
A step is one process: runs that one process recorded are one step, because its command can only be run as a whole.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, select

from ...artifacts import tables as artifact_tables
from ...artifacts.history import end_of
from ...artifacts.reading import read_records, read_references
from ...artifacts.ref import Ref
from ...storage.digest import Digest
from ...storage.errors import InvalidInput, NotFound
from ..closure import UP, Edge, Found, edges_of_runs, walk
from ..runs import PRODUCED, USED, RunRecord, read_runs
from .chosen import chosen_ids
from .makers import makers_first
from .ordering import in_order

if TYPE_CHECKING:
    from ...artifacts.catalog import Catalog
    from ...artifacts.records import VersionRecord
    from ...storage.chunks import ChunkStore
    from ...storage.events import Event

__all__ = ["Gone", "Input", "Plan", "Step", "live_twin", "packages_of", "patch_of", "plan_of", "used_and_made"]

_version = artifact_tables.version


class Input(NamedTuple):
    """A version that a run used, and the aliases under which it asked for it."""

    version: VersionRecord
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One process to be run again. Several runs are those that it recorded, in the order of their start."""

    runs: tuple[RunRecord, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[VersionRecord, ...]


class Gone(NamedTuple):
    """An input that is deleted or purged, with no live version of the same content; who did that, when, and why."""

    version: VersionRecord
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a version could be made again: steps, each behind those that make its inputs.

    `fetched` are inputs that no step makes: raw data, and what lies before where the plan begins. Of all inputs, `gone`
    are those that cannot be fetched now; `places` are URLs outside the store that what is fetched refers to.
    """

    wanted: VersionRecord
    steps: tuple[Step, ...]
    fetched: tuple[VersionRecord, ...]
    gone: tuple[Gone, ...] = ()
    places: tuple[str, ...] = ()


def plan_of(
    catalog: Catalog, wanted: str | Ref, project: str, *, depth: int | None = None, start: str | Ref | None = None
) -> Plan:
    """Return how a version could be made again, from raw data on.

    With `depth` at most so many steps from version over run to version, with `start` not beyond the versions that a ref
    or a selector means: what is used there is fetched. Where several runs produced the same content, the first counts.
    Raises NotFound where no run is known to have made it, InvalidInput for a depth below 1.
    """
    if depth is not None and depth < 1:
        raise InvalidInput(f"depth {depth}: to make a version again takes 1 step at least")
    ids = chosen_ids(catalog, wanted, project)
    if len(ids) != 1:
        raise InvalidInput(f"{wanted} means {len(ids)} versions; one can be made again at a time")
    root = ids.pop()
    given = frozenset[int]() if start is None else frozenset(chosen_ids(catalog, start, project))
    return catalog.engine.database.read(lambda connection: _plan(connection, root, depth, given))


def _plan(connection: Connection, root: int, depth: int | None, given: frozenset[int]) -> Plan:
    found = Found()
    walk(connection, found, [root], depth, UP)
    makers: dict[int, list[str]] = defaultdict(list)
    inputs: dict[str, list[Edge]] = defaultdict(list)
    for edge in found.edges:
        if edge.direction == PRODUCED:
            makers[edge.version].append(edge.run)
        else:
            inputs[edge.run].append(edge)
    ordered = makers_first(makers, {run: [edge.version for edge in edges] for run, edges in inputs.items()})
    maker: dict[int, str] = {}  # of each version that is to be made, the run that makes it
    used: dict[str, list[Edge]] = {}
    frontier, seen, step = [root], {root}, 0
    while frontier and (depth is None or step < depth):
        beyond: dict[int, None] = {}
        for version in frontier:
            run = None if version in given and version != root else next(iter(ordered.get(version, ())), None)
            if run is not None and (run in used or inputs[run] or version == root):  # else it is raw
                maker[version] = run
                used[run] = inputs[run]
                beyond.update((edge.version, None) for edge in inputs[run])
        frontier = [one for one in beyond if one not in seen]
        seen.update(frontier)
        step += 1
    if root not in maker:
        record = read_records(connection, [root])[root]
        raise NotFound(f"no run is recorded that made {record.ref}; `art get {record.ref}` fetches it")
    return _assembled(connection, root, maker, used)


def _assembled(connection: Connection, root: int, maker: dict[int, str], used: dict[str, list[Edge]]) -> Plan:
    runs = read_runs(connection, sorted(used))
    products: dict[str, list[int]] = defaultdict(list)
    for edge in edges_of_runs(connection, runs, PRODUCED):
        products[edge.run].append(edge.version)
    ids = {edge.version for edges in used.values() for edge in edges}
    records = read_records(connection, sorted(ids.union(*products.values())))
    processes: dict[Any, list[RunRecord]] = defaultdict(list)
    for run in sorted(runs.values(), key=lambda one: (one.created, one.id)):
        processes[_process(run)].append(run)
    home = {run.id: key for key, those in processes.items() for run in those}
    before = {
        key: {home[maker[edge.version]] for run in those for edge in used[run.id] if edge.version in maker}
        for key, those in processes.items()
    }
    order = in_order(before, lambda key: (processes[key][0].created, processes[key][0].id))
    steps = [_step(processes[key], used, products, records) for key in order]
    made = {version.id for step in steps for version in step.outputs}
    fetched = sorted((records[one] for one in ids - made), key=lambda one: (one.project, one.collection, one.number))
    places = dict.fromkeys(
        place.url for one in fetched if one.refers for place in read_references(connection, one.digest)
    )
    lost = [one for one in map(records.__getitem__, sorted(ids)) if live_twin(connection, one) is None]
    gone = [Gone(one, tuple(end_of(connection, one))) for one in lost]
    return Plan(records[root], tuple(steps), tuple(fetched), tuple(gone), tuple(places))


def live_twin(connection: Connection, version: VersionRecord) -> int | None:
    """Return the row of a version, or of a live one of its collection with the same content; None where none lives."""
    if version.state == "live":
        return version.id
    same = select(_version.c.collection).where(_version.c.id == version.id).scalar_subquery()
    wanted = select(_version.c.id).where(
        _version.c.collection == same, _version.c.digest == version.digest, _version.c.state == "live"
    )
    return connection.execute(wanted.order_by(_version.c.number).limit(1)).scalar_one_or_none()


def _process(run: RunRecord) -> tuple[str, ...]:
    """Return what tells the process of a run from others; a run of which that is not known is one by itself."""
    command, host = run.code.get("command"), run.environment.get("host")
    process = run.environment.get("process") or run.environment.get("pid")
    if not command or not process or not host:
        return (run.id,)
    return (str(host), str(process), json.dumps(command), str(run.code.get("directory")), run.actor)


def _step(
    runs: Sequence[RunRecord],
    used: dict[str, list[Edge]],
    products: dict[str, list[int]],
    records: dict[int, VersionRecord],
) -> Step:
    made = dict.fromkeys(one for run in runs for one in products[run.id])
    aliases: dict[int, dict[str, None]] = {}
    for run in runs:
        for edge in used[run.id]:
            aliases.setdefault(edge.version, {}).update(dict.fromkeys(_aliases(edge)))
    inputs = tuple(Input(records[one], tuple(names)) for one, names in aliases.items() if one not in made)
    return Step(tuple(runs), inputs, tuple(records[one] for one in made))


def _aliases(edge: Edge) -> list[str]:
    known: dict[str, Any] = json.loads(edge.data) if edge.data else {}
    found: list[str] = known.get("aliases", [])
    return found


def used_and_made(connection: Connection, runs: Sequence[str]) -> tuple[list[Input], list[VersionRecord]]:
    """Return what runs used that they did not make, and what they made, as a step does; NotFound for unknown runs."""
    found = read_runs(connection, runs)
    for one in runs:
        if one not in found:
            raise NotFound(f"no run {one!r}; `art runs` lists them")
    used: dict[str, list[Edge]] = defaultdict(list)
    products: dict[str, list[int]] = defaultdict(list)
    for edge in edges_of_runs(connection, runs, USED):
        used[edge.run].append(edge)
    for edge in edges_of_runs(connection, runs, PRODUCED):
        products[edge.run].append(edge.version)
    ids = {edge.version for edges in used.values() for edge in edges}.union(*products.values())
    step = _step([found[one] for one in runs], used, products, read_records(connection, sorted(ids)))
    return list(step.inputs), list(step.outputs)


# Recorded texts


def patch_of(chunks: ChunkStore, run: RunRecord) -> bytes:
    """Return what was not committed when a run started, as `git apply` takes it; NotFound where nothing was."""
    return _text(chunks, run, run.code.get("diff"), "changes that were not committed")


def packages_of(chunks: ChunkStore, run: RunRecord) -> bytes:
    """Return the installed packages of a run, one `name==version` a line; NotFound where nothing was recorded."""
    return _text(chunks, run, run.environment.get("packages"), "installed packages")


def _text(chunks: ChunkStore, run: RunRecord, names: Any, what: str) -> bytes:
    if not isinstance(names, list) or not names:
        raise NotFound(f"run {run.id} recorded no {what}")
    digests = [bytes(Digest.parse(one)) for one in names]
    found = chunks.get_many(digests)
    return b"".join(found[one] for one in digests)
