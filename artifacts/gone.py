"""What to say of a version that is deleted: who did that, when and why, and what brings it back.

Knows the events that end versions; makes errors and raises none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, select

from ..storage.errors import NotFound
from . import tables
from .history import DELETED, end_of
from .reading import read_records

if TYPE_CHECKING:
    from ..storage.events import Event
    from .records import VersionRecord

__all__ = ["Buried", "absent_bytes", "find_buried", "tell_deletion"]

SHOWN = 200  # characters of a reason
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_version = tables.version


class Buried(NamedTuple):
    """A deleted version of a collection in which its content is a version again; `event` is its last deletion."""

    version: VersionRecord
    event: Event | None

    def told(self, again: VersionRecord) -> str:
        """Say that the content of a new version was deleted before."""
        return (
            f"{again.ref} has the content of {self.version.version}, which was deleted{_told(self.version, self.event)}"
        )


def find_buried(connection: Connection, version: int) -> Buried | None:
    """Return the newest deleted version of a new one's collection with the same content; None where there is none."""
    new, same = _version.alias(), _version
    equal = (new.c.collection == same.c.collection) & (new.c.digest == same.c.digest)
    wanted = select(same.c.number, same.c.id).join(new, equal).where(new.c.id == version, same.c.state != "live")
    rows = connection.execute(wanted)
    found = max(((row.number, row.id) for row in rows), default=None)  # SQL, asked for it, would look at all versions
    if found is None:
        return None
    record = read_records(connection, [found[1]])[found[1]]
    return Buried(record, _deletion(connection, record))


def absent_bytes(connection: Connection, version: VersionRecord) -> NotFound:
    """Say that a version is deleted, and whether it can be brought back."""
    told = _told(version, _deletion(connection, version))
    if version.state == "purged":
        return NotFound(f"{version.ref} was deleted{told} and its bytes are gone; its history is still there")
    return NotFound(f"{version.ref} is deleted{told}; `art restore {version.ref}` brings it back")


def tell_deletion(event: Event) -> str:
    """Say who deleted something, when and why: `ana@gpu07, 2026-05-02 14:03 UTC: "bad labels"`."""
    when = f"{event.actor}, {_EPOCH + timedelta(microseconds=event.time):%Y-%m-%d %H:%M} UTC"
    if not event.reason:
        return when
    cut = "…" if len(event.reason) > SHOWN else ""
    return f'{when}: "{event.reason[:SHOWN]}{cut}"'


def _deletion(connection: Connection, version: VersionRecord) -> Event | None:
    return next((one for one in end_of(connection, version) if one.kind == DELETED), None)


def _told(version: VersionRecord, event: Event | None) -> str:
    """Return what stands behind `deleted`; nothing where no event says it, as in a database that is being mended."""
    if event is None:
        return ""
    more = f"; `art history {version.ref}` has all of it" if event.reason and len(event.reason) > SHOWN else ""
    return f" ({tell_deletion(event)}{more})"
