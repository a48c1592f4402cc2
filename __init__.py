"""Lineart: a content-addressed artifact and lineage store for machine learning.

The public face; each name is loaded when it is first used, so that importing it costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifacts.artifact import Artifact
    from .artifacts.ref import Ref
    from .lineage.run import Run
    from .lineage.values import Values
    from .recording import finish, init, log_artifact, use_artifact
    from .store import Store, create, open  # noqa: A004 - lineart.open is the interface

__version__ = "0.1.0"

_WHERE = {
    "Artifact": "artifacts.artifact",
    "Ref": "artifacts.ref",
    "Run": "lineage.run",
    "Store": "store",
    "create": "store",
    "finish": "recording",
    "init": "recording",
    "log_artifact": "recording",
    "open": "store",
    "use_artifact": "recording",
}

__all__ = ["Artifact", "Ref", "Run", "Store", "create", "finish", "init", "log_artifact", "open", "use_artifact"]

if TYPE_CHECKING:
    run: Run | None
    config: Values


def __getattr__(name: str) -> Any:
    if name in {"run", "config"}:  # of the current run, which changes: never kept
        from .lineage.process import current_run

        current = current_run()
        if name == "run":
            return current
        if current is None:
            raise AttributeError("there is no run; lineart.init() starts one, and then lineart.config is its config")
        return current.config
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{where}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
