"""The steps of a plan as lines of a POSIX shell script: checked out, furnished, given their inputs, run and compared.

Knows plans and shells; must not know stores. Pure. What was recorded is data, whoever wrote it: in a script it stands
within quotes, or escaped to one line of a comment, and never as code.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ...artifacts.gone import tell_deletion
from ...artifacts.records import VersionRecord
from ...storage.digest import Digest
from ..columns import escape
from ..masking import MASK
from ..runs import RunRecord, iso_time
from .repro import Gone, Plan, Step

__all__ = ["LISTED", "Warned", "Writer", "comment", "quoted", "state_of"]

_OURS = frozenset({"art", "lineart"})
LISTED = 20  # inputs or outputs of a step that a comment names
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_PYTHON = re.compile(r"(python|pypy)[0-9.]*")
_BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")  # as Python has one (PEP 383)
_MINOR = re.compile(r"([0-9]+\.[0-9]+)\.")
_USER = re.compile(rf"(//|:){re.escape(MASK)}@")


class Warned(NamedTuple):
    """What will not go as it should: `what` the script does there, and why."""

    what: str  # stops, fails, goes on
    step: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} at {self.step}: {self.why}"


class Writer:
    """Writes steps; counts what was hidden, names environments, and gathers what is to be said beforehand."""

    def __init__(self, plan: Plan, *, force: bool) -> None:
        self._plan = plan
        self._force = force
        self._title = ""  # of the step that is being written
        self.needs: list[str] = []  # lines that ask for what was hidden, before anything is done
        self.warnings: list[Warned] = []
        self.environments: dict[tuple[str, ...], str] = {}
        self.sources: dict[str, None] = {}  # that repositories are cloned from
        self.programs: dict[str, None] = {}  # that make environments
        self.hidden: list[str] = []  # variables for what was hidden
        self._gone = {one.version.id: one for one in plan.gone}
        self._made: set[int] = set()  # versions that earlier steps make again

    def step(self, number: int) -> Iterator[str]:
        """Yield the lines of one step."""
        step, count = self._plan.steps[number], len(self._plan.steps)
        run = step.runs[0]
        title = f"step {number + 1} of {count}: {run.job_type or run.name} {run.id}"
        self._title = title
        yield f"\n{comment('--- ' + title)}"
        for one in step.runs:
            yield from _about(one)
        yield from _listed("used", (_used(one.version, one.aliases) for one in step.inputs))
        yield from _listed("made", (f"{one.ref} {Digest(one.digest)}" for one in step.outputs))
        yield f"say {quoted(title)}"
        reason = _unrepeatable(run)
        if reason is not None:
            yield self._missing(reason, "this step is left out, and what it made is taken as it was recorded")
            return
        yield f"step=$work/{shlex.quote(f'{number + 1}-{run.id}')}"
        yield 'mkdir -- "$step"'
        yield from self._code(run)
        for version, _ in step.inputs:
            if version.id in self._gone and version.id not in self._made:
                self.warnings.append(Warned("fails", self._title, _lost(self._gone[version.id])))
            yield f"art get {shlex.quote(_pin(version))} >/dev/null"
        yield from self._command(step)
        self._made.update(one.id for one in step.outputs)

    def _code(self, run: RunRecord) -> Iterator[str]:
        git = run.code.get("git")
        git = git if isinstance(git, dict) else {}
        root, commit, directory = _text(git.get("root")), _text(git.get("commit")), _text(run.code.get("directory"))
        source = _text(git.get("remote")) or root
        if source is None or commit is None or not _COMMIT.fullmatch(commit):
            yield self._missing(
                f"run {run.id}: its code was not in a git commit", f"it runs in {directory}, as that is now"
            )
            yield f"cd -- {shlex.quote(directory)}" if directory else 'cd -- "$step"'
            return
        if MASK in source:
            yield "# Credentials of the remote were not recorded; git asks for its own."
            source = _USER.sub(lambda found: "//" if found[1] == "//" else "@", source)
        if root and "://" not in source and not re.match(r"[^/]+:|/", source):
            source = posixpath.normpath(posixpath.join(root, source))  # git reads it from there
        if "remote" not in git:
            yield "# There was no remote: the repository is cloned from where it was."
        yield "code=$step/code"
        self.sources[source] = None
        yield f'git clone --quiet --no-checkout -- {shlex.quote(source)} "$code"'
        lost = f"commit {commit} is not to be had from {source}; was it never pushed?"
        yield f'git -C "$code" cat-file -e {commit}^0 2>/dev/null || git -C "$code" fetch --quiet origin {commit} ||'
        yield f"  stop {quoted(lost)}"
        yield f'git -C "$code" checkout --quiet --detach {commit}'
        yield from self._changes(run, git)
        below = posixpath.relpath(directory, root) if directory and root and _is_below(directory, root) else None
        if below is None:
            yield comment(f"It ran in {directory}, outside its repository.")
        place = '"$code"' if below in {None, "."} else f'"$code"/{shlex.quote(str(below))}'
        yield f"mkdir -p -- {place}"
        yield f"cd -- {place}"

    def _changes(self, run: RunRecord, git: dict[str, Any]) -> Iterator[str]:
        """Yield what brings back what was not committed."""
        left = ", ".join(map(str, git.get("untracked") or ())) or "none was there"
        yield comment(f"Files that git did not track were not recorded: {left}")
        if run.code.get("diff_cut"):
            size = run.code["diff_cut"]
            yield self._missing(
                f"run {run.id}: its uncommitted changes were cut after {size} bytes", "without any of them"
            )
        elif run.code.get("diff"):
            yield f'art repro --patch {shlex.quote(run.id)} >"$step/patch"'
            yield 'git -C "$code" apply --whitespace=nowarn "$step/patch"'
        elif run.dirty:
            note = _text(git.get("note")) or "what was not committed was not recorded"
            yield self._missing(f"run {run.id}: {note}", "without it")

    def _command(self, step: Step) -> Iterator[str]:
        run = step.runs[0]
        command = [_given(one) for one in run.code["command"]]
        executable = _text(run.environment.get("executable")) or ""
        beside = posixpath.dirname(executable)
        ours = len(command) > 1 and posixpath.basename(command[1]) in _OURS and "/" in command[1]
        python = _PYTHON.fullmatch(posixpath.basename(command[0])) or command[0] == executable
        words: list[str] = []
        if python and ours:  # the command itself, of whichever release this is
            words, command = ["art"], command[2:]
        elif python:
            yield from self._environment(run)
            words, command = ['"$python"'], command[1:]
            if command and beside and posixpath.dirname(command[0]) == beside:
                words.append(f'"$bin"/{shlex.quote(posixpath.basename(command[0]))}')
                command = command[1:]
        git = run.code.get("git")
        root = _text(git.get("root")) if isinstance(git, dict) and git.get("commit") else None
        for at, one in enumerate(command):
            before = command[at - 1] if at and command[at - 1].startswith("-") else ""
            words.append(self._word(one, before, root))
        repeats = " ".join(f"--again {shlex.quote(one.id)}" for one in step.runs)
        for name, path in _logs(step.runs):
            repeats += f" --log {shlex.quote(name)}={self._word(path, '--log', root)}"
        if self._plan.wanted.id in {one.id for one in step.outputs}:
            repeats += f" --expect {shlex.quote(self._plan.wanted.ref)}"
        yield f"art repro {repeats} -- {' '.join(words)}"

    def _word(self, argument: str, before: str, root: str | None) -> str:
        """Return an argument as the shell reads it back, with variables for what was hidden and for the repository."""
        if MASK in argument:
            first, *rest = argument.split(MASK)
            return (shlex.quote(first) if first else "") + "".join(
                f'"${self._need(before or argument)}"' + (shlex.quote(one) if one else "") for one in rest
            )
        if root and _is_below(argument, root):
            below = posixpath.relpath(argument, root)
            return '"$code"' if below == "." else f'"$code"/{shlex.quote(below)}'
        return shlex.quote(argument)

    def _need(self, what: str) -> str:
        """Return the variable for a value that was hidden, and have the script ask for it."""
        name = f"HIDDEN_{len(self.hidden) + 1}"
        self.hidden.append(name)
        message = f"{self._title}: a value was hidden when it was recorded; set {name} to what is {MASK} at {what}"
        self.needs.append(f'[ -n "${{{name}:-}}" ] || stop {quoted(message)}')
        return name

    def _environment(self, run: RunRecord) -> Iterator[str]:
        packages = run.environment.get("packages")
        version = _text(run.environment.get("python")) or ""
        minor = _MINOR.match(version)
        maker = f"python{minor[1]}" if minor else "python3"
        if not isinstance(packages, list) or not packages:
            yield self._missing(f"run {run.id}: its packages were not recorded", "with the python3 that is on PATH")
            yield 'python=$(command -v -- "${REPRO_PYTHON:-python3}")'
            yield 'bin=$(dirname -- "$python")'
            return
        self.programs[maker] = None
        yield comment(f"Python {version} on {_text(run.environment.get('platform'))}")
        key = (maker, *map(str, packages))
        name = self.environments.setdefault(key, f"environment-{len(self.environments) + 1}")
        yield f"environment {name} {maker} {shlex.quote(run.id)}"

    def _missing(self, what: str, instead: str) -> str:
        if self._force:
            self.warnings.append(Warned("goes on", self._title, f"{what}; {instead}"))
            return f"say {quoted(f'{what}; {instead}')}"
        self.warnings.append(Warned("stops", self._title, what))
        return f"stop {quoted(f'{what}; `art repro --force` goes on: {instead}')}"


def _logs(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Yield what was logged when a program had ended, by somebody else than the program: name and path."""
    for run in runs:
        logs = run.code.get("logs")
        if isinstance(logs, dict):
            yield from ((name, path) for name, path in logs.items() if isinstance(path, str))


