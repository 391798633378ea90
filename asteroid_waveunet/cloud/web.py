"""Files from http:// and https://: access, names, and what is kept out of records and messages."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

__all__ = [
    "access",
    "check_is_file",
    "describe_error",
    "is_web",
    "path_of",
    "sent_by",
    "with_retries",
    "without_secrets",
]

Value = TypeVar("Value")

RETRY_SECONDS = (1.0, 5.0)  # pauses
CONNECT_SECONDS, READ_SECONDS = 30.0, 60.0  # of silence; a file may take longer
TEMPORARY = (408, 429, 500, 502, 503, 504)  # statuses after which another try may succeed
CLOSED = ("ClientPayloadError", "ServerDisconnectedError")
SILENT = ("SocketTimeoutError", "ConnectionTimeoutError", "ServerTimeoutError")
CUT_OFF = (*CLOSED, *SILENT, "ClientOSError")
# Parameters of signed URLs: of S3 and CloudFront, of Google Cloud Storage, and of Azure with `sig`.
SIGNATURE = re.compile(
    r"(?i)(x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id"
    r"|(access_|private_|auth_?)?token|api_?key)"
)
AZURE_SIGNATURE = re.compile(r"s[a-z]{1,4}")  # of these, `sv`, `se`, `sp` ... come with `sig`
RESERVED = "%/:?#[]@!$&'()*+,;=~"  # and escapes: not to be escaped


def is_web(url: str) -> bool:
    """Return True for a URL of a web server.

    >>> is_web("https://host/a.wav"), is_web("s3://bucket/a.wav")
    (True, False)
    """
    return url.lower().startswith(("http://", "https://"))


def access(url: str) -> tuple[str, dict[str, Any]]:
    """Return a URL as it is sent, and the options of fsspec's file system.

    Escapes stay as they are, because signatures cover them. Proxies are those of the environment.
    """
    import aiohttp

    stray = re.sub(r"%(?![\da-fA-F]{2})", "%25", url)
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    client = {"timeout": limits, "trust_env": True}
    return quote(stray, safe=RESERVED), {"encoded": True, "client_kwargs": client}


def path_of(url: str) -> str:
    """Return the path of a URL without escapes, query and fragment.

    >>> path_of("https://host/a/b%20c.wav?token=1")
    '/a/b c.wav'
    """
    return unquote(urlsplit(url).path)


def check_is_file(url: str) -> None:
    """Check that a URL names a file.

    Raises:
        ValueError: if it names a folder or a pattern, which web servers do not list.
    """
    path = urlsplit(url).path
    if "*" in path or path.endswith("/") or not path:
        raise ValueError(
            f"{without_secrets(url)} names no file, and web servers list none: give the URL of "
            "each song, or a --manifest of them. A * in a file's name is written %2A."
        )


def without_secrets(url: str) -> str:
    """Return a URL without its password and signature, as it may be written down.

    It stays the same when a URL is signed again. Other URLs are returned as they are.

    >>> without_secrets("https://me:secret@host/a.wav?id=7&X-Amz-Signature=5f&X-Amz-Expires=60")
    'https://host/a.wav?id=7'
    """
    if not is_web(url):
        return url
    parts = urlsplit(url)
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}

    def is_secret(name: str) -> bool:
        if SIGNATURE.fullmatch(name):
            return True
        return "sig" in names and AZURE_SIGNATURE.fullmatch(name) is not None

    kept = [item for item in parts.query.split("&") if not is_secret(item.split("=")[0])]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), parts.fragment))


def sent_by(reason: BaseException) -> BaseException | None:
    """Return the error of the client behind one of fsspec, None if a file is missing.

    fsspec raises FileNotFoundError for any reason when it asks about a file, and a TimeoutError of
    its own.
    """
    if isinstance(reason, FileNotFoundError):
        return reason.__cause__
    if isinstance(reason, asyncio.TimeoutError):
        return reason.__cause__ or reason
    return reason


def describe_error(reason: BaseException) -> tuple[int, str]:
    """Return the status of a server's answer, 0 if there was none, and the error in words."""
    status = getattr(reason, "status", None)
    if type(reason).__name__ == "TooManyRedirects":
        return 0, "too many redirects"
    if isinstance(status, int) and hasattr(reason, "request_info"):
        return status, f"the server answers {status} {getattr(reason, 'message', '')}".rstrip()
    if type(reason).__name__ in CLOSED:
        return 0, "the server closed the connection before the end of the file"
    if type(reason).__name__ in SILENT:
        return 0, "the server stopped answering"
    if "CERTIFICATE_VERIFY_FAILED" in str(reason):
        return 0, ("its certificate is not trusted; SSL_CERT_FILE may name a file of trusted ones")
    return 0, ""


def with_retries(action: Callable[[], Value]) -> Value:
    """Return what a call returns; repeat it after temporary errors of a web server."""
    for pause in RETRY_SECONDS:
        try:
            return action()
        except Exception as reason:
            cause = sent_by(reason)
            is_temporary = cause and describe_error(cause)[0] in TEMPORARY
            if not is_temporary and type(cause).__name__ not in CUT_OFF:
                raise
        time.sleep(pause)
    return action()
