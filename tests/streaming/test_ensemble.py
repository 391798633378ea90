"""Streamed averaging over shifts and mixture consistency equal their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet import separate
from asteroid_waveunet.streaming.ensemble import Consistent, Queue, Shifted
from asteroid_waveunet.streaming.wave_unet_stream import Stream
from helpers.models import tiny


def joined(stream, track, block=70):
    return torch.cat([*map(stream.push, track.split(block, dim=-1)), stream.finish()], dim=-1)


@given(
    levels=st.integers(1, 3),
    shifts=st.integers(1, 8),
    channels=st.integers(1, 3),
    batch_size=st.integers(1, 2),
    length=st.integers(1, 200),
    context=st.booleans(),
)
@settings(deadline=None, max_examples=25)
def test_shifted_equals_the_mean_of_separate_passes(
    levels, shifts, channels, batch_size, length, context
):
    model = tiny(in_channels=channels, levels=levels, context=context).double()
    shifts = min(shifts, 2**levels)
    track = torch.randn(batch_size, channels, length, dtype=torch.float64)
    delays = [index * model.geometry.step // shifts for index in range(shifts)]
    passes = []
    for index, delay in enumerate(delays):  # of equal lengths: same padding depends on the end
        late = torch.nn.functional.pad(track, (delay, delays[-1] - delay))
        estimates = model.evaluate_network(model._pad(late))[..., delay : delay + length]
        if index % 2:
            order = [1, 0] if channels == 2 else list(range(channels))
            seen = -late[:, order]
            estimates = -model.evaluate_network(model._pad(seen))[..., delay : delay + length]
            estimates = estimates[:, :, order]
        passes.append(estimates)
    expected = torch.stack(passes).mean(0)
    estimates = joined(Shifted(model, shifts, batch_size), track)
    torch.testing.assert_close(estimates, expected, atol=1e-12, rtol=0)


def test_shifts_out_of_range_are_refused():
    for shifts in (0, 5):
        with pytest.raises(ValueError, match=f"shifts is {shifts}.*1 to 4"):
            Shifted(tiny(levels=2), shifts)


def test_consistent_estimates_are_the_nearest_that_sum_to_the_mixture():
    for channels in (1, 2):
        model = tiny(sources=("a", "b", "c"), in_channels=channels, output="direct")
        track = torch.randn(1, channels, 500)
        estimates = joined(Consistent(Stream(model)), track)
        torch.testing.assert_close(estimates.sum(1), track)
        change = estimates - joined(Stream(model), track)
        torch.testing.assert_close(change, change[:, :1].expand_as(change), atol=1e-6, rtol=0)


def test_consistency_and_shifts_combine():
    model = tiny(sources=("a", "b", "c"), in_channels=2, output="direct", levels=3)
    track = torch.randn(2, 500)
    estimates = separate(model, track, shifts=3, mixture_consistency=True)
    torch.testing.assert_close(estimates.sum(0), track, atol=1e-5, rtol=0)
    plain = separate(model, track, shifts=3)
    assert (estimates - plain).abs().max() > 1e-2


def test_consistency_leaves_difference_models_unchanged():
    model = tiny(in_channels=2).train()
    track = torch.randn(2, 500)
    consistent = separate(model, track, mixture_consistency=True)
    torch.testing.assert_close(consistent, separate(model, track), atol=1e-6, rtol=0)


def test_queue_is_first_in_first_out():
    queue = Queue()
    queue.put(torch.arange(3.0))
    queue.put(torch.arange(3.0, 5.0))
    assert queue.take(4).tolist() == [0, 1, 2, 3]
    assert queue.take(1).tolist() == [4]
