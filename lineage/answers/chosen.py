"""What people name where a question is about versions: one by its ref, or a set by a selector.

Knows refs and selectors; must not know the question.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...artifacts.ref import Ref
from ..query import plain_ref, selected_ids

if TYPE_CHECKING:
    from ...artifacts.catalog import Catalog

__all__ = ["chosen_ids"]


def chosen_ids(catalog: Catalog, wanted: str | Ref, project: str) -> set[int]:
    """Return the row ids of the versions that a ref or a selector means, deleted ones included.

    A plain ref means one version, `latest` where it does not say; a path in it is dropped, since versions are made and
    used whole. `project` is that of bare names. Raises InvalidSelector, and NotFound for names that mean nothing.
    """
    ref = wanted if isinstance(wanted, Ref) else plain_ref(wanted)
    if ref is None:
        return selected_ids(catalog, str(wanted), project)
    return {catalog.resolve(replace(ref, path=None), project).id}
