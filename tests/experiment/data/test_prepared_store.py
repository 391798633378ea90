"""The store of prepared tracks: 16-bit quantisation and memory mapping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.experiment.data.prepared_store import dequantize, quantize
from helpers.songs import write_prepared

PCM = 1 / 32768


@given(peak=st.floats(0, 40), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_quantization_error_is_at_most_half_a_gain(peak, seed):
    samples = np.random.default_rng(seed).uniform(-peak, peak, (3, 2, 50)).astype(np.float32)
    samples[1] *= 0.1
    values, gains = quantize(samples)
    assert values.dtype == np.int16
    assert gains == pytest.approx(
        [max(PCM, np.abs(row).max() / 32767) for row in samples], rel=1e-4
    )
    error = np.abs(dequantize(values, gains) - samples).max(axis=(1, 2))
    # The product of value and gain is rounded to float32, as the samples were.
    assert (error <= np.array(gains) / 2 * (1 + 1e-3) + 2.0**-23 * peak).all()


def test_16_bit_audio_is_stored_exactly():
    pcm = np.arange(-32768, 32768).astype(np.int16).reshape(1, 2, -1)
    values, gains = quantize(pcm.astype(np.float32) / 32768)
    assert (values == pcm).all() and gains == (PCM,)


def test_silent_and_empty_tracks_are_quantized():
    for samples in (np.zeros((2, 1, 5), np.float32), np.zeros((2, 1, 0), np.float32)):
        values, gains = quantize(samples)
        assert values.shape == samples.shape and not values.any() and gains == (PCM, PCM)


def test_map_is_read_only_and_load_dequantizes(tmp_path):
    samples = np.random.default_rng(0).normal(size=(3, 2, 100))
    track = write_prepared(tmp_path, "loud", samples, "abc")
    assert track.map().base is not None and not track.map().flags.writeable
    np.testing.assert_allclose(track.load(), samples, atol=max(track.gains))
