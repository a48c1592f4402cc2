"""What a script says at module level: `init`, `use_artifact`, `log_artifact`, `finish`.

Ties the process's current run to the store that applies here. Stores that were opened stay open for the process.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .environment import captures_nothing, export_run, inherited_run, settings_here
from .lineage import process
from .lineage.capture import Capture
from .lineage.run import Run, join_run, start_run
from .settings import Settings
from .store import Store, open_or_create, open_settings

if TYPE_CHECKING:
    from .artifacts.artifact import Artifact
    from .artifacts.ref import Ref

__all__ = ["finish", "init", "log_artifact", "use_artifact"]

_stores: dict[tuple[str, str | None], Store] = {}
_lock = threading.Lock()


def init(
    project: str | None = None,
    name: str | None = None,
    *,
    entity: str | None = None,
    id: str | None = None,  # noqa: A002 - the interface's word
    group: str | None = None,
    job_type: str | None = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    config: Any = None,
) -> Run:
    """Start a run in the store that applies here, make it the current one, and return it.

    Use it as a context manager: an exception or `sys.exit(1)` makes the run `failed`. `config` is a mapping, a
    Namespace or a dataclass. With `entity` the project is `entity/project`. A local store that does not exist yet is
    made. In a process whose parent is in a run (`LINEART_RUN_ID`), it joins that run instead, and does not end it.

    >>> with lineart.init(project="digits", config={"seed": 7}) as run:       # doctest: +SKIP
    ...     run.log_artifact("data", name="dataset", type="dataset")
    """
    settings = settings_here(project=f"{entity}/{project}" if entity and project else project)

    words = {
        "id": id,
        "name": name,
        "group": group,
        "job_type": job_type,
        "tags": tags,
        "notes": notes,
        "config": config,
    }
    return process.begin(lambda: _open_run(settings, create=True, **words))


def use_artifact(ref: str | Ref, type: str | None = None) -> Artifact:  # noqa: A002 - the interface's word
    """Return the version that a ref means, and record that the current run used it.

    Outside any run, one is opened for the process. Raises NotFound, saying what there is, where there is no version.

    >>> lineart.use_artifact("dataset:v3").download()       # doctest: +SKIP
    """
    return process.ensure(lambda: _open_run(settings_here(), create=False)).use_artifact(ref, type)


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,  # noqa: A002 - the interface's word
    aliases: Iterable[str] | None = None,
    tags: Iterable[str] | None = None,
) -> Artifact:
    """Log a draft, a file or a folder as a product of the current run, and return the version.

    Outside any run, one is opened for the process.
    """
    run = process.ensure(lambda: _open_run(settings_here(), create=True))
    return run.log_artifact(artifact_or_path, name=name, type=type, aliases=aliases, tags=tags)


def finish(exit_code: int = 0) -> None:
    """End the current run, if there is one."""
    process.finish(exit_code)


def _open_run(settings: Settings, *, create: bool, **words: Any) -> Run:
    """Join the run that the parent process is in, or start one that children join; `words` are those of `start_run`."""
    store = _store(settings, create=create)
    joined = inherited_run()
    if joined is not None:
        return join_run(store, joined)
    capture = Capture.none() if captures_nothing() else Capture()
    return export_run(start_run(store, settings.project, capture=capture, **words))


def _tell(store: Store) -> None:
    print(f"lineart: made a store at {store.url}", file=sys.stderr)  # noqa: T201 - where one's data goes must be seen


def _store(settings: Settings, *, create: bool) -> Store:
    """Return the process's store for these settings; runs of several projects share one."""
    key = (settings.url, settings.database)
    with _lock:
        found = _stores.get(key)
        if found is None:
            found = _stores[key] = open_or_create(settings, _tell) if create else open_settings(settings)
        return found


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that is not in the child
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
