"""Random plans: independent per index and purpose, uniform over the tracks."""

from __future__ import annotations

import numpy as np
import pytest

from asteroid_waveunet.experiment.segments.augmentation import AUGMENTATIONS
from asteroid_waveunet.experiment.segments.random_plans import RandomPlans
from helpers.songs import write_prepared


@pytest.fixture
def tracks(tmp_path):
    return [
        write_prepared(tmp_path, str(n), np.full((3, 2, n), peak), "abc", n_src=3)
        for n, peak in ((400, 0.5), (100, 3.0))
    ]


def arrays(plan) -> list[np.ndarray]:
    return [plan.tracks, plan.starts, *vars(plan.amounts).values()]


def test_batch_plan_equals_single_plans(tracks):
    everything = list(AUGMENTATIONS)
    plans = RandomPlans(tracks, 50, 3, everything, remix=0.5)
    indices = [7, 0, 10**9]
    batch = plans.plan(indices)
    for row, index in enumerate(indices):
        alone = plans.plan([index])
        assert all(
            (a[row] == b[0]).all() for a, b in zip(arrays(batch), arrays(alone), strict=True)
        )


def test_augmentations_have_independent_random_numbers(tracks):
    plain = RandomPlans(tracks, 50, 3, ["random_gains"]).plan(range(20))
    more = RandomPlans(tracks, 50, 3, ["flip_signs", "random_gains"]).plan(range(20))
    assert (plain.starts == more.starts).all() and (plain.tracks == more.tracks).all()
    np.testing.assert_allclose(plain.amounts.gains, np.abs(more.amounts.gains))


def test_gains_include_the_scale_of_the_stored_track(tracks):
    plan = RandomPlans(tracks, 50, remix=1.0).plan(range(50))
    assert set(plan.tracks.flat) == {0, 1}
    assert (plan.amounts.gains == np.array([1 / 32768, 3 / 32767])[plan.tracks]).all()


def test_positions_are_uniform(tracks):
    plan = RandomPlans(tracks, 50).plan(range(4000))
    assert (plan.starts == plan.starts[:, :1]).all() and (plan.tracks == plan.tracks[:, :1]).all()
    for number, track in enumerate(tracks):
        starts = plan.starts[plan.tracks[:, 0] == number, 0]
        assert starts.min() == 0 and starts.max() == track.length - 50
        assert abs(starts.mean() / (track.length - 50) - 0.5) < 0.05


def test_remix_applies_to_all_groups_of_a_segment(tracks):
    plan = RandomPlans(tracks, 50, remix=0.5).plan(range(200))
    unmixed = [len(set(starts)) == 1 for starts in plan.starts]
    remixed = [len(set(starts)) == 3 for starts in plan.starts]
    assert 70 < sum(unmixed) < 130
    assert sum(unmixed) + sum(remixed) > 190, "some positions coincide"


def test_speed_is_shared_by_the_groups_of_a_song(tracks):
    plan = RandomPlans(tracks, 50, augmentation=["speed"], remix=0.5).plan(range(200))
    remixed = np.array([len(set(starts)) > 1 for starts in plan.starts])
    shared = np.array([len(set(speeds)) == 1 for speeds in plan.amounts.speeds])
    assert (shared == ~remixed).all() and 70 < shared.sum() < 130


def test_stems_of_a_source_stay_together_unless_they_are_remixed_too(tmp_path):
    stems = write_prepared(tmp_path, "x", np.ones((4, 2, 10**6)), "abcd", owners=(0, 0, 0, 1))
    plan = RandomPlans([stems], 50, 0, ["speed"], remix=0.5, remix_stems=0.4).plan(range(400))
    kinds = [tuple(np.unique(starts, return_inverse=True)[1]) for starts in plan.starts]
    together = [len(set(kind[:3])) == 1 for kind in kinds]
    whole_songs = [len(set(kind)) == 1 for kind in kinds]
    apart = [len(set(kind)) == 4 for kind in kinds]
    assert all(a or b for a, b in zip(together, apart, strict=True))
    assert 170 < sum(whole_songs) < 230 and 55 < sum(apart) < 105  # of 200 and 80
    speeds = [tuple(np.unique(s, return_inverse=True)[1]) for s in plan.amounts.speeds]
    assert [len(set(s)) for s in speeds] == [len(set(kind)) for kind in kinds]


def test_seeds_are_not_shifted_copies(tracks):
    one, other = (RandomPlans(tracks, 50, seed).plan(range(20)).starts[:, 0] for seed in (3, 4))
    assert (one[1:] != other[:-1]).any() and (one != other).any()


def test_negative_index_is_refused(tracks):
    with pytest.raises(IndexError, match="segment -1; random segments are numbered from 0 on"):
        RandomPlans(tracks, 50).plan([2, -1])
