"""The cost of a model: multiply-adds counted by hand, memory measured in a process."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet import WaveUNet, presets
from asteroid_waveunet.experiment.evaluation import model_cost
from asteroid_waveunet.weights import serialization
from helpers.models import SYSTEMS, tiny


def count_by_hand(model: WaveUNet, n_samples: int) -> int:
    """Count the multiply-adds of a Wave-U-Net as the paper draws it."""
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


def test_multiply_adds_of_m4_equal_the_sum_over_its_layers():
    model = presets.make("M4")
    assert count_by_hand(model, 147443) == pytest.approx(
        11.39e9, rel=1e-3
    )  # the reference's, per 16389
    marginal = (count_by_hand(model, 147443 + 4096) - count_by_hand(model, 147443)) / 4096
    assert model_cost.multiply_adds(model) == marginal * 22050


def test_multiply_adds_ignore_context_and_count_transposed_convolutions():
    small = dict(in_channels=2, levels=3)
    counted = [model_cost.multiply_adds(tiny(**small, context=c)) for c in (True, False)]
    assert counted[0] == counted[1]
    model = tiny(**small, upsampling="transposed")
    taps = sum(up.upsampling.weight.numel() / 2 ** (3 - i) for i, up in enumerate(model.up))
    assert model_cost.multiply_adds(model) - counted[0] == pytest.approx(taps * model.sample_rate)


def test_multiply_adds_of_mono_networks_scale_with_the_channels():
    for name in ("spectrogram", "tasnet"):
        mono, stereo = (model_cost.multiply_adds(SYSTEMS[name](in_channels=n)) for n in (1, 2))
        assert stereo == 2 * mono > 0, name


def test_multiply_adds_of_mrcae_equal_its_taps_per_sample():
    model = SYSTEMS["mrcae"]()
    taps = sum(p.numel() for p in model.parameters() if p.ndim == 3)
    assert model_cost.multiply_adds(model) == taps * model.sample_rate


def test_multiply_adds_of_tasnet_count_weights_once_per_hop():
    """Encoder, bottleneck, blocks, masks and decoder, without norms, slopes and biases."""
    model = SYSTEMS["tasnet"]()
    per_frame = sum(p.numel() for p in model.parameters() if p.ndim == 3)
    decoder = model.net.decoder.filterbank._filters.numel()  # for each source
    per_frame += (model.n_src - 1) * decoder
    assert model_cost.multiply_adds(model) == per_frame / 3 * model.sample_rate


def test_multiply_adds_of_spectrogram_unet_count_transforms_and_levels_once_per_frame():
    """One U-Net per source: strided kernels count per output, the others per input."""
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


def test_process_memory_is_nan_where_the_system_does_not_report_it(monkeypatch):
    assert math.isnan(model_cost.process_memory(process="nobody's"))
    monkeypatch.setattr(
        model_cost.Path, "read_text", lambda path, encoding: "Name: python\nThreads: 2\n"
    )
    assert math.isnan(model_cost.process_memory("VmHWM"))


def test_measure_runs_a_model_in_a_new_process(tmp_path):
    model = tiny(in_channels=2, sample_rate=8000)
    serialization.write(model.serialize(), tmp_path / "best_model.pth")
    how = dict(segment_length=100, fit_levels=True, seconds=0.5, sample_rate=8000)
    found = model_cost.measure(tmp_path / "best_model.pth", **how)
    assert found.weights == sum(p.numel() for p in model.parameters())
    assert found.multiply_adds == model_cost.multiply_adds(model)
    assert found.seconds > 0
    assert math.isnan(found.peak) or torch.cuda.is_available() or found.peak > found.beyond >= 0


def test_measure_reports_a_failure_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.pth cannot be measured: .*no file") as caught:
        model_cost.measure(tmp_path / "nothing.pth")
    assert "\n" not in str(caught.value)
