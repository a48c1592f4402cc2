"""What differs between two JSON objects, key by key.

Knows dicts, lists and plain values; must not know whose they are (metadata, a run's config). Pure, and never recursive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

__all__ = ["ABSENT", "Absent", "Changed", "dotted", "nested_changes"]

_PLAIN = re.compile(r'[^.\s"\\]+')


class Absent(Enum):
    """Says that there is no value, which `None` does not: that is JSON's null."""

    ABSENT = "absent"


ABSENT: Final[Literal[Absent.ABSENT]] = Absent.ABSENT


class Changed(NamedTuple):
    """One value that differs; `old` or `new` is ABSENT where there is none."""

    key: str
    old: Any
    new: Any

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it; a value that is absent is left out."""
        values = {"old": self.old, "new": self.new}
        return {"key": self.key, **{name: value for name, value in values.items() if value is not ABSENT}}


def nested_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Changed]:
    """Return the values that differ between two objects, by the order of their keys.

    Keys of objects within objects are joined by dots; lists are compared as wholes. A number and a truth value are
    never the same, nor are 1 and 1.0: a program may tell them apart.

    >>> nested_changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None})
    [Changed(key='a.c', old=2, new=3), Changed(key='d', old=<Absent.ABSENT: 'absent'>, new=None)]
    """
    before, after = _leaves(old), _leaves(new)
    changed = []
    for path in sorted({*before, *after}):
        was, now = before.get(path, ABSENT), after.get(path, ABSENT)
        if not _same(was, now):
            changed.append(Changed(dotted(path), was, now))
    return changed


def dotted(path: tuple[str, ...]) -> str:
    """Print the keys that lead to a value; one that could be mistaken is quoted.

    >>> dotted(("optimizer", "lr")), dotted(("a.b", ""))
    ('optimizer.lr', '"a.b".""')
    """
    return ".".join(part if _PLAIN.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in path)


def _leaves(values: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Return every value that is not an object with something in it, by the keys that lead to it."""
    found: dict[tuple[str, ...], Any] = {}
    todo: list[tuple[tuple[str, ...], Any]] = [((), values)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, Mapping) and (value or not path):
            todo += [((*path, str(key)), one) for key, one in value.items()]
        else:
            found[path] = value
    return found


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list | Mapping):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return bool(one == other)
