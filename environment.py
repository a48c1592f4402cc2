"""The environment: everything that is read of this process's surroundings, and the one thing that is put there.

Knows variables, folders of the user and the user's name; the only module, with `cli`, that reads them.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from .settings import Settings, find_settings

if TYPE_CHECKING:
    from .lineage.run import Run

__all__ = ["actor", "captures_nothing", "export_run", "inherited_run", "settings_here", "user_data"]

RUN_VARIABLE = "LINEART_RUN_ID"


def user_data() -> Path:
    """Return the folder for what this user's programs keep."""
    return platformdirs.user_data_path("lineart")


def settings_here(
    url: str | os.PathLike[str] | None = None,
    database: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    project: str | None = None,
) -> Settings:
    """Settle which store is meant, by this process's environment and working directory."""
    return find_settings(
        None if url is None else os.fspath(url),
        database,
        storage_options,
        project,
        environ=os.environ,
        here=Path.cwd(),
        user_config=platformdirs.user_config_path("lineart"),
        user_data=user_data(),
        user_cache=platformdirs.user_cache_path("lineart"),
    )


_exported: list[str] = []  # ids of the runs of this process that its children join, the innermost last


def inherited_run() -> str | None:
    """Return the id of the run that a parent process asked this one to join."""
    given = os.environ.get(RUN_VARIABLE)
    return None if given in _exported else given or None


def export_run(run: Run) -> Run:
    """Let processes that are started from now on join a run, until it ends."""
    before = os.environ.get(RUN_VARIABLE)

    def withdraw(ended: Run) -> None:
        if ended.id in _exported:
            _exported.remove(ended.id)
        if os.environ.get(RUN_VARIABLE) == ended.id:
            os.environ.pop(RUN_VARIABLE)
            if before is not None:
                os.environ[RUN_VARIABLE] = before

    _exported.append(run.id)
    os.environ[RUN_VARIABLE] = run.id
    run.at_end.append(withdraw)
    return run


def captures_nothing() -> bool:
    """Whether the user wants nothing remembered of code and environment."""
    return os.environ.get("LINEART_CAPTURE", "").lower() == "none"


def actor() -> str:
    """Say who this is: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
