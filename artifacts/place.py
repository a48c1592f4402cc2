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
from .unfinished import Sign, sweep

if TYPE_CHECKING:
    from .agreed import Agreed
    from .locks import Claim
    from .remembered import Remembered

__all__ = ["Place", "aside_of", "beside", "is_store"]

Data = bytes | memoryview
_NO_LINK = {errno.ENOENT, errno.ENOTDIR, errno.EINVAL}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Place:
    """The folder that a version's files go to.

    A root that does not exist is built aside as a whole and renamed once by `settle`; into one that exists each file
    comes under a temporary name and is renamed. Use it as a context manager: what was not settled is removed.
    Safe from many threads. What the disk refuses is a Conflict or an InvalidInput that names the root. What an earlier
    one left there that was killed is removed; `claim` is the right to the root, which tells the next one in its turn.
    """

    def __init__(self, root: Path, claim: Claim | None = None) -> None:
        self.root = root
        self.remembered: Remembered | None = None  # what is known of the files there, for who puts them there
        self.agreed: Agreed | None = None  # which files there may be replaced; None if all
        mark = uuid.uuid4().hex[:16]
        try:
            self.fresh = not _is_there(root)
            self._aside = aside_of(root, mark) if self.fresh else root
            if self.fresh:
                if claim is not None:
                    claim.note(mark)
                self._aside.mkdir(parents=True)
            elif not root.is_dir():
                raise Conflict(_no_folder(root))
            self.base = os.fspath(self._aside)
            if not self.fresh:
                sweep(self.base)
            self.folders = Folders(self.base, os.fspath(root))
        except OSError as error:
            raise refusal(root, error) from error
        self._prefix = f".lineart-{mark}-"  # of temporary names
        self._numbers = itertools.count()
        self._sign = Sign(mark, self.folders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sign.close()
        self.folders.close()
        if self.fresh and self._aside != self.root:
            shutil.rmtree(self._aside, ignore_errors=True)

    def settle(self) -> None:
        """Let the whole folder appear at its place; Conflict where something else has appeared there meanwhile.

        Into a folder that was there, the files have been put already: Conflict where a part of it has been moved since.
        """
        if not self.fresh:
            self.folders.require_unmoved()
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
            with self.folders.hold(folder, make=False) as where:
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
            with self.folders.hold(folder, make=False) as where:
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
            with self.folders.hold(folder, make=False) as where:
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

        Returns what it is then; None where somebody has laid hands on it already, or on what it was to replace.
        """
        folder, _, name = path.rpartition("/")
        first = name if self.fresh else self._temporary(folder)
        reading = False  # then an OSError is not of this disk
        try:
            with self.folders.hold(folder, make=True) as where:
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
                    if not self._appear(first, path, where):
                        return None
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
                with self.folders.hold(folder, make=True) as where:
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
        first = name if self.fresh else self._temporary(folder)
        try:
            with self.folders.hold(folder, make=True) as where:
                try:
                    make(first, where)
                    if not self.fresh:
                        self._appear(first, path, where)
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
        with self.folders.hold("", make=False) as where:
            name = self._temporary("")
            try:
                make(name, where)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=where)

    def _appear(self, first: str, path: str, where: int) -> bool:
        """Give a finished file its name; False where what is there may not be replaced."""
        name = path.rpartition("/")[2]
        if self.agreed is not None:
            with suppress(FileNotFoundError):
                if not self.agreed.allows(path, os.lstat(name, dir_fd=where)):
                    os.unlink(first, dir_fd=where)
                    return False
        os.replace(first, name, src_dir_fd=where, dst_dir_fd=where)
        return True

    def _temporary(self, folder: str) -> str:
        """Return a name for a file in a folder that is not finished."""
        self._sign.note(folder)
        return f"{self._prefix}{next(self._numbers):x}"

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


def aside_of(root: Path, mark: str) -> Path:
    """Return where a folder is built that does not exist yet."""
    return beside(root, mark[:8])


def beside(root: Path, suffix: str) -> Path:
    """Return a hidden name beside a folder, short enough for any disk."""
    name = os.fsencode(root.name)[:200]  # of the 255 bytes that a name may have; it may be cut within a character
    return root.with_name(os.fsdecode(b"." + name) + f".lineart-{suffix}")
