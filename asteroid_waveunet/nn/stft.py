"""The short-time Fourier transform of asteroid_filterbanks, with an inverse that is exact."""

from __future__ import annotations

import numpy as np
import torch
from asteroid_filterbanks import STFTFB, Decoder, Encoder  # type: ignore[import-untyped]
from torch import Tensor, nn

from asteroid_waveunet.nn.autocast import own_precision

__all__ = ["Spectrum", "check_sizes"]


class Spectrum(nn.Module):
    """Signals to spectra of windowed frames, and back: periodic Hann window, any overlap.

    A sample comes back as it was where all frames that cover it are there, which is everywhere
    but in the first and the last `window - hop` samples. With the window w, frames a hop apart
    and the inverse window v it comes back times

        sum_m w[n - m * hop] * v[n - m * hop]        = 1 for v = w / sum_m w[n - m * hop] ** 2.

    In a region of lower precision (torch.autocast) both keep the module's own: rounded to
    bfloat16, the phase would be too.

    (asteroid_filterbanks' own inverse window is zero where the hop is more than half the window,
    and its spectra are scaled: `magnitudes` are those of the plain transform.)

    Args:
        window: samples of a frame, even, >= 2.
        hop: samples between the beginnings of frames, 1 to three quarters of the window: with
            less overlap the inverse window has no bound.
    Raises:
        ValueError: if one of them is out of its range.

    >>> spectrum = Spectrum(window=1024, hop=768)
    >>> frames = spectrum.analyse(torch.randn(2, 98560))
    >>> frames.shape, spectrum.magnitudes(frames).shape, spectrum.synthesise(frames).shape
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
        # Their filters are exp(i w n) / (sqrt(window * window / hop) / 2), of the first and the
        # last frequency another 1 / sqrt(2): analysis and synthesis together 2 * hop / window.
        self.encoder = Encoder(_constant(STFTFB(window, window, hop, hann)))
        inverse *= window / (2 * hop)
        self.decoder = Decoder(_constant(STFTFB(window, window, hop, inverse)))
        gain = np.full((window // 2 + 1, 1), 0.5 * window / np.sqrt(hop))
        gain[[0, -1]] *= np.sqrt(2)
        self.register_buffer("gain", torch.from_numpy(gain).float(), persistent=False)

    def analyse(self, signals: Tensor) -> Tensor:
        """`(batch, time)` -> `(batch, window + 2, frames)`, the real parts, then the imaginary."""
        with own_precision(signals.device):
            return self.encoder(signals[:, None].to(self.gain.dtype))

    def magnitudes(self, spectra: Tensor) -> Tensor:
        """`(batch, window + 2, frames)` -> `(batch, window / 2 + 1, frames)`."""
        # The gradient of this norm at zero is zero, that of a root of squares is infinite.
        parts = torch.stack(spectra.chunk(2, dim=-2))
        return torch.linalg.vector_norm(parts, dim=0) * self.gain

    def synthesise(self, spectra: Tensor) -> Tensor:
        """`(..., window + 2, frames)` -> `(..., time)`, hop * (frames - 1) + window samples."""
        with own_precision(spectra.device):
            flat = self.decoder(spectra.reshape(-1, *spectra.shape[-2:]).to(self.gain.dtype))
        return flat.reshape(*spectra.shape[:-2], -1)


def check_sizes(window: int, hop: int) -> None:
    """Whether there is a `Spectrum` of these sizes.

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
    """The same, whose filters are not stored among weights: they follow from its sizes."""
    for name, tensor in list(filterbank.named_buffers()):
        delattr(filterbank, name)
        filterbank.register_buffer(name, tensor, persistent=False)
    return filterbank
