"""The reference implementation's TensorFlow checkpoints as models of ours.

TensorFlow numbers its convolutions in the order of their creation: conv1d, conv1d_1, ... down
the left side, the bottleneck, up the right side, then one output convolution a source. With L
levels, F filters at first and G more at each level, f_i = F + i G, and C channels, the kernels are

    down i, and the bottleneck as i = L    (down kernel, f_(i-1), f_i)    where f_(-1) is C
    up, from i = L - 1 to 0                (up kernel, f_i + f_(i+1), f_i)
    output of a source                     (output kernel, C + f_0, C)

Down the left side each takes what the one before it gives; the first up block takes more. So
L is known, and with it all sizes and the number of output convolutions.

What names and shapes do not tell:

- the sources' names, and whether P output convolutions are those of P sources (direct) or of all
  but the last of P + 1 (difference). The reference separates 2 sources or 4: 1 and 3 are
  difference models, 2 and 4 direct ones. Any other number is taken for a difference model;
- context or same padding: difference models are taken to have context, direct ones same padding,
  as the paper's do (M2, difference without context, cannot be told from M3);
- the sample rate: 22050 Hz is assumed (M5-HighSR cannot be told from M5);
- the output activation: tanh is assumed, the paper's.

They are taken from a preset that is named, from the reference's name of the configuration that
the file has, or else from the paper's only model of that shape, or these rules.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asteroid_waveunet.experiment.tf_checkpoint import bundle
from asteroid_waveunet.models import presets
from asteroid_waveunet.models.wave_unet import WaveUNet
from asteroid_waveunet.weights import serialization

__all__ = ["UNTOLD", "Outline", "convert", "read", "state_dict_from_variables"]

SEPARATOR = re.compile(r"^separator/(conv1d(?:_\d+)?/(?:kernel|bias)|interp_\d+)(?::0)?$")
# Arguments of WaveUNet that no checkpoint tells.
UNTOLD = ("sources", "output", "context", "sample_rate", "output_activation")

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
class Outline:
    """What names and shapes tell of a model: `WaveUNet`'s arguments, and its output convolutions.

    >>> Outline.of_model(presets.make("M6", levels=3, initial_filters=4)).n_predicted
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
    def of_model(cls, model: WaveUNet) -> Outline:
        """What a checkpoint of this model would tell."""
        known = {**model.get_model_args(), "n_predicted": model.head.n_predicted}
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})

    @classmethod
    def of_variables(cls, variables: Mapping[str, np.ndarray]) -> Outline:
        """What the variables of a checkpoint tell, see the module.

        Raises:
            ValueError: if they are not those of a Wave-U-Net; says why.
        """
        shapes = _kernel_shapes(variables)
        after_gap = (i for i in range(1, len(shapes)) if shapes[i][1] != shapes[i - 1][2])
        levels = next(after_gap, 0) - 1
        outputs = shapes[2 * levels + 1 :]
        if levels < 1 or len(shapes) <= 2 * levels:
            raise ValueError(
                f"{len(shapes)} such convolutions make no Wave-U-Net: expected as many up as down, "
                "one between them, and one for each predicted source."
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
        """Those of `WaveUNet` that it tells."""
        return {name: value for name, value in asdict(self).items() if name != "n_predicted"}


def convert(
    path: str | os.PathLike, preset: str | None = None, verify: bool = False, **overrides: Any
) -> WaveUNet:
    """The model that a checkpoint of the reference holds, in evaluation mode.

    Args:
        path: the name that its files begin with, such as `baseline_stereo-186093`, or one of the
            files, or their folder.
        preset: the paper's model that it must be; inferred if None, see the module, with a
            warning that says what was assumed.
        verify: check the checksums of the variables.
        overrides: arguments of `WaveUNet`, for what a checkpoint does not tell.
    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it cannot be read, is another network's, or has other sizes than the preset
            and the overrides; names what differs.
    """
    variables = read(path, verify)
    prefix = bundle.locate(path)
    told = Outline.of_variables(variables)
    if preset is None:
        if "sources" in overrides:  # whose number tells the output
            direct = len(overrides["sources"]) == told.n_predicted
            overrides = {"output": "direct" if direct else "difference", **overrides}
        assumed, reason = _assumed(told, prefix.name, overrides)
        arguments = {**told.arguments, **assumed, **overrides}
    else:
        assumed, reason = {}, None
        arguments = {**presets.get(preset).arguments, **overrides}
    shapes = _outline(arguments)  # only what fits is built
    _check_fit(prefix, told, Outline.of_model(shapes), preset)
    state_dict = state_dict_from_variables(variables, shapes)
    if assumed and reason:
        listed = ", ".join(f"{name}={value!r}" for name, value in assumed.items())
        warnings.warn(
            f"The checkpoint does not tell everything; assumed are {listed} ({reason}). Name the "
            "preset or these arguments where they are others.",
            stacklevel=2,
        )
    model = WaveUNet(**arguments)
    serialization.fill(model, state_dict)
    return model.eval()


def read(path: str | os.PathLike, verify: bool = False) -> dict[str, np.ndarray]:
    """The reference's network in a checkpoint, as `state_dict_from_variables` takes it.

    The optimiser's variables, two thirds of a file, are not read.

    Args:
        path, verify: see `tf_bundle.read`, which raises further errors.
    Raises:
        ValueError: if it is another network's, or no TensorFlow checkpoint; says whose it may be.
    """
    _refuse_pytorch(Path(path).expanduser())
    prefix = bundle.locate(path)
    _check_names(prefix, bundle.entries(prefix).keys())
    return bundle.read(prefix, verify, wanted=SEPARATOR.match)


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


def _kernel_shapes(variables: Mapping[str, np.ndarray]) -> list[tuple[int, ...]]:
    """The shapes of the convolutions' kernels, in the order of their creation."""
    found = {name for name in variables if name.endswith("/kernel")}
    names = ["separator/conv1d/kernel"]
    names += [f"separator/conv1d_{i}/kernel" for i in range(1, len(found))]
    for name in names:
        if name not in found:
            raise ValueError(f"These are no variables of a Wave-U-Net: {name} is missing.")
        if variables[name].ndim != 3:
            raise ValueError(f"{name} is {variables[name].shape}, expected (kernel, in, out).")
    return [variables[name].shape for name in names]


def _outline(arguments: Mapping[str, Any]) -> WaveUNet:
    """A model that has shapes only."""
    with torch.device("meta"):
        return WaveUNet(**arguments)


def _check_fit(path: Path, told: Outline, expected: Outline, preset: str | None) -> None:
    """Raises ValueError if a checkpoint is not of the sizes that were asked for."""
    theirs, ours = asdict(told), asdict(expected)
    differ = "; ".join(
        f"{name} is {theirs[name]!r}, expected {ours[name]!r}"
        for name in theirs
        if theirs[name] != ours[name]
    )
    if differ:
        differ = differ.replace("n_predicted", "the number of sources with a convolution")
        asked_for = f"the preset {preset}" if preset else "these arguments"
        raise ValueError(
            f"{path} does not fit {asked_for}: {differ}. Name what is its own, or nothing, so that "
            "its sizes are taken from it."
        )


def _assumed(
    told: Outline, name: str, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """What a checkpoint of that name does not tell and nobody has said; see the module.

    And why it is assumed; None if the name says it.
    """
    values = _by_the_rules(told, overrides)
    fitting = [each for each in presets.names() if Outline.of_model(_of_preset(each)) == told]
    named = CONFIGURATIONS.get(re.sub(r"-\d+$", "", name))
    reason: str | None = "the paper's usual"
    if named in fitting:
        fitting, reason = [named], None
    elif len(fitting) == 1:
        reason = f"as {fitting[0]}, the paper's only model of its sizes"
    if len(fitting) == 1:
        known = _of_preset(fitting[0]).get_model_args()
        values |= {each: known[each] for each in ("context", "sample_rate", "output_activation")}
    return {each: value for each, value in values.items() if each not in overrides}, reason


def _by_the_rules(told: Outline, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """By the module's rules, given the output if somebody has said it."""
    usual = "direct" if told.n_predicted in (2, 4) else "difference"
    output = overrides.get("output", usual)
    n_src = told.n_predicted + (output == "difference")
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
def _of_preset(name: str) -> WaveUNet:
    return _outline(presets.get(name).arguments)


def _refuse_pytorch(path: Path) -> None:
    """Raises ValueError for weights of PyTorch: a zip file, a pickle or safetensors."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith((b"PK\x03\x04", b"\x80\x02")) or start[8:] == b"{":
        raise ValueError(
            f"{path} holds PyTorch weights, no TensorFlow checkpoint. Those of Wave-U-Net-Pytorch "
            "and other rewrites belong to other architectures (resampling by strided and "
            "transposed convolutions, for one), and fit no model here; those that this package "
            "wrote are loaded by WaveUNet.from_pretrained."
        )


def _check_names(path: Path, names: Collection[str]) -> None:
    """Raises ValueError if a checkpoint's variables are not those of a Wave-U-Net."""
    known = {name for name in names if SEPARATOR.match(name)}
    others = [name for name in names if name.startswith("separator/") and name not in known]
    # An optimiser may keep its variables below those that it trains.
    others = [name for name in others if name.rpartition("/")[0] not in known]
    if any(name.startswith("separator/conv2d") for name in others):
        raise ValueError(
            f"{path} is a U-Net on spectrograms (U7 or U7a of the paper, by its 2-D convolutions), "
            "which is another architecture."
        )
    if others or not known:
        listed = ", ".join(sorted(others or names)[:3])
        raise ValueError(
            f"{path} holds no Wave-U-Net of the reference: its variables are {listed} ...; "
            "expected separator/conv1d/kernel, separator/conv1d/bias, separator/conv1d_1/kernel "
            "and so on, and separator/interp_0 ... where upsampling is learned."
        )
