"""Config and summary: mappings that people write to while a run goes on, and that are saved as JSON.

Knows how Python's values become JSON; must not know runs or rows. Nothing here raises because of what a value is:
eight hours of training do not end over a loss that is not a number. What has no JSON form is kept as its `repr`.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, NamedTuple

from ..artifacts.metadata import plain_number
from ..storage.errors import InvalidInput

__all__ = ["Changes", "Values", "plain", "to_mapping"]

DEPTH = 50  # of nesting; deeper is kept as text
TEXT = 10_000  # characters of a `repr`


def to_mapping(given: Any) -> dict[str, Any]:
    """Return a config as a dict: of None, a mapping, a dataclass, or anything with attributes, such as a Namespace.

    >>> to_mapping({"lr": 0.1})
    {'lr': 0.1}
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return {one.name: getattr(given, one.name) for one in dataclasses.fields(given)}
    if hasattr(given, "__dict__") and not isinstance(given, type):
        return {name: value for name, value in vars(given).items() if not name.startswith("_")}
    raise InvalidInput(f"config must be a mapping, a Namespace or a dataclass, not {type(given).__name__}")


def plain(value: Any, depth: int = DEPTH) -> Any:
    """Return the JSON form of a value: a copy of dicts, lists, text, numbers, booleans and None.

    NaN and infinities become the text "NaN", "Infinity" and "-Infinity"; enums, paths, times, sets, dataclasses and
    numpy's scalars and small arrays what one expects; everything else its `repr`, cut at 10,000 characters.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth - 1)
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else str(int(value))
    if isinstance(value, float):
        return plain_number(float(value))
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if depth <= 0:
        return _text(value)
    return _nested(value, depth - 1)


def _nested(value: Any, depth: int) -> Any:
    try:
        if isinstance(value, Mapping):
            return {plain(str(name)): plain(one, depth) for name, one in list(value.items())}
        if isinstance(value, list | tuple | AbstractSet):
            return [plain(one, depth) for one in (sorted(value, key=str) if isinstance(value, AbstractSet) else value)]
        if isinstance(value, PurePath | datetime | date):
            return plain(str(value) if isinstance(value, PurePath) else value.isoformat())
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return plain(to_mapping(value), depth)
        if hasattr(value, "tolist") and getattr(value, "size", 0) <= TEXT:  # numpy and what behaves like it
            return plain(value.tolist(), depth)
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a tensor of one number
            return plain(value.item(), depth)
    except Exception:  # noqa: BLE001 - obligation: a value of somebody else's class must not end the training
        return _text(value)
    return _text(value)


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - the same
        text = f"<{type(value).__name__}: no repr, {type(error).__name__}>"
    return (text if len(text) <= TEXT else text[:TEXT] + "…").encode(errors="backslashreplace").decode()


class Changes(NamedTuple):
    """What this process did to a mapping since it was last saved; what others did to it meanwhile stays."""

    values: dict[str, Any]  # JSON
    removed: frozenset[str] = frozenset()

    def apply(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return a stored mapping with these changes made."""
        return {name: value for name, value in known.items() if name not in self.removed} | self.values


class Values(MutableMapping[str, Any]):
    """A mapping with attribute access that knows what was written to it since it was last saved.

    Safe from many threads. `changes()` gives JSON values and a mark; `settle(mark)` says that they are safely stored.
    A value that is changed in place (a list that is appended to) does not tell: assign it again.

    >>> config = Values({"lr": 0.1, "seed": 7}); config.lr = 0.2; config["lr"], config.changes()[0].values
    (0.2, {'lr': 0.2})
    """

    __slots__ = ("_clock", "_lock", "_touched", "_values")
    _values: dict[str, Any]
    _touched: dict[str, int]  # name → when it was last written, counted in writes

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        put = object.__setattr__
        put(self, "_lock", threading.Lock())
        put(self, "_values", {str(name): value for name, value in (values or {}).items()})
        put(self, "_touched", {})
        put(self, "_clock", itertools.count(1))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        with self._lock:
            del self._values[name]
            self._touched[name] = next(self._clock)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"no value {name!r}; there are: {', '.join(self._values) or 'none'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._values]

    def update(self, other: Any = (), /, **values: Any) -> None:
        """Take over all values of a mapping, a Namespace or a dataclass, as `init(config=…)` does."""
        added = to_mapping(dict(other) if isinstance(other, list | tuple) else other) | values
        with self._lock:
            self._values.update(added)
            self._touched.update((name, next(self._clock)) for name in added)

    @property
    def changed(self) -> bool:
        """Whether it was written to since what was last settled."""
        return bool(self._touched)

    def changes(self) -> tuple[Changes, int]:
        """Return what was changed, as JSON values, and the mark to hand to `settle` once it is stored."""
        with self._lock:
            values = {name: self._values[name] for name in self._touched if name in self._values}
            removed = frozenset(self._touched).difference(values)
            mark = max(self._touched.values(), default=0)
        return Changes({plain(name): plain(value) for name, value in values.items()}, removed), mark

    def settle(self, mark: int) -> None:
        """Note that what `changes` gave with this mark is stored."""
        with self._lock:
            for name in [one for one, at in self._touched.items() if at <= mark]:
                del self._touched[name]

    def forget_lock(self) -> None:
        """Take a new lock: in a child made by fork, the old one may be held by a thread that does not exist there."""
        object.__setattr__(self, "_lock", threading.Lock())
