"""Timing whole processes, by the kernel's own account of each."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Timed(NamedTuple):
    """One process: seconds of wall and processor time, and its peak memory in MiB."""

    wall: float
    cpu: float
    memory: float


def run_timed(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Timed:
    """Run a command to its end; RuntimeError with its last words where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=_environment(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {output[-2000:].decode(errors='replace')}")
    return Timed(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return what a process sees; compiled modules may be kept, as after an installation."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **added}


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(os.lstat(os.path.join(here, name)).st_size for here, _, names in os.walk(folder) for name in names)
