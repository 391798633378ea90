"""Benchmark a network of long filters: convolution by FFT against direct convolution."""

from __future__ import annotations

import argparse
import statistics
import types
from collections.abc import Callable

import measure
import torch
from torch import Tensor

from asteroid_waveunet import MRCAE
from asteroid_waveunet.models.mrcae import Layer

SIZES = (4, 20)
"""Filters per set, of the comparison's small network and of the default one."""

LENGTH = 48896
"""Samples of a training segment of the comparison."""


def direct_convolution(layer: Layer, x: Tensor) -> list[Tensor]:
    return layer.convolve_directly(x)


def stepper(filters: int, definition: bool) -> Callable[[], Tensor]:
    """Return a function for forward and backward, always with the same weights and noise."""
    torch.manual_seed(0)
    model = MRCAE(filters=filters)
    if definition:
        for layer in model.layers:
            layer._convolve = types.MethodType(direct_convolution, layer)  # type: ignore[assignment]
    mixture = 0.1 * torch.randn(1, model.in_channels, LENGTH)

    def step() -> Tensor:
        model.zero_grad()
        loss = model(mixture).square().mean()
        loss.backward()
        return loss.detach()

    return step


def long_filters(args: argparse.Namespace) -> str:
    """Long filters through spectra."""
    rows = []
    for filters in args.filters:
        ways = {"definition": stepper(filters, True), "spectra": stepper(filters, False)}
        losses = [float(step()) for step in ways.values()]
        seconds = measure.interleaved(ways, args.repeats)
        slow, fast = (statistics.median(measured) for measured in seconds.values())
        spread = [measure.spread(measured) for measured in seconds.values()]
        rows.append([filters, *spread, f"{slow / fast:.1f}", *(f"{loss:.6f}" for loss in losses)])
    return (
        f"`MRCAE` with that many filters per set, of 5 to 1025 samples, in stereo on {LENGTH} "
        f"samples of noise: forward and backward, median (range) of {args.repeats} turns.\n\n"
        + measure.table(
            ["filters", "definition, s", "spectra, s", "times as fast", "loss", "loss"], rows
        )
    )
