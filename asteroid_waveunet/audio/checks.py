"""Checks of samples, and conversion of channel counts."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_floating", "check_samples", "to_channels"]


def check_floating(samples: Tensor, name: str = "the mixture") -> Tensor:
    """Return the samples if their dtype is floating point.

    Raises:
        ValueError: for integers: PCM values would be read as samples far beyond full scale.
    """
    if not samples.is_floating_point():
        raise ValueError(
            f"{name} has dtype {samples.dtype}; expected floats at full scale 1.0, such as "
            "pcm / 32768 for 16-bit samples."
        )
    return samples


def check_samples(samples: Tensor, name: str = "the mixture") -> Tensor:
    """Return `(..., channels, time)` samples if they are finite floats.

    Raises:
        ValueError: if there are none, or some are NaN or infinite (the message counts and
            locates them).
    """
    if samples.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(samples.shape)}.")
    check_floating(samples, name)
    finite = samples.isfinite()
    if not finite.all():
        bad = (~finite).nonzero()
        raise ValueError(
            f"{name} has {len(bad)} NaN or infinite samples of {samples.numel()}, the first at "
            f"{tuple(bad[0].tolist())} of {tuple(samples.shape)}. Repair it first: the estimates "
            "around them would be NaN too."
        )
    return samples


def to_channels(samples: Tensor, channels: int) -> Tensor:
    """Convert `(..., channels, time)` to mono by averaging, or from mono by repeating.

    Raises:
        ValueError: for a conversion between two channel counts above one.
    """
    n_channels = samples.shape[-2]
    if n_channels == channels:
        return samples
    if n_channels == 1:
        return samples.expand(*samples.shape[:-2], channels, samples.shape[-1])
    if channels == 1:
        return samples.mean(dim=-2, keepdim=True)
    raise ValueError(
        f"Cannot convert {n_channels} channels to {channels}: only mono is repeated, and only a "
        f"mix to mono is averaged. Mix the audio to {channels} or 1 channel(s) first."
    )
