"""Download trained models from the Hugging Face Hub or a URL, and cache them.

A download gets its final name only when it is complete. Its sha256 is verified if the Hub or the
URL's `#sha256=...` provides one. Cached files load without a network.

Hub models are cached where `hf download user/model` puts them too (`HF_HOME`), files from other
URLs in the folder `asteroid_waveunet` of torch.hub's cache (`TORCH_HOME`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import requests
import torch
from huggingface_hub.utils import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from asteroid_waveunet.file_utils import checksum, first_line, replacing

__all__ = [
    "BIN",
    "CONFIG",
    "CONNECT_TIMEOUT",
    "READ_TIMEOUT",
    "SAFETENSORS",
    "check_repo_id",
    "check_tag",
    "download_from_hub",
    "download_from_url",
    "is_hub_name",
    "is_url",
    "request_error",
]

BIN, SAFETENSORS, CONFIG = "pytorch_model.bin", "model.safetensors", "config.json"
SUFFIXES = (".bin", ".pth", ".pt", ".ckpt", ".safetensors")

HUB_NAME = re.compile(r"[\w.-]+/[\w.!-]+(@[\w./-]+)?")
TAG = re.compile(r"(?!.*(\.\.|\.lock$))\w[\w.-]*(?<!\.)", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_URL_PATH = re.compile(  # the part after the endpoint, for a model's page or one of its files
    r"/(?P<repo>[\w.-]+/[\w.-]+)"
    r"(/(resolve|blob|tree)/(?P<revision>[^/?]+)(/(?P<file>[^?]+))?)?/?([?].*)?"
)
CONNECT_TIMEOUT, READ_TIMEOUT = 10, 60  # seconds


def is_url(name: str) -> bool:
    return name.startswith(("https://", "http://"))


def is_hub_name(name: str) -> bool:
    """Return True for "user/model" or "user/model@revision", not for a file path.

    >>> is_hub_name("user/model@v1.0"), is_hub_name("exp/model.pth"), is_hub_name("a/b/c")
    (True, False, False)
    """
    return bool(HUB_NAME.fullmatch(name)) and Path(name).suffix not in SUFFIXES


def check_repo_id(repo: str) -> None:
    """Check the name of a model on the Hub.

    Raises:
        ValueError: if the Hub rejects it, or `from_pretrained` would not load the model by it.

    >>> check_repo_id("model")
    Traceback (most recent call last):
      ...
    ValueError: Invalid Hugging Face Hub name 'model'; expected user/name: a user or organisation, \
