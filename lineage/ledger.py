"""The ledger: transactions that start, change and end runs, and that tie them to versions.

Knows runs, edges and the catalog; must not know processes, threads or the environment: what was captured and when a
heartbeat is due is for its caller. What it may do twice it may be asked to do twice.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy import Connection, select, update

from ..artifacts import tables as artifact_tables
from ..artifacts.ref import LATEST, Ref, fold_name
from ..storage.errors import Conflict, InvalidInput, NotFound
from ..storage.transaction import SERVER_CLOCK
from . import tables
from .edges import edges_of, lock_run, products_of, record_product, record_use, runs_of
from .liveness import LOST, death_of
from .masking import mask_mapping
from .ranks import one_at_a_time
from .runs import CRASHED, FAILED, FINISHED, PRODUCED, RUNNING, USED, RunRecord, read_runs, subject_of
from .starting import Beginning, Words, begin, check_id, fill_in, go_on, kept_words, labels, meet, taken_over
from .values import Changes, plain

if TYPE_CHECKING:
    from ..artifacts.catalog import Also, Catalog
    from ..artifacts.records import VersionRecord
    from ..storage.database import Transaction
    from .capture import Captured
    from .ranks import Meeting

__all__ = ["LOST", "Ledger", "new_run_id", "of_type"]

Runs = list[RunRecord]  # Ledger.list hides the builtin from annotations of its class
Ids = list[int]
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
        return [
            replace(one, state=CRASHED)
            if one.state == RUNNING and death_of(one.heartbeat, one.environment, now) is not None
            else one
            for one in found
        ]

    # Changing

    def start(self, project: str, *, id: str | None = None, **words: Unpack[Words]) -> RunRecord:  # noqa: A002
        """Begin a run, and record runs of the project that have vanished as crashed.

        Raises Conflict where `id` is a run already, InvalidName for an id or a tag outside the grammar. Texts that were
        captured are stored by `update`, which may come later.
        """
        if id is not None:
            check_id(id)
        kept = Beginning(**words).checked()

        def work(tx: Transaction) -> RunRecord:
            self.catalog.project_id(tx, project)
            chosen = self._free_id(tx, id)
            begin(tx, chosen, project, kept)
            return read_runs(tx.connection, [chosen])[chosen]

        return self._engine.write(work)

    def resume(self, project: str, id: str, *, must: bool, **words: Unpack[Words]) -> RunRecord:  # noqa: A002
        """Go on with a run, whatever became of it, or else begin it; where it must be there already, NotFound."""
        check_id(id)
        kept = Beginning(**words).checked()

        def work(tx: Transaction) -> RunRecord:
            self.catalog.project_id(tx, project)
            one_at_a_time(tx)
            if must or read_runs(tx.connection, [id]):
                go_on(tx, id, kept)
            else:
                begin(tx, id, project, kept)
            return read_runs(tx.connection, [id])[id]

        return self._engine.write(work)

    def join(self, run: str, **words: Unpack[Words]) -> RunRecord:
        """Take part in a run, adding to what it is known by what it does not say yet; NotFound if there is none.

        For one between whose steps no process lives, that is a sign of life.
        """
        kept = Beginning(**words).checked()
        known = self.get(run)
        if kept.given() or kept.tags or kept.config:

            def work(tx: Transaction) -> RunRecord:
                fill_in(tx, run, kept)
                return read_runs(tx.connection, [run])[run]

            known = self._engine.write(work)
        if "patience" in known.environment:
            self.heartbeat(run)
        return known

    def meet(self, project: str, meeting: Meeting, **words: Unpack[Words]) -> tuple[RunRecord, bool]:
        """Take part in the run that the processes of a job have in common, which the first to come begins.

        Returns the run, and whether it belongs to this process: to the first, until the one of rank 0 comes.
        """
        if meeting.id is not None:
            check_id(meeting.id)
        kept = Beginning(**words).checked()

        def work(tx: Transaction) -> tuple[RunRecord, bool]:
            self.catalog.project_id(tx, project)
            chosen, is_ours = meet(tx, project, meeting, kept)
            return read_runs(tx.connection, [chosen])[chosen], is_ours

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
            one: value for one, value in kept_words(notes=notes, name=name).items() if value is not None
        }
        if tags is not None:
            data["tags"] = labels(tags)
        masked = config and Changes(mask_mapping(config.values), config.removed)

        def change(tx: Transaction, digests: list[bytes]) -> None:
            row = lock_run(tx, run)
            known = read_runs(tx.connection, [run])[run]
            if captured is not None and not taken_over(known.environment, captured.environment):
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

    def finish(
        self,
        run: str,
        exit_code: int = 0,
        *,
        state: str | None = None,
        reason: str | None = None,
        environment: Mapping[str, Any] = MappingProxyType({}),
    ) -> RunRecord:
        """End a run: `finished` with exit code 0, else `failed`, or as `state` says. One that has ended stays as it is.

        A run that was taken for crashed and is alive ends as is said here. `environment` is what the process that ends
        it says of itself: where the run belongs to another of the same job by now, nothing is done.
        """
        if state not in {None, FINISHED, FAILED, CRASHED}:
            raise InvalidInput(f"a run ends {FINISHED}, {FAILED} or {CRASHED}, not {state!r}")
        outcome = state or (FAILED if exit_code else FINISHED)
        code = max(-32768, min(32767, exit_code))  # what the column holds

        def work(tx: Transaction) -> RunRecord:
            row = lock_run(tx, run)
            known = read_runs(tx.connection, [run])[run]
            if (row.state == RUNNING or _missed(row)) and not taken_over(known.environment, environment):
                kind = "run.crashed" if outcome == CRASHED else "run.finished"
                data = {"id": run, "state": outcome, "exit_code": code}
                tx.record(kind, subject_of(run), data, kept_words(reason=reason)["reason"])
            return read_runs(tx.connection, [run])[run]

        return self._engine.write(work)

    # Edges

    def use(self, run: str, ref: Ref, project: str, type_: str | None = None) -> VersionRecord:
        """Return the version that a ref means to a run, and record that the run used it.

        An alias is resolved once a run: what it meant when the run first used it, it means to all its processes until
        the end. NotFound where the version does not exist or is deleted, Conflict where it is not of the type `type_`.
        """
        version = of_type(self.catalog.resolve(ref, project), type_)
        alias = None
        if ref.version is None and ref.digest is None and ref.at is None:
            alias = fold_name(ref.alias or LATEST)

        def work(tx: Transaction) -> int:
            lock_run(tx, run)
            # For a run between whose steps no process lives, that is a sign of life; others beat by themselves.
            waits = (_run.c.id == run, _run.c.state == RUNNING, _run.c.environment.contains('"patience":'))
            tx.execute(update(_run).where(*waits).values(heartbeat=tx.now()))
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
                raise Conflict(f'run {wanted!r} exists already; give another id, or go on with it: resume="allow"')
            return wanted
        while tx.execute(taken.where(_run.c.id == (chosen := self._new_id()))).first() is not None:
            continue
        return chosen


def of_type(version: VersionRecord, type_: str | None) -> VersionRecord:
    """Return a version; Conflict where it is not of the type that is wanted."""
    if type_ is not None and version.type != type_:
        raise Conflict(f"{version.ref} is of type {version.type!r}, not {type_!r}")
    return version


def _missed(row: Any) -> bool:
    """Whether a run was taken for crashed by others; one that was told so by a signal has an exit code."""
    return bool(row.state == CRASHED and row.exit_code is None)


def _known(run: RunRecord, name: str) -> Any:
    value = getattr(run, name)
    return list(value) if isinstance(value, tuple) else value
