"""Why two versions differ: the points at which their histories part, found the same way on both databases."""

from __future__ import annotations

import doctest
import json
import re

import pytest
from sqlalchemy import Engine, event

import lineart.artifacts.comparison as comparison_module
import lineart.artifacts.nested as nested_module
import lineart.lineage.answers.makers as makers_module
import lineart.lineage.answers.why_steps as steps_module
import lineart.lineage.answers.why_texts as texts_module
from lineart.artifacts.nested import ABSENT, Changed, dotted, nested_changes
from lineart.artifacts.ref import Ref
from lineart.lineage.answers.histories import explain
from lineart.lineage.answers.why import End, Kind, Verdict
from lineart.lineage.answers.why_steps import History, Known, match_steps
from lineart.lineage.answers.why_texts import PatchedFile, Texts, changed_packages, patch_lines, patched_files
from lineart.lineage.capture import Captured
from lineart.lineage.edges import runs_of
from lineart.storage.digest import Digest
from lineart.storage.errors import InvalidInput

PACKAGES = b"numpy==1.26\ntorch==2.1\n"
PATCH = (
    b"diff --git a/train.py b/train.py\nindex 111..222 100644\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-a\n+%s\n"
)


def capture(world, run, commit="a", diff=None, packages=PACKAGES, git=None, command=("python", "x.py"), **environment):
    texts = {} if packages is None else {"environment.packages": packages}
    if diff is not None:
        texts["code.diff"] = diff
    git = {"commit": commit * 40, "dirty": diff is not None, "branch": "main", **(git or {})}
    code = {"command": list(command), "directory": "/work", "git": git}
    world.ledger.update(run, captured=Captured(code, {"python": "3.11.2", "platform": "Linux", **environment}, texts))


def made(world, name, content, *used, config=None, job_type=None, project="p", **captured):
    """Make a version by a run of its own that uses these refs."""
    run = world.run(*used, config=config, job_type=job_type)
    capture(world, run, **captured)
    world.ledger.finish(run, 0)
    return world.log(name, content, run, project=project)


def why(world, old, new, **options):
    ends = (world.catalog.resolve(Ref.parse(one), "p") for one in (old, new))
    return explain(world.catalog, *ends, **options)


def told(found):
    """The short answer: what differs, and the version at which it enters."""
    return [(one.kind.value, *(pair.new.name for pair in one.pairs)) for one in found.causes]


def pairs(found):
    return [(one.old.name, one.new.name) for one in found.pairs]


def pipeline(world):
    """Two of each: raw → clean → data → model; the second with other raw data, seed, commit and packages."""
    for number in range(2):
        world.log("raw", f"r{number}")
        made(world, "clean", f"c{number}", f"raw:v{number}", job_type="clean")
        config = {"seed": 7 + number, "deep": {"er": {"x": 1}}}
        made(world, "data", f"d{number}", f"clean:v{number}", job_type="prep", config=config)
        packages = PACKAGES.replace(b"2.1", b"2.2") if number else PACKAGES
        made(world, "model", f"m{number}", f"data:v{number}", commit="ab"[number], packages=packages, job_type="train")


def test_the_short_answer_begins_at_raw_data_and_names_where_each_difference_enters(worlds):
    pipeline(worlds)
    found = why(worlds, "model:v0", "model:v1")
    assert told(found) == [
        ("raw data", "raw:v1"),
        ("config", "data:v1"),
        ("commit", "model:v1"),
        ("packages", "model:v1"),
    ]
    assert pairs(found) == [(f"{name}:v0", f"{name}:v1") for name in ("raw", "clean", "data", "model")]
    assert [one.verdict for one in found.pairs] == [Verdict.RAW, Verdict.INPUTS, Verdict.RUNS, Verdict.RUNS]
    assert found.causes[1].contrasts == ((Kind.CONFIG, "seed", 7, 8),)
    assert found.causes[3].contrasts == ((Kind.PACKAGE, "torch", "2.1", "2.2"),)
    assert (found.cut, bool(found), found.same_content) == (0, True, False)
    json.dumps([found.to_json(), [one.to_json() for one in found.pairs]])


def test_asked_the_other_way_round_the_answer_is_mirrored(worlds):
    pipeline(worlds)
    found = why(worlds, "model:v1", "model:v0")
    assert [one.kind.value for one in found.causes] == ["raw data", "config", "commit", "packages"]
    assert found.causes[1].contrasts == ((Kind.CONFIG, "seed", 8, 7),)


