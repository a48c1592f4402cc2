"""What OpenLineage events say of runs, jobs and datasets beyond their names: the facets, made of records.

Knows the facets of the standard that fit what a store knows (https://openlineage.io/docs/spec/facets/), and our own,
which begin with `lineart_`; must not know events or graphs. Pure. Of what was imported, the facets that it came with
are handed on as they were. Environment variables are in no facet: no run records them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..runs import CRASHED, FAILED, iso_time
from .names import PRODUCER, facets_of, origin, split_url

if TYPE_CHECKING:
    from ...artifacts.records import ExternalRecord, VersionRecord
    from ..runs import RunRecord

__all__ = [
    "DATASET_EVENT",
    "EVENT",
    "Facets",
    "change_facet",
    "dataset_facets",
    "edge_facets",
    "job_facets",
    "run_facets",
    "start_facets",
    "web_url",
]

Facets = dict[str, dict[str, Any]]

_SPEC = "https://openlineage.io/spec"
EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
DATASET_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/DatasetEvent"
_SCHEMAS = {  # facet → the version of its schema, and what that calls it
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "processing_engine": ("1-1-1", "ProcessingEngineRunFacet"),
    "sourceCodeLocation": ("1-1-0", "SourceCodeLocationJobFacet"),
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "documentation": ("1-1-0", "DocumentationJobFacet"),
    "documentation of a dataset": ("1-1-0", "DocumentationDatasetFacet"),
    "version": ("1-0-1", "DatasetVersionDatasetFacet"),
    "dataSource": ("1-0-1", "DatasourceDatasetFacet"),
    "datasetType": ("1-0-1", "DatasetTypeDatasetFacet"),
    "ownership": ("1-0-1", "OwnershipDatasetFacet"),
    "symlinks": ("1-0-1", "SymlinksDatasetFacet"),
    "lifecycleStateChange": ("1-0-1", "LifecycleStateChangeDatasetFacet"),
    "inputStatistics": ("1-0-0", "InputStatisticsInputDatasetFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
}
_OURS = "lineart_"


def _facet(name: str, schema: str | None = None, /, **fields: Any) -> Facets:
    """Return a facet under its name; of the fields, what is not known is left out."""
    if name.startswith(_OURS):
        where = f"urn:lineart:openlineage:1#{name}"
    else:
        version, called = _SCHEMAS[schema or name]
        where = f"{_SPEC}/facets/{version}/{called}.json#/$defs/{called}"
    known = {key: value for key, value in fields.items() if value is not None}
    return {name: {"_producer": PRODUCER, "_schemaURL": where, **known}}


def start_facets(run: RunRecord) -> Facets:
    """Return the facets that a run has from its beginning."""
    facets = facets_of(origin(run.code))
    facets.pop("errorMessage", None)
    python, name = run.environment.get("python"), run.environment.get("implementation")
    if "processing_engine" not in facets and isinstance(python, str):
        facets |= _facet("processing_engine", version=python, name=name if isinstance(name, str) else None)
    return facets | _facet("lineart_run", **_begun(run))


def _begun(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id,
        "project": run.project,
        "name": run.name,
        "jobType": run.job_type,
        "group": run.group,
        "actor": run.actor,
        "command": run.code.get("command"),
        "uncommitted": run.dirty or None,
    }


def run_facets(run: RunRecord) -> Facets:
    """Return the facets of a run as it stands: what it is to us, its engine, and what went wrong with it."""
    facets = start_facets(run)
    if run.state in {FAILED, CRASHED}:
        code = "" if run.exit_code is None else f" with exit code {run.exit_code}"
        language = "PYTHON" if "python" in run.environment else "UNKNOWN"
        facets |= _facet("errorMessage", message=f"run {run.state}{code}", programmingLanguage=language)
    facets |= {name: one for name, one in facets_of(origin(run.code)).items() if name == "errorMessage"}
    ended = {"state": run.state, "exitCode": run.exit_code, "tags": list(run.tags)}
    return facets | _facet("lineart_run", **_begun(run), **ended, config=run.config, summary=run.summary)


def job_facets(run: RunRecord) -> Facets:
    """Return the facets of the job that a run is of."""
    job = origin(run.code).get("job")
    if isinstance(job, dict):
        return facets_of(job)
    facets = _facet("jobType", processingType="BATCH", integration="LINEART", jobType="JOB")
    if run.notes:
        facets |= _facet("documentation", description=run.notes)
    git = run.code.get("git")
    remote = git.get("remote") if isinstance(git, dict) else None
    if isinstance(git, dict) and isinstance(remote, str):
        facets |= _facet(
            "sourceCodeLocation",
            type="git",
            url=web_url(remote),
            repoUrl=remote,
            version=git.get("commit"),
            branch=git.get("branch"),
        )
    return facets


def web_url(remote: str) -> str:
    """Return a git remote as a URL: git's short form for ssh is none.

    >>> web_url("git@github.com:team/digits.git"), web_url("https://host/x.git"), web_url("/srv/x.git")
    ('ssh://git@github.com/team/digits.git', 'https://host/x.git', 'file:///srv/x.git')
    """
    if "://" in remote:
        return remote
    host, colon, path = remote.partition(":")
    if colon and "/" not in host:
        return f"ssh://{host}/{path.lstrip('/')}"
    return f"file://{remote}" if remote.startswith("/") else f"file:{remote}"


def dataset_facets(
    record: VersionRecord, namespace: str, version: str | None, places: Iterable[ExternalRecord], *, cut: bool
) -> Facets:
    """Return the facets of a version; `places` are those outside the store that it has entries of."""
    facets = facets_of(origin(record.metadata))
    if not facets:
        facets = _facet("dataSource", name=namespace, uri=namespace)
        kind = "MODEL" if record.type.casefold() == "model" else "FILE"
        facets |= _facet("datasetType", datasetType=kind, subType=record.type)
        facets |= _facet("ownership", owners=[{"name": record.actor, "type": "CREATOR"}])
        if record.description:
            facets |= _facet("documentation", "documentation of a dataset", description=record.description)
        symlinks = [_symlink(one.url) for one in places]
        if symlinks:
            facets |= _facet("symlinks", identifiers=symlinks)
    if version is not None:
        facets |= _facet("version", datasetVersion=version)
    facets |= _facet(
        "lineart_version",
        ref=record.ref,
        digest=f"b3:{record.digest.hex()}",
        type=record.type,
        state=record.state,
        size=record.size,
        fileCount=record.file_count,
        created=iso_time(record.created),
        actor=record.actor,
        aliases=list(record.aliases),
        tags=list(record.tags),
        metadata=record.metadata if not origin(record.metadata) else None,
        more=cut or None,
    )
    return facets


def _symlink(url: str) -> dict[str, str]:
    namespace, name = split_url(url)
    return {"namespace": namespace, "name": name, "type": "LOCATION"}


def edge_facets(record: VersionRecord, edge: Mapping[str, Any], *, made: bool) -> Facets:
    """Return what concerns a run and a version together; of an output, what it did to its collection, too."""
    name = "outputStatistics" if made else "inputStatistics"
    facets = _facet(name, size=record.size, fileCount=record.file_count)
    return facets | _facet("lineart_edge", time=iso_time(edge["time"]), **edge["data"])


def change_facet(record: VersionRecord) -> Facets:
    """Return the facet that says what a run that made a version did to the collection as a whole."""
    return _facet("lifecycleStateChange", lifecycleStateChange="CREATE" if record.number == 0 else "OVERWRITE")
