"""One run, whole: which one is meant, and what is known of it."""

from __future__ import annotations

import pytest

from lineart.artifacts.ref import Ref
from lineart.lineage.account import account_of, find_run
from lineart.lineage.capture import Captured
from lineart.lineage.ledger import LOST
from lineart.storage.errors import Conflict, NotFound

# Which run is meant


def test_an_id_its_beginning_and_the_name_of_its_node_mean_a_run(worlds):
    for one in ("exp-1", "exp-12", "other"):
        worlds.ledger.start("p", id=one)
    assert [find_run(worlds.ledger, text).id for text in ("exp-1", "exp-12", "o", "run:oth", "run:exp-1")] == [
        "exp-1",
        "exp-12",
        "other",
        "other",
        "exp-1",
    ]


def test_a_beginning_that_several_ids_have_says_which(worlds):
    for number in range(7):
        worlds.wait(1)
        worlds.ledger.start("p", id=f"exp-{number}", name='a "b"' if number == 6 else None)
    with pytest.raises(Conflict, match=r"'exp' could be 7 runs: .* and 2 more; give more of the id") as error:
        find_run(worlds.ledger, "exp")
    assert 'exp-6 "a "b""' in str(error.value)


def test_case_counts_and_nothing_is_a_wildcard(worlds):
    for one in ("Exp_1", "exp.2"):
        worlds.ledger.start("p", id=one)
    assert find_run(worlds.ledger, "exp").id == "exp.2"
    assert find_run(worlds.ledger, "E").id == "Exp_1"
    for text in ("exp_", "%", "_xp", "", "run:"):
        with pytest.raises(NotFound):
            find_run(worlds.ledger, text)


def test_an_unknown_id_says_what_is_near(worlds):
    with pytest.raises(NotFound, match="the store has no runs"):
        find_run(worlds.ledger, "x")
    for one in ("baseline", "baseline-2", "zebra"):
        worlds.ledger.start("p", id=one)
    with pytest.raises(NotFound, match=r"no run 'basline'; near it: (baseline, baseline-2|baseline-2, baseline);"):
        find_run(worlds.ledger, "basline")
    with pytest.raises(NotFound, match="the newest: "):
        find_run(worlds.ledger, "12345678")


def test_a_name_is_no_id_but_says_which_runs_bear_it(worlds):
    for _ in range(7):
        worlds.ledger.start("p", name="cosine")
    with pytest.raises(NotFound, match=r"no run has the id 'cosine', but that name: r.*\"cosine\", .* and more"):
        find_run(worlds.ledger, "cosine")


@pytest.mark.parametrize("text", ["'; DROP TABLE run --", "x" * 10_000, "\0", "\ud800", "a\nb"])
def test_any_text_may_be_asked_for(worlds, text):
    worlds.ledger.start("p", id="exp")
    with pytest.raises(NotFound):
        find_run(worlds.ledger, text)


# What is known of it


def test_a_run_knows_what_it_used_and_made_and_under_which_names(worlds):
    worlds.log("raw", "1", aliases=("clean",))
    old = worlds.log("model", "2", metadata={"a": 1})
    run = worlds.run("raw:clean", "raw")
    worlds.ledger.use(run, Ref.parse("model:v0"), "p")
    made = worlds.log("model", "3", run)
    worlds.log("model", "2", run, metadata={"a": 2}, differs=[])
    found = account_of(worlds.ledger, run)
    assert [(one.version.ref, one.aliases) for one in found.used] == [
        ("p/raw:v0", ("clean", "latest")),
        ("p/model:v0", ()),
    ]
    assert [(one.version.id, one.metadata) for one in found.made] == [(made.id, None), (old.id, {"a": 2})]


def test_a_deleted_input_is_still_told(worlds):
    version = worlds.log("raw", "1")
    run = worlds.run("raw")
    worlds.delete(version)
    (used,) = account_of(worlds.ledger, run).used
    assert (used.version.ref, used.version.state) == ("p/raw:v0", "deleted")


def test_a_run_that_used_what_it_made_has_both(worlds):
    run = worlds.run()
    worlds.log("loop", "1", run)
    worlds.ledger.use(run, Ref.parse("loop"), "p")
    found = account_of(worlds.ledger, run)
    assert [one.version.ref for one in found.used] == [one.version.ref for one in found.made] == ["p/loop:v0"]


def test_the_runs_around_it_are_found_both_ways(worlds):
    start = worlds.ledger.start
    outer = start("p", id="outer")
    inner = [start("p", id=f"in_{number}", captured=Captured({"parent": "outer"})) for number in range(2)]
    start("p", id="other", captured=Captured({"parent": "outer2", "command": ["outer"]}))
    again = start("p", captured=Captured({"again": ["in_1", "outer"]}))
    found = account_of(worlds.ledger, "outer")
    assert (found.parent, {one.id for one in found.children}, found.repeats) == (None, {one.id for one in inner}, ())
    assert [one.id for one in found.repeated] == [again.id]
    assert account_of(worlds.ledger, "in_0").parent == outer
    assert [one.id for one in account_of(worlds.ledger, again.id).repeats] == ["in_1", "outer"]
    assert [one.id for one in account_of(worlds.ledger, "in_1").repeated] == [again.id]


@pytest.mark.parametrize(
    "code", [{"parent": 7, "again": "x"}, {"parent": ["r"], "again": [7, None]}, {"parent": "gone"}]
)
def test_what_others_wrote_into_a_run_is_no_hindrance(worlds, code):
    run = worlds.ledger.start("p", captured=Captured(code))
    found = account_of(worlds.ledger, run.id)
    assert (found.parent, found.repeats) == (None, ())


def test_why_a_run_ended_is_told(worlds):
    run = worlds.run()
    assert account_of(worlds.ledger, run).reason is None
    worlds.ledger.finish(run, 1, reason="ValueError: no")
    assert account_of(worlds.ledger, run).reason == "ValueError: no"
    worlds.ledger.resume("p", run, must=True)
    assert account_of(worlds.ledger, run).reason is None
    worlds.ledger.finish(run, 0)
    assert account_of(worlds.ledger, run).reason is None


def test_a_run_that_is_taken_for_crashed_says_since_when(world):
    run = world.run()
    world.wait(LOST / 1_000_000 + 1)
    found = account_of(world.ledger, run)
    assert found.record.state == "crashed"
    assert found.reason == "it is taken for crashed: its last sign of life was at 2027-01-15T08:00:00Z"
