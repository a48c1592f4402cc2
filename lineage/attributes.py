"""Attributes of a lineage graph's nodes and edges: packed until somebody changes them, and dictionaries from then on.

Knows how little room a row takes; must not know where rows come from, or a graph. Pure. Big graphs have hundreds of
thousands of these, of which few are looked at: a record is made when it is, and each time anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Self

import msgspec

from ..artifacts.reading import COLUMNS as VERSION_COLUMNS
from ..artifacts.reading import version_of
from .runs import COLUMNS as RUN_COLUMNS
from .runs import PRODUCED, USED, run_of

__all__ = [
    "RUN",
    "VERSION",
    "Attributes",
    "EdgeAttributes",
    "RunAttributes",
    "VersionAttributes",
    "Words",
]

VERSION, RUN = "version", "run"


class Words:
    """What many rows have in common, each held once: a row has its place.

    >>> words = Words()
    >>> [words.place(one) for one in ("live", "deleted", "live", None)], words.values
    ([0, 1, 0, 2], ['live', 'deleted', None])
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Hashable, int] = {}

    def place(self, value: Hashable) -> int:
        """Return the place of a value in `values`, where it is put if it is new."""
        place = self._places.get(value)
        if place is None:
            place = self._places[value] = len(self.values)
            self.values.append(value)
        return place


class Attributes(MutableMapping[str, Any]):
    """What networkx would keep in a dictionary, and may be used and changed as one; its copies are dictionaries."""

    __slots__ = ("_held", "_shared")
    _names: ClassVar[tuple[str, ...]]
    _held: Any  # packed, or since it was changed the dictionary
    _shared: Any  # what others have in common with it

    def __init__(self, held: Any, shared: Any) -> None:
        self._held = held
        self._shared = shared

    def _look(self, name: str) -> Any:
        """Return one value out of what is packed; KeyError where there is no such name."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        held = self._held
        return held[name] if isinstance(held, dict) else self._look(name)

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __setitem__(self, name: str, value: Any) -> None:
        self._unpacked()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._unpacked()[name]

    def _all(self) -> Collection[str]:
        return self._held if isinstance(self._held, dict) else self._names

    def _unpacked(self) -> dict[str, Any]:
        if not isinstance(self._held, dict):
            self._held = self.copy()
        held: dict[str, Any] = self._held
        return held

    def copy(self) -> dict[str, Any]:
        """Return the same as a dictionary."""
        return {name: self[name] for name in self}

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(self.copy(), memo)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return self.copy() | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(other) | self.copy() if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc] # as of a dictionary: `|` makes another, `|=` does not
        self.update(other)
        return self

    def __repr__(self) -> str:
        return repr(self.copy())


_VERSION_ROW = ("id", "collection", *VERSION_COLUMNS, "refers", "aliases", "tags", "newer", "cut")
_RUN_ROW = (*RUN_COLUMNS, "tags")
_MANY_VERSIONS = frozenset({"collection", "state", "actor"})  # columns that many rows share: each holds a word's place
_MANY_RUNS = frozenset({"project", "job_type", "group", "state", "actor", "config", "code", "environment"})
_VERSION_WORDS = tuple(at for at, one in enumerate(_VERSION_ROW) if one in _MANY_VERSIONS)
_RUN_WORDS = tuple(at for at, one in enumerate(_RUN_ROW) if one in _MANY_RUNS)
_encoder = msgspec.msgpack.Encoder()
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class VersionAttributes(Attributes):
    """What is known of a version."""

    __slots__ = ()
    _names = ("kind", "record", "newer", "cut")

    @classmethod
    def of(
        cls,
        row: Sequence[Any],
        aliases: Iterable[str],
        tags: Iterable[str],
        *,
        newer: int | None,
        cut: bool,
        words: Words,
    ) -> Self:
        """Return a row as attributes: id; project, name and type, in one; COLUMNS; whether it refers elsewhere."""
        return cls(_packed([*row, tuple(aliases), tuple(tags), newer, cut], _VERSION_WORDS, words), words.values)

    def _look(self, name: str) -> Any:
        match name:
            case "kind":
                return VERSION
            case "record":
                id_, owner, *columns, aliases, tags, _, _ = _row_of(self._held, _VERSION_WORDS, self._shared)
                return version_of((id_, *owner, *columns), aliases, tags)
            case "newer":
                return _decode(self._held)[-2]
            case "cut":
                return _decode(self._held)[-1]
        raise KeyError(name)


class RunAttributes(Attributes):
    """What is known of a run."""

    __slots__ = ()
    _names = ("kind", "record")

    @classmethod
    def of(cls, row: Sequence[Any], tags: Iterable[str], words: Words) -> Self:
        """Return a row as attributes."""
        return cls(_packed([*row, tuple(tags)], _RUN_WORDS, words), words.values)

    def _look(self, name: str) -> Any:
        match name:
            case "kind":
                return RUN
            case "record":
                *row, tags = _row_of(self._held, _RUN_WORDS, self._shared)
                return run_of(row, tags)
        raise KeyError(name)


class EdgeAttributes(Attributes):
    """What is known of an edge, of which a place among facts is held; what was made of its data there stays there."""

    __slots__ = ()
    _names = ("kind", "time", "order", "data")

    def _look(self, name: str) -> Any:
        facts, at = self._shared, self._held
        match name:
            case "kind":
                return USED if facts.used[at] else PRODUCED
            case "time":
                return facts.times[at]
            case "order":
                return facts.ids[at]
            case "data":
                if not isinstance(facts.data[at], dict):
                    facts.data[at] = _object(facts.data[at] or "{}")
                return facts.data[at]
        raise KeyError(name)


def _object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {} if text == "{}" else json.loads(text)
    return found


def _packed(row: list[Any], shared: Iterable[int], words: Words) -> bytes:
    for at in shared:
        row[at] = words.place(row[at])
    buffer = bytearray()
    _encoder.encode_into(row, buffer)
    return bytes(buffer)  # no longer than it is: what `encode` returns keeps room at its end


def _row_of(held: bytes, shared: Iterable[int], words: Sequence[Any]) -> list[Any]:
    row: list[Any] = _decode(held)
    for at in shared:
        row[at] = words[row[at]]
    return row
