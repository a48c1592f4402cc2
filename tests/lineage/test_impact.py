"""What a version touches: what holds an alias first, by the shortest way, and who is using it now."""

from __future__ import annotations

import itertools
import random

import networkx as nx
import pytest
from sqlalchemy import insert

from lineart.artifacts.tables import reference
from lineart.lineage.answers.impact import impact_of
from lineart.lineage.ledger import LOST
from lineart.storage.errors import InvalidSelector, NotFound


def impact(world, text):
    return impact_of(world.ledger, text, "p")


def told(those):
    return [(one.version.name, one.steps, one.names) for one in those]


def made(world, name, content, *used, job=None, **options):
    run = world.run(*used, job_type=job)
    world.ledger.finish(run)
    return world.log(name, content, run, **options)


def pipeline(world):
    """raw:v0 → data:v0 → model:v0 (production, best), model:v1; model:v0 → bundle:v0 (live); raw:v1 → other:v0."""
    world.log("raw", "r0")
    world.log("raw", "r1")
    made(world, "data", "d0", "raw:v0", job="prep")
    made(world, "model", "m0", "data:v0", job="train", aliases=("production", "best"))
    made(world, "model", "m1", "data:v0", job="train")
    made(world, "bundle", "b0", "model:v0", aliases=("live",))
    made(world, "other", "o0", "raw:v1", aliases=("untouched",))


def test_what_holds_an_alias_comes_first_and_the_rest_is_counted(worlds):
    pipeline(worlds)
    found = impact(worlds, "raw:v0")
    assert told(found.named) == [("model:v0", 2, ("best", "production")), ("bundle:v0", 3, ("live",))]
    assert told(found.others) == [("raw:v0", 0, ()), ("data:v0", 1, ()), ("model:v1", 2, ())]
    assert [one.ref for one in found.of] == ["p/raw:v0"]
    assert (len(found), found.running) == (5, ())
    assert found.ways(found.named) == {
        "p/model:v0": ("p/raw:v0", "p/data:v0", "p/model:v0"),
        "p/bundle:v0": ("p/raw:v0", "p/data:v0", "p/model:v0", "p/bundle:v0"),
    }
    model = found.named[0]
    assert (model.before, model.job_type) == ("p/data:v0", "train")
    assert worlds.ledger.edges(model.run)[1] == [model.version.id]


def test_a_version_touches_itself(worlds):
    pipeline(worlds)
    found = impact(worlds, "model:production")
    assert told(found.named) == [("model:v0", 0, ("best", "production")), ("bundle:v0", 1, ("live",))]
    assert (found.named[0].before, found.named[0].run) == (None, None)
    assert found.ways(found.named)["p/model:v0"] == ("p/model:v0",)
    assert told(impact(worlds, "model:v1").others) == [("model:v1", 0, ())]


def test_a_selector_is_a_set_of_bad_versions_and_the_nearest_of_them_counts(worlds):
    pipeline(worlds)
    found = impact(worlds, "raw:v* or data:v0")
    assert [one.ref for one in found.of] == ["p/raw:v0", "p/raw:v1", "p/data:v0"]
    assert told(found.named) == [
        ("model:v0", 1, ("best", "production")),
        ("other:v0", 1, ("untouched",)),
        ("bundle:v0", 2, ("live",)),
    ]
    assert len(impact(worlds, "nothing*")) == 0


def test_the_shortest_way_is_told_and_deleted_versions_are_walked_past(worlds):
    pipeline(worlds)
    made(worlds, "bundle", "b1", "raw:v0", "model:v1", aliases=("next",))
    worlds.delete(worlds.catalog.records([3])[3])
    found = impact(worlds, "raw:v0")
    assert told(found.named)[0] == ("bundle:v1", 1, ("next",))
    assert [(one.version.name, one.version.state) for one in found.others][1] == ("data:v0", "deleted")
    assert ("model:v0", 2, ("best", "production")) in told(found.named)


def test_a_path_within_a_version_means_the_version(worlds):
    pipeline(worlds)
    assert impact(worlds, "raw:v0/some/file.txt") == impact(worlds, "raw:v0")


def test_a_url_means_the_versions_that_refer_to_it_above_and_below(worlds):
    pipeline(worlds)
    places = ((1, "s3://corpus/web/"), (2, "s3://corpus/web/2/page.html"), (3, "s3://corpus/website/x%'"))
    worlds.database.write(
        lambda tx: tx.execute(
            insert(reference), [{"version": one, "url": url, "objects": 1, "size": 1} for one, url in places]
        )
    )

    def of(url):
        return [one.ref for one in impact(worlds, url).of]

    assert of("s3://corpus/web/") == of("s3://corpus/web") == ["p/raw:v0", "p/raw:v1"]
    assert of("s3://corpus") == ["p/raw:v0", "p/raw:v1", "p/data:v0"]
    assert of("s3://corpus/web/1/other.html") == ["p/raw:v0"]
    assert of("s3://corpus/website/x%'") == ["p/data:v0"]
    assert told(impact(worlds, "s3://corpus/website/x%'").named)[0] == ("model:v0", 1, ("best", "production"))
    for url in ("s3://corpus/webs", "s3://other/", "gs://corpus/web/"):
        with pytest.raises(NotFound, match="no version refers to"):
            impact(worlds, url)


def test_runs_that_use_it_now_are_told_and_those_that_ended_or_vanished_are_not(world):
    pipeline(world)
    now = world.run("model:v1", job_type="evaluate")
    world.ledger.finish(world.run("data:v0"))
    world.run("raw:v1")
    assert [one.id for one in impact(world, "raw:v0").running] == [now]
    assert impact(world, "bundle").running == ()
    world.wait(LOST / 1_000_000 + 1)
    assert impact(world, "raw:v0").running == ()


def test_circles_come_to_an_end(worlds):
    worlds.log("a", "a0")
    worlds.log("b", "b0")
    run = worlds.run("a:v0")
    worlds.log("b", "b0", run)
    worlds.log("a", "a0", run)
    back = worlds.run("b:v0")
    worlds.log("a", "a0", back)
    assert told(impact(worlds, "a").others) == [("a:v0", 0, ()), ("b:v0", 1, ())]


def test_what_means_nothing_is_said(world):
    pipeline(world)
    with pytest.raises(NotFound):
        impact(world, "raw:v7")
    with pytest.raises(InvalidSelector):
        impact(world, "raw or")


@pytest.mark.parametrize("seed", range(6))
def test_random_stores_are_answered_as_a_graph_of_them_says(worlds, seed):
    dice = random.Random(seed)
    graph, records = nx.DiGraph(), []
    for number in range(8):
        record = worlds.log(dice.choice("abc"), str(number), aliases=("x",) if dice.random() < 0.2 else ())
        records.append((record, str(number)))
        graph.add_node(record.ref)
    for _ in range(12):
        used, (product, content) = dice.sample(records, 2), dice.choice(records)
        run = worlds.run(*(one.ref for one, _ in used))
        worlds.log(product.collection, content, run)
        graph.add_edges_from((one.ref, product.ref) for one, _ in used)
    for one, _ in records:
        found = impact(worlds, one.ref)
        steps = {other.version.ref: other.steps for other in (*found.named, *found.others)}
        assert steps == dict(nx.single_source_shortest_path_length(graph, one.ref))
        for ref, way in found.ways((*found.named, *found.others)).items():
            assert (way[0], way[-1], len(way)) == (one.ref, ref, steps[ref] + 1)
            assert all(graph.has_edge(*pair) for pair in itertools.pairwise(way))