def test_the_same_change_in_several_steps_is_one_cause(world):
    world.log("raw", "r0")
    for number in range(2):
        commit = "ab"[number]
        made(world, "data", f"d{number}", "raw:v0", commit=commit)
        made(world, "model", f"m{number}", f"data:v{number}", commit=commit, config={"lr": number})
    assert told(why(world, "model:v0", "model:v1")) == [("commit", "data:v1", "model:v1"), ("config", "model:v1")]


def test_equal_content_ends_the_search_however_it_was_made(world):
    world.log("raw", "r0")
    world.log("raw", "r1")
    for number in range(2):
        made(world, "data", "same", f"raw:v{number}", commit="ab"[number])
        made(world, "model", f"m{number}", "data:v0", config={"lr": number})
    found = why(world, "model:v0", "model:v1")
    assert told(found) == [("config", "model:v1")]
    assert pairs(found) == [("model:v0", "model:v1")]


def test_equal_content_of_other_numbers_is_no_difference(world):
    first, second = world.log("a", "x"), world.log("a", "y")
    world.database.write(
        lambda tx: tx.connection.exec_driver_sql(
            f"UPDATE version SET digest = (SELECT digest FROM version WHERE id = {first.id}) WHERE id = {second.id}"
        )
    )
    for number in range(2):
        made(world, "model", f"m{number}", f"a:v{number}")
    found = why(world, "model:v0", "model:v1")
    assert [one.end for one in found.pairs[-1].inputs] == [End.SAME]
    assert told(found) == [("nothing recorded", "model:v1")]


def test_histories_that_are_alike_say_that_nothing_recorded_differs(worlds):
    worlds.log("raw", "r0")
    for number in range(2):
        made(worlds, "data", f"d{number}", "raw:v0", config={"seed": 1})
        made(worlds, "model", f"m{number}", f"data:v{number}")
    found = why(worlds, "model:v0", "model:v1")
    assert told(found) == [("nothing recorded", "data:v1")]
    assert not found


def test_what_seldom_matters_is_a_cause_only_where_there_is_no_other(world):
    world.log("raw", "r0")
    for number in range(2):
        made(world, "data", f"d{number}", "raw:v0", command=("python", "x.py", f"--n={number}"), host=f"h{number}")
        made(world, "model", f"m{number}", f"data:v{number}", command=("python", f"{number}"), config={"lr": number})
    found = why(world, "model:v0", "model:v1")
    assert told(found) == [("command line", "data:v1"), ("host", "data:v1"), ("config", "model:v1")]
    assert Kind.COMMAND in {one.kind for one in found.pairs[-1].contrasts}, "it is told all the same"


def test_one_and_the_same_version_has_nothing_to_compare(world):
    world.log("raw", "r0")
    found = why(world, "raw:v0", "raw:latest")
    assert (found.pairs, found.causes, found.same_content) == ((), (), True)


def test_the_same_bytes_in_two_collections_differ_only_in_their_making(world):
    world.log("raw", "r0")
    made(world, "a", "same", "raw:v0", config={"x": 1})
    made(world, "b", "same", "raw:v0", config={"x": 2})
    made(world, "c", "same", "raw:v0", config={"x": 2})
    assert why(world, "a", "b").same_content
    assert told(why(world, "a", "b")) == [("config", "b:v0")]
    assert told(why(world, "b", "c")) == []


def test_two_versions_of_one_run_say_so(worlds):
    run = worlds.run()
    worlds.log("model", "m0", run)
    worlds.log("model", "m1", run)
    found = why(worlds, "model:v0", "model:v1")
    assert (told(found), found.pairs[0].verdict) == ([("run", "model:v1")], Verdict.SAME_RUN)


@pytest.mark.parametrize(("old", "new"), [("model:v0", "model:v1"), ("model:v1", "model:v0")])
def test_a_version_of_which_no_run_is_known_says_so(world, old, new):
    world.log("raw", "r0")
    world.log("model", "m0")
    made(world, "model", "m1", "raw:v0")
    found = why(world, old, new)
    assert found.pairs[-1].verdict is Verdict.UNKNOWN
    assert found.pairs[-1].notes[0] == "no run is known that made p/model:v0"


