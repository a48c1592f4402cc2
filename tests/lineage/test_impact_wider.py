"""What a version touches beyond runs: the same files under other names, drafts of it, aliases that were held once."""

from __future__ import annotations

from sqlalchemy import event

from lineart.artifacts.artifact import Artifact
from lineart.artifacts.collection import move_alias, open_collection, remove_alias
from lineart.artifacts.ref import Ref
from lineart.lineage.answers.impact import impact_of


def impact(world, text):
    return impact_of(world.ledger, text, "p")


def told(those):
    return [(one.version.ref.removeprefix("p/"), one.steps, one.how) for one in those]


def made(world, name, content, *used, **options):
    run = world.run(*used)
    world.ledger.finish(run)
    return world.log(name, content, run, **options)


# The same files under another name


def test_what_was_made_from_the_same_files_under_another_name_counts(worlds):
    worlds.log("raw", "r0")
    worlds.log("raw", "r1")
    worlds.log("copy", "r1")
    made(worlds, "model", "m0", "copy:v0", aliases=("production",))
    made(worlds, "other", "o0", "raw:v0")
    found = impact(worlds, "raw:v1")
    assert [one.ref for one in found.of] == ["p/raw:v1"]
    assert [one.ref for one in found.same] == ["p/copy:v0"]
    assert told(found.named) == [("model:v0", 1, "run")]
    assert told(found.others) == [("copy:v0", 0, "same"), ("raw:v1", 0, None)]
    assert found.ways(found.named) == {"p/model:v0": ("p/raw:v1", "p/copy:v0", "p/model:v0")}


def test_the_same_files_are_found_in_other_projects_and_among_what_was_deleted(worlds):
    first = worlds.log("raw", "r0")
    worlds.delete(first)
    worlds.log("raw", "r0")
    worlds.log("raw", "r0", project="q")
    found = impact(worlds, "raw:v1")
    assert [(one.ref, one.state) for one in found.same] == [("p/raw:v0", "deleted"), ("q/raw:v0", "live")]
    assert [one.ref for one in impact(worlds, "raw:v*").same] == ["q/raw:v0"], "what was asked for is not said again"


def test_a_copy_of_what_was_made_is_touched_as_far_away_as_that(worlds):
    worlds.log("raw", "r0")
    made(worlds, "model", "m0", "raw:v0")
    worlds.log("deployed", "m0", project="shop", aliases=("live",))
    made(worlds, "report", "x", "shop/deployed:v0")
    found = impact(worlds, "raw:v0")
    assert told(found.named) == [("shop/deployed:v0", 1, "same")]
    assert told(found.others) == [("raw:v0", 0, None), ("model:v0", 1, "run"), ("report:v0", 2, "run")]
    assert found.same == ()


def test_versions_without_a_file_are_not_the_same_data(worlds):
    home = worlds.home
    for name in ("a", "b"):
        home.log(Artifact(name), aliases=[], tags=[], project="p", also=None)
    assert told(impact(worlds, "a").others) == [("a:v0", 0, None)]


# Drafts


def log_files(world, name, *, also=None, **files):
    draft = Artifact(name)
    for path, text in files.items():
        draft.add_bytes(text.encode(), path)
    return world.log_draft(draft, aliases=[], tags=[], project="p", also=also)


def drafted(world, ref, text, *, project="p", also=None):
    draft = Artifact.of(world.catalog.resolve(Ref.parse(ref), "p"), world.home).new_draft()
    draft.add_bytes(text.encode(), "f", overwrite=True)
    return world.log_draft(draft, aliases=[], tags=[], project=project, also=also)


def test_what_a_draft_went_on_from_is_recorded_and_counts(worlds):
    log_files(worlds, "data", f="0", kept="k")
    drafted(worlds, "data:v0", "1")
    drafted(worlds, "data:v1", "2", project="q")
    log_files(worlds, "data", f="alone")
    made(worlds, "model", "m0", "q/data:v0", aliases=("production",))
    found = impact(worlds, "data:v0")
    assert told(found.named) == [("model:v0", 3, "run")]
    assert told(found.others) == [("data:v0", 0, None), ("data:v1", 1, "draft"), ("q/data:v0", 2, "draft")]
    assert found.ways(found.named)["p/model:v0"] == ("p/data:v0", "p/data:v1", "q/data:v0", "p/model:v0")
    assert told(impact(worlds, "data:v2").others) == [("data:v2", 0, None)]
    assert [one.data.get("base") for one in worlds.events("version.logged")] == [
        None,
        {"project": "p", "collection": "data", "number": 0},
        {"project": "p", "collection": "data", "number": 1},
        None,
        None,
    ]


def test_a_draft_that_a_run_logged_is_reached_by_whichever_way_is_shorter(worlds):
    log_files(worlds, "data", f="0")
    run = worlds.run("data:v0")
    drafted(worlds, "data:v0", "1", also=worlds.ledger.produced(run, None, lambda: None))
    (step,) = impact(worlds, "data:v0").others[1:]
    assert (step.how, step.run, step.before) == ("run", run, "p/data:v0")


