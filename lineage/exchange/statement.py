"""How a version came to be, as an in-toto statement (https://in-toto.io/Statement/v1) with SLSA provenance (v1).

Knows graphs as `graph.py` makes them, entries, and the two specifications
(https://github.com/in-toto/attestation/tree/main/spec/v1, https://slsa.dev/spec/v1.0/provenance); must not know stores
or keys: a statement says what the store says, and is worth as much as who signs it. Pure.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...artifacts.entry import FILE, Entry
from ...storage.digest import Digest
from ...storage.errors import NotFound
from ..graph import REFERS
from ..runs import PRODUCED, iso_time
from .facets import web_url
from .names import namespace_of, run_uri, store_of, version_uri

if TYPE_CHECKING:
    import networkx as nx

    from ...artifacts.records import ExternalRecord, VersionRecord
    from ..runs import RunRecord

__all__ = ["BUILD_TYPE", "FILES", "producers", "statement"]

STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:lineart:build:run:1"  # documented in docs/how-to/exchange-lineage.md
MANIFEST = "lineartManifest"  # the digest of a version: hex of the BLAKE3-256 of its manifest's root page
FILES = 1000  # subjects of their own; of a version with more files, none is
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_KNOWN = ("git", "command", "openlineage", "diff", "diff_cut")  # of a run's code, said elsewhere
Resource = dict[str, Any]


def producers(graph: nx.DiGraph, ref: str) -> list[RunRecord]:
    """Return the runs that produced a version, the first one first; NotFound, and what to do, where there is none."""
    edges = [(data["order"], run) for run, _, data in graph.in_edges(ref, data=True) if data["kind"] == PRODUCED]
    if not edges:
        raise NotFound(
            f"{ref} was logged outside any run, so nobody knows how it was made; log its successor in a run: "
            "`art log PATH NAME --use REF`, or run.log_artifact(…)"
        )
    return [graph.nodes[run]["record"] for _, run in sorted(edges)]


def statement(
    graph: nx.DiGraph, ref: str, files: Sequence[Entry] | None, siblings: Iterable[VersionRecord] = ()
) -> dict[str, Any]:
    """Return the statement of a version; `graph` reaches at least one step up from it.

    The subject is the version, and each of its `files` unless they are None: too many, or purged. The predicate
    describes the run that first produced it: what it was told (command, config), what it used (versions, places outside
    the store, git commit) and when it ran. `siblings` are what else it produced. Raises NotFound for a version that no
    run produced.
    """
    run, *others = producers(graph, ref)
    store, record = store_of(graph), graph.nodes[ref]["record"]
    named = [one for one in files or () if one.kind == FILE]  # of what lies elsewhere, no digest is known to be its own
    told = {"files": record.file_count, "filesNamed": len(named), "size": record.size}
    subject = [{"name": ref, "digest": _manifest(record), "annotations": told}]
    subject += [{"name": one.path, "digest": {"blake3": one.digest.hex()}} for one in named]
    return {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "command": run.code.get("command") or [],
                    "config": run.config,
                    "jobType": run.job_type or "",
                },
                "internalParameters": _internal(run, [one.id for one in others]),
                "resolvedDependencies": [*_inputs(graph, ref, run, store), *_code(run)],
            },
            "runDetails": {
                "builder": {"id": _builder(run, store)},
                "metadata": _metadata(run, store),
                "byproducts": [*(_version(one, store) for one in siblings), *_summary(run)],
            },
        },
    }


def _manifest(record: VersionRecord) -> dict[str, str]:
    return {MANIFEST: record.digest.hex()}


def _version(record: VersionRecord, store: str) -> Resource:
    return {"name": record.ref, "uri": version_uri(record, store), "digest": _manifest(record)}


def _inputs(graph: nx.DiGraph, ref: str, run: RunRecord, store: str) -> list[Resource]:
    """Return the versions that a run used, and the places outside the store that a version has entries of."""
    used = sorted(graph.in_edges(f"run:{run.id}", data="order"), key=lambda edge: edge[2])
    found = [_version(graph.nodes[one]["record"], store) for one, _, _ in used]
    for place, _, data in graph.in_edges(ref, data=True):
        if data["kind"] == REFERS:
            known: ExternalRecord = graph.nodes[place]["record"]
            said = {"objects": known.objects, "size": known.size}
            found.append({"name": place, "uri": quote(place, safe="/:?#[]@!$&'()*+,;=%~"), "annotations": said})
    return found


def _code(run: RunRecord) -> list[Resource]:
    """Return the commit that a run was at, what was not committed, and the packages that were installed."""
    found: list[Resource] = []
    git = run.code.get("git")
    if isinstance(git, dict):
        remote, commit = git.get("remote"), git.get("commit")
        one: Resource = {"name": "code", "annotations": {"dirty": run.dirty}}
        if isinstance(remote, str):
            url = web_url(remote)
            one["uri"] = url if url.startswith("git") else f"git+{url}"
        if isinstance(commit, str) and _COMMIT.fullmatch(commit):
            one["digest"] = {"gitCommit": commit}
        if isinstance(git.get("branch"), str):
            one["annotations"]["branch"] = git["branch"]
        if "uri" in one or "digest" in one:
            found.append(one)
    for name, digests in (("uncommitted.diff", run.code.get("diff")), ("packages", run.environment.get("packages"))):
        parts = digests if isinstance(digests, list) else []
        for number, text in enumerate(parts):
            part = name if len(parts) == 1 else f"{name}.{number}"
            found.append({"name": part, "digest": {"blake3": bytes(Digest.parse(text)).hex()}})
    return found


def _internal(run: RunRecord, others: list[str]) -> dict[str, Any]:
    environment = {name: value for name, value in run.environment.items() if name != "packages"}
    rest = {name: value for name, value in run.code.items() if name not in _KNOWN}
    found: dict[str, Any] = {
        "run": run.id,
        "project": run.project,
        "name": run.name,
        "state": run.state,
        "exitCode": run.exit_code,
    }
    found |= {"group": run.group, "tags": list(run.tags), "environment": environment, **rest}
    return {**found, "alsoProducedBy": others}


def _builder(run: RunRecord, store: str) -> str:
    """Return who vouches for what is said: whoever ran it, where they did; no build service stands behind it."""
    return f"{namespace_of(store)}/by/{quote(run.actor, safe='@')}"


def _metadata(run: RunRecord, store: str) -> dict[str, str]:
    found = {"invocationId": run_uri(run.id, store), "startedOn": iso_time(run.created) or ""}
    return found if run.ended is None else {**found, "finishedOn": iso_time(run.ended) or ""}


def _summary(run: RunRecord) -> list[Resource]:
    if not run.summary:
        return []
    content = base64.b64encode(json.dumps(run.summary, sort_keys=True).encode()).decode()
    return [{"name": "summary", "content": content, "mediaType": "application/json"}]
