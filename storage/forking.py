"""What a fork must not hand down: SQLite's connections, and locks that threads of the parent hold.

Knows processes and threads; must not know engines or SQL. SQLite's locks belong to a process, so a child that inherits
a connection believes to hold locks that it does not hold, and its parent may take the write-ahead log away from under
it (https://www.sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork()"). Hence no
connection is open at the moment of a fork: new transactions wait for its end, and it waits for those under way.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["Closable", "Holder", "Member", "closed", "opened", "shelter", "watch", "watch_connections", "withheld"]

PATIENCE = 10.0  # seconds that a fork waits for transactions under way
_LOOK = 0.001  # seconds between two looks


class Member(Protocol):
    """What has locks or connections that a child needs anew."""

    def after_fork(self) -> None:
        """Renew them; called in the child before anything else runs there."""


class Holder(Member, Protocol):
    """A member with a pool of connections."""

    def before_fork(self) -> None:
        """Close the connections that nobody uses; called in the parent while no transaction begins."""


class Closable(Protocol):
    """A connection that must not be inherited, to the file that `identity` names."""

    @property
    def identity(self) -> Hashable:
        """What names its file."""

    def close(self) -> None:
        """Close it; may be called from any thread that no transaction of it runs in."""


class _State:
    def __init__(self) -> None:
        self.forking = threading.Lock()  # one fork at a time
        self.closed: int | None = None  # the thread that forks
        self.inside: dict[int, int] = {}  # threads in a transaction, and how deep


_members: WeakSet[Member] = WeakSet()
_holders: WeakSet[Holder] = WeakSet()
_open: WeakSet[Closable] = WeakSet()
_withheld: set[Hashable] = set()  # files that this process inherited an open connection to, or its parents did
_state = _State()


def watch(member: Member) -> None:
    """Renew a member's locks in every child that is forked while it lives."""
    _members.add(member)


def watch_connections(holder: Holder) -> None:
    """Do as `watch`, and close the idle connections before each fork."""
    _members.add(holder)
    _holders.add(holder)


def opened(connection: Closable) -> None:
    """Take note of a connection; one that is collected or closed is forgotten."""
    _open.add(connection)


def closed(connection: Closable) -> None:
    """Forget a connection that is closed."""
    _open.discard(connection)


def withheld(identity: Hashable) -> bool:
    """Say whether this process inherited an open connection to that file, and so must never lock it."""
    return identity is not None and identity in _withheld


@contextmanager
def shelter() -> Iterator[None]:
    """Keep forks waiting while a connection is used; waits itself while another thread forks."""
    me = threading.get_ident()
    inside = _state.inside
    depth = inside.get(me, 0)
    try:
        while True:
            inside[me] = depth + 1  # told before it is asked: a fork asks in the other order
            if depth or _state.closed in {None, me}:
                break
            inside.pop(me, None)
            time.sleep(_LOOK)
        yield
    finally:
        if depth:
            inside[me] = depth
        else:
            inside.pop(me, None)


def _before() -> None:
    deadline = time.monotonic() + PATIENCE
    _state.forking.acquire(timeout=2 * PATIENCE)
    me = _state.closed = threading.get_ident()
    # A transaction of this very thread cannot end before the fork: its connection is inherited.
    while any(one != me for one in list(_state.inside)) and time.monotonic() < deadline:
        time.sleep(_LOOK)
    for holder in list(_holders):
        holder.before_fork()
    if not _state.inside:
        for connection in list(_open):  # lost by whoever used it, and not collected yet
            connection.close()


def _after_in_parent() -> None:
    _state.closed = None
    if _state.forking.locked():
        _state.forking.release()


def _after_in_child() -> None:
    global _state  # noqa: PLW0603 - threads that it tells of are not in this process
    _state = _State()
    left = list(_open)
    _open.clear()
    for connection in left:
        _keep(connection)
        _withheld.add(connection.identity)
    for member in list(_members):
        member.after_fork()


def _keep(thing: object) -> None:
    """Keep a thing to the end of the process and beyond: closing it would be done to the parent's file."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
