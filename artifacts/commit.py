"""From a draft to a version: upload, manifest, commit, in the order of docs/format.md ("Writing a version").

Knows drafts, sessions and the catalog; must not know runs. Sources stay as they are until the commit, so that the whole
work can be done again where a collector took packs that it relied on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from ..storage.database import Transaction
from ..storage.errors import InvalidInput
from ..storage.pack import PackKind, encode
from ..storage.session import Session
from .catalog import Also, Catalog
from .collection import NewVersion
from .draft import Draft
from .entry import Entry
from .gone import Buried, find_buried
from .manifest import Manifest, Root, build, diff, edit, overlay
from .metadata import encode_json, plain
from .recall import Recall
from .records import ExternalRecord, VersionRecord
from .references import Tally, are_nested
from .stat_cache import Origin, StatCache
from .upload import Progress, upload
from .warned import warn

__all__ = ["Outcome", "Proposal", "commit_draft", "warn_if_empty"]

NO_CACHE = StatCache(None)
CHANGES = 200_000  # held to be made to a base: some 100 MiB
PAGES = 64  # held before the index is asked for all of them at once


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that a version-to-be says of itself."""

    project: str
    name: str
    type: str | None
    draft: Draft
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()
    quiet: bool = False  # no alias moves to it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a draft."""

    version: VersionRecord
    is_new: bool
    new_bytes: int  # that were added to the bucket
    new_chunks: int
    external: int = 0  # entries whose bytes stay where they are
    buried: Buried | None = None  # what was deleted and had the same content; looked for where it is new


def commit_draft(
    catalog: Catalog,
    proposal: Proposal,
    also: Also | None = None,
    progress: Progress | None = None,
    stat_cache: StatCache = NO_CACHE,
) -> Outcome:
    """Log a draft; see `Catalog.log` for `also` and what is returned. Files that `stat_cache` knows are not read.

    Raises SourceChanged where a file is not what was added, and, before anything is read, InvalidInput for a draft of a
    version of another store, Conflict or InvalidName for what the collection cannot take; nothing is recorded then.
    The draft is closed meanwhile, and stays so once it is logged; Conflict where it is already.
    """
    # What was put into a list or a dict of it after it was assigned was not seen.
    proposal = replace(proposal, metadata=plain(proposal.metadata))
    encode_json(proposal.metadata)
    with proposal.draft.taken():
        _require_base(proposal.draft, catalog.engine.marker.store_id)
        catalog.prepare(proposal.project, proposal.name, proposal.type, proposal.aliases, proposal.tags)
        watched = [progress]  # by the first try alone: what is done again is no progress

        def work() -> Outcome:
            is_first = bool(watched)
            recall = Recall(stat_cache, proposal.draft.folders, at_once=is_first and proposal.draft.at_once)
            return _try(catalog, proposal, also, watched.pop() if is_first else None, recall)

        return catalog.engine.insist(work)


def warn_if_empty(version: VersionRecord) -> None:
    """Warn of a version without a file: of metadata alone, or of a pattern that should have found something."""
    if not version.file_count:
        warn(
            f"{version.ref} was logged without a file; if it should have some, look at what was added: a pattern that"
            " matches nothing adds nothing"
        )


def _require_base(draft: Draft, store: str) -> None:
    """Raise InvalidInput where the version that a draft goes on from is in another store: its content is not here."""
    if draft.base is not None and draft.base_store != store:
        raise InvalidInput(
            f"{draft.base_ref}, which this draft goes on from, is in another store: download it from there, and log its"
            " folder here, as a new draft (add_dir)"
        )


def _try(catalog: Catalog, proposal: Proposal, also: Also | None, progress: Progress | None, recall: Recall) -> Outcome:
    draft = proposal.draft
    engine = catalog.engine
    with engine.session([draft.base] if draft.base is not None else []) as session:
        entries = upload(draft.ordered(), session, engine.marker.chunking, recall, progress)
        pages = _Pages(session)
        tally = Tally(draft.references)
        if draft.base is not None:
            root = _edit(catalog, draft, entries, pages)
        else:
            root = build(tally.watch(entries) if draft.references else entries, pages.put)
        pages.flush()
        session.flush()
        references = tally.records() if draft.base is None else _references(catalog, draft, root)
        words = proposal.description, proposal.metadata
        buried: list[Buried | None] = [None]

        def together(tx: Transaction, version: int, is_new: bool) -> None:
            buried[0] = find_buried(tx.connection, version) if is_new else None
            if also is not None:
                also(tx, version, is_new)

        new = NewVersion(
            root.digest, root.size, root.entries, *words, draft.base, references, proposal.quiet, draft.base_ref
        )
        version, is_new = catalog.log(
            proposal.project, proposal.name, proposal.type, new, session, proposal.aliases, proposal.tags, together
        )
        recall.save(draft.ordered, Origin(engine.marker.store_id, version.ref, version.digest))
        external = sum(one.objects for one in references)
        return Outcome(version, is_new, session.new_bytes, session.new_chunks, external, buried[0])


def _edit(catalog: Catalog, draft: Draft, entries: Iterator[Entry], pages: _Pages) -> Root:
    """Change a base manifest: what was removed goes, what was added comes, the rest is not looked at.

    Unless that is more than memory should hold: then everything is.
    """
    assert draft.base is not None
    get = catalog.engine.chunks.get_many
    base = Manifest(draft.base, get)
    going = list(islice((one.path for path in draft.removed for one in base.walk(path)), CHANGES))
    coming = list(islice(entries, CHANGES))
    if max(len(going), len(coming)) == CHANGES:
        return build(overlay(base.walk(), draft.removed, chain(coming, entries)), pages.put)
    changes: dict[str, Entry | None] = dict.fromkeys(going)
    changes.update((one.path, one) for one in coming)
    return edit(draft.base, changes, get, pages.put)


def _references(catalog: Catalog, draft: Draft, root: Root) -> tuple[ExternalRecord, ...]:
    """Return the places that a changed manifest refers to: those of its base, with what changed.

    Only what changed is read, unless a place that is new lies below another or has another below it.
    """
    assert draft.base is not None
    if not draft.refers and not draft.references:
        return ()
    known = catalog.references_of(draft.base) if draft.refers else []
    get = catalog.engine.chunks.get_many
    places = {one.url for one in known}
    new = draft.references - places
    if are_nested(new, places | new):
        tally = Tally(places | new)
        for _ in tally.watch(Manifest(root.digest, get).walk()):
            pass
    else:
        tally = Tally(new, known)
        for change in diff(Manifest(draft.base, get), Manifest(root.digest, get)):
            tally.change(change.old, change.new)
    return tally.records()


class _Pages:
    """Takes pages one by one and stores them many at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held: dict[bytes, bytes] = {}

    def put(self, digest: bytes, page: bytes) -> None:
        """Take a page."""
        self._held[digest] = page
        if len(self._held) >= PAGES:
            self.flush()

    def flush(self) -> None:
        """Store what is held and not known."""
        known = self._session.known(self._held)
        self._session.add(
            [encode(digest, page) for digest, page in self._held.items() if digest not in known], PackKind.META
        )
        self._held = {}