def test_runs_drafts_and_copies_may_take_turns_and_end_in_a_circle(worlds):
    def producing(run):
        return worlds.ledger.produced(run, None, lambda: None)

    first = log_files(worlds, "data", f="0")
    for n in range(3):
        log_files(worlds, "made", also=producing(worlds.run(f"data:v{n}")), f=f"run {n}")
        drafted(worlds, f"made:v{2 * n}", f"draft {n}")
        log_files(worlds, "data", f=f"draft {n}")
    back = producing(worlds.run("data:v3"))
    worlds.engine.write(lambda tx: back(tx, first.record.id, False))
    found = impact(worlds, "data:v0")
    kinds = {0: None, 1: "run", 2: "draft"}
    assert sorted(told(found.others)) == sorted(
        [("data:v0", 0, None)]
        + [(f"data:v{n}", 2 * n, "same") for n in (1, 2, 3)]
        + [(f"made:v{n}", n + 1, kinds[n % 2 + 1]) for n in range(6)]
    )
    assert {one.version.name for one in impact(worlds, "made:v5").others} == {one.version.name for one in found.others}


def test_metadata_that_looks_like_a_base_is_none(world):
    log_files(world, "data", f="0")
    draft = Artifact("data", metadata={"base": {"collection": "data", "number": 0, "project": "p"}})
    draft.add_bytes(b"1", "f")
    world.log_draft(draft, aliases=[], tags=[], project="p", also=None)
    assert told(impact(world, "data:v0").others) == [("data:v0", 0, None)]


# Aliases once held


def move(world, name, alias, number, reason=None):
    world.wait(60)

    def work(tx):
        collection = open_collection(tx, "p", name, None)
        if number is None:
            remove_alias(tx, collection, alias, reason=reason)
        else:
            move_alias(tx, collection, alias, number, reason=reason)

    world.engine.write(work)


def past(found):
    return [
        (
            one.version.name,
            one.alias,
            None if one.since is None else one.since.data["from"],
            one.until.data["to"],
            one.until.reason,
        )
        for one in found.held_before
    ]


def test_aliases_that_were_held_before_are_told_newest_first(worlds):
    worlds.log("raw", "r0")
    made(worlds, "model", "m0", "raw:v0")
    made(worlds, "model", "m1", "raw:v0")
    worlds.log("model", "alone")
    move(worlds, "model", "production", 0)
    move(worlds, "model", "production", 1)
    move(worlds, "model", "Best", 1)
    move(worlds, "model", "best", 2)
    move(worlds, "model", "production", 2, "rolled back")
    move(worlds, "model", "best", None)
    found = impact(worlds, "raw:v0")
    assert found.named == ()
    assert past(found) == [
        ("model:v1", "production", 0, 2, "rolled back"),
        ("model:v1", "Best", None, 2, None),
        ("model:v0", "production", None, 1, None),
    ]
    first = found.held_before[0]
    assert first.since.time < first.until.time
    assert (first.since.actor, first.until.actor) == ("ana@here", "ana@here")
    assert past(impact(worlds, "model:v2")) == [("model:v2", "best", 1, None, None)]


def test_what_is_held_now_is_not_past_and_latest_is_nobodys_word(worlds):
    worlds.log("raw", "r0", aliases=("gold",))
    worlds.log("raw", "r1")
    assert past(impact(worlds, "raw:v0")) == []
    move(worlds, "raw", "gold", 1)
    move(worlds, "raw", "gold", 0)
    found = impact(worlds, "raw:v0")
    assert past(found) == [("raw:v0", "gold", None, 1, None)]
    assert [one.version.name for one in found.named] == ["raw:v0"]


def test_whose_alias_nobody_is_recorded_to_have_given_it_is_told_all_the_same(world):
    """A row that was edited by hand: the next move says what it found there."""
    for number in range(2):
        world.log("raw", f"r{number}")
    move(world, "raw", "gold", 0)
    world.database.write(lambda tx: tx.connection.exec_driver_sql("UPDATE alias SET version = 2 WHERE key = 'gold'"))
    move(world, "raw", "gold", None)
    assert [(one.alias, one.since) for one in impact(world, "raw:v1").held_before] == [("gold", None)]


def test_what_is_asked_of_the_database_does_not_grow_with_the_history(world):
    def asked():
        statements = []
        engine = world.database.read(lambda connection: connection.engine)
        event.listen(engine, "before_cursor_execute", note := lambda *args: statements.append(args[2]))
        impact(world, "raw:v0")
        event.remove(engine, "before_cursor_execute", note)
        return len(statements)

    world.log("raw", "r0")
    counts = []
    for number in range(2):
        for name in (f"model{one}" for one in range(20)):
            made(world, name, f"{name} {number}", "raw:v0")
            world.log(f"copy-{name}", f"{name} {number}")
            move(world, name, "production", number)
        counts.append(asked())
    assert counts[0] == counts[1] <= 30
