"""A teacher's targets are symmetric, and a student learns them instead of the true sources."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet.experiment.training.teacher import Teacher
from asteroid_waveunet.nn.symmetry import mirror
from helpers.models import tiny
from helpers.training import RATE, Songs, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


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


def test_student_learns_the_teachers_estimates_and_not_the_true_sources(tmp_path):
    class Silent(Songs):
        def __getitem__(self, index):
            mixture, targets = super().__getitem__(index)
            return mixture, torch.zeros_like(targets)

    torch.manual_seed(9)
    model = tiny(sample_rate=RATE)
    path = weights(model, tmp_path / "teacher.pth")
    songs = Silent(model, 16)
    mixture = songs[100][0][None]
    target = Teacher(path, model)(mixture)

    def distance(student):
        with torch.no_grad():
            return float((student.forward_context(mixture) - target).square().mean())

    plain = distance(train(tmp_path / "plain", songs))
    assert distance(train(tmp_path / "taught", songs, teacher=path)) < 0.5 * plain


def test_teacher_of_other_sources_is_refused(tmp_path):
    other = weights(tiny(sources=("a", "b", "c")), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"The teacher .*other.pth has sources .*'c'.* agree"):
        Teacher(other, tiny())
