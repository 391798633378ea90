"""The reference implementation's TensorFlow variables as weights of ours.

TensorFlow numbers its convolutions in the order of their creation: conv1d, conv1d_1, ... down
the left side, the bottleneck, up the right side, then one output convolution a source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch

from ..model import WaveUNet

__all__ = ["state_dict_from_variables"]

SEPARATOR = re.compile(r"^separator/(conv1d(?:_\d+)?/(?:kernel|bias)|interp_\d+)(?::0)?$")


def state_dict_from_variables(
    variables: Mapping[str, np.ndarray], model: WaveUNet
) -> dict[str, torch.Tensor]:
    """The reference's variables under our names, in our layout: what `load_state_dict` takes.

    Args:
        variables: arrays by TensorFlow name, `separator/conv1d_3/kernel` `(kernel, in, out)`,
            `separator/conv1d_3/bias` `(out,)`, `separator/interp_0` `(channels,)`; a `:0` at the
            end does not matter. Those outside `separator/`, such as the optimiser's and
            `global_step`, are left out.
        model: built with the configuration that the variables belong to.
    Raises:
        ValueError: if a variable is missing, left over, or of another shape than the model's.
    """
    found = {m[1]: array for name, array in variables.items() if (m := SEPARATOR.match(name))}
    expected = _layout(model)
    wrong = [f"{name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name} has no place" for name in found.keys() - expected.keys()]
    wrong += [
        f"{name} is {found[name].shape}, expected {shape}"
        for name, (_, shape) in expected.items()
        if name in found and found[name].shape != shape
    ]
    if wrong:
        listed = "; ".join(sorted(wrong)[:5])
        raise ValueError(
            f"{len(wrong)} variables do not fit this model ({listed}"
            f"{'; ...' if len(wrong) > 5 else ''}). Build it with the levels, filters, kernels, "
            "output, upsampling and sources of the checkpoint's configuration."
        )
    parts: dict[str, list[torch.Tensor]] = {}
    for name, (ours, _) in expected.items():
        array = np.asarray(found[name], dtype=np.float32)
        parts.setdefault(ours, []).append(torch.from_numpy(array.T.copy()))
    # Our output convolution is the reference's, one a source, side by side.
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def _layout(model: WaveUNet) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The reference's name -> our tensor that it is (a part of), and its shape there."""
    levels = len(model.down)
    layers = [f"down.{i}.conv" for i in range(levels)]
    layers += ["bottleneck"]
    layers += [f"up.{i}.conv" for i in range(levels)]
    layers += ["head.conv"] * model.head.n_predicted
    ours = model.state_dict()
    layout: dict[str, tuple[str, tuple[int, ...]]] = {}
    for number, layer in enumerate(layers):
        theirs = f"conv1d_{number}" if number else "conv1d"
        n_out, n_in, kernel = ours[f"{layer}.weight"].shape
        if layer == "head.conv":
            n_out = model.in_channels
        layout[f"{theirs}/kernel"] = (f"{layer}.weight", (kernel, n_in, n_out))
        layout[f"{theirs}/bias"] = (f"{layer}.bias", (n_out,))
    for i in range(levels):
        name = f"up.{i}.upsampling.weight"
        if name in ours:
            layout[f"interp_{i}"] = (name, tuple(ours[name].shape))
    return layout
