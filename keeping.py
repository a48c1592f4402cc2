"""The half of a store that keeps it in order: deleting versions and bringing them back, freeing, checking, mending.

Ties the parts together, as `store.py` does. Must not hold logic of its own.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from .artifacts.ref import Ref

if TYPE_CHECKING:
    from .artifacts.catalog import Catalog
    from .artifacts.inspect import StoreReport
    from .artifacts.mending import Mended
    from .artifacts.records import VersionRecord
    from .artifacts.roots import Named
    from .artifacts.tombstones import Cleanup
    from .artifacts.upload import Progress
    from .storage.gc import Marked
    from .storage.rows import Compared

__all__ = ["Keeping", "compared_tables"]


class Keeping:
    """What a store offers to those who look after it; whatever takes away is an event with an actor and a reason."""

    catalog: Catalog
    project: str

    def progress(self, what: str) -> Progress | None:
        """Return what is to be told of long work, if anybody watches."""
        raise NotImplementedError

    def delete(
        self, *versions: str | Ref | VersionRecord, force: bool = False, reason: str | None = None
    ) -> list[VersionRecord]:
        """Delete versions, all or none, and return what is left of them: tombstones that `restore` brings back.

        Their numbers are never used again, and lineage still shows them. Raises Conflict, naming them, where an alias
        other than `latest` means one, or a version was made from one that is not deleted with it, unless `force`, which
        takes the aliases away. `latest` moves to the newest version that is left.
        """
        from .artifacts.tombstones import delete_versions
        from .lineage.edges import dependants

        found = [self.catalog.meant(one, self.project, guess=False) for one in versions]
        return delete_versions(self.catalog, found, force=force, reason=reason, needed=dependants)

    def blockers(self, versions: list[VersionRecord]) -> list[str]:
        """Say what needs each of some versions that are to be deleted together; nothing where they may go."""
        from .artifacts.tombstones import blockers
        from .lineage.edges import dependants

        live = [one for one in versions if one.state == "live"]
        return self.catalog.engine.database.read(lambda connection: blockers(connection, live, dependants))

    def restore(self, version: str | Ref | VersionRecord, *, reason: str | None = None) -> VersionRecord:
        """Bring a deleted version back; one that is not deleted stays as it is.

        That can be done for seven days at least, and until a collection has purged it; NotFound after that. Aliases
        that a forced deletion took are not given back, for they may mean another version by now (`aliases_taken` tells
        which they were), but for `latest`, where only deletions have moved it since.
        """
        from .artifacts.tombstones import restore_version

        return restore_version(self.catalog, self.catalog.meant(version, self.project, guess=False), reason=reason)

    def aliases_taken(self, version: str | Ref | VersionRecord) -> dict[str, str | None]:
        """Return the aliases that the last deletion of a version took, and what each means now: `"v3"`, or None."""
        from .artifacts.tombstones import aliases_taken

        return aliases_taken(self.catalog, self.catalog.meant(version, self.project, guess=False))

    def gc(
        self,
        *,
        dry_run: bool = False,
        grace: timedelta = timedelta(days=7),
        reason: str | None = None,
        marked: Marked | None = None,
    ) -> Cleanup:
        """Free every byte that nothing needs; with `dry_run`, only say what would be freed.

        Versions that were deleted longer than `grace` ago are purged first: their bytes are gone for good then. May be
        interrupted at any point, run from several machines at once, and run while others log. Raises IntegrityError
        where a version cannot be read: what it needs is not known then, and nothing is collected. `marked` holds
        what a dry run found to be needed; the collection that is given it next does not look for that again.
        """
        from .artifacts.tombstones import collect

        return collect(
            self.catalog,
            grace=grace,
            reason=reason,
            named=_named(),
            dry_run=dry_run,
            marked=marked,
            progress=self.progress("gc"),
        )

    def check(
        self,
        *,
        read_data: bool | float = False,
        seed: int | None = None,
        external: bool = False,
        journal: bool = False,
    ) -> StoreReport:
        """Verify the store's structure: marker, index, packs, pages, journal; with `read_data` every byte.

        `read_data` may be a share of the bytes, such as 0.05: consecutive seeds read consecutive shares, rounded up to
        whole packs; without a seed it is any share. With `external`, the places of external entries are asked whether
        they are what they were, too. With `journal`, the database's rows are compared with what all events say: some
        12 seconds for 100,000 of them; `rows` of the report tells. Raises InvalidInput for a share that is not 0 to 1.
        """
        from .artifacts.inspect import check_store

        return check_store(
            self.catalog,
            read_data=read_data,
            seed=seed,
            named=_named(),
            external=external,
            compared=compared_tables() if journal else (),
            progress=self.progress("check"),
        )

    def repair_journal(self) -> int:
        """Write events into the bucket's journal again that it has lost and the database still has; return how many.

        Deletes nothing, and may be interrupted and repeated. Raises Conflict where bucket and database have different
        events: then they are of two histories.
        """
        from .storage.rejournal import restore_journal

        return restore_journal(self.catalog.engine)

    def repair_index(
        self,
        sources: str | os.PathLike[str] | None = None,
        *,
        read_data: bool | float = False,
        seed: int = 0,
    ) -> Mended:
        """Make the index say what the packs hold, heal what can be healed, and say what versions have lost.

        Deletes nothing: packs that are no sound packs are set aside, in quarantine. What versions miss is looked for in
        other copies, in the cache of this machine, and in the files below `sources`. With `read_data`, that share of
        the bytes is verified, too. May be interrupted and repeated, and run while others log and collect.
        """
        from .artifacts.mending import mend_index

        return mend_index(
            self.catalog,
            read_data=read_data,
            seed=seed,
            sources=sources,
            named=_named(),
            progress=self.progress("repair"),
        )


def compared_tables() -> list[Compared]:
    """Return the tables whose rows follow from events."""
    from .artifacts.rows import COMPARED as OF_ARTIFACTS
    from .lineage.rows import COMPARED as OF_RUNS
    from .storage.rows_check import COMPARED

    return [*COMPARED, *OF_ARTIFACTS, *OF_RUNS]


def _named() -> list[Named]:
    """Return those who name chunks besides versions: what they name is kept."""
    from .lineage.runs import chunks_of_runs
    from .lineage.signing.signatures import chunks_of_signatures

    return [chunks_of_runs, chunks_of_signatures]
