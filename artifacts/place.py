"""Putting files where a user wants them: folders that appear whole, files that are replaced whole, nothing outside.

Knows the disk at the destination; must not know manifests or chunks. A symbolic link below the root is never written
through, also not one that appears meanwhile; a link at a file's own place is replaced by the file.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..storage.errors import Conflict, LineartError
from ..storage.layout import MARKER
from .folders import Folders
from .refusal import refusal

if TYPE_CHECKING:
    from .remembered import Remembered

__all__ = ["Place", "beside", "is_store"]

Data = bytes | memoryview
_NO_LINK = {errno.ENOENT, errno.ENOTDIR, errno.EINVAL}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Place:
    """The folder that a version's files go to.

    A root that does not exist is built aside as a whole and renamed once by `settle`; into one that exists each file
    comes under a temporary name and is renamed. Use it as a context manager: what was not settled is removed.
    Safe from many threads. What the disk refuses is a Conflict or an InvalidInput that names the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.remembered: Remembered | None = None  # what is known of the files there, for who puts them there
        try:
            self.fresh = not _is_there(root)
            self._aside = beside(root, uuid.uuid4().hex[:8]) if self.fresh else root
            if self.fresh:
                self._aside.mkdir(parents=True)
            elif not root.is_dir():
                raise Conflict(_no_folder(root))
            self._base = os.fspath(self._aside)
            self._folders = Folders(self._base, os.fspath(root))
        except OSError as error:
            raise refusal(root, error) from error
        self._prefix = f".lineart-{uuid.uuid4().hex[:16]}-"  # of temporary names
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folders.close()
        if self.fresh and self._aside != self.root:
            shutil.rmtree(self._aside, ignore_errors=True)

    def settle(self) -> None:
        """Let the whole folder appear at its place; Conflict where something else has appeared there meanwhile.

        Into a folder that was there, the files have been put already: Conflict where a part of it has been moved since.
        """
        if not self.fresh:
            self._folders.require_unmoved()
            return
        try:
            os.rename(self._aside, self.root)
        except OSError as error:
            if not os.path.lexists(self.root):
                raise refusal(self.root, error) from error
            raise Conflict(
                f"{self.root} appeared while it was being downloaded: {error.strerror}; try again"
            ) from error
        self._aside = self.root

    def find(self, path: str) -> os.stat_result | None:
        """Return what is at a file's place now, links not followed; None where nothing is."""
        if self.fresh:
            return None
        folder, _, name = path.rpartition("/")
        try:
            with self._folders.hold(folder, make=False) as where:
                return os.lstat(name, dir_fd=where)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise refusal(self.root, error, path) from error

    def target(self, path: str) -> str | None:
        """Return where the symbolic link at a file's place leads; None where none is."""
        if self.fresh:
            return None
        folder, _, name = path.rpartition("/")
        try:
            with self._folders.hold(folder, make=False) as where:
                return os.readlink(name, dir_fd=where)
        except OSError as error:
            if error.errno in _NO_LINK:
                return None
            raise refusal(self.root, error, path) from error

    def open_found(self, path: str, size: int) -> tuple[int, os.stat_result] | None:
        """Open the regular file of this size that is at a file's place; None where there is none that can be read."""
        if self.fresh:
            return None
        folder, _, name = path.rpartition("/")
        try:
            with self._folders.hold(folder, make=False) as where:
                found = os.lstat(name, dir_fd=where)  # first, for the opening of a device may do something
                if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                    return None
                return os.open(name, _READ, dir_fd=where), found
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link since
                return None
            raise refusal(self.root, error, path) from error

    def write(self, path: str, parts: Iterable[Data], *, executable: bool) -> os.stat_result | None:
        """Write one file whole; it appears under its name only when every part was written.

        Returns what it is then; None where somebody has laid hands on it already.
        """
        folder, _, name = path.rpartition("/")
        first = name if self.fresh else f"{self._prefix}{next(self._numbers):x}"
        reading = False  # then an OSError is not of this disk
        try:
            with self._folders.hold(folder, make=True) as where:
                number = os.open(first, _WRITE, 0o777 if executable else 0o666, dir_fd=where)
                try:
                    try:
                        reading = True
                        for part in parts:
                            reading = False
                            _write_all(number, part)
                            reading = True
                        reading = False
                        written = os.fstat(number)
                    finally:
                        os.close(number)
                    if self.fresh:
                        return written
                    os.replace(first, name, src_dir_fd=where, dst_dir_fd=where)
                    found = os.lstat(name, dir_fd=where)  # a rename is a change of its inode
                    return found if _unwritten(written, found) else None
                except BaseException:
                    with suppress(OSError):  # the first failure is the one to be told
                        os.unlink(first, dir_fd=where)
                    raise
        except IsADirectoryError:
            raise self._folder_there(path) from None
        except OSError as error:
            if reading or isinstance(error, LineartError):
                raise
            raise refusal(self.root, error, path) from error

    def write_all(self, files: Iterable[tuple[str, Data, bool]]) -> Iterator[os.stat_result | None]:
        """Write small files, each given by path, content and whether it is executable, and yield what `write` returns.

        Less work than as many calls of `write`, where nothing is there yet and those of a folder follow one another.
        """
        if not self.fresh:
            for path, data, executable in files:
                yield self.write(path, (data,), executable=executable)
            return
        for folder, some in groupby(files, _folder_of):
            path, skip = folder, len(folder) + 1 if folder else 0
            try:
                with self._folders.hold(folder, make=True) as where:
                    for path, data, executable in some:
                        number = os.open(path[skip:], _WRITE, 0o777 if executable else 0o666, dir_fd=where)
                        try:
                            _write_all(number, data)
                            written = os.fstat(number)
                        finally:
                            os.close(number)
                        yield written
            except OSError as error:
                raise refusal(self.root, error, path) from error

    def put(self, path: str, make: Callable[[str, int], None]) -> None:
        """Let `make(name, folder)` make a file or a link in the folder of a descriptor; it appears as by `write`."""
        folder, _, name = path.rpartition("/")
        first = name if self.fresh else f"{self._prefix}{next(self._numbers):x}"
        try:
            with self._folders.hold(folder, make=True) as where:
                try:
                    make(first, where)
                    if not self.fresh:
                        os.replace(first, name, src_dir_fd=where, dst_dir_fd=where)
                except BaseException:
                    with suppress(OSError):  # the first failure is the one to be told
                        os.unlink(first, dir_fd=where)
                    raise
        except IsADirectoryError:
            raise self._folder_there(path) from None
        except OSError as error:
            raise refusal(self.root, error, path) from error

    def try_out(self, make: Callable[[str, int], None]) -> None:
        """Let `make` do in the root what it would do in `put`, and remove what it made; its OSErrors pass."""
        with self._folders.hold("", make=False) as where:
            name = f"{self._prefix}{next(self._numbers):x}"
            try:
                make(name, where)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=where)

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
                self._remove(folder)
        for path in wanted:
            found = self.find(path)
            if found is not None and stat.S_ISDIR(found.st_mode):
                self._remove(path, whole=True)

    def strays(self, paths: set[str]) -> list[str]:
        """Return every file and link that is not among `paths`.

        Raises Conflict for a folder that holds a store or a git repository: whoever asks for it to be cleared errs.
        """
        found: list[str] = []
        for folder, folders, files in os.walk(self._base, onerror=self.refuse):
            prefix = os.path.relpath(folder, self._base).replace(os.sep, "/") + "/"
            prefix = "" if prefix == "./" else prefix
            is_git = ".git" in folders or (".git" in files and prefix + ".git" not in paths)  # a file in a worktree
            if is_git or is_store(folder):
                what = "a store of Lineart" if is_store(folder) else "a git repository"
                raise Conflict(f"{folder} is {what}, which would be cleared away; choose another folder")
            links = [one for one in folders if os.path.islink(f"{folder}/{one}")]
            found.extend(prefix + name for name in (*files, *links) if prefix + name not in paths)
        return found

    def clear(self, strays: Iterable[str]) -> None:
        """Remove files and links, and every folder that is empty then; the last thing before `settle`."""
        self._folders.require_unmoved()
        for path in strays:
            found = self.find(path)
            if found is not None and not stat.S_ISDIR(found.st_mode):  # a folder has taken its place meanwhile
                self._remove(path)
        try:
            for _, folders, _, where in os.fwalk(self._base, topdown=False):
                for name in folders:
                    with suppress(FileNotFoundError, NotADirectoryError):  # a link
                        _remove_empty(name, where)
            self._folders.forget()
        except OSError as error:
            raise refusal(self.root, error) from error

    def _remove(self, path: str, *, whole: bool = False) -> None:
        folder, _, name = path.rpartition("/")
        try:
            with self._folders.hold(folder, make=False) as where:
                if whole:
                    shutil.rmtree(name, dir_fd=where)
                else:
                    os.unlink(name, dir_fd=where)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self.root, error, path) from error

    def _folder_there(self, path: str) -> Conflict:
        return Conflict(f"{self.root}/{path} is a folder where a file is to be; move it away or choose another folder")

    def refuse(self, error: OSError) -> None:
        """Raise what the disk's refusal means here."""
        raise refusal(self.root, error) from error


