"""The texts that runs keep in chunks, compared: lists of packages, and patches of what was not committed.

Knows both forms of text; must not know runs or where chunks are kept. Pure but for `Texts`, which is handed a function
that gets chunks; what is lost or damaged is said and passed over, since the rest of an answer is worth having.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any, NamedTuple

from ...artifacts.nested import ABSENT
from ...storage.digest import Digest
from ...storage.errors import IntegrityError, InvalidInput, InvalidName, NotFound

__all__ = ["PatchedFile", "Texts", "changed_packages", "patch_lines", "patched_files"]

LINES = 3_000  # of one file's patch, past which two are shown whole and not line by line
_NAME = re.compile(r"[-_.]+")
_FILE = re.compile(rb"^(?=diff --git )", re.MULTILINE)
_SIDES = re.compile(r'diff --git (?:"?a/.*"?) (?:"b/(?P<quoted>.*)"|b/(?P<plain>.*))')
_HASHES = re.compile(r"^index [0-9a-f]+\.\.[0-9a-f]+( [0-7]+)?$")


class PatchedFile(NamedTuple):
    """One file whose uncommitted changes differ: the patch on either side, None where the file was not changed."""

    path: str
    old: str | None
    new: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {"path": self.path, "old": self.old, "new": self.new}


class Texts:
    """Texts by the chunks that hold them: lists of printed digests, to be joined in their order.

    `get` returns chunks by digest, and raises where one is lost or damaged. What was not to be had is in `lost`.
    """

    def __init__(self, get: Callable[[Sequence[bytes]], Mapping[bytes, bytes]]) -> None:
        self._get = get
        self._known: dict[tuple[str, ...], bytes] = {}
        self.lost: dict[tuple[str, ...], str] = {}

    def fetch(self, named: Sequence[Any]) -> None:
        """Get some texts at once, and forget those got before; what names no text is passed over."""
        wanted = dict.fromkeys(key for one in named if (key := _key(one)))
        self._known = {key: text for key, text in self._known.items() if key in wanted}
        missing = [key for key in wanted if key not in self._known and key not in self.lost]
        try:
            self._known.update(self._read(missing))
        except _TROUBLE:
            for key in missing:  # one by one, so that only what is wrong is left out
                try:
                    self._known.update(self._read([key]))
                except _TROUBLE as error:
                    self.lost[key] = str(error)

    def text(self, named: Any) -> bytes | None:
        """Return a text that was fetched; nothing for ABSENT, None for what is lost."""
        return b"" if named is ABSENT else self._known.get(_key(named))

    def trouble(self, named: Any) -> str | None:
        """Return what is wrong with a text."""
        if named is ABSENT or self.text(named) is not None:
            return None
        return self.lost.get(_key(named), "its digests are not digests")

    def _read(self, keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], bytes]:
        digests = {key: [bytes(Digest.parse(one)) for one in key] for key in keys}
        chunks = self._get(list(dict.fromkeys(one for ones in digests.values() for one in ones)))
        return {key: b"".join(chunks[one] for one in ones) for key, ones in digests.items()}


_TROUBLE = (IntegrityError, NotFound, InvalidInput, InvalidName, ValueError)


def _key(named: Any) -> tuple[str, ...]:
    """Return the digests that name a text; none where something else stands in their place."""
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        return ()
    return tuple(named)


def changed_packages(old: bytes, new: bytes) -> list[tuple[str, Any, Any]]:
    r"""Return name, old and new version of the packages that differ, by name; ABSENT where one is not installed.

    Names that differ by case, dashes and underscores are one package.

    >>> changed_packages(b"numpy==1.26\ntorch==2.1\n", b"Torch==2.2\nnumpy==1.26\n")
    [('Torch', '2.1', '2.2')]
    """
    before, after = _packages(old), _packages(new)
    found = []
    for key in sorted({*before, *after}):
        name = (after.get(key) or before[key])[0]
        was, now = (side[key][1] if key in side else ABSENT for side in (before, after))
        if was != now:
            found.append((name, was, now))
    return found


def _packages(text: bytes) -> dict[str, tuple[str, str]]:
    """Return name and version by the normal form of the name; of one that is there twice, both versions."""
    found: dict[str, tuple[str, str]] = {}
    for line in text.decode(errors="backslashreplace").splitlines():
        name, _, version = line.partition("==")
        if name:
            key = _NAME.sub("-", name).lower()
            found[key] = (name, f"{found[key][1]}, {version}" if key in found else version)
    return found


def patched_files(old: bytes, new: bytes) -> list[PatchedFile]:
    """Return the files whose patches differ, by path; where only the base of a patch differs, it does not."""
    before, after = _sections(old), _sections(new)
    found = []
    for path in sorted({*before, *after}):
        was, now = before.get(path), after.get(path)
        if (None if was is None else _bare(was)) != (None if now is None else _bare(now)):
            found.append(PatchedFile(path, was, now))
    return found


def _sections(patch: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in _FILE.split(patch):
        if part:
            text = part.decode(errors="backslashreplace")
            head = text.partition("\n")[0]
            sides = _SIDES.fullmatch(head)
            path = head if sides is None else sides["quoted"] or sides["plain"] or head
            found[path] = found.get(path, "") + text
    return found


def _bare(section: str) -> list[str]:
    """Return a patch without the names that git gives to the states before and after."""
    return [line for line in section.splitlines() if not _HASHES.match(line)]


def patch_lines(one: PatchedFile) -> Iterator[str]:
    """Yield the lines that show how two patches of one file differ: line by line, or whole where that is simpler."""
    if one.old is None or one.new is None:
        yield f"only {'new' if one.old is None else 'old'}: {one.path}"
        yield from (one.new or one.old or "").splitlines()
        return
    old, new = _bare(one.old), _bare(one.new)
    if max(len(old), len(new)) > LINES:
        yield f"old: {one.path} (too long to be compared line by line)"
        yield from old
        yield f"new: {one.path}"
        yield from new
        return
    yield from unified_diff(old, new, f"old: {one.path}", f"new: {one.path}", lineterm="")
