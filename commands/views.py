"""What listings say: columns, rows and JSON of records.

Knows records; must not know stores or streams. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..display import Cell, Column, Size, Time, Value, iso
from ..lineage.printing import print_duration, print_size
from ..storage.digest import Digest

if TYPE_CHECKING:
    from ..artifacts.content import Content
    from ..artifacts.manifest import Entry, Folder
    from ..artifacts.records import CollectionRecord, ExternalRecord, VersionRecord
    from ..lineage.runs import RunRecord
    from ..storage.events import Event

__all__ = [
    "COLLECTIONS",
    "FILES",
    "HISTORY",
    "LEVEL",
    "RUNS",
    "VERSIONS",
    "collection_json",
    "collection_row",
    "concerns",
    "event_json",
    "event_row",
    "event_text",
    "external_text",
    "file_json",
    "file_row",
    "level",
    "level_row",
    "run_row",
    "version_json",
    "version_row",
]

COLLECTIONS = (
    Column("NAME", fold=True),
    Column("TYPE"),
    Column("LATEST"),
    Column("VERSIONS", right=True),
    Column("SIZE", right=True),
    Column("UPDATED"),
    Column("ALIASES", fold=True),
)
VERSIONS = (
    Column("VERSION"),
    Column("SIZE", right=True),
    Column("FILES", right=True),
    Column("LOGGED"),
    Column("BY", fold=True),
    Column("ALIASES", fold=True),
    Column("TAGS", fold=True),
    Column("DESCRIPTION", fold=True),
)
LEVEL = (Column("PATH", fold=True), Column("SIZE", right=True), Column("FILES", right=True))
FILES = (Column("PATH", fold=True), Column("SIZE", right=True), Column("DIGEST OR URL", fold=True))
HISTORY = (Column("WHEN"), Column("WHAT", fold=True), Column("WHO", fold=True), Column("WHY", fold=True))
RUNS = (
    Column("RUN"),
    Column("JOB"),
    Column("NAME", fold=True),
    Column("STATE"),
    Column("STARTED"),
    Column("TOOK", right=True),
    Column("COMMIT"),
    Column("BY", fold=True),
    Column("CONFIG", fold=True),
    Column("SUMMARY", fold=True),
    Column("REPEATS", fold=True),
)
LATEST = "latest"
WORDS = 40  # characters of a run's config or summary in a table


def collection_row(one: CollectionRecord, now: int, *, with_project: bool) -> tuple[Value, ...]:
    """Return a collection's row; its aliases but `latest` stand grouped by what they mean."""
    meant: dict[int, list[str]] = {}
    for alias, number in one.aliases.items():
        if alias != LATEST:
            meant.setdefault(number, []).append(alias)
    aliases = "  ".join(f"{','.join(names)}→v{number}" for number, names in sorted(meant.items()))
    return (
        f"{one.project}/{one.name}" if with_project else one.name,
        one.type,
        "" if one.latest is None else f"v{one.latest}",
        str(one.versions),
        Size(one.size),
        Time(one.updated, now),
        aliases,
    )


def collection_json(one: CollectionRecord) -> dict[str, Any]:
    """Return what `--json` prints of a collection."""
    return {
        "project": one.project,
        "name": one.name,
        "type": one.type,
        "description": one.description,
        "latest": None if one.latest is None else f"v{one.latest}",
        "versions": one.versions,
        "size": one.size,
        "updated": iso(one.updated),
        "aliases": {alias: f"v{number}" for alias, number in one.aliases.items()},
    }


def version_row(one: VersionRecord, now: int) -> tuple[Value, ...]:
    """Return a version's row."""
    names = [*one.aliases] if one.state == "live" else [one.state, *one.aliases]
    return (
        one.version,
        Size(one.size),
        Cell(f"{one.file_count:,}", str(one.file_count)),
        Time(one.created, now),
        one.actor,
        ",".join(names),
        ",".join(one.tags),
        one.description or "",
    )


def version_json(one: VersionRecord) -> dict[str, Any]:
    """Return what `--json` prints of a version."""
    return {**one.to_json(), "created": iso(one.created), "deleted": iso(one.deleted)}


def level(content: Content, folder: str) -> Iterator[Entry | Folder]:
    """Yield one level of a tree, or the one file that a path names; NotFound where it means nothing."""
    children = content.children(folder)
    first = next(children, None)
    if first is not None:
        yield first
        yield from children
    elif folder:
        yield from content.walk(folder)


def _name(one: Entry | Folder) -> str:
    from ..artifacts.manifest import Folder

    return f"{one.name}/" if isinstance(one, Folder) else one.path.rpartition("/")[2]


