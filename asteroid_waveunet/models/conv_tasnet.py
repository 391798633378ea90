"""Asteroid's Conv-TasNet for music: sources by name, any channels, any length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from asteroid_waveunet._asteroid import asteroid, register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.base import PerChannel
from asteroid_waveunet.nn.autocast import own_precision
from asteroid_waveunet.nn.geometry import LengthRule

__all__ = ["TasNet", "n_weights"]

CONV_KERNEL_SIZE = 3
"""Of the dilated convolutions, in frames."""

COUNTS = {
    "in_channels": (1, 2**16),
    "n_filters": (1, 2**16),
    "kernel_size": (2, 2**16),
    "n_blocks": (1, 20),
    "n_repeats": (1, 100),
    "bn_chan": (1, 2**16),
    "hid_chan": (1, 2**16),
    "skip_chan": (1, 2**16),
}

CHOICES = {"norm_type": ("gLN", "cLN")}


@register
class TasNet(PerChannel):
    """Asteroid's own `ConvTasNet` (Luo and Mesgarani, TASLP 2019) [1], as the others here are.

    Its network, its defaults and its weights, under `net`; what is added are sources by name,
    channels, which go through the mono network one by one (see `PerChannel`), and any length.
    The first and last kernel_size / 2 samples of its frames are context, since only one of the
    two frames that cover a sample is there: a `ConvTasNet` of the same weights, that is given
    `geometry.fit(n).input` samples, gives these estimates amid others. Weights of Asteroid's own
    model are loaded by `model.net.load_state_dict`.

    The residual output of the last block goes nowhere in [1]'s network, nor does it here: its
    weights are there as in Asteroid's files, but are not trained.

    In mixed precision float16 is not used: its numbers have no 1e-8, by which Asteroid's
    normalisations differ from a division by zero where the mixture is silent. bfloat16 is.

    Args:
        sources: names of the estimates, in order. Any number, one included.
        in_channels: channels of mixture and estimates, 1 to 65536.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        n_filters: of the encoder and of the decoder.
        kernel_size: of these, in samples, even; they move by half of it.
        n_blocks: dilated convolutions a repeat, with dilations 1, 2, 4, ...; 1 to 20.
        n_repeats: of these blocks, 1 to 100.
        bn_chan, hid_chan, skip_chan: channels of the bottleneck, in the blocks, of the skips.
        norm_type: `"gLN"`, the paper's, normalises over all of the input. Tracks of more than
            some 260000 samples are then separated in pieces of that length, each by its own
            statistics, that fade into one another: `model.separate(track)` is close to
            `model(track)`, and not equal. `"cLN"` normalises each frame for itself, so that
            pieces join without a seam: both are equal to rounding.

    Raises:
        ValueError: if an argument is out of its range, or all make more than 2^29 weights.

    >>> model = TasNet(in_channels=2, n_filters=16, n_blocks=2, n_repeats=1).eval()
    >>> model(torch.randn(1, 2, 1000)).shape
    torch.Size([1, 2, 2, 1000])

    [1] Luo, Mesgarani. Conv-TasNet: Surpassing ideal time-frequency magnitude masking for speech
        separation. TASLP 2019, arXiv 1809.07454.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("accompaniment", "vocals"),
        in_channels: int = 1,
        sample_rate: float = 22050,
        n_filters: int = 512,
        kernel_size: int = 16,
        n_blocks: int = 8,
        n_repeats: int = 3,
        bn_chan: int = 128,
        hid_chan: int = 512,
        skip_chan: int = 128,
        norm_type: Literal["gLN", "cLN"] = "gLN",
    ):
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        check(given)
        super().__init__(given)
        stride = kernel_size // 2
        self.geometry = LengthRule.of_frames(kernel_size, stride)
        if norm_type == "cLN":
            frames = (CONV_KERNEL_SIZE // 2) * (2**n_blocks - 1) * n_repeats
            self.reach = frames * stride + kernel_size
        network = {k: v for k, v in given.items() if k not in ("sources", "in_channels")}
        self.net = asteroid.models.ConvTasNet(
            n_src=self.n_src, stride=stride, conv_kernel_size=CONV_KERNEL_SIZE, **network
        )
        # Distributed training waits for a gradient of all that is said to have one.
        self.net.masker.TCN[-1].res_conv.requires_grad_(False)

    def _mono(self, mixture: Tensor) -> Tensor:
        context = self.geometry.context
        with own_precision(mixture.device, instead_of=(torch.float16,)):
            estimates = self.net(mixture[:, None])
        return estimates[..., context : mixture.shape[-1] - context]


def check(given: Mapping[str, Any]) -> None:
    """Whether there is a `TasNet` of these arguments.

    Raises:
        ValueError: if one is out of its range, or all together make an absurdly large model.
    """
    argument_checks.check_ranges(given, COUNTS, CHOICES)
    if given["kernel_size"] % 2:
        raise ValueError(f"kernel_size is {given['kernel_size']}; expected an even number.")
    argument_checks.check_size(n_weights(given), "n_filters, hid_chan, bn_chan or skip_chan")


def n_weights(given: Mapping[str, Any]) -> int:
    """How many weights a `TasNet` of these arguments has.

    >>> n_weights(TasNet().get_model_args())
    5050545
    """
    features, narrow, hidden, skip = (
        int(given[name]) for name in ("n_filters", "bn_chan", "hid_chan", "skip_chan")
    )
    n_src = len(given["sources"])
    filterbanks = 2 * features * int(given["kernel_size"])
    bottleneck = 2 * features + (features + 1) * narrow
    # In, a slope and a norm, along time, a slope and a norm, out twice.
    block = (narrow + 1) * hidden + 2 * (1 + 2 * hidden) + (CONV_KERNEL_SIZE + 1) * hidden
    block += (hidden + 1) * (narrow + skip)
    masks = 1 + (skip + 1) * n_src * features
    blocks = int(given["n_blocks"]) * int(given["n_repeats"])
    return filterbanks + bottleneck + blocks * block + masks
