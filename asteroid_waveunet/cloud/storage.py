"""Files on object storage and on disk, by URL."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from asteroid_waveunet.cloud import web
from asteroid_waveunet.file_utils import expanded, first_line, replacing

__all__ = [
    "basename",
    "check_writable",
    "create_bytes",
    "download",
    "explaining",
    "filesystem",
    "is_url",
    "join",
    "listed_url",
    "local_path",
    "open_file",
    "read_bytes",
    "remove",
    "size",
    "upload",
    "version",
    "write_bytes",
]

# Scheme -> the package that reads it; fsspec itself reads the others.
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "hf": "huggingface_hub",
}
SCHEMES = "s3://, gs://, abfs://, hf://, https:// (reading only), file://"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
CREDENTIALS = {
    "s3fs": "run `aws configure`, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
    "machine a role",
    "gcsfs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "adlfs": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and a key",
    "huggingface_hub": "run `hf auth login`, or set HF_TOKEN",
}
WITHOUT_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
REFUSED = ("AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "401")


def is_url(text: str) -> bool:
    """Return True for a URL with a scheme.

    >>> is_url("s3://bucket/song.wav"), is_url("songs/a.wav"), is_url("C:/a.wav")
    (True, False, False)
    """
    return URL.match(text) is not None


def local_path(text: str) -> Path | None:
    """Return the path of a local file or folder, None for a URL of elsewhere.

    >>> str(local_path("file:///music/a%20b.wav")), local_path("s3://bucket/a.wav")
    ('/music/a b.wav', None)
    """
    if not is_url(text):
        return expanded(text)
    parts = urlsplit(text)
    if parts.scheme in ("file", "local"):
        return Path(unquote(parts.netloc + parts.path))
    return None


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it.

    Raises:
        ImportError: if the package that reads the scheme is missing; names it.
        ValueError: if the scheme is unknown, or no bucket or host follows it.
    """
    import fsspec

    if (local := local_path(url)) is not None:
        return fsspec.filesystem("file"), str(local)
    scheme = url.split("://")[0].lower()
    if "::" not in url and scheme not in {*fsspec.available_protocols(), *PACKAGES}:
        raise ValueError(f"{url}: unknown scheme {scheme}://; expected {SCHEMES} or a path.")
    if scheme in PACKAGES and re.fullmatch(r"[^:]+://(/.*)?", url):
        raise ValueError(f"{url} names no bucket or host.")
    try:
        if web.is_web(url):
            sent, options = web.access(url)
            return fsspec.filesystem(scheme, use_listings_cache=False, **options), sent
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as reason:
        package = PACKAGES.get(scheme, "")
        remedy = f"pip install {package}" if package else first_line(reason)
        raise ImportError(
            f"{web.without_secrets(url)}: {scheme}:// needs the package {package or '?'}: {remedy}"
        ) from reason


@contextlib.contextmanager
def explaining(url: str, action: str) -> Iterator[None]:
    """Turn the errors of file systems into one line that names the URL and a remedy.

    Args:
        action: what cannot be done, such as "read".
    Raises:
        FileNotFoundError, PermissionError, OSError: instead of all others.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, ImportError):
        raise
    except NotImplementedError as reason:
        raise OSError(f"{url} cannot be {action}: its scheme does not support it.") from reason
    except Exception as reason:
        raise _explained(web.without_secrets(url), action, reason) from reason


def _explained(url: str, action: str, reason: Exception) -> OSError:
    cause = web.sent_by(reason)
    status, text = web.describe_error(cause) if cause else (0, "")
    if status in (401, 403):
        hint = "its link may have expired, or it needs a login"
        return PermissionError(f"{url} cannot be {action}: {text}; {hint}.")
    if isinstance(reason, FileNotFoundError) and (status in (404, 410) or not text):
        why = f" or cannot be reached: {first_line(cause)}" if cause and not status else "."
        return FileNotFoundError(f"{url} does not exist{why}")
    text = text or first_line(cause or reason)
    package = PACKAGES.get(url.split("://")[0], "")
    hint = CREDENTIALS.get(package, "check its permissions")
    if type(reason).__name__ in WITHOUT_CREDENTIALS or "credentials" in text.lower():
        return PermissionError(f"{url} cannot be {action}: no credentials; {hint}.")
    if isinstance(reason, PermissionError) or any(word in text for word in REFUSED):
        return PermissionError(f"{url} cannot be {action}: access denied ({text}); {hint}.")
    return OSError(f"{url} cannot be {action}: {text}")


def join(folder: str, name: str) -> str:
    """Return the URL of a file in a folder.

    >>> join("s3://bucket/out/", "song/vocals.wav")
    's3://bucket/out/song/vocals.wav'
    """
    return f"{folder.rstrip('/')}/{name}"


def listed_url(url: str, fs: Any, name: str) -> str:
    """Return the URL of a file that was found below another.

    Args:
        name: in the file system of `url`. Azure's leaves out the account, which a URL may name.
    """
    scheme, _, rest = url.partition("://")
    host = rest.split("/")[0]
    if PACKAGES.get(scheme.lower()) == "adlfs" and "@" in host:
        return f"{scheme}://{join(host, name.partition('/')[2])}"
    return fs.unstrip_protocol(name)


def basename(url: str) -> str:
    """Return the file name of a URL or path, without the query of https://.

    >>> basename("https://host/a/b%20c.wav?token=1"), basename("s3://bucket/what?.wav")
    ('b c.wav', 'what?.wav')
    """
    if web.is_web(url):
        url = web.path_of(url)
    return url.rstrip("/").rsplit("/", 1)[-1]


def download(url: str, path: Path) -> None:
    """Copy a remote file to disk.

    Temporary errors of web servers are waited for; other clients do that themselves.

    Raises:
        OSError: if it cannot be read, or the disk is full.
    """
    fs, remote = filesystem(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with explaining(url, "read"):
        web.with_retries(lambda: fs.get_file(remote, str(path)))


def upload(path: Path, url: str) -> None:
    """Copy a file to storage, where it appears whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    if target := local_path(url):
        with replacing(target) as partial:
            shutil.copyfile(path, partial)
        return
    fs, remote = filesystem(url)
    with explaining(url, "written"):
        fs.put_file(str(path), remote)


