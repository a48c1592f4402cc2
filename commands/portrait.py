"""`art show`: everything worth knowing about one version, on one screen.

Knows records, runs, events and manifests, and how the facts are found; must not know streams. What is not known is left
out, never made up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..artifacts.content import Content
from ..artifacts.fetching import chunks_of
from ..artifacts.history import end_of
from ..artifacts.manifest import Change, Entry, diff
from ..display import Cell, Value, count_of, iso, when
from ..lineage.printing import print_size
from ..storage.digest import Digest
from .views import LATEST, event_json, event_text, external_text, version_json

if TYPE_CHECKING:
    from ..artifacts.records import ExternalRecord, VersionRecord
    from ..lineage.runs import RunRecord
    from ..lineage.signing.signatures import Signature
    from ..storage.events import Event
    from ..store import Store

__all__ = ["Portrait", "document_of", "headline_of", "new_since", "paint", "pairs_of"]

CHANGES = 10_000  # between two versions, past which it takes too long to say what is new
SHOWN = 6  # inputs, products or metadata that are named
WIDEST = 40  # characters of one metadata value


@dataclass(frozen=True, slots=True)
class Portrait:
    """What is known of a version."""

    version: VersionRecord
    previous: VersionRecord | None
    new_bytes: int | None  # that the previous version does not have; None where that is not known
    run: RunRecord | None  # that first produced it
    inputs: list[VersionRecord]  # of that run
    users: list[RunRecord]
    products: list[VersionRecord]  # of the runs that used it
    moves: list[Event]  # that gave it an alias which meant something else before, or gave a reason
    signatures: list[Signature]  # whether they hold is not known
    places: list[ExternalRecord]  # outside the store, that it has external entries of
    ending: list[Event]  # that deleted it, and that purged it


def paint(store: Store, version: VersionRecord) -> Portrait:
    """Find what is known of a version."""
    previous = store.catalog.previous(version)
    run = store.logged_by(version)
    input_ids = store.ledger.edges(run.id)[0] if run is not None else []
    product_ids = store.ledger.products(version.id)
    records = store.catalog.records([*input_ids, *product_ids])
    return Portrait(
        version=version,
        previous=previous,
        new_bytes=new_since(store, previous, version) if previous is not None and version.state != "purged" else None,
        run=run,
        inputs=[records[one] for one in dict.fromkeys(input_ids)],
        users=store.used_by(version),
        products=[records[one] for one in product_ids],
        moves=[one for one in store.catalog.moves(version) if one.data["from"] is not None or one.reason is not None],
        signatures=store.signatures(version),
        places=store.catalog.references_of(version.digest) if version.refers else [],
        ending=[]
        if version.state == "live"
        else store.engine.database.read(lambda connection: end_of(connection, version)),
    )


def new_since(store: Store, previous: VersionRecord, version: VersionRecord) -> int | None:
    """Return how many bytes of a version's files are in no file that changed or went since the previous one.

    What did not change is neither read nor counted. None where more than CHANGES paths differ.
    """
    chunks = store.engine.chunks
    old, new = (Content(one.digest, chunks).manifest for one in (previous, version))
    changes: list[Change] = []
    for change in diff(old, new):
        changes.append(change)
        if len(changes) > CHANGES:
            return None

    def pieces(entry: Entry) -> dict[bytes, int]:
        if entry.external is not None:  # what is elsewhere is nowhere new
            return {}
        return {entry.digest: entry.size} if entry.recipe is None else dict(chunks_of(entry, chunks))

    known = {digest for one in changes if one.old is not None for digest in pieces(one.old)}
    added = {digest: size for one in changes if one.new is not None for digest, size in pieces(one.new).items()}
    return sum(size for digest, size in added.items() if digest not in known)


# As text


def pairs_of(one: Portrait) -> list[tuple[str, Value]]:
    """Return names and values: short for people, whole for programs."""
    version = one.version
    digest = Digest(version.digest)
    found: list[tuple[str, Value]] = [
        ("digest", Cell(f"{digest.short}…   (--json for all)", str(digest))),
        ("content", _content(one)),
        ("created", Cell(f"{when(version.created)}, {version.actor}", f"{iso(version.created)}, {version.actor}")),
    ]
    found += [(event.kind.partition(".")[2], _who(event)) for event in one.ending]
    if version.description:
        found.append(("about", version.description))
    if one.run is not None:
        found.append(("made by", _run(one.run)))
    if one.inputs:
        found.append(("from", _some([_name(other, version) for other in one.inputs], "  ")))
    if one.places:
        places = [f"{place.url} ({count_of(place.objects, 'object')})" for place in one.places]
        found.append(("refers to", _some(places, "  ")))
    if one.users:
        users = count_of(len(one.users), "run")
        products = _some([_name(other, version, aliases=True) for other in one.products], ", ")
        found.append(
            ("used by", Cell(f"{users} → {products.shown}", f"{users} → {products.plain}") if one.products else users)
        )
    if version.metadata:
        shown = _some([f"{key} {_short(value)}" for key, value in version.metadata.items()], " · ").shown
        found.append(("metadata", Cell(shown, json.dumps(version.metadata, ensure_ascii=False))))
    found += [(move.data["alias"], _move(move)) for move in one.moves]
    found += [("signed by", _signature(signature, version)) for signature in one.signatures]
    if version.state == "live":
        found.append(("get", f"art get {version.ref}"))
    return found


def headline_of(version: VersionRecord) -> str:
    """Say in a line what a version is and which names it has."""
    parts = [version.type]
    if version.state != "live":
        parts.append(version.state + ("" if version.deleted is None else f" {when(version.deleted)}"))
    if version.aliases:
        parts.append(" ".join(version.aliases))
    if version.tags:
        parts.append(f"tag{'s' * (len(version.tags) > 1)} {', '.join(version.tags)}")
    return " · ".join(parts)


def _content(one: Portrait) -> str:
    text = f"{count_of(one.version.file_count, 'file')}, {print_size(one.version.size)}{external_text(one.places)}"
    if one.previous is None or one.new_bytes is None:
        return text
    what = print_size(one.new_bytes) if one.new_bytes else "nothing"
    return f"{text}; {what} not in {one.previous.version}"


def _run(run: RunRecord) -> str:
    parts = [f"{run.job_type} {run.id}" if run.job_type else run.id]
    if run.name != run.id:
        parts[0] += f' "{run.name}"'
    parts.append(run.state)
    if run.commit is not None:
        parts.append(run.commit[:7] + (" + diff" if run.dirty else ""))
    if run.repeats:
        parts.append(f"repeats {' '.join(run.repeats)}")
    return ", ".join(parts)


def _name(other: VersionRecord, beside: VersionRecord, *, aliases: bool = False) -> str:
    text = other.name if other.project == beside.project else other.ref
    named = [one for one in other.aliases if one != LATEST] if aliases else []
    if other.state != "live":
        named.append(other.state)
    return f"{text} ({', '.join(named)})" if named else text


def _some(parts: Sequence[str], between: str) -> Cell:
    """Join what there is; people are told past SHOWN how many more there are."""
    rest = len(parts) - SHOWN
    return Cell(between.join([*parts[:SHOWN], f"{rest} more"] if rest > 0 else parts), between.join(parts))


def _move(move: Event) -> Cell:
    moved = event_text(move).removeprefix(f"{move.data['alias']} ")
    who = _who(move)
    return Cell(f"{moved}, {who.shown}", f"{moved}, {who.plain}")


def _who(event: Event) -> Cell:
    """Say when something was done, by whom, and why."""
    reason = f': "{event.reason}"' if event.reason else ""
    return Cell(*(f"{time}, {event.actor}{reason}" for time in (when(event.time), iso(event.time))))


def _signature(one: Signature, version: VersionRecord) -> Cell:
    """Say who claims to have signed; whether that is so is for another command."""
    shown = f"{one.signatory.short}, {when(one.time)}; `art verify-signature {version.name}` checks it"
    return Cell(shown, f"{one.signatory}, {iso(one.time)}, {one.actor}")


def _short(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict):
        text = "{" + count_of(len(value), "key") + "}"
    elif isinstance(value, list):
        text = "[" + count_of(len(value), "value") + "]"
    else:
        text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


# As JSON


def document_of(one: Portrait) -> dict[str, Any]:
    """Return what `--json` prints of it."""
    return {
        **version_json(one.version),
        "previous": None if one.previous is None else one.previous.version,
        "new_bytes": one.new_bytes,
        "made_by": None if one.run is None else one.run.to_json(),
        "from": [other.ref for other in one.inputs],
        "references": [place.to_json() for place in one.places],
        "used_by": [run.to_json() for run in one.users],
        "products": [other.ref for other in one.products],
        "moves": [event_json(move) for move in one.moves],
        "signatures": [signature.to_json() for signature in one.signatures],
        "ending": [event_json(event) for event in one.ending],
    }
