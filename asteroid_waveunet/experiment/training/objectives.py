"""What training minimises, and how its step size changes: tables by name.

Every loss takes estimates and targets of the model's sources in their order, `(batch, n_src,
channels, time)` or `(batch, n_src, time)`, to one number. What there is not: Asteroid's
permutation-invariant losses, as the sources have names; and those of speech (STOI, PMSQE).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from asteroid.losses import (
    SingleSrcMultiScaleSpectral,
    multisrc_mse,
    multisrc_neg_sisdr,
)
from asteroid.losses.sdr import MultiSrcNegSDR
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from asteroid_waveunet.losses import ChannelsInTime, MagnitudeL1

__all__ = ["LOSSES", "SCHEDULES", "WITHOUT_LEVEL", "make_schedule"]

Loss = Callable[[Tensor, Tensor], Tensor]


def mean_of(loss: Loss) -> Loss:
    """A loss that gives one value an example, averaged over the batch."""
    return lambda estimates, targets: loss(estimates, targets).mean()


def spectral(estimates: Tensor, targets: Tensor) -> Tensor:
    """Distance of spectra in seven resolutions, linear and logarithmic [1], per sample.

    Each channel is a signal of its own. Always in float32: a spectrum spans more than bfloat16
    resolves.

    [1] Engel et al. DDSP: Differentiable Digital Signal Processing. ICLR 2020.
    """
    n_samples = targets.shape[-1]
    missing = max(0, LONGEST_WINDOW - n_samples)
    with torch.autocast(estimates.device.type, enabled=False):
        signals = (x.float().flatten(0, -2) for x in (estimates, targets))
        distances = _multi_scale(estimates.device)(*(F.pad(x, (0, missing)) for x in signals))
    return distances.mean() / n_samples


LONGEST_WINDOW = 2048  # samples, of SingleSrcMultiScaleSpectral


def magnitude_l1(estimates: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of the short-time magnitudes, of U7a's transform: `MagnitudeL1`."""
    return _magnitude_l1()(estimates, targets)


@functools.cache
def _magnitude_l1() -> Loss:
    return MagnitudeL1()


@functools.cache
def _multi_scale(device: torch.device) -> Loss:
    """Asteroid's loss with its windows on a device; they are no part of what is trained."""
    return SingleSrcMultiScaleSpectral().to(device).requires_grad_(False)


# A target that is silent, as many are in music, teaches mse, l1, spectral and magnitude_l1 that
# silence is right. A ratio to it is none: the neg_* are then 80 dB for any estimate, with no
# gradient.
LOSSES: dict[str, Loss] = {
    # The paper's: mean square error over time, channels and sources.
    "mse": mean_of(multisrc_mse),
    "l1": F.l1_loss,
    # In dB; of scale-invariant ones (si) any level is right, and so the mixture's parts need
    # not add up. What is removed before is each source's mean, in SI-SDR's definition.
    "neg_sisdr": ChannelsInTime(mean_of(multisrc_neg_sisdr)),
    "neg_sdsdr": ChannelsInTime(mean_of(MultiSrcNegSDR("sdsdr", zero_mean=False))),
    "neg_snr": ChannelsInTime(mean_of(MultiSrcNegSDR("snr", zero_mean=False))),
    "spectral": spectral,
    "magnitude_l1": magnitude_l1,
}

WITHOUT_LEVEL = ("neg_sisdr",)
"""Losses to which an estimate of any level, and of either sign, is as good."""


def constant(optimizer: Optimizer, lr: float, steps: int, warmup: int = 0) -> Any:
    """The same step size throughout, as in the paper; after a linear warm-up, if there is one."""
    return _by_step(optimizer, functools.partial(_warmed_up, warmup=warmup)) if warmup else None


def one_cycle(optimizer: Optimizer, lr: float, steps: int, warmup: int = 0) -> Any:
    """Up to `lr` over the warm-up, a tenth of all steps if none is given, then down to nothing."""
    # OneCycleLR divides by what each of its ways is long, less one step: two steps up, one down.
    total = max(steps, 3)
    rise = max(warmup or steps / 10, 2) / total
    schedule = OneCycleLR(optimizer, lr, total_steps=total, pct_start=rise)
    return {"scheduler": schedule, "interval": "step"}


def cosine(optimizer: Optimizer, lr: float, steps: int, warmup: int = 0) -> Any:
    """Linearly up to `lr` over the warm-up, then half a cosine down to nothing."""
    return _by_step(optimizer, functools.partial(_cosine, steps=steps, warmup=warmup))


def _by_step(optimizer: Optimizer, factor: Callable[[int], float]) -> dict[str, Any]:
    """A schedule that is a function of the step alone, and so goes on anywhere."""
    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def _warmed_up(step: int, warmup: int) -> float:
    """The share of the step size in step 0, 1, ...: the first step moves too.

    >>> [_warmed_up(step, warmup=4) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / max(warmup, 1))


def _cosine(step: int, steps: int, warmup: int) -> float:
    """The share of the step size: 1 in the first step after the warm-up, 0 after the last one.

    >>> [round(_cosine(step, steps=6, warmup=2), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return _warmed_up(step, warmup)
    done = min(1.0, (step - warmup) / (steps - warmup))
    return (1 + math.cos(math.pi * done)) / 2


SCHEDULES: dict[str, Callable[..., Any]] = {
    "constant": constant,
    "one_cycle": one_cycle,
    "cosine": cosine,
}


def make_schedule(name: str, optimizer: Optimizer, lr: float, steps: int, warmup: int = 0) -> Any:
    """What Asteroid's System takes as its scheduler, by the step; None for a step size that stays.

    Args:
        name: of `SCHEDULES`.
        optimizer: as it is before the first step.
        lr: the step size at its highest.
        steps: of the optimiser, in all of the training.
        warmup: of these, those over which the step size rises from nothing.
    Raises:
        ValueError: if the warm-up is as long as the training.
    """
    if warmup >= steps:
        raise ValueError(
            f"warmup_steps is {warmup}, and the whole training has {steps} steps (max_epochs times "
            "epoch_length / batch_size); lower warmup_steps."
        )
    return SCHEDULES[name](optimizer, lr, steps, warmup)
