"""`art run`: any program as a run, and runs of several commands; the whole of it in real processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

import lineart
from lineart.commands.child import run_program

ART = [sys.executable, "-m", "lineart"]


@pytest.fixture
def home(tmp_path, monkeypatch, art_here):
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LINEART_PROJECT", "p")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with lineart.create(tmp_path / "store", project="p") as store:
        draft = lineart.Artifact("raw", type="raw")
        draft.add_bytes(b"1 2 3", "numbers")
        store.log(draft)
    return tmp_path


def runs(home):
    with lineart.open(home / "store", project="p") as store:
        return store.runs()


def only(home):
    (run,) = runs(home)
    return run


def names(home, run):
    with lineart.open(home / "store", project="p") as store:
        used, made = store.ledger.edges(run.id)
        records = store.catalog.records([*used, *made])
        return [records[one].name for one in used], [records[one].name for one in made]


def python(code):
    return [sys.executable, "-c", code]


def test_a_program_becomes_a_run_with_inputs_products_and_words(home, art_here):
    code, out, err = call(
        art_here,
        *("--use", "raw", "--log", "words=out", "--name", "n", "--job-type", "prep", "--group", "g", "--tag", "t"),
        *("--config", "lr=0.1", "--config", "lang=en"),
        command=python("import os; os.mkdir('out'); open('out/a', 'w').write('x')"),
    )
    assert (code, out) == (0, ""), err
    run = only(home)
    assert err == f"art: run {run.id} finished; logged p/words:v0\n"
    assert (run.name, run.job_type, run.group, run.tags, run.state) == ("n", "prep", "g", ("t",), "finished")
    assert run.config == {"lr": 0.1, "lang": "en"}
    assert names(home, run) == (["raw:v0"], ["words:v0"])
    assert run.code["command"][0] == sys.executable
    assert run.code["directory"] == os.getcwd()


def call(art, *options, command=()):
    return art("run", *options, *(["--", *command] if command else []))


def test_a_program_that_fails_leaves_a_failed_run_and_nothing_logged(home, art_here):
    code, _, err = call(art_here, "--log", "words=out", command=python("open('out', 'w').write('x'); exit(3)"))
    run = only(home)
    assert (code, run.state, run.exit_code) == (3, "failed", 3)
    assert err == f"art: run {run.id} failed (exit code 3)\n"
    assert names(home, run) == ([], [])


def test_a_signal_that_ends_the_program_is_told_as_shells_do(home, art_here):
    code, _, err = call(art_here, command=python("import os; os.kill(os.getpid(), 9)"))
    assert (code, only(home).state, only(home).exit_code) == (137, "crashed", 137)
    assert "SIGKILL" in err


def test_a_signal_without_a_name_is_told_by_its_number(home, art_here):
    code, _, err = call(art_here, command=python("import os; os.kill(os.getpid(), 37)"))
    assert code == 128 + 37
    assert only(home).state == "crashed"
    assert "signal 37" in err


def test_an_unknown_input_is_an_error_before_anything_runs(home, art_here):
    code, _, err = call(art_here, "--use", "raw", "--use", "nothing", command=python("open('ran', 'w')"))
    assert code == 3
    assert "nothing" in err
    assert runs(home) == []
    assert not os.path.exists("ran")


def test_a_product_that_is_not_there_fails_the_run_and_nothing_else_is_logged(home, art_here):
    code, _, err = call(art_here, "--log", "a=there", "--log", "b=gone", command=python("open('there', 'w')"))
    assert code == 3
    assert "gone does not exist, though the command ended well" in err
    assert (only(home).state, only(home).exit_code) == ("failed", 3)
    assert names(home, only(home)) == ([], [])


def test_a_product_that_cannot_be_logged_fails_the_run_and_nothing_else_is_logged(home, art_here):
    code, _, err = call(
        art_here,
        "--log",
        "a=there",
        "--log",
        "b=fifo",
        command=python("import os; open('there', 'w'); os.mkfifo('fifo')"),
    )
    assert code == 2
    assert "neither a file nor a folder" in err
    assert only(home).state == "failed"
    assert names(home, only(home)) == ([], [])


def test_a_name_that_a_product_cannot_have_is_refused_before_anything_runs(home, art_here):
    with open("file", "w") as file:
        file.write("x")
    art_here("log", "file", "words", "--type", "raw")
    for given in (("--log", "words=file", "--type", "model"), ("--log", "a=file", "--log", "WORDS=file")):
        code, _, _ = call(art_here, *given, command=python("open('ran', 'w')"))
        assert code == 4
    assert runs(home) == []
    assert not os.path.exists("ran")


@pytest.mark.parametrize("given", ["words", "=out", "words=", "a b=out", "words:v1=out", "q/words=out", "..=out"])
def test_what_cannot_be_a_product_is_refused_before_anything_runs(home, art_here, given):
    code, _, _ = call(art_here, "--log", given, command=python("open('ran', 'w')"))
    assert code == 2
    assert runs(home) == []
    assert not os.path.exists("ran")


def test_a_command_that_is_not_there_is_127_and_one_that_is_none_126(home, art_here):
    code, _, err = call(art_here, command=["no-such-program", "--token", "x"])
    assert (code, only(home).state, only(home).exit_code) == (127, "failed", 127)
    assert "no-such-program: there is no such command" in err
    assert only(home).code["command"] == ["no-such-program", "--token", "***"]
    open("plain", "w").close()
    assert call(art_here, command=["./plain"])[0] == 126


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "true"],
        ["run", "--start", "--finish"],
        ["run", "--start", "--", "true"],
        ["run", "--start", "--log", "a=b"],
        ["run", "--finish"],
        ["run", "--finish", "a", "b"],
        ["run", "--config", "x", "--", "true"],
        ["run", "--type", "a b", "--", "true"],
    ],
)
def test_what_makes_no_sense_is_refused(home, art_here, arguments):
    code, _, err = art_here(*arguments)
    assert code == 2, err
    assert err.count("\n") == 1
    assert runs(home) == []


def test_options_of_the_program_are_not_taken_for_those_of_the_store(home, art_here):
    assert (
        call(art_here, command=[*python("import sys; sys.exit(sys.argv[1:] != ['--project', 'q'])"), "--project", "q"])[
            0
        ]
        == 0
    )


def test_packages_are_recorded_of_programs_of_this_python_only(home, art_here):
    call(art_here, command=python(""))
    call(art_here, command=["true"])
    other, ours = runs(home)
    assert "packages" in ours.environment
    assert not {"packages", "python"} & set(other.environment)
    assert other.environment["host"] == ours.environment["host"]


def test_nothing_is_recorded_where_runs_are_disabled(home, art_here, monkeypatch):
    monkeypatch.setenv("LINEART_MODE", "disabled")
    assert call(art_here, command=python("import os; os._exit(os.environ['LINEART_RUN_ID'] != 'disabled')"))[0] == 0
    assert art_here("run", "--start")[1] == "disabled\n"
    assert art_here("run", "--finish", "disabled")[0] == 0
    assert runs(home) == []


def test_offline_the_run_is_kept_here_and_its_place_is_named(home, art_here, monkeypatch):
    monkeypatch.setenv("LINEART_MODE", "offline")
    monkeypatch.setenv("LINEART_STORE", "s3://far/away")
    monkeypatch.setenv("LINEART_DATABASE", "postgresql://far/away")
    code, _, err = call(art_here, command=["true"])
    assert code == 0
    place = err.splitlines()[0].removeprefix("art: offline: the store is ")
    with lineart.open(place) as store:
        assert [one.state for one in store.runs()] == ["finished"]
    monkeypatch.setenv("LINEART_RUN_ID", art_here("run", "--start")[1].strip())
    open("file", "w").close()
    assert art_here("log", "file", "words")[0] == 0
    assert art_here("run", "--finish")[0] == 0
    assert [line.split("\t")[2] for line in art_here("runs")[1].splitlines()] == ["", ""]
    assert [line.split("\t")[3] for line in art_here("runs")[1].splitlines()] == ["finished", "finished"]
    assert art_here("--store", place, "runs")[2] == ""


# Several commands


def test_a_run_of_several_commands_has_what_each_of_them_used_and_logged(home, art_here, monkeypatch):
    code, out, _ = art_here("run", "--start", "--job-type", "ci", "--use", "raw")
    assert code == 0
    monkeypatch.setenv("LINEART_RUN_ID", out.strip())
    open("file", "w").close()
    assert art_here("get", "raw", "got")[0] == 0
    assert art_here("log", "file", "words")[0] == 0
    assert only(home).state == "running"
    code, out, err = art_here("run", "--finish")
    assert (code, out, err) == (0, "", f"art: run {only(home).id} finished\n")
    assert (only(home).state, only(home).job_type, names(home, only(home))) == (
        "finished",
        "ci",
        (["raw:v0"], ["words:v0"]),
    )
    assert "had ended" in art_here("run", "--finish", "--exit-code", "1")[2]
    assert only(home).state == "finished"
    assert art_here("run", "--finish", "rnothing")[0] == 3


def test_how_a_run_of_several_commands_went_is_told_at_its_end(home, art_here):
    started = art_here("run", "--start")[1].strip()
    assert art_here("run", "--finish", started, "--exit-code", "4")[0] == 0
    assert (only(home).state, only(home).exit_code) == ("failed", 4)
    assert art_here("run", "--start", "--use", "nothing")[0] == 3
    assert len(runs(home)) == 1


def test_a_run_that_no_process_beats_for_is_believed_for_a_day_or_as_long_as_it_said(home, art_here):
    day = art_here("run", "--start")[1].strip()
    short = art_here("run", "--start", "--timeout", "0.5")[1].strip()
    with lineart.open(home / "store", project="p") as store:
        clock = store.ledger._clock
        for hours, states in (
            (0.4, ["running", "running"]),
            (23, ["running", "crashed"]),
            (25, ["crashed", "crashed"]),
        ):
            store.ledger._clock = lambda hours=hours: clock() + int(hours * 3600e9)
            assert [store.ledger.get(one).state for one in (day, short)] == states


# In real processes


def started(command, **options):
    return subprocess.Popen(
        [*ART, "run", "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_stream_that_is_closed_is_no_reason_not_to_run(home, number):
    command = [*ART, "run", "--", "true"]
    closed = subprocess.run(
        command, preexec_fn=lambda: os.close(number), stderr=subprocess.PIPE, text=True, check=False
    )
    assert (closed.returncode, only(home).state) == (0, "finished"), closed.stderr


def test_a_run_id_that_is_no_text_is_bad_input(home, art_here, monkeypatch):
    monkeypatch.setenv("LINEART_RUN_ID", "a\udcff")
    with open("file", "w") as file:
        file.write("x")
    code, _, err = art_here("log", "file", "words")
    assert code == 2
    assert "LINEART_RUN_ID" in err


@pytest.mark.slow
def test_streams_go_through(home):
    process = started(python("import sys; print(sys.stdin.read().upper()); print('e', file=sys.stderr)"))
    out, err = process.communicate("abc", timeout=60)
    assert (process.returncode, out) == (0, "ABC\n")
    assert err.startswith("e\nart: run ")


WAITS = """
import signal, sys, time
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(5)
for one in (signal.SIGTERM, signal.SIGINT):
    signal.signal(one, told)
