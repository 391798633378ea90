"""Samples are kept to half a step of 16 bits; the index tells what is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asteroid_waveunet.experiment.data.prepared_store import decoded, encoded
from helpers.songs import write_prepared

PCM = 1 / 32768


@given(peak=st.floats(0, 40), seed=st.integers(0, 99))
def test_the_error_is_at_most_half_a_gain(peak, seed):
    samples = np.random.default_rng(seed).uniform(-peak, peak, (3, 2, 50)).astype(np.float32)
    samples[1] *= 0.1
    whole, gains = encoded(samples)
    assert whole.dtype == np.int16
    assert gains == pytest.approx(
        [max(PCM, np.abs(row).max() / 32767) for row in samples], rel=1e-4
    )
    error = np.abs(decoded(whole, gains) - samples).max(axis=(1, 2))
    # A whole number times its gain is rounded to float32, as the samples were.
    assert (error <= np.array(gains) / 2 * (1 + 1e-3) + 2.0**-23 * peak).all()


def test_what_comes_from_16_bits_is_kept_to_the_bit():
    pcm = np.arange(-32768, 32768).astype(np.int16).reshape(1, 2, -1)
    whole, gains = encoded(pcm.astype(np.float32) / 32768)
    assert (whole == pcm).all() and gains == (PCM,)


def test_silence_and_nothing_are_samples_too():
    for samples in (np.zeros((2, 1, 5), np.float32), np.zeros((2, 1, 0), np.float32)):
        whole, gains = encoded(samples)
        assert whole.shape == samples.shape and not whole.any() and gains == (PCM, PCM)


def test_a_track_is_mapped_and_read_only(tmp_path):
    samples = np.random.default_rng(0).normal(size=(3, 2, 100))
    track = write_prepared(tmp_path, "loud", samples, "abc")
    assert track.map().base is not None and not track.map().flags.writeable
    np.testing.assert_allclose(track.load(), samples, atol=max(track.gains))
