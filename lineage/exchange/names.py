"""What other programs call a store's things: URIs, run ids and datasets that are the same wherever they are made.

Knows OpenLineage's rules for names (https://openlineage.io/docs/spec/naming/) and what a record keeps of a run or a
dataset that came from elsewhere; must not know events or files. Pure. What was imported keeps the name that its maker
gave it, so that a graph that is handed on joins up with what others know.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    import networkx as nx

    from ...artifacts.records import VersionRecord
    from ..runs import RunRecord

__all__ = [
    "ORIGIN",
    "PRODUCER",
    "DatasetId",
    "JobId",
    "dataset_of",
    "facets_of",
    "job_of",
    "join_url",
    "namespace_of",
    "origin",
    "run_uri",
    "run_uuid",
    "split_url",
    "store_of",
    "uuid_of",
    "version_uri",
]

PRODUCER = "urn:lineart:producer:1"
ORIGIN = "openlineage"  # the key of what a version's metadata or a run's code says of where it came from
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>//)?(?P<rest>.*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


class DatasetId(NamedTuple):
    """One state of a dataset: what OpenLineage calls it, and its version where it is known."""

    namespace: str
    name: str
    version: str | None


class JobId(NamedTuple):
    """What runs are runs of."""

    namespace: str
    name: str


def store_of(graph: nx.DiGraph) -> str:
    """Return the id of the store that a graph is of."""
    store: str = graph.graph["store"]
    return store


def namespace_of(store: str) -> str:
    """Return the namespace of a store's datasets and jobs: its id, which stays when its bucket is moved."""
    return f"lineart://{store}"


def version_uri(record: VersionRecord, store: str) -> str:
    """Return the URI of a version."""
    return f"{namespace_of(store)}/{record.ref}"


def run_uri(run: str, store: str) -> str:
    """Return the URI of a run; no version has it, whose number follows a colon."""
    return f"{namespace_of(store)}/run/{quote(run, safe='')}"


def run_uuid(run: str, store: str) -> str:
    """Return the UUID of a run: RFC 9562's name-based one (version 5) of its URI.

    >>> run_uuid("r8k2", "5" * 32)
    '2dadbd48-cf24-5000-82aa-90ae278c7a1e'
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, run_uri(run, store)))


def uuid_of(run: RunRecord, store: str) -> str:
    """Return the id by which the world knows a run: the one it came with, or that of `run_uuid`."""
    known = origin(run.code).get("runId")
    return known if isinstance(known, str) else run_uuid(run.id, store)


def job_of(run: RunRecord, store: str) -> JobId:
    """Return the job of a run: the one it came with; else its project and its job type, or its name without one."""
    job = origin(run.code).get("job")
    if isinstance(job, dict) and isinstance(job.get("namespace"), str) and isinstance(job.get("name"), str):
        return JobId(job["namespace"], job["name"])
    return JobId(namespace_of(store), f"{run.project}/{run.job_type or run.name}")


def dataset_of(record: VersionRecord, store: str) -> DatasetId:
    """Return the dataset that a version is a state of: the one it came with; else its collection."""
    known = origin(record.metadata)
    namespace, name, version = (known.get(key) for key in ("namespace", "name", "version"))
    if isinstance(namespace, str) and isinstance(name, str) and isinstance(version, str | None):
        return DatasetId(namespace, name, version)
    return DatasetId(namespace_of(store), f"{record.project}/{record.collection}", record.version)


def origin(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a run's code or a version's metadata says of where it was imported from; empty for our own."""
    known = values.get(ORIGIN)
    return known if isinstance(known, dict) else {}


def facets_of(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the facets that something came with, fit to be handed on: metadata may have been edited since."""
    known = told.get("facets")
    base = {"_producer": PRODUCER, "_schemaURL": "urn:lineart:openlineage:1#kept"}
    kept = known.items() if isinstance(known, dict) else ()
    return {name: base | one for name, one in kept if isinstance(one, dict)}


def split_url(url: str) -> tuple[str, str]:
    """Return the namespace and the name that make up a URL.

    >>> split_url("s3://corpus/web/a.txt"), split_url("file:///data/a"), split_url("bigquery:p.d.t")
    (('s3://corpus', 'web/a.txt'), ('file', '/data/a'), ('bigquery', 'p.d.t'))
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        return "external", url
    if parts["slashes"] is None:
        return parts["scheme"], parts["rest"]
    authority, slash, path = parts["rest"].partition("/")
    if not authority:
        return parts["scheme"], slash + path
    return f"{parts['scheme']}://{authority}", path or "/"


def join_url(namespace: str, name: str) -> str:
    """Return the URL that a dataset's namespace and name make up; its maker may or may not begin names with a slash.

    >>> join_url("s3://corpus", "web/a.txt"), join_url("s3://corpus", "/web/a.txt"), join_url("file", "/data/a")
    ('s3://corpus/web/a.txt', 's3://corpus/web/a.txt', 'file:///data/a')
    """
    if "://" in namespace:
        return f"{namespace.rstrip('/')}/{name.lstrip('/')}"
    if _SCHEME.fullmatch(namespace):
        return f"{namespace}://{name}" if name.startswith("/") else f"{namespace}:{name}"
    return f"openlineage:{quote(namespace, safe='')}/{name}"
