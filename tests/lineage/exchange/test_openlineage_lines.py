"""Lines of OpenLineage events as they may come in: joined, mistrusted, and never half believed."""

from __future__ import annotations

import doctest
import io
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lineart.lineage.exchange.facets as facets_module
import lineart.lineage.exchange.importing as importing_module
import lineart.lineage.exchange.names as names_module
import lineart.lineage.exchange.runs_imported as runs_module
from lineart.lineage.exchange.importing import collection_name
from lineart.lineage.exchange.incoming import LARGEST, read_events, read_lines
from lineart.lineage.exchange.names import DatasetId, join_url, split_url
from lineart.storage.errors import InvalidInput
from lineart.storage.events import LINE_LIMIT

STORE = "5" * 32
RUN = "0192d8c4-0000-7000-8000-000000000001"


def event(**changes):
    made = {
        "eventType": "COMPLETE",
        "eventTime": "2026-05-01T12:00:00Z",
        "run": {"runId": RUN},
        "job": {"namespace": "prod", "name": "etl"},
        "inputs": [{"namespace": "s3://lake", "name": "a"}],
    }
    return {**made, **changes}


def read(*events, **options):
    return read_events([one if isinstance(one, (str, bytes)) else json.dumps(one) for one in events], STORE, **options)


def one_dataset(**fields):
    return event(inputs=[{"namespace": "s3://lake", "name": "a", **fields}])


WRONG = {
    "not JSON": "not JSON",
    "[]": "not a JSON object",
    '"text"': "not a JSON object",
    '{"a": NaN}': "not JSON",
    '{"a": 1, "a": 2}': "not JSON",
    "[" * 100_000: "not JSON",
    b"\xff\xfe": "not UTF-8",
    "{}": "eventTime is None",
    json.dumps(event(eventTime="2026-05-01")): "eventTime",
    json.dumps(event(eventTime="2026-05-01T12:00:00")): "not a date and time with a zone",
    json.dumps(event(eventTime="2026-05-01T12:00:00 at noon")): "not a time",
    json.dumps(event(eventTime="2026-02-31T12:00:00Z")): "no real moment",
    json.dumps(event(eventTime=17)): "eventTime",
    json.dumps(event(eventType="DONE")): "eventType is 'DONE'",
    json.dumps(event(eventType=None)): "eventType",
    json.dumps(event(run=None)): "run is None",
    json.dumps(event(run={})): "runId is None",
    json.dumps(event(run={"runId": "r1"})): "runId is 'r1', not a UUID",
    json.dumps(event(run={"runId": 5})): "not a UUID",
    json.dumps(event(run={"runId": RUN, "facets": []})): "facets are",
    json.dumps(event(job="etl")): "job is 'etl'",
    json.dumps(event(job={"namespace": "n"})): "the name of its job is None",
    json.dumps(event(job={"namespace": "", "name": "n"})): "the namespace of its job is ''",
    json.dumps(event(job={"namespace": "n", "name": "x" * 5000})): "5,000 characters",
    json.dumps(event(job={"namespace": "n", "name": "a\0b"})): "NUL",
    json.dumps(event(job={"namespace": "n", "name": "\ud800"})): "not Unicode|is not JSON",
    json.dumps(event(inputs={})): "inputs are",
    json.dumps(event(inputs=["a"])): "one of its inputs is 'a'",
    json.dumps(event(outputs=[{"namespace": "s3://b"}])): "the name of its outputs is None",
    json.dumps(event(outputs=[{"namespace": "s3://b", "name": "x" * 4096}])): "more than 4,096",
    json.dumps(one_dataset(facets={"version": {"datasetVersion": 7}})): "version of one of its inputs is 7",
    json.dumps(one_dataset(facets={"version": {"datasetVersion": "x" * 257}})): "up to 256",
}


