"""Start from trained weights: all that fits is copied, the rest keeps its random values."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet.weights.warm_start import warm_start
from helpers.models import assert_same_model, tiny

SIZES = dict(levels=3, initial_filters=6)


def test_same_architecture_starts_as_the_trained_model():
    trained, model = tiny(**SIZES), tiny(**SIZES)
    started = warm_start(model, trained.serialize())
    assert started.kept == () and len(started.copied) == len(model.state_dict())
    assert_same_model(model, trained, torch.randn(1, 500))


def test_other_sources_and_channels_keep_random_first_and_last_layers():
    trained = tiny(**SIZES, in_channels=1)
    model = tiny(**SIZES, sources=("a", "b", "c"), in_channels=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    started = warm_start(model, trained.serialize())
    assert started.kept == ("down.0.conv.weight", "head.conv.weight", "head.conv.bias")
    for name, tensor in model.state_dict().items():
        expected = before if name in started.kept else trained.state_dict()
        assert (tensor == expected[name]).all(), name


def test_other_sizes_are_refused_and_change_nothing():
    model = tiny(levels=4, initial_filters=9)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"0 % .*WaveUNet\(.*levels=3.*levels, filters"):
        warm_start(model, tiny(**SIZES).serialize())
    assert all((before[name] == tensor).all() for name, tensor in model.state_dict().items())
