"""Tempo and pitch change by as much as asked, each without the other."""

from __future__ import annotations

import numpy as np
import pytest

from asteroid_waveunet.experiment.segments.mixing import stretch

RATE = 16000


def loudest(samples: np.ndarray) -> float:
    """The frequency of the strongest partial, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * RATE / len(samples)


@pytest.mark.parametrize("tempo", [0.88, 1.0, 1.12])
@pytest.mark.parametrize("pitch", [-2, 0, 2])
def test_a_tone_keeps_what_is_not_changed(tempo, pitch):
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)[None]
    stretched = stretch(tone, RATE, tempo, pitch)
    assert stretched.shape == (1, round(RATE / tempo)) and stretched.dtype == np.float32
    middle = stretched[0, 4000:12000]
    assert loudest(middle) == pytest.approx(440 * 2 ** (pitch / 12), rel=0.01)
    assert np.abs(middle).max() == pytest.approx(1, abs=0.3)


def test_time_is_scaled_from_the_first_sample():
    click = np.zeros((2, RATE), np.float32)
    click[:, 10000] = 1
    for tempo in (0.88, 1.12):
        stretched = stretch(click, RATE, tempo, 0)
        assert np.abs(stretched[1]).argmax() == pytest.approx(10000 / tempo, abs=5)


def test_it_is_the_same_each_time():
    noise = np.random.default_rng(0).normal(size=(2, 3000)).astype(np.float32)
    assert (stretch(noise, RATE, 1.1, 1) == stretch(noise, RATE, 1.1, 1)).all()