def read_bytes(url: str) -> bytes:
    """Return the content of a small file.

    Raises:
        OSError: if it cannot be read.
    """
    if path := local_path(url):
        return path.read_bytes()
    fs, remote = filesystem(url)
    with explaining(url, "read"):
        return fs.cat_file(remote)


@contextlib.contextmanager
def open_file(url: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, as a stream; .gz is decompressed.

    Raises:
        OSError: if it cannot be opened.
    """
    import fsspec

    with contextlib.ExitStack() as stack:
        place = url
        if web.is_web(url):  # which may send files only whole
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="waveunet."))
            place = str(Path(folder, "file"))
            download(url, Path(place))
        fs, remote = filesystem(place)
        with explaining(url, "read"):
            compression = "gzip" if basename(url).endswith(".gz") else None
            opened = fsspec.core.OpenFile(fs, remote, "rb", compression)
            file = stack.enter_context(opened)
        yield file


def write_bytes(url: str, content: bytes) -> None:
    """Write a small file whole.

    Raises:
        OSError: if it cannot be written.
    """
    if path := local_path(url):
        with replacing(path) as partial:
            partial.write_bytes(content)
        return
    fs, remote = filesystem(url)
    with explaining(url, "written"):
        fs.pipe_file(remote, content)


def create_bytes(url: str, content: bytes) -> bool:
    """Write a small remote file whole unless it exists; return False if it does.

    Of several writers one succeeds, where the storage can tell (S3, Google, Azure); elsewhere the
    last one's content stays.

    Raises:
        OSError: if it cannot be written.
    """
    fs, remote = filesystem(url)
    with explaining(url, "written"):
        if fs.exists(remote):
            return False
        try:
            fs.pipe_file(remote, content, mode="create")
        except Exception:  # of many types: it exists now, or the storage knows no such condition
            if fs.exists(remote):
                return False
            fs.pipe_file(remote, content)
    return True


def remove(url: str) -> None:
    """Delete a file if it exists."""
    fs, remote = filesystem(url)
    with contextlib.suppress(FileNotFoundError), explaining(url, "deleted"):
        fs.rm_file(remote)


def version(info: dict[str, Any]) -> list[Any]:
    """Return what tells a file's content from another's, from its fsspec information.

    That is its size and a text, which is empty if the storage has nothing of the kind.

    >>> version({"size": 4, "ETag": '"d3b0"', "name": "bucket/song.wav"})
    [4, '"d3b0"']
    """
    keys = (
        *("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "blob_id"),
        *("mtime", "LastModified", "Last-Modified", "last_modified", "updated", "created"),
    )
    found = next((info[key] for key in keys if info.get(key)), "")
    return [info.get("size"), str(found)]


def size(url: str) -> int | None:
    """Return the size of a file, None if it does not exist.

    Raises:
        OSError: if it cannot be accessed.
    """
    fs, remote = filesystem(url)
    try:
        with explaining(url, "read"):
            return fs.info(remote)["size"]
    except FileNotFoundError:
        return None


def check_writable(folder: str) -> None:
    """Check that files can be written to a folder, by writing and deleting one.

    Raises:
        OSError: if not.
    """
    if web.is_web(folder):
        raise PermissionError(f"{folder} can only be read; expected one of {SCHEMES}, or a path.")
    probe = join(folder, f".waveunet/probe-{secrets.token_hex(8)}")
    try:
        write_bytes(probe, b"")
        remove(probe)
    except (OSError, ValueError, ImportError) as reason:
        if is_url(folder):
            raise type(reason)(str(reason).replace(probe, folder)) from reason
        raise
