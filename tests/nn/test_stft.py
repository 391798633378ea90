"""The transform is NumPy's, and its inverse is exact wherever all frames are there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.nn.stft import Spectrum


@given(half=st.integers(1, 40), share=st.floats(0, 1), n_frames=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_there_and_back_between_the_edges(half, share, n_frames):
    window = 2 * half
    hop = max(1, int(share * (3 * window // 4)))
    spectrum = Spectrum(window, hop)
    signals = torch.randn(3, hop * (n_frames - 1) + window)
    back = spectrum.synthesise(spectrum.analyse(signals))
    assert back.shape == signals.shape
    inside = slice(window - hop, signals.shape[-1] - (window - hop))
    torch.testing.assert_close(back[:, inside], signals[:, inside], atol=3e-5, rtol=0)


@pytest.mark.parametrize(("window", "hop"), [(1024, 768), (64, 16)])
def test_magnitudes_are_those_of_the_plain_transform(window, hop):
    spectrum = Spectrum(window, hop)
    signal = torch.randn(1, 5 * hop + window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = np.lib.stride_tricks.sliding_window_view(signal[0].numpy(), window)[::hop]
    expected = np.abs(np.fft.rfft(frames * hann)).T
    found = spectrum.magnitudes(spectrum.analyse(signal))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6 * window)


def test_lower_precision_around_it_does_not_reach_the_transform():
    spectrum = Spectrum(64, 48)
    signals = torch.randn(2, 48 * 9 + 64)
    with torch.autocast("cpu", torch.bfloat16):
        back = spectrum.synthesise(spectrum.analyse(signals))
    torch.testing.assert_close(back[:, 16:-16], signals[:, 16:-16], atol=3e-5, rtol=0)


def test_silence_has_a_gradient():
    signal = torch.zeros(1, 400, requires_grad=True)
    spectrum = Spectrum(64, 48)
    spectrum.magnitudes(spectrum.analyse(signal)).sum().backward()
    assert torch.isfinite(signal.grad).all()


@pytest.mark.parametrize(
    ("window", "hop", "says"),
    [
        (0, 1, "window is 0"),
        (7, 2, "window is 7; expected an even"),
        (8, 7, "hop is 7; expected 1 to 6"),
    ],
)
def test_sizes_without_an_inverse_are_refused(window, hop, says):
    with pytest.raises(ValueError, match=says):
        Spectrum(window, hop)
