"""Sample checks and channel conversion."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet.audio.checks import check_samples, to_channels


def test_check_samples_locates_what_is_not_finite():
    samples = torch.zeros(2, 100)
    assert check_samples(samples) is samples
    samples[0, 3] = float("inf")
    with pytest.raises(ValueError, match=r"the block.* 1 NaN .* 200.*\(0, 3\)"):
        check_samples(samples, "the block")
    with pytest.raises(ValueError, match="int16.*float"):
        check_samples(torch.zeros(2, 10, dtype=torch.int16))
    with pytest.raises(ValueError, match=r"empty.*\(2, 0\)"):
        check_samples(torch.zeros(2, 0))


def test_to_channels_repeats_or_averages():
    stereo = torch.randn(2, 5)
    assert torch.equal(to_channels(stereo, 1), stereo.mean(0, keepdim=True))
    assert torch.equal(to_channels(stereo[:1], 3), stereo[:1].repeat(3, 1))
    with pytest.raises(ValueError, match="6 channels to 2"):
        to_channels(torch.zeros(6, 5), 2)
