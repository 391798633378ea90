"""Weights that are elsewhere, on the Hugging Face Hub or at a URL, as files here.

A file is used when it is whole: it has its name only then, and its sha256 is compared where the
Hub or a URL's `#sha256=...` tells it. What was downloaded once is there without a network.

Models of the Hub are in its own cache (`HF_HOME`), where `hf download user/model` puts them too;
files of other URLs in `asteroid_waveunet` below torch.hub's folder (`TORCH_HOME`).
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
    "SAFETENSORS",
    "cause",
    "check_repo_id",
    "check_tag",
    "from_hub",
    "from_url",
    "is_hub_name",
    "is_url",
]

BIN, SAFETENSORS, CONFIG = "pytorch_model.bin", "model.safetensors", "config.json"
SUFFIXES = (".bin", ".pth", ".pt", ".ckpt", ".safetensors")

HUB_NAME = re.compile(r"[\w.-]+/[\w.!-]+(@[\w./-]+)?")
TAG = re.compile(r"(?!.*(\.\.|\.lock$))\w[\w.-]*(?<!\.)", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_PAGE = re.compile(  # what follows the Hub's own address, on its pages and in its links
    r"/(?P<repo>[\w.-]+/[\w.-]+)"
    r"(/(resolve|blob|tree)/(?P<revision>[^/?]+)(/(?P<file>[^?]+))?)?/?([?].*)?"
)
CONNECT, READ = 10, 60  # seconds without an answer, after which a server is given up


def is_url(name: str) -> bool:
    return name.startswith(("https://", "http://"))


def is_hub_name(name: str) -> bool:
    """Return True for "user/model" or "user/model@revision", not for a file path.

    >>> is_hub_name("user/model@v1.0"), is_hub_name("exp/model.pth"), is_hub_name("a/b/c")
    (True, False, False)
    """
    return bool(HUB_NAME.fullmatch(name)) and Path(name).suffix not in SUFFIXES


def check_repo_id(repo: str) -> None:
    """
    Raises:
        ValueError: if it cannot be a model's name on the Hub, or not one that is loaded by it.

    >>> check_repo_id("model")
    Traceback (most recent call last):
    ValueError: 'model' is no name for a model on the Hugging Face Hub; expected user/name, the \
