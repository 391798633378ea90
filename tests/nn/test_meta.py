"""Absurd sizes are rejected before any memory is taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet import MRCAE, SpectrogramUNet, TasNet, WaveUNet, presets
from asteroid_waveunet.nn import meta


@pytest.mark.timeout(120)
def test_absurd_sizes_are_rejected_without_building():
    cases = [
        (WaveUNet, dict(initial_filters=10**9)),
        (WaveUNet, dict(initial_filters=10**30)),
        (WaveUNet, dict(initial_filters=np.int64(2**62))),
        (WaveUNet, dict(initial_filters=2**29, down_kernel_size=2**29)),
        (WaveUNet, dict(initial_filters=2**18)),
        (SpectrogramUNet, dict(initial_filters=2**16)),
        (SpectrogramUNet, dict(sources=[f"s{i}" for i in range(10**5)])),
        (TasNet, dict(hid_chan=2**16, bn_chan=2**16)),
        (MRCAE, dict(filters=2**16)),
        (MRCAE, dict(kernel_sizes=[1] * 2**10)),
        (MRCAE, dict(kernel_sizes=[1] * 10**6)),
    ]
    for model_class, arguments in cases:
        for build in (model_class, lambda **given: meta.build(model_class, given)):  # noqa: B023
            with pytest.raises(ValueError, match="initial_filters is|make a model|at most 1024"):
                build(**arguments)
                pytest.fail(f"{model_class.__name__} {[*arguments]} was built")


def test_size_limit_is_far_above_the_papers_models():
    for name in presets.names():
        model = meta.build(WaveUNet, presets.get(name).arguments)
        n_weights = sum(p.numel() for p in model.parameters())
        assert 0 < 20 * n_weights < meta.MAX_WEIGHTS, name


def test_size_check_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    meta.build(WaveUNet, {})
    assert torch.equal(torch.get_rng_state(), before)
