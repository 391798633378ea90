"""Parity of U7 with the authors' TensorFlow code, recorded in golden/u7.npz."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from asteroid_waveunet import SpectrogramUNet
from helpers.paths import GOLDEN

LEVELS = 4


def numbered(kind: str):
    """Yield the TensorFlow names of the layers of one kind: `kind`, `kind_1`, `kind_2`, ..."""
    return (f"var/separator/{kind}" + f"_{n}" * (n > 0) for n in itertools.count())


def weights_of(recorded) -> dict[str, torch.Tensor]:
    """Name the recorded variables as the model does; kernels are (time, frequency, in, out)."""
    norms, downs, ups = map(numbered, ("batch_normalization", "conv2d", "conv2d_transpose"))
    weights = {}

    def add_conv(name: str, layer: str) -> None:
        weights[f"{name}.weight"] = recorded[f"{layer}/kernel"].transpose(3, 2, 1, 0)
        weights[f"{name}.bias"] = recorded[f"{layer}/bias"]

    def add_norm(name: str, layer: str) -> None:
        weights[f"{name}.bias"] = recorded[f"{layer}/beta"]
        weights[f"{name}.running_mean"] = recorded[f"{layer}/moving_mean"]
        weights[f"{name}.running_var"] = recorded[f"{layer}/moving_variance"]

    for source in range(2):
        for level in range(LEVELS):
            add_conv(f"networks.{source}.down.{level}.conv", next(downs))
            add_norm(f"networks.{source}.down.{level}.norm", next(norms))
        for level in range(LEVELS - 1):
            add_conv(f"networks.{source}.up.{level}.0.conv", next(ups))
            add_norm(f"networks.{source}.up.{level}.1", next(norms))
        add_conv(f"networks.{source}.mask.conv", next(ups))
    return {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in weights.items()}


@torch.no_grad()
def test_estimates_equal_the_reference():
    recorded = np.load(GOLDEN / "u7.npz")
    model = SpectrogramUNet(levels=LEVELS, initial_filters=2).eval()
    weights = weights_of(recorded)
    counters = {n: x for n, x in model.state_dict().items() if n.endswith("num_batches_tracked")}
    model.load_state_dict({**counters, **weights})
    assert len(weights) == len({n for n in recorded if n.startswith("var/")})
    estimates = model.forward_context(torch.from_numpy(recorded["mixture"])[:, None])
    context = model.geometry.context
    for source, estimate in zip(model.sources, estimates.unbind(1), strict=True):
        expected = recorded[f"out/{source}"][:, context:-context]
        np.testing.assert_allclose(estimate.reshape(expected.shape), expected, atol=1e-5, rtol=0)
