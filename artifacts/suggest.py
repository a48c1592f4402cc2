"""What to say when a ref means nothing: the nearest names, the aliases, the last versions.

Knows the rows it lists; makes errors and raises none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from sqlalchemy import Connection, func, select

from ..storage.errors import NotFound
from . import tables
from .ref import LATEST, Ref, fold_name

__all__ = ["absent_collection", "absent_version", "near_aliases"]

SHOWN = 5
SLIP = 0.8  # how alike two names are of which one may be a slip of the keyboard
_DIGIT = re.compile("[0-9]")
_project, _collection, _version, _alias = tables.project, tables.collection, tables.version, tables.alias


def absent_collection(connection: Connection, ref: Ref, project: str, elsewhere: Sequence[str]) -> NotFound:
    """Say that a collection does not exist, and which do."""
    where = ref.project or project
    if elsewhere and ref.project is None:
        return NotFound(
            f"{ref.name} is not in project {where}, but in {', '.join(sorted(elsewhere))}; write PROJECT/{ref.name}"
        )
    owner = connection.execute(select(_project.c.id).where(_project.c.key == fold_name(where))).scalar_one_or_none()
    if owner is None:
        projects = list(connection.execute(select(_project.c.name).order_by(_project.c.name)).scalars())
        known = (
            f"projects here: {_some(projects, where)}"
            if projects
            else "the store is empty; `art log PATH NAME` fills it"
        )
        return NotFound(f"{where}/{ref.name} not found: there is no project {where!r}; {known}")
    names = list(connection.execute(select(_collection.c.name).where(_collection.c.project == owner)).scalars())
    known = f"{where} has {_some(names, ref.name)}" if names else f"project {where} has no collections"
    return NotFound(f"{where}/{ref.name} not found; {known}")


def absent_version(connection: Connection, collection: int, ref: Ref) -> NotFound:
    """Say that a collection has no such version, and which versions and aliases it has."""
    name = connection.execute(select(_collection.c.name).where(_collection.c.id == collection)).scalar_one()
    ends = select(func.min(_version.c.number), func.max(_version.c.number))
    first, last = connection.execute(ends.where(_version.c.collection == collection, _version.c.state == "live")).one()
    joined = select(_alias.c.name, _version.c.number).join(_version, _version.c.id == _alias.c.version)
    aliases = connection.execute(joined.where(_alias.c.collection == collection).order_by(_alias.c.name)).all()
    asked = (
        f"{name}:v{ref.version}"
        if ref.version is not None
        else f"{name}@b3:{ref.digest}"
        if ref.digest
        else f"{name}:{ref.alias or LATEST}"
    )
    when = " at that time" if ref.at is not None else ""
    if first is None:
        return NotFound(f"{asked} not found{when}; {name} has no versions")
    span = f"v{first}" if first == last else f"v{first} to v{last}"
    close = get_close_matches(ref.alias or "", [row.name for row in aliases], n=SHOWN, cutoff=0.5)
    shown = sorted(aliases, key=lambda row: (row.name != LATEST, row.name not in close, row.name))[: 2 * SHOWN]
    rest = f" and {len(aliases) - len(shown)} more" if len(aliases) > len(shown) else ""
    meant = ", ".join(f"{row.name} → v{row.number}" for row in shown) + rest
    return NotFound(f"{asked} not found{when}; {name} has {span}" + (f" ({meant})" if meant else ""))


def near_aliases(connection: Connection, version: int, alias: str) -> list[tuple[str, int]]:
    """Return the other aliases of a version's collection that an alias may be a slip for, and what each means.

    Those with other digits are meant: `epoch-9` beside `epoch-8`.
    """
    same = select(_version.c.collection).where(_version.c.id == version).scalar_subquery()
    wanted = select(_alias.c.key, _alias.c.name, _version.c.number).join(_version, _version.c.id == _alias.c.version)
    others = wanted.where(_alias.c.collection == same, _alias.c.key.not_in([fold_name(alias), LATEST]))
    digits = _DIGIT.findall(alias)
    found = {row.key: (row.name, row.number) for row in connection.execute(others) if _DIGIT.findall(row.key) == digits}
    return [found[one] for one in get_close_matches(fold_name(alias), found, n=SHOWN, cutoff=SLIP)]


def _some(names: Sequence[str], near: str) -> str:
    """List the nearest names first, and say how many are left out."""
    close = get_close_matches(near, names, n=SHOWN, cutoff=0.5)
    listed = [*close, *(one for one in sorted(names) if one not in close)]
    rest = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
