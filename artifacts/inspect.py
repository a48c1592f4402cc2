"""Checking versions: whether every page, recipe and chunk that a version needs is still there.

Knows versions, and hands packs to storage and trees to `losses`. Changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from ..storage.check import CheckReport, SoundChunks, check_marker, check_packs, read_chunks
from ..storage.check_journal import check_journal
from ..storage.digest import SIZE
from ..storage.errors import IntegrityError
from ..storage.marks import Marks
from ..storage.rows import Compared
from ..storage.verify import share_of
from . import tables
from .catalog import Catalog
from .losses import Loss, Losses, promoted_first
from .moves import Moves
from .records import VersionRecord
from .roots import Named
from .upload import Progress
from .whereabouts import check_external

__all__ = ["StoreReport", "check_store", "count_named", "walk_versions"]

BATCH = 500  # versions whose records are held
PURGED = "purged"
_MENDS = "`art check --journal` says what it was, and `art repair database` mends it"
SEEDS = 1000  # there are so many: few enough to be typed again
_version, _alias = tables.version, tables.alias


@dataclass(slots=True)
class StoreReport(CheckReport):
    """What a check of a whole store found; `lost` says by version and path what people miss, promoted versions first.

    Of a check that read a share of the bytes, `seed` says which.
    """

    lost: list[Loss] = field(default_factory=list)
    seed: int | None = None
    external: int = 0  # entries that were looked at where they are


def check_store(
    catalog: Catalog,
    *,
    read_data: bool | float = False,
    seed: int | None = None,
    named: Sequence[Named] = (),
    external: bool = False,
    compared: Sequence[Compared] = (),
    progress: Progress | None = None,
) -> StoreReport:
    """Check a whole store: packs, index, journal, and every version that is not purged; `named` are chunks of others.

    `read_data` is the share of the bytes that is read, too. What is not in the store is counted, or with `external`
    looked at where it is. With `compared`, rows are compared with what the journal says. InvalidInput where the share
    is not 0 to 1.
    """
    report = StoreReport()
    engine = catalog.engine
    if read_data:
        share_of([], float(read_data))  # refused before the work, not after
        report.seed = None if read_data == 1 else secrets.randbelow(SEEDS) if seed is None else seed
    sound = SoundChunks(engine.chunks)
    check_marker(engine, report)
    moves = Moves()
    told = progress if compared else None
    check_journal(engine, report, compared, lambda events: told(events, 0) if told else None, moves.look)
    moves.tell(report)
    packs = check_packs(engine, report, sound)
    if read_data:
        read_chunks(engine, report, sound, share_of(packs, float(read_data), report.seed or 0))
    with Marks() as seen, Marks() as lost:
        losses = Losses(sound, seen, lost)
        try:
            for version in walk_versions(catalog, losses):
                report.versions += 1
                if progress is not None:
                    progress(1, version.size)
                if not _is_digest(version.digest):
                    report.wrong(version.ref, f"its digest in the database is none; {_MENDS}")
        except IntegrityError as error:  # of the database: what of a version is lost, is listed
            report.wrong("database", str(error))
        absent = count_named(catalog, losses, named)
    _look_outside(catalog, report, external=external)
    report.lost = losses.found
    for one in losses.found:
        aliases = f" ({', '.join(one.aliases)})" if one.aliases else ""
        report.wrong(one.where, one.what + aliases)
    if losses.more:
        report.wrong("versions", f"{losses.more:,} more losses are not listed")
    if absent:
        report.wrong("runs", f"{absent} chunks that runs name are lost: uncommitted changes, or lists of packages")
    return report


def _is_digest(value: object) -> bool:
    """Whether this may be a version's digest: somebody with a shell may have written anything there."""
    return isinstance(value, bytes) and len(value) == SIZE


def _look_outside(catalog: Catalog, report: StoreReport, *, external: bool) -> None:
    if external:
        check_external(catalog, report)
    elif counted := catalog.count_external():
        entries = "entry is" if counted == 1 else "entries are"
        report.notes.append(f"{counted:,} external {entries} elsewhere; `art check --external` looks there")


def walk_versions(catalog: Catalog, losses: Losses) -> Iterator[VersionRecord]:
    """Walk and yield every version that is not purged, those first that have an alias which somebody chose."""
    wanted = select(_version.c.id, _alias.c.key).outerjoin(_alias, _alias.c.version == _version.c.id)
    kept = wanted.where(_version.c.state != PURGED).order_by(_version.c.id)
    rows = catalog.engine.database.read(lambda connection: connection.execute(kept).all())
    ids = promoted_first((row.id, row.key) for row in rows)
    for start in range(0, len(ids), BATCH):
        for version in catalog.records(ids[start : start + BATCH]).values():
            before = len(losses.found), losses.more
            if _is_digest(version.digest):
                losses.walk(version)
            if (len(losses.found), losses.more) != before and catalog.records([version.id])[version.id].state == PURGED:
                del losses.found[before[0] :]  # a collector was faster: nobody misses it
                losses.more = before[1]
            yield version


def count_named(catalog: Catalog, losses: Losses, named: Sequence[Named]) -> int:
    """Return how many chunks that something besides versions names are lost."""
    count = 0
    for one in named:
        count += losses.require(catalog.engine.database.read(lambda connection, one=one: set(one(connection))))  # type: ignore[misc]
    return count
