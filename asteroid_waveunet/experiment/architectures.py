"""The networks that a configuration may choose, with their arguments.

A test compares this with the constructors: reading a configuration imports no torch.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ARCHITECTURES"]

TWO_SOURCES = ("accompaniment", "vocals")

# Architecture -> its constructor's arguments and their defaults.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "WaveUNet": dict(
        sources=TWO_SOURCES, in_channels=1, sample_rate=22050, levels=12, initial_filters=24,
        down_kernel_size=15, up_kernel_size=5, output_kernel_size=1, upsampling="linear",
        output="difference", output_activation="tanh", context=True, filter_growth=None,
    ),
    "SpectrogramUNet": dict(
        sources=TWO_SOURCES, in_channels=1, sample_rate=8192, window=1024, hop=768, levels=6,
        initial_filters=16, norm_decay=0.999,
    ),
    "TasNet": dict(
        sources=TWO_SOURCES, in_channels=1, sample_rate=22050, n_filters=512, kernel_size=16,
        n_blocks=8, n_repeats=3, bn_chan=128, hid_chan=512, skip_chan=128, norm_type="gLN",
    ),
    "MRCAE": dict(
        sources=TWO_SOURCES, in_channels=2, sample_rate=22050, filters=20,
        kernel_sizes=(5, 50, 256, 512, 1025),
    ),
}  # fmt: skip
