"""What is cut and mixed is what the plan says."""

from __future__ import annotations

import numpy as np
import pytest

from asteroid_waveunet.experiment.segments.augmentation import Amounts
from asteroid_waveunet.experiment.segments.mixing import Mixer
from asteroid_waveunet.experiment.segments.random_plans import Plan

LEFT, INPUT, OUTPUT = 4000, 16000, 3000


def cut(tracks, starts, amounts, numbers=None) -> tuple[np.ndarray, np.ndarray]:
    """One segment of which every group is a target."""
    n_groups, channels, _ = tracks[0].shape
    mixture = np.full((channels, INPUT), np.nan, np.float32)
    targets = np.full((n_groups, channels, OUTPUT), np.nan, np.float32)
    numbers = np.zeros(n_groups, np.int64) if numbers is None else np.array(numbers)
    plan = Plan(numbers[None], np.array([starts]), amounts)
    Mixer(tracks, LEFT, 16000).make(plan, 0, mixture, targets)
    return mixture, targets


def read_only(tracks: np.ndarray) -> np.ndarray:
    tracks.flags.writeable = False
    return tracks


@pytest.mark.parametrize("starts", [(5000, 9000, 4000), (0, 29000, 12000), (0, 0, 0)])
def test_groups_come_from_their_places_with_their_gains_and_channels(starts):
    rng = np.random.default_rng(0)
    tracks = [read_only(rng.integers(-99, 99, (3, 2, 30000)).astype(np.int16)) for _ in range(2)]
    amounts = Amounts.neutral(1, 3)
    amounts.gains[...] = [[0.5, -2, 1]]
    amounts.swaps[...] = [[True, False, True]]
    mixture, targets = cut(tracks, starts, amounts, numbers=[1, 0, 1])
    expected = np.zeros((3, 2, INPUT))
    for k, (start, number) in enumerate(zip(starts, [1, 0, 1], strict=True)):
        padded = np.pad(tracks[number][k], ((0, 0), (LEFT, INPUT)))[:, start : start + INPUT]
        expected[k] = amounts.gains[0, k] * (padded[::-1] if amounts.swaps[0, k] else padded)
    assert (mixture == expected.sum(0)).all()
    assert (targets == expected[:, :, LEFT : LEFT + OUTPUT]).all()


@pytest.mark.parametrize("tempo", [0.88, 1.12])
def test_the_first_target_stays_where_it_is_at_another_tempo(tempo):
    track = np.zeros((1, 2, 60000), np.int16)
    track[..., 20000 + 1500] = 20000  # 1500 samples after the first target
    amounts = Amounts.neutral(1, 1)
    amounts.tempos[...] = tempo
    mixture, targets = cut([read_only(track)], [20000], amounts)
    # A click is smeared over some samples; 16 are 1 ms.
    assert np.abs(targets[0, 0]).argmax() == pytest.approx(1500 / tempo, abs=16)
    np.testing.assert_array_equal(mixture[:, LEFT : LEFT + OUTPUT], targets[0])
