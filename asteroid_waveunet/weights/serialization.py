"""Write and read model files, in Asteroid's format and as safetensors.

`pytorch_model.bin` is Asteroid's model dictionary: `model_name`, `model_args`, `state_dict` and
`infos`, made of tensors and plain Python values only. `model.safetensors` holds the same tensors;
the other entries are JSON in its metadata under "config", and in a `config.json` in the same
folder.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from asteroid_waveunet import pretrained
from asteroid_waveunet.file_utils import expanded, replacing
from asteroid_waveunet.weights import hub, other_projects, safe_load
from asteroid_waveunet.weights.hub import BIN, CONFIG, SAFETENSORS

__all__ = [
    "FORMATS",
    "FORMAT_BY_SUFFIX",
    "fingerprint",
    "load_state_dict_strictly",
    "read",
    "save",
    "to_plain_python",
    "write",
]

KEY_TYPES = {"model_name": str, "model_args": Mapping, "state_dict": Mapping, "infos": Mapping}
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def to_plain_python(value: Any) -> Any:
    """Convert a value to dict, list, str, int, float, bool and None, recursively.

    Raises:
        ValueError: if a value has no such equivalent.

    >>> to_plain_python({"scores": (np.float32(1.5), Path("a"))})
    {'scores': [1.5, 'a']}
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain_python(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain_python(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return to_plain_python(value.tolist())
    if isinstance(value, (str, os.PathLike)):  # TorchVersion is a subclass of str
        return str(value)
    raise ValueError(
        f"A {type(value).__name__} cannot be stored with a model: {value!r}. Expected "
        "dictionaries, lists, strings, numbers, booleans or None."
    )


def save(conf: Mapping[str, Any], folder: str | os.PathLike) -> None:
    """Write a model dictionary to a folder, in both formats.

    Writes `pytorch_model.bin`, `model.safetensors` and `config.json`, each atomically.

    Args:
        conf: returned by `WaveUNet.serialize()`.
    """
    folder = Path(folder)
    write(conf, folder / BIN)
    write(conf, folder / SAFETENSORS)
    with replacing(folder / CONFIG) as partial:
        partial.write_text(_metadata_json(conf, indent=2) + "\n", encoding="utf-8")


def write(conf: Mapping[str, Any], path: str | os.PathLike, file_format: str | None = None) -> None:
    """Write a model dictionary to one file, atomically.

    Args:
        conf: returned by `WaveUNet.serialize()`.
        file_format: one of `FORMATS`. None infers it from the suffix, with "asteroid" for unknown
            suffixes.
    """
    path = Path(path)
    file_format = file_format or FORMAT_BY_SUFFIX.get(path.suffix, "asteroid")
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in conf["state_dict"].items()
    }
    with replacing(path) as partial:
        FORMATS[file_format]({**conf, "state_dict": state}, partial)


def _write_bin(conf: Mapping[str, Any], path: Path) -> None:
    # Through memory: given a path, torch.save would store its name in the file, and where the disk
    # is full it raises an error without the system's reason.
    content = io.BytesIO()
    torch.save(dict(conf), content)
    path.write_bytes(content.getbuffer())


def _write_safetensors(conf: Mapping[str, Any], path: Path) -> None:
    """Write a reproducible file: safetensors itself writes its metadata in random order."""
    metadata = {"format": "pt", "config": _metadata_json(conf)}
    content = safetensors.torch.save(conf["state_dict"], metadata)
    data_start = 8 + int.from_bytes(content[:8], "little")
    fields = {**json.loads(content[8:data_start]), "__metadata__": metadata}
    header = json.dumps(fields, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # aligns the tensors
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(content)[data_start:])


def _metadata_json(conf: Mapping[str, Any], indent: int | None = None) -> str:
    """Return all entries except the tensors as JSON."""
    metadata = {key: value for key, value in conf.items() if key != "state_dict"}
    return json.dumps(metadata, indent=indent)


FORMATS: dict[str, Callable[[Mapping[str, Any], Path], None]] = {
    "asteroid": _write_bin,
    "safetensors": _write_safetensors,
}
FORMAT_BY_SUFFIX = {".bin": "asteroid", ".pth": "asteroid", ".safetensors": "safetensors"}


def read(source: Any) -> dict[str, Any]:
    """Read a model dictionary from a file, folder, Hub name, URL or dictionary.

    See `WaveUNet.from_pretrained`. Checkpoints of this package's training are converted.

    Raises:
        FileNotFoundError: if the file, folder or Hub model does not exist.
        OSError: if the download fails.
        ValueError: if the file is corrupt, would run code, or is not an Asteroid model.
    """
    if isinstance(source, Mapping):
        return _validate(source, "The dictionary")
    path = _find_file(source)
    is_safetensors = path.suffix == ".safetensors"
    conf = safe_load.read_safetensors(path) if is_safetensors else safe_load.read_torch_file(path)
    conf = _validate(_from_lightning_checkpoint(conf), str(path))
    size = sum(tensor.nbytes for tensor in conf["state_dict"].values())
    if size > path.stat().st_size:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes but declares {size} bytes of weights, which "
            "could exhaust the memory. It was not read; download or save it again."
        )
    return conf


