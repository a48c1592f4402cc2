"""What is out of date: by newer inputs, near and far, and in which order it would be made again."""

from __future__ import annotations

import doctest
import random

import pytest

import lineart.lineage.answers.ordering as ordering_module
from lineart.lineage.answers.ordering import in_order
from lineart.lineage.answers.stale import stale_versions
from lineart.lineage.starting import Captured
from lineart.storage.errors import InvalidSelector, NotFound


def stale(world, text=None, project="p"):
    """Return what is out of date, as text: version, what is behind, what it is through."""
    found = []
    for one in stale_versions(world.catalog, text, project):
        parts = [f"{behind.used.name}<{behind.newest.version}" for behind in one.behind]
        parts += [f"through {other.name}" for other in one.through]
        found.append(f"{one.version.name}: {', '.join(parts)}")
    return found


def made(world, name, content, *used, **options):
    """Log what a run made of what it used."""
    return world.log(name, content, world.run(*used), **options)


def chain(world):
    """raw:v0 → data:v0 → model:v0 (production); nothing newer."""
    world.log("raw", "r0")
    made(world, "data", "d0", "raw:v0")
    made(world, "model", "m0", "data:v0", aliases=("production",))


def test_nothing_is_out_of_date_while_every_input_is_the_newest(worlds):
    chain(worlds)
    assert stale(worlds) == []
    found = stale_versions(worlds.catalog, None, "p")
    assert (found.judged, found.deleted, len(found), bool(found)) == (3, 0, 0, False)


def test_a_newer_input_makes_out_of_date_what_used_the_older_and_all_that_came_of_it(worlds):
    chain(worlds)
    worlds.log("raw", "r1")
    worlds.log("raw", "r2")
    assert stale(worlds) == ["data:v0: raw:v0<v2", "model:v0: through data:v0"]
    found = stale_versions(worlds.catalog, "model", "p").versions[0]
    assert found.version.aliases == ("latest", "production")
    assert worlds.ledger.edges(found.run)[1] == [found.version.id]


def test_what_was_made_again_is_up_to_date_and_the_old_is_behind(worlds):
    chain(worlds)
    worlds.log("raw", "r1")
    made(worlds, "data", "d1", "raw:v1")
    assert stale(worlds) == ["model:v0: data:v0<v1"]
    made(worlds, "model", "m1", "data:v1")
    assert stale(worlds) == ["model:v0: data:v0<v1"], "which is production still"
    assert stale(worlds, "model:v1") == []


def test_a_deleted_version_is_neither_newer_nor_judged(worlds):
    chain(worlds)
    newer = worlds.log("raw", "r1")
    worlds.delete(newer)
    assert stale(worlds) == []
    worlds.log("raw", "r2")
    assert stale(worlds, "data") == ["data:v0: raw:v0<v2"]
    worlds.delete(worlds.catalog.records([2])[2])
    found = stale_versions(worlds.catalog, "data:v* or model", "p")
    assert (found.judged, found.deleted) == (1, 1)
    assert stale(worlds, "data:v* or model") == ["model:v0: through data:v0"], "what it came from is out of date still"


REPEATS = Captured({"again": ["some-run"]})


def again(world, name, content, *used):
    """Log what the repetition of a run made."""
    return world.log(name, content, world.run(*used, captured=REPEATS), quiet=True)


def test_what_only_a_repetition_made_is_not_newer(worlds):
    chain(worlds)
    for content in ("r0, differently", "r0, yet another way"):
        again(worlds, "raw", content)
    assert stale(worlds) == []
    made(worlds, "raw", "r3")
    again(worlds, "raw", "r0, once more")
    assert stale(worlds) == ["data:v0: raw:v0<v3", "model:v0: through data:v0"]


def test_what_a_repetition_and_another_run_made_is_newer(worlds):
    chain(worlds)
    again(worlds, "raw", "r1")
    made(worlds, "raw", "r1")
    assert stale(worlds) == ["data:v0: raw:v0<v1", "model:v0: through data:v0"]


