"""Checking versions: whether every page, recipe and chunk that a version needs is still there.

Knows versions and content, and hands the rest to storage. Changes nothing.
"""

from __future__ import annotations

from sqlalchemy import select

from ..storage import recipe
from ..storage.check import CheckReport, check_journal, check_packs, read_chunks
from ..storage.errors import IntegrityError
from ..storage.tables import rows
from . import tables
from .catalog import Catalog
from .entry import EXTERNAL, Entry, shown
from .manifest import Manifest
from .records import VersionRecord
from .upload import Progress

__all__ = ["check_store"]

BATCH = 4096  # entries whose chunks are looked up at once
_version = rows(tables.Version)


def check_store(catalog: Catalog, *, read_data: bool = False, progress: Progress | None = None) -> CheckReport:
    """Check a whole store: packs, index, journal, and every version that is not purged."""
    report = CheckReport()
    engine = catalog.engine
    check_journal(engine, report)
    check_packs(engine, report)
    wanted = select(_version.c.id).where(_version.c.state != "purged").order_by(_version.c.id)
    ids = engine.database.read(lambda connection: connection.execute(wanted).scalars().all())
    for version in catalog.records(ids).values():
        _check_version(catalog, version, report)
        report.versions += 1
        if progress is not None:
            progress(1, version.size)
    if read_data:
        read_chunks(engine, report)
    return report


def _check_version(catalog: Catalog, version: VersionRecord, report: CheckReport) -> None:
    manifest = Manifest(version.digest, catalog.engine.chunks.get_many)
    count = size = 0
    try:
        batch: list[Entry] = []
        for entry in manifest.walk():
            count += 1
            size += entry.size
            batch.append(entry)
            if len(batch) >= BATCH:
                _check_entries(catalog, version, batch, report)
                batch = []
        _check_entries(catalog, version, batch, report)
    except IntegrityError as error:
        report.wrong(version.ref, str(error))
        return
    if (count, size) != (version.file_count, version.size):
        report.wrong(
            version.ref,
            f"its manifest has {count} entries and {size} bytes, {version.file_count} and {version.size} were logged",
        )


def _check_entries(catalog: Catalog, version: VersionRecord, entries: list[Entry], report: CheckReport) -> None:
    """Look up the chunks of some entries, and name the paths that lost any."""
    chunks = catalog.engine.chunks
    needed: dict[str, list[bytes]] = {}
    for entry in entries:
        if entry.kind == EXTERNAL or not entry.size:
            continue
        try:
            pieces = (
                [entry.digest]
                if entry.recipe is None
                else [one for one, _ in recipe.walk(entry.recipe, entry.size, chunks.get)]
            )
        except IntegrityError as error:
            report.wrong(f"{version.ref}/{entry.path}", str(error))
            continue
        needed[entry.path] = pieces
    found = chunks.locate({one for pieces in needed.values() for one in pieces})
    for path, pieces in needed.items():
        lost = sum(one not in found for one in pieces)
        if lost:
            report.wrong(f"{version.ref}/{path}", f"{lost} of {len(pieces)} chunks of {shown(path)} are lost")
