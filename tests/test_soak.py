"""Many processes that log, promote, download, delete and collect at once, for as long as is asked.

No acknowledged write is lost, every read is verified, and check finds nothing at the end. `pytest -m soak -s` runs
sixteen of them for two minutes on each kind of store, and prints how much was done and how long it took.
"""

import inspect
import json
import os
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import pytest

from lineart.settings import Settings
from lineart.store import create_settings, open_settings

pytestmark = pytest.mark.slow

NOISE = random.Random(0).randbytes(300_000)  # shared by all: packs of one serve the others


def content(key):
    """Return the files of a version, by the key that its metadata holds."""
    pick = random.Random(key)
    start = pick.randrange(200_000)
    files = {f"part/{n}": NOISE[n * 9000 : n * 9000 + 8000] for n in pick.sample(range(30), 3)}
    return files | {"own": key.encode() * 50, "cut": NOISE[start : start + pick.randrange(1, 90_000)], "empty": b""}


WORKER = """
import json, random, shutil, sys, time
from datetime import timedelta
from pathlib import Path
from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.errors import LineartError, NotFound
from lineart.store import open_settings

url, database, options, folder, who, seed, seconds = sys.argv[1:]
chance = random.Random(f"{seed} {who}")
NOISE = random.Random(0).randbytes(300_000)


CONTENT


def say(what, began, **more):
    print(json.dumps({"what": what, "took": time.monotonic() - began, **more}), flush=True)


store = open_settings(Settings(url, database, "p", Path(folder), storage_options=json.loads(options)))
print("ready", flush=True)
sys.stdin.readline()
over = time.monotonic() + float(seconds)
mine, dropped, count = {}, [], 0


def log():
    global count
    key = chance.choice(dropped) if dropped and chance.random() < 0.3 else f"{who}-{count}"
    count += 1
    draft = Artifact(chance.choice(["model", "data"]), metadata={"key": key})
    for path, data in content(key).items():
        draft.add_bytes(data, path)
    began = time.monotonic()
    logged = store.log(draft)
    mine[logged.ref] = key
    say("log", began, ref=logged.ref, key=key)


def promote():
    ref = chance.choice(sorted(mine))
    began = time.monotonic()
    store.promote(ref, f"best-{who}")
    say("promote", began, ref=ref)


def delete():
    ref = chance.choice(sorted(mine))
    began = time.monotonic()
    dropped.append(mine.pop(ref))
    say("to delete", began, ref=ref)
    store.delete(ref, force=True)
    say("delete", began, ref=ref)


def download():
    try:
        versions = [one for one in store.versions(chance.choice(["model", "data"])) if one.state == "live"]
    except NotFound:
        return
    if not versions:
        return
    one = chance.choice(versions)
    out = Path(folder) / "out"
    began = time.monotonic()
    try:
        store.artifact(one.ref).download(out)
    except LineartError:
        if store.resolve(one.ref).state == "live":
            raise
        return  # deleted and collected while it was read
    done = time.monotonic()
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == content(one.metadata["key"]), one.ref
    shutil.rmtree(out)
    say("download", began + time.monotonic() - done, ref=one.ref)


def collect():
    began = time.monotonic()
    store.gc(grace=timedelta(0))
    say("collect", began)


acts = [log] * 6 + [download] * 5 + [promote] * 3 + [delete] * 2 + [collect]
while time.monotonic() < over:
    act = chance.choice(acts)
    if mine or act not in {promote, delete}:
        act()
store.close()
""".replace("CONTENT", inspect.getsource(content))


@pytest.fixture(params=["a folder and SQLite", "S3 and PostgreSQL"])
def place(request, tmp_path, new_location):
    """The settings of an empty store of each kind."""
    plain = Settings(str(tmp_path / "store"), f"sqlite:///{tmp_path}/store.db", "p", tmp_path / "downloads")
    if request.param == "S3 and PostgreSQL":
        location, database = new_location("s3-moto"), request.getfixturevalue("postgres_url")
        plain = replace(plain, url=location.url, database=database, storage_options=location.storage_options)
    create_settings(plain).close()
    return plain


