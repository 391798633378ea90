"""Resumable HTTP download of one large file of known size and checksum.

    NAME.partial        the bytes received so far; a later call resumes there
    NAME.partial.etag   the server's version of the file, if it sends one

The file gets its name only when it is complete and its checksum is right. Libraries for whole
downloads either start again after a dropped connection or resume a file that has changed on the
server. `weights.hub` downloads weights, whose size is not known beforehand, in a single request.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential
from tqdm import tqdm

from asteroid_waveunet.experiment.disk import check_free_space, explain_full_disk, format_size
from asteroid_waveunet.file_utils import checksum, replacing
from asteroid_waveunet.weights.hub import CONNECT_TIMEOUT, READ_TIMEOUT, request_error

__all__ = ["Restricted", "check", "download"]

BLOCK = 2**16  # bytes; an incomplete block is lost when the connection drops
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between two attempts
MAX_ATTEMPTS = {False: 4, True: 12}  # without progress: before and after the first bytes
MAX_RETRY_AFTER = 900.0  # seconds

RETRIED = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses


class Restricted(PermissionError):
    """The server denies access to the file."""


REFUSALS: dict[int, type[OSError]] = {
    401: Restricted,
    403: Restricted,
    404: FileNotFoundError,
    410: FileNotFoundError,
}


class RetryableError(OSError):
    """An attempt that received nothing new but may be repeated.

    Attributes:
        wait: seconds that the server asked to wait.
    """

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


def download(url: str, path: str | os.PathLike, size: int, md5: str, progress: bool = True) -> None:
    """Download a file of known size and checksum.

    Dropped connections and busy servers are retried; the number of attempts counts from the last
    progress. The download starts again if the server does not support ranges.

    Args:
        url: http or https.
        path: of the file; its folder is created.
        size: in bytes.
        md5: 32 hex digits.
        progress: show a progress bar.
    Raises:
        Restricted: if the server denies access (401, 403).
        FileNotFoundError: if the server does not have the file (404, 410).
        NoSpace: if there is too little disk space.
        OSError: if the server stays unreachable, or has a file of another size; or the checksum is
            wrong, and then the received file is deleted. Otherwise it is kept for resuming.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = PartialFile(path.with_name(f"{path.name}.partial"), url, size)
    if part.received > size:
        part.discard()
    check_free_space(path.parent, size - part.received, f"The rest of {path.name}")
    bar = tqdm(
        total=size, initial=part.received, desc=path.name, unit="B", unit_scale=True,
        disable=not progress,
    )  # fmt: skip
    with bar, explain_full_disk(path.parent, path.name, size):
        _complete(part, bar)
    try:
        check(part.path, size, md5, progress)
    except ValueError as reason:
        part.discard()
        raise OSError(
            f"{url} was damaged in transfer and deleted: {reason} Run the same command again."
        ) from reason
    part.etag_file.unlink(missing_ok=True)
    os.replace(part.path, path)


def check(path: str | os.PathLike, size: int | None, md5: str, progress: bool = True) -> None:
    """Check a file's size and checksum.

    Args:
        size: in bytes; None accepts any.
    Raises:
        ValueError: if size or md5 differ.
    """
    path = Path(path)
    found_size = path.stat().st_size
    if size not in (None, found_size):
        raise ValueError(f"{path} has {found_size} bytes, expected {size}.")
    bar = tqdm(
        total=found_size, desc=f"checking {path.name}", unit="B", unit_scale=True,
        disable=not progress,
    )  # fmt: skip
    with bar:
        found = checksum(path, "md5", bar.update)
    if found != md5:
        raise ValueError(f"{path} has the md5 {found}, expected {md5}.")


