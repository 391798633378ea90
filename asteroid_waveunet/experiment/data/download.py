"""One large file by HTTP: resumed, tried again, checked, under its name only when it is whole.

    NAME.partial        what has come; another call, or a run after a kill, goes on with it
    NAME.partial.etag   which version of the file that is, where its server has told

requests speaks HTTP and tenacity is patient; the libraries for whole downloads either begin anew
after a break, or go on with a file that has changed meanwhile.
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

from asteroid_waveunet.experiment.disk import check_room, gigabytes, room_explained
from asteroid_waveunet.file_utils import checksum, replacing
from asteroid_waveunet.weights.hub import CONNECT, READ, cause

__all__ = ["Restricted", "check", "download"]

BLOCK = 2**16  # bytes; what had come of one is lost where the connection breaks
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between two attempts
PATIENCE = {False: 4, True: 12}  # attempts that bring nothing; more once something has come
LONGEST_ASKED = 900.0  # seconds: what a server may have us wait

TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Restricted(PermissionError):
    """The server gives a file to others only."""


REFUSALS: dict[int, type[OSError]] = {
    401: Restricted,
    403: Restricted,
    404: FileNotFoundError,
    410: FileNotFoundError,
}


class Interrupted(OSError):
    """An attempt that brought nothing new; another one may.

    Attributes:
        wait: seconds that the server asked for.
    """

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


def download(url: str, path: str | os.PathLike, size: int, md5: str, progress: bool = True) -> None:
    """Fetches a file whose size and checksum are known.

    Connections that break, and servers that are busy, are waited for: each time that something
    has come, patience begins anew. A server that knows no ranges makes it begin anew.

    Args:
        url: http or https.
        path: where it goes; its folder is made.
        size: bytes.
        md5: 32 hex digits.
        progress: whether to show a bar.
    Raises:
        Restricted: if the server gives it to others only (401, 403).
        FileNotFoundError: if the server does not have it (404, 410).
        NoSpace: if the disk has no room for it.
        OSError: if the server cannot be reached any more; has a file of another size; or what
            came is damaged, and then it is deleted. What came otherwise is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Part(path.with_name(f"{path.name}.partial"), url, size)
    if part.have > size:
        part.discard()
    check_room(path.parent, size - part.have, f"{path.name}, as far as it has not come yet,")
    bar = tqdm(
        total=size, initial=part.have, desc=path.name, unit="B", unit_scale=True,
        disable=not progress,
    )  # fmt: skip
    with bar, room_explained(path.parent, path.name, size):
        _complete(part, bar)
    try:
        check(part.path, size, md5, progress)
    except ValueError as reason:
        part.discard()
        raise OSError(
            f"{url} came damaged, and was deleted: {reason} The same command fetches it anew."
        ) from reason
    part.etag_file.unlink(missing_ok=True)
    os.replace(part.path, path)


def check(path: str | os.PathLike, size: int | None, md5: str, progress: bool = True) -> None:
    """
    Args:
        size: in bytes; None: whatever it is.
    Raises:
        ValueError: if a file is of another size or md5.
    """
    path = Path(path)
    there = path.stat().st_size
    if size not in (None, there):
        raise ValueError(f"{path} has {there} bytes, expected {size}.")
    bar = tqdm(
        total=there, desc=f"checking {path.name}", unit="B", unit_scale=True, disable=not progress
    )
    with bar:
        found = checksum(path, "md5", bar.update)
    if found != md5:
        raise ValueError(f"{path} has the md5 {found}, expected {md5}.")