@pytest.mark.parametrize(("line", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_a_line_that_is_no_event_is_refused_by_number_and_in_short(line, said):
    with pytest.raises(InvalidInput, match=said) as caught:
        read(event(), line)
    assert str(caught.value).startswith("line 2 is no OpenLineage event: ")
    assert len(str(caught.value)) < 500
    going_on = read(event(), line, event(), keep_going=True)
    assert (going_on.events, len(going_on.runs)) == (3, 1)
    assert [(one.events, one.line) for one in going_on.skipped.values()] == [(1, 2)]


def test_a_wrong_event_leaves_nothing_behind():
    wrong = event(inputs=[{"namespace": "s3://lake", "name": "good"}, {"namespace": "s3://lake"}])
    batch = read(wrong, keep_going=True)
    assert (batch.runs, batch.datasets) == ({}, {})


def test_many_wrong_lines_do_not_make_many_reasons():
    batch = read(*(f'{{"eventTime": "{number}"}}' for number in range(1000)), keep_going=True)
    assert len(batch.skipped) < 30
    assert sum(one.events for one in batch.skipped.values()) == 1000


def test_events_of_a_run_are_joined():
    batch = read(
        event(eventType="START", eventTime="2026-05-01T12:00:00Z"),
        event(eventType="complete", eventTime="2026-05-01T14:00:01+02:00", inputs=None, outputs=[]),
        "",
        event(eventType="OTHER", eventTime="2026-05-01T12:00:05.5Z", run={"runId": RUN.upper()}),
    )
    (run,) = batch.runs.values()
    assert (run.uuid, run.last - run.first, run.end[1]) == (RUN, 5_500_000, "COMPLETE")
    assert run.end[0] - run.first == 1_000_000
    assert list(run.used) == [DatasetId("s3://lake", "a", None)]


def test_credentials_do_not_come_in():
    secret = "https://ana:hunter2@host/x?token=hunter2"
    facets = {"sourceCodeLocation": {"type": "git", "url": secret}, "sql": {"query": f"load '{secret}'"}}
    batch = read(
        event(
            job={"namespace": secret, "name": "etl", "facets": facets},
            inputs=[{"namespace": "postgres://ana:hunter2@db:5432", "name": "a"}],
        )
    )
    assert "hunter2" not in repr(batch)
    assert "postgres://ana:***@db:5432" in repr(batch)


def test_columns_and_tags_keep_their_names():
    facets = {"schema": {"fields": [{"name": "password", "type": "text"}]}, "tags": {"tags": [{"key": "team"}]}}
    (found,) = read(one_dataset(facets=facets)).datasets.values()
    assert found == facets


def test_facets_that_are_too_large_or_too_deep_are_left_out_and_counted():
    deep = {}
    for _ in range(200):
        deep = {"a": deep}
    facets = {"schema": {"fields": ["x" * LARGEST]}, "documentation": deep, "ownership": {"owners": [{"name": "a\0"}]}}
    batch = read(one_dataset(facets={**facets, "storage": {"storageLayer": "iceberg"}, "unknown": {"a": 1}}))
    (found,) = batch.datasets.values()
    assert list(found) == ["storage"]
    assert batch.facets_left_out == 3


def test_long_words_do_not_take_long():
    started = time.monotonic()
    read(one_dataset(facets={"documentation": {"description": "x" * (LARGEST - 1000)}}))
    assert time.monotonic() - started < 10


def test_a_line_that_never_ends_is_not_read_into_memory_whole():
    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            if self.given > 8 * LINE_LIMIT:
                return 0
            self.given += len(buffer)
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    lines = list(read_lines(io.BufferedReader(Endless(), 1 << 20)))
    assert [len(one) for one in lines] == [LINE_LIMIT + 1]
    with pytest.raises(InvalidInput, match="longer than"):
        read(*lines)


def test_a_mark_of_byte_order_is_no_part_of_an_event():
    """As Windows writes files, and in the middle where two of them were joined."""
    marked = "\ufeff" + json.dumps(event())
    found = read(marked, marked.encode())
    assert (found.events, len(found.runs), found.skipped) == (2, 1, {})


def test_lines_are_lines():
    assert list(read_lines(io.BytesIO(b"a\nbc\n\nd"))) == [b"a\n", b"bc\n", b"\n", b"d"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    ("eventTime",),
    ("eventType",),
    ("run",),
    ("run", "runId"),
    ("run", "facets"),
    *(("run", "facets", name) for name in ("lineart_run", "parent", "errorMessage")),
    *(("run", "facets", "lineart_run", name) for name in ("id", "name", "config", "summary", "jobType")),
    ("job", "namespace"),
    ("job", "facets"),
    ("job", "facets", "sourceCodeLocation"),
    *(("job", "facets", "sourceCodeLocation", name) for name in ("type", "version", "repoUrl", "branch")),
    ("job", "facets", "documentation", "description"),
    ("inputs",),
    ("inputs", 0),
    ("inputs", 0, "name"),
    ("inputs", 0, "facets"),
    ("inputs", 0, "facets", "version"),
    ("inputs", 0, "facets", "version", "datasetVersion"),
]


@given(st.sampled_from(PLACES), ANYTHING)
def test_whatever_stands_anywhere_is_an_event_or_refused(place, value):
    one = event(
        run={"runId": RUN, "facets": {"lineart_run": {}}},
        job={"namespace": "n", "name": "j", "facets": {"sourceCodeLocation": {"type": "git"}, "documentation": {}}},
        inputs=[{"namespace": "s3://lake", "name": "a", "facets": {"version": {}}}],
    )
    part = one
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    for found in read(one, keep_going=True).runs.values():
        changes = runs_module.run_changes(found, None, "p", 1)
        assert changes[0][0] == "run.started"
        json.dumps(changes, allow_nan=False).encode()


@pytest.mark.parametrize(
    "url",
    ["s3://b/a/c.txt", "s3://b/", "file:///data/x", "bigquery:p.d.t", "postgres://h:5432/db.s.t", "https://h/a?b"],
)
def test_a_url_is_what_its_namespace_and_name_make_up(url):
    assert join_url(*split_url(url)) == url


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("s3://b", "Orders"),
        ("s3://b", "orders"),
        ("s3://c", "orders"),
        ("x", "/" * 4000),
        ("x", "日本"),
        ("x", "-.-"),
        ("x", "1" * 300),
        ("x", "and"),
        ("x\ny", "z"),
    ],
)
def test_collections_have_good_names_of_their_own(namespace, name):
    from lineart.artifacts.ref import check_name

    found = collection_name(namespace, name)
    check_name("collection name", found)
    assert found.casefold() != collection_name(namespace + "x", name).casefold()