def _unrepeatable(run: RunRecord) -> str | None:
    """Return why a run's command cannot be run again; None where it can."""
    command = run.code.get("command")
    if not isinstance(command, list) or not command or not all(isinstance(one, str) for one in command):
        return f"run {run.id} recorded no command"
    python = _PYTHON.fullmatch(posixpath.basename(command[0]))
    if python and (len(command) == 1 or command[1] in {"-", "-i"}):
        return f"run {run.id} was typed at a prompt"
    if any("ipykernel" in one or "jupyter" in one for one in command):
        return f"run {run.id} was a notebook"
    if "--start" in command and any(posixpath.basename(one) in _OURS for one in command[:3]):
        return f"run {run.id} was begun by `art run --start`, and the commands of its steps were not recorded"
    return None


def _about(run: RunRecord) -> Iterator[str]:
    name = "" if run.name == run.id else f' "{run.name}"'
    host = _text(run.environment.get("host"))
    where = f", on {host}" if host else ""
    yield comment(f"run {run.id}{name}: {run.state}, {iso_time(run.created)}, by {run.actor}{where}")
    git = run.code.get("git")
    if isinstance(git, dict) and git.get("commit"):
        branch = f" of branch {git['branch']}" if git.get("branch") else ""
        yield comment(f"commit {git['commit']}{branch}" + (", with changes" if run.dirty else ""))
    if run.code.get("note"):
        yield comment(f"note: {run.code['note']}")
    if run.config:
        hidden = MASK in str(run.config)
        yield comment("config: as it was" + (", without the values that were hidden" if hidden else ""))


