"""An HTTP proxy on loopback that counts requests, and answers some of them itself.

Knows HTTP only. It stands between a backend and a server: `requests` holds method and path of each in order, and
`answers` is a queue of things to do to the next ones: pass on (None), or answer with a status and a body, or hang up.
"""

from __future__ import annotations

import http.client
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class Answer(NamedTuple):
    """What the proxy says in the server's place; `lands` passes the request on first and drops the server's answer."""

    status: int = 0  # 0 hangs up
    body: bytes = b""
    lands: bool = False


class Proxy:
    """A proxy before `endpoint`; its own address is `url`."""

    def __init__(self, endpoint: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.answers: deque[Answer | None] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(urlsplit(endpoint)))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self, target):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.requests.append((self.command, self.path))
                answer = proxy.answers.popleft() if proxy.answers else None
                if answer is None or answer.lands:
                    status, headers, content = self.forward(body)
                if answer is not None:
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
                self.wfile.write(content)

            def handle_expect_100(self) -> bool:
                going_on = super().handle_expect_100()
                self.wfile.flush()
                return going_on

            def forward(self, body: bytes):
                connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                content = response.read()
                connection.close()
                return response.status, response.getheaders(), content

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815 - what http.server calls

            def log_message(self, *_args) -> None:
                return

        return Handler
