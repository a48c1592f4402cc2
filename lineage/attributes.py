"""Attributes of a lineage graph's nodes and edges: packed until somebody changes them, and dictionaries from then on.

Knows how little room a row takes; must not know where rows come from, or a graph. Pure. Big graphs have hundreds of
thousands of these, of which few are looked at: a record is made when it is, and each time anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, ClassVar, Self

import msgspec

from ..artifacts.records import VersionRecord
from .runs import PRODUCED, USED, RunRecord

__all__ = [
    "RUN",
    "VERSION",
    "Attributes",
    "EdgeAttributes",
    "RunAttributes",
    "RunRow",
    "VersionAttributes",
    "VersionRow",
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


class VersionRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A version as it is packed; an int where a word is expected is its place among the words."""

    id: int
    collection: int  # project, name and type
    number: int
    digest: bytes
    size: int
    file_count: int
    state: int
    created: int
    deleted: int | None
    actor: int
    description: str | None
    metadata: str  # JSON
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    refers: bool
    newer: int | None
    cut: bool


class RunRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A run as it is packed; an int where a word is expected is its place among the words."""

    id: str
    project: int
    name: str
    job_type: int
    group: int
    notes: str | None
    tags: tuple[str, ...]
    state: int
    created: int
    heartbeat: int
    ended: int | None
    exit_code: int | None
    actor: int
    config: int  # JSON, as the others; what runs sum up is their own
    summary: str
    code: int
    environment: int


_encoder = msgspec.msgpack.Encoder()
_version = msgspec.msgpack.Decoder(VersionRow).decode
_run = msgspec.msgpack.Decoder(RunRow).decode


class VersionAttributes(Attributes):
    """What is known of a version."""

    __slots__ = ()
    _names = ("kind", "record", "newer", "cut")

    @classmethod
    def of(cls, row: VersionRow, words: Words) -> Self:
        """Return a row as attributes."""
        return cls(_packed(row), words.values)

    def _look(self, name: str) -> Any:
        match name:
            case "kind":
                return VERSION
            case "record":
                return self._record(_version(self._held))
            case "newer":
                return _version(self._held).newer
            case "cut":
                return _version(self._held).cut
        raise KeyError(name)

    def _record(self, row: VersionRow) -> VersionRecord:
        words = self._shared
        project, collection, kind = words[row.collection]
        return VersionRecord(
            id=row.id,
            project=project,
            collection=collection,
            type=kind,
            number=row.number,
            digest=row.digest,
            size=row.size,
            file_count=row.file_count,
            state=words[row.state],
            created=row.created,
            deleted=row.deleted,
            actor=words[row.actor],
            description=row.description,
            metadata=_object(row.metadata),
            aliases=row.aliases,
            tags=row.tags,
            refers=row.refers,
        )


class RunAttributes(Attributes):
    """What is known of a run."""

    __slots__ = ()
    _names = ("kind", "record")

    @classmethod
    def of(cls, row: RunRow, words: Words) -> Self:
        """Return a row as attributes."""
        return cls(_packed(row), words.values)

    def _look(self, name: str) -> Any:
        match name:
            case "kind":
                return RUN
            case "record":
                return self._record(_run(self._held))
        raise KeyError(name)

    def _record(self, row: RunRow) -> RunRecord:
        words = self._shared
        return RunRecord(
            id=row.id,
            project=words[row.project],
            name=row.name,
            job_type=words[row.job_type],
            group=words[row.group],
            notes=row.notes,
            tags=row.tags,
            state=words[row.state],
            created=row.created,
            heartbeat=row.heartbeat,
            ended=row.ended,
            exit_code=row.exit_code,
            actor=words[row.actor],
            config=_object(words[row.config]),
            summary=_object(row.summary),
            code=_object(words[row.code]),
            environment=_object(words[row.environment]),
        )


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


def _packed(row: msgspec.Struct) -> bytes:
    buffer = bytearray()
    _encoder.encode_into(row, buffer)
    return bytes(buffer)  # no longer than it is: what `encode` returns keeps room at its end
