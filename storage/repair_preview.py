"""What a repair of a database would do: found by the same comparisons, and nothing is changed.

Knows what `repair` knows. A database that is lost is rebuilt in a scratch one, which is gone afterwards.
"""

from __future__ import annotations

from contextlib import closing
from itertools import takewhile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .database import Database
from .engines import locate, make_engine
from .errors import NotFound
from .layout import pack_key
from .pack import PackKind
from .repair import (
    Repaired,
    newest_event,
    repair_database,
    require_marker,
    require_same_history,
    require_store,
    require_whole,
    unknown_packs,
    waiting,
)
from .repair_counters import count_events, counters_said
from .repair_hole import UpToHole, look_behind
from .rows import plans
from .rows_check import LISTED, RowReport
from .rows_mend import find_changes, folded
from .schema import tables as tables_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from .backends.base import Backend
    from .events import Fold
    from .rows import Compared

__all__ = ["preview_repair"]

PATIENCE = 60.0  # seconds that a lock may be waited for


def preview_repair(
    backend: Backend,
    url: str,
    *,
    actor: str,
    folds: Mapping[str, Fold],
    compared: Sequence[Compared] = (),
    kind: type[Database] = Database,
    listed: int | None = LISTED,
    up_to_hole: bool = False,
) -> Repaired:
    """Return what `repair_database` would do now, and raise what it would raise; changes nothing.

    Others may be writing: what they commit meanwhile is not taken for damage.
    """
    marker = require_marker(backend)
    try:
        database = kind.open(url, actor=actor, folds=folds)
    except NotFound:
        if _is_occupied(url):
            raise
        with TemporaryDirectory(prefix="lineart-") as folder:
            scratch = f"sqlite:///{folder}/lineart.db"
            return repair_database(backend, scratch, actor=actor, folds=folds, up_to_hole=up_to_hole)
    with closing(database):
        require_store(backend, database, marker)
        would = Repaired(changed=RowReport(listed=listed))
        return _preview(backend, database, compared, would, up_to_hole=up_to_hole)


def _preview(
    backend: Backend, database: Database, compared: Sequence[Compared], would: Repaired, *, up_to_hole: bool
) -> Repaired:
    journal, newest = UpToHole(backend, database), newest_event(backend)
    known, right = database.read(lambda connection: count_events(connection, newest))
    for one in counters_said(known, right, newest):
        would.changed.add(one)
    require_same_history(backend, database, right.journalled)
    if right.seq < newest and not up_to_hole:
        require_whole(journal, right.journalled)
    for packs in PackKind:
        for name, _, slots in unknown_packs(backend, database, packs):
            if isinstance(slots, str):
                would.damaged.append((pack_key(name.kind, name.id), slots))
            elif database.read(lambda connection, key=name.id: waiting(connection, key)):  # type: ignore[misc]
                would.packs += 1
                would.chunks += len(slots)
    with folded(backend, journal, database, right.seq, database.store().created) as shadow:
        ordered = plans(compared)

        def work(connection: Connection) -> RowReport:  # may be called again, over a later snapshot
            until = count_events(connection, newest)[1].seq
            return find_changes(connection, shadow, ordered, until, listed=would.changed.room)

        would.changed.join(database.read(work))
        begun = shadow.seq
        shadow.fold(takewhile(lambda one: (one.seq or 0) <= newest, journal.events(after=begun)))
        would.events = shadow.seq - begun
    if journal.hole is not None and shadow.seq < newest:
        would.hole = look_behind(backend, journal, database, shadow.seq, newest)
    return would


def _is_occupied(url: str) -> bool:
    """Whether there is something at the place of a database that would be made."""
    location = locate(url)
    if location.path is not None and not location.path.exists():
        return False
    engine = make_engine(location, PATIENCE)
    try:
        with engine.connect() as connection:
            return bool(tables_in(connection))
    finally:
        engine.dispose()
