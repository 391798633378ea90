"""What a model costs: counted as its layers say, measured where nothing else runs."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet import WaveUNet, presets
from asteroid_waveunet.experiment.evaluation import model_cost
from asteroid_waveunet.weights import serialization
from helpers.models import SYSTEMS, tiny


def drawn(model: WaveUNet, n_samples: int) -> int:
    """Multiply-adds of a Wave-U-Net as the paper draws it, for a mixture of that length."""
    k = {"down": model.down[0].conv.kernel_size[0], "up": model.up[0].conv.kernel_size[0]}
    total, n = 0, n_samples
    for down in model.down:
        n -= k["down"] - 1
        total += n * down.conv.weight.numel()
        n = (n + 1) // 2
    n -= k["down"] - 1
    total += n * model.bottleneck.weight.numel()
    for up in model.up:
        n = 2 * n - 1 - (k["up"] - 1)
        total += n * up.conv.weight.numel()
    return total + n * model.head.conv.weight.numel()


def test_the_papers_network_costs_what_its_layers_say():
    model = presets.make("M4")
    assert drawn(model, 147443) == pytest.approx(11.39e9, rel=1e-3)  # the reference's, per 16389
    marginal = (drawn(model, 147443 + 4096) - drawn(model, 147443)) / 4096
    assert model_cost.multiply_adds(model) == marginal * 22050


def test_context_costs_nothing_of_ones_own_and_transposed_taps_count():
    small = dict(in_channels=2, levels=3)
    counted = [model_cost.multiply_adds(tiny(**small, context=c)) for c in (True, False)]
    assert counted[0] == counted[1]
    model = tiny(**small, upsampling="transposed")
    taps = sum(up.upsampling.weight.numel() / 2 ** (3 - i) for i, up in enumerate(model.up))
    assert model_cost.multiply_adds(model) - counted[0] == pytest.approx(taps * model.sample_rate)


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_a_mono_network_costs_as_often_as_there_are_channels(name):
    mono, stereo = (model_cost.multiply_adds(SYSTEMS[name](in_channels=n)) for n in (1, 2))
    assert stereo == 2 * mono > 0


def test_what_decimates_nothing_costs_a_multiply_add_a_weight():
    model = SYSTEMS["mrcae"]()
    taps = sum(p.numel() for p in model.parameters() if p.ndim == 3)
    assert model_cost.multiply_adds(model) == taps * model.sample_rate


def test_frames_cost_once_a_hop():
    """Encoder, bottleneck, blocks, masks and decoder: all that is no norm, slope or bias."""
    model = SYSTEMS["tasnet"]()
    per_frame = sum(p.numel() for p in model.parameters() if p.ndim == 3)
    decoder = model.net.decoder.filterbank._filters.numel()  # for each source
    per_frame += (model.n_src - 1) * decoder
    assert model_cost.multiply_adds(model) == per_frame / 3 * model.sample_rate


def test_a_mask_costs_the_transforms_and_each_level_once_a_frame():
    """A U-Net a source: kernels that halve count where they end, others where they begin."""
    model = SYSTEMS["spectrogram"]()
    window, hop, levels = 16, 12, 2
    frames = 2**levels
    total = frames * (window + 2) * window * (1 + model.n_src)
    for network in model.networks:
        ups = [up[0] for up in network.up] + [network.mask]
        for level, (down, up) in enumerate(zip(network.down, reversed(ups), strict=True), 1):
            places = window // 2 * frames // 4**level
            total += places * (down.conv.weight.numel() + up.conv.weight.numel())
    assert model_cost.multiply_adds(model) == total / (frames * hop) * model.sample_rate


def test_memory_of_which_the_system_tells_nothing_is_no_number(monkeypatch, tmp_path):
    assert math.isnan(model_cost.held(process="nobody's"))
    monkeypatch.setattr(model_cost.Path, "read_text", lambda path: "Name: python\nThreads: 2\n")
    assert math.isnan(model_cost.held("VmHWM"))


def test_a_model_is_measured_in_a_process_of_its_own(tmp_path):
    model = tiny(in_channels=2, sample_rate=8000)
    serialization.write(model.serialize(), tmp_path / "best_model.pth")
    how = dict(segment_length=100, fit_levels=True, seconds=0.5, sample_rate=8000)
    found = model_cost.measure(tmp_path / "best_model.pth", **how)
    assert found.weights == sum(p.numel() for p in model.parameters())
    assert found.multiply_adds == model_cost.multiply_adds(model)
    assert found.seconds > 0
    assert math.isnan(found.peak) or torch.cuda.is_available() or found.peak > found.beyond >= 0


def test_what_cannot_be_measured_is_said_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.pth cannot be measured: .*no file") as caught:
        model_cost.measure(tmp_path / "nothing.pth")
    assert "\n" not in str(caught.value)
