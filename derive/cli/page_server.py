"""A page served to this machine's browser: one address, that follows what is put on a board.

In: a page, and parts of it that change.  Out: an address on the loopback interface.
Not here: what is shown (watch_page.py), what it looks like (inspect/html/live.py).

The address holds a token that cannot be guessed, and nothing else is served: everything that is
not asked for under it, by a page of this address, is refused. `Host` and `Origin` are checked since
a page from elsewhere may have a name of its own resolve to 127.0.0.1 (DNS rebinding). Parts are
sent as server-sent events; a browser that comes later, or again, gets the newest of each.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from derive.errors import ArgumentError

LOOPBACK = "127.0.0.1"
#: Seconds after which a connection that is silent is told that it is still alive.
_ALIVE = 10.0


class Board:
    """Parts of a page by name; those who wait are told which of them changed."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[int, str]] = {}
        self._version = 0
        self._changed = threading.Condition()

    def put(self, **parts: str) -> None:
        with self._changed:
            self._version += 1
            for name, value in parts.items():
                if name not in self._parts or self._parts[name][1] != value:
                    self._parts[name] = self._version, value
            self._changed.notify_all()

    def since(self, version: int, wait: float) -> tuple[int, dict[str, str]]:
        """The parts that are newer than `version`, as soon as there are some; none after `wait`
        seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, wait)
            parts = {name: value for name, (at, value) in self._parts.items() if at > version}
            return self._version, parts


@contextmanager
def served(page: Callable[[str], str], board: Board, port: int = 0) -> Iterator[str]:
    """The address, for as long as the block runs.  page(nonce): the page around the parts.
    port: 0: a free one."""
    token = secrets.token_urlsafe(24)
    try:
        server = _Server((LOOPBACK, port), _handler(page, board, f"/{token}/"))
    except OSError as error:
        raise ArgumentError(
            f"port {port} of this machine cannot be used", facts=(str(error),), hint="--port 0"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}/{token}/"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser holds its connection for as long as it shows the page
    allow_reuse_address = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; anything else is shown as usual."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(
    page: Callable[[str], str], board: Board, root: str
) -> type[BaseHTTPRequestHandler]:  # fmt: skip
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "derive", ""
        timeout = 30  # of a client that sends or takes nothing

        def do_GET(self) -> None:
            why = self._refused()
            if why is not None:
                self._send(why, "text/plain; charset=utf-8", b"", "default-src 'none'")
            elif self.path == root:
                nonce = secrets.token_urlsafe(16)
                policy = (
                    f"default-src 'none'; script-src 'nonce-{nonce}'; connect-src 'self'; "
                    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'"
                )
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", page(nonce).encode(), policy)
            else:
                self._events()

        def _refused(self) -> HTTPStatus | None:
            here = {f"{name}:{self.server.server_address[1]}" for name in (LOOPBACK, "localhost")}  # type: ignore[index]
            hosts = self.headers.get_all("Host") or []
            if len(hosts) != 1 or hosts[0].lower() not in here:
                return HTTPStatus.FORBIDDEN
            origins = self.headers.get_all("Origin") or []
            if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
                return HTTPStatus.FORBIDDEN
            if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
                return HTTPStatus.FORBIDDEN
            known = [hmac.compare_digest(self.path.encode(), path.encode())
                     for path in (root, f"{root}events")]  # fmt: skip
            return None if any(known) else HTTPStatus.NOT_FOUND

        def _headers(self, status: HTTPStatus, kind: str, policy: str) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind), ("Cache-Control", "no-store"),
                ("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"),
                ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
            ):  # fmt: skip
                self.send_header(name, value)

        def _send(self, status: HTTPStatus, kind: str, text: bytes, policy: str) -> None:
            self._headers(status, kind, policy)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _events(self) -> None:
            self._headers(HTTPStatus.OK, "text/event-stream", "default-src 'none'")
            self.end_headers()
            version = 0
            while True:
                version, parts = board.since(version, _ALIVE)
                # A comment keeps the connection, and finds out that the browser has gone.
                text = f"data: {json.dumps(parts)}\n\n" if parts else ": alive\n\n"
                self.wfile.write(text.encode())
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: an address with its token is no line of a log."""

    return Handler
