"""The statement of a version that is in a store: gathers what `statement.py` needs.

Knows where records, graphs and manifests are to be had; must not know how a statement is written.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ...artifacts.content import Content
from ..graph import lineage_graph
from .statement import FILES, producers, statement

if TYPE_CHECKING:
    from ...artifacts.entry import Entry
    from ...artifacts.records import VersionRecord
    from ..ledger import Ledger

__all__ = ["provenance"]


def provenance(ledger: Ledger, version: VersionRecord) -> dict[str, Any]:
    """Return the in-toto statement of a version: SLSA provenance of the run that first produced it.

    Raises NotFound, and says what to do, for a version that no run produced.
    """
    catalog = ledger.catalog
    graph = lineage_graph(catalog, [version], depth=1)
    run = producers(graph, version.ref)[0]
    siblings = catalog.records(one for one in ledger.edges(run.id)[1] if one != version.id)
    return statement(graph, version.ref, _files(catalog.engine.chunks, version), list(siblings.values()))


def _files(chunks: Any, version: VersionRecord) -> list[Entry] | None:
    """Return the entries of a version, unless they are more than are named or their pages may be gone."""
    if version.file_count > FILES or version.state == "purged":
        return None
    return list(islice(Content(version.digest, chunks).walk(), FILES))
