"""How a version is made again: the plan, the script, and once for real."""

from __future__ import annotations

import doctest
import io
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lineart
import lineart.lineage.answers.repro_again as again_module
from lineart.artifacts.ref import Ref
from lineart.artifacts.tombstones import delete_versions
from lineart.commands.repeating import print_script
from lineart.display import Screen
from lineart.lineage.answers.repro import packages_of, patch_of, plan_of
from lineart.lineage.answers.repro_again import give_inputs, verdicts
from lineart.lineage.answers.repro_script import script_of
from lineart.lineage.capture import Captured
from lineart.lineage.edges import dependants
from lineart.storage.errors import InvalidInput, NotFound

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PYTHON = "/home/ana/env/bin/python3"


def code(command=("python", "train.py"), **more):
    git = {"root": "/home/ana/p", "commit": COMMIT, "branch": "main", "remote": "https://host/p.git", "dirty": False}
    return {"command": list(command), "directory": "/home/ana/p", "git": {**git, **more.pop("git", {})}, **more}


def environment(**more):
    return {"python": "3.11.9", "executable": PYTHON, "host": "gpu07", "packages": ["b3:" + "0" * 64], **more}


def made(world, collection, content, *used, captured=None, **options):
    run = world.run(*used, captured=Captured(code(), environment()) if captured is None else captured, **options)
    return run, world.log(collection, content, run)


def plan(world, text, **options):
    return plan_of(world.catalog, text, "p", **options)


def script(world, text, force=False, **options):
    return script_of(plan(world, text, **options), store="/stores/team", release="0.1.0", force=force)


def steps(found):
    return [[run.id for run in step.runs] for step in found.steps]


def chain(world):
    world.log("raw", "r0")
    world.log("raw", "r1")
    first, _ = made(world, "data", "d0", "raw:v0", job_type="prep")
    second, _ = made(world, "model", "m0", "data:latest", "raw:v1", job_type="train")
    return first, second


# The plan


def test_a_plan_has_every_run_from_raw_data_on_each_behind_what_makes_its_inputs(worlds):
    first, second = chain(worlds)
    found = plan(worlds, "model")
    assert steps(found) == [[first], [second]]
    assert [one.name for one in found.fetched] == ["raw:v0", "raw:v1"]
    assert found.wanted.name == "model:v0"
    last = found.steps[1]
    assert [(one.version.name, one.aliases) for one in last.inputs] == [("data:v0", ("latest",)), ("raw:v1", ())]
    assert [one.name for one in last.outputs] == ["model:v0"]


def test_a_plan_begins_where_it_is_told_to(worlds):
    first, second = chain(worlds)
    assert steps(plan(worlds, "model", depth=1)) == [[second]]
    assert [one.name for one in plan(worlds, "model", depth=1).fetched] == ["data:v0", "raw:v1"]
    assert steps(plan(worlds, "model", depth=2)) == steps(plan(worlds, "model")) == [[first], [second]]
    assert (
        steps(plan(worlds, "model", start="data")) == steps(plan(worlds, "model", start="data:v* or raw")) == [[second]]
    )
    assert steps(plan(worlds, "model", start="model")) == [[first], [second]], "itself is what is to be made"
    with pytest.raises(InvalidInput, match="1 step"):
        plan(worlds, "model", depth=0)


def test_what_no_run_made_cannot_be_made_again_and_several_versions_only_one_at_a_time(worlds):
    chain(worlds)
    with pytest.raises(NotFound, match="no run is recorded that made p/raw:v0; `art get p/raw:v0` fetches it"):
        plan(worlds, "raw:v0")
    with pytest.raises(InvalidInput, match="means 2 versions"):
        plan(worlds, "raw:v*")


def test_a_version_that_a_run_made_of_nothing_is_made_by_it_and_as_an_input_it_is_fetched(worlds):
    run, _ = made(worlds, "raw", "r0")
    assert steps(plan(worlds, "raw")) == [[run]]
    other, _ = made(worlds, "data", "d0", "raw")
    assert steps(plan(worlds, "data")) == [[other]]
    assert [one.name for one in plan(worlds, "data").fetched] == ["raw:v0"]