def test_what_somebody_logged_without_a_run_is_newer_though_a_repetition_made_it_too(worlds):
    chain(worlds)
    worlds.log("raw", "r1")
    again(worlds, "raw", "r1")
    assert stale(worlds) == ["data:v0: raw:v0<v1", "model:v0: through data:v0"]


def test_of_a_collection_of_repetitions_alone_the_first_is_the_newest(worlds):
    again(worlds, "raw", "r0")
    made(worlds, "data", "d0", "raw:v0")
    again(worlds, "raw", "r1")
    assert stale(worlds) == []


def test_equal_content_is_up_to_date_where_any_run_made_it_from_the_newest(worlds):
    chain(worlds)
    worlds.log("raw", "r1")
    again = made(worlds, "data", "d0", "raw:v1")
    assert again.version == "v0"
    assert stale(worlds) == []
    made(worlds, "data", "d0", "raw:v0")
    assert stale(worlds) == [], "whichever was the last"
    worlds.log("raw", "r2")
    assert stale(worlds) == ["data:v0: raw:v0<v2", "model:v0: through data:v0"], "told by the run that made it last"


def test_equal_content_that_no_run_made_from_the_newest_is_out_of_date(worlds):
    for content in ("r0", "r1", "r2"):
        worlds.log("raw", content)
    made(worlds, "data", "d0", "raw:v1")
    made(worlds, "data", "d0", "raw:v0")
    assert stale(worlds, "data") == ["data:v0: raw:v0<v2"]


def test_of_several_versions_of_one_collection_the_newest_that_was_used_counts(worlds):
    worlds.log("raw", "r0")
    worlds.log("raw", "r1")
    made(worlds, "data", "d0", "raw:v1", "raw:v0")
    assert stale(worlds) == []
    worlds.log("raw", "r2")
    assert stale(worlds) == ["data:v0: raw:v1<v2"]


def test_what_goes_on_from_its_own_collection_is_not_behind_by_that(worlds):
    """base:v0 → base:v1 → base:v2, and base:v3 from base:v0: a series, not four editions of one thing."""
    worlds.log("base", "0")
    for number, before in ((1, 0), (2, 1), (3, 0)):
        made(worlds, "base", str(number), f"base:v{before}")
    assert stale(worlds, "base:v*") == []


def test_what_goes_on_hands_its_reasons_on_but_for_inputs_that_are_the_newest_now(worlds):
    worlds.log("raw", "r0")
    made(worlds, "model", "m0", "raw:v0")
    worlds.log("raw", "r1")
    made(worlds, "model", "m1", "model:v0")
    assert stale(worlds, "model:v1") == ["model:v1: through model:v0"], "it has raw:v0 in it, and there is raw:v1"
    made(worlds, "model", "m2", "model:v1", "raw:v1")
    assert stale(worlds, "model:v2") == [], "trained on with the newest"
    assert stale(worlds, "model:v*") == ["model:v0: raw:v0<v1", "model:v1: through model:v0"]


def test_a_newer_version_that_came_of_this_one_does_not_count(worlds):
    """data:v0 → model:v0 → data:v1 (labelled by it) → model:v1: rounds."""
    worlds.log("data", "d0")
    made(worlds, "model", "m0", "data:v0")
    made(worlds, "data", "d1", "model:v0")
    made(worlds, "model", "m1", "data:v1")
    assert stale(worlds, "model:v* or data:v*") == []
    assert stale(worlds, "model:v0") == [], "whatever else is asked about"
    worlds.log("data", "d2")
    assert stale(worlds, "model:v1") == ["model:v1: data:v1<v2"], "that came of nothing"


