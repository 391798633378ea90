"""Each block against its formula."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet.nn.wave_unet_blocks import (
    DownBlock,
    LearnedUpsampling,
    LinearUpsampling,
    OutputHead,
    TransposedUpsampling,
    centre_crop,
    conv1d,
)
from helpers.plain_network import convolve, upsample


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("block", [LinearUpsampling, LearnedUpsampling, TransposedUpsampling])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_upsampling_is_the_loop(block, context, length):
    up = block(3, context).double()
    x = torch.randn(1, 3, length, dtype=torch.float64)
    weight = None if block is LinearUpsampling else up.weight.detach().numpy()
    expected = upsample(x[0].T.numpy(), weight, context)
    torch.testing.assert_close(up(x)[0].T.detach(), torch.from_numpy(expected))


def test_linear_interpolation_is_a_transposed_convolution_whose_taps_interpolate():
    transposed = TransposedUpsampling(3, context=True)
    transposed.weight.data = torch.eye(3)[..., None] * torch.tensor([0.5, 1, 0.5])
    x = torch.randn(2, 3, 7)
    torch.testing.assert_close(transposed(x).detach(), LinearUpsampling(3, context=True)(x))


def test_transposed_upsampling_makes_a_constant_alternate():
    """Why the paper interpolates: each phase has taps of its own."""
    out = TransposedUpsampling(3, context=True)(torch.ones(1, 3, 8)).detach()
    torch.testing.assert_close(out[..., 2:], out[..., :-2])
    assert (out[..., 1:] - out[..., :-1]).abs().min() > 0.01


def test_learned_upsampling_weighs_the_earlier_sample_and_ends_in_zero():
    up = LearnedUpsampling(1, context=False)
    up.weight.data.fill_(math.log(4))  # sigmoid: 0.8
    out = up(torch.tensor([[[1.0, 4.0, 2.0, 8.0, 5.0]]]))
    expected = torch.tensor([[[1, 1.6, 4, 3.6, 2, 3.2, 8, 7.4, 5, 4.0]]])
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("context", [True, False])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_convolution_pads_as_tensorflow(kernel, context):
    conv = conv1d(2, 3, kernel, context).double()
    x = torch.randn(1, 2, 9, dtype=torch.float64)
    expected = convolve(x[0].T.numpy(), conv.weight.detach().numpy().T, 0.0, context)
    torch.testing.assert_close(conv(x)[0].T.detach(), torch.from_numpy(expected))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 15])
@pytest.mark.parametrize("margin", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("rest", [1, 3, 8 * 2 + 1])
def test_a_down_block_computes_what_is_used_as_if_it_computed_all(kernel, margin, rest):
    """Skip, decimated features and every gradient, for odd and even margins and kernels."""
    block = DownBlock(2, 3, kernel, context=True, margin=margin).double()
    n = rest + 2 * margin  # samples of the convolution, an odd number
    x = torch.randn(2, 2, n + kernel - 1, dtype=torch.float64, requires_grad=True)
    skip, decimated = block(x)
    full = torch.nn.functional.leaky_relu(block.conv(x), 0.2)
    expected = full[..., margin : n - margin], full[..., ::2]
    torch.testing.assert_close((skip, decimated), expected)
    assert skip.shape[-1] == rest
    tensors = [x, *block.parameters()]
    weights = [torch.randn_like(part) for part in expected]
    found = torch.autograd.grad((skip, decimated), tensors, weights)
    torch.testing.assert_close(found, torch.autograd.grad(expected, tensors, weights))


def test_an_odd_difference_is_cropped_at_the_end():
    assert centre_crop(torch.arange(7), 4).tolist() == [1, 2, 3, 4]


def test_convolutions_start_glorot_uniform_with_zero_bias():
    conv = conv1d(48, 72, 15, context=True)
    limit = math.sqrt(6 / (15 * (48 + 72)))
    weight = conv.weight.detach()
    assert weight.abs().max() <= limit
    assert weight.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert not conv.bias.any()


def test_each_source_of_the_output_convolution_starts_as_its_own():
    """The reference has one convolution a source, whose fan-out is the channels alone."""
    head = OutputHead(24, 2, 4, 5, "direct", "tanh", context=True)
    limit = math.sqrt(6 / (5 * (26 + 2)))
    for part in head.conv.weight.detach().split(2):
        assert 0.9 * limit < part.abs().max() <= limit


def test_learned_upsampling_starts_glorot_uniform():
    weight = LearnedUpsampling(3000, context=True).weight.detach()
    assert weight.abs().max() <= math.sqrt(3 / 3000)
    assert weight.std() == pytest.approx(1 / math.sqrt(3000), rel=0.05)
