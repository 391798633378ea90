"""Losses are minimal at the targets and finite for silence; schedules step by step."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet.experiment.training.objectives import LOSSES, SCHEDULES, make_schedule

SHAPES = {"mono": (2, 3, 900), "stereo": (2, 3, 2, 900)}


def signals(shape):
    """Return random targets with one silent source, and noisy estimates."""
    targets = 0.1 * torch.randn(shape)
    targets[:, 1] = 0
    return targets, targets + 0.03 * torch.randn(shape)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_minimal_at_the_targets_in_order(name):
    loss = LOSSES[name]
    for shape in SHAPES.values():
        targets, estimates = signals(shape)
        best = loss(targets, targets)
        assert best.shape == () and best.isfinite()
        assert best < loss(estimates, targets) < loss(targets + 3 * (estimates - targets), targets)
        if not name.startswith(("neg_", "log_")):
            assert best == 0
    targets = 0.1 * torch.randn(2, 3, 900)
    assert loss(targets.flip(1), targets) > loss(targets, targets) + 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_for_silence(name):
    for shape in SHAPES.values():
        targets, estimates = signals(shape)
        silence = torch.zeros(shape)
        for first, second in (
            (estimates, targets),
            (silence, targets),
            (estimates, silence),
            (silence, silence),
        ):
            first = first.clone().requires_grad_()
            value = LOSSES[name](first, second)
            value.backward()
            assert value.isfinite() and first.grad.isfinite().all()


def test_silent_targets_have_a_gradient_unless_the_loss_is_a_ratio():
    for name, loss in LOSSES.items():
        targets, estimates = signals(SHAPES["stereo"])
        estimates.requires_grad_()
        loss(estimates, targets).backward()
        silent, others = estimates.grad[:, 1], estimates.grad[:, ::2]
        assert others.abs().amax() > 0, name
        assert (silent.abs().amax() == 0) == name.startswith("neg_"), name


def test_snr_in_db_covers_both_channels():
    targets, noise = torch.randn(2, 1, 2, 900)[:, None].unbind()
    estimates = targets + noise
    expected = 10 * math.log10(targets.square().sum() / noise.square().sum())
    assert LOSSES["neg_snr"](estimates, targets).item() == pytest.approx(-expected, abs=1e-3)
    louder = LOSSES["neg_snr"](2 * targets, targets).item()
    assert louder == pytest.approx(0, abs=1e-3), "depends on the level"
    assert LOSSES["neg_sisdr"](2 * targets, targets) < -60, "does not depend on the level"


def test_log_mse_is_the_level_of_the_error_in_its_mixture():
    targets = torch.randn(2, 2, 2, 900) * torch.tensor([1, 0.01])[:, None, None, None]
    targets[:, 1] = 0  # a silent source
    noise = torch.randn_like(targets)
    errors, mixtures = (x.square().mean((-1, -2)) for x in (noise, targets.sum(1)))
    noise *= 0.1 * (mixtures[:, None] / errors).sqrt()[..., None, None]
    loss = LOSSES["log_mse"]
    # 10 log10(0.01 + 0.001)
    assert loss(targets + noise, targets).item() == pytest.approx(-19.586, abs=1e-3)
    assert loss(targets, targets).item() == pytest.approx(-30)


def test_spectral_loss_is_per_sample_and_float32_under_autocast():
    targets, estimates = signals((2, 2, 8192))
    loss = LOSSES["spectral"]
    whole = loss(estimates, targets)
    twice = loss(torch.cat([estimates] * 4, -1), torch.cat([targets] * 4, -1))
    torch.testing.assert_close(twice, whole, rtol=0.2, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(estimates, targets)
    assert torch.equal(mixed, whole) and not isinstance(loss, torch.nn.Module)


# --- schedules -------------------------------------------------------------------------------


def learning_rates(name, steps, warmup=0, killed_after=None):
    """Return the learning rate of each step, optionally resumed from a checkpoint."""
    sizes, state = [], None
    runs = [steps] if killed_after is None else [killed_after, steps - killed_after]
    for run in runs:
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        made = make_schedule(name, optimizer, steps, warmup)
        assert made is None or made["interval"] == "step"
        if state is not None:
            optimizer.load_state_dict(state[0])
            if made:
                made["scheduler"].load_state_dict(state[1])
        for _ in range(run):
            sizes.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if made:
                made["scheduler"].step()
        state = (optimizer.state_dict(), made["scheduler"].state_dict() if made else None)
    return sizes


def test_cosine_rises_linearly_and_falls():
    sizes = learning_rates("cosine", 100, warmup=20)
    assert sizes[:20] == pytest.approx([0.1 * (step + 1) / 20 for step in range(20)])
    assert sizes[20] == 0.1 and sizes[60] == pytest.approx(0.05)
    assert sizes[20:] == sorted(sizes[20:], reverse=True)
    assert 0 < sizes[-1] < 1e-3 * 0.1


def test_constant_after_warmup():
    assert learning_rates("constant", 9) == [0.1] * 9
    assert learning_rates("constant", 6, warmup=4) == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    )


def test_one_cycle_rises_over_its_warmup_or_a_tenth():
    for warmup, peak in ((0, 10), (30, 30)):
        sizes = learning_rates("one_cycle", 100, warmup)
        assert sizes.index(max(sizes)) + 1 == peak
        assert max(sizes) == pytest.approx(0.1) and sizes[-1] < 1e-5


@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_schedule_equals_uninterrupted(name):
    for warmup in (0, 7):
        whole = learning_rates(name, 40, warmup)
        for killed_after in (3, 7, 25):
            assert learning_rates(name, 40, warmup, killed_after) == whole


def test_schedules_of_very_short_trainings():
    for name in SCHEDULES:
        for steps in (1, 2, 3, 10, 20):
            sizes = learning_rates(name, steps)
            assert all(0 <= size <= 0.1 for size in sizes), (name, steps)


def test_warmup_as_long_as_the_training_is_refused():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match="warmup_steps is 10.* 10 steps.*lower warmup_steps"):
        make_schedule("cosine", optimizer, 10, warmup=10)
