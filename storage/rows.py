"""Rows of two databases side by side: what differs, table by table, in the order of what names a row.

Knows tables only by what it is told of them (`Compared`): a row is named by natural keys, and a foreign key is worth
what names the row that it means, so that two databases which number their rows differently can be equal. Holds a piece
at a time. Keys are put in order as SQLite's BINARY and PostgreSQL's C collation do: NULL, numbers, text by code points.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Dialect, FromClause, Table, Text, collate, select

from .sqlite import any_text, raw_text

__all__ = ["ROW_ID", "Compared", "Difference", "Look", "Plan", "moment", "plans", "shown", "times"]

PIECE = 500  # rows fetched at once
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROW_ID = "a rebuild numbers rows anew; what refers to one is compared by what names it"


class Look(NamedTuple):
    """Where a row's name is looked up: in the database, and in what the events say."""

    here: Connection
    journal: Connection


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not what the events say.

    `key` names it; `here` is what the database has by column, `journal` what the events say; None where there is no
    such row. A foreign key stands there as the tuple that names the row it means. Of a row on both sides, only columns
    that differ are there. `row` and `shadow` are its primary keys in the two.
    """

    table: str
    key: tuple[Any, ...]
    here: Mapping[str, Any] | None
    journal: Mapping[str, Any] | None
    row: tuple[Any, ...] = ()
    shadow: tuple[Any, ...] = ()

    def value(self, column: str) -> Any:
        """Return a column's value where there is one, the events' before the database's."""
        return {**(self.here or {}), **(self.journal or {})}.get(column)


def shown(_: str, value: Any) -> str | None:
    """Print a value as people read it; None for nothing.

    >>> shown("size", 3), shown("description", None), shown("digest", bytes(2))
    ('3', None, 'b3:0000')
    """
    if value is None or (isinstance(value, tuple) and set(value) == {None}):
        return None
    return f"b3:{value.hex()}" if isinstance(value, bytes) else str(value)


def moment(at: int) -> str:
    """Print microseconds since the epoch as RFC 3339, UTC; a number that is no time of ours as it is.

    >>> moment(1), moment(10**20)
    ('1970-01-01T00:00:00.000001Z', '100000000000000000000')
    """
    try:
        return (_EPOCH + timedelta(microseconds=at)).replace(tzinfo=None).isoformat() + "Z"
    except OverflowError:
        return str(at)


def times(*columns: str) -> Callable[[str, Any], str | None]:
    """Return a `said` that prints some columns as times (µs since the epoch)."""

    def said(column: str, value: Any) -> str | None:
        return moment(value) if column in columns and isinstance(value, int) else shown(column, value)

    return said


