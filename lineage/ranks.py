"""Ranks: how the processes of one distributed job find the run that they have in common, without a message.

Knows what names a job, and ids that follow from that; must not know the environment, or what a run records. Whoever
comes first begins the run, under an id that all of them can work out; the others find it there. A place where jobs meet
(an address and a port) is used again by later jobs, so the ids of one place are numbered: a run that was over before
this process began is another job's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

if TYPE_CHECKING:
    from ..storage.database import Transaction

__all__ = ["Meeting", "Rendezvous", "Seen", "find_meeting", "meeting_id", "one_at_a_time"]

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # as in other ids of runs
LENGTH = 16  # letters of an id: 79 bits


class Rendezvous(NamedTuple):
    """What one process knows of the job that it is a part of."""

    key: str  # what all processes of the job have in common, and no other job at the same time
    rank: int
    age: float  # seconds since this process began


class Meeting(NamedTuple):
    """How a process takes part in a run that it has in common with others.

    `been` holds ids of runs that it has taken part in already. With an `id`, which all of them give, that is the run;
    then `resume` says, as for any other, whether one that was over before is gone on with.
    """

    rendezvous: Rendezvous
    been: Container[str] = ()
    id: str | None = None
    resume: str = "never"


class Seen(NamedTuple):
    """What is to be known of a run that is there."""

    alive: bool
    ended: int  # µs since the epoch; of one that is alive, no matter what


def meeting_id(project: str, key: str, number: int) -> str:
    """Return the id of the `number`-th run of a project that met under a key.

    >>> meeting_id("digits", "torchrun 7f", 0) == meeting_id("digits", "torchrun 7f", 0)
    True
    """
    digest = hashlib.sha256("\0".join((project, key, str(number))).encode()).digest()
    value = int.from_bytes(digest, "big")
    letters = []
    for _ in range(LENGTH):
        value, index = divmod(value, len(_LETTERS))
        letters.append(_LETTERS[index])
    return "r" + "".join(letters)


def find_meeting(
    look: Callable[[str], Seen | None], project: str, key: str, began: int, been: Container[str]
) -> tuple[str, bool]:
    """Return the id of the run to take part in, and whether it is there already.

    `look` says what is known of an id. `began` is when this process did, µs since the epoch by the same clock as the
    runs' ends; `been` holds ids of runs that it has taken part in already. One that is alive comes before one that has
    ended since, which is for those who come late.
    """

    def name(number: int) -> str:
        return meeting_id(project, key, number)

    free = _first_free(lambda number: look(name(number)) is None)
    late = None
    for number in range(free - 1, -1, -1):
        seen = look(name(number))
        if seen is None or not (seen.alive or seen.ended >= began):
            break
        if name(number) not in been:
            if seen.alive:
                return name(number), True
            late = name(number)
    return (name(free), False) if late is None else (late, True)


def _first_free(is_free: Callable[[int], bool]) -> int:
    """Return the first free number, all above which are free too, in as many questions as it has bits, twice."""
    above = 1
    while not is_free(above - 1):
        above *= 2
    below = above // 2  # all below are taken
    while below < above - 1:
        middle = (below + above - 1) // 2
        below, above = (below, middle + 1) if is_free(middle) else (middle + 1, above)
    return below


def one_at_a_time(tx: Transaction) -> None:
    """Let one transaction at a time begin runs that others may be about to begin: there is no row to lock yet."""
    if tx.dialect == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('lineart.meet'))"))