def test_the_first_run_that_produced_the_content_counts_unless_it_used_it(worlds):
    worlds.log("raw", "r0")
    worlds.log("data", "d0")
    itself, _ = made(worlds, "data", "d0", "data:v0")
    first, _ = made(worlds, "data", "d0", "raw:v0")
    made(worlds, "data", "d0", "raw:v0")
    assert steps(plan(worlds, "data")) == [[first]]
    assert itself not in steps(plan(worlds, "data"))[0]


def test_a_step_stands_behind_what_makes_its_inputs_though_it_was_started_before(worlds):
    worlds.log("raw", "r0")
    early = worlds.run(captured=Captured(code(), environment()))
    worlds.wait(10)
    late, _ = made(worlds, "data", "d0", "raw")
    worlds.ledger.use(early, Ref.parse("data"), "p")
    worlds.log("model", "m0", early)
    assert steps(plan(worlds, "model")) == [[late], [early]]


def test_circles_come_to_an_end(worlds):
    worlds.log("a", "0")
    worlds.log("b", "0")
    one, _ = made(worlds, "b", "0", "a:v0")
    two, _ = made(worlds, "a", "0", "b:v0")
    assert sorted(map(tuple, steps(plan(worlds, "a")))) == sorted([(one,), (two,)])


def test_runs_of_one_process_are_one_step(worlds):
    captured = Captured(code(), environment(pid=7))
    worlds.log("raw", "r0")
    first, _ = made(worlds, "data", "d0", "raw", captured=captured)
    second, _ = made(worlds, "model", "m0", "data", "raw", captured=captured)
    other, _ = made(worlds, "report", "p0", "model", captured=Captured(code(), environment(pid=8)))
    found = plan(worlds, "report")
    assert sorted(steps(found)[0]) == sorted([first, second])
    assert steps(found)[1] == [other]
    assert [one.version.name for one in found.steps[0].inputs] == ["raw:v0"], "what it made itself it is not given"
    text = script(worlds, "report")
    assert text.count("python") > 0
    assert text.count("\nart repro --again") == 2


# Recorded texts


def test_the_patch_and_the_packages_of_a_run_come_back_byte_for_byte(worlds):
    patch, packages = b"diff --git a/x b/x\n\xff\n" * 300_000, b"numpy==2.0\n"  # more than one chunk
    run = worlds.run()
    worlds.ledger.update(
        run, captured=Captured(code(), environment(), {"code.diff": patch, "environment.packages": packages})
    )
    record = worlds.ledger.get(run)
    assert len(record.code["diff"]) > 1
    assert patch_of(worlds.engine.chunks, record) == patch
    assert packages_of(worlds.engine.chunks, record) == packages
    bare = worlds.ledger.get(worlds.run())
    for ask in (patch_of, packages_of):
        with pytest.raises(NotFound, match=f"run {bare.id} recorded no"):
            ask(worlds.engine.chunks, bare)


# The script


def is_shell(text, shell="sh"):
    return subprocess.run([shell, "-n"], input=text.encode(), capture_output=True, check=False).returncode == 0


def test_a_script_has_code_environment_inputs_and_command(world):
    first, second = chain(world)
    text = script(world, "model")
    assert is_shell(text)
    for line in (
        "set -eu",
        "export LINEART_STORE=/stores/team",
        f"# run {first}: running, 2027-01-15T08:00:00Z, by ana@here, on gpu07",
        f"# commit {COMMIT} of branch main",
        'git clone --quiet --no-checkout -- https://host/p.git "$code"',
        f'git -C "$code" checkout --quiet --detach {COMMIT}',
        f"environment environment-1 python3.11 {first}",
        f"environment environment-1 python3.11 {second}",
        f'art repro --again {first} -- "$python" train.py',
        f'art repro --again {second} --expect p/model:v0 -- "$python" train.py',
    ):
        assert line in text.splitlines(), line
    raw = world.catalog.records([1])[1]
    assert f"art get p/raw@b3:{raw.digest.hex()} >/dev/null" in text
    assert f"# taken as it is: p/raw:v0 b3:{raw.digest.hex()}" in text
    assert "STOPS" not in text


