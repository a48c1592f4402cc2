"""Metadata: JSON that is checked when it is assigned, not after eight hours of training.

Knows what JSON can hold and how close relatives (numpy scalars, paths, times) become JSON; imports none of them. A
number that JSON has no form for does not keep a trained model from being logged: it is kept as text.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from os import PathLike
from typing import Any, Self

from ..storage.errors import InvalidInput

__all__ = ["LARGEST", "Metadata", "check_words", "encode_json", "plain", "plain_number"]

LARGEST = 1 << 20  # bytes of JSON
DEEPEST = 64
_BIGGEST_INTEGER = 2**63


def plain(value: Any, where: str = "metadata") -> Any:
    """Return `value` as JSON values; InvalidInput names the place of what cannot be one.

    Numpy scalars become numbers, arrays lists, paths and times text, tuples and sets lists; NaN and infinities the text
    that `plain_number` says.

    >>> plain({"lr": 3e-4, "split": ("train", "test")})
    {'lr': 0.0003, 'split': ['train', 'test']}
    """
    return _Plain().value(value, where)


def plain_number(value: float) -> float | str:
    """Return a number as JSON can hold it: NaN and infinities as the text "NaN", "Infinity" and "-Infinity".

    >>> plain_number(0.5), plain_number(float("nan"))
    (0.5, 'NaN')
    """
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def encode_json(value: Any, what: str = "metadata") -> str:
    """Return the one-line JSON that is stored; InvalidInput where it is larger than LARGEST bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LARGEST:
        raise InvalidInput(
            f"{what} has {size:,} bytes as JSON, at most {LARGEST:,} are kept; put it into a file of the artifact"
        )
    return text


def check_words(what: str, value: str | None) -> str | None:
    """Return text that people wrote; InvalidInput where it is none, is too long, or holds what databases refuse."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"{what} is text, not a {type(value).__name__}")
    encode_json(_text(value, what), what)
    return _text(value, what)


class _Plain:
    """One conversion; it gives up at LARGEST, so that values that hold one another again and again come to an end."""

    def __init__(self) -> None:
        self._left = LARGEST + 2  # nothing stands behind the last

    def value(self, value: Any, where: str, depth: int = 0) -> Any:
        self._spend(2 + (len(value) if isinstance(value, str) else 0), where)  # itself and what stands behind it
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, where)
        if isinstance(value, int):
            if not -_BIGGEST_INTEGER <= value < _BIGGEST_INTEGER:
                raise InvalidInput(f"{_cut(where)} is an integer beyond 64 bits; keep it as text")
            return int(value)
        if isinstance(value, float):
            return plain_number(float(value))
        if depth >= DEEPEST:
            raise InvalidInput(f"{_cut(where)} is nested more than {DEEPEST} deep, or holds itself")
        return self._made_of(value, where, depth + 1)

    def _made_of(self, value: Any, where: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            made = {}
            for key, one in value.items():
                name = _key(key, where)
                self._spend(len(name), where)
                made[name] = self.value(one, f"{where}[{name!r}]", depth)
            return made
        if isinstance(value, (list, tuple)):
            return [self.value(one, f"{where}[{i}]", depth) for i, one in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            return sorted((self.value(one, where, depth) for one in value), key=repr)
        if isinstance(value, PathLike):
            return _text(os.fsdecode(value), where)
        if isinstance(value, (datetime, date)):
            return value.isoformat()
        if callable(getattr(value, "tolist", None)):  # numpy and torch: scalars and arrays
            return self.value(value.tolist(), where, depth)
        raise InvalidInput(f"{_cut(where)} is a {type(value).__name__}, which JSON cannot hold")

    def _spend(self, size: int, where: str) -> None:
        self._left -= size
        if self._left < 0:
            raise InvalidInput(
                f"{_cut(where)} is too much: at most {LARGEST:,} bytes of JSON are kept; put it into a file"
            )


def _cut(where: str) -> str:
    return where if len(where) <= 200 else f"{where[:200]}…"


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"{_cut(where)} has the key {_cut(repr(key))}; keys are text")
    return _text(key, where)


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{_cut(where)} holds text that is not Unicode: {value[:80]!r}") from None
    if "\0" in value:
        raise InvalidInput(f"{_cut(where)} holds a NUL character, which databases refuse")
    return str.__str__(value)  # of an enumeration the value, which is what JSON would hold


class Metadata(dict[str, Any]):
    """A dict that refuses what JSON cannot hold, at the assignment; `before` is asked first and may refuse too."""

    def __init__(
        self,
        value: Mapping[str, Any] | None = None,
        *,
        what: str = "metadata",
        before: Callable[[], None] | None = None,
    ) -> None:
        if value is not None and not isinstance(value, Mapping):
            raise InvalidInput(f"{what} is a dict, not a {type(value).__name__}")
        self._what = what
        self._before = before
        checked = plain(value if value is not None else {}, what)
        self._size = len(encode_json(checked, what))
        super().__init__(checked)

    # While it is being unpickled or copied it has no attributes yet.
    _what = "metadata"
    _before: Callable[[], None] | None = None
    _size = 0  # characters of JSON, at least: what was replaced or removed is still counted

    def __setitem__(self, key: str, value: Any) -> None:
        self._ask()
        name, checked = _key(key, self._what), plain(value, f"{self._what}[{_cut(repr(key))}]")
        size = self._size + len(encode_json({name: checked}, self._what))
        if size > LARGEST // 4:  # as bytes it may be too large: look closely
            size = len(encode_json({**self, name: checked}, self._what))
        self._size = size
        super().__setitem__(name, checked)

    def __delitem__(self, key: str) -> None:
        self._ask()
        super().__delitem__(key)

    def pop(self, *args: Any) -> Any:
        """Remove a key and return its value."""
        self._ask()
        return super().pop(*args)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last pair and return it."""
        self._ask()
        return super().popitem()

    def clear(self) -> None:
        """Remove everything."""
        self._ask()
        super().clear()

    def update(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwargs: Any) -> None:  # type: ignore[override]
        """Assign many; each is checked."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Assign where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def _ask(self) -> None:
        if self._before is not None:
            self._before()

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self
