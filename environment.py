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
from .storage.backends import is_local, local_path
from .storage.errors import InvalidInput

if TYPE_CHECKING:
    from .lineage.ranks import Rendezvous
    from .lineage.run import Run

__all__ = [
    "MODES",
    "actor",
    "captures_nothing",
    "child_environment",
    "export_run",
    "inherited_run",
    "mode_here",
    "rendezvous_here",
    "secret",
    "settings_here",
    "user_data",
]

RUN_VARIABLE = "LINEART_RUN_ID"
MODE_VARIABLE = "LINEART_MODE"
DISABLED = "disabled"  # a mode, and the id of the runs in it
MODES = ("online", "offline", DISABLED)


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
    """Return the id of the run that a parent process asked this one to join; None where that is recorded nowhere.

    Raises InvalidInput for what cannot be one.
    """
    given = os.environ.get(RUN_VARIABLE, "")
    if not given.isprintable():  # which what is not UTF-8 is not, either
        raise InvalidInput(f"{RUN_VARIABLE} is {given!r}, which is no id of a run")
    return None if given in _exported or given == DISABLED else given or None


def export_run(run: Run, mode: str | None = None) -> Run:
    """Let processes that are started from now on join a run, in its mode if one was given for it, until it ends."""
    put = {RUN_VARIABLE: run.id} | ({} if mode is None else {MODE_VARIABLE: mode})
    before = {name: os.environ.get(name) for name in put}

    def withdraw(ended: Run) -> None:
        if ended.id in _exported:
            _exported.remove(ended.id)
        if os.environ.get(RUN_VARIABLE) != ended.id:
            return  # another has begun since
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    _exported.append(run.id)
    os.environ.update(put)
    run.at_end.append(withdraw)
    return run


def child_environment(settings: Settings, run: str) -> dict[str, str]:
    """Return the environment of a program that is to take part in a run, from whatever folder it does."""
    found = {name: value for name, value in os.environ.items() if name != "LINEART_DATABASE"}
    found |= {RUN_VARIABLE: run, "LINEART_STORE": settings.url, "LINEART_PROJECT": settings.project}
    if is_local(settings.url):
        found["LINEART_STORE"] = str(local_path(settings.url).absolute())
    database = settings.database
    if database is not None:
        relative = database.removeprefix("sqlite:///")
        found["LINEART_DATABASE"] = database if relative == database else f"sqlite:///{Path(relative).absolute()}"
    return found


def mode_here(given: str | None = None) -> str:
    """Return the mode of runs: the one given, else the parent's, else LINEART_MODE, else `online`.

    Raises InvalidInput for another word.
    """
    inherited = DISABLED if os.environ.get(RUN_VARIABLE) == DISABLED else os.environ.get(MODE_VARIABLE)
    mode = given or inherited or "online"
    if mode not in MODES:
        where = "mode=" if given else MODE_VARIABLE
        raise InvalidInput(f"{where} is {mode!r}; there are {', '.join(MODES)}")
    return mode


def rendezvous_here() -> Rendezvous | None:
    """Say which distributed job this process is a part of; None for a process by itself."""
    from .lineage.jobs import find_job
    from .lineage.liveness import process_age
    from .lineage.ranks import Rendezvous

    job = find_job(os.environ)
    return None if job is None else Rendezvous(job.key, job.rank, process_age())


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


def secret(variable: str) -> str:
    """Return what a variable that the user named holds; InvalidInput where it is not set."""
    found = os.environ.get(variable)
    if found is None:
        raise InvalidInput(f"the environment has no variable {variable}")
    return found