def test_what_was_not_recorded_is_no_difference_and_is_noted(world):
    world.log("raw", "r0")
    made(world, "model", "m0", "raw:v0")
    run = world.run("raw:v0")
    world.ledger.finish(run, 0)
    world.log("model", "m1", run)
    found = why(world, "model:v0", "model:v1")
    assert told(found) == [("nothing recorded", "model:v1")]
    assert found.pairs[0].notes[:2] == (
        f"the git commit of {run} is not recorded",
        f"the package list of {run} is not recorded",
    )


def test_of_several_runs_that_made_a_version_the_first_is_compared_and_the_others_are_named(worlds):
    worlds.log("raw", "r0")
    for commit in "abc":
        model = made(worlds, "model", "m0", "raw:v0", commit=commit)
    made(worlds, "model", "m1", "raw:v0", commit="d")
    first, *others = worlds.database.read(lambda connection: runs_of(connection, model.id, "produced", None))
    found = why(worlds, "model:v0", "model:v1")
    assert found.causes[0].contrasts[0].old == "a" * 40
    said = f"{first} made p/model:v0 first and is compared; {' and '.join(others)} logged the same content again"
    assert said in found.pairs[0].notes
    assert found.pairs[0].to_json()["also"] == [others, []]


def test_a_run_that_logged_again_what_it_had_used_did_not_make_it(world):
    world.log("raw", "r0")
    world.log("model", "m0")
    made(world, "model", "m0", "model:v0", commit="a")
    made(world, "model", "m0", "raw:v0", commit="b")
    made(world, "model", "m1", "raw:v0", commit="d")
    found = why(world, "model:v0", "model:v1")
    assert found.causes[0].contrasts[0].old == "b" * 40
    assert "logged the same content again" in found.pairs[0].notes[0]


def test_many_more_runs_are_counted_and_all_in_the_document(world):
    world.log("raw", "r0")
    for _ in range(9):
        made(world, "model", "m0", "raw:v0")
    made(world, "model", "m1", "raw:v0")
    found = why(world, "model:v1", "model:v0").pairs[0]
    assert re.search(r"compared; (\w+, ){4}4 more \(--json\) logged the same content again$", found.notes[0])
    assert [len(one) for one in found.to_json()["also"]] == [0, 8]


def test_a_version_that_was_there_before_any_run_logged_it_says_so(world):
    world.log("raw", "r0")
    world.log("model", "m0")
    world.wait(3600)
    run = world.ledger.producer(made(world, "model", "m0", "raw:v0").id).id
    made(world, "model", "m1", "raw:v0")
    note, *_ = why(world, "model:v0", "model:v1").pairs[0].notes
    assert note == (
        f"p/model:v0 was there since 2027-01-15T08:00:00Z; {run}, the first run that is known to have logged it, did so"
        " 2027-01-15T09:00:00Z"
    )


def test_a_run_that_crashed_is_a_cause(world):
    world.log("raw", "r0")
    made(world, "model", "m0", "raw:v0")
    run = world.run("raw:v0")
    capture(world, run)
    world.log("model", "m1", run)
    world.ledger.finish(run, 1)
    assert why(world, "model:v0", "model:v1").causes[0].contrasts == ((Kind.STATE, "", "finished", "failed"),)


# Inputs


def ends(found):
    return [
        (one.old and one.old.name, one.new and one.new.name, one.end.name.lower()) for one in found.pairs[-1].inputs
    ]


def test_of_several_versions_of_a_collection_what_both_used_is_left_out(world):
    for number in range(6):
        world.log("news", f"n{number}")
    made(world, "model", "m0", "news:v0", "news:v1", "news:v2")
    made(world, "model", "m1", "news:v5", "news:v3", "news:v1", "news:v4")
    found = why(world, "model:v0", "model:v1")
    assert ends(found) == [
        ("news:v0", "news:v3", "followed"),
        ("news:v2", "news:v4", "followed"),
        (None, "news:v5", "only"),
    ]
    assert told(found) == [("raw data", "news:v3"), ("raw data", "news:v4"), ("input", "model:v1")]


def test_an_input_that_only_one_used_is_a_cause(world):
    world.log("a", "a0")
    world.log("b", "b0")
    made(world, "model", "m0", "a:v0")
    made(world, "model", "m1", "a:v0", "b:v0")
    assert ends(why(world, "model:v0", "model:v1")) == [(None, "b:v0", "only")]
    assert ends(why(world, "model:v1", "model:v0")) == [("b:v0", None, "only")]
    assert told(why(world, "model:v0", "model:v1")) == [("input", "model:v1")]


