"""What records and drafts show of themselves in a notebook: one short line, or a small table."""

from __future__ import annotations

import doctest
import pickle
from dataclasses import replace

import pytest

import lineart
from lineart.artifacts import display, metadata
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.storage import brief
from lineart.storage.brief import utc

HOSTILE = 'x"\n\x1b[31m<script>\u202e' + "y" * 10_000


@pytest.fixture
def ran(store, log, make):
    """The id of a run that used a version and made one."""
    log("data", files={"a": b"1"}, aliases=["clean"])
    run = start_run(store, "p", capture=Capture.none(), interval=None, name=HOSTILE, job_type="train")
    with run:
        run.use_artifact("data:clean")
        run.log_artifact(make("model", metadata={"about": HOSTILE}), aliases=[f"a{n}" for n in range(50)])
        run.summary["about"] = HOSTILE
    store.promote("model:v0", "best", reason=HOSTILE)
    return run.id


def test_whatever_lists_of_records_show_is_a_short_line_for_each(store, ran):
    version, run = store.resolve("data"), store.run(ran).record
    event = next(one for one in store.history("model") if one.data.get("alias") == "best")
    found = [
        version,
        run,
        event,
        store.run(ran),
        *store.collections(),
        store.artifact("model").diff(store.artifact("data")),
    ]
    for one in (*found, *store.versions("model"), *store.runs(), *store.history("model")):
        assert len(repr(one)) < 400
        assert repr(one).isprintable()
        assert repr(one).startswith(f"<{type(one).__name__}")
        if not isinstance(one, lineart.artifacts.logged.Difference):
            assert pickle.loads(pickle.dumps(one)) == one
    digest = version.digest.hex()[:8]
    assert repr(version) == (
        f"<VersionRecord p/data:v0, dataset, live, 1 file, 1 byte, {utc(version.created)}, b3:{digest},"
        " aliases clean, latest>"
    )
    assert (
        repr(replace(run, name="fit")) == f"<RunRecord {ran}, 'fit', p, train, finished, {utc(run.created)}, took 0s>"
    )
    assert repr(replace(event, reason="why")) == (
        f"<Event {event.seq} alias.set p/model, alias best, to 0, {utc(event.time)}, by ana@here, why>"
    )
    assert repr(found[3]) == f"<Account of run {ran}, finished, used p/data:v0, made p/model:v0>"
    assert repr(found[4]) == f"<CollectionRecord p/data, dataset, 1 version, latest v0, {utc(version.created)}>"
    assert repr(found[6]) == "<Difference: 1 added, 1 removed, 1 of metadata>"
    assert repr(found[6].removed) == f"[<Entry a, 1 byte, b3:{found[6].removed[0].digest.hex()[:8]}>]"


def test_a_line_says_how_many_names_it_leaves_out(store, ran):
    assert "aliases a0, a1, a10 and 49 more" in repr(store.resolve("model"))


def test_a_record_of_a_row_that_nobody_should_have_written_shows_itself(store, ran):
    assert f"{10**20} µs" in repr(replace(store.resolve("data"), created=10**20))


def test_a_draft_shows_what_would_be_logged(make, log):
    draft = make("<data>"[1:5], files={"a": b"12", "b": b"3"}, description="<b>", metadata={"rows": 2})
    draft.aliases = ["clean"]
    table = draft._repr_html_()
    for shown in (
        "draft data",
        "<td>files</td><td>2</td>",
        "<td>3 bytes</td>",
        "&lt;b&gt;",
        "rows: 2",
        "clean",
        "dataset",
    ):
        assert shown in table
    assert "goes on from" not in table
    assert "goes on from</td><td>p/data:v0" in log(files={"a": b"1"}).new_draft()._repr_html_()


def test_the_examples_run():
    assert [doctest.testmod(one).failed for one in (brief, display, metadata)] == [0, 0, 0]
