"""Means over shifts and mixture consistency, streamed: the clever equals the obvious."""

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
    return torch.cat([*map(stream.feed, track.split(block, dim=-1)), stream.flush()], dim=-1)


@given(
    levels=st.integers(1, 3),
    shifts=st.integers(1, 8),
    channels=st.integers(1, 2),
    batch_size=st.integers(1, 2),
    length=st.integers(1, 200),
    context=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_shifted_is_the_mean_of_separate_passes(
    levels, shifts, channels, batch_size, length, context
):
    model = tiny(in_channels=channels, levels=levels, context=context).double()
    shifts = min(shifts, 2**levels)
    track = torch.randn(batch_size, channels, length, dtype=torch.float64)
    delays = [index * model.geometry.step // shifts for index in range(shifts)]
    passes = []
    for delay in delays:  # all passes end alike, which matters to same padding
        late = torch.nn.functional.pad(track, (delay, delays[-1] - delay))
        passes.append(model(late)[..., delay : delay + length].detach())
    expected = torch.stack(passes).mean(0)
    estimates = joined(Shifted(model, shifts, batch_size), track)
    torch.testing.assert_close(estimates, expected, atol=1e-12, rtol=0)


def test_shifts_beyond_the_step_are_refused():
    for shifts in (0, 5):
        with pytest.raises(ValueError, match=f"shifts is {shifts}; expected 1 to 4"):
            Shifted(tiny(levels=2), shifts)


@pytest.mark.parametrize("channels", [1, 2])
def test_consistent_estimates_sum_to_the_mixture_and_are_the_nearest_that_do(channels):
    model = tiny(sources=("a", "b", "c"), in_channels=channels, output="direct")
    track = torch.randn(1, channels, 500)
    plain = joined(Stream(model), track)
    estimates = joined(Consistent(Stream(model)), track)
    torch.testing.assert_close(estimates.sum(1), track.reshape_as(plain[:, 0]))
    change = estimates - plain
    torch.testing.assert_close(change, change[:, :1].expand_as(change), atol=1e-6, rtol=0)


def test_consistency_and_shifts_go_together():
    model = tiny(sources=("a", "b", "c"), in_channels=2, output="direct", levels=3)
    track = torch.randn(2, 500)
    estimates = separate(model, track, shifts=3, mixture_consistency=True)
    torch.testing.assert_close(estimates.sum(0), track, atol=1e-5, rtol=0)
    plain = separate(model, track, shifts=3)
    assert (estimates - plain).abs().max() > 1e-2


def test_a_difference_model_is_consistent_already():
    model = tiny(in_channels=2).train()
    track = torch.randn(2, 500)
    consistent = separate(model, track, mixture_consistency=True)
    torch.testing.assert_close(consistent, separate(model, track), atol=1e-6, rtol=0)


def test_a_queue_gives_what_was_put_in_order():
    queue = Queue()
    queue.put(torch.arange(3.0))
    queue.put(torch.arange(3.0, 5.0))
    assert queue.take(4).tolist() == [0, 1, 2, 3]
    assert queue.take(1).tolist() == [4]
