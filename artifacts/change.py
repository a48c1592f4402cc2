"""What somebody changed of a version, and how it goes together with what others changed meanwhile.

Knows records; must not know rows or transactions. Pure: whoever holds the version's row asks what is to be written.
Values are compared as JSON text, in which 1, 1.0 and true are three.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..storage.errors import Conflict
from .metadata import Metadata, encode_json
from .ref import LATEST, fold_name

if TYPE_CHECKING:
    from .records import VersionRecord

__all__ = ["Change", "Edit", "Names"]

LONGEST = 60  # characters of a value in a message
NAMED = 3  # values that a message names
ALONE = ""  # the key of a description


class Edit(NamedTuple):
    """A value that somebody changed, as JSON text before and after; None where there was none, or is to be none."""

    before: str | None
    after: str | None


class _Clash(NamedTuple):
    key: str
    there: str
    here: str


class Names(NamedTuple):
    """Names to give and names to take away; two that differ only by case are one."""

    given: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Iterable[str], now: Iterable[str], spare: str = "") -> Self:
        """Return what leads from one set of names to another; `spare` is never taken away."""
        old, new = {fold_name(one): one for one in before}, {fold_name(one): one for one in now}
        return cls(
            tuple(one for key, one in new.items() if key not in old),
            tuple(one for key, one in old.items() if key not in new and one != spare),
        )


class Change(NamedTuple):
    """What somebody changed of a version: only that, so that what others changed meanwhile stands.

    Metadata goes by its keys at the top: a value with all that is in it is one.
    """

    description: Edit | None
    metadata: Mapping[str, Edit]
    tags: Names
    aliases: Names

    def __bool__(self) -> bool:
        return bool(self.description or self.metadata or any(self.tags) or any(self.aliases))

    @classmethod
    def between(
        cls,
        record: VersionRecord,
        description: str | None,
        metadata: Mapping[str, Any],
        tags: Iterable[str],
        aliases: Iterable[str],
    ) -> Self:
        """Return what leads from a record to other words and names; InvalidInput for metadata that is not JSON."""
        words = _edits(_alone(record.description), _alone(description))
        values = _edits(record.metadata, Metadata(metadata))  # what was changed within a value is checked now
        names = Names.between(record.tags, tags), Names.between(record.aliases, aliases, spare=LATEST)
        return cls(words.get(ALONE), values, *names)

    def words(self, current: VersionRecord) -> dict[str, Any]:
        """Return what is to be another in a version as it is now: of `description` and `metadata`, the latter whole.

        Raises Conflict where somebody gave what is changed here another value meanwhile, and InvalidInput where all of
        the metadata together are too much.
        """
        about = {} if self.description is None else {ALONE: self.description}
        description, clashes = _apply(about, _alone(current.description))
        metadata, more = _apply(self.metadata, current.metadata)
        told = [f"the description is {one.there} there and {one.here} here" for one in clashes]
        told += [f"metadata {_cut(repr(one.key))} is {one.there} there and {one.here} here" for one in more]
        if told:
            left = f", and {len(told) - NAMED:,} more" if len(told) > NAMED else ""
            raise Conflict(
                f"{current.ref} was changed meanwhile: {'; '.join(told[:NAMED])}{left}; nothing was saved: look the"
                " version up again, set what is to stand, and save that"
            )
        changed: dict[str, Any] = {}
        if description is not None:
            changed["description"] = description.get(ALONE)
        if metadata is not None:
            encode_json(metadata)  # each part of it fitted
            changed["metadata"] = metadata
        return changed


def _alone(value: str | None) -> dict[str, Any]:
    """Return one value as a mapping, as whose only one it can be told apart from none."""
    return {} if value is None else {ALONE: value}


def _edits(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Edit]:
    """Return the values that differ, those that are gone among them."""
    old, new = ({key: encode_json(value) for key, value in one.items()} for one in (before, now))
    return {key: Edit(old.get(key), new.get(key)) for key in {**new, **old} if old.get(key) != new.get(key)}


def _apply(edits: Mapping[str, Edit], current: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[_Clash]]:
    """Return values as they are now with edits made, None where that changes nothing; and what others changed, too."""
    made, changed, clashes = dict(current), False, []
    for key, edit in edits.items():
        there = encode_json(current[key]) if key in current else None
        if there == edit.after:
            continue
        if there != edit.before:
            clashes.append(_Clash(key, _shown(there), _shown(edit.after)))
            continue
        changed = True
        if edit.after is None:
            del made[key]
        else:
            made[key] = json.loads(edit.after)
    return (made if changed else None), clashes


def _shown(text: str | None) -> str:
    return "absent" if text is None else _cut(repr(json.loads(text)))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