then a name of letters, digits and . _ -
    """
    try:
        huggingface_hub.utils.validate_repo_id(repo)
        valid = is_hub_name(repo) and "@" not in repo
    except huggingface_hub.utils.HFValidationError:
        valid = False
    if not valid:
        raise ValueError(
            f"Invalid Hugging Face Hub name {repo!r}; expected user/name: a user or organisation, "
            "then a name of letters, digits and . _ -"
        )


def check_tag(tag: str) -> None:
    """Check the name of a revision.

    Raises:
        ValueError: if git rejects it as a tag, or `user/model@tag` could not name it.

    >>> check_tag("v1.0")
    """
    if not TAG.fullmatch(tag):
        raise ValueError(f"Invalid revision name {tag!r}; expected a tag such as v1.0.")


def download_from_hub(name: str) -> Path:
    """Return the weights file of "user/model" or "user/model@revision", downloaded or cached.

    The file is `model.safetensors` (its `config.json` is placed in the same folder) or, if the
    model has none, `pytorch_model.bin`.

    Raises:
        FileNotFoundError: if the model, the revision or both files do not exist.
        OSError: if the Hub is unreachable and the model is not cached, or if the file is damaged.
    """
    repo, _, revision = name.partition("@")
    return _hub_file(repo, revision or None, (SAFETENSORS, BIN))


def download_from_url(url: str) -> Path:
    """Return the file at a URL, downloaded or cached.

    Args:
        url: `http://` or `https://` address of a file that ends in one of `SUFFIXES`. An appended
            `#sha256=` and 64 hex digits are verified. The Hub's pages and file links are loaded
            by the model's name.
    Raises:
        FileNotFoundError, OSError: as `download_from_hub`.
        ValueError: if the URL has another suffix, or the fragment is not a sha256.
    """
    url, _, fragment = url.partition("#")
    expected = fragment.removeprefix("sha256=").lower()
    if fragment and not (fragment.startswith("sha256=") and SHA256.fullmatch(expected)):
        raise ValueError(f"Invalid #{fragment} after {url}; expected #sha256= and 64 hex digits.")
    endpoint = huggingface_hub.constants.ENDPOINT
    page = HUB_URL_PATH.fullmatch(url.removeprefix(endpoint)) if url.startswith(endpoint) else None
    if page is not None:
        files = (page["file"],) if page["file"] else (SAFETENSORS, BIN)
        path = _hub_file(page["repo"], page["revision"], files)
    else:
        path = _cached_download(url)
    if expected:
        _check_sha256(path, expected, url)
    return path


def _hub_file(repo: str, revision: str | None, files: Sequence[str]) -> Path:
    """Return the first of `files` that the model has."""
    name = f"{repo}@{revision}" if revision else repo
    hub_error = _connection_error(repo, revision, name)

    def get(file: str, revision: str | None = revision) -> Path | None:
        try:
            path = huggingface_hub.hf_hub_download(
                repo, file, revision=revision, local_files_only=hub_error is not None
            )
        except LocalEntryNotFoundError as reason:
            if hub_error is None:  # the connection was lost after the first request
                raise OSError(_download_failed(name, reason)) from reason
            return None
        except EntryNotFoundError:
            return None
        except Exception as reason:  # the HTTP library differs between huggingface_hub versions
            raise OSError(_download_failed(name, reason)) from reason
        _check_cached(Path(path), name)
        return Path(path)

    for file in files:
        path = get(file)
        if path is not None:
            if path.suffix == ".safetensors":
                get(CONFIG, revision=_commit_of(path, file))
            return path
    if hub_error is not None:
        raise OSError(
            f"Found no file or folder {name!r}, the Hugging Face Hub's cache has no such model, "
            f"and the Hub is unreachable ({first_line(hub_error)}). Check the network."
        ) from hub_error
    raise FileNotFoundError(f"{name} on the Hugging Face Hub has no {' or '.join(files)}.")


def _connection_error(repo: str, revision: str | None, name: str) -> Exception | None:
    """Return the error of a single request to the Hub; None if the model is available.

    A download would retry for half a minute per file if the Hub were unreachable.

    Raises:
        FileNotFoundError: if the Hub answers that the model or the revision does not exist.
    """
    try:
        huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=CONNECT_TIMEOUT)
    except RevisionNotFoundError as reason:
        raise FileNotFoundError(
            f"{repo} on the Hugging Face Hub has no revision {revision!r}; expected one of its "
            "branches, tags or commits."
        ) from reason
    except RepositoryNotFoundError as reason:
        raise FileNotFoundError(
            f"Found no file or folder {name!r}, and no such model on the Hugging Face Hub. If it "
            "is private, run `hf auth login` first."
        ) from reason
    except huggingface_hub.utils.HFValidationError as reason:
        raise FileNotFoundError(f"Invalid Hugging Face Hub name {name!r}: {reason}") from reason
    except Exception as reason:  # the HTTP library differs between huggingface_hub versions
        return reason
    return None


def _commit_of(path: Path, file: str) -> str:
    """Return the commit of a cached file, from its path snapshots/COMMIT/FILE."""
    return path.parents[file.count("/")].name


def _check_cached(path: Path, name: str) -> None:
    """Verify the sha256 of a large cached file, which the Hub's cache stores under that name.

    Raises:
        OSError: if it differs; the file is deleted and the next call downloads it again.
    """
    if not path.is_symlink():  # without symbolic links, the cache does not record the sha256
        return
    blob = path.parent / os.readlink(path)
    if SHA256.fullmatch(blob.name):
        _check_sha256(path, blob.name, name)


def _check_sha256(path: Path, expected: str, name: str) -> None:
    """Raise OSError and delete a file if its sha256 differs."""
    found = checksum(path, "sha256")
    if found != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise OSError(
            f"{name} is damaged: the sha256 of {path.name} is {found}, expected {expected}. The "
            "file was deleted; load the model again to download it again."
        )


def _cached_download(url: str) -> Path:
    """Return the cached copy of a file, downloaded first if necessary."""
    suffix = Path(urlsplit(url).path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{url} is not a weights file; expected {', '.join(SUFFIXES)}.")
    folder = Path(torch.hub.get_dir()) / "asteroid_waveunet"
    path = folder / hashlib.sha256(url.encode()).hexdigest() / f"model{suffix}"
    if path.is_file():
        return path
    with replacing(path) as partial:
        try:
            _download(url, partial)
        except requests.RequestException as reason:
            raise OSError(f"{url} cannot be downloaded ({request_error(reason)}).") from reason
    return path


def _download(url: str, path: Path) -> None:
    timeout, headers = (CONNECT_TIMEOUT, READ_TIMEOUT), {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise OSError(f"{url} is a web page; expected the direct link to the file.")
        with path.open("wb") as file:
            for block in response.iter_content(2**20):
                file.write(block)
        size = response.headers.get("Content-Length")
        if size is not None and int(size) != path.stat().st_size:
            raise OSError(
                f"{url} cannot be downloaded: the connection ended after {path.stat().st_size} of "
                f"{size} bytes. Try again."
            )


def request_error(reason: requests.RequestException) -> str:
    """Return one line on the error that requests' own exception wraps."""
    return first_line(getattr(reason.args[0] if reason.args else reason, "reason", reason))


def _download_failed(name: str, reason: Exception) -> str:
    return f"{name} cannot be downloaded from the Hugging Face Hub ({first_line(reason)})."
