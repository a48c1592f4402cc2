"""OpenLineage events, held against the official client's generated classes and the rules of the specification.

No package of PyPI has the JSON schema itself. So each event is (1) checked against a small schema of what the
specification demands of every event, and (2) built from the client's classes, which are generated from the schema and
refuse fields that are unknown or missing and values that are no UUID, no time, or not of an enumeration.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import jsonschema
import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.generated import datasource_dataset, lifecycle_state_change_dataset

from lineart.lineage.exchange.names import run_uuid
from lineart.lineage.exchange.openlineage import event_lines, events

TEXT = {"type": "string", "minLength": 1}
FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {"_producer": {"format": "uri", **TEXT}, "_schemaURL": {"format": "uri", **TEXT}},
    },
}
DATASET = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "namespace": TEXT,
        "name": TEXT,
        "facets": FACETS,
        "inputFacets": FACETS,
        "outputFacets": FACETS,
    },
    "additionalProperties": False,
}
COMMON = {"eventTime": {"format": "date-time", **TEXT}, "producer": {"format": "uri", **TEXT}, "schemaURL": TEXT}
RUN_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        **COMMON,
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"format": "uuid", **TEXT}, "facets": FACETS},
            "additionalProperties": False,
        },
        "job": {**DATASET, "properties": {"namespace": TEXT, "name": TEXT, "facets": FACETS}},
        "inputs": {"type": "array", "items": DATASET},
        "outputs": {"type": "array", "items": DATASET},
    },
    "additionalProperties": False,
}
DATASET_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "dataset"],
    "properties": {**COMMON, "dataset": DATASET},
    "additionalProperties": False,
}
CLASSES = {
    "run": {
        "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
        "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    },
    "job": {
        "jobType": facet_v2.job_type_job.JobTypeJobFacet,
        "documentation": facet_v2.documentation_job.DocumentationJobFacet,
        "sourceCodeLocation": facet_v2.source_code_location_job.SourceCodeLocationJobFacet,
    },
    "dataset": {
        "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
        "dataSource": datasource_dataset.DatasourceDatasetFacet,
        "datasetType": facet_v2.dataset_type_dataset.DatasetTypeDatasetFacet,
        "documentation": facet_v2.documentation_dataset.DocumentationDatasetFacet,
        "ownership": facet_v2.ownership_dataset.OwnershipDatasetFacet,
        "symlinks": facet_v2.symlinks_dataset.SymlinksDatasetFacet,
        "lifecycleStateChange": lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet,
        "inputStatistics": facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
        "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    },
}
NESTED = {"owners": facet_v2.ownership_dataset.Owner, "identifiers": facet_v2.symlinks_dataset.Identifier}


def name_of(url):
    """Return what a schema's URL names, and its major version: the rest is raised with every release."""
    found = re.fullmatch(r"https://openlineage\.io/spec/facets/(\d+)-\d+-\d+/(\w+)\.json#/\$defs/(\w+)", url)
    assert found is not None, url
    return found.groups()


def check_facets(kind, facets):
    for name, facet in facets.items():
        fields = {key: value for key, value in facet.items() if not key.startswith("_")}
        if name.startswith("lineart_"):
            assert facet["_schemaURL"].endswith("#" + name)
            continue
        made = CLASSES[kind][name]
        assert name_of(facet["_schemaURL"]) == name_of(made._get_schema())
        for key, nested in NESTED.items():
            if key in fields:
                fields[key] = [nested(**one) for one in fields[key]]
        if name == "lifecycleStateChange":
            lifecycle_state_change_dataset.LifecycleStateChange(fields[name])
        made(**fields)


def check(event):
    schema = RUN_EVENT if "run" in event else DATASET_EVENT
    jsonschema.validate(event, schema, format_checker=jsonschema.FormatChecker())
    for url in (event["producer"], *(one["_producer"] for one in facets_in(event))):
        assert urlsplit(url).scheme
    if "run" not in event:
        check_facets("dataset", event["dataset"]["facets"])
        assert event["schemaURL"] == event_v2.DatasetEvent._get_schema()
        event_v2.DatasetEvent(eventTime=event["eventTime"], dataset=event_v2.StaticDataset("n", "n"))
        return
    check_facets("run", event["run"]["facets"])
    check_facets("job", event["job"]["facets"])
    for side, extra in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
        for one in event[side]:
            check_facets("dataset", one["facets"])
            check_facets("dataset", one[extra])
    assert event["schemaURL"] == event_v2.RunEvent._get_schema()
    built = event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        run=event_v2.Run(runId=event["run"]["runId"]),
        job=event_v2.Job(namespace=event["job"]["namespace"], name=event["job"]["name"]),
        inputs=[event_v2.InputDataset(namespace=one["namespace"], name=one["name"]) for one in event["inputs"]],
        outputs=[event_v2.OutputDataset(namespace=one["namespace"], name=one["name"]) for one in event["outputs"]],
        producer=event["producer"],
    )
    assert built.run.runId == event["run"]["runId"]


