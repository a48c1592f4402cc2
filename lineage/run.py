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
from typing import TYPE_CHECKING, Any, Self

from ..artifacts.artifact import Artifact
from ..artifacts.metadata import plain
from ..artifacts.records import listed
from ..artifacts.ref import Ref
from ..storage.errors import Conflict, InvalidInput, NotFound
from .capture import Capture
from .described import Described, RunHome
from .heartbeat import Heartbeat
from .masking import mask_text
from .outcome import outcome_of
from .runs import CRASHED
from .values import Values, to_mapping

if TYPE_CHECKING:
    from .background import Background
    from .runs import RunRecord
    from .starting import Words

__all__ = ["INTERVAL", "Run", "RunHome", "draft_of", "start_run"]

INTERVAL = 30.0  # seconds between heartbeats
REASON = 500  # characters kept of the error that ended a run
log = logging.getLogger("lineart")
_ELSEWHERE = {  # what others have, and what is here instead
    "log": "one value of each name is kept, the last: run.summary['loss'] = 0.1, or run.summary.update({'loss': 0.1})",
    "log_code": "the commit, what is not committed, and the command are recorded by themselves",
    "watch": "of gradients and weights nothing is recorded by itself; what is worth keeping goes into run.summary",
}


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
    words: Words = {"name": name, "job_type": job_type, "group": group, "tags": tags, "notes": notes}
    words |= {"config": values, "captured": captured.seen}
    record = home.ledger.start(project, id=id, **words)
    return Run(record, home, config=values, capture=captured).alive(interval)


class Run(Described):
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
        self._pid = os.getpid()
        self._owner = self._pid if capture is not None else None
        self._lock = threading.RLock()
        self._heartbeat: Heartbeat | None = None
        self._background: Background | None = None
        self._ended = False
        self.at_end: list[Callable[[Run], None]] = []  # called once, when this object's part in the run is over
        self.config = Values(config)
        self.summary = Values(record.summary)

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.project}, {self.state}>"

    def _repr_html_(self) -> str:
        from .pictures.notebook import run_html

        return run_html(self._record, self.config, self.summary)

    if not TYPE_CHECKING:  # to whom every name would be one of a run

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError; of a name that others use, it says what there is instead."""
            instead = f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
            raise AttributeError(f"'Run' object has no attribute {name!r}{instead}", name=name, obj=self)

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
        background: bool = False,
    ) -> Artifact:
        """Log a draft, or a file or folder under `name` (by default its own), as a product of this run.

        Returns the version once it is committed. Content that the collection already has is the version that exists;
        metadata that differs stays on the edge, with a warning. A version without a file is logged, with one, too. With
        `background` it returns as soon as the files are copied aside, where nobody overwrites them, and uploads while
        the program goes on: the artifact's `wait()` returns once it is committed, whatever needs the version waits by
        itself, and `finish()` waits for everything and raises the first error. Versions are numbered in the order of
        the calls all the same.
        """
        self._require_open()
        artifact = artifact_or_path
        if not isinstance(artifact, Artifact):
            artifact = draft_of(Path(artifact), name, type)
        elif (name or artifact.collection) != artifact.collection or (type or artifact.type) != artifact.type:
            raise InvalidInput(f"{artifact.name} has a name and a type already; name= and type= go with a path")
        artifact.take_draft()  # before anything is waited for
        given, marks = listed(aliases), listed(tags)
        if background and self._home.url is not None and self._in_background(artifact, given, marks):
            return artifact
        if self._background is not None and self._background.own:
            self._background.settle(artifact.collection)
        return self._log(artifact, given, marks)

    def _log(self, artifact: Artifact, aliases: list[str], tags: list[str]) -> Artifact:
        differs: list[bool] = []
        also = self._home.ledger.produced(self.id, plain(artifact.metadata), lambda: differs.append(True))
        quiet = self.repeats
        logged = self._home.log(artifact, aliases=aliases, tags=tags, project=self.project, also=also, quiet=quiet)
        if differs:
            log.warning(
                "%s existed already with other metadata, which stays; what was given now is kept with run %s",
                logged.name,
                self.id,
            )
        return logged

    def _in_background(self, artifact: Artifact, aliases: list[str], tags: list[str]) -> bool:
        """Leave a draft to be logged; False where it must be done now: in a child made by fork, whose end nobody sees.

        What `_log` would refuse for its names is refused here: nobody may be looking when it is found out later.
        """
        from .background import Background

        with self._lock:
            if self._background is None and self._pid == os.getpid():
                self._background = Background(self._home)
            background = self._background
        if background is None or not background.own:
            return False
        names = [*artifact.aliases, *aliases], [*artifact.tags, *tags]
        self._home.catalog.prepare(self.project, artifact.collection, artifact.type, *names)
        return background.submit(artifact, lambda secured: self._log(secured, aliases, tags))

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

        Waits for what is being logged in the background; where that failed the run is `failed`, and the first error is
        raised unless somebody was told of it. Where the run belongs to another process, only what this one changed is
        saved.
        """
        self.end(exit_code)

    def end(self, exit_code: int = 0, *, state: str | None = None, reason: str | None = None) -> None:
        """End the run as `finish` does, or as `state` says, with a reason that is kept.

        The end of one that crashes is recorded first: there may be no time for more.
        """
        failure = None if state == CRASHED else self._settled()
        if failure is not None and not exit_code:
            exit_code, state, reason = 1, None, f"logging in the background: {outcome_of(failure)[2]}"
        self._record_end(exit_code, state, reason)
        if self._background is not None and self._background.own:
            failure = self._background.close() or failure
        if failure is not None:
            raise failure

    def _settled(self) -> BaseException | None:
        """Return once nothing is being logged in the background: the first error that nobody was told of."""
        return self._background.finish() if self._background is not None and self._background.own else None

    def _record_end(self, exit_code: int, state: str | None, reason: str | None) -> None:
        with self._lock:
            if self._ended:
                return
            if self._heartbeat is not None and self.owned:
                self._heartbeat.stop()
            self.save()
            if self.owned:
                short = None if reason is None else mask_text(reason)[:REASON]
                seen = {} if self._capture is None else self._capture.seen.environment
                self._record = self._home.ledger.finish(self.id, exit_code, state=state, reason=short, environment=seen)
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

    def alive(self, interval: float | None) -> Self:
        """Beat every so many seconds, in a daemon thread, until the end; the first beat is now. None starts none."""
        if interval is not None:
            self._heartbeat = Heartbeat(self.beat, interval, name=f"lineart-run-{self.id}")
            self._heartbeat.start()
        return self

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


def draft_of(path: Path, name: str | None, type_: str | None) -> Artifact:
    """Return a draft that holds a file or a folder; NotFound where there is neither."""
    artifact = Artifact(name or path.name, type_)
    artifact.take_draft().at_once = True
    if path.is_dir():
        artifact.add_dir(path)
    elif path.exists():
        artifact.add_file(path)
    else:
        raise NotFound(f"{path} does not exist")
    return artifact
