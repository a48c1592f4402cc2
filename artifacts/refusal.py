"""What a disk at a destination refuses, told so that somebody can do something about it.

Knows the numbers of the system's errors; must not know who writes what.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..storage.errors import Conflict, InvalidInput, LineartError

__all__ = ["refusal"]

_WHOLE = "nothing there is left half-written"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ESTALE})


def refusal(root: Path, error: OSError, path: str = "") -> LineartError:
    """Return what to raise for an error of the disk below `root`, at a path in it.

    `path` is given once the root is there. InvalidInput where another destination is to be chosen, Conflict where
    the same one may do the next time.

    >>> import errno, pathlib
    >>> print(refusal(pathlib.Path("out"), OSError(errno.EROFS, "Read-only file system")))
    out is on a disk that can only be read; choose another folder; nothing there is left half-written
    """
    if isinstance(error, LineartError):
        return error
    why = error.strerror or str(error)
    what = f"{root}/{path}" if path else f"{root}"
    if error.errno in _FULL:
        return Conflict(
            f"the disk of {root} is full ({why}{f' at {path}' if path else ''}); "
            f"free some space or choose another folder, then try again; {_WHOLE}"
        )
    if error.errno == errno.EROFS:
        return InvalidInput(f"{root} is on a disk that can only be read; choose another folder; {_WHOLE}")
    if error.errno in _FORBIDDEN:
        return InvalidInput(
            f"{what} may not be written ({why}); choose another folder or ask for the permission; {_WHOLE}"
        )
    if error.errno in _GONE and path:
        return Conflict(f"{what} vanished while files were being put there ({why}); try again; {_WHOLE}")
    if error.errno in {*_GONE, errno.ENOTDIR, errno.EEXIST}:
        return InvalidInput(f"{root} cannot be made a folder{_culprit(root, why)}; choose another one; {_WHOLE}")
    return Conflict(f"{what} cannot be written ({why}); choose another folder or try again; {_WHOLE}")


def _culprit(root: Path, why: str) -> str:
    for above in root.absolute().parents:
        if os.path.lexists(above):
            return f": {above} is not one" if not above.is_dir() else f" in {above} ({why})"
    return f" ({why})"