def facets_in(value):
    if isinstance(value, dict):
        if "_producer" in value:
            yield value
        for one in value.values():
            yield from facets_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from facets_in(one)


@pytest.mark.parametrize("graph", ["digits", "hostile"])
def test_every_event_is_one_of_the_standard(request, graph):
    lines = list(event_lines(request.getfixturevalue(graph)))
    assert lines
    for line in lines:
        assert line.isascii()
        assert line.endswith("\n")
        assert line.count("\n") == 1
        check(json.loads(line))


def test_the_check_itself_refuses_what_is_wrong(digits):
    def broken(change):
        (event,) = [one for one in events(digits) if one.get("eventType") == "FAIL"]
        event = json.loads(json.dumps(event))
        change(event)
        with pytest.raises((jsonschema.ValidationError, TypeError, ValueError, AssertionError, KeyError)):
            check(event)

    broken(lambda event: event["run"].update(runId="r1"))
    broken(lambda event: event.update(eventTime="yesterday"))
    broken(lambda event: event.update(eventType="FAILED"))
    broken(lambda event: event["run"]["facets"]["errorMessage"].pop("programmingLanguage"))
    broken(lambda event: event["run"]["facets"]["errorMessage"].update(unknown=1))
    broken(lambda event: event["outputs"][0]["facets"]["version"].pop("_schemaURL"))
    broken(lambda event: event["outputs"][0]["facets"]["lifecycleStateChange"].update(lifecycleStateChange="MADE"))
    broken(lambda event: event["inputs"][0].pop("name"))


def test_a_run_starts_and_then_is_how_it_stands_in_the_order_of_time(digits):
    found = [(one["eventTime"][17:], one.get("eventType")) for one in events(digits)]
    assert found == [
        ("00.000500Z", None),  # the report, which no run made
        ("02Z", "START"),
        ("03Z", "FAIL"),
        ("04Z", "START"),
        ("09Z", "COMPLETE"),
        ("11Z", "START"),
        ("11.500000Z", "START"),
        ("12Z", "RUNNING"),
        ("13Z", "ABORT"),
    ]


def test_versions_are_versions_of_datasets(digits):
    (done,) = [one for one in events(digits) if one.get("eventType") == "COMPLETE"]
    assert [(one["namespace"], one["name"]) for one in done["inputs"]] == [(f"lineart://{'5' * 32}", "p/data")]
    used, made = done["inputs"][0], done["outputs"][0]
    assert used["facets"]["version"]["datasetVersion"] == "v1"
    assert used["facets"]["symlinks"]["identifiers"] == [
        {"namespace": "s3://corpus", "name": "web/", "type": "LOCATION"}
    ]
    assert made["facets"]["datasetType"]["datasetType"] == "MODEL"
    assert made["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
    assert made["facets"]["lineart_version"]["metadata"] == {"acc": 0.97}
    assert made["outputFacets"]["outputStatistics"]["size"] == 1 << 40


def test_code_and_words_of_a_run_are_there(digits):
    (done,) = [one for one in events(digits) if one.get("eventType") == "COMPLETE"]
    assert done["job"]["name"] == "p/train"
    location = done["job"]["facets"]["sourceCodeLocation"]
    assert (location["url"], location["version"], location["branch"]) == (
        "ssh://git@github.com/team/digits.git",
        "a" * 40,
        "main",
    )
    assert done["job"]["facets"]["documentation"]["description"] == "cosine"
    told = done["run"]["facets"]["lineart_run"]
    assert (told["id"], told["config"], told["summary"], told["tags"]) == ("r2", {"lr": 0.1}, {"loss": 0.2}, ["x"])


def test_how_a_run_failed_is_said(digits):
    (failed,) = [one for one in events(digits) if one.get("eventType") == "FAIL"]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "run failed with exit code 3"


def test_run_ids_are_the_same_at_every_export_and_differ_between_stores(digits):
    first, again = ([one["run"]["runId"] for one in events(digits) if "run" in one] for _ in range(2))
    assert first == again
    assert run_uuid("r1", "5" * 32) in first
    assert run_uuid("r1", "6" * 32) not in first
    assert len(set(first)) == 4


def test_events_do_not_say_what_lies_on_this_machine(digits):
    digits.nodes["run:r2"]["record"].code["directory"] = "/home/ana/secret-place"
    digits.nodes["run:r2"]["record"].environment["user"] = "ana-the-user"
    text = "".join(event_lines(digits))
    assert "secret-place" not in text
    assert "ana-the-user" not in text


def test_an_empty_graph_has_no_events(maker):
    assert list(event_lines(maker.graph)) == []