def test_collections_of_one_name_in_two_projects_answer_to_each_other(worlds):
    """As after the histories of two stores have come together in one."""
    worlds.log("raw", "r0")
    worlds.log("Raw", "r1", project="team/q")
    made(worlds, "model", "m0", "raw:v0")
    made(worlds, "model", "m1", "team/q/raw:v0", project="team/q")
    found = why(worlds, "p/model:v0", "team/q/model:v0")
    assert [(one.old.ref, one.new.ref) for one in found.pairs] == [
        ("p/raw:v0", "team/q/Raw:v0"),
        ("p/model:v0", "team/q/model:v0"),
    ]


def test_a_version_made_from_the_other_says_so_and_is_not_followed(worlds):
    worlds.log("model", "m0")
    for number in (1, 2, 3):
        made(worlds, "model", f"m{number}", f"model:v{number - 1}", config={"epoch": number})
    found = why(worlds, "model:v2", "model:v3")
    assert ends(found) == [("model:v1", "model:v2", "itself")]
    assert told(found) == [("config", "model:v3"), ("input", "model:v3")]
    assert ends(why(worlds, "model:v3", "model:v2")) == [("model:v2", "model:v1", "itself")]
    assert len(found.pairs) == 1


def test_a_run_that_uses_what_it_logs_ends(worlds):
    for number in range(2):
        version = worlds.log("model", f"m{number}")
        run = worlds.run(f"model:v{number}", config={"n": number})
        worlds.log("model", f"m{number}", run)
        assert version.number == number
    found = why(worlds, "model:v0", "model:v1")
    assert told(found) == [("config", "model:v1")]
    assert found.pairs[0].inputs == ()


def test_a_circle_of_versions_ends(worlds):
    for number in range(2):
        for name in ("a", "b"):
            worlds.log(name, f"{name}{number}")
        made(worlds, "a", f"a{number}", f"b:v{number}")
        made(worlds, "b", f"b{number}", f"a:v{number}", config={"n": number})
    found = why(worlds, "a:v0", "a:v1")
    assert pairs(found) == [("b:v0", "b:v1"), ("a:v0", "a:v1")]
    assert told(found) == [("config", "b:v1")]


def test_tombstones_are_walked_past(worlds):
    pipeline(worlds)
    for ref in ("clean:v0", "data:v1", "model:v0"):
        worlds.delete(worlds.catalog.resolve(Ref.parse(ref), "p"))
    worlds.database.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE version SET state = 'purged' WHERE number = 0")
    )
    found = why(worlds, "model:v0", "model:v1")
    assert [kind for kind, _ in told(found)] == ["raw data", "config", "commit", "packages"]
    assert all("bytes are gone" in one.notes[-1] for one in found.pairs)


# Size


def chain(world, length):
    """Two chains of versions, told apart by their first; written as rows, since runs of their own would take long."""
    roots = [world.log("v", f"root{side}") for side in range(2)]
    run = world.run()

    def work(tx):
        connection = tx.connection
        number, collection = 2, connection.exec_driver_sql("SELECT collection FROM version").first()[0]
        for root in roots:
            before = root.id
            for step in range(length):
                name = f"r{root.id}-{step}"
                connection.exec_driver_sql(
                    "INSERT INTO run (id, project, name, state, created, heartbeat, actor, config, summary, code, "
                    f"environment) SELECT '{name}', project, '{name}', 'finished', 0, 0, 'a', '{{}}', '{{}}', '{{}}', "
                    f"'{{}}' FROM run WHERE id = '{run}'"
                )
                digest = Digest.of(f"{root.id} {step}".encode()).hex()
                connection.exec_driver_sql(
                    "INSERT INTO version (collection, number, digest, size, file_count, state, created, actor, data) "
                    f"VALUES ({collection}, {number}, x'{digest}', 1, 1, 'live', 0, 'a', '{{}}')"
                )
                here = connection.exec_driver_sql(f"SELECT id FROM version WHERE number = {number}").first()[0]
                for version, direction in ((before, "used"), (here, "produced")):
                    connection.exec_driver_sql(
                        "INSERT INTO edge (run, version, direction, time) "
                        f"VALUES ('{name}', {version}, '{direction}', 0)"
                    )
                before, number = here, number + 1
        return number - 1

    return world.database.write(work)


@pytest.mark.slow
def test_a_chain_of_five_thousand_steps_is_followed_to_its_end_in_few_statements(world):
    last = chain(world, 5000)
    statements = []

    def keep(*said):
        statements.append(said[2])

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        found = why(world, f"v:v{last - 5000}", f"v:v{last}", files=0)
    finally:
        event.remove(Engine, "before_cursor_execute", keep)
    assert len(found.pairs) == 5001
    assert told(found) == [("raw data", "v:v1")]
    assert found.unread == 5001
    assert len(statements) < 200


