"""Asks git what the code of a run was: commit, branch, remote and what is not committed.

Knows git's command line (porcelain formats only, which are stable); must not know what the answer is for. Read-only:
no lock is taken and no hook or monitor of the repository is started. An answer that cannot be had becomes a note.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .masking import mask_text

__all__ = ["DIFF_LIMIT", "GitState", "read_git"]

DIFF_LIMIT = 10 * 1024 * 1024  # bytes
NAMES, MOST = 64 * 1024, 100  # bytes read of the names of untracked files, and names kept
PATIENCE = 20.0  # seconds for one command
_SAFE = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=true", "-c", "color.ui=false")
_DIFF = ("--no-ext-diff", "--no-textconv", "--binary", "--no-color")


@dataclass(frozen=True, slots=True)
class GitState:
    """A working tree at one moment. What is None does not exist there, or could not be read; then `note` says why.

    `diff` holds what is tracked and differs from `commit`, as a patch that `git apply` takes; with `diff_cut` it ends
    after the limit. Of untracked files only names are recorded, folders as one, at most MOST of them. `remote` has no
    credentials.
    """

    root: str
    commit: str | None = None
    branch: str | None = None  # None where the head is detached
    remote: str | None = None
    dirty: bool = False
    diff: bytes | None = None
    diff_cut: bool = False
    note: str | None = None
    untracked: tuple[str, ...] = ()


def read_git(directory: Path, limit: int = DIFF_LIMIT, program: str = "git") -> GitState | None:
    """Return the state of the working tree that a directory is in; None without one, or without git."""
    git = (program, "-C", str(directory), *_SAFE)
    try:
        root = _ask(git, "rev-parse", "--show-toplevel")
    except (OSError, subprocess.SubprocessError):
        return None
    if root is None:
        return None
    state = {"root": root.removesuffix("\n")}
    try:
        return _read(git, state["root"], limit)
    except (OSError, subprocess.SubprocessError) as error:
        return GitState(state["root"], note=f"git could not be asked: {type(error).__name__}")


def _read(git: Sequence[str], root: str, limit: int) -> GitState:
    status = _ask(git, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return GitState(root, note="git status failed")
    commit = branch = upstream = None
    dirty = False
    for line in status.splitlines():
        if line.startswith("# branch.oid "):
            commit = _unless(line[13:], "(initial)")
        elif line.startswith("# branch.head "):
            branch = _unless(line[14:], "(detached)")
        elif line.startswith("# branch.upstream "):
            upstream = line[18:]
        elif not line.startswith("#"):
            dirty = True
    diff, cut = None, False
    if dirty:
        diff, cut = _bounded((*git, "diff", *_DIFF, "HEAD" if commit else "--cached"), limit)
    note = "the diff could not be read" if dirty and diff is None else None
    return GitState(root, commit, branch, _remote(git, upstream), dirty, diff, cut, note, _untracked(git))


def _untracked(git: Sequence[str]) -> tuple[str, ...]:
    """Return names of what git neither tracks nor ignores: code may have run that nobody kept."""
    others = ("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--no-empty-directory", "--full-name")
    listed, cut = _bounded((*git, *others, ":/"), NAMES)
    names = (listed or b"").split(b"\0")[: -1 if cut else None]
    return tuple(one.decode(errors="backslashreplace") for one in names[:MOST] if one)


def _unless(value: str, absent: str) -> str | None:
    return None if value == absent else value


def _remote(git: Sequence[str], upstream: str | None) -> str | None:
    """Return the URL of the upstream's remote, else of `origin`, else of the first."""
    listed = _ask(git, "config", "--get-regexp", r"^remote\..*\.url$")
    urls: dict[str, str] = {}
    for line in (listed or "").splitlines():
        key, _, url = line.partition(" ")
        urls.setdefault(key.removeprefix("remote.").removesuffix(".url"), url)
    if not urls:
        return None
    tracked = next((name for name in urls if upstream and upstream.startswith(name + "/")), "origin")
    return mask_text(urls.get(tracked) or next(iter(urls.values())))


def _ask(git: Sequence[str], *arguments: str) -> str | None:
    done = subprocess.run(
        [*git, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
    )
    return None if done.returncode else done.stdout.decode(errors="replace")


def _bounded(command: Sequence[str], limit: int) -> tuple[bytes | None, bool]:
    """Return at most `limit` bytes of what a command prints, and whether there was more; None if it failed."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        text = _read_up_to(process.stdout, limit + 1)
        if len(text) > limit:
            process.kill()
            return text[:limit], True
        return (text, False) if process.wait(PATIENCE) == 0 else (None, False)


def _read_up_to(stream: IO[bytes], size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
