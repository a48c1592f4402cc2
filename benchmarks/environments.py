"""Installing the peers: those that come as Python packages each in an environment of its own, made once and kept; the
others by the system's packages, where that may be done without a question.

Knows pip, apt-get and brew; must not know what the peers do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = {"dvc": "dvc[s3]", "mlflow": "mlflow", "wandb": "wandb"}
SYSTEM_PACKAGES = {"borg": "borgbackup", "restic": "restic"}
_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


class NotInstalled(Exception):
    """A peer could not be installed; the message says why."""


def default_folder() -> Path:
    """Return where environments are kept when nobody says where."""
    return Path(tempfile.gettempdir()) / f"lineart-benchmarks-{os.getuid()}"


def environment(name: str, folder: Path | None) -> tuple[Path, str]:
    """Return the folder of a peer's environment and the peer's version, installing it where it is missing.

    Raises NotInstalled.
    """
    if name == "dvc" and shutil.which("git") is None:
        raise NotInstalled("it needs git")
    base = folder or default_folder()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if base.stat().st_uid != os.getuid():  # what lies in it would be run
        raise NotInstalled(f"{base} belongs to somebody else; choose another --environments")
    here = base / name
    version = _version(name, here)
    if version is None:
        print(f"installing {PACKAGES[name]} in {here}", flush=True)
        _call([sys.executable, "-m", "venv", "--clear", str(here)])
        quiet = ["--quiet", "--disable-pip-version-check"]
        _call([str(here / "bin" / "python"), "-m", "pip", "install", *quiet, PACKAGES[name]])
        version = _version(name, here)
    if version is None:
        raise NotInstalled(f"{here} has no working {name}")
    return here, version


def system_package(name: str) -> None:
    """Install a peer's program by the system's package manager.

    Raises NotInstalled, with how to do it by hand, where this user may not.
    """
    package = SYSTEM_PACKAGES[name]
    if shutil.which("brew"):
        commands = [["brew", "install", "--quiet", package]]
    elif shutil.which("apt-get") and os.geteuid() == 0:
        commands = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]]
    else:
        raise NotInstalled(f"not on PATH, and only root may add it; apt-get install {package}")
    print(f"installing {package}", flush=True)
    for command in commands:
        _call(command)
    if shutil.which(name) is None:
        raise NotInstalled(f"{package} is installed but has no {name}")


def _version(name: str, here: Path) -> str | None:
    python = here / "bin" / "python"
    if not python.exists():
        return None
    asked = subprocess.run([python, "-c", _VERSION, name], capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else None


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        words = done.stdout.decode(errors="replace").strip().splitlines()
        raise NotInstalled(words[-1] if words else f"{command} ended with {done.returncode}")
