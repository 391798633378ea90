"""Residuals of the mixture after subtracting the estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.paper_figures import additivity
from asteroid_waveunet.experiment.paper_figures.additivity import Residuals
from helpers.models import randomize, tiny
from helpers.scores import TWO, Song

SONG = Song("song")


class Quiet(Song):
    """A song without clipping in any source."""

    def mixture_and_groups(self, sources):
        mixture, groups, rate = super().mixture_and_groups(sources)
        return 0.01 * mixture, {k: 0.01 * v for k, v in groups.items()}, rate


def system(output, **arguments):
    sizes = dict(sources=TWO, in_channels=2, sample_rate=1000, output=output)
    return randomize(tiny(**sizes, **arguments))


def test_residual_level_matches_the_analytic_value():
    mixture = torch.ones(2, 1000)
    estimates = torch.stack([0.7 * mixture, 0.2 * mixture])
    estimates[0, 0, 250:500] = 0.3  # a residual of 0.5 in half of the second window's samples
    found = Residuals("made up")
    found.add("song", mixture, estimates, 1000)
    expected = [-20, 10 * np.log10((0.25 + 0.01) / 2), -20, -20]
    np.testing.assert_allclose(found.relative, expected, atol=1e-5)
    assert found.largest == pytest.approx(0.5)
    text = additivity.table([found])
    assert "| made up | -14.0 | -20.0 | -8.9 | 0.5 | 0 of 2000 |" in text


def test_silent_windows_are_ignored():
    mixture = torch.cat([torch.zeros(1, 250), torch.ones(1, 250)], dim=-1)
    found = Residuals("made up")
    found.add("song", mixture, 0.9 * mixture[None], 1000)
    np.testing.assert_allclose(found.relative, [-20], atol=1e-5)


def test_direct_output_has_a_residual_and_the_others_only_rounding():
    direct = system("direct")
    plain = additivity.measure(direct, [Quiet("q")], "direct")
    consistent = additivity.measure(direct, [Quiet("q")], "consistent", mixture_consistency=True)
    difference = additivity.measure(system("difference"), [Quiet("q")], "difference")
    assert plain.relative.max() > -20
    assert consistent.relative.max() < -110 and difference.relative.max() < -110
    assert difference.clipped == 0


def test_clipping_of_difference_output_is_a_residual():
    found = additivity.measure(system("difference"), [SONG], "difference")
    assert found.clipped > 100 and found.largest > 0.01


def test_incomplete_sources_and_silent_mixtures_are_rejected():
    model = tiny(sources=("vocals",), in_channels=2, sample_rate=1000, output="direct")
    with pytest.raises(ValueError, match="vocals do not sum to the mixture of song"):
        additivity.measure(model, [SONG], "vocals alone")

    class Silent(Song):
        def mixture_and_groups(self, sources):
            mixture, groups, rate = super().mixture_and_groups(sources)
            return 0 * mixture, {k: 0 * v for k, v in groups.items()}, rate

    with pytest.raises(ValueError, match="silent"):
        additivity.measure(system("direct"), [Silent("s")], "direct")
