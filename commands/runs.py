"""`art runs`: lists runs, and describes one.

Parse, call, print. What is said of one run is in `account.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import count_of
from ..storage.errors import InvalidInput
from .invocation import AsJson, Invocation, invocation

if TYPE_CHECKING:
    from ..lineage.runs import RunRecord
    from ..store import Store

__all__ = ["register"]

_PANEL = "Trace"
LIMIT = 20
MOST = 1_000_000_000


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("runs", rich_help_panel=_PANEL)(runs)


def runs(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(metavar="ID", help="One run, to describe it; the beginning of its id suffices.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=1, max=MOST, metavar="N", help=f"At most so many, the newest; {LIMIT} by default."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Of all projects, and every one.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With ID: print what was not committed when it started, for `git apply`.")
    ] = False,
    packages: Annotated[
        bool, typer.Option("--packages", help="With ID: print the packages that it had, for `pip install -r`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first; or describe one: how it ended, its command, code, inputs, products and figures."""
    call = invocation(context)
    if run is None:
        if diff or packages:
            raise InvalidInput("--diff and --packages are of one run: art runs ID --diff")
        _list(call, LIMIT if limit is None else limit, everything=everything, as_json=as_json)
        return
    if limit is not None or everything:
        raise InvalidInput(f"--limit and --all are of the list; leave out {run}")
    if diff + packages + as_json > 1:
        raise InvalidInput("--diff, --packages and --json go one at a time")
    with call.open() as store:
        if diff or packages:
            _print_text(call, store, run, diff=diff)
        else:
            _describe(call, store, run, as_json=as_json)


def _list(call: Invocation, limit: int, *, everything: bool, as_json: bool) -> None:
    from .views import RUNS, run_row

    with call.open() as store:
        project = None if everything else store.project
        found = store.runs(project, None if everything else limit + 1)
    cut = not everything and len(found) > limit
    shown = found[:limit] if cut else found
    if as_json:
        call.screen.document({"project": project, "complete": not cut}, "runs", map(_json, shown))
        return
    call.screen.table(RUNS, (run_row(one, call.screen.now) for one in shown))
    if cut:
        call.screen.note(f"the newest {limit} runs; `--limit N` and `--all` show more")
    else:
        call.screen.remark(count_of(len(shown), "run") + ("" if project is None else f" in {project}"))


def _json(run: RunRecord) -> dict[str, Any]:
    return {**run.to_json(), "repeats": [{"id": one} for one in run.repeats]}


def _describe(call: Invocation, store: Store, run: str, *, as_json: bool) -> None:
    from .account import document_of, facts_of, headline_of, listed

    found = store.run(run)
    if as_json:
        call.screen.document(document_of(found))
        return
    call.screen.title(*headline_of(found))
    call.screen.pairs(listed(facts_of(found, call.screen.now), terminal=call.screen.terminal))


def _print_text(call: Invocation, store: Store, run: str, *, diff: bool) -> None:
    """Print a text that a run recorded, byte for byte; on a terminal, what would move its cursor is escaped."""
    from ..lineage.account import find_run
    from .repeating import print_packages

    record = find_run(store.ledger, run)
    if diff:
        _print_diff(call, store, record)
    else:
        print_packages(call.screen, store, record.id)


def _print_diff(call: Invocation, store: Store, record: RunRecord) -> None:
    from ..lineage.answers.repro import patch_of

    git = record.code.get("git")
    if not record.code.get("diff") and isinstance(git, dict) and not record.dirty:
        call.screen.note(f"run {record.id} had nothing that was not committed")
        return
    patch = patch_of(store.engine.chunks, record)
    if call.screen.terminal:
        for line in patch.decode(errors="backslashreplace").splitlines():
            call.screen.line(line)
    else:
        call.screen.raw([patch])
    if record.code.get("diff_cut"):
        call.screen.note(f"the diff was too long to be kept whole: these are its first {len(patch):,} bytes")