def fingerprint(conf: Mapping[str, Any]) -> str:
    """Return a sha256 of a model dictionary's class, arguments and weights, of any file format."""
    digest = hashlib.sha256()
    described = {name: conf[name] for name in ("model_name", "model_args")}
    digest.update(json.dumps(described, sort_keys=True).encode())
    for name, tensor in sorted(conf["state_dict"].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_state_dict_strictly(model: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Load weights whose names and shapes must match the model's exactly.

    A model on the meta device is moved to the CPU, after these checks.

    Raises:
        ValueError: if tensors are missing, unexpected, of another shape or not finite; names them.
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
            f"The weights do not fit this model: {len(wrong)} tensors differ ({listed}"
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
        copies = {
            name: state_dict[name].detach().to("cpu", tensor.dtype, copy=True).contiguous()
            for name, tensor in model.state_dict().items()
        }
        model.load_state_dict(copies, assign=True)
    else:
        model.load_state_dict(state_dict)


def _find_file(source: str | os.PathLike) -> Path:
    """Return the weights file of a path, name or URL, downloaded if necessary.

    A file or folder that exists takes precedence over the package's weights of that name.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"Cannot load weights from a {type(source).__name__}; expected a path, a name, a URL "
            "or a dictionary."
        )
    name = os.fspath(source)
    if hub.is_url(name):
        return hub.download_from_url(name)
    path = expanded(source)
    if not path.exists() and name in pretrained.WEIGHTS:
        path = pretrained.folder(name)
    if path.is_file():
        return path
    if path.is_dir() and name:
        for file in (SAFETENSORS, BIN):
            if (path / file).is_file():
                return path / file
        raise FileNotFoundError(f"The folder {path} contains neither {SAFETENSORS} nor {BIN}.")
    if hub.is_hub_name(name) and not path.parent.is_dir():
        return hub.download_from_hub(name)
    raise FileNotFoundError(
        f"Found no file or folder {name!r}. Expected one, the package's weights "
        f"({', '.join(pretrained.WEIGHTS)}), or a name on the Hugging Face Hub: 'user/model' or "
        "'user/model@revision'."
    )


def _from_lightning_checkpoint(conf: Any) -> Any:
    """Convert a Lightning checkpoint to a model dictionary; return other values unchanged.

    The attribute of the LightningModule is `model`, which prefixes the names of its tensors.
    """
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


def _validate(conf: Any, name: str) -> dict[str, Any]:
    """Return a model dictionary if it has Asteroid's form.

    Raises:
        ValueError: if a key is missing or its value has another type; names the key.
    """
    found = {"infos": {}, **conf} if isinstance(conf, Mapping) else {}
    wrong = [key for key, kind in KEY_TYPES.items() if not isinstance(found.get(key), kind)]
    if wrong:
        keys = sorted(map(str, found)) or type(conf).__name__
        raise ValueError(
            other_projects.advice_for_dictionary(conf, name)
            or f"{name} is not an Asteroid model: {', '.join(wrong)} missing or of another type, "
            f"found {keys}. Expected a file of torch.save(model.serialize(), path)."
        )
    for key, tensor in found["state_dict"].items():
        dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
        # The batch counter of batch normalisation is the only integer tensor.
        is_counter = str(key).endswith(".num_batches_tracked")
        dtypes = (torch.int64,) if is_counter else FLOAT_DTYPES
        if not isinstance(key, str) or not dense or tensor.is_meta or tensor.dtype not in dtypes:
            kind = type(tensor).__name__
            if isinstance(tensor, torch.Tensor):
                kind = f"{tensor.dtype} ({tensor.layout}, {tensor.device})"
            raise ValueError(
                f"{name} is not an Asteroid model: {key!r} in its state_dict is {kind}; expected a "
                "dense floating-point tensor."
            )
    return found
