"""A proxy on loopback in front of a store: counts what passes, and does to some of it what networks do."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("500", "503", "429", "reset", "truncated", "slow", "silent")
"""A status; the connection cut before and within an answer; an answer that comes late, and one that comes too late."""
LATE, TOO_LATE = 0.3, 2.5

Judge = Callable[[int, str, str], str | None]
"""Says what happens to a request, by its number, method and path; None for nothing."""


class Proxy:
    """What passed, and what is to happen to what will."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.judge: Judge = lambda number, method, path: None
        self.reset()

    def reset(self) -> None:
        """Count from nothing."""
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sent = self.received = self.number = 0
        self.paths: list[str] = []


@contextmanager
def proxied(upstream: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy, and its address."""
    proxy, lock = Proxy(upstream), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else self._chunks()
            with lock:
                proxy.number += 1
                fault = proxy.judge(proxy.number, self.command, self.path)
                proxy.requests[self.command] += 1
                proxy.sent += len(body)
                proxy.paths.append(f"{self.command} {self.path} {self.headers.get('Range', '')}")
                if fault:
                    proxy.faults[fault] += 1
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            if fault is not None and fault.isdigit():
                self._answer(int(fault), {"Content-Type": "application/xml"}, b"")
                return
            if fault in {"slow", "silent"}:
                time.sleep(LATE if fault == "slow" else TOO_LATE)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            with lock:
                proxy.received += len(content)
            hidden = HOP - {"content-length"} if self.command == "HEAD" else HOP
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in hidden}
            self._answer(answer.status, kept, content, cut=fault == "truncated")

        def _chunks(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return b""
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(pieces)

        def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not (self.command == "HEAD" and "Content-Length" in headers):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.wfile.flush()
            if cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815  http.server's names

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"}
