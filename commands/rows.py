"""What a check of the database's rows found, as it is printed, and what to do about what a check found.

Knows reports; must not know how rows are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..display import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..artifacts.inspect import StoreReport
    from ..storage.rows_check import RowReport, WrongRow

__all__ = ["advice", "row_json", "rows_json"]


def rows_json(found: RowReport | None) -> dict[str, object] | None:
    """Return what `--json` prints of the rows; None where they were not compared."""
    if found is None:
        return None
    return {
        "events": found.seq,
        "wrong": [row_json(one) for one in found.wrong],
        "more": found.more,
        "tables": dict(found.counts),
    }


def row_json(one: WrongRow) -> dict[str, object]:
    """Return what `--json` prints of a row that is not what the journal says."""
    return {
        "table": one.table,
        "thing": one.thing,
        "what": one.what,
        "database": _values(one.here),
        "journal": _values(one.journal),
        "since": iso(one.since),
        "actor": one.actor,
    }


def advice(report: StoreReport, *, read_data: bool) -> str:
    """Say what to do about what a check found: what follows the count of problems, or nothing."""
    from ..storage.check_journal import ANOTHER

    if any(one.where == "journal" and one.what.endswith(ANOTHER) for one in report.problems):
        return (
            "; journal and database tell two stories: if the journal's is right, move the database away, and "
            "`art repair database` makes a new one"
        )
    rows = {one.thing for one in report.rows.wrong} if report.rows is not None else set()
    parts = ["`art repair database` makes the database what the journal says"] if rows else []
    others = [one.where for one in report.problems if one.where not in rows and not one.where.startswith("alias ")]
    if any("/" in where for where in others):  # a pack, or a version's file
        command = "art repair index --read-data" if read_data else "art repair index"
        parts.append(f"`{command}` mends what it can, and logging the good files again the rest")
    return "".join(f"; {part}" for part in parts)


def _values(row: Mapping[str, Any] | None) -> dict[str, object] | None:
    return None if row is None else {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> object:
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    return value.hex() if isinstance(value, bytes) else value
