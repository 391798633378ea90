"""Tests of `SpectrogramUNet`: sizes, padding, masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asteroid_waveunet import SpectrogramUNet
from asteroid_waveunet.models.spectrogram_unet import Doubling, Halving, MaskUNet
from asteroid_waveunet.nn.geometry import Lengths
from helpers.models import SYSTEMS, randomize


def test_sizes_equal_the_paper():
    with torch.device("meta"):
        model = SpectrogramUNet()
    assert model.geometry.fit(98048) == Lengths(input=98560, output=98048)
    for network in model.networks:
        assert [down.conv.out_channels for down in network.down] == [16, 32, 64, 128, 256, 512]
        assert [up[0].conv.out_channels for up in network.up] == [256, 128, 64, 32, 16]
        assert [up[0].conv.in_channels for up in network.up] == [512, 512, 256, 128, 64]
        assert (network.mask.conv.in_channels, network.mask.conv.out_channels) == (32, 1)


def test_halving_pads_like_tensorflow():
    """For even lengths, one zero before and two behind: output i sees 2i - 1 to 2i + 3."""
    halving = Halving(1, 1).double().eval()
    x = torch.randn(1, 1, 6, 8, dtype=torch.float64)
    kernel = halving.conv.weight[0, 0]
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for i in range(3):
        for j in range(4):
            for a in range(5):
                for b in range(5):
                    row, column = 2 * i - 1 + a, 2 * j - 1 + b
                    if 0 <= row < 6 and 0 <= column < 8:
                        expected[i, j] += kernel[a, b] * x[0, 0, row, column]
    expected = F.leaky_relu(expected / (1 + 1e-3) ** 0.5, 0.2)
    torch.testing.assert_close(halving(x)[0, 0].detach(), expected.detach())


def test_doubling_is_the_transpose_of_halving():
    halving, doubling = Halving(2, 3).double(), Doubling(3, 2).double()
    doubling.conv.weight.data = halving.conv.weight.data
    x, y = (torch.randn(s, dtype=torch.float64) for s in ((1, 2, 6, 8), (1, 3, 3, 4)))
    down, up = halving.conv(F.pad(x, (1, 2, 1, 2))), doubling(y)
    torch.testing.assert_close((down * y).sum(), (x * up).sum())


def test_features_are_log_magnitudes_from_the_lowest_frequency():
    model = SpectrogramUNet(window=64, hop=48, levels=2, initial_filters=3).eval()
    inputs = []
    model.networks[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    model(torch.ones(1, 777))
    (features,) = inputs
    assert features.shape[1:3] == (1, 32), "without the highest frequency"
    spectrum = features[0, 0, :, features.shape[-1] // 2]
    torch.testing.assert_close(spectrum[0], torch.tensor(32.0).log1p())  # sum of a Hann window
    torch.testing.assert_close(spectrum[1], torch.tensor(16.0).log1p())
    assert spectrum[2:].max() < 1e-4


@pytest.mark.parametrize("length", [1, 777])
def test_mask_of_one_halves_the_last_frequency_only(length):
    """Up to the edges, against NumPy's transform of each frame."""
    window, hop = 64, 48
    model = SpectrogramUNet(window=window, hop=hop, levels=2, initial_filters=3).eval()
    for network in model.networks:
        network.mask.conv.bias.data.fill_(100)
    mixture = torch.randn(1, length)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(mixture[0].double().numpy(), (window - hop, 2 * window))
    expected, power = np.zeros_like(padded), np.zeros_like(padded)
    for start in range(0, len(padded) - window + 1, hop):
        spectrum = np.fft.rfft(padded[start : start + window] * hann)
        spectrum[-1] /= 2
        expected[start : start + window] += np.fft.irfft(spectrum) * hann
        power[start : start + window] += hann**2
    inside = slice(window - hop, window - hop + length)
    expected = torch.from_numpy(expected[inside] / power[inside]).float()
    with torch.no_grad():
        for estimate in model(mixture):
            torch.testing.assert_close(estimate, expected, atol=1e-5, rtol=0)


def batch_norm(x, norm):
    mean, var, shift = (t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.bias))
    return (x - mean) / (var + 1e-3).sqrt() + shift


def tensorflow_doubling(x, conv):
    """As in TensorFlow: crop one of the 2n + 3 outputs before and two behind."""
    return F.conv_transpose2d(x, conv.weight, conv.bias, stride=2)[..., 1:-2, 1:-2]


@torch.no_grad()
def test_network_equals_the_paper():
    network = randomize(MaskUNet(levels=4, initial_filters=2)).double().eval()
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.3)
        norm.running_var.uniform_(0.5, 2)
    x = y = torch.rand(2, 1, 32, 48, dtype=torch.float64)
    skips = []
    for down in network.down:
        y = F.conv2d(F.pad(y, (1, 2, 1, 2)), down.conv.weight, down.conv.bias, stride=2)
        y = batch_norm(y, down.norm)
        y = torch.maximum(0.2 * y, y)
        skips.append(y)
    for (doubling, norm, _), skip in zip(network.up, skips[-2::-1], strict=True):
        y = torch.cat([skip, batch_norm(tensorflow_doubling(y, doubling.conv), norm).relu()], dim=1)
    expected = 1 / (1 + torch.exp(-tensorflow_doubling(y, network.mask.conv)))
    torch.testing.assert_close(network(x), expected)


def test_the_three_lowest_up_blocks_have_dropout(monkeypatch):
    dropped = []
    monkeypatch.setattr(F, "dropout", lambda x, *how: dropped.append((x.shape[1], *how)) or x)
    MaskUNet(levels=6, initial_filters=2)(torch.randn(2, 1, 64, 64))
    assert dropped == [(2 * filters, 0.5, True) for filters in (32, 16, 8)]


def test_masks_are_between_zero_and_one():
    network = randomize(MaskUNet(levels=3, initial_filters=2)).eval()
    mask = network(5 * torch.randn(2, 1, 16, 24))
    assert mask.shape == (2, 1, 16, 24)
    assert 0 <= mask.min() < 0.4 and 0.6 < mask.max() <= 1


def test_dropout_applies_in_training_only():
    network = MaskUNet(levels=5, initial_filters=2)
    x = torch.randn(1, 1, 32, 32)
    assert torch.equal(network.eval()(x), network(x))
    network.train()
    x = x.repeat(2, 1, 1, 1)  # the lowest level has one value, whose variance is over the batch
    assert not torch.equal(network(x), network(x))


def test_one_level_is_allowed():
    model = SYSTEMS["spectrogram"](levels=1)
    assert model(torch.randn(1, 100)).shape == (2, 100)


def test_moving_averages_decay():
    for decay in (0.999, 0.5):
        norm = (
            SpectrogramUNet(levels=2, initial_filters=2, norm_decay=decay).networks[0].down[0].norm
        )
        norm(torch.full((4, 2, 3, 3), 7.0))
        torch.testing.assert_close(norm.running_mean, torch.full((2,), 7 * (1 - decay)))
    with pytest.raises(ValueError, match="norm_decay is 1.0; expected.*below 1"):
        SpectrogramUNet(norm_decay=1.0)
