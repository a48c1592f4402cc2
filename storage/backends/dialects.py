"""What differs between the services behind fsspec.

Knows fsspec's general interface; what S3 and GCS need stands in s3.py and gcs.py. Must not know keys or stores: it
gets whole paths. Errors pass through untranslated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import InvalidInput

__all__ = ["Dialect", "dialect_for", "without_secrets"]

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


class Dialect:
    """Any fsspec file system that writes whole objects at once, by its general interface.

    `root` is the path that stands before every key, `place` what messages call it.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._class = self.file_system()(url)
        self._options = {**self._class._get_kwargs_from_urls(url), **options}  # noqa: SLF001 - fsspec's hook for users of classes
        self.root: str = str(self._class._strip_protocol(url)).rstrip("/")  # noqa: SLF001 - the same
        self.place = f"{without_secrets(url)}"

    def file_system(self) -> Any:
        """Return what gives the fsspec class for a URL."""
        import fsspec

        return lambda url: fsspec.get_filesystem_class(url.partition("://")[0])

    def defaults(self) -> dict[str, Any]:
        """Return options that hold unless the user says otherwise."""
        return {}

    def connect(self) -> Any:
        """Return a new file system, shared with nobody, that remembers no listing."""
        options = {**self.defaults(), **self._options, "skip_instance_cache": True, "use_listings_cache": False}
        return self._class(**options)

    def conditional(self, files: Any) -> bool | None:  # noqa: ARG002 - others ask the connection
        """Whether `create` is atomic; None where it has to be found out."""
        return False

    def get(self, files: Any, path: str, start: int, stop: int | None) -> bytes:
        """Read a range."""
        return bytes(files.cat_file(path, start=start, end=stop))

    def size(self, files: Any, path: str) -> int:
        """Return an object's size."""
        info = files.info(path)
        if info.get("type") != "file":
            raise FileNotFoundError(path)
        return int(info["size"])

    def put(self, files: Any, path: str, data: bytes) -> None:
        """Write an object; where folders are real they are made first."""
        try:
            files.pipe_file(path, data)
        except FileNotFoundError:
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, data)

    def create(self, files: Any, path: str, data: bytes) -> bool:
        """Write an object on the condition that there is none; False if there was."""
        raise NotImplementedError

    def list(self, files: Any, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield path and size of everything below a folder, sorted by path."""
        found = files.find(prefix.rstrip("/"), detail=True)
        for path in sorted(found):
            yield path, int(found[path]["size"])

    def delete(self, files: Any, paths: Sequence[str]) -> None:
        """Delete objects; absent ones are no error."""
        for path in paths:
            try:
                files.rm_file(path)
            except FileNotFoundError:
                continue


def without_secrets(url: str) -> str:
    """Return the URL without user and password, for messages.

    >>> without_secrets("sftp://ana:secret@host/data")
    'sftp://host/data'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def dialect_for(url: str, options: Mapping[str, Any]) -> Dialect:
    """Return the dialect for a URL; InvalidInput where nothing here speaks it."""
    scheme, _, rest = url.partition("://")
    if not rest.strip("/"):
        raise InvalidInput(f"the URL names no bucket: {without_secrets(url)}")
    extra = _EXTRAS.get(scheme.lower())
    try:
        if extra == "s3":
            from .s3 import S3Dialect

            return S3Dialect(url, options)
        if extra == "gcs":
            from .gcs import GcsDialect

            return GcsDialect(url, options)
        return Dialect(url, options)
    except ImportError as error:
        way = f"pip install 'lineart[{extra}]'" if extra else f"install the fsspec package for it ({error})"
        raise InvalidInput(f"{scheme}:// needs a package that is not installed: {way}") from error
    except ValueError as error:
        raise InvalidInput(f"cannot use {without_secrets(url)}: {error}") from error