def test_a_newer_version_is_known_to_have_come_of_this_one_though_all_of_a_collection_between_is_deleted(worlds):
    """data:v0 → model:v0 → labels:v0 (deleted, and the only one) → data:v1."""
    worlds.log("data", "d0")
    made(worlds, "model", "m0", "data:v0")
    labels = made(worlds, "labels", "l0", "model:v0")
    made(worlds, "data", "d1", "labels:v0")
    assert stale(worlds) == []
    worlds.delete(labels)
    assert stale(worlds, "model:v0") == []


def test_circles_and_runs_that_used_what_they_made_come_to_an_end(worlds):
    worlds.log("a", "0")
    worlds.log("b", "0")
    worlds.log("raw", "r0")
    both = worlds.run("a:v0", "b:v0", "raw:v0")
    worlds.log("a", "0", both)
    worlds.log("b", "0", both)
    itself = worlds.run("b:v0")
    worlds.log("b", "0", itself)
    assert stale(worlds, "a or b") == []
    worlds.log("raw", "r1")
    assert stale(worlds, "a:v* or b:v*") == ["a:v0: raw:v0<v1"], "b:v0 was made by a run with nothing old"


def test_the_order_is_that_of_making_things_again(worlds):
    """The newest data, out of date itself, stands before the model that used an older one."""
    worlds.log("raw", "r0")
    made(worlds, "data", "d0", "raw:v0")
    made(worlds, "model", "m0", "data:v0")
    made(worlds, "data", "d1", "raw:v0")
    made(worlds, "report", "p0", "model:v0")
    worlds.log("raw", "r1")
    assert stale(worlds) == [
        "data:v1: raw:v0<v1",
        "model:v0: data:v0<v1",
        "report:v0: through model:v0",
    ]


def test_the_order_does_not_hang_on_when_things_were_recorded(worlds):
    worlds.log("raw", "r0")
    late = worlds.run("raw:v0")
    worlds.log("data", "d0")
    made(worlds, "model", "m0", "data:v0")
    worlds.log("data", "d0", late)  # recorded as its maker after the model
    worlds.log("raw", "r1")
    assert stale(worlds) == ["data:v0: raw:v0<v1", "model:v0: through data:v0"]


def test_without_a_selector_the_projects_named_versions_are_judged(worlds):
    worlds.log("raw", "r0")
    made(worlds, "data", "d0", "raw:v0")
    made(worlds, "data", "d1", "raw:v0", aliases=("gold",))
    made(worlds, "data", "d2", "raw:v0")
    made(worlds, "data", "x", "raw:v0", project="q")
    worlds.log("raw", "r1")
    assert stale(worlds) == ["data:v1: raw:v0<v1", "data:v2: raw:v0<v1"]
    assert stale(worlds, project="q") == ["data:v0: raw:v0<v1"]
    assert stale(worlds, "*/data:v0") == ["data:v0: raw:v0<v1", "data:v0: raw:v0<v1"]
    assert stale(worlds, project="nobody") == []


def test_a_plain_ref_is_one_version_and_what_means_nothing_is_said(world):
    chain(world)
    world.log("raw", "r1")
    assert stale(world, "data") == ["data:v0: raw:v0<v1"]
    assert stale(world, "raw") == []
    with pytest.raises(NotFound):
        stale(world, "nothing")
    with pytest.raises(InvalidSelector):
        stale(world, "data and and raw")


# Against a model


def judged(used, made_by, newest):
    """Return what is out of date by the rule, where no collection is made from itself or in rounds; by repetition.

    `used` is by run, `made_by` by version; versions are (collection, number), `newest` numbers by collection.
    """
    found = set()
    while True:
        more = {
            version for version, runs in made_by.items() if all(_outdated(used[run], newest, found) for run in runs)
        }
        if more == found:
            return found
        found = more


def _outdated(inputs, newest, found):
    last = {}
    for collection, number in inputs:
        last[collection] = max(number, last.get(collection, -1))
    return any(
        number < newest.get(collection, -1) or (collection, number) in found for collection, number in last.items()
    )


