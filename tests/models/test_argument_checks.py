"""The arithmetic of a model's size; what the rules refuse is in test_model and test_weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from asteroid_waveunet import WaveUNet, presets
from asteroid_waveunet.models import argument_checks
from helpers.models import configurations


@pytest.mark.filterwarnings("ignore:The one source")
@given(configurations)
@settings(deadline=None, max_examples=100)
def test_the_number_of_weights_is_the_models(configuration):
    model = WaveUNet(**configuration)
    assert argument_checks.n_weights(configuration) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", presets.names())
def test_the_papers_models_are_far_from_the_limit(name):
    with torch.device("meta"):
        model_args = presets.make(name).get_model_args()
    assert 0 < 20 * argument_checks.n_weights(model_args) < argument_checks.MAX_WEIGHTS


@pytest.mark.timeout(10)
@pytest.mark.parametrize("size", [10**9, 10**30, np.int64(2**62)])
def test_an_absurd_model_is_refused_at_once(size):
    with pytest.raises(ValueError, match="initial_filters is|make a model of"):
        WaveUNet(initial_filters=size)
