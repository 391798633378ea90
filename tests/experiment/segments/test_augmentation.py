"""Augmentations: ranges, probabilities, independence of groups and of each other."""

from __future__ import annotations

import numpy as np
import pytest

from asteroid_waveunet.experiment.segments.augmentation import AUGMENTATIONS, Amounts, check_names


def augmented(*names: str, n: int = 2000, groups: int = 3) -> Amounts:
    amounts, rng = Amounts.neutral(n, groups), np.random.default_rng(0)
    for name in names:
        AUGMENTATIONS[name](amounts, rng.random((n, groups, 3)))
    return amounts


@pytest.mark.parametrize(
    ("name", "low", "high"), [("random_gains", 0.7, 1.0), ("wide_gains", 0.25, 1.25)]
)
def test_gains_are_uniform_and_independent_per_group(name, low, high):
    gains = augmented(name).gains
    margin = 0.01 * (high - low)
    assert low <= gains.min() < low + margin and high - margin < gains.max() <= high
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.1
    assert abs(gains.mean() - (low + high) / 2) < margin


def test_swaps_and_sign_flips_have_probability_one_half():
    amounts = augmented("swap_channels", "flip_signs")
    flipped = amounts.gains < 0
    for flags in (amounts.swaps, flipped):
        assert np.abs(flags.mean(axis=0) - 0.5).max() < 0.05
    assert abs((amounts.swaps == flipped).mean() - 0.5) < 0.05
    assert (np.abs(amounts.gains) == 1).all()


def test_pitch_and_tempo_change_in_a_fifth_of_the_segments():
    amounts = augmented("pitch_tempo", groups=1)
    stretched = amounts.tempos != 1
    assert abs(stretched.mean() - 0.2) < 0.03
    assert set(amounts.pitches[stretched]) == {-2, -1, 0, 1, 2}
    tempos = amounts.tempos[stretched]
    assert 0.88 <= tempos.min() < 0.89 and 1.11 < tempos.max() <= 1.12
    assert (amounts.tempos[~stretched] == 1).all() and not amounts.pitches[~stretched].any()


def test_speeds_are_log_uniform_and_independent_per_group():
    octaves = np.log2(augmented("speed").speeds) / np.log2(1.2)
    assert -1 <= octaves.min() < -0.99 and 0.99 < octaves.max() <= 1
    assert abs(octaves.mean()) < 0.03
    assert np.abs(np.corrcoef(octaves.T) - np.eye(3)).max() < 0.1


def test_augmentations_accumulate():
    for name, augment in AUGMENTATIONS.items():
        amounts = Amounts.neutral(50, 2)
        amounts.gains[...], amounts.swaps[...] = -3, True
        augment(amounts, np.zeros((50, 2, 3)))
        assert (np.abs(amounts.gains) >= 0.75 - 1e-12).all(), name
        assert amounts.swaps.all() == (name != "swap_channels"), name


def test_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match="'pitch'.*random_gains, wide_gains, swap_channels"):
        check_names(["random_gains", "pitch"])
