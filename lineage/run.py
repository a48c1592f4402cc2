"""The run: what a program holds while its inputs and outputs are being recorded.

Knows the store's ledger, through its home, and the process it lives in; must not read the environment. What is asked
of it by name raises when it fails; what it does by itself (heartbeat, capture, the end of the process) never raises
into the program that is recorded.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..artifacts.artifact import Artifact
from ..artifacts.logged import Home
from ..artifacts.records import listed
from ..artifacts.ref import Ref
from ..storage.errors import Conflict, InvalidInput, NotFound
from .capture import Capture
from .heartbeat import Heartbeat
from .masking import mask_text
from .runs import CRASHED
from .values import Values, to_mapping

if TYPE_CHECKING:
    from ..artifacts.catalog import Also
    from .ledger import Ledger
    from .runs import RunRecord

__all__ = ["INTERVAL", "Run", "RunHome", "join_run", "start_run"]

INTERVAL = 30.0  # seconds between heartbeats
REASON = 500  # characters kept of the error that ended a run
log = logging.getLogger("lineart")


class RunHome(Home, Protocol):
    """What a run needs of the store that it is recorded in."""

    ledger: Ledger

    def log(
        self, artifact: Artifact, *, aliases: Iterable[str], tags: Iterable[str], project: str, also: Also
    ) -> Artifact:
        """Log a draft, doing `also` in the same transaction, and return it as a version."""


def start_run(
    home: RunHome,
    project: str,
    *,
    id: str | None = None,  # noqa: A002 - the interface's word
    name: str | None = None,
    job_type: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    config: Any = None,
    capture: Capture | None = None,
    interval: float | None = INTERVAL,
) -> Run:
    """Start a run, record it and begin its heartbeat.

    `config` is a mapping, a Namespace or a dataclass. `capture` is what is remembered of code and environment (by
    default everything; `Capture.none()` for nothing). `interval` is seconds between heartbeats; None starts no thread.
    """
    values = to_mapping(config)
    captured = capture if capture is not None else Capture()
    record = home.ledger.start(
        project,
        id=id,
        name=name,
        job_type=job_type,
        group=group,
        tags=tags,
        notes=notes,
        config=values,
        captured=captured.seen,
    )
    run = Run(record, home, config=values, capture=captured)
    if interval is not None:
        run.start_heartbeat(interval)
    return run


def join_run(home: RunHome, id: str) -> Run:  # noqa: A002 - the interface's word
    """Take part in a run that another process started and will end; NotFound if there is none of this id."""
    record = home.ledger.get(id)
    return Run(record, home, config=record.config, capture=None)


class Run:
    """One execution. Use it as a context manager, or call `finish()`.

    `config` and `summary` are mappings with attribute access that are saved with the heartbeat and at the end.
    A run that was joined (`capture` is None), and the copy of a run in a child made by fork, record uses and products
    as the run itself does, and never end it.
    """

    def __init__(self, record: RunRecord, home: RunHome, *, config: Mapping[str, Any], capture: Capture | None) -> None:
        self._record = record
        self._home = home
        self._capture = capture
        self._capture_due = capture is not None and not capture.empty
        self._owner = os.getpid() if capture is not None else None
        self._lock = threading.RLock()
        self._heartbeat: Heartbeat | None = None
        self._ended = False
        self.at_end: list[Callable[[Run], None]] = []  # called once, when this object's part in the run is over
        self.config = Values(config)
        self.summary = Values(record.summary)

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.project}, {self.state}>"

    # What it is

    @property
    def id(self) -> str:
        """Its id, unique in the store."""
        return self._record.id

    @property
    def name(self) -> str:
        """Its name; the id where none was given."""
        return self._record.name

    @property
    def project(self) -> str:
        """The project in which bare names are looked for first, and in which its products are logged."""
        return self._record.project

    @property
    def job_type(self) -> str | None:
        """What kind of work it is: `train`, `prep`."""
        return self._record.job_type

    @property
    def group(self) -> str | None:
        """What it belongs to together with other runs."""
        return self._record.group

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags; assign to change them."""
        return self._record.tags

    @tags.setter
    def tags(self, value: Iterable[str]) -> None:
        self._home.ledger.update(self.id, tags=value)
        self._record = self._home.ledger.get(self.id)

    @property
    def notes(self) -> str | None:
        """Words about it; assign to change them."""
        return self._record.notes

    @notes.setter
    def notes(self, value: str) -> None:
        self._home.ledger.update(self.id, notes=value)
        self._record = self._home.ledger.get(self.id)

    @property
    def state(self) -> str:
        """`running`, or how it ended: `finished`, `failed`, `crashed`."""
        return self._record.state

    @property
    def ended(self) -> bool:
        """Whether this object's part in the run is over."""
        return self._ended

    @property
    def owned(self) -> bool:
        """Whether this process is the one that ends the run."""
        return self._owner == os.getpid()

    # What it does

    def use_artifact(self, ref: str | Ref | Artifact, type: str | None = None) -> Artifact:  # noqa: A002
        """Return the version that a ref means, and record that this run used it.

        An alias means the same version throughout the run. Raises NotFound where there is no such version, Conflict
        where it is not of the given type.
        """
        self._require_open()
        if isinstance(ref, Artifact):
            ref = ref.ref
        wanted = ref if isinstance(ref, Ref) else Ref.parse(ref)
        if wanted.path is not None:
            raise InvalidInput(
                f"{wanted}: a run uses whole versions; drop /{wanted.path} here, then download that path"
            )
        return Artifact.of(self._home.ledger.use(self.id, wanted, self.project, type), self._home)

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,  # noqa: A002
        aliases: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
    ) -> Artifact:
        """Log a draft, or a file or folder under `name` (by default its own), as a product of this run.

        Returns the version once it is committed. Content that the collection already has is the version that exists;
        metadata that differs stays on the edge, with a warning.
        """
        self._require_open()
        artifact = artifact_or_path
        if not isinstance(artifact, Artifact):
            artifact = _draft_of(Path(artifact), name, type)
        elif (name or artifact.collection) != artifact.collection or (type or artifact.type) != artifact.type:
            raise InvalidInput(f"{artifact.name} has a name and a type already; name= and type= go with a path")
        differs: list[bool] = []
        also = self._home.ledger.produced(self.id, dict(artifact.metadata), lambda: differs.append(True))
        logged = self._home.log(artifact, aliases=listed(aliases), tags=listed(tags), project=self.project, also=also)
        if differs:
            log.warning(
                "%s existed already with other metadata, which stays; what was given now is kept with run %s",
                logged.name,
                self.id,
            )
        return logged

    def save(self) -> None:
        """Store what was changed of config and summary, and what was captured; does nothing where nothing is new."""
        with self._lock:
            config, config_mark = self.config.changes()
            summary, summary_mark = self.summary.changes()
            capture = self._capture if self._capture_due and self.owned else None
            if not (self.config.changed or self.summary.changed or capture):
                return
            self._home.ledger.update(
                self.id, config=config, summary=summary, captured=None if capture is None else capture.result()
            )
            self.config.settle(config_mark)
            self.summary.settle(summary_mark)
            if capture is not None:
                self._capture_due = False

    def finish(self, exit_code: int = 0) -> None:
        """End the run: `finished` with exit code 0, else `failed`. May be called again.

        Where the run belongs to another process, only what this one changed is saved.
        """
        self.end(exit_code)

    def end(self, exit_code: int = 0, *, state: str | None = None, reason: str | None = None) -> None:
        """End the run as `finish` does, or as `state` says, with a reason that is kept."""
        with self._lock:
            if self._ended:
                return
            if self._heartbeat is not None and self.owned:
                self._heartbeat.stop()
            self.save()
            if self.owned:
                short = None if reason is None else mask_text(reason)[:REASON]
                self._record = self._home.ledger.finish(self.id, exit_code, state=state, reason=short)
            self._ended = True
        for call in self.at_end:
            call(self)

    def end_quietly(self, exit_code: int = 0, *, state: str | None = None, reason: str | None = None) -> None:
        """End the run where no one can be told of a failure: it is logged, and the vanished heartbeat tells others."""
        try:
            self.end(exit_code, state=state, reason=reason)
        except Exception as error:  # noqa: BLE001 - obligation: the program that is recorded ends in its own way
            log.warning("the end of run %s could not be recorded: %s", self.id, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run by how the block ended; a failure to record it never hides the block's own error."""
        if error is None:
            self.finish()
        else:
            code, state, reason = outcome_of(error)
            self.end_quietly(code, state=state, reason=reason)

    # Its heartbeat

    def start_heartbeat(self, interval: float) -> None:
        """Beat every so many seconds, in a daemon thread, until the end; the first beat is now."""
        self._heartbeat = Heartbeat(self.beat, interval, name=f"lineart-run-{self.id}")
        self._heartbeat.start()

    def beat(self) -> None:
        """Store what is new and say that the run is alive; does nothing in another process than the run's own."""
        if not self.owned or self.ended:
            return
        if self._capture is not None and self._capture_due:
            self._capture.result()  # waited for without the lock, which `finish` may want
        with self._lock:
            if not self.ended:  # it may have, meanwhile: a heartbeat now would say that it runs
                self.save()
                self._home.ledger.heartbeat(self.id)

    def after_fork(self) -> None:
        """Take new locks, in a child: the old ones may be held by threads that do not exist here."""
        self._lock = threading.RLock()
        self.config.forget_lock()
        self.summary.forget_lock()

    def _require_open(self) -> None:
        if self._ended:
            raise Conflict(f"run {self.id} has ended; start another with lineart.init()")


def outcome_of(error: BaseException) -> tuple[int, str | None, str | None]:
    """Return exit code, state and reason for the exception that ends a program.

    >>> outcome_of(SystemExit(0)), outcome_of(KeyboardInterrupt())
    ((0, None, None), (130, 'crashed', 'KeyboardInterrupt'))
    """
    if isinstance(error, SystemExit):
        code = exit_code_of(error.code)
        return code, None, f"exit code {code}" if code else None
    if isinstance(error, KeyboardInterrupt):
        return 130, CRASHED, "KeyboardInterrupt"
    text = str(error)
    return 1, None, f"{type(error).__name__}: {text}" if text else type(error).__name__


def exit_code_of(code: object) -> int:
    """Return the number that the system is told for what `sys.exit` was given: text and other objects mean 1."""
    return 0 if code is None else code if isinstance(code, int) else 1


def _draft_of(path: Path, name: str | None, type_: str | None) -> Artifact:
    artifact = Artifact(name or path.name, type_)
    if path.is_dir():
        artifact.add_dir(path)
    elif path.exists():
        artifact.add_file(path)
    else:
        raise NotFound(f"{path} does not exist")
    return artifact