def level_row(one: Entry | Folder) -> tuple[Value, ...]:
    """Return the row of a file or a folder."""
    from ..artifacts.manifest import Folder

    count = one.entries if isinstance(one, Folder) else 1
    shown = f"{count:,}" if isinstance(one, Folder) else "" if one.external is None else "external"
    return (_name(one), Size(one.size), Cell(shown, str(count)))


def external_text(places: Sequence[ExternalRecord]) -> str:
    """Say how much of a version is elsewhere; nothing where nothing is."""
    count, size = sum(one.objects for one in places), sum(one.size for one in places)
    return (f"; {count:,} external" + (f", {print_size(size)} elsewhere" if size else "")) if count else ""


def file_row(one: Entry) -> tuple[Value, ...]:
    """Return the row of a file under its whole path, with its digest, or the URL where its bytes are."""
    digest = Digest(one.digest)
    where = Cell(digest.short, str(digest)) if one.external is None else one.external.url
    return (one.path, Size(one.size), where)


def file_json(one: Entry | Folder, folder: str) -> dict[str, Any]:
    """Return what `--json` prints of a file, or of a folder that lies in `folder`."""
    from ..artifacts.manifest import Folder

    if isinstance(one, Folder):
        path = f"{folder}/{one.name}" if folder else one.name
        return {"path": path, "kind": "folder", "files": one.entries, "size": one.size}
    found = {
        "path": one.path,
        "kind": "file",
        "size": one.size,
        "digest": str(Digest(one.digest)),
        "executable": one.executable,
    }
    if one.external is not None:
        there = one.external
        found |= {"kind": "external", "url": there.url, "etag": there.etag, "version": there.version}
    return found


def run_row(one: RunRecord, now: int) -> tuple[Value, ...]:
    """Return a run's row."""
    took = one.duration
    commit = one.commit or ""
    mark = "+" if one.dirty else ""
    return (
        one.id,
        one.job_type or "",
        "" if one.name == one.id else one.name,
        one.state,
        Time(one.created, now),
        Cell("", "") if took is None else Cell(print_duration(took), f"{took / 1e6:.6f}"),
        Cell(commit[:7] + mark if commit else "", commit + mark if commit else ""),
        one.actor,
        _values_cell(one.config),
        _values_cell(one.summary),
        " ".join(one.repeats),
    )


def _values_cell(values: dict[str, Any]) -> Cell:
    """Return what tells runs apart, short for people and whole for programs."""
    short = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in values.items()}
    text = " ".join(f"{key}={value}" for key, value in short.items())
    return Cell(text if len(text) <= WORDS else text[: WORDS - 1] + "…", json.dumps(values) if values else "")


def event_row(one: Event, now: int) -> tuple[Value, ...]:
    """Return the row of what happened to a collection."""
    return (Time(one.time, now), event_text(one), one.actor, one.reason or "")


def event_json(one: Event) -> dict[str, Any]:
    """Return what `--json` prints of an event."""
    return {
        "seq": one.seq,
        "time": iso(one.time),
        "kind": one.kind,
        "subject": one.subject,
        "actor": one.actor,
        "reason": one.reason,
        "data": one.data,
    }


def concerns(one: Event, number: int) -> bool:
    """Whether an event of a collection is about a version: made, edited, given a name or stripped of one."""
    return number in {one.data.get("number"), one.data.get("from"), one.data.get("to")}


def event_text(one: Event) -> str:
    """Say in words what happened to a collection.

    >>> from lineart.storage.events import Event
    >>> event_text(Event("alias.set", "a/b", {"alias": "best", "from": 6, "to": 7}, None, 0, "ann"))
    'best v6 → v7'
    """
    data = one.data
    version = f"v{data.get('number')}"
    if one.kind in {"alias.set", "alias.removed"}:
        before, after = ("none" if data[end] is None else f"v{data[end]}" for end in ("from", "to"))
        return f"{data['alias']} → {after}" if data["from"] is None else f"{data['alias']} {before} → {after}"
    if one.kind == "version.logged":
        count = data["file_count"]
        return f"{version} logged: {count:,} file{'s' * (count != 1)}, {print_size(data['size'])}"
    if one.kind == "version.edited":
        changed = [name for name in ("description", "metadata", "tags") if name in data]
        return f"{version} edited: {', '.join(changed)}"
    if one.kind == "collection.created":
        return f"collection made, type {data['type']}"
    if one.kind == "version.purged":
        return f"{version} gone for good"
    if one.kind in {"version.deleted", "version.restored"}:
        return f"{version} {one.kind.partition('.')[2]}"
    if one.kind == "version.signed":
        return f"{version} signed by {data['identity'] or 'key ' + data['fingerprint'][:15] + '…'}"
    return f"{one.kind} {version}" if "number" in data else one.kind
