"""Files from http:// and https://: access, names, and what is kept out of records and messages."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

__all__ = ["access", "check_is_file", "describe_error", "is_web", "path_of", "public"]

CONNECT_SECONDS, READ_SECONDS = 30.0, 60.0  # of silence; a file may take longer
# Parameters of signed URLs: of S3 and CloudFront, of Google Cloud Storage, and of Azure with `sig`.
SIGNATURE = re.compile(
    r"(?i)(x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id)"
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
    """
    Raises:
        ValueError: if a URL names a folder or a pattern, which web servers do not list.
    """
    path = urlsplit(url).path
    if "*" in path or path.endswith("/") or not path:
        raise ValueError(
            f"{public(url)} names no file, and web servers list none: give the URL of each song, "
            "or a --manifest of them. A * in a file's name is written %2A."
        )


def public(url: str) -> str:
    """Return a URL without its password and signature, as it may be written down.

    It stays the same when a URL is signed again. Other URLs are returned as they are.

    >>> public("https://me:secret@host/a.wav?id=7&X-Amz-Signature=5f&X-Amz-Expires=60")
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


def describe_error(reason: BaseException) -> tuple[int, str]:
    """Return the status of a server's answer, 0 if there was none, and the error in words."""
    status = getattr(reason, "status", None)
    if type(reason).__name__ == "TooManyRedirects":
        return 0, "too many redirects"
    if isinstance(status, int) and hasattr(reason, "request_info"):
        return status, f"the server answers {status} {getattr(reason, 'message', '')}".rstrip()
    if type(reason).__name__ in ("ClientPayloadError", "ServerDisconnectedError"):
        return 0, "the server closed the connection before the end of the file"
    if "CERTIFICATE_VERIFY_FAILED" in str(reason):
        return 0, ("its certificate is not trusted; SSL_CERT_FILE may name a file of trusted ones")
    return 0, ""
