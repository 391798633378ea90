"""A web server for the page on this machine, with cross-origin isolation.

Browsers give several threads only to pages that are isolated from other sites, by two headers.
"""

from __future__ import annotations

import errno
import functools
import os
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["HOST", "ISOLATION", "make_server", "url"]

HOST = "127.0.0.1"

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""Headers of a page whose scripts may use several threads."""


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder's files with the headers, without a log."""

    # Known to the page's browser only; the system's table may lack them or say otherwise.
    extensions_map = {  # noqa: RUF012  # as in the base class
        **SimpleHTTPRequestHandler.extensions_map,
        ".css": "text/css",
        ".flac": "audio/flac",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript",
        ".json": "application/json",
        ".mjs": "text/javascript",
        ".onnx": "application/octet-stream",
        ".wasm": "application/wasm",
    }

    headers_sent = ISOLATION

    def end_headers(self) -> None:
        for name, value in {**self.headers_sent, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def make_server(
    folder: str | os.PathLike, port: int = 0, isolated: bool = True
) -> ThreadingHTTPServer:
    """Return a server of a folder that listens on this machine only; `serve_forever` runs it.

    Args:
        port: 0 for a free one.
        isolated: send the headers of cross-origin isolation.
    Raises:
        OSError: if the port is in use or not allowed.
    """
    kind = type("Handler", (Handler,), {"headers_sent": ISOLATION if isolated else {}})
    try:
        server = ThreadingHTTPServer((HOST, port), functools.partial(kind, directory=folder))
    except (OSError, OverflowError) as reason:
        in_use = getattr(reason, "errno", None) == errno.EADDRINUSE
        why = "is in use" if in_use else f"cannot be used ({reason})"
        raise OSError(f"Port {port} {why}; choose another with --port, or none.") from reason
    server.daemon_threads = True
    return server


def url(server: ThreadingHTTPServer) -> str:
    """Return the address of a server's page."""
    return f"http://{HOST}:{server.server_port}/"
