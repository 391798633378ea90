"""Chunk-wise separation equals one pass if the network's reach is finite."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet import separate
from asteroid_waveunet.streaming import overlapping_chunks
from asteroid_waveunet.streaming.overlapping_chunks import ChunkStream
from helpers.models import SYSTEMS, in_blocks, randomize, streamed


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(overlapping_chunks, "MAX_HOP", 64)
    monkeypatch.setattr(overlapping_chunks, "FADE", 20)


@pytest.mark.parametrize("name", SYSTEMS)
@given(
    channels=st.integers(1, 2),
    batch_size=st.integers(1, 2),
    length=st.integers(0, 6000),
    cuts=st.lists(st.integers(0, 6000), max_size=5),
)
@settings(deadline=None, max_examples=8)
def test_joined_chunks_equal_one_pass(name, channels, batch_size, length, cuts):
    model = randomize(SYSTEMS[name](in_channels=channels)).double().eval()
    track = torch.randn(batch_size, channels, length, dtype=torch.float64)
    joined = streamed(ChunkStream(model, batch_size), in_blocks(track, cuts))
    assert joined.shape[-1] == length and joined.dtype == track.dtype
    if length:
        torch.testing.assert_close(joined, model(track).detach(), atol=1e-10, rtol=0)


def test_memory_is_bounded():
    for name, build in SYSTEMS.items():
        stream = ChunkStream(randomize(build(in_channels=2)).eval())
        pending, fed, found = [], 0, 0
        for _ in range(30):
            found += stream.feed(torch.randn(2, 500)).shape[-1]
            fed += 500
            pending.append(stream._pending.untyped_storage().nbytes() // 8)
            assert fed - stream.latency <= found <= fed, name
        assert max(pending) <= 2 * (stream.latency + 500), name
        assert found > 7 * stream.latency > 0, f"{name}: there were many chunks"


def test_pending_samples_have_no_gradient():
    """They would keep the graph of the whole track alive."""
    stream = ChunkStream(SYSTEMS["mrcae"]().eval())
    estimates = stream.feed(torch.randn(1, 500, requires_grad=True))
    assert not stream._pending.requires_grad and not estimates.requires_grad


def test_chunks_of_a_network_with_global_context_are_cross_faded():
    """On stationary noise the result is close to one pass."""
    model = randomize(SYSTEMS["tasnet"](norm_type="gLN")).double().eval()
    assert model.reach is None
    track = torch.randn(1, 5000, dtype=torch.float64)
    whole, joined = model(track).detach(), separate(model, track)
    error = (joined - whole).square().mean() / whole.square().mean()
    assert 0 < error < 0.1
    jumps, usual = (x.diff(dim=-1).abs().amax() for x in (joined - whole, whole))
    assert jumps < 0.5 * usual
    torch.testing.assert_close(separate(model, track[..., :100]), model(track[..., :100]).detach())


def test_cross_fade_passes_linearly_from_one_chunk_to_the_next(monkeypatch):
    model = SYSTEMS["tasnet"](norm_type="gLN").eval()
    evaluate, numbers = model.evaluate_network, itertools.count()
    monkeypatch.setattr(
        model, "evaluate_network", lambda x: torch.full_like(evaluate(x), next(numbers))
    )
    steps = separate(model, torch.randn(1, 1000)).diff(dim=-1)
    assert next(numbers) > 3, "there were several chunks"
    assert steps.min() >= 0
    torch.testing.assert_close(steps.max(), torch.tensor(1 / (overlapping_chunks.FADE + 1)))


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="TasNet .*bfloat16.*'fp32'"):
        separate(SYSTEMS["tasnet"](), torch.randn(1, 100), precision="bf16")


def test_shifts_and_consistency_combine():
    model = randomize(SYSTEMS["spectrogram"](in_channels=2)).eval()
    track = torch.randn(2, 900)
    estimates = separate(model, track, shifts=2, mixture_consistency=True)
    assert estimates.shape == (2, 2, 900)
    torch.testing.assert_close(estimates.sum(dim=0), track, atol=1e-5, rtol=0)


def test_last_chunk_is_as_long_as_the_others():
    """Statistics over a shorter chunk would change its level."""
    model = randomize(SYSTEMS["tasnet"](norm_type="gLN")).double().eval()
    for beyond in (1, 200):
        check_last_chunk(model, beyond)


def check_last_chunk(model, beyond):
    stream = ChunkStream(model)
    lengths, rule = stream._lengths, model.geometry
    n = 2 * lengths.output - 2 * overlapping_chunks.FADE + beyond
    track = torch.randn(1, n, dtype=torch.float64)
    joined = streamed(stream, [track])
    with torch.no_grad():
        last = model._network(model._pad(track[None])[..., -lengths.input :])[0, :, 0]
    certain = min(beyond, rule.step)  # after the cross-fade
    estimates = last[:, : n - (rule.fit(n).output - lengths.output)]
    torch.testing.assert_close(joined[:, -certain:], estimates[:, -certain:])


def test_batch_is_processed_one_track_at_a_time(monkeypatch):
    for name, build in SYSTEMS.items():
        model = randomize(build()).eval()
        seen = []
        network = model._network
        monkeypatch.setattr(
            model,
            "_network",
            lambda x, seen=seen, network=network: seen.append(len(x)) or network(x),
        )
        separate(model, torch.randn(3, 1, 1000))
        assert set(seen) == {1}, name
