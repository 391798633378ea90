"""Convert TensorFlow checkpoints of the reference implementation to `WaveUNet` models."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asteroid_waveunet.experiment.tf_checkpoint import bundle
from asteroid_waveunet.experiment.tf_checkpoint.architecture import Architecture, assume
from asteroid_waveunet.file_utils import expanded
from asteroid_waveunet.models import presets
from asteroid_waveunet.models.wave_unet import WaveUNet
from asteroid_waveunet.nn import meta
from asteroid_waveunet.weights import serialization

__all__ = ["convert", "read", "state_dict_from_variables"]

SEPARATOR = re.compile(r"^separator/(conv1d(?:_\d+)?/(?:kernel|bias)|interp_\d+)(?::0)?$")


def convert(
    path: str | os.PathLike, preset: str | None = None, verify: bool = False, **overrides: Any
) -> WaveUNet:
    """Convert a checkpoint of the reference to a model in evaluation mode.

    Args:
        path: common prefix of its files, such as `baseline_stereo-186093`, one of the files, or
            their folder.
        preset: the paper's model that it must be; None to infer it (see `architecture`), with a
            warning that names the assumptions.
        verify: verify the checksums of the variables.
        overrides: arguments of `WaveUNet` that a checkpoint does not determine.
    Raises:
        FileNotFoundError: if the checkpoint does not exist.
        ValueError: if it cannot be read, is another network, or has other sizes than the preset
            and the overrides; names the differences.
    """
    variables = read(path, verify)
    prefix = bundle.locate(path)
    stored = Architecture.of_variables(variables)
    if preset is None:
        if "sources" in overrides:  # their number determines the output
            direct = len(overrides["sources"]) == stored.n_predicted
            overrides = {"output": "direct" if direct else "difference", **overrides}
        assumed, reason = assume(stored, prefix.name, overrides)
        arguments = {**stored.arguments, **assumed, **overrides}
    else:
        assumed, reason = {}, None
        arguments = {**presets.get(preset).arguments, **overrides}
    outline = meta.build(WaveUNet, arguments)
    _check_sizes(prefix, stored, Architecture.of_model(outline), preset)
    state_dict = state_dict_from_variables(variables, outline)
    if assumed and reason:
        listed = ", ".join(f"{name}={value!r}" for name, value in assumed.items())
        warnings.warn(
            f"The checkpoint does not determine all arguments; assuming {listed} ({reason}). "
            "Override them, or give the preset, if that is wrong.",
            stacklevel=2,
        )
    model = WaveUNet(**arguments)
    serialization.load_state_dict_strictly(model, state_dict)
    return model.eval()


def read(path: str | os.PathLike, verify: bool = False) -> dict[str, np.ndarray]:
    """Read the reference's network from a checkpoint for `state_dict_from_variables`.

    The optimizer's variables, two thirds of a file, are skipped.

    Args:
        path, verify: see `bundle.read`, which raises further errors.
    Raises:
        ValueError: if it is another network or not a TensorFlow checkpoint.
    """
    _reject_pytorch(expanded(path))
    prefix = bundle.locate(path)
    _check_names(prefix, bundle.entries(prefix).keys())
    return bundle.read(prefix, verify, select=SEPARATOR.match)


def state_dict_from_variables(
    variables: Mapping[str, np.ndarray], model: WaveUNet
) -> dict[str, torch.Tensor]:
    """Convert the reference's variables to a state dict for `load_state_dict`.

    Args:
        variables: arrays by TensorFlow name, `separator/conv1d_3/kernel` `(kernel, in, out)`,
            `separator/conv1d_3/bias` `(out,)`, `separator/interp_0` `(channels,)`; a suffix `:0`
            is ignored. Those outside `separator/`, such as the optimizer's and `global_step`,
            are skipped.
        model: built with the configuration of the checkpoint.
    Raises:
        ValueError: if a variable is missing, unexpected, or has another shape than in the model.
    """
    arrays = {m[1]: array for name, array in variables.items() if (m := SEPARATOR.match(name))}
    expected = _layout(model)
    errors = [f"{name} is missing" for name in expected.keys() - arrays.keys()]
    errors += [f"{name} is unexpected" for name in arrays.keys() - expected.keys()]
    errors += [
        f"{name} is {arrays[name].shape}, expected {shape}"
        for name, (_, shape) in expected.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if errors:
        listed = "; ".join(sorted(errors)[:5])
        raise ValueError(
            f"{len(errors)} variables do not fit this model ({listed}"
            f"{'; ...' if len(errors) > 5 else ''}). Build it with the levels, filters, kernels, "
            "output, upsampling and sources of the checkpoint's configuration."
        )
    parts: dict[str, list[torch.Tensor]] = {}
    for name, (tensor_name, _) in expected.items():
        array = np.asarray(arrays[name], dtype=np.float32)
        parts.setdefault(tensor_name, []).append(torch.from_numpy(array.T.copy()))
    # Our output convolution concatenates the reference's, which has one per source.
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def _layout(model: WaveUNet) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Map each variable of the reference to the name of our tensor and the variable's shape."""
    levels = len(model.down)
    layers = [f"down.{i}.conv" for i in range(levels)]
    layers += ["bottleneck"]
    layers += [f"up.{i}.conv" for i in range(levels)]
    layers += ["head.conv"] * model.head.n_predicted
    tensors = model.state_dict()
    layout: dict[str, tuple[str, tuple[int, ...]]] = {}
    for number, layer in enumerate(layers):
        variable = f"conv1d_{number}" if number else "conv1d"
        n_out, n_in, kernel = tensors[f"{layer}.weight"].shape
        if layer == "head.conv":
            n_out = model.in_channels
        layout[f"{variable}/kernel"] = (f"{layer}.weight", (kernel, n_in, n_out))
        layout[f"{variable}/bias"] = (f"{layer}.bias", (n_out,))
    for i in range(levels):
        name = f"up.{i}.upsampling.weight"
        if name in tensors:
            layout[f"interp_{i}"] = (name, tuple(tensors[name].shape))
    return layout


