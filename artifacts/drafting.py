"""The part of an artifact that files are added to before it is logged.

Knows drafts and the sources of their paths; must not know stores. A base of `Artifact`; its methods are for drafts, and
raise Frozen for a logged version.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal

from ..storage.errors import InvalidInput, NotFound
from .records import listed
from .source import BytesSource, ExternalSource, file_source
from .tree import walk_tree

if TYPE_CHECKING:
    from .draft import Draft
    from .logged import LoggedEntry

__all__ = ["Drafting"]

StrPath = str | os.PathLike[str]


class Drafting:
    """Something that may be a draft."""

    def add_file(self, path: StrPath, name: str | None = None, *, overwrite: bool = False) -> None:
        """Add one file, under its own name or another.

        Raises NotFound where there is none, Conflict where the name is taken by other content, unless `overwrite`.
        """
        draft = self._open_draft()
        text = os.fspath(path)
        try:
            source = file_source(text, os.stat(text))
        except (FileNotFoundError, NotADirectoryError):
            what = "is a symbolic link to nothing" if os.path.islink(text) else "does not exist"
            raise NotFound(f"{text} {what}") from None
        except (OSError, ValueError) as error:  # a link to itself, a name with a NUL, a folder that is closed to us
            raise InvalidInput(f"{text!r} cannot be added: {getattr(error, 'strerror', None) or error}") from None
        draft.add(name if name is not None else os.path.basename(text), source, overwrite=overwrite)
        draft.came_from(os.path.dirname(text), whole=False)

    def add_dir(
        self, path: StrPath, name: str | None = None, *, ignore: Iterable[str] = (), overwrite: bool = False
    ) -> None:
        """Add every file below a folder, at the top of the artifact or below the folder `name`.

        `ignore` and a file `.artignore` in the folder hold patterns as in .gitignore. Symbolic links are followed;
        InvalidInput names one that is dangling or leads into itself. Stores, `.git`, folders of
        downloads (`artifacts/…`) and what a killed download left are left out; a folder that you downloaded to is not.
        Folders without files are not kept.
        """
        prefix = f"{name.rstrip('/')}/" if name else ""
        draft = self._open_draft()
        found = walk_tree(os.fspath(path), listed(ignore))
        if prefix:
            found = ((prefix + relative, source) for relative, source in found)
        draft.add_all(found, overwrite=overwrite)  # all or none, where one cannot be added
        draft.came_from(os.fspath(path), whole=not prefix)

    def add_bytes(self, data: bytes, name: str, *, overwrite: bool = False) -> None:
        """Add content from memory."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidInput(f"add_bytes takes bytes, not {data.__class__.__name__}; encode text first")
        self._open_draft().add(name, BytesSource(bytes(data)), overwrite=overwrite)

    @contextmanager
    def new_file(
        self, name: str, mode: Literal["w", "wb"] = "w", encoding: str = "utf-8", *, overwrite: bool = False
    ) -> Iterator[IO[Any]]:
        """Open a file to be written, which is added when the block ends without an error."""
        if mode not in {"w", "wb"}:
            raise InvalidInput(f"a new file is written with mode 'w' or 'wb', not {mode!r}")
        draft = self._open_draft()
        path = draft.spool(name)
        with path.open(mode, encoding=None if "b" in mode else encoding, newline=None if "b" in mode else "\n") as file:
            yield file
        draft.add(name, file_source(os.fspath(path), path.stat()), overwrite=overwrite)

    def remove(self, path: str) -> None:
        """Take a file or a folder out; NotFound where the draft has none."""
        self._open_draft().remove(path)

    def add_reference(
        self,
        url: StrPath | LoggedEntry,
        name: str | None = None,
        checksum: bool = True,
        *,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an object, or all objects below a folder, that stay where they are; or a file of another version.

        `url` is of any kind that fsspec knows (`s3://`, `gs://`, `https://`, `file://`, …) or a path of this machine.
        One that ends with a slash, or is found to be a folder, means everything below it, under `name/`. Kept are the
        URL, the size, and the etag and version that the place tells; where it tells neither, as a disk does, the bytes
        are read and their BLAKE3 is kept. With `checksum=False` nothing is asked, and nothing but the URL is kept.
        `storage_options` are for asking alone and not kept; what is fetched later goes by fsspec's defaults.

        A file of another version of the same store (`other["path"]`) is taken over without being read.

        Raises NotFound where nothing is there, InvalidInput for a URL that holds secrets or cannot be listed,
        StoreUnavailable where the place does not answer, Conflict as `add_file` does.
        """
        from .external import find_objects
        from .urls import check_url

        draft = self._open_draft()
        if not isinstance(url, (str, os.PathLike)):
            path, source = url.as_source()
            draft.add(name if name is not None else path.rpartition("/")[2], source, overwrite=overwrite)
            if isinstance(source, ExternalSource):
                draft.refers_to(source.url)
            return
        place = check_url(os.fspath(url))
        found = find_objects(place, checksum=checksum, options=storage_options)
        prefix = f"{name.rstrip('/')}/" if name else ""
        alone = name if name is not None else found.name
        draft.add_all(
            ((alone if path is None else prefix + path, source) for path, source in found.objects), overwrite=overwrite
        )
        draft.refers_to(found.url)

    def _open_draft(self) -> Draft:
        """Return the draft; Frozen where it is logged."""
        raise NotImplementedError