print("ready", flush=True)
while True:
    time.sleep(0.05)  # not for ever: a signal that comes just before a sleep is seen after it only
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_program_decides(home, number):
    process = started(python(WAITS), start_new_session=True)  # without a terminal
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, f"{number.name}\n")
    assert (only(home).state, only(home).exit_code) == ("failed", 5)


@pytest.mark.slow
def test_a_signal_that_does_not_wake_who_waits_is_passed_on_all_the_same(tmp_path):
    ready = tmp_path / "ready"
    program = WAITS.replace("SIGINT", "SIGUSR1").replace('print("ready", flush=True)', f'open({str(ready)!r}, "x")')

    def send():
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # as if it had come just before the waiting

    sender = threading.Thread(target=send)
    sender.start()
    assert run_program(python(program), os.environ) == 5
    sender.join()


@pytest.mark.slow
def test_a_program_that_dies_of_the_signal_leaves_a_crashed_run(home):
    process = started(python("print('ready', flush=True); import time; time.sleep(60)"), start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert (only(home).state, only(home).exit_code) == ("crashed", 143)


COUNTS = """
import signal, sys, time
count = 0
def told(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, told)
print("ready", flush=True)
deadline = time.monotonic() + 60
while not count and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.3)
print("count", count, flush=True)
"""


@pytest.mark.slow
def test_ctrl_c_reaches_the_program_once(home):
    child, master = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*ART, "run", "--", *python(COUNTS)])
    printed = b""
    while b"ready" not in printed:
        printed += os.read(master, 1024)
    os.write(master, b"\x03")
    while b"count" not in printed or not printed.endswith(b"\n"):
        printed += os.read(master, 1024)
    assert os.waitpid(child, 0)[1] == 0
    os.close(master)
    assert b"count 1" in printed
    assert only(home).state == "finished"


