"""Lineart: a content-addressed artifact and lineage store for machine learning.

The public face; each name is loaded when it is first used, so that importing it costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifacts.artifact import Artifact
    from .artifacts.ref import Ref
    from .store import Store, create, open  # noqa: A004 - lineart.open is the interface

__version__ = "0.1.0"

_WHERE = {
    "Artifact": "artifacts.artifact",
    "Ref": "artifacts.ref",
    "Store": "store",
    "create": "store",
    "open": "store",
}

__all__ = ["Artifact", "Ref", "Store", "create", "open"]


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{where}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
