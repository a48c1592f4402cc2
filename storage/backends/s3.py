"""S3 and services that speak its language, through s3fs.

Knows which calls are one request, and which defaults harm no service; must not know keys or stores. API: Amazon S3
API Reference (PutObject with If-None-Match, ListObjectsV2, DeleteObjects).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .diagnosis import diagnose
from .dialects import Dialect

__all__ = ["S3Dialect"]

_ONE_REQUEST = 2**32  # s3fs splits what is larger than twice this, or 5 GiB
_DELETE_BATCH = 1000
_MARK = "lineart-writer"
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


class S3Dialect(Dialect):
    """Objects in an S3 bucket."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        super().__init__(url, options)
        endpoint = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
        bucket = self.root.partition("/")[0]
        self.place = f"bucket {bucket} at {endpoint}" if endpoint else f"bucket {bucket}"

    def file_system(self) -> Any:
        """Return s3fs's class."""
        from s3fs import S3FileSystem

        return lambda _url: S3FileSystem

    def connect(self) -> Any:
        """Return a connection that repeats nothing by itself, so that an unclear answer is seen and not papered over.

        Checksums are sent and checked where the service asks for them: some answer a ranged read with the checksum of
        the whole object. Every chunk is verified by its own digest anyway.
        """
        config = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "max_pool_connections": 64,
            "connect_timeout": 10,
            "read_timeout": 60,
        }
        options = {**self._options, "skip_instance_cache": True, "use_listings_cache": False}
        options["config_kwargs"] = {**config, **options.get("config_kwargs", {})}
        files = self._class(**options)
        files.retries = 1
        return files

    def conditional(self, files: Any) -> bool | None:
        """Amazon knows If-None-Match; of others it has to be found out."""
        host = urlsplit(files.s3.meta.endpoint_url).hostname or ""
        return True if host.endswith(_AMAZON) else None

    def get(self, files: Any, path: str, start: int, stop: int | None) -> bytes:
        """Read a range; always a range, for without one s3fs asks for the size first."""
        return bytes(files.cat_file(path, start=start, end=stop))

    def size(self, files: Any, path: str) -> int:
        """Ask by HEAD alone; s3fs's `info` would list as well."""
        bucket, _, key = path.partition("/")
        return int(files.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])

    def put(self, files: Any, path: str, data: bytes) -> None:
        """Write by one PUT."""
        files.pipe_file(path, data, chunksize=_ONE_REQUEST)

    def create(self, files: Any, path: str, data: bytes) -> bool:
        """Write by one PUT with If-None-Match, and look whose object it is where there is one.

        When a connection breaks before the answer, the HTTP client repeats a PUT unasked: the second then finds what
        the first has written. So the object bears a mark of this call.
        """
        mark = secrets.token_hex(16)
        try:
            files.pipe_file(path, data, chunksize=_ONE_REQUEST, mode="create", Metadata={_MARK: mark})
        except OSError as error:
            if not isinstance(error, FileExistsError) and diagnose(error).status != 412:
                raise
        else:
            return True
        bucket, _, key = path.partition("/")
        try:
            found = files.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return bool(found.get("Metadata", {}).get(_MARK) == mark)

    def list(self, files: Any, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield page by page, as the service sends them: sorted by the keys' UTF-8."""
        bucket, _, folder = prefix.partition("/")
        more: dict[str, str] = {}
        while True:
            page = files.call_s3("list_objects_v2", Bucket=bucket, Prefix=folder, **more)
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):  # what consoles make to show a folder
                    yield f"{bucket}/{item['Key']}", int(item["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, files: Any, paths: Sequence[str]) -> None:
        """Delete a thousand at a time; s3fs's own bulk deletion hides what could not be deleted."""
        for at in range(0, len(paths), _DELETE_BATCH):
            batch = [path.partition("/") for path in paths[at : at + _DELETE_BATCH]]
            answer = files.call_s3(
                "delete_objects",
                Bucket=batch[0][0],
                Delete={"Objects": [{"Key": key} for _, _, key in batch], "Quiet": True},
            )
            for failure in answer.get("Errors", []):
                if failure.get("Code") != "NoSuchKey":
                    raise _NotDeletedError(failure)


class _NotDeletedError(OSError):
    """One failure of a bulk deletion, in the form of a botocore error, for the diagnosis."""

    def __init__(self, failure: Mapping[str, str]) -> None:
        super().__init__(f"{failure.get('Key')}: {failure.get('Message') or failure.get('Code')}")
        self.response = {"Error": dict(failure)}
