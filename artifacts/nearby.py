"""Files of the user's, asked for relative to their folder: a third less work for the kernel than by their whole paths.

Knows the disk and sources; must not know drafts or what the files are for.
"""

from __future__ import annotations

import os
from typing import Self

from .source import FileSource, open_source

__all__ = ["Nearby"]

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class Nearby:
    """Looks at files and opens them; holds the folder of the last one open, so those of a folder should come together.

    A context manager, for one thread.
    """

    def __init__(self) -> None:
        self._folder = ""
        self._number = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def require_same(self, source: FileSource) -> None:
        """Raise SourceChanged where a file is not what was added; it is not opened."""
        try:
            name = self._enter(source.path)
            found = os.stat(name, dir_fd=self._number)
        except OSError:
            raise source.changed() from None
        if not source.matches(found):
            raise source.changed()

    def open(self, source: FileSource) -> int:
        """Open a file for reading, whatever is there now; SourceChanged where nothing can be read."""
        try:
            name = self._enter(source.path)
        except OSError:
            return open_source(source)  # a folder that may be entered and not looked at, or is gone
        return open_source(source, name, self._number)

    def _enter(self, path: str) -> str:
        """Hold a file's folder open, and return the file's name in it."""
        folder, _, name = path.rpartition("/")
        if self._number < 0 or folder != self._folder:
            self.__exit__()
            self._number = os.open(folder or ("/" if path[0] == "/" else "."), _FOLDER)
            self._folder = folder
        return name
