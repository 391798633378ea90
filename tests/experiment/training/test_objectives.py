"""What is minimised: the truth is best, silence is survived; and step sizes, step by step."""

from __future__ import annotations

import math

import pytest
import torch

from asteroid_waveunet.experiment.training.objectives import LOSSES, SCHEDULES, make_schedule

SHAPES = {"mono": (2, 3, 900), "stereo": (2, 3, 2, 900)}


def signals(shape):
    """Targets, of which one source is silent, and something else; another seed each time."""
    targets = 0.1 * torch.randn(shape)
    targets[:, 1] = 0
    return targets, targets + 0.03 * torch.randn(shape)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_better_than_the_truth(name, shape):
    targets, estimates = signals(shape)
    loss = LOSSES[name]
    best = loss(targets, targets)
    assert best.shape == () and best.isfinite()
    assert best < loss(estimates, targets) < loss(targets + 3 * (estimates - targets), targets)
    if not name.startswith("neg_"):
        assert best == 0


@pytest.mark.parametrize("name", LOSSES)
def test_sources_are_of_known_order(name):
    targets = 0.1 * torch.randn(2, 3, 900)
    assert LOSSES[name](targets.flip(1), targets) > LOSSES[name](targets, targets) + 1e-3


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_where_target_or_estimate_is_silent(name, shape):
    targets, estimates = signals(shape)
    for said, heard in (
        (estimates, targets),
        (torch.zeros(shape), targets),
        (estimates, torch.zeros(shape)),
        (torch.zeros(shape), torch.zeros(shape)),
    ):
        said = said.clone().requires_grad_()
        value = LOSSES[name](said, heard)
        value.backward()
        assert value.isfinite() and said.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_silent_target_teaches_silence_unless_the_loss_is_a_ratio(name):
    targets, estimates = signals(SHAPES["stereo"])
    estimates.requires_grad_()
    LOSSES[name](estimates, targets).backward()
    of_silent, of_others = estimates.grad[:, 1], estimates.grad[:, ::2]
    assert of_others.abs().amax() > 0
    assert (of_silent.abs().amax() == 0) == name.startswith("neg_")


def test_snr_is_in_db_over_both_channels():
    targets, noise = torch.randn(2, 1, 2, 900)[:, None].unbind()
    estimates = targets + noise
    expected = 10 * math.log10(targets.square().sum() / noise.square().sum())
    assert LOSSES["neg_snr"](estimates, targets).item() == pytest.approx(-expected, abs=1e-3)
    louder = LOSSES["neg_snr"](2 * targets, targets).item()
    assert louder == pytest.approx(0, abs=1e-3), "the level counts"
    assert LOSSES["neg_sisdr"](2 * targets, targets) < -60, "and here it does not"


def test_the_spectral_loss_is_per_sample_in_any_precision_and_leaves_nothing_to_train():
    targets, estimates = signals((2, 2, 8192))
    loss = LOSSES["spectral"]
    whole = loss(estimates, targets)
    twice = loss(torch.cat([estimates] * 4, -1), torch.cat([targets] * 4, -1))
    torch.testing.assert_close(twice, whole, rtol=0.2, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(estimates, targets)
    assert torch.equal(mixed, whole) and not isinstance(loss, torch.nn.Module)


# --- schedules -------------------------------------------------------------------------------


def course(name, steps, warmup=0, killed_after=None):
    """The step size of each step; a training that is killed goes on from its checkpoint."""
    sizes, state = [], None
    runs = [steps] if killed_after is None else [killed_after, steps - killed_after]
    for run in runs:
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        made = make_schedule(name, optimizer, 0.1, steps, warmup)
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


def test_cosine_rises_in_a_line_and_falls_as_half_a_cosine():
    sizes = course("cosine", 100, warmup=20)
    assert sizes[:20] == pytest.approx([0.1 * (step + 1) / 20 for step in range(20)])
    assert sizes[20] == 0.1 and sizes[60] == pytest.approx(0.05)
    assert sizes[20:] == sorted(sizes[20:], reverse=True)
    assert 0 < sizes[-1] < 1e-3 * 0.1


def test_constant_is_so_after_its_warm_up():
    assert course("constant", 9) == [0.1] * 9
    assert course("constant", 6, warmup=4) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("warmup", [0, 30])
def test_one_cycle_rises_over_its_warm_up_or_a_tenth(warmup):
    sizes = course("one_cycle", 100, warmup)
    assert sizes.index(max(sizes)) + 1 == (warmup or 10)
    assert max(sizes) == pytest.approx(0.1) and sizes[-1] < 1e-5


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_as_if_it_had_not_been_interrupted(name, warmup):
    whole = course(name, 40, warmup)
    for killed_after in (3, 7, 25):
        assert course(name, 40, warmup, killed_after) == whole


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_shortest_trainings_have_a_schedule_too(name):
    for steps in (1, 2, 3, 10, 20):
        assert all(0 <= size <= 0.1 for size in course(name, steps))


def test_a_warm_up_longer_than_the_training_is_refused():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match="warmup_steps is 10, and the whole training has 10"):
        make_schedule("cosine", optimizer, 0.1, 10, warmup=10)
