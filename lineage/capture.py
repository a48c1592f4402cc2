"""What a run remembers of how it was started: command, code and environment.

Knows the process it runs in; must not know the store. What takes time (git, the package list) is done in one thread in
the background and waited for where it is first needed. Nothing here raises into the program that is recorded: what
cannot be found out is left out, with a note.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from ..storage.digest import Digest
from .git import GitState, read_git
from .liveness import identity
from .masking import mask_arguments

__all__ = ["NOTHING", "Capture", "Captured", "Collected", "chunks_named", "collect", "describe", "observe"]

CHUNKS = {"code": ("diff",), "environment": ("packages",)}  # keys whose values are digests of chunks
CHUNK_LIMIT = 4 * 1024 * 1024  # bytes; what is longer is given out in parts


@dataclass(frozen=True, slots=True)
class Captured:
    """What a run's row keeps: `code` and `environment` are JSON objects, `texts` what is to be stored beside them.

    `texts` maps "code.diff" and "environment.packages" to bytes; their digests are put where `place` says.
    """

    code: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    def chunks(self) -> list[bytes]:
        """Return the chunks to store, each within the format's limit, in the order in which `place` wants them back."""
        return [part for _, text in sorted(self.texts.items()) for part in _split(text)]

    def place(self, digests: list[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return code and environment with the digests of the stored chunks in their places: lists, in order."""
        parts = {"code": dict(self.code), "environment": dict(self.environment)}
        rest = iter(digests)
        for name, text in sorted(self.texts.items()):
            part, _, key = name.partition(".")
            parts[part][key] = [str(Digest(next(rest))) for _ in _split(text)]
        return parts["code"], parts["environment"]


NOTHING = Captured()


def _split(text: bytes) -> list[bytes]:
    return [text[start : start + CHUNK_LIMIT] for start in range(0, len(text), CHUNK_LIMIT)]


def chunks_named(code: Mapping[str, Any], environment: Mapping[str, Any]) -> list[bytes]:
    """Return the digests of the chunks that a run's row names: the collector keeps them."""
    parts = {"code": code, "environment": environment}
    return [
        bytes(Digest.parse(text)) for part, keys in CHUNKS.items() for key in keys for text in parts[part].get(key, ())
    ]


@dataclass(frozen=True, slots=True)
class Collected:
    """The part that takes time."""

    git: GitState | None
    packages: bytes  # one "name==version" a line, sorted


def observe() -> Captured:
    """Return what is known at once: command line (secrets masked), directory, Python, host and user."""
    code = {"command": mask_arguments(sys.orig_argv), "directory": _try(os.getcwd)}
    environment = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": _try(platform.platform),
        "host": _try(socket.gethostname),
        "user": _try(_user),
        "cpus": os.cpu_count(),
        "pid": os.getpid(),
        "process": identity(),
    }
    return Captured(code, environment)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _try(ask: Callable[[], str]) -> str | None:
    """Return an answer, or None where the system has none (a deleted directory, a user without a name)."""
    try:
        return ask().encode(errors="backslashreplace").decode()
    except (OSError, LookupError, ImportError):
        return None


def collect(directory: Path) -> Collected:
    """Ask git about a directory and list the installed packages: the slow part."""
    return Collected(read_git(directory), list_packages())


def list_packages() -> bytes:
    """Return the installed packages as sorted lines `name==version`; a broken installation is left out."""
    found = set()
    for one in distributions():
        metadata = one.metadata
        if "Name" in metadata and "Version" in metadata:
            name, version = metadata["Name"], metadata["Version"]
            found.add(f"{name}=={version}\n")
    return "".join(sorted(found, key=str.casefold)).encode(errors="backslashreplace")


def describe(seen: Captured, collected: Collected) -> Captured:
    """Join what was seen at once with what was collected."""
    code, texts = dict(seen.code), dict(seen.texts)
    state = collected.git
    if state is not None:
        git = {
            "root": state.root,
            "commit": state.commit,
            "branch": state.branch,
            "remote": state.remote,
            "dirty": state.dirty,
        }
        code["git"] = {name: value for name, value in git.items() if value is not None}
        if state.note:
            code["git"]["note"] = state.note
        if state.untracked:
            code["git"]["untracked"] = list(state.untracked)
        if state.diff:
            texts["code.diff"] = state.diff
        if state.diff_cut:
            code["diff_cut"] = len(state.diff or b"")
    if collected.packages:
        texts["environment.packages"] = collected.packages
    return Captured(code, dict(seen.environment), texts)


class Capture:
    """Observes the process now and collects the rest in the background.

    `result()` waits for it, at most `patience` seconds, and never raises: a failure becomes a note in `code`. A child
    made by fork has no such thread; there it returns what was seen at once. `facts` are said of the run, whatever is
    seen.
    """

    def __init__(
        self,
        seen: Callable[[], Captured] = observe,
        slow: Callable[[Path], Collected] = collect,
        directory: Path | None = None,
        patience: float = 60.0,
        facts: Captured = NOTHING,
    ) -> None:
        self._patience = patience
        self._pid = os.getpid()
        self._outcome: Captured | None = None
        self.empty = False  # there is nothing to record but the facts, and there will be nothing
        try:
            self.seen = _with_facts(seen(), facts)
            where = directory or Path.cwd()
        except Exception as error:  # noqa: BLE001 - obligation: nothing may reach the program that is recorded
            self.seen = self._outcome = _failed(facts, error)
            return
        self._thread = threading.Thread(target=self._work, args=(slow, where), name="lineart-capture", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread to be had: the limit is reached, or the interpreter is going down
            self._outcome = _failed(self.seen, error)

    @classmethod
    def none(cls, facts: Captured = NOTHING) -> Capture:
        """Return a capture that records nothing but facts, and starts nothing."""
        made = cls.__new__(cls)
        made._patience, made._pid, made.seen, made._outcome = 0.0, os.getpid(), facts, facts  # noqa: SLF001 - its own
        made.empty = True
        return made

    def _work(self, slow: Callable[[Path], Collected], directory: Path) -> None:
        try:
            self._outcome = describe(self.seen, slow(directory))
        except Exception as error:  # noqa: BLE001 - obligation: nothing may reach the program that is recorded
            self._outcome = _failed(self.seen, error)

    @property
    def ready(self) -> bool:
        """Whether `result()` would return at once."""
        return self._outcome is not None

    def result(self) -> Captured:
        """Return what was captured; may be called again, from any thread."""
        if self._outcome is None and os.getpid() == self._pid:
            self._thread.join(self._patience)
        outcome = self._outcome
        return _noted(self.seen, f"not known after {self._patience:g} s") if outcome is None else outcome


def _with_facts(seen: Captured, facts: Captured) -> Captured:
    return Captured({**seen.code, **facts.code}, {**seen.environment, **facts.environment}, seen.texts)


def _failed(seen: Captured, error: BaseException) -> Captured:
    return _noted(seen, f"{type(error).__name__}: {error}")


def _noted(seen: Captured, note: str) -> Captured:
    return Captured({**seen.code, "note": note}, dict(seen.environment), dict(seen.texts))
