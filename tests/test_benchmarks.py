"""Whether the benchmarks still run, and whether what they measure with can be trusted."""

from __future__ import annotations

import http.client
import importlib
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives a module of the benchmarks, which are not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


class Answering(BaseHTTPRequestHandler):
    """Keeps what is put; answers a GET in chunks where the path says so."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.server.put = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_GET(self):
        if self.path.startswith("/chunked"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        else:
            self._answer(b"x" * 100_000)

    def do_HEAD(self):
        self._answer(b"x" * 100_000)

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    with connection.getresponse() as answer:
        return answer.status, answer.read()


def test_the_proxy_passes_requests_on_and_counts_them_and_their_bytes(benchmark, server):
    with benchmark("proxy").CountingProxy("127.0.0.1", server.server_port).running() as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        assert ask(connection, "PUT", "/b/k?x=1", b"y" * 200_000, {"Expect": "100-continue"}) == (200, b"")
        assert ask(connection, "HEAD", "/b/k") == (200, b"")
        assert ask(connection, "GET", "/b/k") == (200, b"x" * 100_000)
        assert ask(connection, "GET", "/chunked") == (200, b"abcde")
        connection.close()
    assert server.put == b"y" * 200_000
    assert proxy.requests == {("PUT", "/b/k"): 1, ("HEAD", "/b/k"): 1, ("GET", "/b/k"): 1, ("GET", "/chunked"): 1}
    assert (proxy.sent, proxy.received) == (200_000, 100_005)


def test_the_proxy_counts_what_passes_at_the_same_time(benchmark, server):
    with benchmark("proxy").CountingProxy("127.0.0.1", server.server_port, delay=0.02).running() as proxy:

        def put():
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
            for _ in range(3):
                ask(connection, "PUT", "/b/k", b"y" * 1_000_000)
                ask(connection, "GET", "/b/k")
            connection.close()

        threads = [threading.Thread(target=put) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert proxy.total == 48
    assert (proxy.sent, proxy.received) == (24_000_000, 2_400_000)


def test_the_proxy_keeps_each_request_waiting(benchmark, server):
    with benchmark("proxy").CountingProxy("127.0.0.1", server.server_port, delay=0.05).running() as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        began = time.perf_counter()
        for _ in range(3):
            ask(connection, "GET", "/b/k")
        connection.close()
        assert time.perf_counter() - began >= 0.15


def test_peak_memory_is_the_process_and_not_the_one_that_started_it(benchmark, tmp_path):
    ballast = bytearray(64 << 20)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    took = benchmark("timing").run_timed(["true"], tmp_path, {})
    assert took.memory < 40
    assert len(ballast) == 64 << 20


def test_a_process_that_fails_is_an_error_with_its_last_words(benchmark, tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with \['3'\].*oh no"):
        benchmark("timing").run_timed([sys.executable, "-c", "print('oh no'); raise SystemExit(3)"], tmp_path, {})


def test_figures_are_kept_beside_their_targets_and_the_missed_ones_named(benchmark, tmp_path, capsys):
    report = benchmark("report")
    run = report.Report()
    run.add("Work", [report.Figure("kept", 1.0, "s", 2.0), report.Figure("missed", 3.0, "s", 2.0)])
    run.add("More", [report.Figure("promised by nobody", 4.0, "s")])
    run.close(tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert {one["work"]: one["met"] for one in found["figures"]} == {
        "kept": True,
        "missed": False,
        "promised by nobody": None,
    }
    end = capsys.readouterr().out.partition("1 of 2 targets met; missed:")[2]
    assert "missed" in end
    assert "kept" not in end


def test_a_peer_that_fails_is_left_out_and_the_others_go_on(benchmark, tmp_path):
    systems, whole = benchmark("systems"), benchmark("whole")
    makes = {
        "cp": systems.SYSTEMS["cp"],
        "peer": lambda here, data, _: systems.System(["true"], ["bash", "-c", "echo no way; exit 1"], "store"),
    }
    tree = benchmark("trees").trees(tiny=True)["small"]
    places = dict.fromkeys(makes, Path())
    found = whole.run_round(list(makes), places, tree, tmp_path, turn=1, settle=0.0, makes=makes)
    assert list(found.timed["cp"]) == ["log", "log again", "log changed", "fetch"]
    assert found.failed["peer"].startswith("fetch failed: ")
    assert found.failed["peer"].endswith("no way")
    assert found.stored["cp"]["log changed"] == pytest.approx(3 * found.stored["cp"]["log"])
    assert whole.ratio_of([found], "peer", "log", "cp") is None


@pytest.mark.parametrize("root", [True, False])
def test_a_missing_program_is_installed_where_that_may_be_done_and_else_said(benchmark, monkeypatch, root):
    environments, called = benchmark("environments"), []
    there = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(environments.shutil, "which", there.get)
    monkeypatch.setattr(environments.os, "geteuid", lambda: 0 if root else 1000)

    def call(command):
        called.append(command[:2])
        there["borg"] = "/usr/bin/borg"

    monkeypatch.setattr(environments, "_call", call)
    if root:
        environments.system_package("borg")
        assert called == [["apt-get", "update"], ["apt-get", "install"]]
    else:
        with pytest.raises(environments.NotInstalled, match="apt-get install borgbackup"):
            environments.system_package("borg")
        assert called == []


def test_peers_are_measured_apart_beside_cp_where_memory_is_little(benchmark):
    groups = benchmark("whole").groups
    names = ["lineart", "cp", "borg", "dvc", "wandb"]
    assert groups(names, together=True) == [names]
    assert groups(names, together=False) == [["lineart", "cp", "borg"], ["cp", "dvc", "wandb"]]


def test_keys_are_counted_by_their_first_part(benchmark):
    kind_of = benchmark("s3").kind_of
    assert kind_of("/bench/store-1/packs/ab/cd", "store-1") == "packs"
    assert kind_of("/bench/store-1/lineart.json", "store-1") == "lineart.json"
    assert kind_of("/bench", "store-1") == "bucket"


@pytest.mark.slow
def test_every_benchmark_runs_on_the_least_work(tmp_path):
    told = tmp_path / "found.json"
    which = ["--all", "--tiny", "--systems", "lineart,cp", "--trees", "big"]
    command = [sys.executable, "-m", "benchmarks", *which, "--disk", str(tmp_path), "--json", str(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(told.read_text(encoding="utf-8"))
    work = " ".join(one["work"] for one in found["figures"])
    for word in (
        "art --help",
        "fetch again",
        "S3: requests",
        "build the manifest",
        "commit",
        "use_artifact",
        "entries",
        "GiB",
    ):
        assert word in work
    named = {one["work"]: one["value"] for one in found["figures"]}
    assert named["log 100 files of 1 to 16 KiB to S3: requests"] < 60
    assert "failed" not in done.stdout
