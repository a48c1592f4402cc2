"""An HTTP proxy on loopback that counts requests, and answers some of them itself.

Knows HTTP only. It stands between a backend and a server: `requests` holds method and path of each in order, and
`answers` is a queue of things to do to the next ones: pass on (None), answer with a status and a body, hang up, or let
a mishap befall the wire. `script` is asked about those that the queue says nothing of, by number from 1 on.
"""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class Answer(NamedTuple):
    """What the proxy says in the server's place; `lands` passes the request on first and drops the server's answer."""

    status: int = 0  # 0 hangs up
    body: bytes = b""
    lands: bool = False


class Mishap(NamedTuple):
    """What befalls the wire: shares of the bodies that get through before it is cut, seconds of delay, or silence."""

    up: float = 1.0
    down: float = 1.0
    delay: float = 0.0
    silent: bool = False  # nothing is answered, and nothing is cut, until the proxy is closed


class Proxy:
    """A proxy before `endpoint`; its own address is `url`."""

    def __init__(self, endpoint: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.answers: deque[Answer | Mishap | None] = deque()
        self.script: Callable[[int, str, str], Answer | Mishap | None] = lambda number, method, path: None
        self.dropped = {"expect"}  # names of headers that the server never sees
        self._closing = threading.Event()
        self._counting = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(urlsplit(endpoint)))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def decide(self, method: str, path: str) -> Answer | Mishap | None:
        """Count a request, and say what is to be done to it."""
        with self._counting:
            self.requests.append((method, path))
            return self.answers.popleft() if self.answers else self.script(len(self.requests), method, path)

    def rest(self, seconds: float | None) -> None:
        """Wait so long, or until the proxy is closed."""
        self._closing.wait(seconds)

    def _handler(self, target):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def handle_request(self) -> None:
                answer = proxy.decide(self.command, self.path)
                wire = answer if isinstance(answer, Mishap) else Mishap()
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(int(length * wire.up))
                if wire.silent or wire.delay:
                    proxy.rest(None if wire.silent else wire.delay)
                if wire.silent or wire.up < 1:
                    self.close_connection = True
                    return
                if not isinstance(answer, Answer) or answer.lands:
                    status, headers, content = self.forward(body)
                if isinstance(answer, Answer):
                    if not answer.status:
                        self.close_connection = True
                        return
                    status, headers, content = answer.status, [("Content-Type", "application/xml")], answer.body
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                length = {n.lower(): v for n, v in headers}.get("content-length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                self.wfile.write(content[: int(len(content) * wire.down)])
                if wire.down < 1:
                    self.close_connection = True

            def handle_expect_100(self) -> bool:
                going_on = super().handle_expect_100()
                self.wfile.flush()
                return going_on

            def forward(self, body: bytes):
                connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in proxy.dropped}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                content = response.read()
                connection.close()
                return response.status, response.getheaders(), content

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815 - what http.server calls

            def log_message(self, *_args) -> None:
                return

        return Handler
