"""Objects of S3 and of Google Cloud Storage, looked at and read as they are there.

Knows which calls are one request, and what tells one state of an object from another; must not know stores. Connections
are those of the dialects. APIs: Amazon S3 API Reference (GetObject with If-Match, ListObjectsV2, ListObjectVersions);
Google Cloud Storage JSON API v1 (generations).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fsspec.asyn import sync

from .diagnosis import diagnose
from .outside import Outside, Seen, Stream, bare, total, version_of

__all__ = ["S3", "Gcs"]

_PART = 1 << 20  # bytes read at once of what comes as a stream
_RANGE = 8 << 20  # bytes of one request where there is no stream
_PAGE = 1000


class S3(Outside):
    """Objects of S3: in a versioned bucket each is known by its version, else by its etag."""

    def look(self, url: str, version: str | None = None) -> Seen:
        """Ask for what is told of one object, or of a version of it."""
        bucket, key = _split(url)
        more = {} if version is None else {"VersionId": version}
        return self._told(self._files.call_s3("head_object", Bucket=bucket, Key=key, **more))

    def list(self, url: str) -> Iterator[tuple[str, Seen]]:
        """Yield page by page, as the service sends them: sorted by the keys' UTF-8."""
        bucket, folder = _split(url)
        versions = self._versions(bucket, folder) if self._is_versioned(bucket) else None
        for item in self._newest(bucket, folder) if versions is None else versions:
            if not item["Key"].endswith("/"):  # what consoles make to show a folder
                seen = Seen(int(item["Size"]), bare(item.get("ETag")), version_of(item.get("VersionId")))
                yield item["Key"][len(folder) :], seen

    def open(self, url: str, wanted: Seen, start: int = 0) -> Stream:
        """Ask for the version that is wanted, else for the etag: the service refuses where that is another now."""
        bucket, key = _split(url)
        more = {} if wanted.version is None else {"VersionId": wanted.version}
        if wanted.version is None and wanted.etag is not None:
            more["IfMatch"] = f'"{wanted.etag}"'
        if start:
            more["Range"] = f"bytes={start}-"
        answer = self._files.call_s3("get_object", Bucket=bucket, Key=key, **more)
        body = answer["Body"]
        return Stream(self._told(answer), self._drain(body), lambda: self._files.loop.call_soon_threadsafe(body.close))

    def _told(self, answer: Mapping[str, Any]) -> Seen:
        size = total(answer.get("ContentRange"), answer.get("ContentLength"))
        return Seen(size, bare(answer.get("ETag")), version_of(answer.get("VersionId")))

    def _drain(self, body: Any) -> Iterator[bytes]:
        while data := sync(self._files.loop, body.read, _PART):
            yield bytes(data)

    def _is_versioned(self, bucket: str) -> bool:
        """Whether objects have versions that may be listed; who may not ask gets none."""
        try:
            asked = self._files.call_s3("get_bucket_versioning", Bucket=bucket)
            if asked.get("Status") != "Enabled":
                return False
            self._files.call_s3("list_object_versions", Bucket=bucket, MaxKeys=1)
        except Exception as error:
            if diagnose(error).status in {400, 403, 405, 501} or isinstance(error, PermissionError):
                return False
            raise
        return True

    def _newest(self, bucket: str, folder: str) -> Iterator[Mapping[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=folder, **more)
            yield from page.get("Contents", [])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _versions(self, bucket: str, folder: str) -> Iterator[Mapping[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._files.call_s3("list_object_versions", Bucket=bucket, Prefix=folder, **more)
            yield from (item for item in page.get("Versions", []) if item.get("IsLatest"))
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                more["VersionIdMarker"] = page["NextVersionIdMarker"]


class Gcs(Outside):
    """Objects of GCS, each known by its generation: its etag changes with its metadata, too, and so says nothing."""

    def look(self, url: str, version: str | None = None) -> Seen:
        """Ask for what is told of one object, or of a version of it."""
        bucket, key = _split(url)
        more = {} if version is None else {"generation": version}
        fields = "size,generation"
        return self._told(self._files.call("GET", "b/{}/o/{}", bucket, key, fields=fields, json_out=True, **more))

    def list(self, url: str) -> Iterator[tuple[str, Seen]]:
        """Yield page by page, as the service sends them: sorted by the keys' UTF-8."""
        bucket, folder = _split(url)
        wanted: dict[str, Any] = {"maxResults": _PAGE, "fields": "items(name,size,generation),nextPageToken"}
        if folder:
            wanted["prefix"] = folder
        while True:
            page = self._files.call("GET", "b/{}/o", bucket, json_out=True, **wanted)
            for item in page.get("items", []):
                if not item["name"].endswith("/"):
                    yield item["name"][len(folder) :], self._told(item)
            if not page.get("nextPageToken"):
                return
            wanted["pageToken"] = page["nextPageToken"]

    def open(self, url: str, wanted: Seen, start: int = 0) -> Stream:
        """Ask what is there, and then for that generation."""
        seen = self.look(url, wanted.version)  # the generation that is read is named in every request below
        return Stream(seen, self._ranges(url, seen, start), lambda: None)

    def _told(self, item: Mapping[str, Any]) -> Seen:
        return Seen(int(item["size"]), None, version_of(item.get("generation")))

    def _ranges(self, url: str, seen: Seen, start: int) -> Iterator[bytes]:
        bucket, key = _split(url)
        place = self._files.url(f"{bucket}/{key}", generation=seen.version)
        while start < (seen.size or 0):
            _, data = self._files.call("GET", place, headers={"Range": f"bytes={start}-{start + _RANGE - 1}"})
            if not data:
                return
            yield bytes(data)
            start += len(data)


def _split(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key
