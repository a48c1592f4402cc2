"""How each system logs a tree and fetches it, as whole processes in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LOG = """
import lineart
with lineart.init(project="bench") as run:
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir("data")
    run.log_artifact(draft)
"""
FETCH = "import lineart; lineart.use_artifact('bench/data:latest').download('out')"


@dataclass(frozen=True)
class System:
    """Commands run in a work folder that has the tree at `data`; `fetch` puts it at `out`."""

    name: str
    log: list[str]
    fetch: list[str]
    store: str  # folder whose size is what was stored
    prepare: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def _shell(command: str) -> list[str]:
    return ["bash", "-ec", command]


def _lineart(work: Path) -> System:
    environment = {"LINEART_STORE": str(work / "store"), "HOME": str(work), "LINEART_CAPTURE": "none"}
    prepare = [sys.executable, "-c", "import lineart; lineart.create('store')"]
    return System("lineart", [sys.executable, "-c", LOG], [sys.executable, "-c", FETCH], "store", prepare, environment)


def _cp(_: Path) -> System:
    return System("cp -r", _shell("rm -rf copy && cp -r data copy"), ["cp", "-r", "copy", "out"], "copy")


def _borg(work: Path) -> System:
    environment = {
        "BORG_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_BASE_DIR": str(work / "borg-home"),
    }
    fetch = "mkdir -p out && cd out && borg extract ../store::$(borg list --short ../store | tail -1)"
    prepare = ["borg", "init", "-e", "none", "store"]
    return System(
        "borg", _shell("borg create -C none store::$(date +%s%N) data"), _shell(fetch), "store", prepare, environment
    )


def _restic(work: Path) -> System:
    environment = {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(work / "restic-cache")}
    log = ["restic", "-r", "store", "-q", "backup", "data"]
    fetch = ["restic", "-r", "store", "-q", "restore", "latest", "--target", "out"]
    return System("restic", log, fetch, "store", ["restic", "init", "-r", "store", "-q"], environment)


SYSTEMS: dict[str, Callable[[Path], System]] = {"lineart": _lineart, "cp": _cp, "borg": _borg, "restic": _restic}


def installed(name: str) -> bool:
    """Say whether a system's program is on this machine."""
    return name in {"lineart", "cp"} or shutil.which(name) is not None


def prepare(system: System, work: Path) -> None:
    """Make the system's repository."""
    if system.prepare:
        quiet = subprocess.DEVNULL
        subprocess.run(
            system.prepare, cwd=work, env={**os.environ, **system.environment}, check=True, stdout=quiet, stderr=quiet
        )
