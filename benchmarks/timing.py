"""Timing: whole processes by the kernel's own account of each, and calls within this one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CACHE = "LINEART_CACHE_DIR"
LAUNCHER = str(Path(__file__).with_name("launcher.py"))


class Timed(NamedTuple):
    """One process: seconds of wall and processor time, and its peak memory in MiB."""

    wall: float
    cpu: float
    memory: float
    output: str = ""  # the end of what it printed


def run_timed(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Timed:
    """Run a command to its end; RuntimeError with its last words where it fails."""
    reader, teller = os.pipe()
    with open(reader, encoding="ascii") as told:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", LAUNCHER, str(teller), *command],
                cwd=cwd,
                env=environment_of(environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[teller],
            )
        finally:
            os.close(teller)
        output = process.communicate()[0][-2000:].decode(errors="replace")
        words = told.read().split()
    if len(words) != 4 or int(words[3]):
        raise RuntimeError(f"{command} ended with {words[3:] or process.returncode}: {output}")
    wall, cpu, memory = map(float, words[:3])
    return Timed(wall, cpu, memory, output)


def median_of(runs: Sequence[Timed]) -> Timed:
    """Take the median of each figure on its own."""
    return Timed(*(statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "memory")))


def environment_of(added: Mapping[str, str]) -> dict[str, str]:
    """Return what a process sees; compiled modules may be kept, as after an installation."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **added}


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Let Lineart in this process keep what it remembers in a folder, and not in the user's, until the block ends."""
    before = os.environ.get(CACHE)
    os.environ[CACHE] = str(folder)
    try:
        yield
    finally:
        del os.environ[CACHE]
        if before is not None:
            os.environ[CACHE] = before


def hand_out(folder: Path, size: int) -> None:
    """Write and remove so many bytes, so that a virtual machine's host has handed out the memory before it is timed."""
    piece = os.urandom(1 << 24)
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(min(size, memory_left() // 2) // len(piece)):
            file.write(piece)


def memory_left() -> int:
    """Return the bytes of memory that can be had; as many as can be where the kernel does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return sys.maxsize
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), sys.maxsize)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, each once."""
    sizes: dict[tuple[int, int], int] = {}
    for here, _, names in os.walk(folder):
        for name in names:
            found = os.lstat(os.path.join(here, name))
            sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())
