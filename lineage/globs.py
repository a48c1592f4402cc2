"""Names in selectors: one version by its ref, or all that a name with globs stands for.

Knows the grammar of refs, and adds `*` and `?` to it; must not know what exists. Globs match names without regard to
case, as names conflict, and version numbers as they are written (`v*`, `v1?`); a `*` for the project stands for
`team/project`, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate

from ..artifacts.ref import Ref, fold_name
from ..storage.errors import InvalidName

__all__ = ["GLOB", "Many", "One", "matcher", "read_name"]

LONGEST = 128
GLOB = re.compile(r"[*?]")
_NAME = re.compile(r"[A-Za-z0-9_.*?-]+")
_NUMBERS = re.compile(r"[v0-9*?]+")


@dataclass(frozen=True, slots=True)
class One:
    """One version, by number, alias, digest or what an alias meant at a time."""

    ref: Ref

    def __str__(self) -> str:
        return str(self.ref)


@dataclass(frozen=True, slots=True)
class Many:
    """All versions whose collection and number fit; `project` None is the one that bare names are of."""

    project: str | None
    name: str
    version: str | None = None  # None: all

    def __str__(self) -> str:
        text = self.name if self.project is None else f"{self.project}/{self.name}"
        return text if self.version is None else f"{text}:{self.version}"

    @property
    def collection(self) -> Ref | None:
        """The one collection that is meant; None where a glob may mean several."""
        if GLOB.search(self.name) or GLOB.search(self.project or ""):
            return None
        return Ref(self.project, self.name)


def read_name(text: str) -> One | Many:
    """Read a name as it stands in a selector; InvalidName says which rule it breaks.

    >>> read_name("model:v7"), read_name("*/model:v*")  # doctest: +ELLIPSIS
    (One(ref=Ref(project=None, name='model', version=7, ...)), Many(project='*', name='model', version='v*'))
    """
    if not GLOB.search(text):
        ref = Ref.parse(text)
        if ref.path is not None:
            raise InvalidName(f"{text!r} names an entry; selectors are about whole versions")
        everything = ref.version is None and ref.alias is None and ref.digest is None and ref.at is None
        return Many(ref.project, ref.name) if everything else One(ref)
    head, colon, version = text.partition(":")
    project, slash, name = head.rpartition("/")
    for part in (*project.split("/"), name) if slash else (name,):
        _check_part(text, part)
    if project.count("/") > 1:
        raise InvalidName(f"{text!r}: a project has at most one '/' (team/project)")
    if colon:
        _check_version(text, version)
    return Many(project if slash else None, name, version if colon else None)


def _check_part(text: str, part: str) -> None:
    if not GLOB.search(part):
        Ref(None, part)
    elif not _NAME.fullmatch(part) or len(part) > LONGEST or part[0] in "-.":
        raise InvalidName(f"{text!r}: a name has letters, digits, '_', '-' and '.', and here '*' and '?'")


def _check_version(text: str, version: str) -> None:
    if GLOB.search(version):
        if not _NUMBERS.fullmatch(version):
            raise InvalidName(f"{text!r}: a glob behind ':' is over version numbers (v*); an alias is alias=…")
    elif Ref.parse(f"x:{version}").version is None:
        raise InvalidName(f"{text!r}: an alias is of one collection; write {text.partition(':')[0]} and alias=…")


def matcher(pattern: str) -> re.Pattern[str]:
    """Return what fully matches the folded names that a glob means.

    >>> bool(matcher("Model-?").fullmatch("model-7")), bool(matcher("model").fullmatch("models"))
    (True, False)
    """
    return re.compile(translate(fold_name(pattern)))  # which matches in linear time, whatever the pattern
