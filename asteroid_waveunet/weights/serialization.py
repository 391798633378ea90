"""Trained models as files: Asteroid's dictionary, and safetensors for everyone else.

`pytorch_model.bin` holds `model_name`, `model_args`, `state_dict` and `infos`, in plain Python
and tensors, which is all that `torch.load` unpickles here. `model.safetensors` holds the same:
the tensors, and in its metadata, under "config", the rest as JSON, which is also in the
`config.json` beside it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.weights import hub, other_projects, safe_load
from asteroid_waveunet.weights.hub import BIN, CONFIG, SAFETENSORS

__all__ = ["FORMATS", "FORMAT_BY_SUFFIX", "fill", "plain", "read", "save", "write"]

KEYS = {"model_name": str, "model_args": Mapping, "state_dict": Mapping, "infos": Mapping}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


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
    """The same model is the same file: safetensors itself writes its metadata in any order."""
    metadata = {"format": "pt", "config": _described(conf)}
    content = safetensors.torch.save(conf["state_dict"], metadata)
    data = 8 + int.from_bytes(content[:8], "little")
    header = {**json.loads(content[8:data]), "__metadata__": metadata}
    described = json.dumps(header, separators=(",", ":")).encode()
    described += b" " * (-len(described) % 8)
    with path.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        file.write(memoryview(content)[data:])


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
    described = path.suffix == ".safetensors"
    conf = safe_load.described(path) if described else safe_load.unpickled(path)
    conf = _checked(_of_checkpoint(conf), str(path))
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
        own = {
            name: state_dict[name].detach().to("cpu", tensor.dtype, copy=True).contiguous()
            for name, tensor in model.state_dict().items()
        }
        model.load_state_dict(own, assign=True)
    else:
        model.load_state_dict(state_dict)


def _locate(source: str | os.PathLike) -> Path:
    """A weights file on this disk: given, in a given folder, or fetched."""
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"A {type(source).__name__} names no weights; expected a path or name.")
    name = os.fspath(source)
    if hub.is_url(name):
        return hub.from_url(name)
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir() and name:
        for file in (SAFETENSORS, BIN):
            if (path / file).is_file():
                return path / file
        raise FileNotFoundError(f"The folder {path} holds neither {SAFETENSORS} nor {BIN}.")
    if hub.is_hub_name(name) and not path.parent.is_dir():
        return hub.from_hub(name)
    raise FileNotFoundError(
        f"There is no file or folder {name!r}, and it is no name on the Hugging Face Hub, which "
        "would be 'user/model' or 'user/model@revision'."
    )


def _of_checkpoint(conf: Any) -> Any:
    """Asteroid's dictionary of a Lightning checkpoint, whose System calls its model `model`."""
    if not isinstance(conf, Mapping) or "pytorch-lightning_version" not in conf:
        return conf
    state = conf.get("state_dict")
    return {
        **{key: conf[key] for key in ("model_name", "model_args") if key in conf},
        "state_dict": {
            name.removeprefix("model."): tensor
            for name, tensor in (state.items() if isinstance(state, Mapping) else ())
            if str(name).startswith("model.")
        },
        "infos": {"training_config": conf.get("training_config")},
    }


def _checked(conf: Any, name: str) -> dict[str, Any]:
    """The dictionary, if it is Asteroid's.

    Raises:
        ValueError: if a key is missing or its value of another kind; says which.
    """
    found = {"infos": {}, **conf} if isinstance(conf, Mapping) else {}
    wrong = [key for key, kind in KEYS.items() if not isinstance(found.get(key), kind)]
    if wrong:
        keys = sorted(map(str, found)) or type(conf).__name__
        raise ValueError(
            other_projects.of_dictionary(conf, name)
            or f"{name} holds no Asteroid model: {', '.join(wrong)} missing or of another kind, "
            f"found {keys}. Expected what torch.save(model.serialize(), path) writes."
        )
    for key, tensor in found["state_dict"].items():
        dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
        # Batch normalisation counts its batches, and is the only one to store whole numbers.
        counts = str(key).endswith(".num_batches_tracked")
        dtypes = (torch.int64,) if counts else FLOATS
        if not isinstance(key, str) or not dense or tensor.is_meta or tensor.dtype not in dtypes:
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise ValueError(
                f"{name} holds no Asteroid model: {key!r} in its state_dict is no dense tensor of "
                f"floats, but {kind}."
            )
    return found
