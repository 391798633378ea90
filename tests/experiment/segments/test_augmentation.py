"""Augmentations draw what they say, of every group and segment on its own."""

from __future__ import annotations

import numpy as np
import pytest

from asteroid_waveunet.experiment.segments.augmentation import AUGMENTATIONS, Amounts, check_names


def drawn(*names: str, n: int = 2000, groups: int = 3) -> Amounts:
    amounts, rng = Amounts.neutral(n, groups), np.random.default_rng(0)
    for name in names:
        AUGMENTATIONS[name](amounts, rng.random((n, groups, 3)))
    return amounts


@pytest.mark.parametrize(
    ("name", "low", "high"), [("random_gains", 0.7, 1.0), ("wide_gains", 0.25, 1.25)]
)
def test_every_group_gets_one_gain_of_its_own_within_the_bounds(name, low, high):
    gains = drawn(name).gains
    margin = 0.01 * (high - low)
    assert low <= gains.min() < low + margin and high - margin < gains.max() <= high
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.1
    assert abs(gains.mean() - (low + high) / 2) < margin


def test_channels_are_swapped_and_signs_flipped_half_of_the_time():
    amounts = drawn("swap_channels", "flip_signs")
    flipped = amounts.gains < 0
    for coin in (amounts.swaps, flipped):
        assert np.abs(coin.mean(axis=0) - 0.5).max() < 0.05
    assert abs((amounts.swaps == flipped).mean() - 0.5) < 0.05
    assert (np.abs(amounts.gains) == 1).all()


def test_a_fifth_of_the_segments_changes_pitch_and_tempo():
    amounts = drawn("pitch_tempo", groups=1)
    stretched = amounts.tempos != 1
    assert abs(stretched.mean() - 0.2) < 0.03
    assert set(amounts.pitches[stretched]) == {-2, -1, 0, 1, 2}
    tempos = amounts.tempos[stretched]
    assert 0.88 <= tempos.min() < 0.89 and 1.11 < tempos.max() <= 1.12
    assert (amounts.tempos[~stretched] == 1).all() and not amounts.pitches[~stretched].any()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_one_does_adds_to_what_others_did(name):
    amounts = Amounts.neutral(50, 2)
    amounts.gains[...], amounts.swaps[...] = -3, True
    AUGMENTATIONS[name](amounts, np.zeros((50, 2, 3)))
    assert (np.abs(amounts.gains) >= 0.75 - 1e-12).all()
    assert not amounts.swaps.any() if name == "swap_channels" else amounts.swaps.all()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'pitch'.*random_gains, wide_gains, swap_channels"):
        check_names(["random_gains", "pitch"])
