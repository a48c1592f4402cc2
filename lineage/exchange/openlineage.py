"""Lineage as OpenLineage events (https://openlineage.io), one JSON object a line, for what collects them.

Knows graphs as `graph.py` makes them and the shape of an event; must not know who reads it. Pure. A run is a START and
an event for how it stands; a version is a dataset (its collection) with a version facet, and stands as it is in an
event of its own where no run has to do with it. Events come in the order of their times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..graph import REFERS, RUN, VERSION
from ..runs import CRASHED, FAILED, FINISHED, PRODUCED, RUNNING, USED, iso_time
from .facets import (
    DATASET_EVENT,
    EVENT,
    change_facet,
    dataset_facets,
    edge_facets,
    job_facets,
    run_facets,
    start_facets,
)
from .names import PRODUCER, dataset_of, job_of, store_of, uuid_of

if TYPE_CHECKING:
    import networkx as nx

    from ...artifacts.records import VersionRecord
    from ..runs import RunRecord

__all__ = ["event_lines", "events"]

_STATES = {RUNNING: "RUNNING", FINISHED: "COMPLETE", FAILED: "FAIL", CRASHED: "ABORT"}
_START = "START"


def event_lines(graph: nx.DiGraph) -> Iterator[str]:
    """Yield the events of a lineage graph as lines of JSON, all of it ASCII."""
    for event in events(graph):
        yield json.dumps(event) + "\n"


def events(graph: nx.DiGraph) -> Iterator[dict[str, Any]]:
    """Yield the events of a lineage graph, in the order of their times.

    Of each run a START, with what it used, when it was created; and with what it used and produced COMPLETE, FAIL or
    ABORT (crashed) when it ended, or RUNNING at its last sign of life. A version that no run in the graph used or
    produced is a dataset event. Run ids are UUIDs made of the store's id and the run's, the same at every export.
    """
    export = _Export(graph)
    due: list[tuple[int, int, str, str]] = []
    for node, data in graph.nodes(data=True):
        record = data["record"]
        if data["kind"] == RUN:
            due.append((record.created, 0, node, _START))
            due.append((_told(record), 2, node, _STATES[record.state]))
        elif data["kind"] == VERSION and not _is_touched(graph, node):
            due.append((record.created, 1, node, ""))
    due.sort()  # by time, then a run's START before all else
    for time, _, node, what in due:
        yield export.of_run(node, what, time) if what else export.of_version(node, time)


def _told(run: RunRecord) -> int:
    """Return when a run stood as it does; never before it began, whatever clocks said."""
    return max(run.created, run.heartbeat if run.ended is None else run.ended)


def _is_touched(graph: nx.DiGraph, node: str) -> bool:
    before = any(data["kind"] == PRODUCED for *_, data in graph.in_edges(node, data=True))
    return before or any(data["kind"] == USED for *_, data in graph.out_edges(node, data=True))


class _Export:
    def __init__(self, graph: nx.DiGraph) -> None:
        self._graph = graph
        self._store = store_of(graph)

    def of_run(self, node: str, what: str, time: int) -> dict[str, Any]:
        """Return one event of a run."""
        run: RunRecord = self._graph.nodes[node]["record"]
        job = job_of(run, self._store)
        starts = what == _START
        return {
            "eventType": what,
            "eventTime": iso_time(time),
            "producer": PRODUCER,
            "schemaURL": EVENT,
            "run": {"runId": uuid_of(run, self._store), "facets": start_facets(run) if starts else run_facets(run)},
            "job": {"namespace": job.namespace, "name": job.name, "facets": job_facets(run)},
            "inputs": [self._used(*edge) for edge in self._edges(node, before=True)],
            "outputs": [] if starts else [self._made(*edge) for edge in self._edges(node, before=False)],
        }

    def of_version(self, node: str, time: int) -> dict[str, Any]:
        """Return the event of a version by itself."""
        return {
            "eventTime": iso_time(time),
            "producer": PRODUCER,
            "schemaURL": DATASET_EVENT,
            "dataset": self._dataset(node),
        }

    def _edges(self, run: str, *, before: bool) -> list[tuple[str, dict[str, Any]]]:
        """Return the versions on one side of a run with their edges, in the order in which those were recorded."""
        edges = self._graph.in_edges(run, data=True) if before else self._graph.out_edges(run, data=True)
        found = [(edge[0] if before else edge[1], edge[2]) for edge in edges]
        return sorted(found, key=lambda one: one[1]["order"])

    def _used(self, node: str, edge: dict[str, Any]) -> dict[str, Any]:
        return {**self._dataset(node), "inputFacets": edge_facets(self._record(node), edge, made=False)}

    def _made(self, node: str, edge: dict[str, Any]) -> dict[str, Any]:
        record, dataset = self._record(node), self._dataset(node)
        dataset["facets"] = change_facet(record) | dataset["facets"]
        return {**dataset, "outputFacets": edge_facets(record, edge, made=True)}

    def _dataset(self, node: str) -> dict[str, Any]:
        record = self._record(node)
        namespace, name, version = dataset_of(record, self._store)
        places = [
            self._graph.nodes[place]["record"]
            for place, _, data in self._graph.in_edges(node, data=True)
            if data["kind"] == REFERS
        ]
        facets = dataset_facets(record, namespace, version, places, cut=self._graph.nodes[node]["cut"])
        return {"namespace": namespace, "name": name, "facets": facets}

    def _record(self, node: str) -> VersionRecord:
        record: VersionRecord = self._graph.nodes[node]["record"]
        return record
