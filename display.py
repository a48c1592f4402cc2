"""What a command prints on: a terminal, where tables fit and times are relative, or a pipe, where nothing is cut.

Knows streams, widths and characters; must not know stores or commands. Everything that goes through a Screen is
escaped, so that no name out of a store can move a cursor. Reads no environment: what it needs to know is handed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, zip_longest
from typing import Any, NamedTuple, TextIO

from .lineage.columns import ASCII, UNICODE, Style, escape, width
from .lineage.printing import print_size

__all__ = [
    "Cell",
    "Column",
    "Screen",
    "Size",
    "Time",
    "Value",
    "ago",
    "count_of",
    "fold",
    "iso",
    "lay_out",
    "when",
]

BATCH = 500  # rows of a table that are held to be aligned
GAP = 2  # columns of a terminal between those of a table
NARROW, NARROWEST = 8, 4  # what a column that may be folded keeps, and where all else fails
_BOLD, _RED, _DIM = "1", "31", "2"
_PLAIN = str.maketrans({"→": "->", "←": "<-", "·": "-", "…": "...", "“": '"', "”": '"'})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Cell(NamedTuple):
    """A value as people read it and as programs do: a size with its unit and in bytes, a time relative and absolute."""

    shown: str
    plain: str


class Size(NamedTuple):
    """Bytes as a value. Each of its forms is made when it is asked for: a list of thousands needs one of them."""

    size: int

    @property
    def shown(self) -> str:
        """With a unit."""
        return print_size(self.size)

    @property
    def plain(self) -> str:
        """In full."""
        return str(self.size)


class Time(NamedTuple):
    """A time as a value, empty where there is none, in microseconds since the epoch, as the one that is now."""

    at: int | None
    now: int

    @property
    def shown(self) -> str:
        """How long ago."""
        return "" if self.at is None else ago(self.at, self.now)

    @property
    def plain(self) -> str:
        """As RFC 3339."""
        return iso(self.at) or ""


class Column(NamedTuple):
    """One column of a table; one that may be folded goes on below where the terminal is narrow."""

    title: str
    right: bool = False
    fold: bool = False


Value = str | Cell | Size | Time  # of a table


def count_of(number: int, what: str, several: str | None = None) -> str:
    """Print a number of things.

    >>> count_of(1, "file"), count_of(4112, "file")
    ('1 file', '4,112 files')
    """
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def iso(at: int | None) -> str | None:
    """Print microseconds since the epoch as RFC 3339, UTC.

    >>> iso(1_000_000)
    '1970-01-01T00:00:01Z'
    """
    if at is None:
        return None
    return (_NAIVE_EPOCH + timedelta(microseconds=at)).isoformat() + "Z"


def when(at: int) -> str:
    """Print microseconds since the epoch to the minute.

    >>> when(0)
    '1970-01-01 00:00 UTC'
    """
    return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%d %H:%M} UTC"


def ago(at: int, now: int) -> str:
    """Say how long ago a time was; both are microseconds since the epoch.

    >>> ago(0, 7_200_000_000), ago(0, 10)
    ('2h ago', 'now')
    """
    seconds = (now - at) // 1_000_000
    if seconds < -_MINUTE or seconds >= 100 * _DAY:  # ahead of this clock, or long ago: the date says more
        return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%d}"
    for unit, mark in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{mark} ago"
    return f"{seconds}s ago" if seconds > 0 else "now"


def fold(text: str, room: int) -> list[str]:
    """Break text into lines of at most `room` columns, behind spaces, commas and slashes where there are any.

    >>> fold("best,production→v7", 14)
    ['best,', 'production→v7']
    """
    lines = []
    while width(text) > room:
        end, used, good = 0, 0, 0
        for char in text:
            used += width(char)
            if used > room:
                break
            end += 1
            if char in " ,/":
                good = end
        if text[end : end + 1] == " ":
            good = end + 1
        cut = good or max(end, 1)
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip(" ")
    return [*lines, text]


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> Iterator[tuple[bool, str]]:
    """Yield the lines of a table that is at most `room` columns wide if it can be; True marks those of the heading.

    Columns that may be folded are narrowed, the widest first, and their cells go on below; nothing is left out but
    columns that may be folded and are empty.
    """
    kept = [i for i, one in enumerate(columns) if not one.fold or any(row[i] for row in rows)]
    columns = [columns[i] for i in kept]
    table = [[one.title for one in columns], *([row[i] for i in kept] for row in rows)]
    widths, gap = _fit(columns, [max(map(width, cells)) for cells in zip(*table, strict=True)], room)
    for number, row in enumerate(table):
        folded = [fold(text, wide) for text, wide in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            cells = []
            for part, column, wide in zip(parts, columns, widths, strict=True):
                space = " " * (wide - width(part))
                cells.append(space + part if column.right else part + space)
            yield number == 0, (" " * gap).join(cells).rstrip()


def _fit(columns: Sequence[Column], wanted: list[int], room: int) -> tuple[list[int], int]:
    """Return the columns' widths and the gap between them: what is asked for, or as near to it as `room` allows."""
    widths, gap = list(wanted), GAP
    foldable = [i for i, one in enumerate(columns) if one.fold]
    for gap, able, least in ((GAP, foldable, NARROW), (1, foldable, NARROW), (1, range(len(columns)), NARROWEST)):
        widths = list(wanted)
        while sum(widths) + gap * (len(columns) - 1) > room:
            narrower = [i for i in able if widths[i] > least and not columns[i].right]
            if not narrower:
                break
            widths[max(narrower, key=widths.__getitem__)] -= 1
        else:
            break
    return widths, gap


