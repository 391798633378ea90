"""Tests of `MRCAE`: layers against their formula, with odd and even filter lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet import MRCAE
from asteroid_waveunet.models.mrcae import KERNEL_SIZES, Layer
from helpers.models import SYSTEMS, randomize
from helpers.plain_network import convolve


@pytest.mark.parametrize("transposed", [False, True])
def test_layer_equals_a_plain_implementation(transposed):
    for length in (1, 5, 40):
        layer = randomize(Layer(2, 3, KERNEL_SIZES[:2], transposed)).double().eval()
        x = torch.randn(1, 2, length, dtype=torch.float64)
        parts = []
        # A transposed convolution is a convolution in reversed time, channels swapped.
        axes, time = ((2, 0, 1), slice(None, None, -1)) if transposed else ((2, 1, 0), slice(None))
        for conv, norm in zip(layer.sets, layer.norms, strict=True):
            taps = conv.weight.detach().numpy().transpose(axes)
            part = convolve(x[0].T.numpy()[time], taps, 0.0, context=False)[time]
            scale, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
            parts.append(part / np.sqrt(1 + norm.eps) * scale + shift)
        plain = np.concatenate(parts, axis=1)
        plain = np.where(plain > 0, plain, np.expm1(np.minimum(plain, 0)))
        np.testing.assert_allclose(layer(x)[0].T.detach(), plain, atol=1e-10)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sizes", [KERNEL_SIZES, (1, 4, 9), (8, 3)])
def test_fft_convolution_equals_the_definition(transposed, sizes):
    layer = randomize(Layer(2, 3, sizes, transposed)).double()
    x = torch.randn(2, 2, 3000, dtype=torch.float64, requires_grad=True)
    weights = [conv.weight for conv in layer.sets]
    fast, plain = torch.cat([*layer._convolve(x)], 1), torch.cat(layer.convolve_directly(x), 1)
    torch.testing.assert_close(fast, plain)
    slopes = torch.randn_like(fast)
    for one, other in zip(
        torch.autograd.grad(fast, [x, *weights], slopes),
        torch.autograd.grad(plain, [x, *weights], slopes),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_two_layers_encode_and_two_decode_with_five_filter_lengths():
    with torch.device("meta"):
        model = MRCAE()
    assert [layer.transposed for layer in model.layers] == [False, False, True, True]
    for layer in model.layers:
        assert [conv.kernel_size for conv in layer.sets] == [(k,) for k in (5, 50, 256, 512, 1025)]


def test_estimates_of_a_channel_depend_on_all_channels():
    model = randomize(SYSTEMS["mrcae"](in_channels=2)).eval()
    track = torch.randn(2, 100)
    with torch.no_grad():
        changed = model(track * torch.tensor([[1.0], [0.0]]))
        assert (changed - model(track))[:, 0].abs().max() > 0.01
