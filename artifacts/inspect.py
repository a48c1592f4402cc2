"""Checking versions: whether every page, recipe and chunk that a version needs is still there.

Knows versions and content, and hands the rest to storage. Changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from sqlalchemy import select

from ..storage.check import CheckReport, SoundChunks, check_journal, check_marker, check_packs, read_chunks
from ..storage.errors import IntegrityError
from ..storage.tables import rows
from . import tables
from .catalog import Catalog
from .download import chunks_of
from .entry import EXTERNAL, Entry, shown
from .manifest import Manifest
from .records import VersionRecord
from .upload import Progress

__all__ = ["check_store"]

BATCH = 4096  # entries whose chunks are looked up at once
PIECES = 65_536  # chunks that are
_version = rows(tables.Version)


def check_store(catalog: Catalog, *, read_data: bool = False, progress: Progress | None = None) -> CheckReport:
    """Check a whole store: packs, index, journal, and every version that is not purged."""
    report = CheckReport()
    engine = catalog.engine
    sound = SoundChunks(engine.chunks)
    check_marker(engine, report)
    check_journal(engine, report)
    packs = check_packs(engine, report, sound)
    if read_data:
        read_chunks(engine, report, sound, packs)
    wanted = select(_version.c.id).where(_version.c.state != "purged").order_by(_version.c.id)
    ids = engine.database.read(lambda connection: connection.execute(wanted).scalars().all())
    for version in catalog.records(ids).values():
        _check_version(sound, version, report)
        report.versions += 1
        if progress is not None:
            progress(1, version.size)
    return report


def _check_version(sound: SoundChunks, version: VersionRecord, report: CheckReport) -> None:
    manifest = Manifest(version.digest, sound.get_many)
    count = size = 0
    try:
        batch: list[Entry] = []
        for entry in manifest.walk():
            count += 1
            size += entry.size
            batch.append(entry)
            if len(batch) >= BATCH:
                _check_entries(sound, version, batch, report)
                batch = []
        _check_entries(sound, version, batch, report)
    except IntegrityError as error:
        report.wrong(version.ref, str(error))
        return
    if (count, size) != (version.file_count, version.size):
        report.wrong(
            version.ref,
            f"its manifest has {count} entries and {size} bytes, {version.file_count} and {version.size} were logged",
        )


def _check_entries(sound: SoundChunks, version: VersionRecord, entries: list[Entry], report: CheckReport) -> None:
    """Look up the chunks of some entries, and name the paths that lost any."""
    counted: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    pieces = _pieces(sound, version, entries, report)
    while part := list(islice(pieces, PIECES)):
        found = sound.locate({digest for _, digest, _ in part})
        counted.update(path for path, _, _ in part)
        lost.update(path for path, digest, size in part if digest not in found or found[digest].size != size)
    for path, count in lost.items():
        report.wrong(f"{version.ref}/{path}", f"{count} of {counted[path]} chunks of {shown(path)} are lost")


def _pieces(
    sound: SoundChunks, version: VersionRecord, entries: list[Entry], report: CheckReport
) -> Iterator[tuple[str, bytes, int]]:
    """Yield path, digest and size of every chunk of some entries; what breaks a recipe is reported."""
    for entry in entries:
        if entry.kind == EXTERNAL:
            continue
        try:
            for digest, size in chunks_of(entry, sound):
                yield entry.path, digest, size
        except IntegrityError as error:
            report.wrong(f"{version.ref}/{entry.path}", str(error))