@pytest.mark.parametrize("seed", range(12))
def test_random_stores_are_judged_as_the_rule_says(worlds, seed):
    """Layers a → b → c → d: versions of each are made from any of the layers before it, half of them by repetitions."""
    dice = random.Random(seed)
    known, used, made_by, newest = [], {}, {}, {}
    for step in range(40):
        name = dice.choice("abcd")
        before = [one for one in known if one[0] < name]
        inputs = dice.sample(before, min(len(before), dice.randrange(4)))
        if dice.random() < 0.5:
            inputs = [one for one in newest.items() if one[0] < name]
        content = f"{name}{dice.randrange(6)}" if dice.random() < 0.5 else f"{step}"
        again = dice.random() < 0.5
        refs = [f"{collection}:v{number}" for collection, number in inputs]
        run = worlds.run(*refs, captured=REPEATS if again else Captured()) if inputs or again else None
        record = worlds.log(name, content, run, quiet=again)
        version = (name, record.number)
        if version not in known:
            known.append(version)
        if run is not None:
            used[run] = inputs
            made_by.setdefault(version, []).append(run)
        if not again or name not in newest:
            newest[name] = max(newest.get(name, -1), record.number)
    found = [tuple(one.version.name.split(":v")) for one in stale_versions(worlds.catalog, "not tag=none", "p")]
    assert {(name, int(number)) for name, number in found} == judged(used, made_by, newest)
    assert len(found) == len(set(found))
    place = {f"{name}:v{number}": at for at, (name, number) in enumerate(found)}
    for one in stale_versions(worlds.catalog, "not tag=none", "p"):
        needed = [*(other.name for other in one.through), *(behind.newest.name for behind in one.behind)]
        assert all(place[other] < place[one.version.name] for other in needed if other in place)


def judged_in_rounds(used, made_by, newest):
    """Return what is out of date by the whole rule, by repetition: going on, rounds, and what is handed on."""

    def came_of(later, version, seen):
        """Whether a version came of another; of the ways, none is left out."""
        if later == version:
            return True
        seen.add(later)
        before = {one for run in made_by.get(later, ()) for one in used[run]} - seen
        return any(came_of(one, version, seen) for one in before if one not in seen)

    def roots_by(version, run):
        last, found = {}, set()
        for one in used[run]:
            last[one[0]] = max(one[1], last.get(one[0], -1))
        current = {name for name, number in last.items() if number >= newest.get(name, -1)}
        for name in last:
            numbers = [one[1] for one in used[run] if one[0] == name and one != version]
            if not numbers:
                continue
            older = max(numbers) < newest.get(name, -1)
            handed = roots.get((name, max(numbers)), set())
            if name == version[0] or (older and came_of((name, newest[name]), version, set())):
                found |= handed - current
            else:
                found |= {name} if older else handed
        return found

    roots = {}
    while True:
        by_run = {version: [roots_by(version, run) for run in runs] for version, runs in made_by.items()}
        more = {version: found[-1] if all(found) else set() for version, found in by_run.items()}
        if more == roots:
            return {version for version, found in roots.items() if found}
        roots = more


@pytest.mark.parametrize("seed", range(12))
def test_random_rounds_are_judged_as_the_rule_says(world, seed):
    """Versions made of any others, of their own collection too, by several runs, with a collection that is deleted."""
    dice = random.Random(seed)
    known, used, made_by = {}, {}, {}
    for step in range(25):
        inputs = dice.sample(sorted(known), min(len(known), dice.randrange(3)))
        run = world.run(*(f"{collection}:v{number}" for collection, number in inputs)) if inputs else None
        for _ in range(dice.choice([1, 1, 2])):
            name = dice.choice("abcd")
            record = world.log(name, f"{name}{dice.randrange(5)}" if dice.random() < 0.4 else f"{step}", run)
            version = (name, record.number)
            known[version] = record
            if run is not None:
                used[run] = inputs
                made_by.setdefault(version, []).append(run)
    gone = {version for version in known if version[0] == "b" or dice.random() < 0.2}
    for version in gone:
        world.delete(known[version])
    newest = dict(sorted(known.keys() - gone))
    wanted = judged_in_rounds(used, made_by, newest) - gone
    found = stale_versions(world.catalog, "not tag=none", "p")
    assert {(one.version.collection, one.version.number) for one in found} == wanted
    for name, number in known.keys() - gone:
        assert len(stale_versions(world.catalog, f"{name}:v{number}", "p")) == ((name, number) in wanted)