@dataclass(frozen=True, slots=True)
class Compared:
    """A table whose rows follow from events: what names a row, what is not compared and why, and how people call it.

    `key` are the columns that name a row within the table: they are under a unique constraint. `passed` gives the
    columns that are not compared a reason. `called` says which thing a row is; `said` prints a column's value; `about`
    says which events are about the row: the last of them is who and when.
    """

    table: Table
    key: tuple[str, ...]
    called: Callable[[Difference, Look], str]
    about: Callable[[Difference, Look], ColumnElement[bool]]
    passed: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)  # of columns whose name says little
    said: Callable[[str, Any], str | None] = shown

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are compared, beside those that name the row."""
        return tuple(one.name for one in self.table.c if one.name not in {*self.key, *self.passed})


class Plan:
    """How the rows of one table are read so that they can be compared, with what its foreign keys mean."""

    def __init__(self, compared: Compared, parents: Mapping[str, Plan]) -> None:
        self.compared = compared
        self.table = compared.table
        self.parents = parents
        self._from: FromClause = self.table
        self._joined = itertools.count(1)
        self._widths: dict[str, int] = {}  # of each column of this table: how many stand for it
        self._named = self._expand(compared.key)
        values = self._expand(compared.values)
        self._row = list(self.table.primary_key.columns)
        self._rows = select(*self._named, *values, *self._row).select_from(self._from)
        self._split = len(self._named), len(self._named) + len(values)

    def statement(self, dialect: Dialect) -> str:
        """Return the SELECT of all rows in the order of their keys."""
        order = [_ordered(one, dialect.name).nulls_first() for one in self._named]
        return str(self._rows.order_by(*order).compile(dialect=dialect))

    def parent(self, column: str) -> Plan | None:
        """Return the plan of the table that a column refers to, if rows of that are numbered."""
        found = _refers(self.table.c[column])
        if found is None or found.name not in self.parents:
            return None
        plan = self.parents[found.name]
        return None if plan.compared.key == tuple(one.name for one in found.primary_key) else plan

    def find(self, connection: Connection, key: Sequence[Any]) -> Any:
        """Return the id of the row that a key names; NoResultFound where there is none."""
        same = [column == value for column, value in zip(self._named, key, strict=True)]
        return connection.execute(select(*self._row).select_from(self._from).where(*same)).scalar_one()

    def meant(self, one: Difference, column: str) -> tuple[Any, ...]:
        """Return what names the row that a foreign key of a difference means, as the events say."""
        if column not in self.compared.key:
            return tuple((one.journal or {})[column])
        before = self.compared.key[: self.compared.key.index(column)]
        at = sum(self._widths[name] for name in before)
        return one.key[at : at + self._widths[column]]

    def differences(self, here: Connection, journal: Connection) -> Generator[Difference, None, None]:
        """Yield what differs, in the order of keys. Nothing may be written before the generator is closed."""
        with closing(self._read(here)) as ours, closing(self._read(journal)) as theirs:
            yield from self._merged(ours, theirs)

    def _merged(self, ours: Iterator[tuple[Any, ...]], theirs: Iterator[tuple[Any, ...]]) -> Iterator[Difference]:
        row, wanted = next(ours, None), next(theirs, None)
        keys, end = self._split
        while row is not None or wanted is not None:
            if row is not None and wanted is not None and row[:end] == wanted[:end]:
                row, wanted = next(ours, None), next(theirs, None)
                continue
            side = _compare(None if row is None else row[:keys], None if wanted is None else wanted[:keys])
            yield self._difference(row if side <= 0 else None, wanted if side >= 0 else None)
            row = next(ours, None) if side <= 0 else row
            wanted = next(theirs, None) if side >= 0 else wanted

    def _read(self, connection: Connection) -> Generator[tuple[Any, ...], None, None]:
        # By the driver alone: what somebody wrote into a column of another kind comes as it is, and is a difference.
        statement = self.statement(connection.dialect)
        options = {"stream_results": True, "max_row_buffer": PIECE}
        with any_text(connection), closing(connection.exec_driver_sql(statement, execution_options=options)) as result:
            for piece in result.partitions(PIECE):
                yield from map(tuple, piece)

    def _difference(self, row: tuple[Any, ...] | None, wanted: tuple[Any, ...] | None) -> Difference:
        keys, end = self._split
        here, journal = self._by_column(row), self._by_column(wanted)
        if here is not None and journal is not None:
            differing = [name for name in here if here[name] != journal[name]]
            here, journal = ({name: one[name] for name in differing} for one in (here, journal))
        either = row if row is not None else wanted
        assert either is not None
        return Difference(self.table.name, either[:keys], here, journal, (row or ())[end:], (wanted or ())[end:])

    def _by_column(self, row: tuple[Any, ...] | None) -> dict[str, Any] | None:
        if row is None:
            return None
        at, found = self._split[0], {}
        for name in self.compared.values:
            width = self._widths[name]
            found[name] = row[at] if self.parent(name) is None else row[at : at + width]
            at += width
        return found

    def _expand(self, columns: Sequence[str]) -> list[ColumnElement[Any]]:
        """Return the columns, and in the place of a foreign key the columns that name the row it means."""
        found: list[ColumnElement[Any]] = []
        for name in columns:
            parent = self.parent(name)
            meant = [self.table.c[name]] if parent is None else self._follow(self.table.c[name], parent)
            self._widths[name] = len(meant)
            found += meant
        return found

    def _follow(self, column: ColumnElement[Any], parent: Plan) -> list[ColumnElement[Any]]:
        """Join what a foreign key means; a row whose parent is gone has NULLs there, and is not left out."""
        target = parent.table.alias(f"{parent.table.name}_{next(self._joined)}")
        (identity,) = target.primary_key
        self._from = self._from.outerjoin(target, identity == column)
        found: list[ColumnElement[Any]] = []
        for name in parent.compared.key:
            above = parent.parent(name)
            found += [target.c[name]] if above is None else self._follow(target.c[name], above)
        return found


def plans(compared: Sequence[Compared]) -> list[Plan]:
    """Return how tables are compared; those that a table refers to stand before it."""
    made: dict[str, Plan] = {}
    for one in compared:
        made[one.table.name] = Plan(one, dict(made))
    return list(made.values())


def _refers(column: Column[Any]) -> Table | None:
    """Return the table that a column refers to."""
    return next((one.column.table for one in column.foreign_keys), None)


def _ordered(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """Order text by code points: SQLite does, and PostgreSQL does by this collation, whatever the database's own."""
    return collate(column, "C") if dialect == "postgresql" and isinstance(column.type, Text) else column


def _compare(ours: tuple[Any, ...] | None, theirs: tuple[Any, ...] | None) -> int:
    """Say which key comes first: -1, 0 or 1; a side that has ended comes last."""
    if ours == theirs:
        return 0
    if ours is None or theirs is None:
        return 1 if ours is None else -1
    return -1 if [_rank(one) for one in ours] < [_rank(one) for one in theirs] else 1


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, str):
        return 2, raw_text(value)  # in the order of code points, and where there is no text, of bytes
    kinds: tuple[tuple[type | tuple[type, ...], int], ...] = (((int, float), 1), (bytes, 3))
    return next(((rank, value) for kind, rank in kinds if isinstance(value, kind)), (0, 0))
