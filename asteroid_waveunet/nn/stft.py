"""Short-time Fourier transform by asteroid_filterbanks, with an exact inverse."""

from __future__ import annotations

import numpy as np
import torch
from asteroid_filterbanks import STFTFB, Decoder, Encoder  # type: ignore[import-untyped]
from torch import Tensor, nn

from asteroid_waveunet.nn.autocast import autocast_disabled

__all__ = ["STFT", "check_sizes"]


class STFT(nn.Module):
    """Short-time Fourier transform with a periodic Hann window and its exact inverse.

    Reconstruction is exact except in the first and last `window - hop` samples, where some of the
    overlapping frames are missing. With the analysis window w and the synthesis window v, a sample
    is scaled by

        sum_m w[n - m * hop] * v[n - m * hop]        = 1 for v = w / sum_m w[n - m * hop] ** 2.

    Both directions ignore torch.autocast and keep the module's dtype: bfloat16 would round the
    phase.

    (The inverse window of asteroid_filterbanks is zero where the hop exceeds half the window, and
    its spectra are scaled; `magnitudes` removes the scaling.)

    Args:
        window: frame length in samples, even, >= 2.
        hop: samples between the starts of frames, 1 to three quarters of the window: with less
            overlap the inverse window is unbounded.
    Raises:
        ValueError: if one of them is out of its range.

    >>> stft = STFT(window=1024, hop=768)
    >>> frames = stft.analyse(torch.randn(2, 98560))
    >>> frames.shape, stft.magnitudes(frames).shape, stft.synthesise(frames).shape
    (torch.Size([2, 1026, 128]), torch.Size([2, 513, 128]), torch.Size([2, 98560]))
    """

    gain: Tensor

    def __init__(self, window: int, hop: int):
        super().__init__()
        check_sizes(window, hop)
        self.window, self.hop = window, hop
        hann = np.hanning(window + 1)[:-1]
        power = np.zeros(hop)
        for start in range(0, window, hop):
            part = hann[start : start + hop] ** 2
            power[: len(part)] += part
        inverse = hann / np.resize(power, window)
        # Filters of STFTFB are exp(i w n) / (sqrt(window * window / hop) / 2), with another
        # 1 / sqrt(2) at the first and last frequency: 2 * hop / window for both directions.
        self.encoder = Encoder(_constant(STFTFB(window, window, hop, hann)))
        inverse *= window / (2 * hop)
        self.decoder = Decoder(_constant(STFTFB(window, window, hop, inverse)))
        gain = np.full((window // 2 + 1, 1), 0.5 * window / np.sqrt(hop))
        gain[[0, -1]] *= np.sqrt(2)
        self.register_buffer("gain", torch.from_numpy(gain).float(), persistent=False)

    def analyse(self, signals: Tensor) -> Tensor:
        """Transform `(batch, time)` to `(batch, window + 2, frames)`: real and imaginary parts."""
        with autocast_disabled(signals.device):
            return self.encoder(signals[:, None].to(self.gain.dtype))

    def magnitudes(self, spectra: Tensor) -> Tensor:
        """Convert `(batch, window + 2, frames)` to magnitudes `(batch, window / 2 + 1, frames)`."""
        # At zero, the gradient of this norm is zero; that of sqrt(re^2 + im^2) is infinite.
        parts = torch.stack(spectra.chunk(2, dim=-2))
        return torch.linalg.vector_norm(parts, dim=0) * self.gain

    def synthesise(self, spectra: Tensor) -> Tensor:
        """Invert `(..., window + 2, frames)` to `(..., hop * (frames - 1) + window)` samples."""
        with autocast_disabled(spectra.device):
            flat = self.decoder(spectra.reshape(-1, *spectra.shape[-2:]).to(self.gain.dtype))
        return flat.reshape(*spectra.shape[:-2], -1)


def check_sizes(window: int, hop: int) -> None:
    """Check the sizes of an `STFT`.

    Raises:
        ValueError: if one of them is out of its range.
    """
    if window < 2 or window % 2:
        raise ValueError(f"window is {window}; expected an even number of samples.")
    if not 1 <= hop <= 3 * window // 4:
        raise ValueError(
            f"hop is {hop}; expected 1 to {3 * window // 4}, three quarters of the window: "
            "with less overlap the transform has no stable inverse."
        )


def _constant(filterbank: STFTFB) -> STFTFB:
    """Exclude the filters from the state dict; they follow from the sizes."""
    for name, tensor in list(filterbank.named_buffers()):
        delattr(filterbank, name)
        filterbank.register_buffer(name, tensor, persistent=False)
    return filterbank
