"""A plan as a POSIX shell script, and what whoever is to run it has to know beforehand.

Knows plans and shells; must not know stores. Pure; the steps are written by `repro_steps.py`. What was not recorded
ends the script at that step, and so does what was hidden, unless it is given.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ...storage.backends import is_local
from ...storage.digest import Digest
from .repro import Plan
from .repro_steps import LISTED, Warned, Writer, comment, state_of

__all__ = ["Script", "script_of"]

_HEAD = """\
set -eu
unset LINEART_RUN_ID LINEART_MODE
export GIT_ALLOW_PROTOCOL=file:git:http:https:ssh
stop() { printf 'art repro: %s\\n' "$1" >&2; exit 1; }
say() { printf 'art repro: %s\\n' "$1" >&2; }
command -v art >/dev/null || stop 'there is no art on PATH'
case ${REPRO_PYTHON:-} in
  */*) REPRO_PYTHON=$(cd -- "$(dirname -- "$REPRO_PYTHON")" && pwd)/$(basename -- "$REPRO_PYTHON") ;;
esac
"""
_WORK = """\
[ ! -e "$work" ] || stop "$work exists already; remove it, or name another folder"
mkdir -p -- "$work"
work=$(cd -- "$work" && pwd)
"""
_ENVIRONMENT = """
: "${{LINEART_REQUIREMENT:={requirement}}}"
environment() {{ # its name, the command that makes it, the run whose packages it has
  if [ -n "${{REPRO_PYTHON:-}}" ]; then
    python=$(command -v -- "$REPRO_PYTHON") || stop "REPRO_PYTHON: there is no $REPRO_PYTHON"
    bin=$(dirname -- "$python")
    return
  fi
  bin=$work/$1/bin
  python=$bin/python
  [ ! -e "$python" ] || return 0
  command -v "$2" >/dev/null || stop "$2 is not on PATH; REPRO_PYTHON=/path/of/a/python takes another as it is"
  "$2" -m venv "$work/$1"
  art repro --packages "$3" >"$work/$1/recorded.txt"
  sed '/^[Ll]ineart==/d' "$work/$1/recorded.txt" >"$work/$1/packages.txt"
  "$python" -m pip install --quiet -r "$work/$1/packages.txt"
  "$python" -m pip install --quiet "$LINEART_REQUIREMENT" ||
    stop "pip has no $LINEART_REQUIREMENT; set LINEART_REQUIREMENT to a wheel or a checkout, or REPRO_PYTHON"
}}
"""


class Script(str):
    """A script's text, with what it needs, in words, and its steps that will not go as they should."""

    __slots__ = ("needs", "warnings")
    needs: str
    warnings: tuple[Warned, ...]


def script_of(plan: Plan, *, store: str, release: str, force: bool = False) -> Script:
    """Return the script; `store` is the store's URL without secrets, `release` the version of Lineart that writes it.

    With `force` it goes on past what was not recorded, saying so: code is taken from where it was, packages are those
    that are there, and a step without a command is left out. What was hidden is needed all the same.
    """
    writer = Writer(plan, force=force)
    steps = [line for number in range(len(plan.steps)) for line in writer.step(number)]
    needs = _needs(plan, writer, release)
    script = Script("\n".join([*_opening(plan, store, release, writer, needs), *steps, ""]))
    script.needs, script.warnings = needs, tuple(writer.warnings)
    return script


def _needs(plan: Plan, writer: Writer, release: str) -> str:
    """Say in a line what there has to be, beside the store."""
    things = ["art"]
    if writer.sources:
        things += ["git", *writer.sources]
    if writer.programs:
        pip = f"pip that finds lineart=={release} (or LINEART_REQUIREMENT=WHEEL) and the recorded packages"
        things.append(f"{' and '.join(writer.programs)} with {pip}, or REPRO_PYTHON=PYTHON instead")
    things += [f"{one} as it was" for one in plan.places]
    return "; ".join([*things, *writer.hidden])


def _opening(plan: Plan, store: str, release: str, writer: Writer, needs: str) -> Iterator[str]:
    wanted = plan.wanted
    folder = f"./repro-{wanted.collection}-{wanted.version}"
    yield "#!/bin/sh"
    yield comment(
        f"Makes {wanted.ref} again, {Digest(wanted.digest)}, in {len(plan.steps):,} step{'s' * (len(plan.steps) != 1)}."
    )
    yield comment(f"Written by `art repro`, Lineart {release}.")
    yield "#"
    yield comment(f"sh SCRIPT [FOLDER]: works in a folder of its own, by default {folder}.")
    yield comment("REPRO_PYTHON=/path/of/a/python sh SCRIPT: with this Python as it is, without making environments.")
    yield "# LINEART_REQUIREMENT: what pip is to install as Lineart in the environments; by default this release."
    yield "# Every step is recorded as a new run of the same project. No alias moves to what it logs, not even latest."
    for one in plan.fetched[:LISTED]:
        yield comment(f"taken as it is: {one.ref} {Digest(one.digest)}" + state_of(one))
    if len(plan.fetched) > LISTED:
        yield comment(f"and {len(plan.fetched) - LISTED} versions more")
    yield comment(f"It needs: {needs}.")
    for what, step, why in writer.warnings:
        yield comment(f"{what.upper()} at {step}: {why}")
    yield (
        _HEAD
        + "".join(f"{one}\n" for one in writer.needs)
        + f"work=${{1:-{shlex.quote(folder)}}}\n"
        + _WORK.rstrip("\n")
    )
    if is_local(store):
        yield f"export LINEART_STORE={shlex.quote(store)}"
    else:
        yield comment(f"The store is {store}; the configuration or LINEART_STORE and LINEART_DATABASE must say so.")
    if writer.environments:
        yield _ENVIRONMENT.format(requirement=f"lineart=={release}").rstrip("\n")