def test_the_interpreter_its_scripts_and_paths_of_the_repository_are_those_of_the_step(world):
    commands = {
        (PYTHON, "-m", "train"): '"$python" -m train',
        (PYTHON, "/home/ana/env/bin/torchrun", "x.py"): '"$python" "$bin"/torchrun x.py',
        (PYTHON, "/home/ana/env/bin/art", "log", "f", "data"): "art log f data",
        ("python", "/home/ana/p/a b.py", "/home/ana/past"): '"$python" "$code"/\'a b.py\' /home/ana/past',
        ("./run.sh", "--out", "x"): "./run.sh --out x",
    }
    for number, (command, line) in enumerate(commands.items()):
        world.log("raw", "r0")
        made(world, f"m{number}", "0", "raw", captured=Captured(code(command), environment()))
        assert f"-- {line}" in script(world, f"m{number}"), command
    assert "environment environment-1" not in script(world, "m4"), "a program that is no Python needs none"


def test_a_folder_below_the_repository_is_entered_and_a_patch_applied(world):
    world.log("raw", "r0")
    captured = Captured({**code(), "directory": "/home/ana/p/src/x y", "diff": ["b3:" + "1" * 64]}, environment())
    run, _ = made(world, "model", "m", "raw", captured=captured)
    text = script(world, "model")
    assert "cd -- \"$code\"/'src/x y'" in text
    assert f'art repro --patch {run} >"$step/patch"' in text


def test_credentials_of_a_remote_that_were_hidden_are_left_out(world):
    for number, (remote, shown) in enumerate(
        {
            "https://***@host/p.git": "https://host/p.git",
            "https://ana:***@host/p.git": "https://ana@host/p.git",
            "../origin.git": "/home/ana/origin.git",
            "git@host:p.git": "git@host:p.git",
        }.items()
    ):
        world.log("raw", "r0")
        made(world, f"m{number}", "0", "raw", captured=Captured(code(git={"remote": remote}), environment()))
        assert f'git clone --quiet --no-checkout -- {shown} "$code"' in script(world, f"m{number}")


def test_hidden_arguments_are_asked_for_before_anything_is_done(world):
    world.log("raw", "r0")
    command = ("python", "train.py", "--api-key", "***", "--db=postgres://ana:***@h/x", "--lr", "1")
    made(world, "model", "m", "raw", captured=Captured(code(command), environment()))
    text = script(world, "model", force=True)
    assert '"$python" train.py --api-key "$HIDDEN_1" --db=postgres://ana:"$HIDDEN_2"@h/x --lr 1' in text
    lines = text.splitlines()
    asks = [at for at, line in enumerate(lines) if line.startswith('[ -n "${HIDDEN_')]
    assert len(asks) == 2
    assert asks[-1] < next(at for at, line in enumerate(lines) if line.startswith("mkdir"))
    assert "set HIDDEN_1 to what is *** at --api-key" in text


NOTHING_KNOWN = {
    "no command": (Captured(), "recorded no command"),
    "no git": (Captured({"command": ["python", "x.py"], "directory": "/d"}, environment()), "not in a git commit"),
    "no commit": (Captured(code(git={"commit": None}), environment()), "not in a git commit"),
    "diff cut": (Captured(code(diff_cut=10), environment()), "were cut after 10 bytes"),
    "diff lost": (
        Captured(code(git={"dirty": True, "note": "the diff could not be read"}), environment()),
        "not be read",
    ),
    "no packages": (Captured(code(), {"executable": PYTHON}), "packages were not recorded"),
    "notebook": (Captured(code([PYTHON, "-m", "ipykernel_launcher", "-f", "k.json"]), environment()), "a notebook"),
    "steps": (
        Captured(code([PYTHON, "/opt/bin/art", "run", "--start", "--job-type", "ci"]), environment()),
        "begun by `art run --start`",
    ),
    "steps of the module": (
        Captured(code([PYTHON, "-m", "lineart", "-C", "/d", "run", "--start"]), environment()),
        "begun by `art run --start`",
    ),
    "prompt": (Captured(code(["python3"]), environment()), "typed at a prompt"),
}


@pytest.mark.parametrize("case", NOTHING_KNOWN)
def test_what_was_not_recorded_ends_the_script_there_unless_it_is_forced(world, case):
    captured, reason = NOTHING_KNOWN[case]
    world.log("raw", "r0")
    made(world, "model", "m", "raw", captured=captured)
    text, forced = script(world, "model"), script(world, "model", force=True)
    assert is_shell(text)
    assert is_shell(forced)
    assert [line for line in text.splitlines() if line.startswith("stop ") and reason in line]
    assert [line for line in text.splitlines() if line.startswith("# STOPS at step 1 of 1") and reason in line]
    assert [line for line in forced.splitlines() if line.startswith("say ") and reason in line]
    assert not [line for line in forced.splitlines() if line.startswith(("stop ", "# STOPS"))]


