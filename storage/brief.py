"""What a record shows of itself where a notebook or a debugger prints it: one line, whatever it holds.

Knows how to cut and to escape; must not know records. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["brief", "few", "names", "utc", "values"]

LONGEST = 80  # characters of one part
NAMED = 3  # of several names
SHORT = 11  # characters of a digest
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def brief(*parts: str | None) -> str:
    r"""Return what a thing is and what is said of it; what is empty is left out, and what is long is cut.

    >>> brief("Version a:v1", "", None, "x\ny")
    '<Version a:v1, x\\ny>'
    """
    return f"<{', '.join(_safe(one) for one in parts if one)}>"


def utc(at: Any) -> str:
    """Print microseconds since the epoch to the second; what is no time of ours as it is.

    >>> utc(1_000_000), utc(10**20)
    ('1970-01-01 00:00:01 UTC', '100000000000000000000 µs')
    """
    try:
        return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, TypeError):
        return f"{at} µs"


def few(number: int, what: str) -> str:
    """Print a number of things; nothing where there is none.

    >>> few(1, "file"), few(2000, "file"), few(0, "file")
    ('1 file', '2,000 files', '')
    """
    return f"{number:,} {what}{'s' * (number != 1)}" if number else ""


def names(what: str, given: Sequence[str]) -> str:
    """Print the first of some names, and how many more there are; nothing where there is none.

    >>> names("aliases", "abcde"), names("aliases", [])
    ('aliases a, b, c and 2 more', '')
    """
    more = f" and {len(given) - NAMED:,} more" if len(given) > NAMED else ""
    return f"{what} {', '.join(map(_safe, given[:NAMED]))}{more}" if given else ""


def values(data: Mapping[str, Any], leave: Sequence[str]) -> list[str]:
    """Return what JSON data say, each value with its name, but for some names and for what is null or empty.

    >>> values({"alias": "best", "from": None, "to": 0, "at": 1, "digest": "b3:0123456789abcdef"}, ["at"])
    ['alias best', 'to 0', 'digest b3:01234567']
    """
    told = [(name, one) for name, one in data.items() if name not in leave and one not in (None, "", [], {})]
    return [f"{name} {_value(one)}" for name, one in told]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value[:SHORT] if value.startswith("b3:") else value
    return json.dumps(value)


def _safe(text: str) -> str:
    """Return text as one line that no terminal acts on."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
