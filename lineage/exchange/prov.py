"""Lineage as W3C PROV (https://www.w3.org/TR/prov-dm/) in its JSON form (https://www.w3.org/submissions/prov-json/).

Knows graphs as `graph.py` makes them; must not know what reads the file. Pure. Versions and places outside the store
are entities, runs activities, and whoever logged or started them agents. Names are percent-encoded behind their kind,
so that whatever people called things, a name is a good local part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..graph import REFERS
from ..runs import PRODUCED, USED, iso_time
from .names import namespace_of, store_of, uuid_of

if TYPE_CHECKING:
    import networkx as nx

    from ...artifacts.records import ExternalRecord, VersionRecord
    from ..runs import RunRecord

__all__ = ["DERIVATIONS", "prov_json", "qualified"]

DERIVATIONS = 10_000  # of one run: inputs times outputs; more say nothing that its uses and products do not
VOCABULARY = "urn:lineart:prov:1#"
_AGENT = "agent"


def prov_json(graph: nx.DiGraph) -> str:
    """Return a lineage graph as a PROV-JSON document; times are RFC 3339, UTC.

    What a run produced is derived from what it used, by that run. Of a run with more than 10,000 pairs of the two they
    are left out, and its `lineart:derivationsLeftOut` says how many; the uses and products are always all there.
    """
    return json.dumps(_document(graph), indent=1, sort_keys=False) + "\n"


def qualified(kind: str, name: str) -> str:
    """Return the qualified name of a thing: `store:version/digits/model%3Av7`.

    What is left as it is (letters, digits, `_`, `/`, and `-`, `~` and `.` within) is good in a local part everywhere.

    >>> qualified("version", "digits/model:v7"), qualified("agent", "a b.")
    ('store:version/digits/model%3Av7', 'store:agent/a%20b%2E')
    """
    local = quote(name, safe="/", errors="backslashreplace")
    return f"store:{kind}/{local[:-1]}%2E" if local.endswith(".") else f"store:{kind}/{local}"


def _document(graph: nx.DiGraph) -> dict[str, Any]:
    store = store_of(graph)
    names = {node: qualified(*_named(node, data)) for node, data in graph.nodes(data=True)}
    entities: dict[str, Any] = {}
    activities: dict[str, Any] = {}
    agents: dict[str, Any] = {}
    attributed, associated = _Relations("attribution"), _Relations("association")
    for node, data in graph.nodes(data=True):
        record, name = data["record"], names[node]
        if data["kind"] == "external":
            entities[name] = _external(record)
            continue
        agent = qualified(_AGENT, record.actor)
        agents[agent] = {"prov:label": record.actor}
        if data["kind"] == "run":
            activities[name] = _activity(record, store)
            associated.add({"prov:activity": name, "prov:agent": agent})
        else:
            entities[name] = _version(record, cut=data["cut"])
            attributed.add({"prov:entity": name, "prov:agent": agent})
    used, generated, derived = _Relations("usage"), _Relations("generation"), _Relations("derivation")
    for tail, head, data in sorted(graph.edges(data=True), key=lambda edge: edge[2]["order"]):
        time = {"prov:time": iso_time(data["time"])}
        if data["kind"] == USED:
            used.add({"prov:activity": names[head], "prov:entity": names[tail], **time})
        elif data["kind"] == PRODUCED:
            generated.add({"prov:entity": names[head], "prov:activity": names[tail], **time})
        elif data["kind"] == REFERS:
            derived.add({"prov:generatedEntity": names[head], "prov:usedEntity": names[tail]})
    for node, data in graph.nodes(data=True):
        if data["kind"] == "run":
            left_out = _derive(derived, graph, node, names)
            if left_out:
                activities[names[node]]["lineart:derivationsLeftOut"] = left_out
    parts = {
        "entity": entities,
        "activity": activities,
        "agent": agents,
        "used": used.found,
        "wasGeneratedBy": generated.found,
        "wasDerivedFrom": derived.found,
        "wasAssociatedWith": associated.found,
        "wasAttributedTo": attributed.found,
    }
    prefixes = {"store": f"{namespace_of(store)}/", "lineart": VOCABULARY}
    return {"prefix": prefixes, **{part: found for part, found in parts.items() if found}}


class _Relations:
    """Relations of one kind, each under an id of its own."""

    def __init__(self, word: str) -> None:
        self._word = word
        self.found: dict[str, dict[str, Any]] = {}

    def add(self, relation: dict[str, Any]) -> None:
        """Add one."""
        self.found[f"_:{self._word}{len(self.found)}"] = relation


def _derive(derived: _Relations, graph: nx.DiGraph, run: str, names: Mapping[str, str]) -> int:
    """Say that the outputs of a run were derived from its inputs; return how many pairs are too many to be said."""
    pairs: int = graph.in_degree(run) * graph.out_degree(run)
    if pairs > DERIVATIONS:
        return pairs
    for made in _ordered(graph.out_edges(run, data="order")):
        for used in _ordered(graph.in_edges(run, data="order")):
            if made[1] != used[0]:  # a run may log what it used: that is no derivation
                relation = {"prov:generatedEntity": names[made[1]], "prov:usedEntity": names[used[0]]}
                derived.add({**relation, "prov:activity": names[run]})
    return 0


def _ordered(edges: Iterable[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    return sorted(edges, key=lambda edge: edge[2])


def _named(node: str, data: Mapping[str, Any]) -> tuple[str, str]:
    return data["kind"], data["record"].id if data["kind"] == "run" else node


def _version(record: VersionRecord, *, cut: bool) -> dict[str, Any]:
    return _known(
        {
            "prov:label": record.ref,
            "prov:type": record.type,
            "lineart:digest": f"b3:{record.digest.hex()}",
            "lineart:size": record.size,
            "lineart:fileCount": record.file_count,
            "lineart:state": record.state,
            "lineart:created": _time(record.created),
            "lineart:description": record.description,
            "lineart:metadata": _json(record.metadata),
            "lineart:alias": list(record.aliases),
            "lineart:tag": list(record.tags),
            "lineart:cut": cut or None,  # there is more than the graph has
        }
    )


def _activity(record: RunRecord, store: str) -> dict[str, Any]:
    return _known(
        {
            "prov:startTime": iso_time(record.created),
            "prov:endTime": iso_time(record.ended),
            "prov:label": record.name,
            "prov:type": record.job_type,
            "lineart:run": record.id,
            "lineart:uuid": uuid_of(record, store),
            "lineart:project": record.project,
            "lineart:state": record.state,
            "lineart:exitCode": record.exit_code,
            "lineart:group": record.group,
            "lineart:notes": record.notes,
            "lineart:commit": record.commit,
            "lineart:tag": list(record.tags),
            "lineart:config": _json(record.config),
            "lineart:summary": _json(record.summary),
        }
    )


def _external(record: ExternalRecord) -> dict[str, Any]:
    return {"prov:label": record.url, "lineart:objects": record.objects, "lineart:size": record.size}


def _time(at: int) -> dict[str, str]:
    return {"$": iso_time(at) or "", "type": "xsd:dateTime"}


def _json(value: Mapping[str, Any]) -> str | None:
    return json.dumps(value, sort_keys=True) if value else None


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not known: PROV has no null, and no empty list of values."""
    return {name: value for name, value in values.items() if value is not None and value != []}
