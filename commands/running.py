"""`art run`: any program as a run, and runs whose steps are separate commands.

Knows runs, stores and how a program is started; must not know how its signals are passed on.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..storage.errors import Conflict, InvalidInput, InvalidName, NotFound
from .invocation import Invocation, invocation

if TYPE_CHECKING:
    from ..lineage.capture import Capture, Captured
    from ..lineage.run import Run
    from ..store import Store

__all__ = ["Product", "log_products", "product_of", "register"]

HOURS, MOST = 24.0, 24.0 * 366  # that a run may be silent between its steps
ABSENT, REFUSED = 127, 126  # what shells say of a command that is not there, and of one that is none
MISSING = 3  # the exit code for what does not exist
_PANEL = "Trace"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("run", rich_help_panel=_PANEL, context_settings={"allow_interspersed_args": True})(run)


@dataclass(frozen=True, slots=True)
class Product:
    """What is to be logged when a program has ended well."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be: its words, its inputs and its products."""

    words: dict[str, Any]
    use: tuple[str, ...]
    products: tuple[Product, ...]
    type: str | None


def run(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="The program, and its arguments.")
    ] = None,
    use: Annotated[
        list[str] | None, typer.Option(metavar="REF", help="A version that it uses; may be repeated.")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A file or folder to log once it has ended well; may be repeated."),
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Of what --log logs; by default the collection's, else dataset."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for the run.")] = None,
    job_type: Annotated[str | None, typer.Option(metavar="TYPE", help="What kind of work it is: train, prep.")] = None,
    group: Annotated[str | None, typer.Option(help="What it belongs to with other runs.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the run; may be repeated.")] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="VALUE is JSON if it parses, else text; may be repeated."),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Start a run for commands to come, and print its id: LINEART_RUN_ID.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="End such a run: the one given, else LINEART_RUN_ID.")
    ] = False,
    exit_code: Annotated[int, typer.Option(metavar="N", help="With --finish: how it went; all but 0 is failed.")] = 0,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="HOURS",
            min=0.0,
            max=MOST,
            help="With --start: how long it may be silent and not be taken for crashed.",
        ),
    ] = HOURS,
) -> None:
    """Run a program as a run: what it uses, what it made, how it ended.

    The exit code is the program's. Programs of any language may call `art get` and `art log`, and Python programs
    lineart, and are in that run.
    """
    call = invocation(context)
    given = list(command or ())
    if start and finish:
        raise InvalidInput("--start begins a run, --finish ends one; give one of them")
    if finish:
        _finish(call, given, exit_code)
        return
    if start and (given or log):
        raise InvalidInput("--start starts a run for commands to come; `art log` logs what they make, in that run")
    if not start and not given:
        raise InvalidInput("what is to be run? art run -- COMMAND…, or --start for a run of several commands")
    if given and "--" not in call.arguments:
        raise InvalidInput(f"put -- in front of the command: art run … -- {given[0]} …")
    from .intake import parse_metadata

    words: dict[str, Any] = {"name": name, "job_type": job_type, "group": group, "tags": tag or ()}
    words["config"] = parse_metadata(config or (), "config")
    plan = Plan(words, tuple(use or ()), tuple(map(product_of, log or ())), type_)
    code = _start(call, plan, timeout) if start else _run(call, plan, given)
    if code:
        raise typer.Exit(code)


def product_of(text: str) -> Product:
    """Read NAME=PATH; InvalidName for a name under which nothing can be logged."""
    from ..artifacts.ref import check_name

    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise InvalidInput(f"--log is NAME=PATH, not {text!r}")
    if "/" in name or ":" in name or "@" in name:
        raise InvalidName(
            f"--log {name}: a name alone; the project is the run's (--project), the version comes by itself"
        )
    check_name("artifact name", name)
    return Product(name, Path(path))


# One program


def _run(call: Invocation, plan: Plan, command: Sequence[str]) -> int:
    from ..environment import DISABLED, child_environment, mode_here

    if plan.type is not None:
        from ..artifacts.ref import check_name

        check_name("type", plan.type)
    if mode_here() == DISABLED:
        code = _execute(call, command, child_environment(call.settings(), DISABLED))[0]
        if plan.products:
            call.screen.note(f"LINEART_MODE is {DISABLED}: nothing is logged")
        return code
    with call.open_or_create() as store:
        _require_names(store, plan)
        run = _begin(call, store, plan, _capture(command, _promised(plan)))
        try:
            for ref in plan.use:
                run.use_artifact(ref)
            code, reason, signalled = _execute(call, command, child_environment(store.settings, run.id))
            logged = log_products(call, store, run, plan.products, plan.type) if code == 0 else []
        except BaseException as error:
            from ..lineage.outcome import outcome_of

            code, state, reason = outcome_of(error)
            run.end_quietly(MISSING if isinstance(error, NotFound) else code, state=state, reason=reason)
            raise
        run.end_quietly(code, state="crashed" if signalled else None, reason=reason)
    if run.ended:  # else it was said why that could not be recorded
        made = f"; logged {', '.join(logged)}" if logged else ""
        call.screen.note(f"run {run.id} {run.state}{'' if reason is None else f' ({reason})'}{made}")
    return code