@pytest.mark.slow
def test_a_hundred_thousand_events_are_read_in_seconds():
    lines = [json.dumps(event(run={"runId": f"{number:032x}"})) for number in range(100_000)]
    started = time.monotonic()
    assert len(read_events(lines, STORE).runs) == 100_000
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("module", [names_module, facets_module, importing_module, runs_module])
def test_examples_run(module):
    assert doctest.testmod(module).failed == 0


# One array instead of lines


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("kind", [str, bytes])
def test_events_in_one_array_are_those_of_lines(indent, kind):
    events = [event(eventType="START"), event(outputs=[{"namespace": "s3://lake", "name": "b"}])]
    text = "\ufeff" * (indent is None) + json.dumps(events, indent=indent) + "\n"
    lines = [one if kind is str else one.encode() for one in ("\n" + text).splitlines(keepends=True)]
    assert read_events(lines, STORE) == read(*events)
    assert read_events(["[]"], STORE).events == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", "event 1 of the array is no OpenLineage event: it is not a JSON object"),
        (json.dumps([event(), json.dumps(event())]), "event 2 of the array is no OpenLineage event: it is not a JSON"),
        (json.dumps([event(), {}]), "event 2 of the array is no OpenLineage event: its eventTime is None"),
        ("[{}", "begins as a JSON array of events and is none: it is not JSON"),
        ('[{"a": 1, "a": 2}]', "begins as a JSON array"),
        ('[], "more": [', "begins as a JSON array"),
        ('["a"], "more": ["b"]', "begins as a JSON array"),
        ("[" * 100_000, "begins as a JSON array"),
        ("[" + "\n" * 10 + " " * LINE_LIMIT + "]", "is longer than 16,777,216 bytes"),
    ],
)
def test_what_is_wrong_with_an_array_is_said(text, why):
    with pytest.raises(InvalidInput, match=why):
        read_events(io.StringIO(text), STORE)


def test_a_log_that_begins_with_a_bracket_is_no_array_for_who_keeps_going():
    found = read("[2026-05-01 INFO] starting", event(), keep_going=True)
    assert (len(found.runs), found.events) == (1, 2)
    (skipped,) = found.skipped.values()
    assert skipped.line == 1


def test_an_event_on_several_lines_is_told_what_is_wanted():
    with pytest.raises(
        InvalidInput, match=r"line 1 is no OpenLineage event: it is not JSON: .*one event a line, or all"
    ):
        read_events(io.StringIO(json.dumps(event(), indent=1)), STORE)