@dataclass(slots=True)
class Screen:
    """Where a command prints: `out` for the answer, `err` for all else. `now` is microseconds since the epoch.

    `terminal` says that `out` is one and decides between people's form and programs'; `columns` is its width.
    `err_terminal` says that somebody watches `err`. `ask` puts a yes-or-no question to them; None: nobody can answer.
    """

    out: TextIO
    err: TextIO
    now: int
    terminal: bool = False
    err_terminal: bool = False
    columns: int = 80
    colour: bool = False
    ask: Callable[[str], bool] | None = None

    @property
    def style(self) -> Style:
        """The characters that `out` can show."""
        return UNICODE if _is_utf8(self.out.encoding) else ASCII

    def line(self, text: str = "", paint: str = "") -> None:
        """Print one line of the answer."""
        text = _printable(text, self.out)
        self.out.write(f"\x1b[{paint}m{text}\x1b[0m\n" if paint and self.colour and self.terminal else text + "\n")

    def remark(self, text: str) -> None:
        """Print a line that goes with the answer on a terminal only: a count, what is left out, what to do next."""
        if self.terminal:
            self.line(text, _DIM)

    def tabbed(self, values: Iterable[Value]) -> None:
        """Print one row for programs."""
        plain = [one if isinstance(one, str) else one.plain for one in values]
        row = "".join(plain)
        if not (row.isascii() and row.isprintable()):  # most rows are: one look instead of one at each value
            plain = [_printable(one, self.out) for one in plain]
        self.out.write("\t".join(plain) + "\n")

    def note(self, text: str) -> None:
        """Say something on `err` that is neither the answer nor an error."""
        self.err.write(f"art: {_printable(text, self.err)}\n")

    def error(self, text: str) -> None:
        """Say on `err`, in one line, what went wrong."""
        head = "\x1b[31mart:\x1b[0m" if self.colour and self.err_terminal else "art:"
        self.err.write(f"{head} {_printable(' '.join(text.splitlines()), self.err)}\n")

    def confirm(self, question: str) -> bool | None:
        """Ask before something is taken away; None where there is nobody to ask."""
        return None if self.ask is None else self.ask(_printable(question, self.err))

    def problem(self, text: str) -> None:
        """Print a line of the answer that is bad news."""
        self.line(text, _RED)

    def heading(self, text: str) -> None:
        """Print a line that names what follows."""
        self.line(text, _BOLD)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> None:
        """Print rows: aligned below a heading on a terminal, tab-separated without one in a pipe.

        Any number of rows is printed as they come; more than 500 are aligned in groups.
        """
        if not self.terminal:
            for row in rows:
                self.tabbed(row)
            return
        left = iter(rows)
        first = True
        while batch := list(islice(left, BATCH)):
            shown = [[_printable(one if isinstance(one, str) else one.shown, self.out) for one in row] for row in batch]
            for is_heading, text in lay_out(columns, shown, self.columns):
                if first or not is_heading:
                    self.line(text, _BOLD if is_heading else "")
            first = False

    def title(self, name: str, text: str) -> None:
        """Print what the pairs below are about."""
        if not self.terminal:
            self.tabbed([name, text])
        elif width(name) + GAP + width(text) > self.columns:
            self.line(name, _BOLD)
            for part in fold(_printable(text, self.out), self.columns):
                self.line(part)
        else:
            self.line(f"{name}  {text}", _BOLD)

    def pairs(self, pairs: Sequence[tuple[str, Value]]) -> None:
        """Print names and values: in two columns on a terminal, tab-separated in a pipe."""
        if not self.terminal:
            for pair in pairs:
                self.tabbed(pair)
            return
        margin = max((width(name) for name, _ in pairs), default=0) + GAP
        margin = min(margin, max(self.columns // 3, 1))
        for name, value in pairs:
            head = name + " " * (margin - width(name)) if width(name) < margin else name + " "
            shown = value if isinstance(value, str) else value.shown
            for part in fold(_printable(shown, self.out), max(self.columns - margin, NARROWEST)):
                self.line(head + part)
                head = " " * margin

    def raw(self, parts: Iterable[bytes]) -> None:
        """Hand on bytes as they are."""
        self.out.flush()
        for part in parts:
            self.out.buffer.write(part)
        self.out.buffer.flush()

    def document(self, fields: Mapping[str, Any], name: str | None = None, items: Iterable[Any] = ()) -> None:
        """Print one JSON document: `schema` 1, the fields, and under `name` the items, one a line, as they come."""
        head = json.dumps({"schema": 1, **fields}, indent=2)
        if name is None:
            self.out.write(head + "\n")
            return
        self.out.write(f"{head[:-2]},\n  {json.dumps(name)}: [")
        comma = "\n"
        for item in items:
            self.out.write(f"{comma}    {json.dumps(item)}")
            comma = ",\n"
        self.out.write("]\n}\n" if comma == "\n" else "\n  ]\n}\n")


@cache  # asked for every cell
def _is_utf8(encoding: str | None) -> bool:
    return (encoding or "ascii").lower().replace("-", "").replace("_", "").startswith("utf8")


def _printable(text: str, stream: TextIO) -> str:
    if _is_utf8(stream.encoding):
        return escape(text)
    return escape(text.translate(_PLAIN), ascii_only=True)
