"""Files of weights that may come from anywhere, read so that they can do no harm.

Nothing in a file is called, it takes no more memory than it has bytes, and it names no others.
What is missing, or of another kind, or too large for the weights, is found out by `weights`,
`arguments` and `WaveUNet.from_pretrained`, before a model is built.
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

from asteroid_waveunet.weights import other_projects
from asteroid_waveunet.weights.hub import CONFIG

__all__ = ["described", "unpickled"]

MAX_CONFIG = 2**24  # bytes; ours have a few thousand
CORRUPT = "it is truncated, corrupt, or nothing that torch.save wrote. Download or save it again."


def unpickled(path: Path) -> Any:
    """Read a file of `torch.save` that holds only tensors and plain Python.

    Tensors are read from the file as they are needed, and cannot reach beyond it.

    Raises:
        ValueError: if the file is corrupt or holds anything else, which is never unpickled.
    """
    _check_archive(path)
    # Files that Asteroid wrote hold this one type besides.
    torch.serialization.add_safe_globals([torch.torch_version.TorchVersion])
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as reason:
        called = re.search(r"GLOBAL (\S+)", str(reason))
        what = f"asks for {called[1]}, and not for" if called else "is corrupt, or holds more than"
        advice = other_projects.of_file(path) or "Save model.serialize(), not the model."
        raise ValueError(
            f"{path} cannot be read: it {what} tensors and plain Python only. Code in a file is "
            f"never run. {advice}"
        ) from reason
    except Exception as reason:  # of a file that is none, torch's reader raises nearly anything
        raise ValueError(f"{path} cannot be read: {CORRUPT}") from reason


def _check_archive(path: Path) -> None:
    """
    Raises:
        ValueError: if a file is no archive as torch.save writes it, whose entries are never
            compressed and so never larger than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as reason:
        explanation = other_projects.of_file(path)
        raise ValueError(explanation or f"{path} cannot be read: {CORRUPT}") from reason
    if any("/code/" in entry.filename for entry in entries):
        raise ValueError(
            f"{path} cannot be read: it is a TorchScript program, as `waveunet export` writes. "
            "torch.jit.load runs it; a model is loaded from what that was exported from."
        )
    size = sum(entry.file_size for entry in entries)
    if size > path.stat().st_size or any(entry.compress_type for entry in entries):
        raise ValueError(
            f"{path} cannot be read: it is compressed ({size} bytes in {path.stat().st_size}), "
            "which torch.save never does, and which can fill the memory. Save it again."
        )


def described(path: Path) -> dict[str, Any]:
    """The model dictionary of a safetensors file.

    Its description is in its metadata, in the `config.json` beside it, or in both, which then
    must agree: by its name alone, that could be of other weights.

    Raises:
        ValueError: if a file is corrupt, or there is no description or another model's.
    """
    beside = path.with_name(CONFIG)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            own = (file.metadata() or {}).get("config")
        state = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as reason:
        raise ValueError(f"{path} is corrupt ({reason}). Download or save it again.") from reason
    descriptions = [_json(own, f"The metadata of {path}")] if own is not None else []
    if beside.is_file():
        descriptions.append(_json(_text(beside), str(beside)))
    if not descriptions:
        raise ValueError(
            other_projects.of_file(path)
            or f"{path} needs {CONFIG} beside it, which describes the model."
        )
    if descriptions[0].get("model_args") != descriptions[-1].get("model_args"):
        raise ValueError(
            f"{beside} describes another model than {path.name} itself does. Give these weights a "
            "folder of their own; what is to be changed can be an argument of from_pretrained."
        )
    return {**descriptions[-1], "state_dict": state}


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_CONFIG:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; it describes no model.")
    return path.read_text(errors="replace")


def _json(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise ValueError(f"{name} is corrupt: {reason}.") from reason
    if not isinstance(value, dict):
        raise ValueError(f"{name} describes no model: it is a {type(value).__name__}.")
    return value