def test_a_script_says_beforehand_which_inputs_are_gone_and_who_deleted_them(worlds):
    chain(worlds)
    worlds.log("raw", "of other content, and live")
    raw, data, other = (worlds.catalog.resolve(Ref.parse(one), "p") for one in ("raw:v0", "data:v0", "raw:v1"))
    for one in (raw, data, other):
        delete_versions(worlds.catalog, [one], force=True, reason="too\nbig", needed=dependants)
    assert script(worlds, "model").warnings == script(worlds, "model", force=True).warnings
    (first, second) = script(worlds, "model").warnings
    assert (first.what, second.what) == ("fails", "fails")
    assert first.step.startswith("step 1 of 2: prep ")
    assert re.fullmatch(
        r'its input p/raw:v0 was deleted \(ana@here, 20[0-9: -]+ UTC: "too\nbig"\); '
        r"`art restore p/raw:v0` brings it back",
        first.why,
    )
    assert "p/raw:v1 was deleted" in second.why, "data:v0 is made again by the first step"
    assert [one for one in script(worlds, "model").splitlines() if one.startswith("# FAILS at step 1 of 2: prep ")]
    assert "p/data:v0 was deleted" in script(worlds, "model", depth=1).warnings[0].why
    purge(worlds, raw)
    assert re.search(
        r"deleted \(ana@here, .*\), purged \(ana@here, .*\); its bytes were given up; log the same content in p/raw",
        script(worlds, "model").warnings[0].why.replace("\n", " "),
    )
    worlds.log("raw", "r0")
    assert "p/raw:v0" not in str(script(worlds, "model").warnings), "the same content is there under another number"


def purge(world, version):
    where = {"project": version.project, "collection": version.collection, "number": version.number}
    world.engine.write(lambda tx: tx.record("version.purged", f"{version.project}/{version.collection}", where, "over"))


def test_a_script_says_in_a_line_what_it_needs(world):
    world.log("raw", "r0")
    made(world, "model", "m", "raw", captured=Captured(code(("python", "x.py", "--token", "***")), environment()))
    text = script(world, "model")
    assert text.needs == (
        "art; git; https://host/p.git; python3.11 with pip that finds lineart==0.1.0 (or LINEART_REQUIREMENT=WHEEL)"
        " and the recorded packages, or REPRO_PYTHON=PYTHON instead; HIDDEN_1"
    )
    assert f"# It needs: {text.needs}." in text.splitlines()
    made(world, "other", "o", "raw", captured=Captured({"command": ["./x"], "directory": "/d"}, environment()))
    assert script(world, "other", force=True).needs == "art"


def test_what_a_step_left_out_would_have_made_is_missing_where_it_is_deleted(world):
    world.log("raw", "r0")
    made(world, "data", "d", "raw", captured=Captured())
    made(world, "model", "m", "data")
    world.delete(world.catalog.resolve(Ref.parse("data:v0"), "p"))
    assert [one.what for one in script(world, "model", force=True).warnings] == ["goes on", "fails"]


# What was recorded is never code

TRAPS = (
    "$(touch TRAP)",
    "`touch TRAP`",
    "x\ntouch TRAP\n",
    "x\rtouch TRAP\r",
    "'; touch TRAP; '",
    '"; touch TRAP; "',
    "x; touch TRAP #",
    "--upload-pack=touch TRAP;",
    "-oProxyCommand=touch TRAP",
    "ext::sh -c touch% TRAP",
    "\\'; touch TRAP; \\'",
    "x\u2028touch TRAP",
    "\u202etouch TRAP",
    "*** $(touch TRAP)",
    "!!; touch TRAP",
    "x" * 10_000,
)


