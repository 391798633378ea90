"""Resampling keeps length, level, pitch and position."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.audio.resampling import Resampler, resample


def sine(rate, seconds=0.5, hertz=440.0):
    wave = torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)
    return 0.5 * wave.expand(2, -1)


@given(st.integers(1, 3000), st.sampled_from([8000, 11025, 22050, 44100, 48000]))
@settings(deadline=None, max_examples=15)
def test_resample_round_trip_keeps_length(length, rate):
    samples = torch.randn(2, length)
    resampled = resample(samples, rate, 22050)
    assert resampled.shape == (2, round(length * 22050 / rate))
    assert resample(resampled, 22050, rate, length).shape == samples.shape


def test_resample_keeps_level_pitch_and_position():
    inner = slice(2000, -2000)
    resampled = resample(sine(8000), 8000, 22050)[:, inner]
    torch.testing.assert_close(resampled, sine(22050)[:, inner], atol=1e-3, rtol=0)


@pytest.mark.parametrize("rates", [(44100, 22050), (48000, 8192), (8000, 8000)])
def test_resampler_in_blocks_equals_resample(rates):
    samples = torch.randn(2, 20000)
    resampler = Resampler(*rates, channels=2)
    blocks = [resampler.feed(block) for block in samples.split(777, dim=-1)]
    joined = torch.cat([*blocks, resampler.flush()], dim=-1)
    whole = resample(samples, *rates)
    n = min(joined.shape[-1], whole.shape[-1])
    assert abs(joined.shape[-1] - whole.shape[-1]) <= 1
    torch.testing.assert_close(joined[..., :n], whole[..., :n], atol=1e-6, rtol=0)
