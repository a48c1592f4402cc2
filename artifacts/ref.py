"""The ref: how people write the address of a version or of an entry in it, and what names may look like.

Knows the grammar only; must not know what exists. A ref is `[project/]name[:version-or-alias][/path]`,
`name@b3:1f3c9a07` (a prefix of at least eight hex digits) or `name:alias@time` (what the alias meant then). A `/path`
follows only an explicit `:…` or `@…`, so `raw/train` is a name in a project. Times are RFC 3339
(https://www.rfc-editor.org/rfc/rfc3339); a date alone means its end, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self, TypeVar

from ..storage.errors import InvalidName
from .entry import check_path

__all__ = [
    "LATEST",
    "Ref",
    "check_alias",
    "check_name",
    "check_project",
    "check_tag",
    "fold_name",
    "format_time",
    "parse_time",
]

T = TypeVar("T")

LATEST = "latest"
LONGEST = 128
SHORTEST_DIGEST = 8

_WORDS = frozenset({"and", "or", "not"})  # operators of the selector grammar
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LABEL = re.compile(r"[A-Za-z0-9_.=-]+")
_TAG = re.compile(r"[A-Za-z0-9_.= -]+")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_LIKE_VERSION = re.compile(r"[vV]?([0-9]+)")
_HEX = re.compile(r"[0-9a-f]{8,64}")
_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<clock>[0-9]{2}:[0-9]{2})(?P<seconds>:[0-9]{2}(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>[Zz]| UTC|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def fold_name(text: str) -> str:
    """Return the key under which two names that differ only by case conflict."""
    return text.casefold()


def _check(what: str, text: str, allowed: re.Pattern[str], listed: str) -> None:
    if not text:
        raise InvalidName(f"{what} is empty")
    if len(text) > LONGEST:
        raise InvalidName(f"{what} {text[:20]!r}… has {len(text)} characters, at most {LONGEST} are allowed")
    good = allowed.match(text)
    length = good.end() if good else 0
    if length < len(text):
        raise InvalidName(
            f"{what} {text!r}: {text[length]!r} (character {length + 1}) is not allowed, only letters, digits, {listed}"
        )
    if text[0] in "-.":
        raise InvalidName(f"{what} {text!r} starts with {text[0]!r}")
    if text.isdigit():
        raise InvalidName(f"{what} {text!r} has digits only")
    if text.lower() in _WORDS:
        raise InvalidName(f"{what} {text!r} is a word of the selector grammar")


def check_name(what: str, text: str) -> None:
    """Raise InvalidName, with the rule that `text` breaks, unless it can name a collection, a type and the like.

    `what` begins the message: "collection name". Letters are those of ASCII: twins by Unicode normal form cannot arise.

    >>> check_name("collection name", "raw-text")
    """
    _check(what, text, _NAME, "'_', '-' and '.'")


def check_project(text: str) -> None:
    """Raise InvalidName unless `text` can name a project: one name, or two with a `/` between (`team/project`)."""
    parts = text.split("/")
    if len(parts) > 2:
        raise InvalidName(f"project {text!r} has {len(parts) - 1} '/', at most one is allowed (team/project)")
    for part in parts:
        _check("project" if len(parts) == 1 else f"project {text!r}: its part", part, _NAME, "'_', '-' and '.'")


def check_alias(text: str) -> None:
    """Raise InvalidName unless `text` can be an alias: a name, where `=` is allowed and `v3` and `V3` are not."""
    _check("alias", text, _LABEL, "'_', '-', '.' and '='")
    if _LIKE_VERSION.fullmatch(text):
        raise InvalidName(f"alias {text!r} reads as a version number")


def check_tag(text: str) -> None:
    """Raise InvalidName unless `text` can be a tag: a name, where `=` and inner spaces are allowed."""
    _check("tag", text, _TAG, "'_', '-', '.', '=' and spaces")
    if text != text.strip():
        raise InvalidName(f"tag {text!r} has a space at its start or end")


def parse_time(text: str) -> int:
    """Read an RFC 3339 time, or a date (its last microsecond, UTC), as microseconds since the epoch.

    Without a zone it is UTC; seconds may be left out, and digits past the microsecond are cut. Raises InvalidName when
    it is neither, or names no real moment.

    >>> parse_time("1970-01-01T00:00:01Z"), parse_time("1970-01-01")
    (1000000, 86399999999)
    """
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise InvalidName(f"{text!r} is not a time (expected 2026-05-01 or 2026-05-01T12:00:00Z)")
    try:
        if parts["clock"] is None:
            moment = datetime.fromisoformat(f"{parts['date']}T23:59:59.999999+00:00")
        else:
            fraction = (parts["fraction"] or "")[:6].ljust(6, "0")
            zone = parts["zone"] if parts["zone"] and parts["zone"][0] in "+-" else "+00:00"
            clock = parts["clock"] + (parts["seconds"] or ":00")[:3]
            moment = datetime.fromisoformat(f"{parts['date']}T{clock}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidName(f"{text!r} names no real moment: {error}") from None
    return (moment - _EPOCH) // _MICROSECOND


def format_time(at: int) -> str:
    """Print microseconds since the epoch as the shortest text that `parse_time` reads as the same moment."""
    moment = _EPOCH + at * _MICROSECOND
    text = moment.replace(tzinfo=None).isoformat()
    return text.removesuffix("T23:59:59.999999") if text.endswith("T23:59:59.999999") else text + "Z"


@dataclass(frozen=True, slots=True)
class Ref:
    """The address of a version, or with `path` of an entry or folder in it.

    At most one of `version`, `alias` and `digest` is set; none means the alias `latest`. `at` (microseconds since the
    epoch) goes with an alias or with none. `project` is None where the text does not say. Raises InvalidName when made
    with anything that could not be written. `str()` gives text that parses to an equal ref.

    >>> Ref.parse("digits/model:best/weights/0.bin")
    Ref(project='digits', name='model', version=None, alias='best', digest=None, at=None, path='weights/0.bin')
    >>> str(Ref.parse("model:production@2026-05-01"))
    'model:production@2026-05-01'
    """

    project: str | None
    name: str
    version: int | None = None
    alias: str | None = None
    digest: str | None = None
    at: int | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if self.project is not None:
            check_project(self.project)
        check_name("collection name", self.name)
        if (self.version is not None) + (self.alias is not None) + (self.digest is not None) > 1:
            raise InvalidName("a ref has one of version, alias and digest")
        if self.version is not None and not 0 <= self.version < 10**18:
            raise InvalidName(f"version number {self.version} is out of range")
        if self.alias is not None:
            check_alias(self.alias)
        if self.digest is not None and not _HEX.fullmatch(self.digest):
            raise InvalidName(f"digest {self.digest!r} is not {SHORTEST_DIGEST} to 64 lower-case hex digits")
        if self.at is not None and (self.version is not None or self.digest is not None):
            raise InvalidName("a time goes with an alias only: version numbers and digests never move")
        if self.path is not None:
            check_path(self.path)
            if self.version is None and self.alias is None and self.digest is None and self.at is None:
                raise InvalidName(f"path {self.path!r} needs an explicit version or alias before it")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a ref as people type it; InvalidName says which rule it breaks and at which character."""
        if "://" in text:
            raise InvalidName(f"{text!r} is a URL, not a ref ([project/]name[:version-or-alias][/path])")
        cut = next((i for i, char in enumerate(text) if char in ":@"), len(text))
        head, tail = text[:cut], text[cut:]
        project, slash, name = head.rpartition("/")
        if head.count("/") > 2:
            raise InvalidName(
                f"{text!r}: {head.count('/')} '/' before any version; a project has at most one, "
                "and a path follows only an explicit ':version' or '@digest'"
            )
        if slash:
            _at(text, 0, check_project, project)
        _at(text, len(project) + len(slash), lambda part: check_name("collection name", part), name)
        chosen, slash, path = tail.partition("/")
        if slash:
            _at(text, cut + len(chosen) + 1, check_path, path)
        version, alias, digest, at = _parse_choice(text, cut, chosen)
        return cls(project if "/" in head else None, name, version, alias, digest, at, path if slash else None)

    def __str__(self) -> str:
        text = self.name if self.project is None else f"{self.project}/{self.name}"
        if self.version is not None:
            text += f":v{self.version}"
        elif self.alias is not None:
            text += f":{self.alias}"
        elif self.digest is not None:
            text += f"@b3:{self.digest}"
        if self.at is not None:
            text += f"@{format_time(self.at)}"
        return text if self.path is None else f"{text}/{self.path}"