def _unwritten(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)


def _folder_of(file: tuple[str, Data, bool]) -> str:
    return file[0].rpartition("/")[0]


def _write_all(number: int, data: Data) -> None:
    done = os.write(number, data)
    if done < len(data):  # a signal, or a disk that is nearly full
        rest = memoryview(data)[done:]
        while rest:
            rest = rest[os.write(number, rest) :]


def _remove_empty(name: str, where: int) -> None:
    try:
        os.rmdir(name, dir_fd=where)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


def _is_there(path: Path) -> bool:
    """Whether a name is taken; a disk that does not say is an OSError."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _no_folder(root: Path) -> str:
    if root.is_file():
        return f"{root} is a file; choose a folder for the download"
    if root.is_symlink() and not root.exists():
        return f"{root} is a symbolic link to nothing; remove it or choose another folder"
    return f"{root} is not a folder; choose a folder for the download"


def is_store(folder: str) -> bool:
    """Whether a folder is a store on a local disk."""
    return os.path.isfile(f"{folder}/{MARKER}") and os.path.isdir(f"{folder}/journal")


def beside(root: Path, suffix: str) -> Path:
    """Return a hidden name beside a folder, short enough for any disk."""
    name = os.fsencode(root.name)[:200]  # of the 255 bytes that a name may have; it may be cut within a character
    return root.with_name(os.fsdecode(b"." + name) + f".lineart-{suffix}")
