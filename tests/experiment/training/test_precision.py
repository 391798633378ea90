"""`precision: auto`: chosen by the machine and, on processors, by a trial."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch

from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training import precision
from asteroid_waveunet.experiment.training.fit import fit
from asteroid_waveunet.models.spectrogram_unet import SpectrogramUNet
from helpers.models import tiny

AUTO = Training(precision="auto", batch_size=2, segment_length=100)


@pytest.fixture
def processor(monkeypatch):
    """Return a function that pretends a processor with these flags, and the trial's result."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    def pretend(flags: str, factor: float = math.nan, field: str = "flags") -> None:
        monkeypatch.setattr(precision, "cpu_info", lambda: {field: flags})
        monkeypatch.setattr(precision, "speed_up", lambda *_: factor)

    return pretend


@pytest.mark.parametrize(
    ("flags", "factor", "expected", "reason"),
    [
        ("avx2 avx512f", math.nan, "32-true", "no bfloat16 instructions"),
        ("avx512f avx512_bf16", 1.1, "32-true", "1.1 times as fast"),
        ("avx512f avx512_bf16", 1.8, "bf16-mixed", "1.8 times as fast"),
        ("amx_bf16 amx_tile", 2.4, "bf16-mixed", "2.4 times as fast"),
    ],
)
def test_processor_uses_bfloat16_where_it_has_it_and_is_faster(
    processor, flags, factor, expected, reason
):
    processor(flags, factor)
    settings, choice = precision.resolve(AUTO, tiny())
    assert settings == dataclasses.replace(AUTO, precision=expected)
    assert choice.startswith(f"auto: {expected} (") and reason in choice


def test_arm_processors_are_recognised(processor):
    processor("asimd bf16", field="Features")
    assert precision.has_bfloat16()
    processor("asimd", field="Features")
    assert not precision.has_bfloat16()


def test_processes_on_processors_agree_on_float32(processor):
    processor("avx512_bf16", 2.0)
    settings, _ = precision.resolve(dataclasses.replace(AUTO, devices=2), tiny())
    assert settings.precision == "32-true"


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "bf16-mixed"), ((7, 5), "32-true")])
def test_gpu_uses_bfloat16_from_ampere_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    settings, choice = precision.resolve(AUTO, tiny())
    assert settings.precision == expected and "Card" in choice


@pytest.mark.parametrize("make", [tiny, lambda: SpectrogramUNet(levels=2, window=64, hop=48)])
def test_trial_changes_neither_model_nor_random_numbers(make):
    model = make()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert 0 < precision.speed_up(model, 1, 100) < math.inf
    assert torch.equal(torch.get_rng_state(), random)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fit_needs_a_choice(tmp_path):
    with pytest.raises(ValueError, match="precision is auto"):
        fit(tiny(), [], [], tmp_path, AUTO)
