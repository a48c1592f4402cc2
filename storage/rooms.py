"""Buffers for large files, used again instead of given back to the system.

Knows memory; must not know files or chunks. Each page of fresh memory costs a fault, and on virtual machines the faults
of a buffer take longer than reading a file into it.
"""

from __future__ import annotations

__all__ = ["Room", "Rooms"]


class Room(bytearray):
    """A buffer that is filled again only when no view of it is left: a view of it may be relied on like bytes."""


class Rooms:
    """Hands out rooms of `size` bytes; as many as are looked at at one time, and no more. For one thread.

    >>> rooms = Rooms(3)
    >>> view = memoryview(rooms.take())
    >>> rooms.take() is view.obj
    False
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rooms: list[Room] = []

    def take(self) -> Room:
        """Return a room that nobody looks at; what it held before is still in it."""
        for room in self._rooms:
            try:
                room.append(room.pop())  # a bytearray refuses to change its length while there is a view of it
            except BufferError:
                continue
            return room
        self._rooms.append(Room(self._size))
        return self._rooms[-1]