def _check_sizes(
    path: Path, stored: Architecture, expected: Architecture, preset: str | None
) -> None:
    """Raise ValueError if a checkpoint does not have the expected sizes."""
    actual, required = asdict(stored), asdict(expected)
    differences = "; ".join(
        f"{name} is {actual[name]!r}, expected {required[name]!r}"
        for name in actual
        if actual[name] != required[name]
    )
    if differences:
        differences = differences.replace("n_predicted", "the number of predicted sources")
        requested = f"the preset {preset}" if preset else "these arguments"
        raise ValueError(
            f"{path} does not match {requested}: {differences}. Omit them to use the sizes of the "
            "checkpoint."
        )


def _reject_pytorch(path: Path) -> None:
    """Raise ValueError for PyTorch weights: a zip file, a pickle or safetensors."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith((b"PK\x03\x04", b"\x80\x02")) or start[8:] == b"{":
        raise ValueError(
            f"{path} holds PyTorch weights; expected a TensorFlow checkpoint. Load weights of this "
            "package with WaveUNet.from_pretrained. Those of Wave-U-Net-Pytorch and other "
            "reimplementations have other architectures (such as strided and transposed "
            "convolutions for resampling) and fit no model here."
        )


def _check_names(path: Path, names: Collection[str]) -> None:
    """Raise ValueError if a checkpoint's variables are not those of a Wave-U-Net."""
    known = {name for name in names if SEPARATOR.match(name)}
    others = [name for name in names if name.startswith("separator/") and name not in known]
    # Optimizers may store their variables below those that they train.
    others = [name for name in others if name.rpartition("/")[0] not in known]
    if any(name.startswith("separator/conv2d") for name in others):
        raise ValueError(
            f"{path} is a U-Net on spectrograms (U7 or U7a of the paper, by its 2-D convolutions), "
            "which is another architecture."
        )
    if others or not known:
        listed = ", ".join(sorted(others or names)[:3])
        raise ValueError(
            f"{path} is not a Wave-U-Net of the reference: it has the variables {listed} ...; "
            "expected separator/conv1d/kernel, separator/conv1d/bias, separator/conv1d_1/kernel "
            "and so on, and separator/interp_0 ... for learned upsampling."
        )
