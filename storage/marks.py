"""Sets of digests that need not fit in memory: what a collector has marked, and what it has followed.

Knows digests; must not know what they name. They lie in a private temporary SQLite database, which is kept in memory up
to 512 MiB and on disk beyond, and is gone with the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

__all__ = ["Marks", "RootGone"]

CACHE = 512 << 20  # bytes held in memory, some ten million digests
BUFFER = 20_000  # digests gathered before they are entered
BATCH = 500  # asked for in one statement


class RootGone(Exception):
    """What was to be followed is no root any more: it was given up while it was followed."""


class Marks:
    """A growing set of 32-byte digests, for one thread at a time.

    What is added after `begin_again` and was not there before is remembered as late.

    >>> with Marks() as marks:
    ...     marks.add([bytes(32)])
    ...     marks.follow(bytes(32)), marks.follow(bytes(32)), len(marks.among([bytes(32), b"x" * 32]))
    (True, False, 1)
    """

    def __init__(self, cache: int = CACHE) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        run = self._database.execute
        run(f"PRAGMA cache_size = -{cache >> 10}")
        run("PRAGMA journal_mode = OFF")
        run("PRAGMA synchronous = OFF")
        run("CREATE TABLE marked (digest BLOB PRIMARY KEY, late INTEGER NOT NULL) WITHOUT ROWID")
        run("CREATE TABLE followed (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        run("BEGIN")  # one for all: each COMMIT would go through every page that is held
        self._buffer: set[bytes] = set()
        self._late = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, digests: Iterable[bytes]) -> None:
        """Mark digests."""
        self._buffer.update(digests)
        if len(self._buffer) >= BUFFER:
            self._enter()

    def follow(self, digest: bytes) -> bool:
        """Say whether what a digest names is still to be followed: true once for each."""
        return self._database.execute("INSERT OR IGNORE INTO followed VALUES (?)", (digest,)).rowcount == 1

    def follow_anew(self) -> None:
        """Forget what was followed, but not what is marked: a way was broken off, and what lies behind is unknown."""
        self._database.execute("DELETE FROM followed")

    def begin_again(self) -> None:
        """Remember what is added from here on as late."""
        self._enter()
        self._late = 1

    def among(self, digests: Iterable[bytes]) -> set[bytes]:
        """Return those of some digests that are marked."""
        self._enter()
        wanted = list(digests)
        found: set[bytes] = set()
        for start in range(0, len(wanted), BATCH):
            part = wanted[start : start + BATCH]
            sql = f"SELECT digest FROM marked WHERE digest IN ({','.join('?' * len(part))})"  # noqa: S608 - marks
            found.update(row[0] for row in self._database.execute(sql, part))
        return found

    def late(self) -> Iterator[bytes]:
        """Yield the digests that are late."""
        self._enter()
        for row in self._database.execute("SELECT digest FROM marked WHERE late = 1"):
            yield row[0]

    def __iter__(self) -> Iterator[bytes]:
        """Yield every digest, in ascending order."""
        self._enter()
        for row in self._database.execute("SELECT digest FROM marked ORDER BY digest"):
            yield row[0]

    def _enter(self) -> None:
        if self._buffer:
            rows = ((one, self._late) for one in sorted(self._buffer))
            self._database.executemany("INSERT OR IGNORE INTO marked VALUES (?, ?)", rows)
            self._buffer.clear()
