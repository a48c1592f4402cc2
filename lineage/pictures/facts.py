"""What is known of a version, a run or an external source, in the words and order of a page's details.

Knows records; must not know pages. Pure. Texts are escaped like all that is shown; one that is very long is cut, and
says so.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...artifacts.ref import LATEST
from ...storage.digest import Digest
from ..columns import escape
from ..graph import EXTERNAL, RUN
from ..printing import print_duration, print_size
from ..runs import RunRecord, iso_time

if TYPE_CHECKING:
    from ...artifacts.records import ExternalRecord, VersionRecord

__all__ = ["CODE", "TEXT", "Fact", "facts", "members", "words"]

TEXT, CODE = "text", "code"  # how a fact is set
LONGEST = 4000  # characters of one fact
MEMBERS = 50  # of a fold that are named


class Fact(NamedTuple):
    """One line of the details: a name, the text, and how it is set."""

    name: str
    text: str
    form: str = TEXT


def facts(kind: str, record: Any) -> list[Fact]:
    """Return what is known of a node of a lineage graph; what is empty is left out."""
    known = _of_run(record) if kind == RUN else _of_external(record) if kind == EXTERNAL else _of_version(record)
    return [one._replace(text=_bounded(one.text)) for one in known if one.text]


def words(kind: str, record: Any) -> str:
    """Return what a search finds a node by: names, aliases, tags, ids, digests and commits, in small letters."""
    if kind == RUN:
        found = [record.id, record.name, record.job_type, record.group, record.commit, record.project, *record.tags]
    elif kind == EXTERNAL:
        found = [record.url]
    else:
        digest = str(Digest(record.digest))
        found = [record.ref, record.type, *record.aliases, *record.tags, digest, record.description]
    return escape(" ".join(one for one in found if one)).lower()


def members(names: list[str]) -> Fact:
    """Return the fact that names what a box stands for."""
    shown = [escape(name) for name in names[:MEMBERS]]
    if len(names) > MEMBERS:
        shown.append(f"and {len(names) - MEMBERS:,} more")
    return Fact("stands for", "\n".join(shown), CODE)


def _of_version(one: VersionRecord) -> Iterator[Fact]:
    yield Fact("ref", one.ref, CODE)
    yield Fact("type", one.type)
    yield Fact("state", "" if one.state == "live" else one.state)
    yield Fact("aliases", ", ".join(alias for alias in one.aliases if alias != LATEST))
    yield Fact("latest", "yes" if LATEST in one.aliases else "")
    yield Fact("tags", ", ".join(one.tags))
    yield Fact("size", f"{print_size(one.size)} ({one.size:,} bytes)" if one.size >= 1024 else print_size(one.size))
    yield Fact("files", f"{one.file_count:,}")
    yield Fact("created", _when(one.created))
    yield Fact("by", one.actor)
    yield Fact("deleted", _when(one.deleted))
    yield Fact("about", one.description or "")
    yield Fact("metadata", _json(one.metadata), CODE)
    yield Fact("digest", str(Digest(one.digest)), CODE)
    if one.state == "live":
        yield Fact("get", f"art get {shlex.quote(one.ref)}", CODE)


def _of_run(one: RunRecord) -> Iterator[Fact]:
    git = one.code.get("git")
    git = git if isinstance(git, dict) else {}
    yield Fact("run", one.id, CODE)
    yield Fact("name", one.name if one.name != one.id else "")
    yield Fact("job type", one.job_type or "")
    yield Fact("project", one.project)
    yield Fact("state", one.state + (f", exit code {one.exit_code}" if one.exit_code else ""))
    yield Fact("started", _when(one.created))
    yield Fact("took", "" if one.duration is None else print_duration(one.duration))
    yield Fact("by", one.actor)
    yield Fact("group", one.group or "")
    yield Fact("tags", ", ".join(one.tags))
    yield Fact("notes", one.notes or "")
    yield Fact("commit", "" if one.commit is None else one.commit + " and changes not committed" * one.dirty, CODE)
    yield Fact("branch", _said(git, "branch"))
    yield Fact("remote", _said(git, "remote"))
    yield Fact("command", _command(one.code.get("command")), CODE)
    yield Fact("config", _json(one.config), CODE)
    yield Fact("summary", _json(one.summary), CODE)
    yield Fact("host", _said(one.environment, "host"))
    yield Fact("python", _said(one.environment, "python"))


def _of_external(one: ExternalRecord) -> Iterator[Fact]:
    yield Fact("url", one.url, CODE)
    yield Fact("objects", f"{one.objects:,}")
    yield Fact("size", f"{print_size(one.size)} ({one.size:,} bytes)" if one.size >= 1024 else print_size(one.size))


def _said(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _command(command: Any) -> str:
    if isinstance(command, list):
        return shlex.join(str(one) for one in command)
    return command if isinstance(command, str) else ""


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True, default=str) if values else ""


def _when(at: int | None) -> str:
    said = iso_time(at)
    return "" if said is None else said[:19].replace("T", " ") + " UTC"


def _bounded(text: str) -> str:
    """Return text in which lines are lines and nothing else acts on a reader, of bounded length."""
    more = len(text) - LONGEST
    shown = "\n".join(escape(line) for line in text[:LONGEST].split("\n"))
    return f"{shown}\n… {more:,} more characters" if more > 0 else shown
