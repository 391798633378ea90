"""Changes of a signal that a separation should follow: another sign, left and right swapped."""

from __future__ import annotations

from torch import Tensor

__all__ = ["images", "mirror"]


def mirror(x: Tensor) -> Tensor:
    """Negate a signal `(..., channels, time)`, and swap the channels of stereo.

    More channels keep their order, which has a meaning. Mirroring twice gives the signal back.

    >>> import torch
    >>> mirror(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[-3.0, -4.0], [-1.0, -2.0]]
    """
    return -_swapped(x)


def images(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a signal as it is, negated, with left and right swapped, and both.

    `images(images(x)[i])[i]` is x.
    """
    return x, -x, _swapped(x), mirror(x)


def _swapped(x: Tensor) -> Tensor:
    return x.flip(-2) if x.shape[-2] == 2 else x
