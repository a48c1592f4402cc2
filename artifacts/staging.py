"""Staging: private copies of a draft's files, so that a program may overwrite its own while they are being logged.

Knows drafts, sources, and one folder of this machine; must not know stores, threads or runs. Hard links would not do: a
program that writes to its file in place would write to the link, too. Where the disk can, a copy is a clone, which
costs nothing; that is so for a source on the same disk as the folder.

Each user of the folder has a folder of its own in it and holds a lock on that for as long as it lives; what nobody
holds a lock on was left by a process that was killed, and goes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from .artifact import Artifact
from .draft import Draft
from .source import FileSource, Source, file_source, open_source, require_same

__all__ = ["Staging", "secure"]

FOLDER = "lineart-staging"
PARTS = 4096  # files to a folder
BUFFER = 1 << 22
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Staging:
    """Makes folders for copies in one folder of its own, below `cache` or where the system has its temporary files.

    A child made by fork must not use it: it would share its parent's folders.
    """

    def __init__(self, cache: Path | None) -> None:
        folder = cache if cache is not None else Path(tempfile.gettempdir())
        self._root = folder / f"{FOLDER}-{os.getuid()}"
        self._own: Path | None = None
        self._lock = -1

    def new(self) -> Path:
        """Return a new, empty folder that only this user may look into; OSError where there can be none."""
        if self._own is None:
            self._own = self._open()
        folder = self._own / uuid.uuid4().hex[:16]
        folder.mkdir(mode=0o700)
        return folder

    def close(self) -> None:
        """Remove everything; it may be used again afterwards."""
        own, self._own = self._own, None
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)
            os.close(self._lock)

    def _open(self) -> Path:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.lstat(self._root).st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to somebody else", str(self._root))
        with _locked(self._root):  # nobody sweeps between the making of a folder and its lock
            _sweep(self._root)
            own = Path(tempfile.mkdtemp(dir=self._root))
            self._lock = os.open(own, _DIRECTORY)
            with suppress(OSError):  # a disk without locks: then nobody sweeps, either
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return own


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    number = os.open(folder, _DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _sweep(root: Path) -> None:
    """Remove the folders that nobody holds a lock on."""
    for one in root.iterdir():
        try:
            number = os.open(one, _DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # no folder, or gone meanwhile
            continue
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(one, ignore_errors=True)
        except OSError:  # it is in use, or the disk has no locks
            continue
        finally:
            os.close(number)


class _Secured(Artifact):
    """A draft with the words of another, and content that nobody else changes."""

    def __init__(self, original: Artifact, draft: Draft) -> None:
        super().__init__(original.collection, original.type, original.description, original.metadata)
        self.tags, self.aliases = original.tags, original.aliases
        self._draft = draft


def secure(artifact: Artifact, folder: Path) -> Artifact:
    """Return a draft that says and holds what this one does now, with copies of its files below an empty folder.

    Content in memory and files that were written through the draft itself are nobody else's already: the original must
    live for as long as the copy. Raises SourceChanged where a file is not what was added, OSError where the disk of
    the folder takes no copy.
    """
    draft = artifact.take_draft()
    private = Draft(draft.base, refers=draft.refers, base_ref=draft.base_ref, base_store=draft.base_store)
    private.removed, private.references = set(draft.removed), set(draft.references)
    numbers = count()
    private.add_all(
        (path, _copy(source, folder, next(numbers)) if _is_exposed(source, draft) else source)
        for path, source in draft.ordered()
    )
    return _Secured(artifact, private)


def _is_exposed(source: Source, draft: Draft) -> bool:
    """Whether somebody may write to a source while it is being logged."""
    return isinstance(source, FileSource) and not draft.owns(source)


def _copy(source: Source, folder: Path, number: int) -> FileSource:
    assert isinstance(source, FileSource)
    target = f"{folder}/{number // PARTS:x}/{number % PARTS:x}"
    if number % PARTS == 0:
        os.mkdir(os.path.dirname(target), 0o700)
    reading = open_source(source)
    try:
        require_same(source, reading)
        writing = os.open(target, _NEW, 0o700 if source.executable else 0o600)
        try:
            _transfer(reading, writing)
        finally:
            os.close(writing)
        require_same(source, reading)
    finally:
        os.close(reading)
    return file_source(target, os.stat(target))


def _transfer(reading: int, writing: int) -> None:
    """Copy a file from here to its end; within the kernel where that can be, which clones where the disk can."""
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):  # not between these two disks; what is wrong with either, the loop below will meet, too
            while os.copy_file_range(reading, writing, 1 << 30):
                pass
    while part := os.read(reading, BUFFER):
        view = memoryview(part)
        while view:
            view = view[os.write(writing, view) :]
