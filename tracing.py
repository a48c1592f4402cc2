"""The half of a store that says where things come from and what became of them: runs, lineage, selectors.

Ties the parts together, as `store.py` does. Must not hold logic of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import networkx

    from .artifacts.catalog import Catalog
    from .artifacts.history import Held
    from .artifacts.records import VersionRecord
    from .artifacts.ref import Ref
    from .lineage.account import Account
    from .lineage.answers.impact import Impact
    from .lineage.answers.repro_script import Script
    from .lineage.answers.stale import Staleness
    from .lineage.answers.why import Why
    from .lineage.exchange.importing import Imported
    from .lineage.ledger import Ledger
    from .lineage.runs import RunRecord

__all__ = ["Tracing"]


class Tracing:
    """What a store answers about runs and lineage; asking records nothing, only importing does."""

    catalog: Catalog
    ledger: Ledger
    project: str

    def runs(self, project: str | None = None, limit: int | None = None) -> list[RunRecord]:
        """Return runs, newest first."""
        return self.ledger.list(project, limit)

    def run(self, id: str) -> Account:  # noqa: A002 - the interface's word
        """Return all that is known of one run: its record, how it ended, the runs around it, its inputs and products.

        A prefix of an id suffices that no other run has. Raises NotFound, saying what is near, and Conflict, naming the
        runs that a prefix could mean.
        """
        from .lineage.account import account_of

        return account_of(self.ledger, id)

    def logged_by(self, version: VersionRecord) -> RunRecord | None:
        """Return the run that first produced a version."""
        return self.ledger.producer(version.id)

    def used_by(self, version: VersionRecord) -> list[RunRecord]:
        """Return the runs that used a version."""
        return self.ledger.consumers(version.id)

    def graph(self, version: VersionRecord, *, down: bool, depth: int | None) -> networkx.DiGraph:
        """Return a version's upstream or downstream graph."""
        from .lineage.graph import lineage_graph

        return lineage_graph(self.catalog, [version], up=not down, down=down, depth=depth)

    def lineage(self, selector: str | Ref, *, down: bool = False, depth: int | None = None) -> networkx.DiGraph:
        """Return the graph of what versions were made from and of what was made from them.

        A plain ref means all that it was made from (`+ref`), or with `down` what was made from it (`ref+`); `depth`
        counts steps from version over run to version. A selector says so itself: `"+model:v7"`, `"2+model:v7+1"`; of
        other sets, such as `"path(raw:v0, model:v7)"`, the graph is what was selected and the runs that produced it.
        Nodes carry `kind` and `record`, and versions `cut`, where there is more than the graph has. Raises
        InvalidSelector, whose `position` is where the text goes wrong, and NotFound for names that mean nothing.
        """
        from .lineage.query import selected_graph

        return selected_graph(self.catalog, selector, self.project, down=down, depth=depth)

    def path(self, start: str | Ref, end: str | Ref) -> networkx.DiGraph:
        """Return the graph of what lies between two versions, or between sets that selectors mean.

        It has both ends and every version and run on a way from the one to the other; where there is none, nothing.
        """
        from .lineage.query import path_graph

        return path_graph(self.catalog, start, end, self.project)

    def provenance(self, ref: str | Ref) -> dict[str, Any]:
        """Return how a version came to be, as an in-toto statement with SLSA provenance, to be signed and handed on.

        Its subjects are the version and, where there are at most 1,000, its files, named by their BLAKE3; it describes
        the run that first produced the version. Raises NotFound for a version that no run produced.
        """
        from .artifacts.ref import Ref
        from .lineage.exchange.provenance import provenance

        found = self.catalog.resolve(ref if isinstance(ref, Ref) else Ref.parse(ref), self.project)
        return provenance(self.ledger, found)

    def import_openlineage(self, lines: Iterable[str | bytes], *, keep_going: bool = False) -> Imported:
        """Record the runs that OpenLineage events tell of, one a line or all in one JSON array, in the store's project.

        A dataset becomes a collection, each of its versions a version with one external entry: its bytes stay where
        they are, and nothing is asked there. Importing again what is known changes nothing. Raises InvalidInput for a
        line that is no event, before anything is recorded; with `keep_going`, such lines are passed over and counted.
        """
        from .lineage.exchange.importing import import_openlineage

        return import_openlineage(self.catalog, lines, self.project, keep_going=keep_going)

    def select(self, selector: str) -> list[VersionRecord]:
        """Return the versions that a selector means, deleted ones included, by project, collection and number.

        `store.select("type=model and raw:v0+")` is every model that raw:v0 is in; a name alone is all of a collection.
        Raises InvalidSelector, and NotFound for names that mean nothing; a glob or an attribute may mean no version.
        """
        from .lineage.query import select_versions

        return select_versions(self.catalog, selector, self.project)

    def stale(self, selector: str | Ref | None = None, *, externals: bool = False) -> Staleness:
        """Return what was made from inputs that have newer versions, in the order in which it should be made again.

        Of the versions that a selector means; without one, of those of the project that hold an alias, `latest`
        included. A version is up to date where any run that produced it used the newest inputs, which must be up to
        date themselves; deleted versions are neither judged nor newer. With `externals`, places outside the store are
        asked over the network: where one changed, what refers to it is out of date. Raises InvalidSelector, and
        NotFound.
        """
        from .lineage.answers.stale import stale_versions

        return stale_versions(self.catalog, selector, self.project, externals=externals)

    def impact(self, ref: str | Ref) -> Impact:
        """Return what was made from versions, and what of it holds aliases; a ref, a selector or a URL names them.

        `named` are the versions that hold an alias other than `latest`, `others` the rest, each with the shortest way
        to it; `running` are runs that have used any of it and have not ended. What holds the same files is the same
        data: `same` are the versions elsewhere that do. `held_before` are the aliases that any of it held and lost,
        what was lost last first. Raises InvalidSelector, and NotFound.
        """
        from .lineage.answers.impact import impact_of

        return impact_of(self.ledger, ref, self.project)

    def repro(
        self, ref: str | Ref, *, depth: int | None = None, start: str | Ref | None = None, force: bool = False
    ) -> Script:
        """Return a POSIX shell script that makes a version again, from raw data on, and compares what came out.

        `depth` bounds the steps from version over run to version, `start` names versions that are fetched and not made
        again. Where something was not recorded the script ends, or goes on without it with `force`; its `warnings` say
        where that is and which inputs are deleted, its `needs` what there has to be. Raises NotFound where no run is
        known to have made the version.
        """
        from . import __version__
        from .lineage.answers.repro import plan_of
        from .lineage.answers.repro_script import script_of

        plan = plan_of(self.catalog, ref, self.project, depth=depth, start=start)
        return script_of(plan, store=self.catalog.engine.backend.url, release=__version__, force=force)

    def alias_at(self, ref: str | Ref) -> Held:
        """Return which version an alias meant at a time (`model:production@2026-05-01`), since when and until when.

        NotFound where the collection never had the alias, InvalidInput for a ref without a time.
        """
        from .artifacts.history import alias_at

        return alias_at(self.catalog, ref, self.project)

    def why(
        self,
        old: str | Ref,
        new: str | Ref,
        *,
        depth: int | None = None,
        files: int | None = 50,
        patches: bool = False,
    ) -> Why:
        """Return why one version differs from another: the first points at which their histories part.

        `causes` is the short answer, `pairs` every two versions that were compared on the way, from raw data on.
        `depth` bounds the steps that are followed back, `files` of how many pairs the files are compared; None is all.
        `patches` keeps the texts of uncommitted changes that differ.
        """
        from .artifacts.ref import Ref
        from .lineage.answers.histories import explain

        refs = (one if isinstance(one, Ref) else Ref.parse(one) for one in (old, new))
        ends = (self.catalog.resolve(one, self.project) for one in refs)
        return explain(self.catalog, *ends, depth=depth, files=files, patches=patches)
