"""Lines of a tree in aligned columns, in Unicode or ASCII.

Knows levels, columns and characters; must not know what a line is about. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ASCII", "UNICODE", "Line", "Style", "escape", "lay_out", "width"]

WIDEST = 64  # characters of the first column that others are aligned to; longer ones push their own line only


@dataclass(frozen=True, slots=True)
class Style:
    """The characters of a tree."""

    tee: str
    corner: str
    bar: str
    arrow: str
    separator: str
    ellipsis: str
    ascii: bool


UNICODE = Style("├─ ", "└─ ", "│  ", "←", " · ", "…", ascii=False)
ASCII = Style("|- ", "`- ", "|  ", "<-", ", ", "..", ascii=True)


@dataclass(slots=True)
class Line:
    """One line: its level (0 is the margin), whether it is the last of its siblings, and the text of its columns."""

    level: int
    name: str
    size: str = ""
    labels: str = ""
    remark: str = ""
    last: bool = True


def escape(text: str, *, ascii_only: bool = False) -> str:
    r"""Return text in which what a terminal would act on (controls, bidirectional marks, lone surrogates) is escaped.

    >>> print(escape("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_bad(char) or (ascii_only and not char.isascii()) else char for char in text)


def _is_bad(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Return how many columns a terminal uses for text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def lay_out(lines: Sequence[Line], style: Style = UNICODE) -> str:
    """Return the lines, indented by branches, their columns aligned; ends with a newline.

    Sizes are flush right. A name that is wider than `WIDEST` characters does not push the columns of other lines.
    """
    branches = _branches(lines, style)
    rows = [
        [escape(cell, ascii_only=style.ascii) for cell in (branch + line.name, line.size, line.labels, line.remark)]
        for branch, line in zip(branches, lines, strict=True)
    ]
    tabular = [row for row in rows if any(row[1:])]
    widths = [max((width(row[at]) for row in tabular if at or width(row[0]) <= WIDEST), default=0) for at in range(3)]
    return "".join(_row(row, widths) + "\n" for row in rows)


def _row(row: list[str], widths: list[int]) -> str:
    name, size, labels, remark = row
    text = name + " " * (widths[0] - width(name))
    if widths[1]:
        text += "  " + " " * (widths[1] - width(size)) + size
    if widths[2]:
        text += "  " + labels + " " * (widths[2] - width(labels))
    return f"{text}  {remark}".rstrip()


def _branches(lines: Sequence[Line], style: Style) -> list[str]:
    """Return what stands before each name: a bar for every level above that has more siblings to come."""
    bars: list[str] = []
    found = []
    for line in lines:
        if line.level == 0:
            bars = []
            found.append("")
            continue
        del bars[line.level - 1 :]
        found.append("".join(bars) + (style.corner if line.last else style.tee))
        bars.append("   " if line.last else style.bar)
    return found
