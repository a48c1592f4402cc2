"""A small store in memory and a temporary SQLite file, and short words for making versions and runs in it.

For tests: `world` is a World; `worlds` runs the test on SQLite and on PostgreSQL.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lineart.artifacts.catalog import Catalog
from lineart.artifacts.collection import NewVersion, open_collection, settle_version
from lineart.artifacts.commit import Proposal, commit_draft
from lineart.artifacts.folds import FOLDS as ARTIFACT_FOLDS
from lineart.artifacts.ref import Ref
from lineart.lineage.ledger import Ledger
from lineart.lineage.runs import FOLDS
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.database import Database
from lineart.storage.digest import Digest
from lineart.storage.engine import Engine
from lineart.storage.marker import Marker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lineart.artifacts.records import VersionRecord

START = 1_800_000_000_000_000_000  # ns


class World:
    """A store whose clock stands still until it is set."""

    def __init__(self, url: str) -> None:
        self.time = START
        folds = {**ARTIFACT_FOLDS, **FOLDS}
        self.database = Database.create(url, store_id="5" * 32, actor="ana@here", folds=folds, clock=lambda: self.time)
        self.engine = Engine(MemoryBackend(), self.database, Marker("5" * 32, single_machine=True), "ana@here")
        self.catalog = Catalog(self.engine)
        self.ledger = Ledger(self.catalog, clock=lambda: self.time)

    def log_draft(self, artifact: Any, *, aliases: Any, tags: Any, project: str, also: Any, quiet: bool = False) -> Any:
        proposal = Proposal(
            project,
            artifact.collection,
            artifact.type,
            artifact.take_draft(),
            None,
            dict(artifact.metadata),
            aliases,
            tags,
            quiet,
        )
        return artifact.settle(commit_draft(self.catalog, proposal, also).version, self.home)

    @property
    def home(self) -> Any:
        return SimpleNamespace(catalog=self.catalog, ledger=self.ledger, downloads=None, log=self.log_draft)

    def wait(self, seconds: float) -> None:
        self.time += int(seconds * 1_000_000_000)

    def log(
        self,
        name: str,
        content: str,
        run: str | None = None,
        *,
        project: str = "p",
        aliases: tuple[str, ...] = (),
        metadata: dict[str, Any] | None = None,
        size: int = 2048,
        differs: list[str] | None = None,
        quiet: bool = False,
    ) -> VersionRecord:
        also = self.ledger.produced(run, metadata, lambda: differs.append(name)) if run else None

        def work(tx: Any) -> int:
            collection = open_collection(tx, project, name, None)
            new = NewVersion(bytes(Digest.of(content.encode())), size, 1, None, metadata or {}, quiet=quiet)
            version, is_new = settle_version(tx, collection, new, aliases)
            if also is not None:
                also(tx, version, is_new)
            return version

        number = self.engine.write(work)
        return self.catalog.records([number])[number]

    def run(self, *used: str, **options: Any) -> str:
        """Start a run that uses these refs, and return its id."""
        run = self.ledger.start("p", **options).id
        for ref in used:
            self.ledger.use(run, Ref.parse(ref), "p")
        return run

    def events(self, kind: str) -> list[Any]:
        return [event for event in self.engine.journal.events() if event.kind == kind]

    def delete(self, version: VersionRecord) -> None:
        """Mark a version as deleted, the way its row will look."""
        self.database.write(
            lambda tx: tx.connection.exec_driver_sql(
                f"UPDATE version SET state = 'deleted', deleted = 1 WHERE id = {version.id}"
            )
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(f"sqlite:///{tmp_path}/db.sqlite")
    yield made
    made.engine.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same on both databases; on PostgreSQL the time is the server's."""
    url = f"sqlite:///{tmp_path}/db.sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = World(url)
    yield made
    made.engine.close()
