"""The event: one change of the store's state as a value, and its canonical JSON.

Knows the journal's line (docs/format.md, "Journal") and nothing of where events are kept. Equal events give equal
bytes: keys are sorted, nothing is spaced, text is UTF-8 and not escaped beyond what JSON demands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import IntegrityError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

__all__ = ["LINE_LIMIT", "Event", "Fold", "canonical", "line", "parse", "plain"]

LINE_LIMIT = 16 << 20  # bytes of a journal line, its end included
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_TYPES: dict[str, type | tuple[type, ...]] = {
    "actor": str,
    "data": dict,
    "kind": str,
    "reason": (str, type(None)),
    "seq": int,
    "subject": str,
    "time": int,
}


@dataclass(frozen=True, slots=True)
class Event:
    r"""One change: what (`kind`, `data`), of which thing (`subject`), when, by whom and why.

    `time` is microseconds since the Unix epoch, UTC, by the database's clock. `seq` is None until the transaction ends;
    then it is the event's place in the order of commits, from 1, without gaps. `data` is JSON as it reads back: string
    keys, lists for tuples.

    >>> Event("alias.set", "a/b", {"to": 6}, None, 1, "ann", 7).to_line()
    b'{"actor":"ann","data":{"to":6},"kind":"alias.set","reason":null,"seq":7,"subject":"a/b","time":1}\n'
    """

    kind: str
    subject: str
    data: dict[str, Any]
    reason: str | None
    time: int
    actor: str
    seq: int | None = None

    def __repr__(self) -> str:
        from .brief import brief, utc, values

        what = f"Event {'-' if self.seq is None else self.seq} {self.kind} {self.subject}"
        said = values(self.data, ("project", "collection"))
        return brief(what, *said, utc(self.time), f"by {self.actor}", self.reason)

    def to_line(self) -> bytes:
        """Return the journal's line; InvalidInput if the data is not JSON."""
        if self.seq is None:
            raise InvalidInput(f"event {self.kind} of {self.subject} has no sequence number yet")
        data = canonical(self.data)
        return line(self.seq, self.time, self.actor, self.kind, self.subject, self.reason, data)

    @classmethod
    def from_line(cls, text: bytes) -> Event:
        """Read a journal's line; IntegrityError if it is not what the format says."""
        value = parse(text, "a journal line")
        if value.keys() != _TYPES.keys():
            raise IntegrityError(f"a journal line has the fields {sorted(value)}, not {sorted(_TYPES)}")
        for name, kind in _TYPES.items():
            if not isinstance(value[name], kind) or isinstance(value[name], bool):
                raise IntegrityError(f"a journal line has {value[name]!r:.80} as its {name}")
        if value["seq"] < 1:
            raise IntegrityError(f"a journal line has {value['seq']} as its seq; the first is 1")
        return cls(**value)


if TYPE_CHECKING:
    # Applies an event to rows. Called at once in the transaction that records it and again, in order, whenever a
    # database is rebuilt: it must be deterministic and must not use `seq`.
    Fold = Callable[[Connection, Event], None]
else:
    Fold = object


def canonical(data: Any) -> str:
    """Return the one JSON text of a value; InvalidInput for what is not JSON (NaN, bytes, keys that are not text).

    >>> canonical({"b": (1, 2.5), "a": None})
    '{"a":null,"b":[1,2.5]}'
    """
    try:
        text = _encode(data)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}") from None
    return text


def line(seq: int, time: int, actor: str, kind: str, subject: str, reason: str | None, data: str) -> bytes:
    """Return the journal's line of an event whose data is canonical JSON text already.

    Raises InvalidInput for one that is longer than LINE_LIMIT.
    """
    fields = f'"kind":{_encode(kind)},"reason":{_encode(reason)},"seq":{seq},"subject":{_encode(subject)}'
    text = f'{{"actor":{_encode(actor)},"data":{data},{fields},"time":{time}}}\n'.encode()
    if len(text) > LINE_LIMIT:
        raise InvalidInput(f"event {kind} of {subject:.80} takes {len(text)} bytes, more than {LINE_LIMIT}")
    return text


def parse(text: str | bytes, what: str) -> dict[str, Any]:
    """Read a JSON object strictly (no NaN, no key twice, bounded depth); IntegrityError names `what` it was."""
    try:
        value = _decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is not a JSON object")
    return value


def plain(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return canonical JSON and the data as it reads back, which is what every fold sees; InvalidInput if not JSON."""
    text = canonical(data)
    try:
        return text, parse(text, "event data")
    except IntegrityError as error:
        raise InvalidInput(str(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError(f"{digits:.40} is too large a number")
    return value


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite).decode
