"""The ledger: transactions that start, change and end runs, and that tie them to versions.

Knows runs, edges and the catalog; must not know processes, threads or the environment: what was captured and when a
heartbeat is due is for its caller. What it may do twice it may be asked to do twice.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, update

from ..artifacts import tables as artifact_tables
from ..artifacts.ref import LATEST, Ref, check_name, check_tag, fold_name
from ..storage.errors import Conflict, InvalidInput, NotFound
from ..storage.transaction import SERVER_CLOCK
from . import tables
from .capture import NOTHING, Captured
from .edges import edges_of, lock_run, products_of, record_product, record_use, runs_of
from .masking import mask_mapping
from .runs import CRASHED, FAILED, FINISHED, PRODUCED, RUNNING, USED, RunRecord, read_runs, subject_of
from .values import Changes, plain

if TYPE_CHECKING:
    from ..artifacts.catalog import Also, Catalog
    from ..artifacts.records import VersionRecord
    from ..storage.database import Transaction

__all__ = ["LOST", "Ledger", "new_run_id"]

Runs = list[RunRecord]  # Ledger.list hides the builtin from annotations of its class
Ids = list[int]
LOST = 300_000_000  # µs without a heartbeat after which a run is taken for crashed
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: ids are read aloud
_run = tables.run
_project = artifact_tables.project


def new_run_id() -> str:
    """Return a run id that nobody has: `r` and seven letters or digits."""
    return "r" + "".join(secrets.choice(_LETTERS) for _ in range(7))


class Ledger:
    """Runs of one store.

    `clock` (nanoseconds) says what time it is where the database is SQLite, and is the same as the database's.
    """

    def __init__(
        self, catalog: Catalog, *, clock: Callable[[], int] = time.time_ns, new_id: Callable[[], str] = new_run_id
    ) -> None:
        self.catalog = catalog
        self._engine = catalog.engine
        self._clock = clock
        self._new_id = new_id

    # Finding

    def get(self, run: str) -> RunRecord:
        """Return a run; NotFound if there is none of this id."""
        found = self._engine.database.read(lambda connection: self._judged(connection, [run]))
        if not found:
            raise NotFound(f"no run {run!r}; `art runs` lists them")
        return found[0]

    def list(self, project: str | None = None, limit: int | None = None) -> Runs:
        """Return runs, newest first, of a project or of all."""

        def work(connection: Connection) -> Runs:
            wanted = select(_run.c.id).order_by(_run.c.created.desc(), _run.c.id).limit(limit)
            if project is not None:
                wanted = wanted.join(_project, _project.c.id == _run.c.project)
                wanted = wanted.where(_project.c.key == fold_name(project))
            return self._judged(connection, connection.execute(wanted).scalars().all())

        return self._engine.database.read(work)

    def edges(self, run: str) -> tuple[Ids, Ids]:
        """Return the row ids of the versions that a run used and of those it produced, in the order of doing so."""
        return self._engine.database.read(lambda connection: edges_of(connection, run))

    def _judged(self, connection: Connection, ids: Iterable[str]) -> Runs:
        """Read runs; one whose heartbeat has vanished is shown as crashed before anybody has recorded that it is."""
        if connection.dialect.name == "postgresql":
            now = connection.execute(SERVER_CLOCK).scalar_one()
        else:
            now = self._clock() // 1000
        found = read_runs(connection, ids).values()
        return [replace(one, state=CRASHED) if _lost(one.state, one.heartbeat, now) else one for one in found]

    # Changing

    def start(
        self,
        project: str,
        *,
        id: str | None = None,  # noqa: A002 - the interface's word
        name: str | None = None,
        job_type: str | None = None,
        group: str | None = None,
        tags: Iterable[str] = (),
        notes: str | None = None,
        config: Mapping[str, Any] | None = None,
        captured: Captured = NOTHING,
    ) -> RunRecord:
        """Begin a run, and record runs of the project whose heartbeat has vanished as crashed.

        Config values of telling names (`api_key`) are masked. Raises Conflict where `id` is a run already, InvalidName
        for an id or a tag outside the grammar. Texts of `captured` are stored by `update`, which may come later.
        """
        if id is not None:
            check_name("run id", id)
        names = _words(name=name, job_type=job_type, group=group, notes=notes)
        labels = _tags(tags)
        values = mask_mapping(plain(config or {}))
        code, environment = plain(captured.code), plain(captured.environment)

        def work(tx: Transaction) -> RunRecord:
            self.catalog.project_id(tx, project)
            chosen = self._free_id(tx, id)
            self._reap(tx, project)
            data = {
                **names,
                "id": chosen,
                "name": names["name"] or chosen,
                "project": project,
                "tags": labels,
                "config": values,
                "summary": {},
                "code": code,
                "environment": environment,
            }
            tx.record("run.started", subject_of(chosen), data)
            return read_runs(tx.connection, [chosen])[chosen]

        return self._engine.write(work)

    def update(
        self,
        run: str,
        *,
        config: Changes | None = None,
        summary: Changes | None = None,
        captured: Captured | None = None,
        notes: str | None = None,
        tags: Iterable[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Record what is given and differs from what is known; what is None stays. An event is a heartbeat, too.

        Config values of telling names are masked; texts of `captured` are stored as chunks in the same transaction.
        """
        data: dict[str, Any] = {
            one: value for one, value in _words(notes=notes, name=name).items() if value is not None
        }
        if tags is not None:
            data["tags"] = _tags(tags)
        masked = config and Changes(mask_mapping(config.values), config.removed)

        def change(tx: Transaction, digests: list[bytes]) -> None:
            row = lock_run(tx, run)
            known = read_runs(tx.connection, [run])[run]
            if captured is not None:
                data["code"], data["environment"] = (plain(one) for one in captured.place(digests))
            if masked is not None:
                data["config"] = masked.apply(known.config)
            if summary is not None:
                data["summary"] = summary.apply(known.summary)
            changed = {one: value for one, value in data.items() if _known(known, one) != value}
            if _missed(row):
                changed["state"] = RUNNING
            if changed:
                tx.record("run.updated", subject_of(run), {"id": run, **changed})

        chunks = captured.chunks() if captured is not None else []
        if chunks:
            self._engine.put_blobs(chunks, change)
        else:
            self._engine.write(lambda tx: change(tx, []))

    def heartbeat(self, run: str) -> None:
        """Say that a run is alive; one that was taken for crashed runs again."""

        def work(tx: Transaction) -> bool:
            row = lock_run(tx, run)
            revived = _missed(row)
            if revived:
                tx.record("run.updated", subject_of(run), {"id": run, "state": RUNNING})
            tx.execute(update(_run).where(_run.c.id == run, _run.c.state == RUNNING).values(heartbeat=tx.now()))
            return revived

        if self._engine.database.write(work):
            self._engine.journal.flush()

    def finish(self, run: str, exit_code: int = 0, *, state: str | None = None, reason: str | None = None) -> RunRecord:
        """End a run: `finished` with exit code 0, else `failed`, or as `state` says. One that has ended stays as it is.

        A run that was taken for crashed and is alive ends as is said here.
        """
        if state not in {None, FINISHED, FAILED, CRASHED}:
            raise InvalidInput(f"a run ends {FINISHED}, {FAILED} or {CRASHED}, not {state!r}")
        outcome = state or (FAILED if exit_code else FINISHED)
        code = max(-32768, min(32767, exit_code))  # what the column holds

        def work(tx: Transaction) -> RunRecord:
            row = lock_run(tx, run)
            if row.state == RUNNING or _missed(row):
                kind = "run.crashed" if outcome == CRASHED else "run.finished"
                tx.record(kind, subject_of(run), {"id": run, "state": outcome, "exit_code": code}, reason)
            return read_runs(tx.connection, [run])[run]

        return self._engine.write(work)

    # Edges

    def use(self, run: str, ref: Ref, project: str, type_: str | None = None) -> VersionRecord:
        """Return the version that a ref means to a run, and record that the run used it.

        An alias is resolved once a run: what it meant when the run first used it, it means to all its processes until
        the end. NotFound where the version does not exist or is deleted, Conflict where it is not of the type `type_`.
        """
        version = self.catalog.resolve(ref, project)
        if type_ is not None and version.type != type_:
            raise Conflict(f"{version.ref} is of type {version.type!r}, not {type_!r}")
        alias = None
        if ref.version is None and ref.digest is None and ref.at is None:
            alias = fold_name(ref.alias or LATEST)

        def work(tx: Transaction) -> int:
            lock_run(tx, run)
            return record_use(tx, run, version.id, alias)

        chosen = self._engine.write(work)
        return version if chosen == version.id else self.catalog.records([chosen])[chosen]

    def produced(self, run: str, metadata: Mapping[str, Any] | None, differs: Callable[[], None]) -> Also:
        """Return what `Catalog.log` is to do as well, in its transaction: record that the run made the version.

        Where the content existed already with other metadata, the given one is kept on the edge, and `differs` is
        called; it may be called more than once.
        """

        def also(tx: Transaction, version: int, is_new: bool) -> None:
            lock_run(tx, run)
            if record_product(tx, run, version, None if is_new else metadata):
                differs()

        return also

    def producer(self, version: int) -> RunRecord | None:
        """Return the run that first produced a version, by its row id; None if it came from no run."""
        runs = self._runs_of(version, PRODUCED, limit=1)
        return runs[0] if runs else None

    def consumers(self, version: int) -> Runs:
        """Return the runs that used a version, by its row id, in the order of doing so."""
        return self._runs_of(version, USED, limit=None)

    def products(self, version: int) -> Ids:
        """Return the row ids of the versions that runs made of a version, by its row id, in the order of doing so."""
        return self._engine.database.read(lambda connection: products_of(connection, version))

    def _runs_of(self, version: int, direction: str, limit: int | None) -> Runs:
        def work(connection: Connection) -> Runs:
            return self._judged(connection, runs_of(connection, version, direction, limit))

        return self._engine.database.read(work)

    # Within a transaction

    def _free_id(self, tx: Transaction, wanted: str | None) -> str:
        taken = select(_run.c.id)
        if wanted is not None:
            if tx.execute(taken.where(_run.c.id == wanted)).first() is not None:
                raise Conflict(f"run {wanted!r} exists already; give another id, or go on with it")
            return wanted
        while tx.execute(taken.where(_run.c.id == (chosen := self._new_id()))).first() is not None:
            continue
        return chosen

    def _reap(self, tx: Transaction, project: str) -> None:
        owner = select(_project.c.id).where(_project.c.key == fold_name(project)).scalar_subquery()
        running = select(_run.c.id, _run.c.state, _run.c.heartbeat).where(
            _run.c.project == owner, _run.c.state == RUNNING
        )
        old = running.where(_run.c.heartbeat < tx.now() - LOST).order_by(_run.c.id)
        for row in tx.lock(old).all():
            reason = f"no heartbeat for {(tx.now() - row.heartbeat) // 1_000_000} s"
            data = {"id": row.id, "state": CRASHED, "exit_code": None, "ended": row.heartbeat}
            tx.record("run.crashed", subject_of(row.id), data, reason)


def _lost(state: str, heartbeat: int, now: int) -> bool:
    return state == RUNNING and heartbeat < now - LOST


def _missed(row: Any) -> bool:
    """Whether a run was taken for crashed by others; one that was told so by a signal has an exit code."""
    return bool(row.state == CRASHED and row.exit_code is None)


def _known(run: RunRecord, name: str) -> Any:
    value = getattr(run, name)
    return list(value) if isinstance(value, tuple) else value


def _words(**given: str | None) -> dict[str, str | None]:
    """Return free text as the database keeps it; InvalidInput for what is not text."""
    for what, text in given.items():
        if text is not None and not isinstance(text, str):
            raise InvalidInput(f"{what} must be text, not {type(text).__name__}")
    return {what: None if text is None else plain(text).replace("\0", "\\0") for what, text in given.items()}


def _tags(tags: Iterable[str]) -> list[str]:
    labels = sorted({tags} if isinstance(tags, str) else set(tags))
    for one in labels:
        check_tag(one)
    return labels
