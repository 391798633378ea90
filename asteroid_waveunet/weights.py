"""Trained models as files: Asteroid's dictionary, and safetensors for everyone else.

`pytorch_model.bin` holds `model_name`, `model_args`, `state_dict` and `infos`, in plain Python
and tensors, which is all that `torch.load` unpickles here. `model.safetensors` holds the same:
the tensors, and in its metadata, under "config", the rest as JSON, which is also in the
`config.json` beside it.

A file may come from anywhere. Nothing in it is called, no more memory is taken than it has bytes,
and it names no other files.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from . import foreign, remote
from .files import replacing
from .remote import BIN, CONFIG, SAFETENSORS

__all__ = ["FORMATS", "fill", "plain", "read", "save", "unpickled", "write"]

KEYS = {"model_name": str, "model_args": Mapping, "state_dict": Mapping, "infos": Mapping}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_CONFIG = 2**24  # bytes; ours have a few thousand


def plain(value: Any) -> Any:
    """The same in dict, list, str, int, float, bool and None.

    Raises:
        ValueError: if something in it has no such equivalent.

    >>> plain({"scores": (np.float32(1.5), Path("a"))})
    {'scores': [1.5, 'a']}
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, (str, os.PathLike)):  # a TorchVersion is a str of its own kind
        return str(value)
    raise ValueError(f"A {type(value).__name__} cannot be stored with a model: {value!r}.")


def save(conf: Mapping[str, Any], folder: str | os.PathLike) -> None:
    """Writes what `WaveUNet.serialize()` returns in both formats into a folder.

    Three files, each whole or not at all: `pytorch_model.bin`, `model.safetensors`,
    `config.json`.
    """
    folder = Path(folder)
    write(conf, folder / BIN)
    write(conf, folder / SAFETENSORS)
    with replacing(folder / CONFIG) as partial:
        partial.write_text(_described(conf, indent=2) + "\n")


def write(conf: Mapping[str, Any], path: str | os.PathLike, form: str | None = None) -> None:
    """Writes what `WaveUNet.serialize()` returns as one file, whole or not at all.

    Args:
        form: one of `FORMATS`; by the end of the file's name if None, and Asteroid's if that
            tells nothing.
    """
    path = Path(path)
    form = form or FORMAT_BY_SUFFIX.get(path.suffix, "asteroid")
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in conf["state_dict"].items()
    }
    with replacing(path) as partial:
        FORMATS[form]({**conf, "state_dict": state}, partial)


def _write_bin(conf: Mapping[str, Any], path: Path) -> None:
    with path.open("wb") as file:  # of a path, torch.save keeps the name in the file
        torch.save(dict(conf), file)


def _write_safetensors(conf: Mapping[str, Any], path: Path) -> None:
    metadata = {"format": "pt", "config": _described(conf)}
    safetensors.torch.save_file(conf["state_dict"], path, metadata=metadata)


def _described(conf: Mapping[str, Any], indent: int | None = None) -> str:
    described = {key: value for key, value in conf.items() if key != "state_dict"}
    return json.dumps(described, indent=indent)


FORMATS: dict[str, Callable[[Mapping[str, Any], Path], None]] = {
    "asteroid": _write_bin,
    "safetensors": _write_safetensors,
}
FORMAT_BY_SUFFIX = {".bin": "asteroid", ".pth": "asteroid", ".safetensors": "safetensors"}


def read(source: Any) -> dict[str, Any]:
    """The model dictionary from wherever it is; see `WaveUNet.from_pretrained`.

    Raises:
        FileNotFoundError: if there is no such file, folder or model on the Hub.
        OSError: if it cannot be downloaded.
        ValueError: if the file is corrupt, harmful, or holds no model of Asteroid's form.
    """
    if isinstance(source, Mapping):
        return _checked(source, "The dictionary")
    path = _locate(source)
    conf = _read_safetensors(path) if path.suffix == ".safetensors" else unpickled(path)
    conf = _checked(_of_checkpoint(conf), str(path), foreign.of_file(path))
    size = sum(tensor.nbytes for tensor in conf["state_dict"].values())
    if size > path.stat().st_size:
        raise ValueError(
            f"{path} declares {size} bytes of weights and has {path.stat().st_size} itself: it was "
            "made to fill the memory, and is not read."
        )
    return conf


