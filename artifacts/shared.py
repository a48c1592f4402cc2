"""The shared files of a machine: content as read-only files in the user's cache, for links and clones to lead to.

Knows that one folder, what makes a file in it trustworthy, and who may remove it; must not know destinations or chunks.

`files/<aa>/<digest>`, and the same with `-x` for an executable one, holds what its name says, for three reasons: it was
verified while it was written, nobody may write to it, and its time of change is a seal that follows from its digest.
Who edits it all the same (`chmod +w` through a link) changes the time, and it is made anew for the next one who asks.
What goes unseen is a write through a map that the disk has not been told of yet, and one after which somebody puts the
time back: only reading finds those.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blake3 import blake3

from ..storage.errors import Conflict, InvalidInput, SourceChanged
from .entry import Entry
from .locks import hold
from .refusal import refusal
from .source import digest_of, file_source

__all__ = ["NO_LINKS", "SharedFiles", "is_sealed", "leads_to", "name_of", "prune", "usage"]

FOLDER = "files"
TRIAL = 4096  # bytes of the lock file: on it is tried out what a disk can do, and a clone needs something to clone
_ROOTS = "roots"
_LOCK = "lock"
_STAGED = "new-"
_NAME = re.compile(r"[0-9a-f]{64}(?:-x)?")
_PART = re.compile(r"[0-9a-f]{2}")
_WRITABLE = 0o222
_SECOND = 10**9  # nanoseconds
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_NOT_LINKED = NO_LINKS | {errno.EEXIST}
_NOTHING = (FileNotFoundError, NotADirectoryError)


def name_of(entry: Entry) -> str:
    """Return the name of an entry's shared file: its digest, and `-x` where it is executable."""
    return f"{entry.digest.hex()}-x" if entry.executable else entry.digest.hex()


def seal_of(digest: bytes) -> int:
    """Return the time of change that a shared file bears, in nanoseconds: one between 2001 and 2005, by its digest.

    Its seconds are even and its rest is in microseconds, which is as fine as some disks keep.
    """
    number = int.from_bytes(digest[:8], "little")
    return (10**9 + number % 2**26 * 2) * _SECOND + (number >> 26) % 10**6 * 1000


def is_sealed(found: os.stat_result, digest: bytes) -> bool:
    """Whether a file is a shared one that nobody has written to since it was made, whatever it is named here."""
    if found.st_mode & _WRITABLE:
        return False
    seal = seal_of(digest)
    return found.st_mtime_ns in {seal, seal - seal % _SECOND}  # some disks keep seconds only


def leads_to(target: str, digest: bytes) -> bool:
    """Whether a symbolic link's target is named as the shared file of a digest, on this machine or another."""
    name = os.path.basename(target)
    return _NAME.fullmatch(name) is not None and name.startswith(digest.hex())


def usage(cache: Path) -> tuple[int, int]:
    """Return how many shared files a cache folder holds, and their bytes."""
    files = size = 0
    for one in _walk(SharedFiles(cache).folder):
        with suppress(FileNotFoundError):  # pruned meanwhile
            size += one.stat(follow_symlinks=False).st_size
            files += 1
    return files, size


def prune(cache: Path) -> int:
    """Remove the shared files of a cache folder that nothing leads to, and return how many bytes that freed.

    One stays that has a hard link, or a symbolic link below a folder that a download put links in. Raises Conflict
    while a download places links, or where such a folder cannot be looked through.
    """
    shared = SharedFiles(cache)
    if not shared.is_there():
        return 0
    freed = 0
    with shared.cleared():
        wanted = shared.wanted()
        try:
            for one in list(_walk(shared.folder)):
                found = one.stat(follow_symlinks=False)
                if found.st_nlink == 1 and one.name not in wanted:
                    os.unlink(one.path)
                    freed += found.st_size
        except OSError as error:
            raise refusal(Path(shared.folder), error) from error
    return freed


