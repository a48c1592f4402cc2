"""Metadata: JSON that is checked when it is assigned, not after eight hours of training.

Knows what JSON can hold and how close relatives (numpy scalars, paths, times) become JSON; imports none of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from os import PathLike, fspath
from typing import Any, Self

from ..storage.errors import InvalidInput

__all__ = ["LARGEST", "Metadata", "encode_json", "plain"]

LARGEST = 1 << 20  # bytes of JSON
DEEPEST = 64
_BIGGEST_INTEGER = 2**63


def plain(value: Any, where: str = "metadata") -> Any:
    """Return `value` as JSON values; InvalidInput names the place of what cannot be one.

    Numpy scalars become numbers, arrays lists, paths and times text, tuples and sets lists.

    >>> plain({"lr": 3e-4, "split": ("train", "test")})
    {'lr': 0.0003, 'split': ['train', 'test']}
    """
    return _plain(value, where, 0)


def encode_json(value: Any, what: str = "metadata") -> str:
    """Return the one-line JSON that is stored; InvalidInput where it is larger than LARGEST bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LARGEST:
        raise InvalidInput(
            f"{what} has {size:,} bytes as JSON, at most {LARGEST:,} are kept; put it into a file of the artifact"
        )
    return text


def _plain(value: Any, where: str, depth: int) -> Any:  # noqa: C901, PLR0911 - one case for each type
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        if not -_BIGGEST_INTEGER <= value < _BIGGEST_INTEGER:
            raise InvalidInput(f"{where} is an integer beyond 64 bits; keep it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{where} is {value}, which JSON cannot hold; use None, or text")
        return float(value)
    if depth >= DEEPEST:
        raise InvalidInput(f"{where} is nested more than {DEEPEST} deep, or holds itself")
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(one, f"{where}[{key!r}]", depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{where}[{i}]", depth + 1) for i, one in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(one, where, depth + 1) for one in value), key=repr)
    if isinstance(value, PathLike):
        return _text(str(fspath(value)), where)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if callable(getattr(value, "tolist", None)):  # numpy and torch: scalars and arrays
        return _plain(value.tolist(), where, depth + 1)
    raise InvalidInput(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"{where} has the key {key!r}; keys are text")
    return _text(key, where)


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{where} holds text that is not Unicode: {value[:80]!r}") from None
    if "\0" in value:
        raise InvalidInput(f"{where} holds a NUL character, which databases refuse")
    return str(value)


class Metadata(dict[str, Any]):
    """A dict that refuses what JSON cannot hold, at the assignment; `before` is asked first and may refuse too."""

    def __init__(
        self,
        value: Mapping[str, Any] | None = None,
        *,
        what: str = "metadata",
        before: Callable[[], None] | None = None,
    ) -> None:
        self._what = what
        self._before = before
        checked = plain(value if value is not None else {}, what)
        encode_json(checked, what)
        super().__init__(checked)

    def __setitem__(self, key: str, value: Any) -> None:
        if self._before is not None:
            self._before()
        super().__setitem__(_key(key, self._what), plain(value, f"{self._what}[{key!r}]"))

    def update(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwargs: Any) -> None:  # type: ignore[override]
        """Assign many; each is checked."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Assign where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self
