"""Tests of `nn.geometry`: the computed lengths are those of the network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.nn.geometry import Geometry, segment_starts
from helpers.models import tiny

PAPER = Geometry.of(levels=12, down_kernel=15, up_kernel=5, out_kernel=1)

kernels = st.integers(1, 6)
sizes = dict(levels=st.integers(1, 4), down=kernels, up=kernels, out=kernels)


def arguments(levels, down, up, out):
    return dict(levels=levels, down_kernel_size=down, up_kernel_size=up, output_kernel_size=out)


def test_lengths_match_the_paper():
    """Recorded from the authors' code."""
    recorded = {
        1: (131059, 5), 1000: (135155, 4101), 8192: (139251, 8197), 16384: (147443, 16389),
        16389: (147443, 16389), 16390: (151539, 20485), 22050: (155635, 24581),
        44100: (176115, 45061), 98560: (233459, 102405), 131072: (262131, 131077),
        441000: (573427, 442373), 661500: (794611, 663557),
    }  # fmt: skip
    assert {n: (PAPER.fit(n).input, PAPER.fit(n).output) for n in recorded} == recorded
    assert PAPER.context == PAPER.right_context == 65527
    assert PAPER.latency == 65527 + 4095


@given(**sizes, min_output=st.integers(1, 200))
@settings(deadline=None, max_examples=40)
def test_network_output_has_the_computed_length(levels, down, up, out, min_output):
    model = tiny(**arguments(levels, down, up, out))
    lengths = model.geometry.fit(min_output)
    assert lengths.output >= min_output
    assert lengths.output - min_output < model.geometry.step, "not the shortest"
    with torch.no_grad():
        estimates = model.forward_context(torch.randn(1, lengths.input))
    assert estimates.shape == (2, lengths.output)


@given(**sizes, context=st.booleans(), position=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_estimates_depend_only_on_the_computed_context(levels, down, up, out, context, position):
    """By the gradient of one estimate with respect to the mixture."""
    model = tiny(**arguments(levels, down, up, out), context=context, upsampling="learned")
    geometry = model.geometry
    lengths = geometry.fit(40)
    mixture = torch.randn(1, lengths.input, requires_grad=True)
    at = round(position * (lengths.output - 1))
    model.forward_context(mixture)[0, at].backward()
    dependent = mixture.grad[0].nonzero().flatten() - geometry.left_context
    assert dependent.max() <= at + geometry.latency
    if context:
        assert at - geometry.left_context - geometry.step <= dependent.min()


def test_context_is_not_larger_than_needed():
    model = tiny()
    lengths = model.geometry.fit(1)
    mixture = torch.randn(1, lengths.input, requires_grad=True)
    model.forward_context(mixture).sum().backward()
    assert mixture.grad[0, 0] != 0 and mixture.grad[0, -1] != 0


def test_network_commutes_with_shifts_by_the_step_only():
    model = tiny(levels=3)
    step = model.geometry.step
    lengths = model.geometry.fit(64)
    mixture = torch.randn(1, lengths.input + step)
    with torch.no_grad():
        here = model.forward_context(mixture[..., : lengths.input])
        shifted = {
            shift: model.forward_context(mixture[..., shift : shift + lengths.input])
            for shift in (step, step // 2, 1)
        }
    n = lengths.output
    torch.testing.assert_close(shifted[step][..., : n - step], here[..., step:], atol=1e-6, rtol=0)
    for shift in (step // 2, 1):
        assert (shifted[shift][..., : n - shift] - here[..., shift:]).abs().max() > 1e-4


def test_invalid_lengths_and_sizes_are_rejected():
    with pytest.raises(ValueError, match="150000 samples.*147443 and 151539"):
        PAPER.output_of(150000)
    with pytest.raises(ValueError, match=r"131059 \(the shortest\)"):
        PAPER.output_of(10)
    with pytest.raises(ValueError, match="519 samples.*516 and 520"):
        Geometry.of(2, 5, 3, 1, context=False).output_of(519)
    with pytest.raises(ValueError, match="min_output is 0"):
        PAPER.fit(0)
    for name in ("levels", "down_kernel", "up_kernel", "out_kernel"):
        valid = dict(levels=2, down_kernel=5, up_kernel=3, out_kernel=1)
        with pytest.raises(ValueError, match=f"{name} is 0"):
            Geometry.of(**{**valid, name: 0})


@given(**sizes, context=st.booleans())
@settings(deadline=None, max_examples=40)
def test_delays_are_causal(levels, down, up, out, context):
    """Skips are delayed to match later layers, and outputs wait for their lookahead."""
    geometry = Geometry.of(levels, down, up, out, context)
    delays = geometry.delays
    for waits in zip(delays.upsampled, delays.skips, strict=True):
        assert waits[0] >= waits[1] >= 0
    assert geometry.lookahead >= delays.outputs[0] >= 0
    assert geometry.latency == geometry.lookahead + geometry.step - 1
    if context:
        assert geometry.lookahead == geometry.right_context


def test_segments_start_where_the_reference_starts_them():
    assert segment_starts(200, 35) == [0, 35, 70, 105, 140, 165]
    assert segment_starts(140, 35) == [0, 35, 70, 105]
