"""Tests of `TasNet`: equal to Asteroid's network with the same weights."""

from __future__ import annotations

import asteroid.models
import torch

from asteroid_waveunet import TasNet
from helpers.models import SYSTEMS, randomize


def test_network_and_defaults_are_asteroids():
    model = TasNet()
    theirs = asteroid.models.ConvTasNet(n_src=2, sample_rate=22050)
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.net.state_dict().items()} == shapes
    given = model.net.get_model_args()
    assert given == theirs.get_model_args()


def test_estimates_equal_asteroids_inside_the_context():
    model = SYSTEMS["tasnet"](in_channels=2, norm_type="gLN").eval()
    sizes = {k: v for k, v in model.get_model_args().items() if k not in ("sources", "in_channels")}
    network = randomize(asteroid.models.ConvTasNet(n_src=2, stride=3, **sizes)).eval()
    model.net.load_state_dict(network.state_dict())
    mixture = torch.randn(3, 2, model.geometry.fit(100).input)
    context = model.geometry.context
    with torch.no_grad():
        estimates = model.forward_context(mixture)
        for channel in range(2):
            theirs = network(mixture[:, channel])[..., context:-context]
            torch.testing.assert_close(estimates[:, :, channel], theirs, atol=1e-5, rtol=0)


def test_margins_outside_the_context_have_one_frame_of_two():
    """The reason why the margins are context; with filters that reconstruct the mixture."""
    model = SYSTEMS["tasnet"](n_filters=6, kernel_size=6)
    model.net.encoder.filterbank._filters.data = torch.eye(6)[:, None]
    model.net.decoder.filterbank._filters.data = 0.5 * torch.eye(6)[:, None]
    model.net.masker.forward = lambda x: torch.ones(len(x), 2, *x.shape[1:])
    mixture = torch.rand(1, 1, model.geometry.fit(50).input)
    with torch.no_grad():
        whole, inside = model.net(mixture), model.forward_context(mixture)
    for source in range(2):
        torch.testing.assert_close(inside[0, source], mixture[0, 0, 3:-3])
        torch.testing.assert_close(whole[0, source, :3], 0.5 * mixture[0, 0, :3])


def test_silence_is_finite_in_mixed_precision():
    for dtype in (torch.float16, torch.bfloat16):
        for norm_type in ("gLN", "cLN"):
            model = SYSTEMS["tasnet"](norm_type=norm_type)
            with torch.autocast("cpu", dtype):
                estimates = model(torch.zeros(1, 1, 200))
            assert estimates.isfinite().all(), (dtype, norm_type)


def test_unused_weights_are_not_trained():
    for model in (TasNet(n_blocks=2), TasNet.from_pretrained(TasNet(n_blocks=2).serialize())):
        frozen = {name for name, x in model.named_parameters() if not x.requires_grad}
        assert frozen == {f"net.masker.TCN.5.res_conv.{part}" for part in ("weight", "bias")}