@dataclass(frozen=True)
class Part:
    """What has come of a file.

    Attributes:
        path: it.
        url: where the rest is.
        size: of the whole file, in bytes.
    """

    path: Path
    url: str
    size: int

    @property
    def have(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def etag_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.etag")

    @property
    def etag(self) -> str:
        """Of the version that it is a part of; empty if the server told none."""
        return self.etag_file.read_text().strip() if self.etag_file.is_file() else ""

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.etag_file.unlink(missing_ok=True)

    def begin(self, etag: str) -> None:
        """The whole file will come, of this version."""
        self.discard()
        with replacing(self.etag_file) as partial:
            partial.write_text(etag)


def _complete(part: Part, bar: tqdm) -> None:
    """Asks for what is missing until nothing is."""
    longest, came = part.have, False

    def waited(state: RetryCallState) -> float:
        asked = getattr(state.outcome and state.outcome.exception(), "wait", 0.0)
        return max(asked, wait_exponential(FIRST_WAIT, LONGEST_WAIT, min=FIRST_WAIT)(state))

    def said(state: RetryCallState) -> None:
        reason, seconds = state.outcome and state.outcome.exception(), state.upcoming_sleep
        name = part.path.name.removesuffix(".partial")
        tqdm.write(f"{name}: {reason}; trying again in {seconds:.0f} s")

    while part.have < part.size:
        patient = Retrying(
            retry=retry_if_exception_type(Interrupted),
            stop=stop_after_attempt(PATIENCE[came]),
            wait=waited,
            before_sleep=said,
            reraise=True,
        )
        try:
            patient(_go_on, part, longest, bar)
        except Interrupted as reason:
            kept = f"{gigabytes(part.have)} of {gigabytes(part.size)} have come and are kept"
            advice = f"{kept}; the same command goes on there" if part.have else "Check the network"
            raise OSError(f"{part.url} cannot be downloaded ({reason}). {advice}.") from reason
        longest, came = max(longest, part.have), True
        if part.have < part.size:
            time.sleep(FIRST_WAIT)  # it broke off


def _go_on(part: Part, longest: int, bar: tqdm) -> None:
    """One request for the rest.

    Args:
        longest: bytes that there were at best, which a server that begins anew has to exceed: one
            that knows no ranges may break off at the same place forever.
    Raises:
        Interrupted: if it brought nothing new.
        OSError: if there is no sense in trying again.
    """
    headers = {"Accept-Encoding": "identity"}
    if part.have:
        headers["Range"] = f"bytes={part.have}-"
        if part.etag:
            headers["If-Range"] = part.etag
    host, broken = urlsplit(part.url).netloc, "the connection broke"
    try:
        asked = requests.get(part.url, stream=True, timeout=(CONNECT, READ), headers=headers)
        with asked as response:
            mode = _accepted(response, part)
            longest = part.have if mode == "ab" else longest
            bar.update(part.have - bar.n)
            _write(response, part, mode, bar.update)
    except requests.exceptions.ChunkedEncodingError:
        pass
    except (requests.ConnectionError, requests.Timeout) as reason:
        broken = f"no connection to {host}: {cause(reason)}"
    except requests.RequestException as reason:
        raise OSError(f"{part.url} cannot be downloaded ({cause(reason)}).") from reason
    if part.have <= longest:
        raise Interrupted(broken)


def _accepted(response: requests.Response, part: Part) -> str:
    """How the answer is to be written: "ab", behind what has come, or "wb", from the beginning.

    Raises:
        Interrupted, OSError: as `_go_on`.
    """
    status, headers = response.status_code, response.headers
    _check_status(status, headers.get("Retry-After"), part)
    etag = headers.get("ETag", "")
    etag = "" if etag.startswith("W/") else etag  # of a weak one the bytes may differ
    start, total = 0, headers.get("Content-Length")
    if status == HTTPStatus.PARTIAL_CONTENT:
        start, total = _range(headers.get("Content-Range", ""))
        if start != part.have or (part.etag and etag not in ("", part.etag)):
            part.discard()
            raise Interrupted("the server has another version of the file now; beginning anew")
    if headers.get("Content-Type", "").startswith("text/html"):
        raise OSError(f"{part.url} is a page, no file; its address may have changed.")
    if total not in (None, "*", str(part.size)):
        raise OSError(
            f"{part.url} has {total} bytes, expected {part.size}: it is another file, and was not "
            "downloaded."
        )
    if start:
        return "ab"
    part.begin(etag)
    return "wb"


def _check_status(status: int, retry_after: str | None, part: Part) -> None:
    """
    Raises:
        Interrupted, OSError: unless the answer is a file or a part of one.
    """
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    said = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.discard()
        raise Interrupted(f"the server has no such range ({said}); beginning anew")
    if status in TRY_AGAIN:
        wait = _seconds(retry_after)
        if wait > LONGEST_ASKED:
            raise OSError(
                f"{part.url} is not to be had now ({said}): its server asks to come again in "
                f"{wait / 60:.0f} minutes. What has come is kept."
            )
        raise Interrupted(f"the server is busy ({said})", wait)
    raise REFUSALS.get(status, OSError)(f"{part.url} cannot be downloaded: {said}.")


def _seconds(retry_after: str | None) -> float:
    """What a Retry-After asks for, a number or a date; 0 where there is none that can be read."""
    try:
        return urllib3.Retry().parse_retry_after(retry_after) if retry_after else 0.0
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _range(content_range: str) -> tuple[int, str | None]:
    """Where a part begins, and how long the whole is; -1 if that is not said.

    >>> _range("bytes 100-199/200"), _range("")
    ((100, '200'), (-1, None))
    """
    part, _, total = content_range.removeprefix("bytes ").partition("/")
    start = part.partition("-")[0]
    return (int(start), total) if start.isdecimal() else (-1, None)


def _write(
    response: requests.Response, part: Part, mode: str, told: Callable[[int], object]
) -> None:
    """
    Raises:
        OSError: if more comes than the file should have.
    """
    have = part.have
    with part.path.open(mode) as file:
        for block in response.iter_content(BLOCK):
            have += len(block)
            if have > part.size:
                part.discard()
                raise OSError(
                    f"{part.url} has more than the {part.size} bytes that were expected: it is "
                    "another file."
                )
            file.write(block)
            file.flush()
            told(len(block))
