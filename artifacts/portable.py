"""Whether a path of a manifest can be written on a platform: a pure function of the path and the platform.

Knows the naming rules of POSIX disks, macOS and Windows; must not look at any disk. Windows' rules are those of
https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

from .entry import shown

__all__ = ["LONGEST_PART", "Platform", "Twins", "why_unwritable"]

Platform = Literal["posix", "macos", "windows"]
LONGEST_PART = 255  # bytes on POSIX and macOS, UTF-16 units on Windows
_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?", re.IGNORECASE | re.DOTALL
)
_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')


def why_unwritable(path: str, platform: Platform) -> str | None:
    """Say why a platform cannot hold a path under its own name; None where it can.

    >>> why_unwritable("logs/con.txt", "windows")
    "'con.txt' is a device on Windows"
    """
    for part in path.split("/"):
        if platform == "windows":
            if forbidden := _FORBIDDEN.search(part):
                return f"{shown(part)} holds {forbidden[0]!r}, which Windows gives another meaning"
            if _DEVICE.fullmatch(part):
                return f"{shown(part)} is a device on Windows"
            if part[-1] in ". ":
                return f"{shown(part)} ends with {part[-1]!r}, which Windows drops"
            size = len(part.encode("utf-16-le")) // 2
        else:
            size = len(part.encode())
        if size > LONGEST_PART:
            return f"{shown(part)} is {size} long; at most {LONGEST_PART} fit in a name here"
    return None


class Twins:
    """Finds paths that fall together on a platform that folds case or normal forms. Feed every path once."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._seen: dict[str, str] = {}  # folded path of a file or folder → as it was first

    def feed(self, path: str) -> tuple[str, str] | None:
        """Return two names that would be one, if this path completes such a pair."""
        if self._platform == "posix":
            return None
        for whole in _prefixes(path):
            first = self._seen.setdefault(self._fold(whole), whole)
            if first != whole:
                return first, whole
        return None

    def _fold(self, text: str) -> str:
        if self._platform == "macos":
            return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
        return "".join([up if len(up := char.upper()) == 1 else char for char in text])  # Windows has no longer ones


def _prefixes(path: str) -> Iterable[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path
