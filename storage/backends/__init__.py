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

__all__ = ["Backend", "ObjectInfo", "is_local", "is_remote", "local_path", "open_backend", "require_place"]

# What fsspec can read or write files by, and where an object does not appear whole, or cannot be written at all.
_NO_PLACES = {
    *("ftp", "ftps", "sftp", "ssh", "smb", "http", "https", "git", "github", "gist", "jlab", "jupyter", "data"),
    *("zip", "tar", "libarchive", "reference", "dir", "cached", "blockcache", "filecache", "simplecache", "postgresql"),
}


def is_local(url: str) -> bool:
    """Whether a store's URL is a folder of this machine."""
    scheme, separator, _ = url.partition("://")
    return not separator or scheme.lower() in {"file", "local"}


def is_remote(url: str) -> bool:
    """Whether a store's URL is a place beyond this machine, where reading costs more than keeping a copy."""
    return not is_local(url) and url.partition("://")[0].lower() != "memory"


def local_path(url: str) -> Path:
    """Return the folder of a local store; InvalidInput for a file URL that names another machine."""
    if "://" not in url:
        return Path(url).expanduser().absolute()
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise InvalidInput(f"a file URL names a path of this machine: file:///path, not {url}")
    return Path(unquote(parts.path, errors="surrogateescape")).absolute()


def require_place(url: str) -> None:
    """Raise InvalidInput for a URL of a kind that no store can be at; nothing is asked of a server."""
    scheme = url.partition("://")[0]
    if "://" in url and scheme.lower().partition("+")[0] in _NO_PLACES:
        raise InvalidInput(
            f"{scheme}:// is no place for a store; a store is a folder, s3://…, gs://… or another object storage that "
            "fsspec writes to"
        )


def open_backend(url: str, storage_options: Mapping[str, Any] | None = None) -> Backend:
    """Return the backend for a path or URL; nothing is made, and nothing is asked of a server.

    A path or `file://` is a folder; `memory://name` the place of that name in this process; anything else (`s3://`,
    `gs://`, …) goes to fsspec with the storage options, with transient failures repeated. InvalidInput for a URL of an
    unknown kind, or one whose extra is not installed.

    >>> open_backend("memory://example").put_new("lineart.json", b"{}")
    True
    """
    scheme, _, rest = url.partition("://")
    if is_local(url):
        from .local import LocalBackend

        if not url or url == f"{scheme}://":
            raise InvalidInput("no folder is named: give a path or a URL")
        return LocalBackend(local_path(url))
    if scheme.lower() == "memory":
        from .memory import named_memory

        return named_memory(rest.strip("/"))
    require_place(url)
    from .remote import RemoteBackend
    from .retry import RetryingBackend

    return RetryingBackend(RemoteBackend(url, storage_options))
