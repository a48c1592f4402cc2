"""`art repro`: the script and the texts that go with it, a command run as the repetition of recorded runs.

Knows the store, processes and the screen; must not know how a command line is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..artifacts.ref import LATEST
from ..storage.digest import Digest
from ..storage.errors import LineartError, NotFound

if TYPE_CHECKING:
    from ..display import Screen
    from ..lineage.answers.repro_again import Verdict
    from ..lineage.answers.repro_script import Script
    from ..lineage.capture import Capture
    from ..store import Store
    from .invocation import Invocation
    from .running import Product

__all__ = [
    "names_of",
    "print_beforehand",
    "print_packages",
    "print_patch",
    "print_script",
    "repeat",
    "report",
    "report_moves",
]

WARNED = 20  # steps that will not go as they should, of which one is told; the script names all
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # lone surrogates of which Python made no byte
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


def repeat(
    call: Invocation, store: Store, runs: Sequence[str], command: Sequence[str], products: Sequence[Product]
) -> tuple[int, list[Verdict]]:
    """Run a command as a new run that has the inputs and the words of others, and compare what it made.

    Returns the command's exit code, and the verdicts, of which there are none where it is not 0. Raises NotFound where
    there is no such run or program, an input is deleted, or something that is to be logged was not made.
    """
    from dataclasses import replace

    from ..environment import child_environment
    from ..lineage.answers.repro_again import give_inputs, unmasked, verdicts
    from ..lineage.outcome import outcome_of
    from ..lineage.run import start_run
    from .child import run_program, shell_code
    from .running import log_products

    records = [store.ledger.get(one) for one in runs]
    first = records[0]
    run = start_run(
        store,
        first.project,
        name=None if first.name == first.id else first.name,
        job_type=first.job_type,
        group=first.group,
        tags=first.tags,
        notes=first.notes,
        config=unmasked({name: value for one in records for name, value in one.config.items()}),
        capture=_capture(runs, command),
    )
    try:
        give_inputs(store.ledger, run.id, runs)
        status = run_program(command, child_environment(replace(store.settings, project=first.project), run.id))
        if status == 0:
            log_products(call, store, run, products)
    except BaseException as error:
        code, state, reason = outcome_of(error)
        run.end_quietly(code, state=state, reason=reason)
        if isinstance(error, OSError) and not isinstance(error, LineartError):
            raise NotFound(f"{command[0]}: cannot be run: {error.strerror}") from None
        raise
    code = shell_code(status)
    run.end(code, state="crashed" if status < 0 else None, reason=f"exit code {code}" if code else None)
    return code, [] if code else verdicts(store.ledger, run.id, runs)


Names = dict[tuple[str, str], int]  # what each alias of each collection means


def names_of(store: Store, runs: Sequence[str]) -> Names:
    """Return what the aliases mean in the projects of runs."""
    projects = {store.ledger.get(one).project for one in runs}
    collections = [one for project in sorted(projects) for one in store.collections(project)]
    return {
        (f"{one.project}/{one.name}", alias): number for one in collections for alias, number in one.aliases.items()
    }


def report_moves(screen: Screen, before: Names, after: Names) -> None:
    """Say which aliases mean something else now, since code that is run again gives them as it did the first time."""
    for (collection, alias), number in after.items():
        was = before.get((collection, alias), number)
        if was != number:
            back = "" if alias == LATEST else f"; `art promote {collection}:v{was} {alias}` puts it back"
            screen.note(f"{collection}: {alias} v{was} → v{number} meanwhile{back}")


def _capture(repeated: Sequence[str], command: Sequence[str]) -> Capture:
    """Return what is remembered of the command: its own words and code, not those of the process that starts it.

    Which Python it is that runs it, and with which packages, nobody here knows.
    """
    from ..environment import captures_nothing
    from ..lineage.capture import Capture, Captured, Collected, observe
    from ..lineage.git import read_git
    from ..lineage.masking import mask_arguments

    facts = Captured({"again": list(repeated)})
    if captures_nothing():
        return Capture.none(facts)

    def seen() -> Captured:
        found = observe()
        here = {key: found.environment[key] for key in ("platform", "host", "user", "cpus")}
        return Captured({**found.code, "command": mask_arguments(command)}, here)

    return Capture(seen, lambda directory: Collected(read_git(directory), b""), facts=facts)


def report(screen: Screen, found: Sequence[Verdict]) -> None:
    """Say of everything that was to be made again whether it came out the same."""
    for one in found:
        wanted = one.wanted.ref
        if one.made is None:
            outcome, digest = "not made", ""
        else:
            outcome, digest = ("the same" if one.same else "different"), str(Digest(one.made.digest))
        if not screen.terminal:
            made = "" if one.made is None else one.made.ref
            screen.tabbed([wanted, outcome, str(Digest(one.wanted.digest)), made, digest])
        elif one.same:
            number = "" if one.made is None or one.made.id == one.wanted.id else f", as {one.made.name}"
            screen.line(f"{wanted} came out the same, bit for bit{number}")
        elif one.made is None:
            screen.problem(f"{wanted} was not made: nothing was logged in its collection")
        else:
            screen.problem(f"{wanted} came out different, as {one.made.name}")


def print_patch(screen: Screen, store: Store, run: str) -> None:
    """Print what was not committed when a run started, byte for byte."""
    from ..lineage.answers.repro import patch_of

    screen.raw([patch_of(store.engine.chunks, store.ledger.get(run))])


def print_packages(screen: Screen, store: Store, run: str) -> None:
    """Print a run's packages; a line that is none, and that pip might take for an option, becomes a comment."""
    from ..lineage.answers.repro import packages_of
    from ..lineage.columns import escape

    lines = packages_of(store.engine.chunks, store.ledger.get(run)).decode(errors="replace").split("\n")
    kept = (one if _REQUIREMENT.fullmatch(one) else f"# {escape(one)}" for one in lines if one)
    screen.raw(f"{one}\n".encode() for one in kept)


def print_script(screen: Screen, script: str) -> None:
    """Print a script as it is: what is within quotes must not be escaped once more.

    What was no UTF-8 when it was recorded becomes the bytes that it was (PEP 383).
    """
    visible = _NO_BYTE.sub(lambda found: f"\\u{ord(found[0]):04x}", script)
    screen.raw([visible.encode(errors="surrogateescape")])


def print_beforehand(screen: Screen, script: Script) -> None:
    """Say what a script needs, and where it will not go as it should: hours before it gets there."""
    screen.note(f"the script needs {script.needs}")
    for one in script.warnings[:WARNED]:
        screen.note(f"it {one}")
    if len(script.warnings) > WARNED:
        screen.note(f"{len(script.warnings) - WARNED} more such steps are named at its top")
