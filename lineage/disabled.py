"""Disabled: a run that behaves as any other, and records nothing.

Knows what a run asks of its ledger and its store, and answers from memory; must not know the environment. No second
kind of run: a `Run` whose home is nowhere. Versions may be read, from a store that is opened when one is asked for;
where there is none, nothing on the disk is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ..artifacts.artifact import Artifact
from ..artifacts.ref import check_alias, check_project, check_tag
from ..storage.errors import NotFound, NotLogged
from .capture import Capture
from .described import RunHome
from .ledger import of_type
from .run import Run
from .runs import FAILED, FINISHED, RUNNING, RunRecord
from .starting import DISABLED, Beginning
from .values import Changes, to_mapping

if TYPE_CHECKING:
    from ..artifacts.catalog import Also, Catalog
    from ..artifacts.records import VersionRecord
    from ..artifacts.ref import Ref

__all__ = ["DISABLED", "disabled_run"]

Open = Callable[[], RunHome]


def disabled_run(open_: Open, project: str, *, config: Any = None, **words: Any) -> Run:
    """Return a run that is recorded nowhere; `open_` opens the store that versions are read from, and may raise.

    It keeps config, summary and words in memory. `use_artifact` reads and leaves no edge; `log_artifact` checks names
    and files, stores nothing, and returns the draft, whose `wait()` returns and whose version there never is.
    """
    values = to_mapping(config)
    beginning = Beginning(**words, config=values).checked()
    now = time.time_ns() // 1000
    record = RunRecord(
        id=DISABLED,
        project=project,
        name=beginning.name or DISABLED,
        job_type=beginning.job_type,
        group=beginning.group,
        notes=beginning.notes,
        tags=tuple(beginning.tags),
        state=RUNNING,
        created=now,
        heartbeat=now,
        ended=None,
        exit_code=None,
        actor="",
        config=dict(beginning.config or {}),
        summary={},
        code={},
        environment={},
    )
    home = cast(RunHome, _Nowhere(record, open_))
    return Run(record, home, config=values, capture=Capture.none())


class _Nowhere:
    """A store that takes everything and keeps nothing; what is asked about versions is asked of a real one."""

    url = None

    def __init__(self, record: RunRecord, open_: Open) -> None:
        self.ledger = _Forgetful(record, self)
        self._open = open_
        self._found: RunHome | None = None

    @property
    def real(self) -> RunHome:
        """The store that versions are read from; NotFound and others where there is none."""
        if self._found is None:
            self._found = self._open()
        return self._found

    @property
    def catalog(self) -> Any:
        """The versions of the real store, to be read."""
        return _Unchanged(self.real.catalog)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.real, name)

    def delete(self, *versions: VersionRecord, force: bool = False, reason: str | None = None) -> list[VersionRecord]:  # noqa: ARG002
        """Leave versions as they are."""
        return list(versions)

    def restore(self, version: VersionRecord, *, reason: str | None = None) -> VersionRecord:  # noqa: ARG002
        """Leave a version as it is."""
        return version

    def log(
        self,
        artifact: Artifact,
        *,
        aliases: Iterable[str],
        tags: Iterable[str],
        project: str,
        also: Also,  # noqa: ARG002 - there is no transaction
        quiet: bool,  # noqa: ARG002 - nor any alias
    ) -> Artifact:
        """Take a draft, which stays one; raise what a store would raise for its names."""
        check_project(project)
        for alias in (*artifact.aliases, *aliases):
            check_alias(alias)
        for tag in (*artifact.tags, *tags):
            check_tag(tag)
        artifact.take_draft()
        artifact.entrust(_Nothing(artifact.collection))
        return artifact


class _Unchanged:
    """A catalog that answers, and changes nothing."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def change(self, version: VersionRecord, change: object) -> VersionRecord:  # noqa: ARG002 - nothing is changed
        """Return the version as it is."""
        return version


class _Nothing:
    """What becomes of a draft that is stored nowhere: a task in the sense of `artifacts.awaited`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def done(self) -> bool:
        """There is nothing to be done."""
        return True

    def wait(self, timeout: float | None) -> None:
        """Return at once."""

    def require(self) -> None:
        """Raise NotLogged: there is no version."""
        raise NotLogged(
            f"{self._name} was not stored, since this run is disabled (mode= or LINEART_MODE): it has no version, and "
            "its files are where they were"
        )


class _Forgetful:
    """A ledger of one run, in memory."""

    def __init__(self, record: RunRecord, home: _Nowhere) -> None:
        self._record = record
        self._home = home

    def get(self, run: str) -> RunRecord:
        """Return the run."""
        if run != DISABLED:
            raise NotFound(f"no run {run!r}: this one is disabled")
        return self._record

    def heartbeat(self, run: str) -> None:
        """Do nothing."""

    def update(
        self,
        run: str,  # noqa: ARG002 - there is one
        *,
        config: Changes | None = None,
        summary: Changes | None = None,
        captured: object = None,  # noqa: ARG002 - is forgotten
        notes: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> None:
        """Keep what is given until the end of the process."""
        given = Beginning(notes=notes, tags=tags or ()).checked()
        self._record = replace(
            self._record,
            config=self._record.config if config is None else config.apply(self._record.config),
            summary=self._record.summary if summary is None else summary.apply(self._record.summary),
            notes=self._record.notes if notes is None else given.notes,
            tags=self._record.tags if tags is None else tuple(given.tags),
        )

    def finish(
        self,
        run: str,  # noqa: ARG002 - there is one
        exit_code: int = 0,
        *,
        state: str | None = None,
        reason: str | None = None,  # noqa: ARG002 - is forgotten
        environment: Mapping[str, Any] | None = None,  # noqa: ARG002 - there is one process
    ) -> RunRecord:
        """End the run."""
        ended = state or (FAILED if exit_code else FINISHED)
        self._record = replace(self._record, state=ended, exit_code=exit_code, ended=time.time_ns() // 1000)
        return self._record

    def use(self, run: str, ref: Ref, project: str, type_: str | None = None) -> VersionRecord:  # noqa: ARG002
        """Return the version that a ref means, which leaves no trace."""
        return of_type(self._home.real.catalog.resolve(ref, project), type_)

    def produced(self, run: str, metadata: object, differs: object) -> Also:  # noqa: ARG002 - nothing is produced
        """Return what does nothing."""
        return lambda _tx, _version, _is_new: None
