"""PROV-JSON, read back by the `prov` package."""

from __future__ import annotations

import doctest
import json

import prov.model as prov_model
import pytest

import lineart.lineage.exchange.prov as module
from lineart.lineage.exchange.prov import prov_json, qualified

KINDS = {
    "entity": prov_model.ProvEntity,
    "activity": prov_model.ProvActivity,
    "agent": prov_model.ProvAgent,
    "used": prov_model.ProvUsage,
    "wasGeneratedBy": prov_model.ProvGeneration,
    "wasDerivedFrom": prov_model.ProvDerivation,
    "wasAssociatedWith": prov_model.ProvAssociation,
    "wasAttributedTo": prov_model.ProvAttribution,
}


def read(graph):
    return prov_model.ProvDocument.deserialize(content=prov_json(graph), format="json")


def counts(document):
    return {name: len(list(document.get_records(kind))) for name, kind in KINDS.items()}


def test_everything_is_there_once(digits):
    assert counts(read(digits)) == {
        "entity": 6,  # five versions and a place
        "activity": 4,
        "agent": 1,
        "used": 5,
        "wasGeneratedBy": 2,
        "wasDerivedFrom": 2 + 3,  # of the place, and of what runs used
        "wasAssociatedWith": 4,
        "wasAttributedTo": 5,
    }


def test_times_have_a_zone_and_names_are_those_of_the_store(digits):
    document = read(digits)
    (run,) = document.get_record("store:run/r2")
    assert run.get_startTime().isoformat() == "1970-01-01T00:00:04+00:00"
    assert run.get_endTime().isoformat() == "1970-01-01T00:00:09+00:00"
    assert run.identifier.uri == f"lineart://{'5' * 32}/run/r2"
    (model,) = document.get_record("store:version/p/model%3Av0")
    assert model.label == "p/model:v0"
    assert next(iter(model.get_attribute("lineart:size"))) == 1 << 40
    assert json.loads(next(iter(model.get_attribute("lineart:metadata")))) == {"acc": 0.97}


def test_hostile_names_come_back_and_are_good_names_everywhere(hostile):
    document = read(hostile)
    found = counts(document)
    assert (found["entity"], found["activity"], found["agent"]) == (4, 1, 1)
    for record in document.get_records((prov_model.ProvEntity, prov_model.ProvActivity, prov_model.ProvAgent)):
        local = record.identifier.localpart
        assert all(char.isascii() and (char.isalnum() or char in "_-~./%") for char in local)
        assert not local.endswith(".")
    (raw,) = document.get_record("store:version/p/raw%3Av0")
    assert next(iter(raw.get_attribute("lineart:description"))) == hostile.nodes["p/raw:v0"]["record"].description


def test_a_run_that_logs_what_it_used_derives_nothing_from_itself(hostile):
    derived = list(read(hostile).get_records(prov_model.ProvDerivation))
    assert len(derived) == 3  # of its three places
    assert not any(one.args[0] == one.args[1] for one in derived)


def test_too_many_derivations_of_one_run_are_counted_instead(maker):
    inputs, outputs = ([maker.version(f"{name}:v{number}") for number in range(101)] for name in "ab")
    maker.run("r1", inputs, outputs)
    document = read(maker.graph)
    assert counts(document)["wasDerivedFrom"] == 0
    assert counts(document)["used"] == counts(document)["wasGeneratedBy"] == 101
    (run,) = document.get_record("store:run/r1")
    assert run.get_attribute("lineart:derivationsLeftOut") == {101 * 101}


def test_an_empty_graph_is_a_document(maker):
    assert sum(counts(read(maker.graph)).values()) == 0


@pytest.mark.parametrize("name", ["a b.", "-x", "ä:ö", "\ud800", "%", "a'(),;[]="])
def test_names_are_told_apart(name):
    assert qualified("agent", name) != qualified("agent", name + ".")
    assert qualified("agent", name).isascii()


def test_examples_run():
    assert doctest.testmod(module).failed == 0