CHILD = """
import lineart, os
os.chdir("/")
with lineart.init(project="elsewhere", job_type="train", config={"lr": 0.1}) as run:
    assert run.config.lr == 0.1
    assert run.id == os.environ["LINEART_RUN_ID"]
    run.use_artifact("raw")
    run.summary["loss"] = 1.0
    made = lineart.Artifact("model")
    made.add_bytes(b"w", "w")
    run.log_artifact(made, background=True)
"""


@pytest.mark.slow
def test_a_python_program_in_another_folder_is_in_the_same_run(home, monkeypatch):
    monkeypatch.setenv("LINEART_STORE", "../store")
    done = subprocess.run([*ART, "run", "--", *python(CHILD)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    run = only(home)
    assert (run.state, run.summary, names(home, run)) == ("finished", {"loss": 1.0}, (["raw:v0"], ["model:v0"]))
    assert (run.job_type, run.config) == ("train", {"lr": 0.1})


@pytest.mark.slow
def test_a_run_that_was_killed_is_recorded_as_crashed_by_the_next_that_starts(home):
    code = "import lineart, os, signal; run = lineart.init(project='p'); print(run.id, flush=True); signal.pause()"
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline().strip()
    with lineart.open(home / "store", project="p") as store:
        assert store.ledger.get(first).state == "running"
        process.kill()
        process.communicate()
        assert store.ledger.get(first).state == "crashed", "seen at once on its own machine"
        assert [event for event in store.engine.journal.events() if event.kind == "run.crashed"] == []
    began = time.monotonic()
    subprocess.run(python("import lineart; lineart.init(project='p').finish()"), check=True, timeout=120)
    assert time.monotonic() - began < 100
    with lineart.open(home / "store", project="p") as store:
        (event,) = [event for event in store.engine.journal.events() if event.kind == "run.crashed"]
        assert (event.data["id"], event.reason) == (first, "its process is gone")
        assert [one.state for one in store.runs()] == ["finished", "crashed"]


@pytest.mark.slow
def test_json_of_runs_names_the_run_that_another_began_in(home):
    inner = [*ART, "run", "--", "true"]
    subprocess.run([*ART, "run", "--", *inner], check=True, timeout=120)
    listed = subprocess.run([*ART, "runs", "--json"], check=True, capture_output=True, timeout=60)
    second, first = json.loads(listed.stdout)["runs"]
    assert second["code"]["parent"] == first["id"]


@pytest.mark.slow
def test_what_was_logged_for_a_program_is_logged_again_when_it_is_repeated(home, art_here):
    code, _, err = call(art_here, "--use", "raw", "--log", "words=o ut", "--", "sh", "-c", "echo 3 >'o ut'")
    assert code == 0, err
    code, script, _ = art_here("repro", "words:v0", "--force")
    assert code == 0
    assert "--log words='o ut' " in script
    here = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    (home / "again.sh").write_text(script, encoding="utf-8")
    done = subprocess.run(["sh", str(home / "again.sh")], env=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split("\t")[:2]) == (0, ["p/words:v0", "the same"]), done.stderr
    assert len(runs(home)) == 2
