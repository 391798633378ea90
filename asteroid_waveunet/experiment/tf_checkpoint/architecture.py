"""Infer the architecture of a model from the variables of a reference checkpoint.

TensorFlow numbers convolutions in the order of their creation: conv1d, conv1d_1, ... down the
left side, the bottleneck, up the right side, then one output convolution per source. With L
levels, F initial filters, a growth of G per level, f_i = F + i G, and C channels, the kernels are

    down i, and the bottleneck as i = L    (down kernel, f_(i-1), f_i)    where f_(-1) is C
    up, from i = L - 1 to 0                (up kernel, f_i + f_(i+1), f_i)
    output of a source                     (output kernel, C + f_0, C)

Down the left side, each convolution takes the output of the previous one; the first up block has
more inputs. This determines L, then all sizes and the number of output convolutions.

Names and shapes do not determine:

- the names of the sources, and whether P output convolutions are P sources (direct) or all but
  the last of P + 1 (difference). The reference separates 2 sources or 4: 1 and 3 mean difference
  output, 2 and 4 direct output. Any other number is assumed to mean difference output;
- context or same padding: assumed to be context with difference output and same padding with
  direct output, as in the paper (M2, difference without context, looks the same as M3);
- the sample rate: assumed to be 22050 Hz (M5-HighSR looks the same as M5);
- the output activation: assumed to be tanh, as in the paper.

These come from an explicit preset, from the reference's name of the configuration in the file
name, from the paper's only model of these sizes, or else from the rules above.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asteroid_waveunet.models import presets
from asteroid_waveunet.models.wave_unet import WaveUNet
from asteroid_waveunet.nn import meta

__all__ = ["NOT_STORED", "Architecture", "assume"]

# Arguments of WaveUNet that a checkpoint does not determine.
NOT_STORED = ("sources", "output", "context", "sample_rate", "output_activation")

# The reference's configurations (Config.py), after which its authors name their checkpoints.
CONFIGURATIONS = {
    "baseline": "M1",
    "baseline_diff": "M2",
    "baseline_context": "M3",
    "baseline_stereo": "M4",
    "full": "M5",
    "full_44KHz": "M5-HighSR",
    "full_multi_instrument": "M6",
    "baseline_comparison": "M7",
}


@dataclass(frozen=True)
class Architecture:
    """Sizes of a Wave-U-Net that a checkpoint determines.

    Attributes:
        n_predicted: number of output convolutions; the others are arguments of `WaveUNet`.

    >>> Architecture.of_model(presets.make("M6", levels=3, initial_filters=4)).n_predicted
    3
    """

    levels: int
    initial_filters: int
    filter_growth: int
    down_kernel_size: int
    up_kernel_size: int
    output_kernel_size: int
    upsampling: str
    in_channels: int
    n_predicted: int

    @classmethod
    def of_model(cls, model: WaveUNet) -> Architecture:
        """Return the architecture of a model."""
        sizes = {**model.get_model_args(), "n_predicted": model.head.n_predicted}
        return cls(**{name: sizes[name] for name in cls.__dataclass_fields__})

    @classmethod
    def of_variables(cls, variables: Mapping[str, np.ndarray]) -> Architecture:
        """Infer the architecture from the variables of a checkpoint.

        Raises:
            ValueError: if they do not belong to a Wave-U-Net; says why.
        """
        shapes = _kernel_shapes(variables)
        after_gap = (i for i in range(1, len(shapes)) if shapes[i][1] != shapes[i - 1][2])
        levels = next(after_gap, 0) - 1
        outputs = shapes[2 * levels + 1 :]
        if levels < 1 or len(shapes) <= 2 * levels:
            raise ValueError(
                f"These {len(shapes)} convolutions are not a Wave-U-Net: expected equally many "
                "down and up, a bottleneck, and one for each predicted source."
            )
        return cls(
            levels=levels,
            initial_filters=shapes[0][2],
            filter_growth=shapes[1][2] - shapes[0][2],
            down_kernel_size=shapes[0][0],
            up_kernel_size=shapes[levels + 1][0],
            output_kernel_size=outputs[0][0] if outputs else 1,
            upsampling="learned" if "separator/interp_0" in variables else "linear",
            in_channels=shapes[0][1],
            n_predicted=len(outputs),
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `WaveUNet` that the checkpoint determines."""
        return {name: value for name, value in asdict(self).items() if name != "n_predicted"}


def assume(
    architecture: Architecture, name: str, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Choose the `NOT_STORED` arguments that `overrides` lacks by the rules of this module.

    Args:
        name: common prefix of the checkpoint's files.
    Returns:
        The arguments, and the reason of the choice; None if the name determines them.
    """
    arguments = _usual_arguments(architecture, overrides)
    matching = [p for p in presets.names() if Architecture.of_model(_preset(p)) == architecture]
    named = CONFIGURATIONS.get(re.sub(r"-\d+$", "", name))
    reason: str | None = "the paper's usual"
    if named in matching:
        matching, reason = [named], None
    elif len(matching) == 1:
        reason = f"as {matching[0]}, the paper's only model of its sizes"
    if len(matching) == 1:
        preset = _preset(matching[0]).get_model_args()
        arguments |= {n: preset[n] for n in ("context", "sample_rate", "output_activation")}
    return {n: value for n, value in arguments.items() if n not in overrides}, reason


def _usual_arguments(architecture: Architecture, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `NOT_STORED` arguments by this module's rules."""
    usual = "direct" if architecture.n_predicted in (2, 4) else "difference"
    output = overrides.get("output", usual)
    n_src = architecture.n_predicted + (output == "difference")
    numbered = tuple(f"source_{i}" for i in range(1, n_src + 1))
    names = {2: presets.TWO_SOURCES, 4: presets.FOUR_SOURCES}
    return {
        "sources": names.get(n_src, numbered),
        "output": output,
        "context": output == "difference",
        "sample_rate": 22050,
        "output_activation": "tanh",
    }


@functools.cache
def _preset(name: str) -> WaveUNet:
    return meta.build(WaveUNet, presets.get(name).arguments)


def _kernel_shapes(variables: Mapping[str, np.ndarray]) -> list[tuple[int, ...]]:
    """Return the shapes of the kernels in the order of their creation."""
    kernels = {name for name in variables if name.endswith("/kernel")}
    names = ["separator/conv1d/kernel"]
    names += [f"separator/conv1d_{i}/kernel" for i in range(1, len(kernels))]
    for name in names:
        if name not in kernels:
            raise ValueError(f"These are not the variables of a Wave-U-Net: {name} is missing.")
        if variables[name].ndim != 3:
            raise ValueError(f"{name} is {variables[name].shape}, expected (kernel, in, out).")
    return [variables[name].shape for name in names]