def hostile(dice):
    trap = lambda: dice.choice(TRAPS)  # noqa: E731
    git = {
        "root": dice.choice(["/home/ana/p", trap(), "/" + trap()]),
        "commit": dice.choice([COMMIT, trap()]),
        "branch": trap(),
        "remote": trap(),
        "dirty": True,
        "note": trap(),
    }
    command = dice.choice([["python"], [PYTHON], [trap()], []]) + [trap() for _ in range(dice.randrange(4))]
    found = {"command": command, "directory": dice.choice([trap(), git["root"] + "/" + trap()]), "note": trap()}
    if dice.random() < 0.8:
        found["git"] = git
    if dice.random() < 0.3:
        found["diff_cut"] = trap()
    facts = {"python": trap(), "executable": dice.choice([PYTHON, trap()]), "host": trap(), "platform": trap()}
    if dice.random() < 0.7:
        facts |= {"packages": [trap()], "python": dice.choice(["3.11.2", trap()])}
    return Captured(found, facts)


@pytest.mark.parametrize("shell", [one for one in ("dash", "bash") if shutil.which(one)])
@pytest.mark.parametrize("seed", range(10))
def test_hostile_records_are_never_run(world, tmp_path, seed, shell):
    """Every line is run, whatever fails before it, with programs that do nothing: all else came out of the records."""
    dice = random.Random(seed)
    world.log("raw", "r0")
    for number in range(3):
        used = ["raw"] + [f"m{other}" for other in range(number)]
        words = {"name": dice.choice(TRAPS), "job_type": dice.choice(TRAPS), "notes": dice.choice(TRAPS)}
        made(world, f"m{number}", "0", *used, captured=hostile(dice), **words)
    force = seed % 3 > 0
    text = script(world, "m2", force=force)
    assert is_shell(text, shell)
    text = text.replace("set -eu", "set +e").replace("exit 1", ":")
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "log"
    for name in ("art", "git", "python3", "python3.11"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" >>{shlex.quote(str(log))}\n')
        (programs / name).chmod(0o755)
    here = tmp_path / "here"
    here.mkdir()
    hidden = {f"HIDDEN_{number}": "$(touch TRAP)" for number in range(1, 40)}
    subprocess.run(  # noqa: PLW1510 - the code is looked at
        [shutil.which(shell), "-s"],
        input=text.encode(),
        cwd=here,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(here), "REPRO_PYTHON": "python3", **hidden},
        capture_output=True,
    )
    assert not [path for path in tmp_path.rglob("*TRAP*") if path.is_file()]
    if "\nart " in text:
        assert "/art" in log.read_text(), "it went through"


