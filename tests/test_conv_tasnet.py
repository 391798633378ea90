"""It is Asteroid's network, with its weights, whatever the channels and the length."""

from __future__ import annotations

import asteroid.models
import torch
from conftest import SYSTEMS, drawn

from asteroid_waveunet import TasNet


def test_it_is_asteroids_network_with_asteroids_defaults():
    model = TasNet()
    theirs = asteroid.models.ConvTasNet(n_src=2, sample_rate=22050)
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.net.state_dict().items()} == shapes
    given = model.net.get_model_args()
    assert given == theirs.get_model_args()


def test_estimates_are_asteroids_amid_the_context():
    model = drawn(SYSTEMS["tasnet"](in_channels=2, norm_type="gLN")).eval()
    mixture = torch.randn(3, 2, model.geometry.fit(100).input)
    context = model.geometry.context
    with torch.no_grad():
        estimates = model.forward_context(mixture)
        for channel in range(2):
            theirs = model.net(mixture[:, channel])[..., context:-context]
            torch.testing.assert_close(estimates[:, :, channel], theirs, atol=1e-5, rtol=0)


def test_without_context_edges_have_one_frame_of_two():
    """Why the first and last samples of the frames are context: with filters that rebuild it."""
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
