"""Asteroid's Conv-TasNet for music: named sources, any number of channels, any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from asteroid_waveunet._asteroid import asteroid, register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.per_channel import PerChannel
from asteroid_waveunet.nn import meta
from asteroid_waveunet.nn.autocast import autocast_disabled
from asteroid_waveunet.nn.geometry import LengthRule

__all__ = ["TasNet"]

CONV_KERNEL_SIZE = 3
"""Kernel size of the dilated convolutions, in frames."""

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
    """Asteroid's `ConvTasNet` (Luo and Mesgarani, TASLP 2019) [1] with this package's interface.

    `net` is Asteroid's network with its defaults and weights. This class adds named sources, any
    number of channels, processed independently (see `PerChannel`), and any length. The first and
    last kernel_size / 2 samples are context, because only one of the two frames that cover them
    exists: a `ConvTasNet` with the same weights and an input of `geometry.fit(n).input` samples
    gives the same estimates except in these margins. Load weights of Asteroid's own model with
    `model.net.load_state_dict`.

    The residual output of the last block is unused in [1] and here: its weights exist, as in
    Asteroid's files, but are not trained.

    Mixed precision uses bfloat16 but not float16, in which Asteroid's epsilon of 1e-8 is zero:
    its normalisations would divide by zero in silence.

    Args:
        sources: names of the estimates, in order, one or more.
        in_channels: channels of mixture and estimates, 1 to 65536.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        n_filters: filters of the encoder and of the decoder.
        kernel_size: of these filters, in samples, even; the stride is half of it.
        n_blocks: dilated convolutions per repeat, with dilations 1, 2, 4, ...; 1 to 20.
        n_repeats: repeats of these blocks, 1 to 100.
        bn_chan, hid_chan, skip_chan: channels of the bottleneck, the blocks and the skips.
        norm_type: `"gLN"`, as in the paper, normalises over the whole input. Tracks longer than
            about 260000 samples are then separated in cross-faded chunks of that length, each
            with its own statistics: `model.separate(track)` approximates `model(track)`. `"cLN"`
            normalises each frame independently: chunks join without a seam, and the two are
            equal to rounding.

    Raises:
        ValueError: if an argument is out of its range, or the model has more than 2^29 weights.

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
        argument_checks.check_ranges(given, COUNTS, CHOICES)
        if kernel_size % 2:
            raise ValueError(f"kernel_size is {kernel_size}; expected an even number.")
        meta.check_size(TasNet, given)
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
        # Unused; distributed training waits for the gradient of each parameter that requires one.
        self.net.masker.TCN[-1].res_conv.requires_grad_(False)

    def _mono(self, mixture: Tensor) -> Tensor:
        context = self.geometry.context
        with autocast_disabled(mixture.device, dtypes=(torch.float16,)):
            estimates = self.net(mixture[:, None])
        return estimates[..., context : mixture.shape[-1] - context]
