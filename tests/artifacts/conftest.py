"""Small stores for the tests of artifacts, and short words for filling them.

For tests: `store` is an empty store in a folder; `new_store` makes one over a backend and a database of the test's
choice; `log` makes a version of a few bytes by path. `Hooked` is a backend that calls the test back.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lineart
from lineart.settings import Settings
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.engine import Engine
from lineart.store import FOLDS, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Hooked(MemoryBackend):
    """Memory that calls `on_get(key, data) -> data` and `on_put(key)` around the work, where they are set."""

    def __init__(self) -> None:
        super().__init__("hooked")
        self.on_get: Callable[[str, bytes], bytes] | None = None
        self.on_put: Callable[[str], None] | None = None

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        return data if self.on_get is None else self.on_get(key, data)

    def put(self, key: str, parts: Any) -> None:
        if self.on_put is not None:
            self.on_put(key)
        super().put(key, parts)

    def replace(self, key: str, data: bytes) -> None:
        """Put other bytes where a key's were, unseen."""
        super().put(key, [data])

    def keys(self, prefix: str = "") -> list[str]:
        return [info.key for info in self.list(prefix)]


_listening: list[list[str]] = []  # the lists in which what is opened is noted now


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        for noted in _listening:
            noted.append(arguments[0])


sys.addaudithook(_hear)


@pytest.fixture
def opened_below() -> Callable[[Path], AbstractContextManager[list[str]]]:
    """A context manager whose list holds, afterwards, the files below a folder that were opened meanwhile."""

    @contextmanager
    def listen(folder: Path) -> Iterator[list[str]]:
        files: list[str] = []
        noted: list[str] = []
        _listening.append(noted)
        try:
            yield files
        finally:
            _listening.remove(noted)
            bare = {one for one in noted if "/" not in one}  # opened relative to some folder's descriptor
            for here, _, names in os.walk(folder):
                files.extend(f"{here}/{name}" for name in names if name in bare or f"{here}/{name}" in noted)
            files.sort()

    return listen


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MemoryBackend]:
    """The database and the bucket of a store as it is made: copying them is ten times as fast as making them."""
    path = tmp_path_factory.mktemp("blank") / "database.db"
    backend = MemoryBackend("blank")
    Engine.create(backend, f"sqlite:///{path}", actor="ana@here", folds=FOLDS).close()
    return path, backend


@pytest.fixture
def new_store(tmp_path: Path, blank: tuple[Path, MemoryBackend]) -> Iterator[Callable[..., Store]]:
    """A function that makes a store, over SQLite, with its downloads below tmp_path; one with a `cache` remembers."""
    opened: list[Store] = []
    numbers = itertools.count()

    def make(backend: MemoryBackend | None = None, cache: Path | None = None) -> Store:
        number = next(numbers)
        backend = MemoryBackend(f"memory-{number}") if backend is None else backend
        for info in blank[1].list(""):
            backend.put(info.key, [blank[1].get(info.key)])
        path = tmp_path / f"database-{number}.db"
        shutil.copyfile(blank[0], path)
        url = f"sqlite:///{path}"
        engine = Engine.open(backend, url, actor="ana@here", folds=FOLDS)
        opened.append(Store(engine, Settings(backend.url, url, "p", tmp_path / "artifacts", cache=cache)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: Callable[..., Store]) -> Store:
    """An empty store in memory, with SQLite."""
    return new_store()


@pytest.fixture
def remembering(new_store: Callable[..., Store], tmp_path: Path) -> Callable[..., Store]:
    """A function that makes a store over a backend that remembers, below tmp_path / "cache", what is in folders."""
    return lambda backend=None: new_store(backend, tmp_path / "cache")


@pytest.fixture
def hooked() -> Hooked:
    """An empty backend with hooks."""
    return Hooked()


@pytest.fixture
def make() -> Callable[..., lineart.Artifact]:
    """A function that makes a draft of some bytes by path."""

    def draft(name: str = "data", files: dict[str, bytes] | None = None, **options: Any) -> lineart.Artifact:
        made = lineart.Artifact(name, **{"type": "dataset", **options})
        for path, data in (files if files is not None else {"a.txt": b"alpha"}).items():
            made.add_bytes(data, path)
        return made

    return draft


@pytest.fixture
def log(store: Store, make: Callable[..., lineart.Artifact]) -> Callable[..., lineart.Artifact]:
    """A function that logs some bytes by path into `store`."""

    def logged(
        name: str = "data", files: dict[str, bytes] | None = None, *, aliases: Any = (), tags: Any = (), **options: Any
    ) -> lineart.Artifact:
        project = options.pop("project", None)
        return store.log(make(name, files, **options), aliases=aliases, tags=tags, project=project)

    return logged


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """A function that reads a folder whole: every file's bytes, and each link and empty folder by a word."""

    def read(folder: Path) -> dict[str, bytes]:
        out: dict[str, bytes] = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                out[name] = b"-> " + str(path.readlink()).encode()
            elif path.is_file():
                out[name] = path.read_bytes()
            elif not any(path.iterdir()):
                out[name + "/"] = b""
        return out

    return read


@pytest.fixture
def special(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A function that makes what is neither a file nor a folder: a `fifo`, a `socket`, or a link to a `device`."""
    sockets: list[socket.socket] = []

    def made(kind: str, path: Path | None = None) -> Path:
        path = tmp_path / kind if path is None else path
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            sockets.append(socket.socket(socket.AF_UNIX))
            here = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)  # its own path may be too long for an address
            try:
                sockets[-1].bind(f"/proc/self/fd/{here}/{path.name}")
            finally:
                os.close(here)
        else:
            path.symlink_to("/dev/null")
        return path

    yield made
    for one in sockets:
        one.close()


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Lends a limit on the size of files in bytes, past which the system refuses to write, as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
