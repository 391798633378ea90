"""Convolutions with long filters, through the spectra of overlapping blocks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.nn.autocast import own_precision

__all__ = ["correlate"]

BLOCK = 4
"""Filter lengths in a block, of which all but one give results; rounded up to a power of two."""

GRAIN = 2**8
"""Of what is shorter than a block, the length is rounded up to a multiple of this: a transform is
slow where it has large prime factors."""


def correlate(x: Tensor, weight: Tensor) -> Tensor:
    """`torch.nn.functional.conv1d(x, weight)` to rounding, for filters of some hundred samples.

    Overlap-save [1]: of a block of x, the inverse of X * conj(W) is right but for the last k - 1
    samples, which circular correlation takes from the block's beginning; so blocks overlap by
    these. Where a convolution takes k products for each sample and pair of channels, this takes
    about 8/3, and the transforms of each channel by itself.

    Spectra are of single precision at least: in a region of lower precision (torch.autocast) too.

    Args:
        x: `(batch, in, n)`.
        weight: `(out, in, k)`, k <= n.
    Returns:
        `(batch, out, n - k + 1)`.

    >>> x, weight = torch.randn(2, 3, 1000), torch.randn(4, 3, 100)
    >>> torch.allclose(correlate(x, weight), F.conv1d(x, weight), atol=1e-3)
    True

    [1] Oppenheim, Schafer. Discrete-Time Signal Processing, section 8.7.
    """
    k = weight.shape[-1]
    n_results = x.shape[-1] - k + 1
    size = min(2 ** (BLOCK * k - 1).bit_length(), -(-x.shape[-1] // GRAIN) * GRAIN)
    hop = size - k + 1
    n_blocks = -(-n_results // hop)
    dtype = torch.promote_types(x.dtype, torch.float32)
    padded = F.pad(x.to(dtype), (0, n_blocks * hop + k - 1 - x.shape[-1]))
    with own_precision(x.device):
        blocks = torch.fft.rfft(padded.unfold(-1, size, hop))
        filters = torch.fft.rfft(weight.to(dtype), size).conj()
        products = torch.einsum("bimf,oif->bomf", blocks, filters)
        results = torch.fft.irfft(products, size)[..., :hop]
    return results.flatten(-2)[..., :n_results].to(x.dtype)
