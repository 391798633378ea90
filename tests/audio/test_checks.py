"""Sample checks and channel conversion."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import check_samples, mixed_down, to_channels


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


def mix_of(path, samples):
    audio_io.write(path, samples, 8000)
    with audio_io.open_reader(path) as file:
        with pytest.warns(UserWarning, match=f"{path.name}: its {len(samples)} channels are mixed"):
            mixed = mixed_down(file)
        assert mixed.channels == 2
        return torch.cat(list(mixed.blocks(1000)), dim=-1)


def test_each_channel_of_5_1_goes_to_its_sides(tmp_path):
    share = 1 / (1 + 2 * math.sqrt(0.5))
    sides = [(1, 0), (0, 1), (0.5**0.5, 0.5**0.5), (0, 0), (0.5**0.5, 0), (0, 0.5**0.5)]
    for channel, side in enumerate(sides):
        samples = torch.zeros(6, 2500)
        samples[channel] = 0.5
        expected = 0.5 * share * torch.tensor(side)
        mixed = mix_of(tmp_path / "six.wav", samples)
        torch.testing.assert_close(mixed, expected[:, None].expand(2, 2500))


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8, 9, 16])
def test_full_scale_is_not_exceeded(tmp_path, channels):
    mixed = mix_of(tmp_path / "many.wav", torch.ones(channels, 100))
    torch.testing.assert_close(mixed, torch.ones(2, 100))