@dataclass(frozen=True)
class PartialFile:
    """The part of a file that has been received.

    Attributes:
        path: of the part.
        url: of the whole file.
        size: of the whole file, in bytes.
    """

    path: Path
    url: str
    size: int

    @property
    def received(self) -> int:
        """Number of bytes received."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def etag_file(self) -> Path:
        """Path of the file that stores the ETag."""
        return self.path.with_name(f"{self.path.name}.etag")

    @property
    def etag(self) -> str:
        """ETag of the version that the part belongs to; empty if the server sent none."""
        return (
            self.etag_file.read_text(encoding="utf-8").strip() if self.etag_file.is_file() else ""
        )

    def discard(self) -> None:
        """Delete the part and its ETag."""
        self.path.unlink(missing_ok=True)
        self.etag_file.unlink(missing_ok=True)

    def restart(self, etag: str) -> None:
        """Discard the part before the whole file of this version is received."""
        self.discard()
        with replacing(self.etag_file) as partial:
            partial.write_text(etag, encoding="utf-8")


def _complete(part: PartialFile, bar: tqdm) -> None:
    """Request the missing bytes until the file is complete."""
    most, progressed = part.received, False

    def wait(state: RetryCallState) -> float:
        requested = getattr(state.outcome and state.outcome.exception(), "wait", 0.0)
        return max(requested, wait_exponential(FIRST_WAIT, LONGEST_WAIT, min=FIRST_WAIT)(state))

    def report(state: RetryCallState) -> None:
        reason, seconds = state.outcome and state.outcome.exception(), state.upcoming_sleep
        name = part.path.name.removesuffix(".partial")
        tqdm.write(f"{name}: {reason}; retrying in {seconds:.0f} s")

    while part.received < part.size:
        retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            stop=stop_after_attempt(MAX_ATTEMPTS[progressed]),
            wait=wait,
            before_sleep=report,
            reraise=True,
        )
        try:
            retrying(_request_rest, part, most, bar)
        except RetryableError as reason:
            advice = "Check the network"
            if part.received:
                kept = f"{format_size(part.received)} of {format_size(part.size)}"
                advice = f"{kept} were received and kept; run the same command again to resume"
            raise OSError(f"{part.url} cannot be downloaded ({reason}). {advice}.") from reason
        most, progressed = max(most, part.received), True
        if part.received < part.size:
            time.sleep(FIRST_WAIT)  # the connection dropped


def _request_rest(part: PartialFile, most: int, bar: tqdm) -> None:
    """Make one request for the missing bytes.

    Args:
        most: the largest number of bytes received so far. A server without range support must
            exceed it, because it might drop the connection at the same place forever.
    Raises:
        RetryableError: if nothing new was received.
        OSError: if a retry is useless.
    """
    headers = {"Accept-Encoding": "identity"}
    if part.received:
        headers["Range"] = f"bytes={part.received}-"
        if part.etag:
            headers["If-Range"] = part.etag
    host, failure = urlsplit(part.url).netloc, "the connection dropped"
    try:
        request = requests.get(
            part.url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), headers=headers
        )
        with request as response:
            mode = _write_mode(response, part)
            most = part.received if mode == "ab" else most
            bar.update(part.received - bar.n)
            _write(response, part, mode, bar.update)
    except requests.exceptions.ChunkedEncodingError:
        pass
    except (requests.ConnectionError, requests.Timeout) as reason:
        failure = f"no connection to {host}: {request_error(reason)}"
    except requests.RequestException as reason:
        raise OSError(f"{part.url} cannot be downloaded ({request_error(reason)}).") from reason
    if part.received <= most:
        raise RetryableError(failure)


def _write_mode(response: requests.Response, part: PartialFile) -> str:
    """Check the response's headers; return "ab" to append to the part, "wb" to overwrite it.

    Raises:
        RetryableError, OSError: as `_request_rest`.
    """
    status, headers = response.status_code, response.headers
    _check_status(status, headers.get("Retry-After"), part)
    etag = headers.get("ETag", "")
    etag = "" if etag.startswith("W/") else etag  # files of equal weak ETags may differ in bytes
    start, total = 0, headers.get("Content-Length")
    if status == HTTPStatus.PARTIAL_CONTENT:
        start, total = _parse_range(headers.get("Content-Range", ""))
        if start != part.received or (part.etag and etag not in ("", part.etag)):
            part.discard()
            raise RetryableError("the file has changed on the server; starting again")
    if headers.get("Content-Type", "").startswith("text/html"):
        raise OSError(f"{part.url} is a web page, not a file; the URL may have changed.")
    if total not in (None, "*", str(part.size)):
        raise OSError(
            f"{part.url} has {total} bytes, expected {part.size}: it is another file, and was not "
            "downloaded."
        )
    if start:
        return "ab"
    part.restart(etag)
    return "wb"


def _check_status(status: int, retry_after: str | None, part: PartialFile) -> None:
    """Check that the response is a file or a part of one.

    Raises:
        RetryableError, OSError: if it is not.
    """
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    text = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.discard()
        raise RetryableError(f"the server rejected the range ({text}); starting again")
    if status in RETRIED:
        wait = _parse_retry_after(retry_after)
        if wait > MAX_RETRY_AFTER:
            raise OSError(
                f"{part.url} is not available now ({text}): the server asks to retry after "
                f"{wait / 60:.0f} minutes. The bytes received so far are kept."
            )
        raise RetryableError(f"the server is busy ({text})", wait)
    raise REFUSALS.get(status, OSError)(f"{part.url} cannot be downloaded: {text}.")


def _parse_retry_after(retry_after: str | None) -> float:
    """Parse a Retry-After header, a number or a date, to seconds; 0 if missing or invalid."""
    try:
        return urllib3.Retry().parse_retry_after(retry_after) if retry_after else 0.0
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _parse_range(content_range: str) -> tuple[int, str | None]:
    """Parse a Content-Range header to the first byte, -1 if missing, and the total length.

    >>> _parse_range("bytes 100-199/200"), _parse_range("")
    ((100, '200'), (-1, None))
    """
    part, _, total = content_range.removeprefix("bytes ").partition("/")
    start = part.partition("-")[0]
    return (int(start), total) if start.isdecimal() else (-1, None)


def _write(
    response: requests.Response, part: PartialFile, mode: str, update: Callable[[int], object]
) -> None:
    """Write the response's content.

    Raises:
        OSError: if it is longer than the file's known size.
    """
    received = part.received
    with part.path.open(mode) as file:
        for block in response.iter_content(BLOCK):
            received += len(block)
            if received > part.size:
                part.discard()
                raise OSError(
                    f"{part.url} has more than the expected {part.size} bytes: it is another file."
                )
            file.write(block)
            file.flush()
            update(len(block))
