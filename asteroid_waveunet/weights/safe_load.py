"""Load untrusted checkpoint files safely.

No code in a file is executed, reading takes no more memory than the file's size, and no other
files that it names are opened. Callers check the contents before a model is built: `serialization`
the keys and tensors, the model classes their arguments.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from asteroid_waveunet.file_utils import utf_8_path
from asteroid_waveunet.weights import other_projects
from asteroid_waveunet.weights.hub import CONFIG

__all__ = ["read_safetensors", "read_torch_file"]

MAX_CONFIG_BYTES = 2**24  # the configs of this package have a few thousand
CORRUPT = "it is truncated, corrupt, or not from torch.save. Download or save it again."


def read_torch_file(path: Path) -> Any:
    """Read a file of `torch.save` that holds only tensors and plain Python values.

    The tensors are memory-mapped.

    Raises:
        ValueError: if the file is corrupt or holds other objects, which are never unpickled.
    """
    _check_archive(path)
    # Asteroid's own files hold this type too.
    torch.serialization.add_safe_globals([torch.torch_version.TorchVersion])
    try:
        with utf_8_path(path) as name:
            return torch.load(name, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as reason:
        found = re.search(r"GLOBAL (\S+)", str(reason))
        problem = f"it refers to {found[1]}" if found else "it is corrupt or holds other objects"
        advice = other_projects.advice_for_file(path) or "Save model.serialize(), not the model."
        raise ValueError(
            f"{path} cannot be read: {problem}; expected only tensors and plain Python values. "
            f"Code in a file is never run. {advice}"
        ) from reason
    except Exception as reason:  # torch.load raises nearly any type for an invalid file
        raise ValueError(f"{path} cannot be read: {CORRUPT}") from reason


def _check_archive(path: Path) -> None:
    """Check that a file is an archive of torch.save, without compressed entries.

    Raises:
        ValueError: if it is not; uncompressed entries are never larger than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as reason:
        advice = other_projects.advice_for_file(path)
        raise ValueError(advice or f"{path} cannot be read: {CORRUPT}") from reason
    if any("/code/" in entry.filename for entry in entries):
        raise ValueError(
            f"{path} cannot be read: it is a TorchScript program, such as `waveunet export` "
            "writes. Run it with torch.jit.load, or load the model that it was exported from."
        )
    size = sum(entry.file_size for entry in entries)
    if size > path.stat().st_size or any(entry.compress_type for entry in entries):
        raise ValueError(
            f"{path} cannot be read: it is compressed ({size} bytes in {path.stat().st_size}) and "
            "could exhaust the memory. torch.save never compresses; save it again."
        )


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read the model dictionary of a safetensors file.

    Its config is in its metadata, in a `config.json` in the same folder, or in both. These must
    agree, because a `config.json` could belong to other weights in that folder.

    Raises:
        ValueError: if a file is corrupt, or its config is missing or that of another model.
    """
    config_file = path.with_name(CONFIG)
    try:
        with utf_8_path(path) as name:
            with safetensors.safe_open(name, framework="pt") as file:
                metadata = (file.metadata() or {}).get("config")
            state = safetensors.torch.load_file(name)
    except safetensors.SafetensorError as reason:
        raise ValueError(f"{path} is corrupt ({reason}). Download or save it again.") from reason
    configs = []
    if metadata is not None:
        configs.append(_parse_config(metadata, f"The metadata of {path}"))
    if config_file.is_file():
        configs.append(_parse_config(_read_config(config_file), str(config_file)))
    if not configs:
        raise ValueError(
            other_projects.advice_for_file(path)
            or f"{path} has no model arguments; expected a {CONFIG} in the same folder."
        )
    if configs[0].get("model_args") != configs[-1].get("model_args"):
        raise ValueError(
            f"{config_file} has other model_args than {path.name}. Move the weights to a folder "
            "of their own, or pass changed arguments to from_pretrained."
        )
    return {**configs[-1], "state_dict": state}


def _read_config(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_CONFIG_BYTES:
        raise ValueError(f"{path} has {size} bytes; expected at most {MAX_CONFIG_BYTES}.")
    return path.read_text(encoding="utf-8", errors="replace")


def _parse_config(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise ValueError(f"{name} is corrupt: {reason}.") from reason
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a {type(value).__name__}; expected a JSON object.")
    return value
