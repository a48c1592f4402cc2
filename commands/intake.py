"""`art log`: a file, a folder or a reference to another place becomes a version, and with inputs a finished run.

Knows drafts, stores and runs; must not know how a command line is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..artifacts.artifact import Artifact
from ..artifacts.commit import Outcome, Proposal, commit_draft
from ..artifacts.ref import Ref, check_alias, check_tag
from ..display import Screen, count_of
from ..environment import captures_nothing
from ..lineage.printing import print_size
from ..storage.errors import InvalidInput, InvalidName, NotFound
from .invocation import Invocation
from .views import version_json

if TYPE_CHECKING:
    from ..artifacts.catalog import Also
    from ..store import Store

__all__ = ["Request", "log_path", "parse_metadata", "report_outcome"]

TYPE = "dataset"  # of a new collection, where nobody says


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be logged, under which name, with which words, made from what."""

    path: Path
    name: str
    type: str | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    description: str | None = None
    use: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    url: str | None = None  # in place of the path: of what stays where it is
    checksum: bool = True  # whether its place is asked for what is there


def parse_metadata(given: Sequence[str], what: str = "metadata") -> dict[str, Any]:
    """Read `key=value` pairs; a value is JSON if it parses, else text. InvalidInput where there is no key.

    >>> parse_metadata(["tokens=9", "lang=en", "split=[1,2]"])
    {'tokens': 9, 'lang': 'en', 'split': [1, 2]}
    """
    found: dict[str, Any] = {}
    for one in given:
        key, equals, text = one.partition("=")
        if not key or not equals:
            raise InvalidInput(f"{what} is KEY=VALUE, not {one!r}")
        if key in found:
            raise InvalidInput(f"{what} {key!r} is given twice")
        try:
            found[key] = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            found[key] = text
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def log_path(call: Invocation, store: Store, request: Request) -> Outcome:
    """Log what a request says.

    Raises NotFound where there is no such path or input, InvalidName for names outside the grammar.
    """
    target = Ref.parse(request.name)
    if str(target) != str(Ref(target.project, target.name)):
        raise InvalidName(f"{request.name}: a new version gets its number by itself; give aliases with --alias")
    for alias in request.aliases:
        check_alias(alias)
    for tag in request.tags:
        check_tag(tag)
    project = target.project or store.project
    draft = Artifact(target.name, request.type or TYPE, request.description, request.metadata)
    if request.url is not None:
        if request.ignore:
            raise InvalidInput("--ignore goes with a folder of this machine, not with a URL")
        draft.add_reference(request.url, checksum=request.checksum)
    elif request.path.is_dir():
        draft.add_dir(request.path, ignore=request.ignore)
        if not draft.take_draft().totals()[0]:
            raise InvalidInput(
                f"{request.path} holds no file to log: stores, .git, folders of downloads and what .artignore or "
                "--ignore names are left out"
            )
    elif request.path.exists():
        draft.add_file(request.path)
    else:
        raise NotFound(f"{request.path} does not exist")
    content = draft.take_draft()
    content.at_once = True
    proposal = Proposal(
        project=project,
        name=target.name,
        type=request.type or store.catalog.type_of(project, target.name) or TYPE,
        draft=content,
        description=request.description,
        metadata=dict(draft.metadata),
        aliases=request.aliases,
        tags=request.tags,
    )
    with call.watched(store, *content.totals()):
        joined = call.joined(store)
        if request.use or joined is not None:
            return _log_as_run(store, proposal, request.use, joined)
        return commit_draft(store.catalog, proposal, None, store.progress(f"log {target.name}"), store.stat_cache)


def _log_as_run(store: Store, proposal: Proposal, inputs: Sequence[str], joined: str | None) -> Outcome:
    from ..lineage.capture import Capture
    from ..lineage.opening import join_run
    from ..lineage.run import start_run

    for ref in inputs:
        store.resolve(ref)  # before there is a run: a slip of the keyboard leaves none behind
    capture = Capture.none() if captures_nothing() else None
    with (  # a program that is in a run has its run log what it logs
        join_run(store, joined)
        if joined is not None
        else start_run(store, proposal.project, job_type="log", capture=capture)
    ) as run:
        for ref in inputs:
            run.use_artifact(ref)
        also: Also = store.ledger.produced(run.id, proposal.metadata, lambda: None)
        proposal = replace(proposal, quiet=run.repeats)
        return commit_draft(store.catalog, proposal, also, store.progress(f"log {proposal.name}"), store.stat_cache)


def report_outcome(screen: Screen, outcome: Outcome, request: Request, *, as_json: bool) -> None:
    """Print what became of it."""
    version = outcome.version
    if not outcome.is_new and request.metadata and request.metadata != version.metadata:
        kept = "; what was given now is kept with the run" if request.use else ""
        stays = "with other metadata, which stays" if version.metadata else "without metadata, and stays so"
        screen.note(_existed(version.ref, f"{stays}{kept}", "--metadata KEY=VALUE"))
    if not outcome.is_new and request.description and request.description != version.description:
        stays = (
            "with another description, which stays" if version.description else "without a description, and stays so"
        )
        screen.note(_existed(version.ref, stays, "--description TEXT"))
    if outcome.buried is not None:
        screen.note(outcome.buried.told(version))
    if as_json:
        screen.document({"new": outcome.is_new, "new_bytes": outcome.new_bytes, "version": version_json(version)})
    elif not screen.terminal:
        state = "new" if outcome.is_new else "unchanged"
        screen.tabbed([version.ref, str(version.file_count), str(version.size), str(outcome.new_bytes), state])
    else:
        content = f"{count_of(version.file_count, 'file')}, {print_size(version.size)}"
        if outcome.external:
            content += f", {outcome.external:,} external"
        if outcome.is_new:
            screen.line(f"{version.ref}  {content}; {print_size(outcome.new_bytes)} new in the store")
        else:
            screen.line(f"unchanged: already {version.ref}  {content}")
        names = [one for one in version.aliases if one != "latest"]
        if names:
            screen.line(f"aliases: {', '.join(names)}")


def _existed(ref: str, stays: str, change: str) -> str:
    return f"{ref} existed already {stays}; `art edit {ref} {change}` changes that"
