"""What a script says at module level: `init`, `use_artifact`, `log_artifact`, `finish`.

Ties the process's current run to the store that applies here. Stores that were opened stay open for the process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from .environment import (
    captures_nothing,
    export_run,
    inherited_run,
    mode_here,
    rendezvous_here,
    settings_here,
    user_data,
)
from .lineage import process
from .lineage.capture import Capture, Captured
from .lineage.current import in_notebook
from .lineage.disabled import DISABLED, disabled_run
from .lineage.opening import check_resume, join_run, open_run
from .lineage.ranks import Meeting
from .lineage.run import Run
from .settings import Settings, offline_settings
from .storage.errors import StoreUnavailable
from .store import Store, open_or_create, open_settings

if TYPE_CHECKING:
    from .artifacts.artifact import Artifact
    from .artifacts.ref import Ref

__all__ = ["finish", "init", "log_artifact", "use_artifact"]

log = logging.getLogger("lineart")
_stores: dict[tuple[str, str | None], Store] = {}
_met: set[str] = set()  # ids of the runs that this process has taken part in with others of its job
_lock = threading.Lock()


def init(
    project: str | None = None,
    name: str | None = None,
    *,
    entity: str | None = None,
    id: str | None = None,  # noqa: A002 - the interface's word
    resume: Literal["never", "allow", "must"] = "never",
    group: str | None = None,
    job_type: str | None = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    config: Any = None,
    mode: Literal["online", "offline", "disabled"] | None = None,
) -> Run:
    """Start a run in the store that applies here, make it the current one, and return it.

    Use it as a context manager: an exception or `sys.exit(1)` makes the run `failed`. A local store that does not exist
    yet is made. A second `init` in a script nests, and remembers the outer run as its parent; in a notebook it ends the
    one before.

    - `project` is where its products are logged, and bare names are looked for first; with `entity`, `entity/project`.
    - `name`, `job_type` (`train`, `prep`), `group`, `tags` and `notes` are words to find it by.
    - `config` is a mapping, a Namespace or a dataclass.
    - `id` is an id of your own. Where there is such a run already, `resume` decides: `never` raises Conflict; `allow`
      goes on with it, or starts it; `must` goes on with it, and raises NotFound where there is none. A run that is gone
      on with keeps its inputs, products and summary, is `running` again, and ends again; config is merged into its own.
    - `mode`, else LINEART_MODE: `online`; `offline`, which records in a store of this user's own and says where;
      `disabled`, which records nothing: versions can be read, what is logged stays a draft.

    In a process whose parent is in a run (LINEART_RUN_ID) it joins that run instead, and does not end it, unless `id`
    asks for another: config is merged into that run's, other words are taken over where it has none. The processes of a
    distributed job take part in one run, which the one of rank 0 ends: those that torchrun started, those that agree on
    MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE, and with LINEART_JOIN=1 those of Slurm and MPI; LINEART_JOIN=0 gives
    every process a run of its own.

    >>> with lineart.init(project="digits", config={"seed": 7}) as run:       # doctest: +SKIP
    ...     run.log_artifact("data", name="dataset", type="dataset")
    """
    settings = settings_here(project=f"{entity}/{project}" if entity and project else project)
    meant = mode_here(mode)
    check_resume(resume, id)
    words = {"name": name, "group": group, "job_type": job_type, "tags": tags, "notes": notes, "config": config}
    return process.begin(lambda: _open_run(settings, meant, given=mode, create=True, id=id, resume=resume, **words))


def use_artifact(ref: str | Ref, type: str | None = None) -> Artifact:  # noqa: A002 - the interface's word
    """Return the version that a ref means, and record that the current run used it.

    Outside any run, one is opened for the process. Where the store can only be read, nothing is recorded, with one
    warning. Raises NotFound, saying what there is, where there is no version.

    >>> lineart.use_artifact("dataset:v3").download()       # doctest: +SKIP
    """
    return process.ensure(lambda: _implicit_run(create=False)).use_artifact(ref, type)


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,  # noqa: A002 - the interface's word
    aliases: Iterable[str] | None = None,
    tags: Iterable[str] | None = None,
    background: bool = False,
) -> Artifact:
    """Log a draft, a file or a folder as a product of the current run, and return the version.

    Outside any run, one is opened for the process. With `background` it uploads while the program goes on; what
    `Run.log_artifact` says holds here.
    """
    run = process.ensure(lambda: _implicit_run(create=True))
    return run.log_artifact(artifact_or_path, name=name, type=type, aliases=aliases, tags=tags, background=background)


def finish(exit_code: int = 0) -> None:
    """End the current run, if there is one; what is being logged in the background is waited for."""
    process.finish(exit_code)


def _implicit_run(*, create: bool) -> Run:
    """Open the run of a process that called no `init`; in a notebook, where one may live for days, say so."""
    settings, mode = settings_here(), mode_here()
    try:
        run = _open_run(settings, mode, given=None, create=create)
    except StoreUnavailable as error:
        if create or error.transient or mode != "online":
            raise
        store = _store(settings, create=False)  # which may be all that is wrong
        log.warning("nothing is recorded of what is used: %s cannot be written to (%s)", store.url, error)
        return disabled_run(lambda: store, settings.project)
    if in_notebook() and run.id != DISABLED:
        _say(f"run {run.id} in {run.project} began; lineart.finish() or the next lineart.init() ends it")
    return run


def _open_run(settings: Settings, mode: str, *, given: str | None, create: bool, **words: Any) -> Run:
    """Join the run that the parent process is in, or open one that children join; `words` are those of `open_run`.

    `given` is the mode that was asked for in so many words: children are to have it, too.
    """
    if mode == DISABLED:
        known = {one: value for one, value in words.items() if one not in {"id", "resume"}}
        run = disabled_run(lambda: _store(settings, create=False), settings.project, **known)
        return export_run(run, given)
    if mode == "offline":
        settings, create = _offline(settings), True
    store = _store(settings, create=create)
    joined = inherited_run()
    if joined is not None and store.ledger.get(joined).is_over:  # what comes later is no part of it
        _say(f"run {joined} has ended; this process has a run of its own")
    elif joined is not None and words.get("id") in {None, joined}:
        return join_run(store, joined, **{one: value for one, value in words.items() if one not in {"id", "resume"}})
    rendezvous = rendezvous_here()
    facts = _facts(joined, None if rendezvous is None else rendezvous.rank)
    capture = Capture.none(facts) if captures_nothing() else Capture(facts=facts)
    meeting = None if rendezvous is None else Meeting(rendezvous, _met)
    run = open_run(store, settings.project, meeting=meeting, capture=capture, **words)
    if meeting is not None:
        _met.add(run.id)
    return export_run(run, given)


def _facts(inherited: str | None, rank: int | None) -> Captured:
    """Return what is said of a run whatever else is captured: which run it began in, which rank began it."""
    current = process.current_run()
    outer = inherited if current is None else current.id
    code = {} if outer in {None, DISABLED} else {"parent": outer}
    return Captured(code, {} if rank is None else {"rank": rank})


def _offline(settings: Settings) -> Settings:
    """Return the settings of the offline mode, and say once where runs are kept."""
    found = offline_settings(settings, user_data())
    if found.url != settings.url and (found.url, found.database) not in _stores:
        _say(f"offline: runs are recorded in {found.url}, and only what is logged there is found")
    return found


def _tell(store: Store) -> None:
    _say(f"made a store at {store.url}")


def _say(text: str) -> None:
    print(f"lineart: {text}", file=sys.stderr)  # noqa: T201 - where one's data goes must be seen


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