def _execute(call: Invocation, command: Sequence[str], environment: dict[str, str]) -> tuple[int, str | None, bool]:
    """Run a program; return the exit code, why it is not 0, and whether a signal ended it."""
    from .child import run_program, shell_code

    call.screen.out.flush()
    try:
        status = run_program(command, environment)
    except FileNotFoundError:
        call.screen.error(f"{command[0]}: there is no such command")
        return ABSENT, f"no command {command[0]}", False
    except OSError as error:
        call.screen.error(f"{command[0]}: cannot be run: {error.strerror}")
        return REFUSED, f"{command[0]} cannot be run: {error.strerror}", False
    code = shell_code(status)
    if status < 0:
        known = -status in signal.Signals.__members__.values()  # of real-time signals two have a name
        return code, signal.Signals(-status).name if known else f"signal {-status}", True
    return code, f"exit code {code}" if code else None, False


def _promised(plan: Plan) -> Captured:
    """Return what a run remembers of what is to be logged: who repeats it has to log that, too."""
    from ..lineage.capture import Captured

    return Captured({"logs": {one.name: str(one.path) for one in plan.products}} if plan.products else {})


def _require_names(store: Store, plan: Plan) -> None:
    """Raise Conflict where a product cannot be logged under its name, or not as what it is to be."""
    from ..artifacts.ref import fold_name

    spelled: dict[str, str] = {}
    for one in plan.products:
        first = spelled.setdefault(fold_name(one.name), one.name)
        if first != one.name:
            raise Conflict(f"--log {one.name} and --log {first} differ only by case")
        store.catalog.prepare(store.project, one.name, plan.type)


def log_products(
    call: Invocation, store: Store, run: Run, products: Sequence[Product], type_: str | None = None
) -> list[str]:
    """Log what a program made, all or nothing of it if something is not there; return what became of it."""
    from ..lineage.run import draft_of
    from .intake import TYPE

    for one in products:
        if not one.path.exists():
            raise NotFound(
                f"{one.path} does not exist, though the command ended well: nothing is logged (--log {one.name})"
            )
    types = [type_ or store.catalog.type_of(run.project, one.name) or TYPE for one in products]
    drafts = [draft_of(one.path, one.name, kind) for one, kind in zip(products, types, strict=True)]
    refs = []
    for draft in drafts:  # all of them can be read by now
        with call.watched(store, *draft.take_draft().totals()):
            refs.append(run.log_artifact(draft).ref)
    return refs


# Several commands


def _start(call: Invocation, plan: Plan, hours: float) -> int:
    from ..environment import DISABLED, mode_here
    from ..lineage.capture import Captured

    if mode_here() == DISABLED:
        call.screen.line(DISABLED)
        return 0
    with call.open_or_create() as store:
        silence = Captured({}, {"patience": hours * 3600})
        run = _begin(call, store, plan, _capture(None, silence))
        for ref in plan.use:
            run.use_artifact(ref)
        run.save()
    call.screen.line(run.id)
    return 0


def _finish(call: Invocation, given: list[str], exit_code: int) -> None:
    from ..environment import DISABLED, inherited_run, mode_here

    if len(given) > 1:
        raise InvalidInput(f"--finish ends one run, not {len(given)}")
    if mode_here() == DISABLED:
        return
    run = given[0] if given else inherited_run()
    if run is None:
        raise InvalidInput("which run? art run --finish ID, or set LINEART_RUN_ID")
    with call.open_or_create() as store:
        before = store.ledger.get(run)
        after = store.ledger.finish(run, exit_code, reason=f"exit code {exit_code}" if exit_code else None)
    had = "had ended: " if before.ended is not None and before.ended == after.ended else ""
    call.screen.note(f"run {run} {had}{after.state}")


# Both


def _begin(call: Invocation, store: Store, plan: Plan, capture: Capture) -> Run:
    """Start a run; every input is looked for first, so that a slip of the keyboard leaves none behind."""
    from ..lineage.run import INTERVAL, start_run

    for ref in plan.use:
        call.resolve(store, ref)
    interval = None if "patience" in capture.seen.environment else INTERVAL
    return start_run(store, store.project, capture=capture, interval=interval, **plan.words)


def _capture(command: Sequence[str] | None, facts: Captured | None = None) -> Capture:
    """Return what is remembered of a program: its command line, directory and git state, and this machine.

    The packages of this Python are listed only if it is the program's, too.
    """
    from ..environment import captures_nothing, inherited_run
    from ..lineage.capture import Capture, Captured, Collected, collect, observe
    from ..lineage.git import read_git
    from ..lineage.masking import mask_arguments

    outer = inherited_run()
    said = Captured() if facts is None else facts
    if outer is not None:
        said = Captured({**said.code, "parent": outer}, said.environment)
    if captures_nothing():
        return Capture.none(said)
    ours = command is not None and _is_beside_python(command[0])
    silent = "patience" in said.environment
    left_out = {*(() if ours else ("python", "implementation", "executable")), *(("pid", "process") if silent else ())}

    def seen() -> Captured:
        found = observe()
        shown = found.code if command is None else {**found.code, "command": mask_arguments(command)}
        return Captured(shown, {name: value for name, value in found.environment.items() if name not in left_out})

    return Capture(seen, collect if ours else lambda folder: Collected(read_git(folder), b""), facts=said)


def _is_beside_python(program: str) -> bool:
    """Whether a program is this Python, or was installed with it."""
    found = shutil.which(program)
    return found is not None and Path(found).absolute().parent == Path(sys.executable).parent