def _at(text: str, start: int, check: Callable[[str], T], part: str) -> T:
    try:
        return check(part)
    except InvalidName as error:
        raise InvalidName(f"{text!r}, character {start + 1}: {error}") from None


def _parse_choice(text: str, start: int, chosen: str) -> tuple[int | None, str | None, str | None, int | None]:
    """Read what stands between name and path, with its leading ':' or '@'; `start` is its place in `text`."""
    label, sign, moment = chosen.partition("@")
    place = start + len(label) + 1
    version = alias = digest = at = None
    if label:
        version, alias = _at(text, start + 1, _parse_label, label[1:])
    if sign and moment.startswith("b3:"):
        if label:
            raise InvalidName(
                f"{text!r}, character {place + 1}: a digest stands in place of ':{label[1:]}', not behind it"
            )
        digest = _at(text, place, _parse_digest, moment)
    elif sign:
        if _HEX.fullmatch(moment.lower()):
            raise InvalidName(f"{text!r}, character {place + 1}: a digest is written @b3:{moment.lower()}")
        if version is not None:
            raise InvalidName(f"{text!r}, character {place}: v{version} is the same at any time, drop '@{moment}'")
        at = _at(text, place, parse_time, moment)
    return version, alias, digest, at


def _parse_label(label: str) -> tuple[int | None, str | None]:
    if not label:
        raise InvalidName("nothing after ':' (expected a version such as v3, or an alias)")
    if label.startswith("b3:"):
        raise InvalidName(f"a digest is written with '@': @{label}")
    if number := _VERSION.fullmatch(label):
        return int(number[1]), None
    if number := _LIKE_VERSION.fullmatch(label):
        raise InvalidName(f"version {label!r} is written v{number[1].lstrip('0') or '0'}")
    check_alias(label)
    return None, label


def _parse_digest(text: str) -> str:
    digits = text.removeprefix("b3:").removesuffix("…").lower()  # the tables print "b3:1f3c9a07…"
    if not _HEX.fullmatch(digits):
        raise InvalidName(f"{text!r} is not b3: and {SHORTEST_DIGEST} to 64 hex digits")
    return digits