def test_a_depth_is_kept_and_what_it_cuts_is_counted(worlds):
    pipeline(worlds)
    found = why(worlds, "model:v0", "model:v1", depth=1)
    assert pairs(found) == [("data:v0", "data:v1"), ("model:v0", "model:v1")]
    assert [one[0] for one in told(found)] == ["config", "commit", "packages"]
    assert (found.cut, found.to_json()["complete"]) == (1, False)
    assert pairs(why(worlds, "model:v0", "model:v1", depth=0)) == [("model:v0", "model:v1")]
    assert why(worlds, "model:v0", "model:v1", depth=3).cut == 0
    for options in ({"depth": -1}, {"files": -1}):
        with pytest.raises(InvalidInput):
            why(worlds, "model:v0", "model:v1", **options)


def test_no_more_pairs_than_a_bound_are_visited_however_a_history_branches():
    """A ladder in which each version uses the three before it, so that pairs could be any two of them."""
    length = 60
    versions = {one: Known(one % 3, str(one % 3), one, bytes([one % 251, one // 251])) for one in range(2 * length)}
    makers = {one: [f"r{one}"] for one in versions}
    inputs = {f"r{one}": [one - back for back in (2, 4, 6) if one - back >= 0] for one in versions}
    history = History(versions, makers, inputs)
    steps = match_steps(history, 2 * length - 2, 2 * length - 1)
    assert len({(one.old, one.new) for one in steps}) == len(steps)
    few = match_steps(history, 2 * length - 2, 2 * length - 1, most=10)
    assert len(few) == 10
    assert sum(one.end is End.CUT for step in few for one in step.inputs) > 0


# Texts


def test_uncommitted_changes_are_compared_file_by_file(worlds):
    worlds.log("raw", "r0")
    made(worlds, "model", "m0", "raw:v0", diff=PATCH % b"b")
    made(worlds, "model", "m1", "raw:v0", diff=PATCH % b"c" + b"diff --git a/n.py b/n.py\n@@ -1 +1 @@\n-x\n+y\n")
    found = why(worlds, "model:v0", "model:v1", patches=True)
    assert told(found) == [("uncommitted", "model:v1")]
    assert [(one.key, one.old is ABSENT) for one in found.causes[0].contrasts] == [("n.py", True), ("train.py", False)]
    lines = list(patch_lines(found.pairs[0].patches[1]))
    assert lines[-2:] == ["-+b", "++c"]
    assert found.pairs[0].patches[0].old is None
    assert why(worlds, "model:v0", "model:v1").pairs[0].patches == ()


def test_a_run_with_and_one_without_uncommitted_changes_differ(world):
    world.log("raw", "r0")
    made(world, "model", "m0", "raw:v0")
    made(world, "model", "m1", "raw:v0", diff=PATCH % b"b")
    cause = why(world, "model:v0", "model:v1").causes[0]
    assert (cause.kind, cause.contrasts[0].key, cause.contrasts[0].old) == (Kind.UNCOMMITTED, "train.py", ABSENT)


def test_patches_that_differ_in_what_git_calls_the_states_are_alike():
    one, other = PATCH % b"b", (PATCH % b"b").replace(b"222", b"333")
    assert patched_files(one, other) == []


@pytest.mark.parametrize("harm", ["lost", "damaged", "no digest", "no list"])
def test_texts_that_cannot_be_read_are_noted_and_the_rest_is_told(world, harm):
    world.log("raw", "r0")
    made(world, "model", "m0", "raw:v0", packages=PACKAGES)
    made(world, "model", "m1", "raw:v0", packages=b"other==1\n", config={"x": 1})
    if harm == "lost":
        world.database.write(lambda tx: tx.connection.exec_driver_sql("DELETE FROM chunk"))
    elif harm == "damaged":
        backend = world.engine.backend
        for folder in ("packs/", "meta/"):
            for one in backend.list(folder):
                backend.put(one.key, [bytes(one.size)])
    else:
        wrong = {"no digest": ["b3:xyz"], "no list": {"a": 1}}[harm]
        environment = json.dumps({"python": "3.11.2", "platform": "Linux", "packages": wrong})
        world.database.write(
            lambda tx: tx.connection.exec_driver_sql(
                "UPDATE run SET environment = ? WHERE config <> '{}'", (environment,)
            )
        )
    found = why(world, "model:v0", "model:v1")
    assert told(found) == [("config", "model:v1"), ("packages", "model:v1")]
    notes = [one for one in found.pairs[0].notes if "packages" in one]
    assert len(notes) == 1
    assert "cannot be read" in notes[0]


def test_one_lost_text_does_not_take_others_with_it():
    good, bad = Digest.of(b"good"), Digest.of(b"bad")

    def get(digests):
        from lineart.storage.errors import IntegrityError

        if bytes(bad) in digests:
            raise IntegrityError("lost")
        return dict.fromkeys(digests, b"good")

    texts = Texts(get)
    texts.fetch([[str(good)], [str(bad)], ABSENT, None])
    assert (texts.text([str(good)]), texts.text([str(bad)]), texts.text(ABSENT)) == (b"good", None, b"")
    assert (texts.trouble([str(bad)]), texts.trouble([str(good)])) == ("lost", None)


def test_packages_are_compared_by_their_normal_names():
    old, new = b"A_b==1\nc==1\nd==1\nd==2\n", b"a-B==1\nc==2\nd==2\ne==3\n\xff==1\nstray\n"
    assert changed_packages(old, new) == [
        ("\\xff", ABSENT, "1"),
        ("c", "1", "2"),
        ("d", "1, 2", "2"),
        ("e", ABSENT, "3"),
        ("stray", ABSENT, ""),
    ]


def test_long_patches_are_shown_whole():
    text = "".join(f"+{line}\n" for line in range(4000))
    lines = list(patch_lines(PatchedFile("f", text, text + "+x\n")))
    assert len(lines) == 4000 + 4001 + 2
    assert "too long" in lines[0]


def test_a_patch_in_no_form_that_is_known_is_one_file():
    assert [one.path for one in patched_files(b"junk\xff\n", b"")] == ["junk\\xff"]
    assert [one.path for one in patched_files(b'diff --git "a/\\n" "b/\\n"\n', b"")] == ["\\n"]


# Values


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("a.b.c", 1, 2)]),
        ({"a": {"b": 1}}, {"a.b": 1}, [("a.b", 1, ABSENT), ('"a.b"', ABSENT, 1)]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("a", 1, 1.0)]),
        ({"a": None}, {}, [("a", None, ABSENT)]),
        ({"a": {}}, {"a": {"b": 1}}, [("a", {}, ABSENT), ("a.b", ABSENT, 1)]),
        ({"a": [1, {"x": 2, "y": 1}]}, {"a": [1, {"y": 1, "x": 2}]}, []),
        ({"a": [1]}, {"a": [True]}, [("a", [1], [True])]),
        ({}, {}, []),
        ({"": 1}, {}, [('""', 1, ABSENT)]),
    ],
)
def test_nested_values_are_compared_key_by_key(old, new, changed):
    assert nested_changes(old, new) == [Changed(*one) for one in changed]