user or organisation it belongs to and then letters, digits and . _ - .
    """
    try:
        huggingface_hub.utils.validate_repo_id(repo)
        valid = is_hub_name(repo) and "@" not in repo
    except huggingface_hub.utils.HFValidationError:
        valid = False
    if not valid:
        raise ValueError(
            f"{repo!r} is no name for a model on the Hugging Face Hub; expected user/name, the "
            "user or organisation it belongs to and then letters, digits and . _ - ."
        )


def check_tag(tag: str) -> None:
    """
    Raises:
        ValueError: if it cannot be a tag of git and of `user/model@tag`.

    >>> check_tag("v1.0")
    """
    if not TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is no name for a revision; expected one such as v1.0.")


def from_hub(name: str) -> Path:
    """The weights of "user/model" or "user/model@revision", from the Hub or its cache.

    `model.safetensors`, with its `config.json` beside it, or else `pytorch_model.bin`.

    Raises:
        FileNotFoundError: if there is no such model or revision, or it has no such file.
        OSError: if the Hub cannot be reached and the cache has none, or what came is damaged.
    """
    repo, _, revision = name.partition("@")
    return _from_hub(repo, revision or None, (SAFETENSORS, BIN))


def from_url(url: str) -> Path:
    """The file at a URL, or what an earlier download of it left here.

    Args:
        url: `http://` or `https://`, to a file of one of `SUFFIXES`; `#sha256=` and 64 digits
            behind it are compared. Pages and files of the Hub are taken as its names.
    Raises:
        FileNotFoundError, OSError: as `from_hub`.
        ValueError: if it names no such file, or the fragment is no sha256.
    """
    url, _, fragment = url.partition("#")
    expected = fragment.removeprefix("sha256=").lower()
    if fragment and not (fragment.startswith("sha256=") and SHA256.fullmatch(expected)):
        raise ValueError(f"{url} is followed by #{fragment}; expected #sha256= and 64 hex digits.")
    endpoint = huggingface_hub.constants.ENDPOINT
    page = HUB_PAGE.fullmatch(url.removeprefix(endpoint)) if url.startswith(endpoint) else None
    if page is not None:
        wanted = (page["file"],) if page["file"] else (SAFETENSORS, BIN)
        path = _from_hub(page["repo"], page["revision"], wanted)
    else:
        path = _download(url)
    if expected:
        _check_sha256(path, expected, url)
    return path


def _from_hub(repo: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """The first of the wanted files that there is."""
    name = f"{repo}@{revision}" if revision else repo
    unreachable = _unreachable(repo, revision, name)

    def get(file: str, revision: str | None = revision) -> Path | None:
        try:
            path = huggingface_hub.hf_hub_download(
                repo, file, revision=revision, local_files_only=unreachable is not None
            )
        except LocalEntryNotFoundError as reason:
            if unreachable is None:  # it was reached a moment ago
                raise OSError(_failed(name, reason)) from reason
            return None
        except EntryNotFoundError:
            return None
        except Exception as reason:  # of several HTTP libraries, by version
            raise OSError(_failed(name, reason)) from reason
        _check_cached(Path(path), name)
        return Path(path)

    for file in wanted:
        path = get(file)
        if path is not None:
            if path.suffix == ".safetensors":
                get(CONFIG, revision=_commit_of(path, file))
            return path
    files = " nor ".join(wanted)
    if unreachable is not None:
        raise OSError(
            f"{name!r} is no file or folder, the cache of the Hugging Face Hub does not have it, "
            f"and the Hub cannot be asked ({first_line(unreachable)}). Check the network."
        ) from unreachable
    raise FileNotFoundError(f"{name} on the Hugging Face Hub has no {files}: no model to load.")


def _unreachable(repo: str, revision: str | None, name: str) -> Exception | None:
    """Why the Hub cannot be asked, if it cannot.

    Found out by one request that is not repeated; downloads are, for half a minute each.

    Raises:
        FileNotFoundError: if it can, and has no such model or revision.
    """
    try:
        huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=CONNECT)
    except RevisionNotFoundError as reason:
        raise FileNotFoundError(
            f"{repo} on the Hugging Face Hub has no revision {revision!r}; expected a branch, tag "
            "or commit of it."
        ) from reason
    except RepositoryNotFoundError as reason:
        raise FileNotFoundError(
            f"There is no file or folder {name!r} here, and no model of that name on the Hugging "
            "Face Hub, or it is private: `hf auth login`, then."
        ) from reason
    except huggingface_hub.utils.HFValidationError as reason:
        raise FileNotFoundError(
            f"{name!r} is no name on the Hugging Face Hub: {reason}"
        ) from reason
    except Exception as reason:  # of several HTTP libraries, by version
        return reason
    return None


def _commit_of(path: Path, file: str) -> str:
    """Return the commit of a cached file, from its path snapshots/COMMIT/FILE."""
    return path.parents[file.count("/")].name


def _check_cached(path: Path, name: str) -> None:
    """The sha256 of a large file of the Hub; the cache keeps it under that name.

    Raises:
        OSError: if it is another; the file is deleted, so that it is downloaded again.
    """
    if not path.is_symlink():  # on file systems that have none, the cache does not tell
        return
    blob = path.parent / os.readlink(path)
    if SHA256.fullmatch(blob.name):
        _check_sha256(path, blob.name, name)


def _check_sha256(path: Path, expected: str, name: str) -> None:
    found = checksum(path, "sha256")
    if found != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise OSError(
            f"{name} is damaged: the sha256 of {path.name} is {found}, expected {expected}. It was "
            "deleted; load it again."
        )


def _download(url: str) -> Path:
    suffix = Path(urlsplit(url).path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{url} names no weights; expected a file ({', '.join(SUFFIXES)}).")
    folder = Path(torch.hub.get_dir()) / "asteroid_waveunet"
    path = folder / hashlib.sha256(url.encode()).hexdigest() / f"model{suffix}"
    if path.is_file():
        return path
    with replacing(path) as partial:
        try:
            _fetch(url, partial)
        except requests.RequestException as reason:
            raise OSError(f"{url} cannot be downloaded ({cause(reason)}).") from reason
    return path


def _fetch(url: str, path: Path) -> None:
    as_it_is = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=(CONNECT, READ), headers=as_it_is) as response:
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise OSError(f"{url} is a page, no file: expected the address that downloads it.")
        with path.open("wb") as file:
            for block in response.iter_content(2**20):
                file.write(block)
        size = response.headers.get("Content-Length")
        if size is not None and int(size) != path.stat().st_size:
            raise OSError(
                f"{url} cannot be downloaded: it broke off after {path.stat().st_size} of {size} "
                "bytes. Load it again."
            )


def cause(reason: requests.RequestException) -> str:
    """Why a request failed: one line of what lies below requests' own exception."""
    return first_line(getattr(reason.args[0] if reason.args else reason, "reason", reason))


def _failed(name: str, reason: Exception) -> str:
    return f"{name} cannot be downloaded from the Hugging Face Hub ({first_line(reason)})."
