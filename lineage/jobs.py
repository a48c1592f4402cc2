"""Distributed jobs: what launchers tell each process of the job that it is a part of.

Knows the variables that torchrun, Slurm and MPI set; reads no environment itself (it is handed in). Pure.

torchrun (https://docs.pytorch.org/docs/stable/elastic/run.html, "Environment Variables") starts processes that are one
training. What Slurm and MPI start may as well be many experiments, so they are one job only with `LINEART_JOIN=1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Job", "find_job"]


class Job(NamedTuple):
    """One process's place in a job."""

    key: str  # the same in all processes of the job
    rank: int


def find_job(environ: Mapping[str, str]) -> Job | None:
    """Say which job a process is a part of; None for one that is by itself, or that is alone in its job.

    `LINEART_JOIN=0` makes every process one by itself.

    >>> find_job({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"})
    Job(key='torch n1 29500 2 0', rank=1)
    """
    join = environ.get("LINEART_JOIN", "").strip().lower()
    if join in {"0", "no", "false", "off"}:
        return None
    found = _torch(environ)
    if found is None and join in {"1", "yes", "true", "on"}:
        found = _slurm(environ) or _mpi(environ)
    return found


def _torch(environ: Mapping[str, str]) -> Job | None:
    place = _place(environ.get("RANK"), environ.get("WORLD_SIZE"))
    if place is None:
        return None
    rank, size = place
    tries = environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # who is started again begins again
    named = environ.get("TORCHELASTIC_RUN_ID", "none")
    if named not in {"", "none"}:  # what torchrun says where nobody gave it an id
        return Job(f"torchrun {named} {size} {tries}", rank)
    address, port = environ.get("MASTER_ADDR"), environ.get("MASTER_PORT")
    return Job(f"torch {address} {port} {size} {tries}", rank) if address and port else None


def _slurm(environ: Mapping[str, str]) -> Job | None:
    place = _place(environ.get("SLURM_PROCID"), environ.get("SLURM_NTASKS"))
    job, step = environ.get("SLURM_JOB_ID"), environ.get("SLURM_STEP_ID")
    if place is None or not job or not step:
        return None
    cluster = environ.get("SLURM_CLUSTER_NAME", "")
    return Job(f"slurm {cluster} {job} {step} {environ.get('SLURM_RESTART_COUNT', '0')}", place[0])


def _mpi(environ: Mapping[str, str]) -> Job | None:
    for rank, size, names in (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid")),
        ("PMI_RANK", "PMI_SIZE", ("PMIX_NAMESPACE", "PMI_JOBID", "HYDRA_JOB_ID")),
    ):
        place = _place(environ.get(rank), environ.get(size))
        named = next((environ[name] for name in names if environ.get(name)), None)
        if place is not None and named is not None:
            return Job(f"mpi {named}", place[0])
    return None


def _place(rank: str | None, size: str | None) -> tuple[int, int] | None:
    """Return rank and number of processes; None where they make no sense, or there is one process only."""
    if rank is None or size is None or not rank.isdecimal() or not size.isdecimal():
        return None
    place = int(rank), int(size)
    return place if place[0] < place[1] and place[1] > 1 else None
