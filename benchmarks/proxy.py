"""An HTTP proxy on loopback that counts requests and bytes, and can keep each request waiting.

Knows HTTP/1.1 only as far as messages have heads and bodies. It runs in a thread of its own; what is measured are other
processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PIECE = 1 << 20  # bytes passed on at once
HEAD = 1 << 16  # bytes of a head at most


class CountingProxy:
    """Stands before a server at `host:port`; `requests` counts by method and path."""

    def __init__(self, host: str, port: int, delay: float = 0.0) -> None:
        self.delay = delay  # seconds
        self.requests: Counter[tuple[str, str]] = Counter()
        self.sent = self.received = 0  # bytes of bodies, to the server and from it
        self.port = 0
        self._server = (host, port)

    @contextmanager
    def running(self) -> Iterator[CountingProxy]:
        """Serve until the block ends."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="counting-proxy")
        thread.start()
        try:
            listening = asyncio.run_coroutine_threadsafe(
                asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD), loop
            ).result()
            self.port = listening.sockets[0].getsockname()[1]
            yield self
            asyncio.run_coroutine_threadsafe(_end(listening), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def total(self) -> int:
        """How many requests came."""
        return self.requests.total()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Pass the requests of one connection on, one after another."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            server, request = await asyncio.open_connection(*self._server, limit=HEAD)
            try:
                while await self._pass_on(client, answer, server, request):
                    pass
            finally:
                request.close()
        answer.close()

    async def _pass_on(
        self,
        client: asyncio.StreamReader,
        answer: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        request: asyncio.StreamWriter,
    ) -> bool:
        head = await client.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        self.requests[method, urlsplit(target).path] += 1
        fields = _fields(head)
        if self.delay:
            await asyncio.sleep(self.delay)
        if b"expect" in fields:  # answered here, so that the body follows the head at once
            answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        request.write(head)
        passed = await _body(client, request, fields)
        self.sent += passed  # after the wait: others have counted meanwhile
        reply = await server.readuntil(b"\r\n\r\n")
        answer.write(reply)
        status = int(reply.split(b" ", 2)[1])
        fields = _fields(reply)
        if method != "HEAD" and status not in {204, 304}:
            passed = await _body(server, answer, fields)
            self.received += passed
        await answer.drain()
        return fields.get(b"connection", b"").lower() != b"close"


async def _end(listening: asyncio.Server) -> None:
    listening.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


async def _body(source: asyncio.StreamReader, target: asyncio.StreamWriter, fields: dict[bytes, bytes]) -> int:
    """Pass a body on and return its bytes."""
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return await _chunked(source, target)
    return await _exactly(source, target, int(fields.get(b"content-length", b"0")))


async def _exactly(source: asyncio.StreamReader, target: asyncio.StreamWriter, length: int) -> int:
    left = length
    while left:
        data = await source.read(min(left, PIECE))
        if not data:
            raise ConnectionResetError("a body was cut short")
        left -= len(data)
        target.write(data)
        await target.drain()
    return length


async def _chunked(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> int:
    total = 0
    while True:
        line = await source.readuntil(b"\r\n")
        target.write(line)
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            while line != b"\r\n":  # trailers, up to the empty line
                line = await source.readuntil(b"\r\n")
                target.write(line)
            return total
        total += await _exactly(source, target, size)
        target.write(await source.readexactly(2))
