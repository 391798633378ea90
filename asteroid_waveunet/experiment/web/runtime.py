"""The pinned version of onnxruntime-web, which runs the network in the browser."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CDN", "FILES", "LOCAL", "VERSION", "copy_runtime", "description", "integrity"]

VERSION = "1.30.0"
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
LOCAL = "runtime"
"""Subfolder of a page for a local copy."""

# Role -> file and its hash. The page refuses other contents.
FILES: Mapping[str, tuple[str, str]] = {
    "module": (
        "ort.wasm.bundle.min.mjs",
        "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    ),
    "binary": (
        "ort-wasm-simd-threaded.wasm",
        "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
    ),
}
FOLDERS = ("", "dist", "package/dist", "node_modules/onnxruntime-web/dist")


def integrity(path: str | os.PathLike) -> str:
    """Return the hash of a file as in an integrity attribute of HTML."""
    digest = hashlib.sha384(Path(path).read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


def description(is_local: bool) -> dict[str, Any]:
    """Return what the page must know to load the runtime.

    Args:
        is_local: load it from the page's own folder, not from the CDN.
    """
    files = {role: {"name": name, "integrity": hash} for role, (name, hash) in FILES.items()}
    return {"version": VERSION, "folder": f"{LOCAL}/" if is_local else CDN, **files}


def copy_runtime(source: str | os.PathLike, page: Path) -> None:
    """Copy the runtime's files into a page's folder.

    Args:
        source: folder of the files, or of the npm package that contains them.
    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is of another version.
    """
    how = f"npm pack onnxruntime-web@{VERSION} downloads it, tar -xzf unpacks it"
    names = [name for name, _ in FILES.values()]
    folders = [Path(source, folder) for folder in FOLDERS]
    found = next((f for f in folders if all((f / name).is_file() for name in names)), None)
    if found is None:
        raise FileNotFoundError(
            f"{source} does not contain {' and '.join(names)}, of onnxruntime-web {VERSION}: {how}."
        )
    (page / LOCAL).mkdir()
    for name, expected in FILES.values():
        if integrity(found / name) != expected:
            raise ValueError(f"{found / name} is not of onnxruntime-web {VERSION}: {how}.")
        shutil.copyfile(found / name, page / LOCAL / name)
