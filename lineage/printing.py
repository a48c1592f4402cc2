"""Sizes, spans of time and version numbers as people read them.

Knows units; must not know where the figures come from. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from .columns import UNICODE, Style

__all__ = ["abbreviate", "print_duration", "print_size"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def print_size(size: int) -> str:
    """Print bytes with a binary unit.

    >>> print_size(1023), print_size(1_288_490_189)
    ('1023 B', '1.2 GiB')
    """
    if size < 1024:
        return f"{size} B"
    value = size / 1024
    unit = 0
    while round(value, 1) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"


def print_duration(span: int) -> str:
    """Print microseconds in the two largest units.

    >>> print_duration(22_320_000_000), print_duration(41_000_000)
    ('6h12m', '41s')
    """
    seconds = max(0, span) // 1_000_000
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    for large, mark, small, unit in ((days, "d", hours, "h"), (hours, "h", minutes, "m"), (minutes, "m", seconds, "s")):
        if large:
            return f"{large}{mark}{small}{unit}" if small and (mark != "m" or large < 10) else f"{large}{mark}"
    return f"{seconds}s"


def abbreviate(numbers: Iterable[int], style: Style = UNICODE) -> str:
    """Print version numbers, neighbours as a range.

    >>> abbreviate([0, 1, 2, 5, 7, 8])
    'v0…v2,v5,v7,v8'
    """
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    parts = []
    for first, last in ranges:
        if last - first > 1:
            parts.append(f"v{first}{style.ellipsis}v{last}")
        else:
            parts += [f"v{one}" for one in range(first, last + 1)]
    return ",".join(parts)
