"""Google Cloud Storage, through gcsfs.

Knows which calls are one request, and gcsfs's ways that have to be avoided; must not know keys or stores. API: Google
Cloud Storage JSON API v1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .dialects import Dialect

__all__ = ["GcsDialect"]

_ONE_REQUEST = 2**40
_BOUNDARY = b"--==0=="  # gcsfs puts the content between such lines without looking for them in it
_DELETIONS = 16  # at once
_PAGE = 1000


class GcsDialect(Dialect):
    """Objects in a GCS bucket."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        super().__init__(url, options)
        endpoint = options.get("endpoint_url")
        bucket = self.root.partition("/")[0]
        self.place = f"bucket {bucket} at {endpoint}" if endpoint else f"bucket {bucket}"

    def file_system(self) -> Any:
        """Return gcsfs's plain class, without its repetitions.

        The extended one, which is what fsspec finds by the URL, asks each bucket for its layout over gRPC first, which
        neither emulators nor narrow permissions answer.
        """
        from gcsfs.core import GCSFileSystem

        once = getattr(GCSFileSystem._request, "__wrapped__", GCSFileSystem._request)  # noqa: SLF001 - no public switch
        return lambda _url: type("PlainGcs", (GCSFileSystem,), {"_request": once})

    def defaults(self) -> dict[str, Any]:
        """Give up on a silent server, not on a slow upload."""
        import aiohttp

        return {"requests_timeout": aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)}

    def conditional(self, files: Any) -> bool | None:
        """Google knows ifGenerationMatch=0; of emulators it has to be found out."""
        return True if files.on_google else None

    def size(self, files: Any, path: str) -> int:
        """Ask for the object's metadata; gcsfs's `info` would list as well."""
        bucket, _, key = path.partition("/")
        return int(files.call("GET", "b/{}/o/{}", bucket, key, fields="size", json_out=True)["size"])

    def put(self, files: Any, path: str, data: bytes) -> None:
        """Write by one POST; by two where the content could be taken for the form's end."""
        files.pipe_file(path, data, chunksize=_chunk_size(data))

    def create(self, files: Any, path: str, data: bytes) -> bool:
        """Write on the condition that there is no generation of the object."""
        try:
            files.pipe_file(path, data, chunksize=_chunk_size(data), mode="create")
        except FileExistsError:
            return False
        return True

    def list(self, files: Any, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield page by page, as the service sends them: sorted by the names' UTF-8."""
        bucket, _, folder = prefix.partition("/")
        wanted: dict[str, Any] = {"maxResults": _PAGE, "fields": "items(name,size),nextPageToken"}
        if folder:
            wanted["prefix"] = folder
        while True:
            page = files.call("GET", "b/{}/o", bucket, json_out=True, **wanted)
            for item in page.get("items", []):
                if not item["name"].endswith("/"):
                    yield f"{bucket}/{item['name']}", int(item["size"])
            if not page.get("nextPageToken"):
                return
            wanted["pageToken"] = page["nextPageToken"]

    def delete(self, files: Any, paths: Sequence[str]) -> None:
        """Delete one by one, several at once."""

        def delete_one(path: str) -> None:
            bucket, _, key = path.partition("/")
            try:
                files.call("DELETE", "b/{}/o/{}", bucket, key)
            except FileNotFoundError:
                return

        with ThreadPoolExecutor(min(_DELETIONS, len(paths))) as pool:
            for _ in pool.map(delete_one, paths):
                pass


def _chunk_size(data: bytes) -> int:
    """Return what makes gcsfs send the content in one form, or, where that could be misread, as a body of its own.

    A carriage return at the end would be taken for a part of the line end before the boundary.
    """
    return len(data) if _BOUNDARY in data or data.endswith(b"\r") else _ONE_REQUEST
