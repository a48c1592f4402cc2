"""What the tests of chunks, sessions, engines and checks share: a watched bucket, and stores on a workbench.

Knows how to make and damage a store below artifacts; must not know what is tested. Given to tests as the fixture
`bench`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from functools import cache

from blake3 import blake3
from sqlalchemy import select, text, update

from lineart.storage.backends.base import Backend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.chunks import READABLE
from lineart.storage.engine import Engine
from lineart.storage.errors import StoreUnavailable
from lineart.storage.layout import pack_key, parse_pack_key
from lineart.storage.pack import PackKind, encode
from lineart.storage.tables import PackState, chunk, pack


class Watched(Backend):
    """A backend that notes every call and asks `on` before it takes place; what that raises is the call's failure."""

    def __init__(self, inner: Backend | None = None) -> None:
        self.inner = inner or MemoryBackend("watched")
        self.url = self.inner.url
        self.calls: list[tuple[str, str]] = []
        self.on: Callable[[str, str], None] = lambda what, key: None
        self._lock = threading.Lock()

    def _note(self, what: str, key: str) -> None:
        with self._lock:
            self.calls.append((what, key))
        self.on(what, key)

    def get(self, key, start=0, length=None):
        self._note("get", key)
        return self.inner.get(key, start, length)

    def size(self, key):
        self._note("size", key)
        return self.inner.size(key)

    def put(self, key, parts):
        self._note("put", key)
        self.inner.put(key, parts)

    def put_new(self, key, data):
        self._note("put_new", key)
        return self.inner.put_new(key, data)

    def list(self, prefix):
        self._note("list", prefix)
        return self.inner.list(prefix)

    def delete(self, keys):
        for key in keys:
            self._note("delete", key)
        self.inner.delete(keys)

    def packs(self, what: str = "put") -> list[str]:
        """Keys of packs, in the order of their calls."""
        return [key for name, key in self.calls if name == what and parse_pack_key(key)]


class Unwritable:
    """A database that can be read, and written only while `refused` is false."""

    def __init__(self, database) -> None:
        self.inner = database
        self.refused = True

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def write(self, work):
        if self.refused:
            raise StoreUnavailable("the database can only be read")
        return self.inner.write(work)


@cache
def data(seed: int, size: int = 1000) -> bytes:
    """Bytes that no codec shrinks, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def name(content: bytes) -> bytes:
    return blake3(content).digest()


def coded(*contents: bytes):
    return [encode(name(one), one) for one in contents]


def create(url: str, backend: Backend | None = None, **options) -> Engine:
    return Engine.create(backend or Watched(), url, actor="ann", folds={}, **options)


def open_(url: str, backend: Backend) -> Engine:
    return Engine.open(backend, url, actor="bo", folds={})


def store(engine: Engine, contents: Iterable[bytes], kind: PackKind = PackKind.DATA) -> list[bytes]:
    """Write contents into packs of their own, whether the index has them or not, and commit; their digests."""
    contents = list(contents)
    with engine.session() as session:
        session.add(coded(*contents), kind)
        session.flush()
        engine.write(session.commit)
    return [name(one) for one in contents]


def states(engine: Engine) -> dict[str, PackState]:
    """The state of each pack by its key."""
    found = engine.database.read(lambda c: c.execute(select(pack.c.key, pack.c.kind, pack.c.state)).all())
    return {pack_key(row.kind, row.key): PackState(row.state) for row in found}


def set_state(engine: Engine, state: PackState, key: str | None = None) -> None:
    """Put one pack, or all, into a state, as a collector would."""
    change = update(pack).values(state=state)
    if key is not None:
        change = change.where(pack.c.key == parse_pack_key(key).id)
    engine.database.write(lambda tx: tx.execute(change))


def index(engine: Engine) -> set[tuple[bytes, str]]:
    """Every row of the index: digest, and key of the pack."""
    joined = chunk.join(pack, pack.c.id == chunk.c.pack)
    wanted = select(chunk.c.digest, pack.c.kind, pack.c.key).select_from(joined)
    found = engine.database.read(lambda c: c.execute(wanted).all())
    return {(row.digest, pack_key(row.kind, row.key)) for row in found}


def offered(engine: Engine) -> set[tuple[bytes, str]]:
    """Those rows of the index that readers and writers are shown."""
    readable = {key for key, state in states(engine).items() if state in READABLE}
    return {row for row in index(engine) if row[1] in readable}


def run(engine: Engine, sql: str, **values) -> None:
    engine.database.write(lambda tx: tx.execute(text(sql), values))


def count(engine: Engine, table: str) -> int:
    return engine.database.read(lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def expire(engine: Engine) -> None:
    """Let every session's time run out."""
    run(engine, "UPDATE session SET expires = 1")


def overwrite(backend: Backend, key: str, change: Callable[[bytearray], object]) -> None:
    """Change an object's bytes behind everybody's back; a truncation is `lambda raw: raw.__delitem__(slice(…))`."""
    raw = bytearray(backend.get(key))
    change(raw)
    backend.put(key, [bytes(raw)])


def flip(backend: Backend, key: str, at: int = 40) -> None:
    """Flip one bit of an object; byte 40 is in the first chunk."""

    def change(raw: bytearray) -> None:
        raw[at] ^= 4

    overwrite(backend, key, change)


def cut(backend: Backend, key: str, end: int) -> None:
    """Cut an object short; a negative `end` counts from its end."""
    overwrite(backend, key, lambda raw: raw.__delitem__(slice(end, None)))
