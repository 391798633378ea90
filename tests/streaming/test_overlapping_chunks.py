"""A track in pieces is the track in one pass, where a network's reach is finite."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet import separate
from asteroid_waveunet.streaming import overlapping_chunks
from asteroid_waveunet.streaming.overlapping_chunks import ChunkStream
from helpers.models import SYSTEMS, drawn, in_blocks, streamed


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(overlapping_chunks, "MAX_HOP", 64)
    monkeypatch.setattr(overlapping_chunks, "FADE", 20)


@pytest.mark.parametrize("name", SYSTEMS)
@given(
    channels=st.integers(1, 2),
    batch_size=st.integers(1, 2),
    length=st.integers(0, 6000),
    cuts=st.lists(st.integers(0, 6000), max_size=5),
)
@settings(deadline=None, max_examples=15)
def test_joined_pieces_are_one_pass(name, channels, batch_size, length, cuts):
    model = drawn(SYSTEMS[name](in_channels=channels)).double().eval()
    track = torch.randn(batch_size, channels, length, dtype=torch.float64)
    joined = streamed(ChunkStream(model, batch_size), in_blocks(track, cuts))
    assert joined.shape[-1] == length and joined.dtype == track.dtype
    if length:
        torch.testing.assert_close(joined, model(track).detach(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_track_of_many_pieces_is_separated_in_a_bounded_memory(name):
    model = drawn(SYSTEMS[name](in_channels=2)).eval()
    stream = ChunkStream(model)
    pending, fed, given = [], 0, 0
    for _ in range(40):
        given += stream.feed(torch.randn(2, 500)).shape[-1]
        fed += 500
        pending.append(stream._pending.untyped_storage().nbytes() // 8)
        assert fed - stream.latency <= given <= fed
    assert max(pending) <= 2 * (stream.latency + 500)
    assert given > 10 * stream.latency > 0, "there were many pieces"


def test_a_track_that_is_differentiated_elsewhere_is_not_held():
    """The graph of what is pending would be that of the whole track."""
    stream = ChunkStream(SYSTEMS["mrcae"]().eval())
    estimates = stream.feed(torch.randn(1, 500, requires_grad=True))
    assert not stream._pending.requires_grad and not estimates.requires_grad


def test_where_a_network_looks_at_all_of_its_input_pieces_fade_into_one_another():
    """Of noise, whose statistics are the same everywhere, the pieces come close to one pass."""
    model = drawn(SYSTEMS["tasnet"](norm_type="gLN")).double().eval()
    assert model.reach is None
    track = torch.randn(1, 5000, dtype=torch.float64)
    whole, joined = model(track).detach(), separate(model, track)
    error = (joined - whole).square().mean() / whole.square().mean()
    assert 0 < error < 0.1
    jumps, usual = (x.diff(dim=-1).abs().amax() for x in (joined - whole, whole))
    assert jumps < 0.5 * usual
    torch.testing.assert_close(separate(model, track[..., :100]), model(track[..., :100]).detach())


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="A TasNet computes in its own precision only"):
        separate(SYSTEMS["tasnet"](), torch.randn(1, 100), precision="bf16")


@pytest.mark.parametrize("how", [dict(shifts=2), dict(mixture_consistency=True)])
def test_shifts_and_consistency_work_as_with_the_wave_u_net(how):
    model = drawn(SYSTEMS["spectrogram"](in_channels=2)).eval()
    track = torch.randn(2, 900)
    estimates = separate(model, track, **how)
    assert estimates.shape == (2, 2, 900)
    if "mixture_consistency" in how:
        torch.testing.assert_close(estimates.sum(dim=0), track, atol=1e-5, rtol=0)


@pytest.mark.parametrize("beyond", [1, 200])
def test_the_last_piece_is_as_long_as_the_others(beyond):
    """Its statistics would be those of a moment else, and its level another."""
    model = drawn(SYSTEMS["tasnet"](norm_type="gLN")).double().eval()
    stream = ChunkStream(model)
    lengths, rule = stream._lengths, model.geometry
    n = 2 * lengths.output - 2 * overlapping_chunks.FADE + beyond
    track = torch.randn(1, n, dtype=torch.float64)
    joined = streamed(stream, [track])
    with torch.no_grad():
        last = model._network(model._pad(track[None])[..., -lengths.input :])[0, :, 0]
    certain = min(beyond, rule.step)  # after the fading
    estimates = last[:, : n - (rule.fit(n).output - lengths.output)]
    torch.testing.assert_close(joined[:, -certain:], estimates[:, -certain:])


@pytest.mark.parametrize("name", SYSTEMS)
def test_memory_does_not_grow_with_the_batch(name, monkeypatch):
    model = drawn(SYSTEMS[name]()).eval()
    seen = []
    network = model._network
    monkeypatch.setattr(model, "_network", lambda x: seen.append(len(x)) or network(x))
    separate(model, torch.randn(3, 1, 1000))
    assert set(seen) == {1}
