import pickle

import numpy as np
import pytest

from asteroid_waveunet.experiment.augmentation import (
    AUGMENTATIONS,
    compose,
    random_gains,
    swap_channels,
)


@pytest.fixture
def groups() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, 2, 50)).astype(np.float32)


def test_every_group_gets_one_gain_of_its_own_within_the_bounds(groups):
    rng = np.random.default_rng(0)
    gains = np.stack([random_gains(groups, rng) / groups for _ in range(400)])
    assert np.ptp(gains, axis=(2, 3)).max() < 1e-5
    gains = gains[:, :, 0, 0]
    assert 0.7 <= gains.min() < 0.71 and 0.99 < gains.max() <= 1.0
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.2


def test_channels_are_swapped_as_a_whole_or_not_at_all(groups):
    rng = np.random.default_rng(0)
    swapped = [swap_channels(groups, rng) for _ in range(50)]
    kinds = {
        (int((s[i] == groups[i]).all()), int((s[i] == groups[i, ::-1]).all()))
        for s in swapped
        for i in range(3)
    }
    assert kinds == {(1, 0), (0, 1)}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_and_type_stay_and_the_input_is_left_alone(groups, name):
    before = groups.copy()
    result = compose([name])(groups, np.random.default_rng(0))
    assert result.shape == groups.shape and result.dtype == np.float32
    assert (groups == before).all()


def test_the_same_generator_gives_the_same_result_also_after_a_trip_to_a_worker(groups):
    augment = compose(["random_gains", "swap_channels"])
    travelled = pickle.loads(pickle.dumps(augment))
    first, second = (f(groups, np.random.default_rng(5)) for f in (augment, travelled))
    assert (first == second).all()


def test_no_name_changes_nothing(groups):
    assert (compose([])(groups, np.random.default_rng(0)) == groups).all()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'pitch'.*random_gains, swap_channels"):
        compose(["random_gains", "pitch"])
