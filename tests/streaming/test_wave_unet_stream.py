"""Streamed equals whole, to rounding, for any blocks and configuration."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet import Stream, WaveUNet, presets
from asteroid_waveunet.streaming import base
from asteroid_waveunet.streaming.stateful_wave_unet import (
    Memory,
    PaddedUpsampledConvolution,
    StatefulWaveUNet,
)
from helpers.models import SYSTEMS, configurations, in_blocks, randomize, streamed, tiny


@pytest.mark.filterwarnings("ignore:The only source")
@given(
    double=st.booleans(),
    configuration=configurations,
    length=st.integers(1, 300),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    batch_size=st.sampled_from([None, 1, 2]),
    training=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=100)
def test_joined_blocks_equal_one_pass(
    double, configuration, length, cuts, batch_size, training, seed
):
    dtype, tolerance = (torch.float64, 1e-13) if double else (torch.float32, 1e-6)
    model = randomize(WaveUNet(**configuration).to(dtype), seed).train(training)
    shape = () if batch_size is None else (batch_size,)
    track = 0.3 * torch.randn(*shape, model.in_channels, length, dtype=dtype)
    whole = model(track).detach()
    joined = streamed(Stream(model, batch_size or 1), in_blocks(track, cuts))
    assert joined.shape == whole.shape and joined.dtype == whole.dtype
    loudest = max(1.0, whole.abs().max().item())  # an unclipped linear output is unbounded
    torch.testing.assert_close(joined, whole, atol=tolerance * loudest, rtol=0)


@pytest.mark.parametrize("name", ["M1", "M5", "M6"])
def test_paper_models_are_seamless_at_full_size(name):
    """All levels and filters, in blocks of other lengths than multiples of the hop."""
    model = presets.make(name).eval()
    track = 0.1 * torch.randn(model.in_channels, 5 * base.MAX_HOP // 8)
    with torch.no_grad():
        whole = model(track)
    joined = streamed(Stream(model), list(track.split(30000, dim=-1)))
    torch.testing.assert_close(joined, whole, atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore:The only source")
@given(configuration=configurations, blocks=st.lists(st.integers(0, 40), min_size=1, max_size=40))
@settings(deadline=None, max_examples=40)
def test_estimates_are_never_later_than_the_latency(configuration, blocks):
    model = WaveUNet(**configuration)
    stream, fed, found = Stream(model), 0, 0
    for length in blocks:
        found += stream.feed(torch.zeros(model.in_channels, length)).shape[-1]
        fed += length
        assert fed - model.geometry.latency <= found <= max(0, fed - model.geometry.lookahead)


@pytest.mark.parametrize("context", [True, False])
def test_latency_is_exact_and_minimal(context):
    """Sample by sample, the maximum delay is the stated one; with context none is shorter."""
    model = randomize(tiny(levels=3, context=context))
    stream, found, worst = Stream(model), 0, 0
    for fed in range(1, 300):
        before = found
        found += stream.feed(torch.randn(1, 1)).shape[-1]
        worst = max(worst, fed - found) if found else worst
        assert found - before in (0, model.geometry.step) or not before
    assert worst == stream.latency == model.geometry.latency
    track = torch.randn(1, 400, requires_grad=True)
    delays = []
    for at in range(200, 200 + model.geometry.step):
        (gradient,) = torch.autograd.grad(model(track)[0, at], track)
        delays.append(int(gradient[0].nonzero().max()) - at)
    assert max(delays) <= stream.latency < max(delays) + model.geometry.step
    assert max(delays) == stream.latency or not context


def test_empty_stream_returns_empty_estimates():
    stream = Stream(tiny(in_channels=2), batch_size=3)
    assert stream.flush().shape == (3, 2, 2, 0)


def test_stream_copies_the_weights():
    model = tiny()
    track = torch.randn(1, 200)
    whole = model(track).detach()
    stream = Stream(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.testing.assert_close(streamed(stream, [track]), whole, atol=1e-6, rtol=0)


def test_memory_is_constant():
    stream = Stream(tiny(in_channels=2))
    sizes = set()
    for _ in range(5):
        stream.feed(torch.randn(2, 1000))
        held = [memory.held for memory in stream._network.memories]
        sizes.add(sum(h.untyped_storage().nbytes() for h in held if h is not None))
    assert len(sizes) == 1


def test_bfloat16_keeps_the_sum_and_is_accurate():
    model = presets.make("M4", levels=8).eval()
    for parameter in model.head.parameters():  # bring the estimates to the mixture's level
        parameter.data.mul_(3)
    track = 0.1 * torch.randn(2, 50000)
    whole = model(track).detach()
    joined = streamed(Stream(model, dtype=torch.bfloat16), [track])
    assert joined.dtype == torch.float32
    error = 10 * torch.log10((joined - whole).square().mean() / whole.square().mean())
    assert -70 < error < -35
    torch.testing.assert_close(joined.sum(0), track, atol=1e-6, rtol=0)


def test_blocks_keep_their_dtype():
    track = torch.randn(1, 300, dtype=torch.float64)
    estimates = streamed(Stream(tiny()), [track])
    assert estimates.dtype == torch.float64


def test_invalid_blocks_and_models_are_refused():
    stream = Stream(tiny(in_channels=2), batch_size=2)
    with pytest.raises(ValueError, match=r"\(2, 1, 10\).* 2 channel"):
        stream.feed(torch.zeros(2, 1, 10))
    with pytest.raises(ValueError, match="batch of 3.*batch_size=2"):
        stream.feed(torch.zeros(3, 2, 10))
    with pytest.raises(ValueError, match="expected floats"):
        stream.feed(torch.zeros(2, 2, 10, dtype=torch.int16))
    with pytest.raises(ValueError, match="the block has 40 NaN"):
        stream.feed(torch.full((2, 2, 10), float("nan")))
    with pytest.raises(ValueError, match="ndarray.*tensor"):
        stream.feed(torch.zeros(2, 2, 10).numpy())
    for build in SYSTEMS.values():
        model = build()
        with pytest.raises(ValueError, match=rf"{type(model).__name__}.*WaveUNet.*model\.stream"):
            Stream(model)
    with pytest.raises(ValueError, match="batch_size is 0"):
        Stream(tiny(), batch_size=0)
    assert streamed(stream, [torch.zeros(2, 2, 50)]).shape[-1] == 50, "no refused block counts"


def test_ended_stream_refuses_further_use():
    flushed, left = Stream(tiny()), Stream(tiny())
    flushed.flush()
    with left:
        left.feed(torch.zeros(1, 5))
    for stream in (flushed, left):
        for call in (lambda stream=stream: stream.feed(torch.zeros(1, 5)), stream.flush):
            with pytest.raises(RuntimeError, match="ended.*each track"):
                call()


def test_memory_starts_silent_or_settled():
    x = torch.arange(1.0, 4.0)[None, :, None]
    assert Memory(2, settled=False).extend(x).flatten().tolist() == [0, 0, 1, 2, 3]
    assert Memory(2, settled=True).extend(x).flatten().tolist() == [2, 3, 1, 2, 3]
    assert Memory(4, settled=True).extend(x[:, :1]).flatten().tolist() == [1, 1, 1, 1, 1]
    assert Memory(0, settled=True).extend(x) is x


def test_memory_holds_only_its_samples():
    """A view of the last samples would keep the whole hop alive."""
    memory = Memory(3, settled=False)
    memory.extend(torch.randn(1, 1000, 4))
    assert memory.held.untyped_storage().nbytes() == 3 * 4 * 4


def test_same_padding_computes_at_the_high_rate_at_the_ends_only(monkeypatch):
    """Between them it costs what context does."""
    computed = []
    plain = PaddedUpsampledConvolution._at_high_rate

    def counted(self, x, start, end):
        computed.append(x.shape[1] - self.convolution.memory.length)
        return plain(self, x, start, end)

    monkeypatch.setattr(PaddedUpsampledConvolution, "_at_high_rate", counted)
    model = tiny(context=False)
    levels = len(model.down)
    with Stream(model) as stream:
        stream.feed(torch.randn(100 * model.geometry.step))
        assert len(computed) == levels and max(computed) <= 4
        stream.feed(torch.randn(100 * model.geometry.step))
        assert len(computed) == levels
        stream.flush()
    assert len(computed) <= 3 * levels and max(computed) <= 4


def test_memories_are_the_complete_state():
    """Restoring them restores the past; exported steps rely on that."""
    model = randomize(tiny(in_channels=2))
    step = StatefulWaveUNet(model)
    hops = torch.randn(3, 1, 2, 64)
    with torch.no_grad():
        step(hops[0])
        past = [memory.held for memory in step.memories]
        first = step(hops[1])
        step(hops[2])
        for memory, held in zip(step.memories, past, strict=True):
            memory.held = held
        torch.testing.assert_close(step(hops[1]), first, atol=0, rtol=0)
