"""Surround sound is mixed down by the arrangement of its channels, and it is said."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.channels import mixed_down


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
