"""Arithmetic equals reality: what the integers say is what the network does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.nn.geometry import Geometry, Lengths, segment_starts
from helpers.models import tiny

PAPER = Geometry.of(levels=12, down_kernel=15, up_kernel=5, out_kernel=1)
SMALL_FILTERS_DEEP = Geometry.of(levels=14, down_kernel=5, up_kernel=3, out_kernel=1)

kernels = st.integers(1, 6)
drawn = dict(levels=st.integers(1, 4), down=kernels, up=kernels, out=kernels)


def arguments(levels, down, up, out):
    return dict(levels=levels, down_kernel_size=down, up_kernel_size=up, output_kernel_size=out)


@pytest.mark.parametrize(
    ("asked", "n_input", "n_output"),
    [
        (1, 131059, 5),
        (2, 131059, 5),
        (1000, 135155, 4101),
        (4096, 135155, 4101),
        (8192, 139251, 8197),
        (16384, 147443, 16389),
        (16389, 147443, 16389),
        (16390, 151539, 20485),
        (22050, 155635, 24581),
        (32768, 163827, 32773),
        (44100, 176115, 45061),
        (65536, 196595, 65541),
        (98560, 233459, 102405),
        (110250, 241651, 110597),
        (131072, 262131, 131077),
        (220500, 352243, 221189),
        (441000, 573427, 442373),
        (661500, 794611, 663557),
    ],
)
def test_lengths_are_the_papers(asked, n_input, n_output):
    assert PAPER.fit(asked) == Lengths(n_input, n_output)
    assert PAPER.context == PAPER.right_context == 65527


@given(**drawn, asked=st.integers(1, 200))
@settings(deadline=None, max_examples=60)
def test_the_network_gives_the_stated_lengths(levels, down, up, out, asked):
    model = tiny(**arguments(levels, down, up, out))
    lengths = model.geometry.fit(asked)
    assert lengths.output >= asked
    assert lengths.output - asked < model.geometry.step, "a shorter one would do"
    with torch.no_grad():
        estimates = model.forward_context(torch.randn(1, lengths.input))
    assert estimates.shape == (2, lengths.output)


@given(**drawn, context=st.booleans(), where=st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_nothing_outside_the_stated_context_matters(levels, down, up, out, context, where):
    """Gradients of one estimate reach the mixture only where the geometry says they may."""
    model = tiny(**arguments(levels, down, up, out), context=context, upsampling="learned")
    geometry = model.geometry
    lengths = geometry.fit(40)
    mixture = torch.randn(1, lengths.input, requires_grad=True)
    at = round(where * (lengths.output - 1))
    model.forward_context(mixture)[0, at].backward()
    touched = mixture.grad[0].nonzero().flatten() - geometry.left_context
    assert touched.max() <= at + geometry.latency
    if context:
        assert at - geometry.left_context - geometry.step <= touched.min()


def test_the_context_is_not_larger_than_needed():
    model = tiny()
    lengths = model.geometry.fit(1)
    mixture = torch.randn(1, lengths.input, requires_grad=True)
    model.forward_context(mixture).sum().backward()
    assert mixture.grad[0, 0] != 0 and mixture.grad[0, -1] != 0


def test_shifts_by_the_step_commute_and_smaller_ones_do_not():
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


def test_an_input_that_fits_nothing_is_told_the_nearest_that_do():
    with pytest.raises(ValueError, match="150000 samples fits no output.*147443 and 151539"):
        PAPER.output_of(150000)
    with pytest.raises(ValueError, match=r"nearest that do are 131059 \(the shortest\)"):
        PAPER.output_of(10)
    with pytest.raises(ValueError, match="519 samples fits no.*516 and 520"):
        Geometry.of(2, 5, 3, 1, context=False).output_of(519)


@pytest.mark.parametrize("name", ["levels", "down_kernel", "up_kernel", "out_kernel"])
def test_sizes_below_one_are_refused(name):
    sizes = dict(levels=2, down_kernel=5, up_kernel=3, out_kernel=1)
    with pytest.raises(ValueError, match=f"{name} is 0"):
        Geometry.of(**{**sizes, name: 0})
    with pytest.raises(ValueError, match="0 samples asked for"):
        PAPER.fit(0)


@given(**drawn, context=st.booleans())
@settings(deadline=None, max_examples=60)
def test_delays_are_whole_numbers_of_what_a_hop_brings(levels, down, up, out, context):
    """Skips wait, nothing is used before it is there, and outputs wait for what they look at."""
    geometry = Geometry.of(levels, down, up, out, context)
    delays = geometry.delays
    for waits in zip(delays.upsampled, delays.skips, strict=True):
        assert waits[0] >= waits[1] >= 0
    assert geometry.lookahead >= delays.outputs[0] >= 0
    assert geometry.latency == geometry.lookahead + geometry.step - 1
    if context:
        assert geometry.lookahead == geometry.right_context


def test_the_papers_latency():
    assert PAPER.latency == 65527 + 4095


def test_segments_start_as_the_references():
    assert segment_starts(200, 35) == [0, 35, 70, 105, 140, 165]
    assert segment_starts(140, 35) == [0, 35, 70, 105]
