"""Losses and learning-rate schedules by name.

Each loss maps estimates and targets, `(batch, n_src, channels, time)` or `(batch, n_src, time)`
with the model's sources in order, to a scalar. Asteroid's permutation-invariant losses are left
out, since the sources are named, and so are its losses for speech (STOI, PMSQE).
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
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from asteroid_waveunet.losses import ChannelsInTime, MagnitudeL1

__all__ = ["LOSSES", "SCHEDULES", "WITHOUT_LEVEL", "make_schedule"]

Loss = Callable[[Tensor, Tensor], Tensor]


def mean_of(loss: Loss) -> Loss:
    """Average a loss with one value per example over the batch."""
    return lambda estimates, targets: loss(estimates, targets).mean()


def spectral(estimates: Tensor, targets: Tensor) -> Tensor:
    """Return the multi-scale spectral distance [1] per sample: seven resolutions, linear and log.

    Each channel is a separate signal. Always float32: the range of a spectrum is too large for
    bfloat16's resolution.

    [1] Engel et al. DDSP: Differentiable Digital Signal Processing. ICLR 2020.
    """
    n_samples = targets.shape[-1]
    padding = max(0, LONGEST_WINDOW - n_samples)
    with torch.autocast(estimates.device.type, enabled=False):
        signals = (x.float().flatten(0, -2) for x in (estimates, targets))
        distances = _multi_scale(estimates.device)(*(F.pad(x, (0, padding)) for x in signals))
    return distances.mean() / n_samples


LONGEST_WINDOW = 2048  # samples, in SingleSrcMultiScaleSpectral


def log_mse(estimates: Tensor, targets: Tensor) -> Tensor:
    """Return the mean level of the error in dB: of each source in each example, in its mixture.

    Each counts by its ratio, as in SDR's median over windows, and not by its energy. An error
    below -30 dB of the mixture, the sum of the targets, counts little more. Silent sources are
    learnt too.
    """
    errors, sources = (x.float().flatten(2) for x in (targets - estimates, targets))
    mixture = sources.sum(1, keepdim=True).square().mean(-1).clamp(min=SILENT)
    return 10 * (errors.square().mean(-1) / mixture + LEAST_ERROR).log10().mean()


SILENT = 1e-7  # mean square, -70 dB of full scale
LEAST_ERROR = 1e-3  # -30 dB


def magnitude_l1(estimates: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute error of the STFT magnitudes of U7a: `MagnitudeL1`."""
    return _magnitude_l1()(estimates, targets)


@functools.cache
def _magnitude_l1() -> Loss:
    return MagnitudeL1()


@functools.cache
def _multi_scale(device: torch.device) -> Loss:
    """Return Asteroid's loss with its windows on a device and not trained."""
    return SingleSrcMultiScaleSpectral().to(device).requires_grad_(False)


# Silent targets are common in music. With mse, l1, log_mse, spectral and magnitude_l1 the model
# learns silence from them. The neg_* ratios are then 80 dB for any estimate, with zero gradient.
LOSSES: dict[str, Loss] = {
    # The paper's loss: mean squared error over time, channels and sources.
    "mse": mean_of(multisrc_mse),
    "l1": F.l1_loss,
    "log_mse": log_mse,
    # In dB. The scale-invariant one accepts any level, so sources need not add up to the mixture.
    # SI-SDR by definition removes each source's mean first.
    "neg_sisdr": ChannelsInTime(mean_of(multisrc_neg_sisdr)),
    "neg_sdsdr": ChannelsInTime(mean_of(MultiSrcNegSDR("sdsdr", zero_mean=False))),
    "neg_snr": ChannelsInTime(mean_of(MultiSrcNegSDR("snr", zero_mean=False))),
    "spectral": spectral,
    "magnitude_l1": magnitude_l1,
}

WITHOUT_LEVEL = ("neg_sisdr",)
"""Losses that do not depend on the level and sign of the estimates."""


def constant(optimizer: Optimizer, steps: int, warmup: int = 0) -> Any:
    """Keep the learning rate constant, as in the paper, after an optional linear warm-up."""
    return _by_step(optimizer, functools.partial(_warmed_up, warmup=warmup)) if warmup else None


def one_cycle(optimizer: Optimizer, steps: int, warmup: int = 0) -> Any:
    """Rise to the maximum over the warm-up (default: a tenth of all steps), then fall near 0."""
    # OneCycleLR divides by the length of each phase minus one step: at least two up, one down.
    total = max(steps, 3)
    rise = max(warmup or steps / 10, 2) / total
    peaks = [group["lr"] for group in optimizer.param_groups]
    schedule = OneCycleLR(
        optimizer,
        peaks,
        total_steps=total,
        pct_start=rise,
        cycle_momentum=isinstance(optimizer, Adam),
    )
    return {"scheduler": schedule, "interval": "step"}


def cosine(optimizer: Optimizer, steps: int, warmup: int = 0) -> Any:
    """Rise linearly to the maximum over the warm-up, then fall to 0 as half a cosine."""
    return _by_step(optimizer, functools.partial(_cosine, steps=steps, warmup=warmup))


def _by_step(optimizer: Optimizer, factor: Callable[[int], float]) -> dict[str, Any]:
    """Return a schedule that depends on the step alone and can resume anywhere."""
    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def _warmed_up(step: int, warmup: int) -> float:
    """Return the factor of the learning rate in step 0, 1, ...; positive in the first.

    >>> [_warmed_up(step, warmup=4) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / max(warmup, 1))


def _cosine(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate: 1 in the first step after warm-up, 0 at the end.

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


def make_schedule(name: str, optimizer: Optimizer, steps: int, warmup: int = 0) -> Any:
    """Return a per-step scheduler for Asteroid's System, or None for a constant learning rate.

    Args:
        name: from `SCHEDULES`.
        optimizer: in its initial state, with its maximum learning rates.
        steps: optimizer steps of the whole training.
        warmup: first steps, over which the learning rate rises from 0.
    Raises:
        ValueError: if the warm-up is as long as the training.
    """
    if warmup >= steps:
        raise ValueError(
            f"warmup_steps is {warmup}, and the whole training has {steps} steps (max_epochs times "
            "epoch_length / batch_size); lower warmup_steps."
        )
    return SCHEDULES[name](optimizer, steps, warmup)
