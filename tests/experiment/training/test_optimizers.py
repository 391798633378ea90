"""Optimizers: groups of weights, Muon's step, learning rates through schedules and resumes."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.settings import OPTIMIZERS, Training
from asteroid_waveunet.experiment.training.objectives import SCHEDULES, make_schedule
from asteroid_waveunet.experiment.training.optimizers import make_optimizer
from helpers.training import train


def model() -> WaveUNet:
    return WaveUNet(("a", "b"), in_channels=2, levels=2, initial_filters=6, upsampling="learned")


def test_muon_has_the_hidden_layers_and_adam_the_rest():
    network = model()
    hidden, others = make_optimizer("muon", network, 0.02).param_groups
    names = {id(weight): name for name, weight in network.named_parameters()}
    assert sorted(names[id(weight)] for weight in hidden["params"]) == [
        "bottleneck.weight",
        "down.1.conv.weight",
        "up.0.conv.weight",
        "up.1.conv.weight",
    ]
    assert len(hidden["params"]) + len(others["params"]) == len(names)
    assert (hidden["lr"], others["lr"]) == (0.02, pytest.approx(5e-4))


def test_muon_moves_all_directions_of_a_weight_alike():
    """The step's singular values are about the learning rate, however uneven the gradient's."""
    torch.manual_seed(0)
    network = model()
    optimizer = make_optimizer("muon", network, 0.02)
    weight = network.up[0].conv.weight
    before = weight.detach().clone()
    uneven = torch.logspace(0, -2, len(weight))[:, None, None]
    weight.grad = uneven * torch.randn_like(weight)
    optimizer.step()
    step = torch.linalg.svdvals((weight.detach() - before).flatten(1)) / 0.02
    assert step.min() > 0.4 and step.max() < 1.4
    assert torch.linalg.svdvals(weight.grad.flatten(1)).min() < 0.1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_scales_the_learning_rates_alike(schedule):
    optimizer = make_optimizer("muon", model(), 0.02)
    made = make_schedule(schedule, optimizer, 40, warmup=8)
    rates = []
    for _ in range(40):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        made["scheduler"].step()
    hidden, others = torch.tensor(rates, dtype=torch.float64).T
    torch.testing.assert_close(others * 40, hidden)
    assert hidden.max() == pytest.approx(0.02) and hidden[0] < 0.02


def test_muon_resumes_and_keeps_its_proportion_in_the_second_round(tmp_path):
    settings = dict(optimizer="muon", lr=0.02, patience=1, fine_tuning_lr=4e-3)
    whole = train(tmp_path / "whole", max_epochs=8, **settings)
    for max_epochs in (3, 8):
        resumed = train(tmp_path / "parts", max_epochs=max_epochs, **settings)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    last = torch.load(tmp_path / "parts" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["callbacks"]["Rounds"]["second"] is not None
    groups = last["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([4e-3, 1e-4])


def test_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match=f"optimizer.*sgd.*{OPTIMIZERS[-1]}"):
        Training(optimizer="sgd")
