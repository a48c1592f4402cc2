"""How each system logs a tree and fetches it, as whole processes in a folder of its own.

Knows commands; must not know how they are timed. The tree lies outside the folder, and all systems log the same one,
but for those whose way of working wants it inside.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .timing import environment_of

LOG = """
import lineart, sys
with lineart.init(project="bench") as run:
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(sys.argv[1])
    run.log_artifact(draft)
"""
FETCH = "import lineart; lineart.use_artifact('bench/data:latest').download('out')"
MLFLOW_LOG = """
import mlflow, sys
with mlflow.start_run():
    mlflow.log_artifacts(sys.argv[1], "data")
"""
MLFLOW_FETCH = """
import mlflow
run = mlflow.search_runs(output_format="list")[0].info.run_id
mlflow.artifacts.download_artifacts(run_id=run, artifact_path="data", dst_path="out")
"""
WANDB_LOG = """
import sys, wandb
run = wandb.init(project="bench", mode="offline", settings=wandb.Settings(silent=True))
artifact = wandb.Artifact("data", "dataset")
artifact.add_dir(sys.argv[1])
run.log_artifact(artifact)
run.finish()
"""


@dataclass(frozen=True)
class System:
    """Commands run in its folder; `fetch` puts the tree somewhere fresh, and is None where there is no such thing."""

    log: list[str]
    fetch: list[str] | None
    store: str  # folder whose size is what was stored
    prepare: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    before_fetch: str = ""  # folder that has to go first
    copies: bool = False  # each log keeps a whole copy; the earlier ones are removed to save memory, and counted


Make = Callable[[Path, Path, Path], System]  # of the system's folder, the tree's, and that of its environment


def _shell(command: str, *arguments: str) -> list[str]:
    return ["bash", "-ec", command, "bash", *arguments]


def _lineart(here: Path, data: Path, _: Path) -> System:
    python = sys.executable
    environment = {
        "LINEART_STORE": str(here / "store"),
        "LINEART_CACHE_DIR": str(here / "cache"),
        "LINEART_CAPTURE": "none",
        "HOME": str(here),
    }
    prepare = [python, "-c", "import lineart; lineart.create('store')"]
    return System([python, "-c", LOG, str(data)], [python, "-c", FETCH], "store", prepare, environment)


def _cp(_: Path, data: Path, __: Path) -> System:
    return System(["cp", "-r", str(data), "copy"], ["cp", "-r", "copy", "out"], "copy", copies=True)


def _borg(here: Path, data: Path, _: Path) -> System:
    environment = {
        "BORG_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_BASE_DIR": str(here / "home"),
    }
    log = _shell('borg create -C none store::$(date +%s%N) "$1"', str(data))
    fetch = _shell("mkdir out && cd out && borg extract ../store::$(borg list --short ../store | tail -1)")
    return System(log, fetch, "store", ["borg", "init", "-e", "none", "store"], environment)


def _restic(here: Path, data: Path, _: Path) -> System:
    environment = {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(here / "cache")}
    log = ["restic", "-r", "store", "-q", "backup", str(data)]
    fetch = ["restic", "-r", "store", "-q", "restore", "latest", "--target", "out"]
    return System(log, fetch, "store", ["restic", "init", "-r", "store", "-q"], environment)


def _dvc(here: Path, _: Path, environment: Path) -> System:
    dvc = str(environment / "bin" / "dvc")
    prepare = _shell('git init -q . && "$1" init -q && "$1" config core.analytics false', dvc)
    variables = {"HOME": str(here), "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(here / "site")}
    log, fetch = [dvc, "add", "-q", "data"], [dvc, "checkout", "-q", "data.dvc"]
    return System(log, fetch, ".dvc/cache", prepare, variables, before_fetch="data")


def _mlflow(here: Path, data: Path, environment: Path) -> System:
    python = str(environment / "bin" / "python")
    variables = {"HOME": str(here), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    prepare = [python, "-c", "import mlflow; mlflow.search_experiments()"]  # makes its database
    log = [python, "-c", MLFLOW_LOG, str(data)]
    return System(log, [python, "-c", MLFLOW_FETCH], "mlruns", prepare, variables)


def _wandb(here: Path, data: Path, environment: Path) -> System:
    python = str(environment / "bin" / "python")
    names = {"WANDB_DIR": "runs", "WANDB_CACHE_DIR": "kept/cache", "WANDB_DATA_DIR": "kept/data"}
    for folder in names.values():
        (here / folder).mkdir(parents=True)
    variables = {"HOME": str(here), **{name: str(here / folder) for name, folder in names.items()}}
    return System([python, "-c", WANDB_LOG, str(data)], None, "kept", environment=variables)


SYSTEMS: dict[str, Make] = {
    "lineart": _lineart,
    "cp": _cp,
    "borg": _borg,
    "restic": _restic,
    "dvc": _dvc,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
TITLES = {"lineart": "Lineart", "cp": "`cp -r`", "dvc": "DVC", "mlflow": "MLflow", "wandb": "W&B offline"}
NATIVE = ("lineart", "cp", "borg", "restic")
OWN_TREE = {"dvc"}  # tracks a folder of its own working tree, and puts it back in its place


def installed(name: str) -> bool:
    """Say whether the program of a system that needs no environment is on this machine."""
    return name in {"lineart", "cp"} or shutil.which(name) is not None


def version_of(name: str) -> str:
    """Return what a program says of its version."""
    if name == "lineart":
        import lineart

        return lineart.__version__
    asked = [name, "version"] if name == "restic" else [name, "--version"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return answer.partition("\n")[0]


def prepare(system: System, here: Path) -> None:
    """Make the system's repository."""
    if system.prepare:
        done = subprocess.run(
            system.prepare, cwd=here, env=environment_of(system.environment), capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{system.prepare}: {(done.stdout + done.stderr)[-2000:].decode(errors='replace')}")
