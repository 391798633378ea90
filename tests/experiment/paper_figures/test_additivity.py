"""Estimates and the mixture that they should sum to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.paper_figures import additivity
from asteroid_waveunet.experiment.paper_figures.additivity import Sums
from helpers.models import drawn, tiny
from helpers.scores import TWO, Song

SONG = Song("song")


class Quiet(Song):
    """A song that no source leaves the full scale in."""

    def mixture_and_groups(self, sources):
        mixture, groups, rate = super().mixture_and_groups(sources)
        return 0.01 * mixture, {k: 0.01 * v for k, v in groups.items()}, rate


def system(output, **arguments):
    sizes = dict(sources=TWO, in_channels=2, sample_rate=1000, output=output)
    return drawn(tiny(**sizes, **arguments))


def test_what_is_missing_has_its_level():
    mixture = torch.ones(2, 1000)
    estimates = torch.stack([0.7 * mixture, 0.2 * mixture])
    estimates[0, 0, 250:500] = 0.3  # half of the samples of the second window lack 0.5
    found = Sums("made up")
    found.add("song", mixture, estimates, 1000)
    expected = [-20, 10 * np.log10((0.25 + 0.01) / 2), -20, -20]
    np.testing.assert_allclose(found.relative, expected, atol=1e-5)
    assert found.largest == pytest.approx(0.5)
    text = additivity.table([found])
    assert "| made up | -14.0 | -20.0 | -8.9 | 0.5 | 0 of 2000 |" in text


def test_windows_in_which_there_is_no_music_lack_nothing_of_it():
    mixture = torch.cat([torch.zeros(1, 250), torch.ones(1, 250)], dim=-1)
    found = Sums("made up")
    found.add("song", mixture, 0.9 * mixture[None], 1000)
    np.testing.assert_allclose(found.relative, [-20], atol=1e-5)


def test_direct_estimates_lack_something_and_the_others_rounding():
    direct = system("direct")
    plain = additivity.measure(direct, [Quiet("q")], "direct")
    consistent = additivity.measure(direct, [Quiet("q")], "consistent", mixture_consistency=True)
    difference = additivity.measure(system("difference"), [Quiet("q")], "difference")
    assert plain.relative.max() > -20
    assert consistent.relative.max() < -110 and difference.relative.max() < -110
    assert difference.clipped == 0


def test_what_evaluation_clips_is_missing_of_differences():
    found = additivity.measure(system("difference"), [SONG], "difference")
    assert found.clipped > 100 and found.largest > 0.01


def test_models_whose_sources_are_not_all_are_refused():
    model = tiny(sources=("vocals",), in_channels=2, sample_rate=1000, output="direct")
    with pytest.raises(ValueError, match="whose sources make up all of the mixture"):
        additivity.measure(model, [SONG], "vocals alone")


def test_silence_is_refused():
    class Silent(Song):
        def mixture_and_groups(self, sources):
            mixture, groups, rate = super().mixture_and_groups(sources)
            return 0 * mixture, {k: 0 * v for k, v in groups.items()}, rate

    with pytest.raises(ValueError, match="The mixtures are silent"):
        additivity.measure(system("direct"), [Silent("s")], "direct")