def fill(model: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Loads weights that must be exactly a model's own.

    A model of the meta device, which has shapes only, gets memory here, when they have proved to
    be those of the weights.

    Raises:
        ValueError: if tensors are missing, left over, of another shape or not finite; names them.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    if expected != found:
        wrong = sorted(n for n in expected.keys() | found if expected.get(n) != found.get(n))
        listed = "; ".join(
            f"{name}: {found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
            for name in wrong[:5]
        )
        raise ValueError(
            f"The weights are not this model's: {len(wrong)} tensors differ ({listed}"
            f"{'; ...' if len(wrong) > 5 else ''}). Build the model with the arguments that "
            "the weights were trained with."
        )
    broken = [name for name, tensor in state_dict.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(
            f"{len(broken)} tensors hold NaN or infinity ({', '.join(broken[:5])}): the file is "
            "corrupt, or its training diverged."
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        model.to_empty(device="cpu")
    model.load_state_dict(state_dict)


def unpickled(path: Path) -> Any:
    """What `torch.save` wrote, if it is tensors and plain Python.

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
        advice = foreign.of_file(path) or "Save model.serialize(), not the model."
        raise ValueError(
            f"{path} cannot be read: it {what} tensors and plain Python only. Code in a file is "
            f"never run. {advice}"
        ) from reason
    except Exception as reason:  # of a file that is none, torch's reader raises nearly anything
        raise ValueError(f"{path} cannot be read: {CORRUPT}") from reason


CORRUPT = "it is truncated, corrupt, or nothing that torch.save wrote. Download or save it again."


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
        explanation = foreign.of_file(path)
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


def _locate(source: str | os.PathLike) -> Path:
    """A weights file on this disk: given, in a given folder, or fetched."""
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"A {type(source).__name__} names no weights; expected a path or name.")
    name = os.fspath(source)
    if remote.is_url(name):
        return remote.from_url(name)
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir() and name:
        for file in (SAFETENSORS, BIN):
            if (path / file).is_file():
                return path / file
        raise FileNotFoundError(f"The folder {path} holds neither {SAFETENSORS} nor {BIN}.")
    if remote.is_hub_name(name) and not path.parent.is_dir():
        return remote.from_hub(name)
    raise FileNotFoundError(
        f"There is no file or folder {name!r}, and it is no name on the Hugging Face Hub, which "
        "would be 'user/model' or 'user/model@revision'."
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Tensors and their description; where both say it, file and `config.json` must agree."""
    beside = path.with_name(CONFIG)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            own = (file.metadata() or {}).get("config")
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as reason:
        raise ValueError(f"{path} is corrupt ({reason}). Download or save it again.") from reason
    described = [_json(own, f"The metadata of {path}")] if own is not None else []
    if beside.is_file():
        described.append(_json(_text(beside), str(beside)))
    if not described:
        raise ValueError(
            foreign.of_file(path) or f"{path} needs {CONFIG} beside it, which describes the model."
        )
    first, last = described[0], described[-1]
    if first.get("model_args") != last.get("model_args"):
        raise ValueError(
            f"{beside} is not of {path.name}, whose own model_args are {first.get('model_args')}. "
            "Give the weights a folder of their own; arguments can be replaced on loading."
        )
    return {**last, "state_dict": state}


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


def _of_checkpoint(conf: Any) -> Any:
    """Asteroid's dictionary of a Lightning checkpoint, whose System calls its model `model`."""
    if not isinstance(conf, Mapping) or "pytorch-lightning_version" not in conf:
        return conf
    state = conf.get("state_dict")
    state = state if isinstance(state, Mapping) else {}
    described = {key: conf[key] for key in ("model_name", "model_args") if key in conf}
    prefix = "model."
    return {
        **described,
        "state_dict": {
            name.removeprefix(prefix): tensor
            for name, tensor in state.items()
            if isinstance(name, str) and name.startswith(prefix)
        },
    }


def _checked(conf: Any, name: str, explanation: str | None = None) -> dict[str, Any]:
    """The dictionary, if it is Asteroid's.

    Args:
        explanation: what it is if it is not, where that is known already.
    Raises:
        ValueError: if a key is missing or its value of another kind; says which.
    """
    found = {"infos": {}, **conf} if isinstance(conf, Mapping) else {}
    wrong = [key for key, kind in KEYS.items() if not isinstance(found.get(key), kind)]
    if wrong:
        keys = sorted(map(str, found)) or type(conf).__name__
        raise ValueError(
            explanation
            or foreign.of_dictionary(conf, name)
            or f"{name} holds no Asteroid model: {', '.join(wrong)} missing or of another kind, "
            f"found {keys}. Expected what torch.save(model.serialize(), path) writes."
        )
    for key, tensor in found["state_dict"].items():
        dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
        if not isinstance(key, str) or not dense or tensor.is_meta or tensor.dtype not in FLOATS:
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise ValueError(
                f"{name} holds no Asteroid model: {key!r} in its state_dict is no dense tensor of "
                f"floats, but {kind}."
            )
    return found
