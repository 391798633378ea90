"""A teacher's targets are symmetric, and replace the true sources in training."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.system import make_system
from asteroid_waveunet.experiment.training.teacher import Teacher
from asteroid_waveunet.nn.symmetry import mirror
from helpers.models import tiny
from helpers.training import Songs


def weights(model, path):
    torch.save(model.serialize(), path)
    return str(path)


def test_targets_are_the_mean_over_signs_and_sides(tmp_path):
    model = tiny(in_channels=2).eval()
    lengths = model.geometry.fit(60)
    x = 0.3 * torch.randn(2, 2, lengths.input)
    targets = Teacher(weights(model, tmp_path / "a.pth"), model)(x)
    with torch.no_grad():
        swapped = -model.forward_context(-x), model.forward_context(x.flip(1)).flip(2)
        both = -model.forward_context(-x.flip(1)).flip(2)
        expected = (model.forward_context(x) + sum(swapped) + both) / 4
    torch.testing.assert_close(targets, expected, atol=1e-6, rtol=0)
    again = Teacher(weights(model, tmp_path / "a.pth"), model)(mirror(x))
    torch.testing.assert_close(mirror(again), targets, atol=1e-6, rtol=0)


def test_targets_of_mono_keep_the_order_of_sources(tmp_path):
    model = tiny().eval()
    x = 0.3 * torch.randn(2, 1, model.geometry.fit(60).input)
    targets = Teacher(weights(model, tmp_path / "a.pth"), model)(x)
    with torch.no_grad():
        expected = (model.forward_context(x) - model.forward_context(-x)) / 2
    torch.testing.assert_close(targets, expected, atol=1e-6, rtol=0)


def test_training_takes_the_teachers_estimates_and_validation_the_true_sources(tmp_path):
    model = tiny()
    other = weights(tiny(), tmp_path / "teacher.pth")
    songs = Songs(model, 2)
    settings = Training(batch_size=2, num_workers=0, teacher=other)
    batches = ResumableBatchSampler(1, 2, world_size=1)
    system = make_system(model, songs, songs, settings, batches, {}, False)
    mixture, sources = next(iter(system.train_loader))
    estimates = model.forward_context(mixture)
    for train, targets in ((True, Teacher(other, model)(mixture)), (False, sources)):
        loss = system.common_step((mixture, sources), 0, train=train)
        torch.testing.assert_close(loss, system.loss_func(estimates, targets))
    assert "teacher" not in "".join(system.state_dict())


def test_teacher_of_other_sources_is_refused(tmp_path):
    other = weights(tiny(sources=("a", "b", "c")), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"The teacher .*other.pth has sources .*'c'.* agree"):
        Teacher(other, tiny())
