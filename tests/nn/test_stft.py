"""Tests of `nn.stft`: equal to NumPy's transform, with an exact inverse between the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.nn.stft import STFT


@given(half=st.integers(1, 40), fraction=st.floats(0, 1), n_frames=st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_reconstruction_is_exact_between_the_edges(half, fraction, n_frames):
    window = 2 * half
    hop = max(1, int(fraction * (3 * window // 4)))
    stft = STFT(window, hop)
    signals = torch.randn(3, hop * (n_frames - 1) + window)
    back = stft.synthesise(stft.analyse(signals))
    assert back.shape == signals.shape
    inside = slice(window - hop, signals.shape[-1] - (window - hop))
    torch.testing.assert_close(back[:, inside], signals[:, inside], atol=3e-5, rtol=0)


@pytest.mark.parametrize(("window", "hop"), [(1024, 768), (64, 16)])
def test_magnitudes_equal_numpy_magnitudes(window, hop):
    stft = STFT(window, hop)
    signal = torch.randn(1, 5 * hop + window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = np.lib.stride_tricks.sliding_window_view(signal[0].numpy(), window)[::hop]
    expected = np.abs(np.fft.rfft(frames * hann)).T
    found = stft.magnitudes(stft.analyse(signal))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6 * window)


def test_autocast_does_not_affect_the_transform():
    stft = STFT(64, 48)
    signals = torch.randn(2, 48 * 9 + 64)
    with torch.autocast("cpu", torch.bfloat16):
        back = stft.synthesise(stft.analyse(signals))
    torch.testing.assert_close(back[:, 16:-16], signals[:, 16:-16], atol=3e-5, rtol=0)


def test_magnitudes_of_silence_have_a_finite_gradient():
    signal = torch.zeros(1, 400, requires_grad=True)
    stft = STFT(64, 48)
    stft.magnitudes(stft.analyse(signal)).sum().backward()
    assert torch.isfinite(signal.grad).all()


def test_invalid_sizes_are_rejected():
    for window, hop, message in (
        (0, 1, "window is 0"),
        (7, 2, "window is 7; expected an even"),
        (8, 7, "hop is 7; expected 1 to 6"),
    ):
        with pytest.raises(ValueError, match=message):
            STFT(window, hop)
