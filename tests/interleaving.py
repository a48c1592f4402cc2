"""Actors in threads of their own that take turns at every call to bucket and database, in an order drawn from a seed.

    stage = Stage(seed)
    stage.add("writer", lambda: …)   # who calls through StagedBackend and StagedDatabase
    stage.play()

Knows backends and databases by their interfaces; must not know what the actors do. One call takes place at a time: a
transaction or an operation on the bucket is one step, as it is in the protocol. What an actor raises, `play` raises.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict, deque
from collections.abc import Callable

from lineart.storage.backends.base import Backend

PATIENCE = 60.0  # seconds after which an actor that neither calls nor ends is a bug of the test


class Cut(BaseException):
    """What an actor meets where it is cut off: as by a kill, nothing that it calls works any more."""


class Stage:
    def __init__(self, seed: int, burst: float = 0.6) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.log: list[str] = []
        self.cut_after: dict[str, int] = {}  # calls that an actor gets through
        self._burst = burst  # how likely it is that who went last goes on
        self._lock = threading.Condition()
        self._waiting: dict[str, deque[tuple[str, threading.Event]]] = defaultdict(deque)
        self._running = 0
        self._actors: dict[str, Callable[[], object]] = {}
        self._unfinished: set[str] = set()
        self._errors: list[BaseException] = []
        self._over = False

    def add(self, name: str, act: Callable[[], object]) -> None:
        self._actors[name] = act
        self._unfinished.add(name)

    def step(self, actor: str, what: str, call: Callable[[], object]) -> object:
        """Make a call when it is this actor's turn."""
        if not self._over:
            turn = threading.Event()
            with self._lock:
                self._waiting[actor].append((what, turn))
                self._lock.notify_all()
            turn.wait()
        try:
            if actor in self.cut_after:
                self.cut_after[actor] -= 1
                if self.cut_after[actor] < 0:
                    raise Cut
            return call()
        finally:
            with self._lock:
                self._running = 0
                self._lock.notify_all()

    def play(self) -> None:
        threads = [threading.Thread(target=self._act, args=pair, daemon=True) for pair in self._actors.items()]
        for one in threads:
            one.start()
        last = ""
        while (ready := self._settled()) is not None:
            if last not in ready or self.chance.random() > self._burst:
                last = self.chance.choice(sorted(ready))
            with self._lock:
                what, turn = self._waiting[last].popleft()
                self._running = 1
            self.log.append(f"{last}: {what}")
            turn.set()
        for one in threads:
            one.join(PATIENCE)
        if self._errors:
            raise self._errors[0]

    def _settled(self) -> set[str] | None:
        """Wait until everybody who is not done waits for a turn; None when all are done or one has failed."""

        def settled() -> bool:
            return self._over or (not self._running and all(self._waiting[one] for one in self._unfinished))

        with self._lock:
            if not self._lock.wait_for(settled, PATIENCE):
                stuck = {one for one in self._unfinished if not self._waiting[one]}
                raise AssertionError(f"seed {self.seed}: {stuck} are stuck after {self.log[-3:]}")
            return None if self._over or not self._unfinished else set(self._unfinished)

    def _act(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Cut:
            self.log.append(f"{name} is cut off")
        except BaseException as error:
            self._errors.append(error)
        with self._lock:
            self._unfinished.discard(name)
            if self._errors or not self._unfinished:  # the others go on without turns, to their ends
                self._over = True
                for queue in self._waiting.values():
                    for _, turn in queue:
                        turn.set()
            self._lock.notify_all()


class StagedBackend(Backend):
    """`inner`, where each call waits for its actor's turn."""

    def __init__(self, inner: Backend, stage: Stage, actor: str) -> None:
        self.inner, self.stage, self.actor = inner, stage, actor
        self.url = inner.url

    @property
    def parallelism(self):
        return 1  # threads of one actor would make the order depend on more than the seed

    def get(self, key, start=0, length=None):
        return self.stage.step(self.actor, f"get {key}", lambda: self.inner.get(key, start, length))

    def size(self, key):
        return self.stage.step(self.actor, f"size {key}", lambda: self.inner.size(key))

    def put(self, key, parts):
        self.stage.step(self.actor, f"put {key}", lambda: self.inner.put(key, parts))

    def put_new(self, key, data):
        return self.stage.step(self.actor, f"put_new {key}", lambda: self.inner.put_new(key, data))

    def list(self, prefix):
        yield from self.stage.step(self.actor, f"list {prefix}", lambda: list(self.inner.list(prefix)))

    def delete(self, keys):
        for key in keys:
            self.stage.step(self.actor, f"delete {key}", lambda key=key: self.inner.delete([key]))


class StagedDatabase:
    """A database where each transaction waits for its actor's turn."""

    def __init__(self, inner, stage: Stage, actor: str) -> None:
        self.inner, self.stage, self.actor = inner, stage, actor

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def read(self, work):
        return self.stage.step(self.actor, f"read {_named(work)}", lambda: self.inner.read(work))

    def write(self, work):
        return self.stage.step(self.actor, f"write {_named(work)}", lambda: self.inner.write(work))

    def store(self):
        return self.stage.step(self.actor, "read the store's row", self.inner.store)


def _named(work) -> str:
    return getattr(getattr(work, "func", work), "__qualname__", "work")
