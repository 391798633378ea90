"""Options of a separation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from asteroid_waveunet.nn.geometry import LengthRule

__all__ = [
    "CHANNELS",
    "DEFAULT_OPTIONS",
    "PRECISIONS",
    "SeparationOptions",
    "check_consistency",
    "check_shifts",
]

PRECISIONS = ("fp32", "bf16")
CHANNELS = ("mix", "each")


@dataclass(frozen=True)
class SeparationOptions:
    """Options of how a track is separated.

    Attributes:
        precision: one of `PRECISIONS`. "fp32" computes in the weights' dtype; "bf16" in
            bfloat16, which costs little accuracy (see the repository's bench/RESULTS.md) and
            is faster on processors that support it.
        shifts: number of time-shifted passes to average, 1 to the model's step; see
            `ensemble.Shifted`.
        mixture_consistency: make the estimates sum to the mixture; see `ensemble.Consistent`.
        resample: convert tracks of another sample rate than the model's; otherwise refuse them.
        channels: for files of more channels than the model's: "mix" mixes them down to stereo,
            "each" separates each of them by itself.
    Raises:
        ValueError: if the precision or the channels are unknown.
    """

    precision: str = "fp32"
    shifts: int = 1
    mixture_consistency: bool = False
    resample: bool = True
    channels: str = "mix"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; expected {' or '.join(PRECISIONS)}."
            )
        if self.channels not in CHANNELS:
            raise ValueError(f"channels is {self.channels!r}; expected {' or '.join(CHANNELS)}.")

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype to compute in; None for the weights' own."""
        return torch.bfloat16 if self.precision == "bf16" else None


DEFAULT_OPTIONS = SeparationOptions()


def check_shifts(shifts: int, geometry: LengthRule) -> None:
    """Check a number of shifts against the step within which they are spread.

    Raises:
        ValueError: if `shifts` is below 1 or above the step.
    """
    if not 1 <= shifts <= geometry.step:
        raise ValueError(
            f"shifts is {shifts}; expected 1 to {geometry.step}, the model's step, after which "
            "shifts repeat."
        )


def check_consistency(n_src: int) -> None:
    """Check that mixture consistency is meaningful.

    Raises:
        ValueError: for one source, which would become the mixture.
    """
    if n_src == 1:
        raise ValueError(
            "Mixture consistency would turn the model's only source into the mixture; it needs "
            "two sources or more."
        )
