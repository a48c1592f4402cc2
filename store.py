"""The store: one location opened, and everything that can be asked of it.

Ties the parts together. Must not hold logic of its own.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .artifacts.artifact import Artifact
from .artifacts.catalog import Also, Catalog
from .artifacts.commit import Proposal, commit_draft, warn_if_empty
from .artifacts.folds import FOLDS as ARTIFACT_FOLDS
from .artifacts.records import listed
from .artifacts.ref import LATEST, Ref, check_alias, fold_name
from .artifacts.stat_cache import StatCache
from .environment import actor, settings_here, user_data
from .keeping import Keeping, compared_tables
from .lineage.ledger import Ledger
from .lineage.runs import FOLDS as RUN_FOLDS
from .lineage.signing.signatures import FOLDS as SIGNATURE_FOLDS
from .settings import Settings, sqlite_url
from .signing import Signing
from .storage.backends import Backend, is_local, is_remote, local_path, open_backend
from .storage.engine import Engine
from .storage.errors import Conflict, InvalidInput, NotFound
from .storage.events import Event
from .storage.layout import MARKER
from .tracing import Tracing

if TYPE_CHECKING:
    from .artifacts.records import CollectionRecord, VersionRecord
    from .artifacts.status import Status
    from .artifacts.upload import Progress
    from .storage.repair import Repaired

__all__ = ["Store", "create", "create_settings", "open", "open_or_create", "open_settings", "repair"]

FOLDS = {**ARTIFACT_FOLDS, **RUN_FOLDS, **SIGNATURE_FOLDS}
_log = logging.getLogger("lineart")
APPEARS = 10.0  # seconds that a store another process is making right now is waited for


def open(  # noqa: A001 - lineart.open is the interface
    url: str | os.PathLike[str] | None = None,
    database: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    project: str | None = None,
) -> Store:
    """Open a store that exists: the one named, or the one that applies here.

    Without a URL: `LINEART_STORE`, the nearest `.lineart/config.toml`, the user's configuration, the user's default
    store. Raises NotFound where there is no store, StoreUnavailable where it cannot be reached, Conflict where bucket
    and database do not belong together.
    """
    return open_settings(settings_here(url, database, storage_options, project))


def create(
    url: str | os.PathLike[str],
    database: str | None = None,
    *,
    single_machine: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    project: str | None = None,
) -> Store:
    """Make a store and open it.

    A folder holds its own SQLite database. A bucket needs `database=` (PostgreSQL, shared by everybody who uses the
    bucket), or `single_machine=True`, which keeps a SQLite file in this user's data folder and is stamped into the
    store. Raises Conflict where there is a store already, InvalidInput for a bucket without either.
    """
    return create_settings(settings_here(url, database, storage_options, project), single_machine=single_machine)


def open_settings(settings: Settings) -> Store:
    """Open the store that settings name."""
    backend = _backend_of(settings)
    try:
        return Store(Engine.open(backend, _database_of(settings), actor=actor(), folds=FOLDS), settings)
    except NotFound as error:
        backend.close()
        if settings.database is None and not is_local(settings.url):
            raise NotFound(
                f"{error}; for a bucket that a team shares, name its database: database= or LINEART_DATABASE"
            ) from None
        raise
    except BaseException:
        backend.close()
        raise


def _backend_of(settings: Settings) -> Backend:
    """Return the place that settings name; of one beyond this machine, copies of what is read are kept on it."""
    backend = open_backend(settings.url, settings.storage_options)
    if settings.cache is None or not is_remote(settings.url):
        return backend
    from .storage.backends.blocks import BLOCKS, BlockFolder
    from .storage.backends.cache import CachingBackend

    return CachingBackend(backend, BlockFolder(settings.cache / BLOCKS, settings.cache_size))


def _database_of(settings: Settings) -> str:
    return settings.database or sqlite_url(settings, user_data())


def create_settings(settings: Settings, *, single_machine: bool = False) -> Store:
    """Make the store that settings name."""
    database = settings.database
    if database is None:
        if not is_local(settings.url) and not single_machine:
            raise InvalidInput(
                f"{settings.url} needs a database that everybody who uses it shares: give database=postgresql://… "
                "(--database), or single_machine=True (--single-machine) if only this machine will ever write to it"
            )
        database = sqlite_url(settings, user_data())
        Path(database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    elif single_machine:
        raise InvalidInput("give a database or single_machine=True, not both")
    if is_local(settings.url):
        local_path(settings.url).mkdir(parents=True, exist_ok=True)
    backend = _backend_of(settings)
    try:
        engine = Engine.create(backend, database, actor=actor(), folds=FOLDS, single_machine=single_machine)
    except BaseException:
        backend.close()
        raise
    return Store(engine, settings)


def repair(settings: Settings, *, dry_run: bool = False, every: bool = False, up_to_hole: bool = False) -> Repaired:
    """Make the database that settings name know everything that the bucket holds; see `repair_database`.

    With `dry_run` it only says what it would do. Of rows that are changed the first are described (a thousand, since
    nobody can look at them afterwards; of a dry run twenty), or `every` one.
    """
    from .storage.repair import NAMED, repair_database
    from .storage.repair_preview import preview_repair
    from .storage.rows_check import LISTED

    work, listed = (preview_repair, LISTED) if dry_run else (repair_database, NAMED)
    with closing(open_backend(settings.url, settings.storage_options)) as backend:
        return work(
            backend,
            _database_of(settings),
            actor=actor(),
            folds=FOLDS,
            compared=compared_tables(),
            listed=None if every else listed,
            up_to_hole=up_to_hole,
        )


def open_or_create(settings: Settings, made: Callable[[Store], None] = lambda _: None) -> Store:
    """Open the store that settings name; a local one that nobody made yet is made, by one of any number at once.

    `made` is told of a store that was made here.
    """
    if not settings.implicit:
        return open_settings(settings)
    deadline = time.monotonic() + APPEARS
    while True:
        marker = local_path(settings.url) / MARKER
        if marker.exists():
            return open_settings(settings)
        try:
            store = create_settings(settings)
            made(store)
            return store
        except Conflict:
            if not marker.exists() and time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Store(Keeping, Signing, Tracing):
    """One opened store. Close it, or use it as a context manager; safe from many threads.

    `project` is where bare names are looked for first and where versions are logged.

    >>> with create(tmp_path / "store") as store:                                         # doctest: +SKIP
    ...     draft = Artifact("words", type="dataset")
    ...     draft.add_bytes(b"a b c", "words.txt")
    ...     store.log(draft).name
    'words:v0'
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.catalog = Catalog(engine)
        self.ledger = Ledger(self.catalog)
        self.project = settings.project
        self.downloads = settings.downloads
        self.cache = settings.cache
        self.stat_cache = StatCache.below(settings.cache)
        self.watch: Callable[[str], Progress | None] | None = None  # asked for a progress callback when work begins

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.url}, project {self.project}>"

    @property
    def url(self) -> str:
        """Where its bytes are, without secrets."""
        return self.engine.backend.url

    @property
    def id(self) -> str:
        """The store's id: 32 hex digits, the same in its marker and its database."""
        return self.engine.marker.store_id

    def close(self) -> None:
        """Release connections; may be called again."""
        self.engine.close()

    # Versions

    def artifact(self, ref: str | Ref) -> Artifact:
        """Return the version that a ref means; nothing is recorded. NotFound says what there is instead."""
        return Artifact.of(self.resolve(ref), self)

    def resolve(self, ref: str | Ref) -> VersionRecord:
        """Return the record of the version that a ref means."""
        return self.catalog.meant(ref, self.project)

    def collections(self, project: str | None = None) -> list[CollectionRecord]:
        """Return the collections of a project, or of all."""
        return self.catalog.collections(project)

    def projects(self) -> list[str]:
        """Return the names of all projects."""
        return self.catalog.projects()

    def versions(self, name: str) -> list[VersionRecord]:
        """Return every version of a collection, deleted ones included, in the order of their numbers."""
        return self.catalog.versions(Ref.parse(name), self.project)

    def log(
        self,
        artifact: Artifact,
        *,
        aliases: str | Iterable[str] = (),
        tags: str | Iterable[str] = (),
        project: str | None = None,
        also: Also | None = None,
        quiet: bool = False,
    ) -> Artifact:
        """Log a draft outside any run and return it as a version; `Run.log_artifact` records who made it, too.

        Equal content in one collection is one version: the one that exists is returned, and `latest` moves to it. With
        `quiet` neither `latest` nor another alias moves, unless the collection has no version yet. Warns of a version
        without a file: metadata alone may be meant, or a pattern found nothing; and of a new one whose content was
        deleted in its collection before, with who did that, when and why.
        """
        proposal = Proposal(
            project=project or self.project,
            name=artifact.collection,
            type=artifact.type,
            draft=artifact.take_draft(),
            description=artifact.description,
            metadata=dict(artifact.metadata),
            aliases=[*artifact.aliases, *listed(aliases)],
            tags=[*artifact.tags, *listed(tags)],
            quiet=quiet,
        )
        outcome = commit_draft(
            self.catalog, proposal, also, self.progress(f"log {artifact.collection}"), self.stat_cache
        )
        if outcome.buried is not None:
            _log.warning("%s", outcome.buried.told(outcome.version))
        artifact.settle(outcome.version, self)
        warn_if_empty(outcome.version)
        return artifact

    def status(
        self, folder: str | os.PathLike[str], against: str | Ref | None = None, *, ignore: str | Iterable[str] = ()
    ) -> tuple[VersionRecord, Status]:
        """Return a version, and how a folder differs from it; by default the one that the folder was last.

        That is the version that it was logged as, downloaded from or checked out to. Files that are as they were then
        are not read. NotFound where no such version is known.
        """
        from .artifacts.content import Content
        from .artifacts.status import folder_status, origin_of

        where = os.fspath(folder)
        if not os.path.isdir(where):
            raise NotFound(f"{where} is not a folder" if os.path.lexists(where) else f"{where} does not exist")
        if against is None:
            origin = origin_of(where, self.stat_cache, self.id)
            version = None if origin is None else self.resolve(origin[0])
            if origin is None or version is None or version.digest != origin[1]:
                raise NotFound(f"nobody knows which version {where} was; name one to compare it with (--against REF)")
        else:
            version = self.resolve(against)
        content = Content(version.digest, self.engine.chunks)
        return version, folder_status(where, content, self.stat_cache, listed(ignore))

    def promote(self, ref: str | Ref, alias: str, *, reason: str | None = None, expect: str | None = None) -> Artifact:
        """Move an alias to a version.

        `expect` is the version it must mean now (`"v6"`), or `"none"`: Conflict, where somebody moved it meanwhile.
        """
        check_alias(alias)
        if fold_name(alias) == LATEST:
            raise InvalidInput(f"{LATEST} is the version logged last and cannot be moved; choose another alias")
        version = self.catalog.meant(ref, self.project, guess=False)
        return Artifact.of(self.catalog.set_alias(version, alias, reason=reason, expect=expect), self)

    def remove_alias(self, name: str, alias: str, *, reason: str | None = None) -> None:
        """Take an alias away from a collection."""
        if alias == LATEST:
            raise InvalidInput(f"{LATEST} is the version logged last and cannot be removed")
        version = self.catalog.resolve(Ref.parse(f"{name}:{alias}"), self.project, guess=False)
        self.catalog.drop_alias(version, alias, reason=reason)

    def history(self, name: str, alias: str | None = None) -> list[Event]:
        """Return what happened to a collection, oldest first; with an alias, who moved it when, and why."""
        return self.catalog.history(Ref.parse(name), self.project, alias)

    def progress(self, what: str) -> Progress | None:
        """Return what is to be told of long work, if anybody watches."""
        return self.watch(what) if self.watch is not None else None
