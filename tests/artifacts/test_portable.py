from __future__ import annotations

import msgspec
import pytest

from lineart.artifacts.download import LONGEST_PATH, require_writable
from lineart.artifacts.entry import Entry, External
from lineart.artifacts.portable import Twins, why_unwritable
from lineart.storage.errors import InvalidName

ALL = ("posix", "macos", "windows")

ONLY_WINDOWS_REFUSES = [
    "C:\\x",
    "C:x",
    "..\\x",
    "a\\b",
    "CON",
    "con",
    "sub/NUL",
    "aux.txt",
    "com1",
    "COM9.tar.gz",
    "lpt\u00b9",
    "prn .x",
    "CONIN$",
    "conout$",
    "a.",
    "a ",
    "a./b",
    "dir /b",
    "...",
    "a<b",
    "a>b",
    'a"b',
    "a|b",
    "a?b",
    "a*b",
    "tab\there",
    "line\nfeed",
    "\x01",
    "file:stream",
]

FINE_EVERYWHERE = [
    "a",
    "a/b/c.txt",
    "%2e%2e/x",
    ".hidden",
    "..a",
    "a..b",
    "console",
    "con1",
    "xcon",
    "com",
    "comX",
    "lpt10",
    "nul-1",
    "aux_",
    " a",
    "ä/ö",
    "\u65e5\u672c",
    "a'b",
    "~",
    "$HOME",
    "x" * 255,
]


@pytest.mark.parametrize("path", ONLY_WINDOWS_REFUSES)
def test_what_means_something_else_to_windows(path):
    assert why_unwritable(path, "windows")
    assert why_unwritable(path, "posix") is None
    assert why_unwritable(path, "macos") is None


@pytest.mark.parametrize("platform", ALL)
@pytest.mark.parametrize("path", FINE_EVERYWHERE)
def test_what_every_platform_can_hold(path, platform):
    assert why_unwritable(path, platform) is None


@pytest.mark.parametrize("platform", ALL)
def test_names_of_300_bytes_fit_nowhere(platform):
    assert "at most 255" in why_unwritable("x" * 300, platform)
    assert "at most 255" in why_unwritable(f"a/{'x' * 256}/b", platform)


def test_a_name_is_measured_as_the_platform_does():
    assert why_unwritable("ä" * 128, "posix")  # 256 bytes
    assert why_unwritable("ä" * 128, "macos")
    assert why_unwritable("ä" * 255, "windows") is None
    assert why_unwritable("\U0001f600" * 128, "windows")  # 256 units of UTF-16


def test_messages_show_what_cannot_be_printed_escaped():
    message = why_unwritable("a\x1b[2Jb", "windows")
    assert message.isprintable()


def feed(platform, *paths):
    twins = Twins(platform)
    return [pair for pair in map(twins.feed, paths) if pair is not None]


TWINS = [
    (("A", "a"), {"macos", "windows"}),
    (("README.md", "readme.MD"), {"macos", "windows"}),
    (("D/x", "d/y"), {"macos", "windows"}),
    (("A/x", "a"), {"macos", "windows"}),
    (("\u00e4", "a\u0308"), {"macos"}),
    (("\u00c4", "a\u0308"), {"macos"}),
    (("\u00c4", "\u00e4"), {"macos", "windows"}),
    (("\u00df", "SS"), {"macos"}),
    (("\ufb01", "fi"), {"macos"}),
    (("a", "b"), set()),
    (("d/a", "d/b", "e/a"), set()),
    (("a", "a.b", "a-b"), set()),
]


@pytest.mark.parametrize(("paths", "fall_together"), TWINS)
@pytest.mark.parametrize("platform", ALL)
def test_names_that_would_be_one(platform, paths, fall_together):
    assert bool(feed(platform, *paths)) == (platform in fall_together)
    assert bool(feed(platform, *reversed(paths))) == (platform in fall_together)


def test_twins_are_named():
    assert feed("windows", "Data/a", "data/b") == [("Data", "data")]


def entry(path, **other):
    return Entry(path=path, kind=0, size=1, digest=bytes(32), **other)


@pytest.mark.parametrize("platform", ALL)
def test_a_tree_is_refused_as_a_whole_naming_the_path(platform):
    with pytest.raises(InvalidName, match=r"'x+.*nothing was written"):
        require_writable([entry("fine"), entry("x" * 300)], platform)


def test_twins_of_a_tree_are_refused_naming_both():
    with pytest.raises(InvalidName, match="'A' and 'a' would be one"):
        require_writable([entry("A"), entry("a")], "macos")
    require_writable([entry("A"), entry("a")], "posix")


def test_external_entries_have_to_have_names_that_can_be_written_too():
    there = Entry(path="x", kind=1, size=1, digest=bytes(32), external=External(url="s3://bucket/x"))
    require_writable([there], "posix")
    with pytest.raises(InvalidName, match="cannot be written here"):
        require_writable([msgspec.structs.replace(there, path="con")], "windows")


@pytest.mark.parametrize("platform", ALL)
def test_a_path_has_to_fit_with_the_folders(platform):
    deep = "/".join(["d" * 200] * (LONGEST_PATH[platform] // 201))
    require_writable([entry(deep)], platform, "/")
    with pytest.raises(InvalidName, match="shorter"):
        require_writable([entry(deep)], platform, "/r" * 200)
