"""Places of bytes: the interface, a local disk, memory, clouds, and wrappers around them.

Knows which place a URL means; must not know what is kept there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInput
from .base import Backend, ObjectInfo

__all__ = ["Backend", "ObjectInfo", "is_remote", "open_backend"]


def is_remote(url: str) -> bool:
    """Say whether a URL is neither a local path, nor `file://`, nor `memory://`."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.lower() not in {"file", "local", "memory"}


def open_backend(url: str, storage_options: Mapping[str, Any] | None = None) -> Backend:
    """Return the backend for a path or URL; nothing is made, and nothing is asked of a server.

    A path or `file://` is a folder; `memory://name` the place of that name in this process; anything else (`s3://`,
    `gs://`, …) goes to fsspec with the storage options, with transient failures repeated. InvalidInput for a URL of an
    unknown kind, or one whose extra is not installed.

    >>> open_backend("memory://example").put_new("lineart.json", b"{}")
    True
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme in {"file", "local"}:
        from .local import LocalBackend

        if not url or (separator and not rest):
            raise InvalidInput("no folder is named: give a path or a URL")
        return LocalBackend(Path(_local_path(url)).expanduser() if separator else Path(url).expanduser())
    if scheme == "memory":
        from .memory import named_memory

        return named_memory(rest.strip("/"))
    from .remote import RemoteBackend
    from .retry import RetryingBackend

    return RetryingBackend(RemoteBackend(url, storage_options))


def _local_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise InvalidInput(f"a file URL names a path of this machine: file:///path, not {url}")
    return unquote(parts.path)