# Much of it


_VERSION = (
    "INSERT INTO version (id, collection, number, digest, size, file_count, state, created, actor, data)"
    " VALUES (?, ?, ?, ?, 1, 1, ?, 0, 'a', '{}')"
)


def fill(world, versions, runs, edges):
    """Write rows straight: versions (collection, number, state), runs, edges (run, version, direction) by place."""

    def work(tx):
        collections = sorted({name for name, _, _ in versions})
        tx.connection.exec_driver_sql("INSERT INTO project (id, name, key, created) VALUES (1, 'p', 'p', 0)")
        ids = {name: at + 1 for at, name in enumerate(collections)}
        run = (
            "INSERT INTO run (id, project, name, state, created, heartbeat, actor, config, summary, code, environment)"
            " VALUES (?, 1, ?, 'finished', 0, 0, 'a', '{}', '{}', '{}', '{}')"
        )
        for sql, rows in (
            (
                "INSERT INTO collection VALUES (?, 1, ?, ?, 't', NULL, 9, 0)",
                [(ids[name], name, name) for name in collections],
            ),
            (
                _VERSION,
                [
                    (at + 1, ids[name], number, at.to_bytes(32, "big"), state)
                    for at, (name, number, state) in enumerate(versions)
                ],
            ),
            (run, [(one, one) for one in runs]),
            ("INSERT INTO edge (run, version, direction, time) VALUES (?, ?, ?, 0)", edges),
        ):
            tx.connection.exec_driver_sql(sql, rows)

    world.database.write(work)


def test_a_long_series_and_a_wide_run_are_judged_in_one_pass(world):
    """10,000 models, each going on from the one before with the data of its day, and a run of 2,000 in- and outputs."""
    days, wide = 10_000, 2_000
    versions = [("data", number, "live") for number in range(days)] + [
        ("model", number, "live") for number in range(days)
    ]
    edges = []
    for day in range(days):
        edges += [(f"r{day}", 1 + day, "used"), (f"r{day}", 1 + days + day, "produced")]
        if day:
            edges.append((f"r{day}", days + day, "used"))
    first = 2 * days + 1
    versions += [(f"in-{number}", 0, "live") for number in range(wide)] + [
        (f"out-{number}", 0, "live") for number in range(wide)
    ]
    versions.append(("in-7", 1, "live"))
    edges += [("w", first + number, "used") for number in range(wide)]
    edges += [("w", first + wide + number, "produced") for number in range(wide)]
    fill(world, versions, [*(f"r{day}" for day in range(days)), "w"], edges)
    found = stale(world, "model:v* or out-*")
    assert len(found) == days - 1 + wide
    assert found[0] == "model:v0: data:v0<v9999"
    assert stale(world, f"model:v{days - 1}") == []
    assert stale(world, "out-3:v0") == ["out-3:v0: in-7:v0<v1"]


# The order


def test_an_order_has_what_is_needed_first_and_keeps_circles_together():
    before = {"d": ["b", "c"], "b": ["a"], "c": ["b", "d"], "a": ["nowhere"], "e": []}
    order = in_order(before, str)
    assert sorted(order) == sorted(before)
    assert order == ["a", "b", "c", "d", "e"]
    assert in_order({}, str) == []


def test_examples():
    assert doctest.testmod(ordering_module).failed == 0