class SharedFiles:
    """The shared files below a cache folder. Safe from many threads and processes.

    Nothing is made before it is needed; `used` makes the folder and must be held while its files are linked to.
    """

    def __init__(self, cache: Path) -> None:
        self.folder = os.path.join(os.path.realpath(cache), FOLDER)  # symbolic links need a name that stays
        self.trial = os.path.join(self.folder, _LOCK)
        self._user = os.geteuid()
        self._parts: set[str] = set()  # that are there for sure

    def is_there(self) -> bool:
        """Whether there is a folder that can be used; Conflict for one that is not this user's alone."""
        try:
            found = os.lstat(self.folder)
        except _NOTHING:
            return False
        if not stat.S_ISDIR(found.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no folder"
            raise Conflict(f"{self.folder}, where shared files are to be, is {what}; remove it")
        if found.st_uid != self._user:
            raise Conflict(
                f"{self.folder} belongs to another user, who could change what is in it; "
                "set LINEART_CACHE_DIR to a folder of your own"
            )
        if found.st_mode & 0o077:
            raise Conflict(f"{self.folder} is open to others, who could change what is in it; chmod 700 it")
        return True

    @contextmanager
    def used(self) -> Iterator[None]:
        """Hold the right to link to shared files: none is pruned meanwhile."""
        try:
            os.makedirs(os.path.dirname(self.folder), exist_ok=True)
            with suppress(FileExistsError):
                os.mkdir(self.folder, 0o700)
            self.is_there()
            number = self._locked(fcntl.LOCK_SH)
        except OSError as error:
            raise refusal(Path(self.folder), error) from error
        try:
            yield
        finally:
            os.close(number)

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Hold the right to remove shared files; what a download left that was killed is removed at once."""
        try:
            number = self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"a download is placing links to {self.folder}; try again when it is done") from None
        except OSError as error:
            raise refusal(Path(self.folder), error) from error
        try:
            for name in os.listdir(self.folder):
                if name.lstrip(".").startswith(_STAGED):
                    shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
            yield
        finally:
            os.close(number)

    def path(self, entry: Entry) -> str:
        """Return where an entry's shared file is, or would be."""
        name = name_of(entry)
        return f"{self.folder}/{name[:2]}/{name}"

    def find(self, entry: Entry) -> os.stat_result | None:
        """Return what an entry's shared file is; None where there is none, or one that somebody has written to."""
        try:
            found = os.lstat(self.path(entry))
        except _NOTHING:
            return None
        mode = found.st_mode
        if not stat.S_ISREG(mode) or found.st_uid != self._user or found.st_size != entry.size:
            return None
        is_fit = mode & stat.S_IRUSR and bool(mode & stat.S_IXUSR) == entry.executable
        return found if is_fit and is_sealed(found, entry.digest) else None

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Return the name of a folder that is not there yet, for files to be made in and kept; it goes at the end."""
        folder = os.path.join(self.folder, f"{_STAGED}{uuid.uuid4().hex[:16]}")
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, staged: str, entry: Entry) -> None:
        """Seal a file that holds an entry's content, and give it its name; who was first with a good one wins."""
        final = self.path(entry)
        try:
            part = os.path.dirname(final)
            if part not in self._parts:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700)
                self._parts.add(part)
            seal = seal_of(entry.digest)
            os.utime(staged, ns=(seal, seal))
            os.chmod(staged, stat.S_IMODE(os.lstat(staged).st_mode) & 0o555)  # the umask has had its say
            try:
                os.link(staged, final, follow_symlinks=False)  # not renamed: links may lead to one that is there
            except OSError as error:
                if error.errno not in _NOT_LINKED:
                    raise
                if self.find(entry) is None:
                    _spare(final, entry.digest)
                    os.replace(staged, final)
        except OSError as error:
            raise refusal(Path(self.folder), error) from error
        if self.find(entry) is None:
            raise Conflict(
                f"the disk of {self.folder} does not keep owners, modes and times as they are set, so that nothing can "
                'be shared there; set LINEART_CACHE_DIR to a folder on another disk, or use link="copy"'
            )

    def retire(self, entry: Entry, number: int) -> None:
        """Take the name from an entry's shared file, if its inode still is `number`; whoever links to it keeps it."""
        with suppress(*_NOTHING):
            if os.lstat(self.path(entry)).st_ino == number:
                os.unlink(self.path(entry))

    def note(self, root: Path) -> None:
        """Remember that symbolic links are put below a folder, before they are."""
        place = os.fsencode(os.path.realpath(root))
        roots = os.path.join(self.folder, _ROOTS)
        record = os.path.join(roots, blake3(place).hexdigest())
        try:
            with suppress(FileExistsError):
                os.mkdir(roots, 0o700)
            if not os.path.lexists(record):
                with self.staging() as aside:
                    aside.write_bytes(place)
                    os.replace(aside, record)
        except OSError as error:
            raise refusal(Path(self.folder), error) from error

    def wanted(self) -> set[str]:
        """Return the names of shared files that symbolic links lead to; folders without any are forgotten."""
        wanted: set[str] = set()
        roots = os.path.join(self.folder, _ROOTS)
        with suppress(FileNotFoundError):
            for name in os.listdir(roots):
                record = os.path.join(roots, name)
                found = _pointed_at(Path(record).read_bytes())
                wanted |= found
                if not found:
                    os.unlink(record)
        return wanted

    def _locked(self, how: int) -> int:
        """Open the lock file, which is never removed, and lock it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        number = os.open(self.trial, flags, 0o600)
        try:
            if os.fstat(number).st_size != TRIAL:
                os.pwrite(number, bytes(TRIAL), 0)
            if how == fcntl.LOCK_SH:
                hold(number, how)
            else:
                fcntl.flock(number, how)  # who removes files must know that nobody links to them
        except OSError:
            os.close(number)
            raise
        return number


def _spare(path: str, digest: bytes) -> None:
    """Give another name to a shared file that was edited through a symbolic link: it may be somebody's only copy."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # who has a hard link keeps it under that name
            return
        if digest_of(file_source(path, found)) == digest:
            return
    except _NOTHING:
        return
    except (InvalidInput, SourceChanged):  # not readable, or somebody is writing to it: not known to be of no worth
        pass
    aside = f"{path}.edited-{uuid.uuid4().hex[:8]}"
    try:
        os.link(path, aside, follow_symlinks=False)  # not renamed: nobody who follows a link shall find nothing
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.rename(path, aside)
    warnings.warn(f"{path} was edited through a link to it; what was written is kept as {aside}", stacklevel=2)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield every shared file, and nothing that is not named as one."""
    for part in _listed(folder):
        if _PART.fullmatch(part.name) and part.is_dir(follow_symlinks=False):
            for one in _listed(part.path):
                if _NAME.fullmatch(one.name) and one.is_file(follow_symlinks=False):
                    yield one


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except _NOTHING:
        return []


def _pointed_at(root: bytes) -> set[str]:
    """Return the names of shared files that symbolic links below a folder lead to, in whatever cache."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listed:
                for one in listed:
                    if one.is_dir(follow_symlinks=False):
                        waiting.append(one.path)
                    elif one.is_symlink():
                        name = os.path.basename(os.fsdecode(os.readlink(one.path)))
                        if _NAME.fullmatch(name):
                            found.add(name)
        except _NOTHING:
            continue
        except OSError as error:
            raise InvalidInput(
                f"{os.fsdecode(folder)} cannot be looked through ({error.strerror}), so that nobody knows which shared "
                "files its links lead to; nothing was removed"
            ) from error
    return found