def test_keys_with_line_breaks_stay_on_one_line_and_depth_does_not_matter():
    assert dotted(("a\nb", "c")) == '"a\\nb".c'
    deep, other = {"x": 1}, {"x": 2}
    for _ in range(2_000):
        deep, other = {"k": deep}, {"k": other}
    assert len(nested_changes(deep, other)) == 1


def test_masked_values_stay_masked_and_are_said_to_be_so(world):
    world.log("raw", "r0")
    for number in range(2):
        made(world, "model", f"m{number}", "raw:v0", config={"api_key": f"secret{number}", "n": number})
    found = why(world, "model:v0", "model:v1")
    text = json.dumps([found.to_json(), [one.to_json() for one in found.pairs]])
    assert "secret" not in text
    assert "masked values cannot be compared: api_key" in found.pairs[0].notes


def test_what_stands_in_the_place_of_objects_does_not_crash(world):
    world.log("raw", "r0")
    for number in range(2):
        made(world, "model", f"m{number}", "raw:v0", config={"n": number})
    world.database.write(
        lambda tx: tx.connection.exec_driver_sql("""UPDATE run SET code = '{"git": [1], "command": 3, "diff": "x"}'""")
    )
    assert told(why(world, "model:v0", "model:v1"))[0] == ("config", "model:v1")


@pytest.mark.parametrize("module", [comparison_module, nested_module, makers_module, steps_module, texts_module])
def test_examples(module):
    assert doctest.testmod(module).failed == 0
