"""One call of the command: which store it means, where it prints, and how it opens what it needs.

Knows the global options; reads no environment itself (`cli.py` hands in what it needs) and imports the store only when
it is asked for, because `art --help` must not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import Screen
from ..storage.errors import NotFound

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..artifacts.ref import Ref
    from ..settings import Settings
    from ..store import Store

__all__ = ["AsJson", "Invocation", "invocation"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass(slots=True)
class Invocation:
    """What every command is given."""

    screen: Screen
    store: str | None = None
    database: str | None = None
    project: str | None = None
    arguments: tuple[str, ...] = ()  # as they were given

    def settings(self, url: str | None = None, database: str | None = None) -> Settings:
        """Settle which store is meant; arguments of the command come before the global options.

        In the offline mode (LINEART_MODE) it is this user's own in place of one that is elsewhere, unless it is named.
        """
        from ..environment import mode_here, settings_here, user_data
        from ..settings import offline_settings

        found = settings_here(url or self.store, database or self.database, project=self.project)
        if url or self.store or mode_here() != "offline":
            return found
        kept = offline_settings(found, user_data())
        if kept is not found:
            self.screen.note(f"offline: the store is {kept.url}")
        return kept

    def open(self) -> Store:
        """Open the store; NotFound where there is none."""
        from ..store import open_settings

        return open_settings(self.settings())

    def open_or_create(self) -> Store:
        """Open the store, and make the local default one where it is absent."""
        from ..store import open_or_create

        def tell(made: Store) -> None:
            why = ", named by LINEART_STORE" if made.settings.source == "LINEART_STORE" else ""  # with a typo, perhaps
            self.screen.note(f"made a store at {made.url}{why}; `art init` makes one here")

        return open_or_create(self.settings(), tell)

    @contextmanager
    def watched(self, store: Store, files: int | None = None, size: int | None = None) -> Iterator[None]:
        """Show the progress of what is done meanwhile, where somebody can see it; `size` is bytes."""
        from ..progress import watching

        if not self.screen.err_terminal:
            yield
            return
        with watching(self.screen.err, files, size) as watch:
            store.watch = watch
            try:
                yield
            finally:
                store.watch = None

    def joined(self, store: Store) -> str | None:
        """Return the run that this call is part of by its environment; one that has ended is said and passed over."""
        from ..environment import inherited_run

        run = inherited_run()
        if run is None or not store.ledger.get(run).is_over:
            return run
        self.screen.note(f"run {run} has ended: this is no part of it (LINEART_RUN_ID)")
        return None

    def resolve(self, store: Store, ref: str | Ref) -> VersionRecord:
        """Return the version that a ref means, and say so where a bare name was found in another project.

        NotFound where it means none; where it means a run, the error names the command for runs.
        """
        from ..artifacts.ref import Ref, fold_name

        meant = ref if isinstance(ref, Ref) else Ref.parse(ref)
        try:
            found = store.resolve(meant)
        except NotFound as error:
            from .elsewhere import run_meant

            said = run_meant(store, meant)
            if said is None:
                raise
            raise NotFound(f"{error}; {said}") from None
        if meant.project is None and fold_name(found.project) != fold_name(store.project):
            self.screen.note(f"{meant.name} is not in project {store.project}; {found.ref} is meant")
        return found


def invocation(context: typer.Context) -> Invocation:
    """Return the invocation that a command belongs to."""
    found = context.obj
    assert isinstance(found, Invocation)
    return found
