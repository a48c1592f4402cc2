"""The processes of a distributed job take part in one run, whoever comes first, and one of them ends it."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
import threading

import pytest

import lineart
import lineart.lineage.jobs
import lineart.lineage.ranks as module
from lineart.lineage.capture import Capture, Captured, Collected
from lineart.lineage.jobs import find_job
from lineart.lineage.opening import meet_run
from lineart.lineage.ranks import Meeting, Rendezvous, Seen, find_meeting, meeting_id
from lineart.lineage.values import Changes
from lineart.storage.errors import Conflict, NotFound

TORCH = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}
OMPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_NAMESPACE": "n-1@1"}
MPICH = {"PMI_RANK": "3", "PMI_SIZE": "4", "PMI_JOBID": "x"}
JOIN = {"LINEART_JOIN": "1"}


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        (TORCH, ("torch n1 29500 4 0", 1)),
        ({**TORCH, "TORCHELASTIC_RUN_ID": "none"}, ("torch n1 29500 4 0", 1)),
        ({**TORCH, "TORCHELASTIC_RUN_ID": "exp", "TORCHELASTIC_RESTART_COUNT": "2"}, ("torchrun exp 4 2", 1)),
        ({**TORCH, "LINEART_JOIN": "0"}, None),
        ({**TORCH, "WORLD_SIZE": "1", "RANK": "0"}, None),
        ({**TORCH, "RANK": "4"}, None),
        ({**TORCH, "RANK": "-1"}, None),
        ({**TORCH, "RANK": "x"}, None),
        ({"RANK": "0", "WORLD_SIZE": "2"}, None),
        ({**TORCH, "MASTER_PORT": ""}, None),
        (SLURM, None),
        ({**SLURM, **JOIN}, ("slurm  7 0 0", 2)),
        ({**SLURM, **TORCH}, ("torch n1 29500 4 0", 1)),
        (OMPI, None),
        ({**OMPI, **JOIN}, ("mpi n-1@1", 3)),
        ({**MPICH, **JOIN}, ("mpi x", 3)),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", **JOIN}, None),
        (JOIN, None),
    ],
)
def test_launchers_say_which_job_a_process_is_a_part_of(environ, found):
    assert find_job(environ) == found


# Which run it is, worked out


def choose(runs, began=100, been=()):
    """Return the number of the run that is chosen, and whether it is there, where there are these runs."""
    there = {meeting_id("p", "k", n): one for n, one in enumerate(runs)}
    chosen, is_there = find_meeting(there.get, "p", "k", began, {meeting_id("p", "k", n) for n in been})
    return next(n for n in range(5000) if meeting_id("p", "k", n) == chosen), is_there


ALIVE, OVER, LATE = Seen(True, 0), Seen(False, 99), Seen(False, 100)


@pytest.mark.parametrize(
    ("runs", "been", "chosen"),
    [
        ([], (), (0, False)),
        ([ALIVE], (), (0, True)),
        ([OVER], (), (1, False)),  # an earlier job that met at the same place
        ([LATE], (), (0, True)),  # who comes late belongs to it all the same
        ([OVER, OVER, ALIVE], (), (2, True)),
        ([OVER] * 2000, (), (2000, False)),
        ([OVER] * 2000 + [ALIVE], (), (2000, True)),
        ([LATE], (0,), (1, False)),  # the second run of the same job
        ([LATE, ALIVE], (0,), (1, True)),
        ([LATE, ALIVE], (), (1, True)),
        ([LATE, LATE], (), (0, True)),
        ([ALIVE], (0,), (1, False)),
    ],
)
def test_one_that_is_alive_is_joined_and_one_that_was_over_before_is_not(runs, been, chosen):
    assert choose(runs, been=been) == chosen


def test_few_questions_find_the_last_of_many():
    asked = []
    there = {meeting_id("p", "k", n) for n in range(1000)}
    find_meeting(lambda one: asked.append(one) or (OVER if one in there else None), "p", "k", 100, ())
    assert len(asked) < 25


def test_ids_differ_by_project_and_key_and_look_like_ids():
    ids = {meeting_id(project, key, n) for project in "pq" for key in "kl" for n in range(50)}
    assert len(ids) == 200
    assert all(len(one) == 17 and one[0] == "r" and one.isalnum() for one in ids)


def test_the_examples_run():
    assert doctest.testmod(module).failed == doctest.testmod(lineart.lineage.jobs).failed == 0


# In a store


def meet(world, rank, *, key="k", age=1.0, been=(), slow=False, **options):
    facts = Captured({}, {"rank": rank})
    capture = Capture.none(facts)
    if slow:
        capture = Capture(seen=Captured, slow=lambda _: Collected(None, b"of rank %d\n" % rank), facts=facts)
    meeting = Meeting(Rendezvous(key, rank, age), been, options.pop("id", None), options.pop("resume", "never"))
    return meet_run(world.home, "p", meeting, capture=capture, interval=None, **options)


def test_all_ranks_are_in_one_run_and_rank_0_ends_it(worlds):
    ranks = [meet(worlds, rank, config={f"of{rank}": rank}) for rank in (2, 0, 1)]
    assert len({one.id for one in ranks}) == 1
    second, zero, first = ranks
    first.finish()
    second.finish()
    assert worlds.ledger.get(zero.id).state == "running"
    zero.finish(3)
    kept = worlds.ledger.get(zero.id)
    assert (kept.state, kept.exit_code) == ("failed", 3)
    assert kept.config == {"of0": 0, "of1": 1, "of2": 2}
    assert kept.environment == {"rank": 0}


def test_tags_of_all_ranks_are_kept_whoever_comes_first(worlds):
    for order in ((1, 0, 2), (0, 1, 2), (2, 1, 0)):
        ranks = [meet(worlds, rank, key=str(order), tags=[f"of{rank}", "all"]) for rank in order]
        assert worlds.ledger.get(ranks[0].id).tags == ("all", "of0", "of1", "of2")


def test_where_rank_0_never_comes_the_first_ends_it(world):
    first, second = meet(world, 1), meet(world, 2)
    second.finish()
    assert world.ledger.get(first.id).state == "running"
    first.finish()
    assert world.ledger.get(first.id).state == "finished"


def test_a_rank_0_that_comes_when_the_first_has_ended_goes_on(world):
    meet(world, 1).finish()
    world.wait(0.5)
    zero = meet(world, 0)
    assert world.ledger.get(zero.id).state == "running"
    zero.finish(1)
    assert [one.state for one in world.ledger.list()] == ["failed"]


def test_what_the_first_has_captured_late_does_not_cover_rank_0(world):
    first = meet(world, 1, slow=True)
    zero = meet(world, 0, slow=True)
    zero.save()
    kept = world.ledger.get(zero.id).environment
    first.save()
    first.finish()
    assert world.ledger.get(zero.id).environment == kept
    assert (kept["rank"], world.ledger.get(zero.id).state) == (0, "running")


def test_an_alias_means_the_same_version_to_all_ranks(worlds):
    old = worlds.log("dataset", "a")
    ranks = [meet(worlds, rank) for rank in range(3)]
    used = []
    for number, one in enumerate(ranks):
        used.append(one.use_artifact("dataset").record.id)
        worlds.log("dataset", f"new {number}")
    assert used == [old.id] * 3


def test_a_later_job_at_the_same_place_has_a_run_of_its_own(world):
    meet(world, 0).finish()
    world.wait(10)
    later = [meet(world, rank, age=5.0) for rank in (1, 0)]
    assert len({one.id for one in later}) == 1
    assert len(world.ledger.list()) == 2
    assert meet(world, 1, age=15.0).id == later[0].id, "one that is alive comes first"


def test_a_job_that_was_killed_is_not_joined_by_the_next_at_the_same_place(world):
    first = meet(world, 0)
    world.wait(400)
    assert meet(world, 0, age=5.0).id != first.id
    assert sorted(one.state for one in world.ledger.list()) == ["crashed", "running"]


def test_one_job_may_have_a_run_after_another(world):
    first = meet(world, 0)
    first.finish()
    second = meet(world, 0, been={first.id})
    assert second.id != first.id
    assert meet(world, 1, been={first.id}).id == second.id


def test_all_ranks_may_give_one_id(world):
    ranks = [meet(world, rank, id="exp") for rank in (1, 0, 2)]
    assert {one.id for one in ranks} == {"exp"}
    ranks[1].finish()
    world.wait(10)
    with pytest.raises(Conflict, match="run 'exp' is over"):
        meet(world, 1, id="exp")
    with pytest.raises(NotFound):
        meet(world, 1, id="other", resume="must")
    again = [meet(world, rank, id="exp", resume="allow") for rank in (1, 0)]
    assert [one.owned for one in again] == [True, True]
    again[0].finish()
    assert world.ledger.get("exp").state == "running"
    again[1].finish()
    assert world.ledger.get("exp").state == "finished"


def test_ranks_that_come_at_once_begin_one_run(worlds):
    worlds.run()  # there is a project: nobody waits for one to be made
    for job in range(5):
        got, start = [], threading.Barrier(6)

        def rank(number, job=job, got=got, start=start):
            start.wait()
            got.append(meet(worlds, number, key=f"job {job}").id)

        threads = [threading.Thread(target=rank, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(got), len(set(got))) == (6, 1)
    assert len(worlds.events("run.started")) == 6


def test_a_joined_rank_s_words_are_saved_beside_those_of_the_others(world):
    zero, one = meet(world, 0), meet(world, 1)
    one.summary["one"] = 1
    one.finish()
    zero.summary["zero"] = 0
    zero.finish()
    assert world.ledger.get(zero.id).summary == {"one": 1, "zero": 0}
    world.ledger.update(zero.id, summary=Changes({"late": 2}))


RANK = """
import json, os, sys
import lineart
run = lineart.init(project="p", config={"rank" + os.environ["RANK"]: True})
data = run.use_artifact("raw").download()
model = lineart.Artifact("part" + os.environ["RANK"])
model.add_bytes(os.environ["RANK"].encode(), "w")
lineart.log_artifact(model)
inherited = os.environ["LINEART_RUN_ID"]
run.finish()
print(json.dumps([run.id, inherited]))
"""


@pytest.mark.slow
def test_processes_that_torchrun_would_start_are_in_one_run(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as store:
        raw = lineart.Artifact("raw")
        raw.add_bytes(b"1", "x")
        store.log(raw)
    environment = {name: value for name, value in os.environ.items() if name not in {"LINEART_RUN_ID", "LINEART_MODE"}}
    environment |= {"LINEART_STORE": str(tmp_path / "store"), **TORCH, "TORCHELASTIC_RUN_ID": "exp"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            env={**environment, "RANK": str(rank)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(4)
    ]
    said = [one.communicate(timeout=120) for one in ranks]
    assert [one.returncode for one in ranks] == [0] * 4, said
    ids = {tuple(json.loads(out)) for out, _ in said}
    assert len(ids) == 1
    with lineart.open(tmp_path / "store", project="p") as store:
        (run,) = store.runs()
        assert (run.state, run.config["rank0"], run.environment["rank"]) == ("finished", True, 0)
        used, made = store.ledger.edges(run.id)
        assert (len(used), len(made)) == (1, 4)
