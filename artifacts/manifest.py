"""Manifests: immutable trees of entries, made of pages that are named by their digests.

The public face of the part; it must not know where pages are kept: everything here is pure over "get pages by digest"
and "put a page". Format: docs/format.md, "Manifest".

- `build(entries, put)` makes a manifest of sorted entries, `edit(root, changes, get, put)` another one from it;
  `overlay(old, removed, new)` gives the entries of that one where the changes are more than memory should hold.
- `Manifest(root, get)` reads one: `walk`, `lookup`, `children`, `pages`.
- `diff(a, b)` yields what differs, `renames(changes)` pairs what only moved.
"""

from __future__ import annotations

from .entry import EXTERNAL, FILE, Entry, External
from .manifest_build import Root, build
from .manifest_diff import Change, Rename, diff, renames
from .manifest_edit import edit, overlay
from .manifest_page import GetPages, PutPage
from .manifest_read import Folder, Manifest

__all__ = [
    "EXTERNAL",
    "FILE",
    "Change",
    "Entry",
    "External",
    "Folder",
    "GetPages",
    "Manifest",
    "PutPage",
    "Rename",
    "Root",
    "build",
    "diff",
    "edit",
    "overlay",
    "renames",
]
