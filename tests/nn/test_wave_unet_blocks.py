"""Tests of `nn.wave_unet_blocks`: each block against its formula."""

from __future__ import annotations

import itertools
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


@pytest.mark.parametrize("block", [LinearUpsampling, LearnedUpsampling, TransposedUpsampling])
def test_upsampling_equals_a_loop(block):
    for context, length in itertools.product([True, False], [1, 2, 7]):
        up = block(3, context).double()
        x = torch.randn(1, 3, length, dtype=torch.float64)
        weight = None if block is LinearUpsampling else up.weight.detach().numpy()
        expected = torch.from_numpy(upsample(x[0].T.numpy(), weight, context))
        torch.testing.assert_close(up(x)[0].T.detach(), expected, msg=f"{context=} {length=}")


def test_transposed_upsampling_with_interpolating_taps_is_linear_interpolation():
    transposed = TransposedUpsampling(3, context=True)
    transposed.weight.data = torch.eye(3)[..., None] * torch.tensor([0.5, 1, 0.5])
    x = torch.randn(2, 3, 7)
    torch.testing.assert_close(transposed(x).detach(), LinearUpsampling(3, context=True)(x))


def test_transposed_upsampling_turns_a_constant_into_an_alternating_signal():
    """The reason why the paper interpolates: each phase has separate taps."""
    out = TransposedUpsampling(3, context=True)(torch.ones(1, 3, 8)).detach()
    torch.testing.assert_close(out[..., 2:], out[..., :-2])
    assert (out[..., 1:] - out[..., :-1]).abs().min() > 0.01


def test_learned_upsampling_weights_the_earlier_sample_and_appends_zero():
    up = LearnedUpsampling(1, context=False)
    up.weight.data.fill_(math.log(4))  # sigmoid: 0.8
    out = up(torch.tensor([[[1.0, 4.0, 2.0, 8.0, 5.0]]]))
    expected = torch.tensor([[[1, 1.6, 4, 3.6, 2, 3.2, 8, 7.4, 5, 4.0]]])
    torch.testing.assert_close(out, expected)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_conv1d_pads_like_tensorflow():
    for kernel, context in itertools.product([1, 2, 3, 4, 5], [True, False]):
        conv = conv1d(2, 3, kernel, context).double()
        x = torch.randn(1, 2, 9, dtype=torch.float64)
        weight = conv.weight.detach().numpy().T
        expected = torch.from_numpy(convolve(x[0].T.numpy(), weight, 0.0, context))
        torch.testing.assert_close(conv(x)[0].T.detach(), expected, msg=f"{kernel=} {context=}")


# Odd and even margins with odd and even kernels, and every skip length with each of these.
DOWN_BLOCKS = [
    (1, 0, 1), (2, 0, 17), (15, 0, 3), (1, 1, 3), (2, 1, 1), (3, 1, 17), (4, 2, 3), (15, 2, 1),
    (2, 2, 17), (3, 5, 1), (4, 5, 17), (15, 5, 3), (1, 8, 17), (4, 8, 1), (3, 8, 3),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "margin", "length"), DOWN_BLOCKS)
def test_down_block_equals_the_full_convolution(kernel, margin, length):
    """Skip, decimated features and all gradients."""
    block = DownBlock(2, 3, kernel, context=True, margin=margin).double()
    n = length + 2 * margin  # outputs of the convolution, an odd number
    x = torch.randn(2, 2, n + kernel - 1, dtype=torch.float64, requires_grad=True)
    skip, decimated = block(x)
    full = torch.nn.functional.leaky_relu(block.conv(x), 0.2)
    expected = full[..., margin : n - margin], full[..., ::2]
    torch.testing.assert_close((skip, decimated), expected)
    assert skip.shape[-1] == length
    tensors = [x, *block.parameters()]
    weights = [torch.randn_like(part) for part in expected]
    gradients = torch.autograd.grad((skip, decimated), tensors, weights)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, tensors, weights))


def test_centre_crop_drops_an_odd_sample_at_the_end():
    assert centre_crop(torch.arange(7), 4).tolist() == [1, 2, 3, 4]


def test_conv1d_is_initialised_glorot_uniform_with_zero_bias():
    conv = conv1d(48, 72, 15, context=True)
    limit = math.sqrt(6 / (15 * (48 + 72)))
    weight = conv.weight.detach()
    assert weight.abs().max() <= limit
    assert weight.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert not conv.bias.any()


def test_output_convolution_is_initialised_per_source():
    """The reference has one convolution per source, whose fan-out is the channels alone."""
    head = OutputHead(24, 2, 4, 5, "direct", "tanh", context=True)
    limit = math.sqrt(6 / (5 * (26 + 2)))
    for part in head.conv.weight.detach().split(2):
        assert 0.9 * limit < part.abs().max() <= limit


def test_learned_upsampling_is_initialised_glorot_uniform():
    weight = LearnedUpsampling(3000, context=True).weight.detach()
    assert weight.abs().max() <= math.sqrt(3 / 3000)
    assert weight.std() == pytest.approx(1 / math.sqrt(3000), rel=0.05)
