"""The half of a store that says where things come from and what became of them: runs, lineage, selectors.

Ties the parts together, as `store.py` does. Must not hold logic of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx

    from .artifacts.catalog import Catalog
    from .artifacts.records import VersionRecord
    from .artifacts.ref import Ref
    from .lineage.ledger import Ledger
    from .lineage.runs import RunRecord

__all__ = ["Tracing"]


class Tracing:
    """What a store answers about runs and lineage; asking records nothing."""

    catalog: Catalog
    ledger: Ledger
    project: str

    def runs(self, project: str | None = None, limit: int | None = None) -> list[RunRecord]:
        """Return runs, newest first."""
        return self.ledger.list(project, limit)

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

    def select(self, selector: str) -> list[VersionRecord]:
        """Return the versions that a selector means, deleted ones included, by project, collection and number.

        `store.select("type=model and raw:v0+")` is every model that raw:v0 is in; a name alone is all of a collection.
        Raises InvalidSelector, and NotFound for names that mean nothing; a glob or an attribute may mean no version.
        """
        from .lineage.query import select_versions

        return select_versions(self.catalog, selector, self.project)
