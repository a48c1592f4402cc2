"""Runs and datasets of other tools, recorded in a store as if they had been ours.

Knows what OpenLineage events come to (`incoming.py`) and the rows of versions, runs and edges; must not know lines or
files. Reads nothing from anywhere: what a dataset holds stays where it is. Importing the same events again changes
nothing; how they come in files and in which order does not matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3
from sqlalchemy import select, text

from ...artifacts import tables as artifact_tables
from ...artifacts.collection import CollectionRow, NewVersion, make_project, open_collection, settle_version
from ...artifacts.entry import EXTERNAL, UNSEEN, Entry, External
from ...artifacts.manifest import Root, build
from ...artifacts.ref import fold_name
from ...artifacts.references import Tally
from ...storage.pack import PackKind, encode
from .. import tables
from ..runs import PRODUCED, USED, read_runs, subject_of
from .incoming import Batch, Seen, Skipped, read_events
from .names import ORIGIN, DatasetId, join_url, namespace_of, origin
from .runs_imported import run_changes, run_id

if TYPE_CHECKING:
    from ...artifacts.catalog import Catalog
    from ...storage.database import Transaction
    from ...storage.session import Session

__all__ = ["Imported", "collection_name", "import_openlineage"]

TYPE = "dataset"
RUNS = 100  # to a transaction: while it lasts, on SQLite nobody else writes
DATASETS = 100  # of no run, to a transaction
PATH = "dataset"  # of the one entry that a dataset's versions have
_SLUG = 100  # characters
_HASH = 6  # bytes
_OTHER = re.compile(r"[^A-Za-z0-9_.]+")
_NUMBER = re.compile(r"v(0|[1-9][0-9]{0,17})")
_project, _collection, _version = artifact_tables.project, artifact_tables.collection, artifact_tables.version
_edge, _run = tables.edge, tables.run


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found and did.

    `events` is how many were read; `runs`, `versions` and `edges` are those that are new, `updated` the runs known
    before of which something new was learnt. `facets_left_out` are those too large or too deep to be kept.
    """

    events: int
    runs: int = 0
    updated: int = 0
    versions: int = 0
    edges: int = 0
    facets_left_out: int = 0
    skipped: tuple[Skipped, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        skipped = [one._asdict() for one in self.skipped]
        return {
            "events": self.events,
            "runs": self.runs,
            "updated": self.updated,
            "versions": self.versions,
            "edges": self.edges,
            "facets_left_out": self.facets_left_out,
            "skipped": skipped,
        }


def import_openlineage(
    catalog: Catalog, lines: Iterable[str | bytes], project: str, *, keep_going: bool = False
) -> Imported:
    """Record the runs that OpenLineage events tell of, with the datasets that they used and made, in a project.

    All lines are read before anything is recorded: InvalidInput for one that is no event, unless `keep_going`. Then
    100 runs are recorded to a transaction; what is interrupted may be done again.
    """
    batch = read_events(lines, catalog.engine.marker.store_id, keep_going=keep_going)
    done = Imported(
        events=batch.events,
        facets_left_out=batch.facets_left_out,
        skipped=tuple(sorted(batch.skipped.values(), key=lambda one: one.line)),
    )
    for part in _parts(batch):
        done = _Import(catalog, project, batch.datasets, part).record(done)
    return done


def collection_name(namespace: str, name: str) -> str:
    """Return the collection of a dataset: its name as far as a name can hold it, and a hash of all of it.

    >>> collection_name("s3://corpus", "web/2026/")
    'web-2026-53e6a9bdf5a1'
    """
    digits = blake3(f"{namespace}\n{name}".encode()).hexdigest(length=_HASH)
    slug = _OTHER.sub("-", name)[-_SLUG:].strip("-.")
    return f"{slug or TYPE}-{digits}"


class _Part(NamedTuple):
    """What is recorded in one transaction: runs, and all datasets that they name, in the order of being named."""

    runs: Sequence[Seen]
    datasets: Sequence[DatasetId]


def _parts(batch: Batch) -> Iterator[_Part]:
    runs = sorted(batch.runs.values(), key=lambda one: (one.first, one.uuid))
    told: set[DatasetId] = set()
    for start in range(0, len(runs), RUNS):
        part = runs[start : start + RUNS]
        named: dict[DatasetId, None] = {}
        for run in part:
            for side in (run.used, run.made):
                named.update(dict.fromkeys(sorted(side, key=side.__getitem__)))
        told.update(named)
        yield _Part(part, list(named))
    rest = [one for one in batch.alone if one not in told]
    for start in range(0, len(rest), DATASETS):
        yield _Part((), rest[start : start + DATASETS])


class _Place(NamedTuple):
    """Where a dataset's version is, or is to be: its row, and its natural key."""

    id: int
    project: str
    collection: str
    number: int


@dataclass(slots=True)
class _Import:
    """The recording of one part. Everything may be done again, from the start, where the database asks for it."""

    catalog: Catalog
    project: str
    facets: Mapping[DatasetId, Mapping[str, Any]]
    part: _Part

    def record(self, done: Imported) -> Imported:
        """Record it, and return the counts with those of this part."""
        engine = self.catalog.engine

        def attempt() -> Imported:
            with engine.session() as session:
                roots = self._put_manifests(session)
                return engine.write(lambda tx: self._write(tx, session, roots, done))

        return engine.insist(attempt)

    def _put_manifests(self, session: Session) -> dict[DatasetId, Root]:
        pages: dict[bytes, bytes] = {}
        roots = {one: build([_entry(one)], pages.__setitem__) for one in self.part.datasets}
        known = session.known(pages)
        new = [encode(digest, page) for digest, page in pages.items() if digest not in known]
        session.add(new, PackKind.META)
        session.flush()
        return roots

    def _write(self, tx: Transaction, session: Session, roots: Mapping[DatasetId, Root], done: Imported) -> Imported:
        if tx.dialect == "postgresql":  # of two imports at once both would make a run that has no row to lock yet
            tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('lineart.import'))"))
        make_project(tx, self.project)
        places = {one: found for one in self.part.datasets if (found := self._own(tx, one)) is not None}
        others = [one for one in self.part.datasets if one not in places]
        names = {one[:2]: collection_name(*one[:2]) for one in others}
        opened = {name: open_collection(tx, self.project, name, TYPE) for name in sorted(set(names.values()))}
        session.commit(tx)
        versions = 0
        for one in others:
            collection = opened[names[one[:2]]]
            places[one], is_new = self._settle(tx, collection, one, roots[one])
            if is_new:  # the locked row was read before
                opened[collection.name] = collection._replace(next_number=collection.next_number + 1)
                versions += 1
        runs, updated = self._record_runs(tx)
        edges = self._record_edges(tx, places)
        return replace(
            done,
            runs=done.runs + runs,
            updated=done.updated + updated,
            versions=done.versions + versions,
            edges=done.edges + edges,
        )

    def _own(self, tx: Transaction, one: DatasetId) -> _Place | None:
        """Return the version of this store that a dataset is, if it is one."""
        number = _NUMBER.fullmatch(one.version or "")
        if number is None or one.namespace != namespace_of(self.catalog.engine.marker.store_id):
            return None
        project, _, name = one.name.rpartition("/")
        joined = _version.join(_collection, _collection.c.id == _version.c.collection)
        joined = joined.join(_project, _project.c.id == _collection.c.project)
        wanted = select(_version.c.id, _project.c.name, _collection.c.name.label("collection"), _version.c.number)
        here = (_project.c.key == fold_name(project), _collection.c.key == fold_name(name))
        row = tx.execute(wanted.select_from(joined).where(*here, _version.c.number == int(number[1]))).first()
        return None if row is None else _Place._make(row)

    def _settle(self, tx: Transaction, collection: CollectionRow, one: DatasetId, root: Root) -> tuple[_Place, bool]:
        """Return the version that a dataset is, whatever became of it, or make it."""
        here = (_version.c.collection == collection.id, _version.c.digest == root.digest)
        wanted = select(_version.c.id, _version.c.number, _version.c.data).where(*here)
        order = (_version.c.state == "live").desc(), _version.c.number.desc()
        row = tx.execute(wanted.order_by(*order).limit(1)).first()
        facets = self.facets.get(one, {})
        if row is not None:
            place = _Place(row.id, collection.project, collection.name, row.number)
            _add_facets(tx, place, json.loads(row.data), facets)
            return place, False
        tally = Tally([_url(one)])
        tally.add(_url(one), 0)
        metadata = {ORIGIN: {**one._asdict(), "facets": dict(facets)}}
        new = NewVersion(root.digest, root.size, root.entries, None, metadata, references=tally.records())
        made, _ = settle_version(tx, collection, new, ())
        return _Place(made, collection.project, collection.name, collection.next_number), True

    def _record_runs(self, tx: Transaction) -> tuple[int, int]:
        """Record what is new of the runs; return how many are, and of how many others something was learnt."""
        ids = [run_id(one.uuid) for one in self.part.runs]
        tx.lock(select(_run.c.id).where(_run.c.id.in_(ids)).order_by(_run.c.id)).all()
        known = read_runs(tx.connection, ids)
        new = updated = 0
        for id_, seen in zip(ids, self.part.runs, strict=True):
            changes = run_changes(seen, known.get(id_), self.project, tx.now())
            for kind, data in changes:
                tx.record(kind, subject_of(id_), data)
            new += id_ not in known
            updated += id_ in known and bool(changes)
        return new, updated

    def _record_edges(self, tx: Transaction, places: Mapping[DatasetId, _Place]) -> int:
        ids = [run_id(one.uuid) for one in self.part.runs]
        wanted = select(_edge.c.run, _edge.c.version, _edge.c.direction, _edge.c.time).where(_edge.c.run.in_(ids))
        known = {(row.run, row.version, row.direction): row.time for row in tx.execute(wanted)}
        before = len(known)
        for id_, seen in zip(ids, self.part.runs, strict=True):
            for direction, side in ((USED, seen.used), (PRODUCED, seen.made)):
                for one, time in sorted(side.items(), key=lambda item: item[1]):
                    place = places[one]
                    edge = (id_, place.id, direction)
                    if edge not in known or time < known[edge]:
                        known[edge] = time
                        named = {"project": place.project, "collection": place.collection, "number": place.number}
                        tx.record(f"version.{direction}", subject_of(id_), {"run": id_, **named, "time": time})
        return len(known) - before


def _add_facets(tx: Transaction, place: _Place, metadata: dict[str, Any], facets: Mapping[str, Any]) -> None:
    """Add facets that a version came without before: a run's last event says more than its first."""
    told = origin(metadata)
    known = told.get("facets")
    if not isinstance(known, dict) or all(name in known for name in facets):
        return
    changed = {**metadata, ORIGIN: {**told, "facets": {**facets, **known}}}
    named = {"project": place.project, "collection": place.collection, "number": place.number}
    tx.record("version.edited", f"{place.project}/{place.collection}", {**named, "metadata": changed})


def _url(one: DatasetId) -> str:
    return join_url(one.namespace, one.name)


def _entry(one: DatasetId) -> Entry:
    return Entry(PATH, EXTERNAL, 0, UNSEEN, external=External(_url(one), None, one.version))