@pytest.mark.parametrize("shell", [one for one in ("dash", "bash") if shutil.which(one)])
def test_arguments_that_are_no_utf_8_come_back_byte_for_byte(world, tmp_path, shell):
    """As Python hands them over (PEP 383); a lone surrogate of another kind, which is no byte, is written visibly."""
    given = [b"caf\xe9.txt", b"\xe9", b"\xf0\x9f", b"\xff'\xc3"]
    command = ["python", *(os.fsdecode(one) for one in given), "\ud800"]
    made(world, "model", "0", captured=Captured(code(command), environment()))
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print_script(Screen(out, io.StringIO(), 0), script(world, "model"))
    line = next(one for one in out.buffer.getvalue().split(b"\n") if one.startswith(b"art repro --again"))
    found = subprocess.run(
        [shutil.which(shell), "-s"],
        input=b'art() { for one; do printf "%s\\0" "$one"; done; }\n' + line + b"\n",
        env={"python": "PYTHON", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    assert found[found.index(b"PYTHON") + 1 :] == [*given, b"\\ud800", b""]


# Repeating


def test_a_repetition_is_given_what_the_aliases_meant_then(worlds):
    chain(worlds)
    _, second = steps(plan(worlds, "model"))
    made(worlds, "data", "d1", "raw:v1")
    run = worlds.ledger.start("p").id
    given = give_inputs(worlds.ledger, run, second)
    assert sorted(one.name for one in given) == ["data:v0", "raw:v1"]
    assert worlds.ledger.use(run, Ref.parse("data:latest"), "p").name == "data:v0"
    assert worlds.ledger.use(worlds.run(), Ref.parse("data:latest"), "p").name == "data:v1"


def test_a_deleted_input_is_replaced_by_the_same_content_or_said_to_be_gone(worlds):
    chain(worlds)
    ((_,), second) = steps(plan(worlds, "model"))
    worlds.delete(worlds.catalog.records([3])[3])
    with pytest.raises(NotFound, match=r"p/data:v0 is deleted.*; `art restore p/data:v0`"):
        give_inputs(worlds.ledger, worlds.ledger.start("p").id, second)
    worlds.log("data", "d0")
    given = give_inputs(worlds.ledger, worlds.ledger.start("p").id, second)
    assert sorted(one.name for one in given) == ["data:v1", "raw:v1"]
    with pytest.raises(NotFound, match="no run 'nobody'"):
        give_inputs(worlds.ledger, worlds.ledger.start("p").id, ["nobody"])


def test_what_came_out_is_compared_by_content_collection_by_collection(worlds):
    first = worlds.run()
    for name, content in (("model", "m0"), ("model", "m1"), ("report", "p0"), ("plot", "x0")):
        worlds.log(name, content, first)
    again = worlds.run()
    for name, content in (("model", "other"), ("model", "m1"), ("report", "p0")):
        worlds.log(name, content, again)
    found = [
        (one.wanted.name, None if one.made is None else one.made.name, one.same)
        for one in verdicts(worlds.ledger, again, [first])
    ]
    assert found == [
        ("model:v0", "model:v2", False),
        ("model:v1", "model:v1", True),
        ("report:v0", "report:v0", True),
        ("plot:v0", None, False),
    ]


def test_examples():
    assert doctest.testmod(again_module).failed == 0


# For real

PREP = """\
import lineart
with lineart.init(job_type="prep", config={"times": 2}) as run:
    text = run.use_artifact("raw:latest").download().joinpath("text").read_text()
    made = lineart.Artifact("data", type="dataset")
    made.add_bytes((text * run.config["times"]).encode(), "text")
    run.log_artifact(made)
"""
TRAIN = """\
import sys
import lineart
import weights
with lineart.init(job_type="train") as run:
    text = run.use_artifact("data").download().joinpath("text").read_text()
    made = lineart.Artifact("model", type="model")
    made.add_bytes(weights.of(text, *sys.argv[1:]), "w")
    run.log_artifact(made)
"""


class Laboratory:
    """A repository with a remote, a store, and somebody who works there."""

    def __init__(self, tmp_path):
        self.here = tmp_path
        self.work = tmp_path / "ana" / "work"
        self.origin = tmp_path / "origin.git"
        beside = Path(sys.executable).parent
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LINEART_", "GIT_"))}
        self.environment = {
            **kept,
            "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "LINEART_STORE": str(tmp_path / "store"),
            "LINEART_PROJECT": "digits",
            "LINEART_CACHE_DIR": str(tmp_path / "cache"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "ana",
            "GIT_AUTHOR_EMAIL": "ana@here",
            "GIT_COMMITTER_NAME": "ana",
            "GIT_COMMITTER_EMAIL": "ana@here",
        }
        (tmp_path / "home").mkdir()
        self.work.mkdir(parents=True)
        lineart.create(tmp_path / "store", project="digits").close()
        self.do("git", "init", "-q", "-b", "main")
        self.do("git", "init", "-q", "--bare", str(self.origin), cwd=tmp_path)
        self.do("git", "remote", "add", "origin", str(self.origin))

    def do(self, *command, cwd=None, code=0, **more):
        done = subprocess.run(  # noqa: PLW1510 - the code is looked at
            command, cwd=cwd or self.work, env={**self.environment, **more}, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(self, path, text):
        target = self.work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def raw(self, text):
        self.write("../raw/text", text)
        self.do("art", "log", "../raw", "raw")

    def repeat(self, name="again", code=0, **more):
        (self.here / f"{name}.sh").write_text(self.do("art", "repro", "model:v0"))
        elsewhere = self.here / f"{name}-elsewhere"
        elsewhere.mkdir()
        return self.do("sh", str(self.here / f"{name}.sh"), name, cwd=elsewhere, code=code, **more)


@pytest.fixture
def laboratory(tmp_path):
    """model:v0, made by two runs of committed code with a change that was not committed, then moved on from."""
    made = Laboratory(tmp_path)
    made.write("src/prep.py", PREP)
    made.write("src/train.py", TRAIN)
    made.write("src/weights.py", "def of(text, *words):\n    return b'0'\n")
    made.do("git", "add", ".")
    made.do("git", "commit", "-q", "-m", "one")
    made.do("git", "push", "-q", "origin", "main")
    made.write("src/weights.py", "def of(text, *words):\n    return repr((text, words)).encode()\n")
    made.raw("monday ")
    made.do(sys.executable, "prep.py", cwd=made.work / "src")
    made.do(sys.executable, "train.py", "--name", "it's $(touch TRAP)", cwd=made.work / "src")
    made.write("src/weights.py", "raise SystemExit('the code has moved on')\n")
    made.raw("tuesday ")
    shutil.move(made.work, made.here / "gone")
    made.work = made.here / "bo"
    made.work.mkdir()
    return made


@pytest.mark.slow
def test_a_script_makes_the_version_again_bit_for_bit(laboratory):
    said = laboratory.repeat(REPRO_PYTHON=sys.executable)
    assert [line.split("\t")[:2] for line in said.splitlines()] == [
        ["digits/data:v0", "the same"],
        ["digits/model:v0", "the same"],
    ]
    with lineart.open(laboratory.here / "store", project="digits") as store:
        runs = store.runs()
        assert [(run.job_type, run.state) for run in runs] == [
            ("train", "finished"),
            ("prep", "finished"),
            ("train", "finished"),
            ("prep", "finished"),
        ]
        first, again = runs[3], runs[1]
        assert again.code["again"] == [first.id]
        assert again.config == first.config == {"times": 2}
        assert store.ledger.edges(again.id) == store.ledger.edges(first.id), "raw:latest means what it meant then"
        assert len(store.versions("model")) == 1
    assert not list(laboratory.here.rglob("TRAP"))


@pytest.mark.slow
def test_a_script_says_where_what_came_out_is_different(laboratory):
    script = laboratory.do("art", "repro", "model:v0", "--depth", "1")
    other = script.replace("--name", "--other")
    assert other != script
    (laboratory.here / "other.sh").write_text(other)
    said = laboratory.do("sh", "../other.sh", "x", code=1, REPRO_PYTHON=sys.executable)
    assert [line.split("\t")[:2] for line in said.splitlines()] == [["digits/model:v0", "different"]]


@pytest.mark.slow
def test_a_script_makes_environments_of_the_packages_that_were_recorded(laboratory, tmp_path):
    """Pip is given an index of nothing: it is told what to install, and finds it only if it needs nothing more."""
    text = laboratory.do("art", "repro", "model:v0", "--depth", "1")
    run = next(line.split()[-1] for line in text.splitlines() if line.startswith("environment environment-1"))
    packages = laboratory.do("art", "repro", "--packages", run)
    assert "lineart==" in packages
    (tmp_path / "fake").mkdir()
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    fake = tmp_path / "fake" / minor
    fake.write_text(
        f'#!/bin/sh\nmkdir -p "$3/bin"\nprintf \'#!/bin/sh\\necho "$@" >>{tmp_path}/pip.log\\n'
        f'[ "$1" = -m ] || exec {sys.executable} "$@"\\n\' >"$3/bin/python"\nchmod +x "$3/bin/python"\n'
    )
    fake.chmod(0o755)
    (tmp_path / "s.sh").write_text(text)
    laboratory.do("sh", str(tmp_path / "s.sh"), "x", PATH=f"{tmp_path / 'fake'}:{laboratory.environment['PATH']}")
    first, second, third = (tmp_path / "pip.log").read_text().splitlines()
    assert first.startswith("-m pip install --quiet -r ")
    assert second == f"-m pip install --quiet lineart=={lineart.__version__}"
    assert third == "train.py --name it's $(touch TRAP)"
    wanted = (laboratory.work / "x" / "environment-1" / "packages.txt").read_text()
    assert wanted == "".join(line for line in packages.splitlines(keepends=True) if not line.startswith("lineart=="))


@pytest.mark.slow
def test_a_commit_that_is_not_to_be_had_ends_the_script_with_a_word(laboratory):
    shutil.rmtree(laboratory.origin)
    laboratory.do("git", "init", "-q", "--bare", str(laboratory.origin), cwd=laboratory.here)
    done = subprocess.run(  # noqa: PLW1510 - the code is looked at
        ["sh", "-s"],
        input=laboratory.do("art", "repro", "model:v0"),
        cwd=laboratory.work,
        env={**laboratory.environment, "REPRO_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "is not to be had from" in done.stderr