def work(place, folder, count, seconds, seed):
    """Let so many processes work for so long; what each of them said, in its order."""
    options = json.dumps(dict(place.storage_options))
    processes = []
    for who in range(count):
        own = folder / f"worker{who}"
        own.mkdir()
        command = [sys.executable, "-c", WORKER, place.url, place.database, options, str(own), f"w{who}", seed, seconds]
        output = (own / "said").open("w")
        processes.append(subprocess.Popen(list(map(str, command)), stdin=-1, stdout=output, stderr=-1, text=True))
        output.close()
    for who, _ in enumerate(processes):
        while not (folder / f"worker{who}" / "said").read_text():
            assert processes[who].poll() is None, processes[who].communicate()[1]
    for one in processes:
        one.stdin.write("go\n")
        one.stdin.flush()
    ended = [(one.communicate(timeout=seconds + 240)[1], one.returncode) for one in processes]
    assert [code for _, code in ended] == [0] * count, "\n".join(error for error, code in ended if code)
    return [
        [json.loads(line) for line in (folder / f"worker{who}" / "said").read_text().splitlines()[1:]]
        for who in range(count)
    ]


def require_kept(place, said):
    """Everything that was acknowledged last is as it was acknowledged."""
    with open_settings(place) as store:
        versions = {one.ref: one for name in ("model", "data") for one in store.versions(name)}
        assert [one.number for one in store.versions("model")] == list(range(len(store.versions("model"))))
        for who, lines in enumerate(said):
            logged, deleted, best = {}, set(), {}
            for line in lines:
                if line["what"] == "log":
                    assert line["ref"] not in deleted, "a number is never used again"
                    logged[line["ref"]] = line["key"]
                elif line["what"] == "to delete":
                    del logged[line["ref"]]
                elif line["what"] == "delete":
                    deleted.add(line["ref"])
                    best = {name: ref for name, ref in best.items() if ref != line["ref"]}
                elif line["what"] == "promote":
                    best[line["ref"].partition(":")[0]] = line["ref"]
            assert {ref for ref in deleted if versions[ref].state == "live"} == set()
            for ref, key in logged.items():
                assert versions[ref].state == "live", ref
                assert {e.path: e.read_bytes() for e in store.artifact(ref).files()} == content(key), ref
            held = {one.ref for one in versions.values() if f"best-w{who}" in one.aliases}
            assert held == set(best.values())
        report = store.check(read_data=True)
        assert report.problems == []


def show(said, seconds):
    """Print how much was done, and how long it took."""
    took = defaultdict(list)
    for line in (line for lines in said for line in lines):
        took[line["what"]].append(line["took"])
    for what, times in sorted(took.items()):
        if what != "to delete":
            times.sort()
            middle, late = statistics.median(times), times[int(len(times) * 0.95)]
            sys.stdout.write(
                f"{what:9} {len(times):6}, {len(times) / seconds:7.1f} a second;"
                f" took {middle * 1000:.0f} ms, 95 % up to {late * 1000:.0f} ms, {times[-1] * 1000:.0f} ms at most\n"
            )
    return {what: len(times) for what, times in took.items()}


def soak(place, folder, count, seconds):
    seed = os.environ.get("LINEART_TEST_SEED") or str(random.SystemRandom().randrange(10**6))
    sys.stdout.write(f"\n{count} processes, {seconds} seconds, LINEART_TEST_SEED={seed}, {place.url}\n")
    said = work(place, folder, count, seconds, seed)
    done = show(said, seconds)
    require_kept(place, said)
    assert all(done.get(what, 0) > 0 for what in ("log", "promote", "delete", "download", "collect")), done


def test_four_processes_at_once_lose_nothing(place, tmp_path):
    soak(place, tmp_path, 4, 8)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_sixteen_processes_at_once_for_two_minutes_lose_nothing(place, tmp_path):
    soak(place, tmp_path, 16, 120)
