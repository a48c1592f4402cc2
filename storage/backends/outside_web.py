"""What web servers have, looked at and read by plain requests.

Knows HTTP through the session of fsspec's file system; must not know stores. Fields: RFC 9110 (ETag, If-Range, Range).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import ClientError, ClientTimeout
from fsspec.asyn import sync

from ..errors import StoreUnavailable
from .diagnosis import diagnose
from .outside import Outside, Seen, Stream, bare, total

__all__ = ["Web"]

_PART = 1 << 20  # bytes handed on at once
_OBJECT = {200, 203, 206}  # with which an object comes
CONNECT, SILENCE = 10.0, 60.0  # seconds after which a server is given up that is not reached, or says nothing


class Web(Outside):
    """What a web server has; there is no listing."""

    lists = False

    def look(self, url: str, version: str | None = None) -> Seen:  # noqa: ARG002 - there are none
        """Ask by HEAD, or by GET where a server does not know that."""
        try:
            answer = self._ask("head", url, {})
        except Exception as error:
            if diagnose(error).status not in {403, 405, 501}:  # there are servers that know no HEAD
                raise
            answer = self._ask("get", url, {})
        self._files.loop.call_soon_threadsafe(answer.close)
        return self._told(answer)

    def open(self, url: str, wanted: Seen, start: int = 0) -> Stream:
        """Ask for all of it, or for the rest if it still is what was wanted; a server may send all nevertheless."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and wanted.etag is not None:
            headers["If-Range"] = wanted.etag if wanted.etag.startswith("W/") else f'"{wanted.etag}"'
        answer = self._ask("get", url, headers)
        came = answer.headers.get("Content-Range", "")
        if answer.status == 206 and not came.startswith(f"bytes {start}-"):
            self._files.loop.call_soon_threadsafe(answer.close)
            raise StoreUnavailable(f"cannot read {url}: it was asked for from byte {start:,} on, and sent {came}")
        parts = self._drain(answer, start if answer.status != 206 else 0)
        return Stream(self._told(answer), parts, lambda: self._files.loop.call_soon_threadsafe(answer.close))

    def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> Any:
        patience = ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)

        async def ask() -> Any:
            session = await self._files.set_session()
            whole = {"Accept-Encoding": "identity", **headers}
            answer = await session.request(
                method, self._files.encode_url(url), headers=whole, timeout=patience, allow_redirects=True
            )
            if answer.status == 404:
                answer.close()
                raise FileNotFoundError(url)
            try:
                answer.raise_for_status()
            except BaseException:
                answer.close()
                raise
            if answer.status not in _OBJECT:
                answer.close()
                raise StoreUnavailable(f"cannot read {url}: the server answers {answer.status} {answer.reason}")
            return answer

        return sync(self._files.loop, ask)

    def _told(self, answer: Any) -> Seen:
        heads = answer.headers
        encoded = heads.get("Content-Encoding", "identity") not in {"identity", ""}
        size = None if encoded else total(heads.get("Content-Range"), heads.get("Content-Length"))
        return Seen(size, bare(heads.get("ETag")))

    def _drain(self, answer: Any, skip: int) -> Iterator[bytes]:
        broken: list[Exception] = []

        async def part() -> bytes:
            parts: list[bytes] = []
            size = 0
            try:
                while not broken and size < _PART and (data := await answer.content.readany()):
                    parts.append(data)
                    size += len(data)
            except (ClientError, OSError) as error:  # what came before is good, and goes first
                broken.append(error)
            return b"".join(parts)

        while data := sync(self._files.loop, part):
            if skip < len(data):
                yield data[skip:]
            skip = max(0, skip - len(data))
        if broken:
            raise broken[0]