def _used(version: VersionRecord, aliases: Sequence[str]) -> str:
    return f"{version.ref}{' as ' + ', '.join(aliases) if aliases else ''} {Digest(version.digest)}{state_of(version)}"


def state_of(version: VersionRecord) -> str:
    """Return what stands behind a version that is not live."""
    return "" if version.state == "live" else f", {version.state}"


def _lost(one: Gone) -> str:
    """Say what became of an input, who did it, and what brings it back."""
    version = one.version
    done = [f"{event.kind.partition('.')[2]} ({tell_deletion(event)})" for event in one.events]
    back = f"`art restore {version.ref}` brings it back"
    if version.state != "deleted":
        back = f"its bytes were given up; log the same content in {version.project}/{version.collection} again"
    return f"its input {version.ref} was {', '.join(done) or version.state}; {back}"


def _listed(what: str, things: Iterable[str]) -> Iterator[str]:
    named = list(things)
    for one in named[:LISTED]:
        yield comment(f"{what} {one}")
    if len(named) > LISTED:
        yield comment(f"{what} {len(named) - LISTED} more")


def _pin(version: VersionRecord) -> str:
    """Return a ref that no alias and no number can turn into other content."""
    return f"{version.project}/{version.collection}@{Digest(version.digest)}"


def _given(argument: str) -> str:
    """Return a recorded argument as Python had it: a byte that was no UTF-8 is recorded as text."""
    return _BYTE.sub(lambda found: chr(int(found[1], 16)), argument)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def comment(text: str) -> str:
    """Return text as one line of a comment, whatever is in it."""
    return f"# {escape(text)}"


def quoted(text: str) -> str:
    """Return a message as the shell reads it back, on one line."""
    return shlex.quote(escape(text))
