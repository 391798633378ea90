"""FFT convolution with long filters (overlap-save)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.nn.autocast import autocast_disabled

__all__ = ["correlate"]

BLOCK = 4
"""Block size in filter lengths, rounded up to a power of two; all but one yield outputs."""

GRAIN = 2**8
"""The size of a single shorter block is a multiple of this: FFTs of sizes with large prime factors
are slow."""


def correlate(x: Tensor, weight: Tensor) -> Tensor:
    """Compute `torch.nn.functional.conv1d(x, weight)` to rounding, faster for long filters.

    Overlap-save [1]: in each block of x, the inverse of X * conj(W) is valid except for the last
    k - 1 samples, which wrap around to the start of the block, so blocks overlap by k - 1. A
    direct convolution takes k products per sample and pair of channels, this one about 8/3, plus
    one transform per channel.

    Spectra have single precision at least, also under torch.autocast.

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
    n_outputs = x.shape[-1] - k + 1
    size = min(2 ** (BLOCK * k - 1).bit_length(), -(-x.shape[-1] // GRAIN) * GRAIN)
    hop = size - k + 1
    n_blocks = -(-n_outputs // hop)
    dtype = torch.promote_types(x.dtype, torch.float32)
    padded = F.pad(x.to(dtype), (0, n_blocks * hop + k - 1 - x.shape[-1]))
    with autocast_disabled(x.device):
        blocks = torch.fft.rfft(padded.unfold(-1, size, hop))
        filters = torch.fft.rfft(weight.to(dtype), size).conj()
        products = torch.einsum("bimf,oif->bomf", blocks, filters)
        outputs = torch.fft.irfft(products, size)[..., :hop]
    return outputs.flatten(-2)[..., :n_outputs].to(x.dtype)
