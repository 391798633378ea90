"""A web server of one file that can fail in configurable ways.

with FileServer(b"content") as server:
    server.faults = [dropped(1000), refused(503)]  # of the next requests, in order
    download(server.url, ...)
    server.ranges  # Range header of each request: None or "bytes=1000-"
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler"], object]


class FileServer:
    """Serve `content` at `url`; see the module's docstring."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.faults: list[Fault] = []  # of the next requests, in order
        self.always: Fault | None = None  # of all later requests
        self.knows_ranges = True
        self.has_etags = True
        self.claims: int | None = None  # false Content-Length
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []  # If-Range header of each request
        self.answered: list[int] = []  # status of each response
        self.stalled = threading.Event()
        self.closed = threading.Event()
        handler = type("Handler", (Handler,), {"server_of": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # of clients that disconnect
        self.url = f"http://127.0.0.1:{self.server.server_port}/files/data.zip?download=1"

    def __enter__(self) -> FileServer:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()}"' if self.has_etags else ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server_of
        server.ranges.append(self.headers.get("Range"))
        server.conditions.append(self.headers.get("If-Range"))
        fault = server.faults.pop(0) if server.faults else server.always
        (fault or send)(self)

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.server_of.answered.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def send(handler: Handler, until: int | None = None, **more: str) -> None:
    """Send the file or the requested range; drop the connection at byte `until` of the file."""
    server, start = handler.server_of, 0
    size = len(server.content) if server.claims is None else server.claims
    asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
    if asked and server.knows_ranges and condition in (None, server.etag):
        start = int(asked.removeprefix("bytes=").rstrip("-"))
    headers = {"ETag": server.etag} if server.has_etags else {}
    if start >= size:
        return handler.answer(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
    headers["Content-Length"] = str(size - start)
    if start:
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    handler.answer(206 if start else 200, {**headers, **more})
    handler.wfile.write(server.content[start:until])
    handler.close_connection |= until is not None or server.claims is not None


def dropped(after: int) -> Fault:
    """Drop the connection at this byte of the file."""
    return lambda handler: send(handler, until=after)


def stalled(after: int) -> Fault:
    """Stop sending at this byte but keep the connection open, until the server exits."""

    def fault(handler: Handler) -> None:
        send(handler, until=after)
        handler.wfile.flush()
        handler.server_of.stalled.set()
        handler.server_of.closed.wait()

    return fault


def refused(status: int, **headers: str) -> Fault:
    """Answer with a status and headers, without content."""
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(status, {"Content-Length": "0", **extra})


def without_length(handler: Handler) -> None:
    """Send the whole file in chunks, without Content-Length."""
    handler.answer(200, {"Transfer-Encoding": "chunked"})
    for block in (handler.server_of.content, b""):
        handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")


def page(handler: Handler) -> None:
    """Answer with a login page instead of the file."""
    text = b"<html>Please log in"
    handler.answer(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": "19"})
    handler.wfile.write(text)
