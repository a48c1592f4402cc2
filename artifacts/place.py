"""Putting files where a user wants them: folders that appear whole, files that are replaced whole, nothing outside.

Knows the disk at the destination; must not know manifests or chunks. A symbolic link below the root is never written
through; a link at a file's own place is replaced by the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from ..storage.errors import Conflict
from ..storage.layout import MARKER

__all__ = ["Place", "is_store", "locked"]

Data = bytes | memoryview
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some filesystems of clusters


class Place:
    """The folder that a version's files go to.

    A root that does not exist is built aside as a whole and renamed once by `settle`; into one that exists each file
    comes under a temporary name and is renamed. Use it as a context manager: what was not settled is removed.
    Safe from many threads.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fresh = not os.path.lexists(root)
        self._aside = _beside(root, uuid.uuid4().hex[:8]) if self.fresh else root
        self._base = os.fspath(self._aside)
        self._folders: set[str] = set()  # that are there and are not links
        if self.fresh:
            self._aside.mkdir(parents=True)
        elif not root.is_dir():
            what = "a symbolic link to nothing" if root.is_symlink() and not root.exists() else "not a folder"
            raise Conflict(f"{root} is {what}; remove it or choose another folder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fresh and self._aside != self.root:
            shutil.rmtree(self._aside, ignore_errors=True)

    def settle(self) -> None:
        """Let the whole folder appear at its place; Conflict where something else has appeared there meanwhile."""
        if not self.fresh:
            return
        try:
            os.rename(self._aside, self.root)
        except OSError as error:
            raise Conflict(
                f"{self.root} appeared while it was being downloaded: {error.strerror}; try again"
            ) from error
        self._aside = self.root

    def find(self, path: str) -> os.stat_result | None:
        """Return what is at a file's place now, links not followed; None where nothing is."""
        if self.fresh:
            return None
        try:
            return os.lstat(self._whole(path))
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return None
            raise

    def open_read(self, path: str) -> int:
        """Open a file that is there for reading; refuses links on the way."""
        self._make_folder(path.rpartition("/")[0])
        return os.open(self._whole(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def write(self, path: str, parts: Iterable[Data], *, executable: bool) -> None:
        """Write one file whole; it appears under its name only when every part was written."""
        self._make_folder(path.rpartition("/")[0])
        target = self._whole(path)
        name = target if self.fresh else f"{os.path.dirname(target)}/.lineart-{uuid.uuid4().hex[:16]}"
        number = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777 if executable else 0o666)
        try:
            try:
                for part in parts:
                    _write_all(number, part)
            finally:
                os.close(number)
            if not self.fresh:
                _replace(name, target)
        except BaseException as error:
            with suppress(FileNotFoundError):
                os.unlink(name)
            if isinstance(error, OSError) and error.errno is not None and error.filename is None:
                error.filename = target  # a full disk does not say where
            raise

    def set_executable(self, path: str, found: os.stat_result, *, executable: bool) -> None:
        """Give a file that has the right content the right mode bit."""
        if bool(found.st_mode & stat.S_IXUSR) != executable:
            bits = (found.st_mode & 0o444) >> 2
            os.chmod(
                self._whole(path),
                stat.S_IMODE(found.st_mode) | bits if executable else stat.S_IMODE(found.st_mode) & ~0o111,
            )

    def make_way(self, paths: Iterable[str]) -> None:
        """Remove what stands in the way of files: a file or a link at a folder's place, a folder at a file's."""
        wanted = list(paths)
        folders: set[str] = set()
        for path in wanted:
            folder = path.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        for folder in sorted(folders):  # from above to below, so that no link is looked through
            found = self.find(folder)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                os.unlink(self._whole(folder))
        for path in wanted:
            found = self.find(path)
            if found is not None and stat.S_ISDIR(found.st_mode):
                shutil.rmtree(self._whole(path))

    def strays(self, paths: set[str]) -> list[str]:
        """Return every file and link that is not among `paths`.

        Raises Conflict for a folder that holds a store or a git repository: whoever asks for it to be cleared errs.
        """
        found: list[str] = []
        for folder, folders, files in os.walk(self._base):
            if is_store(folder) or ".git" in folders:
                what = "a store of Lineart" if is_store(folder) else "a git repository"
                raise Conflict(f"{folder} is {what}, which would be cleared away; choose another folder")
            prefix = os.path.relpath(folder, self._base).replace(os.sep, "/") + "/"
            prefix = "" if prefix == "./" else prefix
            links = [one for one in folders if os.path.islink(f"{folder}/{one}")]
            found.extend(prefix + name for name in (*files, *links) if prefix + name not in paths)
        return found

    def clear(self, strays: Iterable[str]) -> None:
        """Remove files and links, and every folder that is empty then."""
        for path in strays:
            found = self.find(path)
            if found is not None and not stat.S_ISDIR(found.st_mode):  # a folder has taken its place meanwhile
                os.unlink(self._whole(path))
        for folder, _, _ in os.walk(self._base, topdown=False):
            if folder != self._base and not os.listdir(folder):
                os.rmdir(folder)

    def _whole(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _make_folder(self, folder: str) -> None:
        """Make a folder of the tree, each part in turn, and refuse a link at any of them."""
        if not folder or folder in self._folders:
            return
        self._make_folder_above(folder)
        whole = self._whole(folder)
        with suppress(FileExistsError):
            os.mkdir(whole)
        found = os.lstat(whole)
        if stat.S_ISLNK(found.st_mode):
            raise Conflict(
                f"{whole} is a symbolic link; nothing is written through it: remove it or choose another folder"
            )
        if not stat.S_ISDIR(found.st_mode):
            raise Conflict(f"{whole} is a file where a folder is needed; remove it or choose another folder")
        self._folders.add(folder)

    def _make_folder_above(self, folder: str) -> None:
        parts = folder.split("/")
        for end in range(1, len(parts)):
            above = "/".join(parts[:end])
            if above not in self._folders:
                self._make_folder(above)


def _write_all(number: int, data: Data) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]


def _replace(name: str, target: str) -> None:
    try:
        os.replace(name, target)
    except IsADirectoryError:
        raise Conflict(f"{target} is a folder where a file is to be; remove it or choose another folder") from None


def is_store(folder: str) -> bool:
    """Whether a folder is a store on a local disk."""
    return os.path.isfile(f"{folder}/{MARKER}") and os.path.isdir(f"{folder}/journal")


def _beside(root: Path, suffix: str) -> Path:
    """Return a hidden name beside a folder, short enough for any disk."""
    name = os.fsencode(root.name)[:200]  # of the 255 bytes that a name may have; it may be cut within a character
    return root.with_name(os.fsdecode(b"." + name) + f".lineart-{suffix}")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the right to change one folder; another process on this machine that has it is waited for."""
    root.parent.mkdir(parents=True, exist_ok=True)
    path = _beside(root, "lock")
    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS} or not root.is_dir():
                raise
            path = root  # a folder that is ours in one that is not, such as a mounted volume: it is its own lock
            number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(number)
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(number).st_ino:  # else its last holder has removed it meanwhile
                    break
        except BaseException:
            os.close(number)
            raise
        os.close(number)
    try:
        yield
    finally:
        if path != root:
            with suppress(FileNotFoundError):
                os.unlink(path)
        os.close(number)


def _lock(number: int) -> None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:  # without locks, two at once do the work twice, and each file is still whole
            raise
