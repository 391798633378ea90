"""Segments are cut, stretched and mixed as planned."""

from __future__ import annotations

import numpy as np
import pytest

from asteroid_waveunet.experiment.segments import mixing
from asteroid_waveunet.experiment.segments.augmentation import Amounts
from asteroid_waveunet.experiment.segments.mixing import Mixer, stretch
from asteroid_waveunet.experiment.segments.random_plans import Plan

RATE = 16000
LEFT, INPUT, OUTPUT = 4000, 16000, 3000


def make(tracks, starts, amounts, numbers=None, owners=None) -> tuple[np.ndarray, np.ndarray]:
    """Make one segment; by default, every group is a target."""
    n_groups, channels, _ = tracks[0].shape
    owners = range(n_groups) if owners is None else owners
    mixture = np.full((channels, INPUT), np.nan, np.float32)
    targets = np.full((max(owners) + 1, channels, OUTPUT), np.nan, np.float32)
    numbers = np.zeros(n_groups, np.int64) if numbers is None else np.array(numbers)
    plan = Plan(numbers[None], np.array([starts]), amounts)
    Mixer(tracks, LEFT, RATE, owners).make(plan, 0, mixture, targets)
    return mixture, targets


def read_only(tracks: np.ndarray) -> np.ndarray:
    tracks.flags.writeable = False
    return tracks


@pytest.mark.parametrize("starts", [(5000, 9000, 4000), (0, 29000, 12000), (0, 0, 0)])
def test_groups_have_their_positions_gains_and_channels(starts):
    rng = np.random.default_rng(0)
    tracks = [read_only(rng.integers(-99, 99, (3, 2, 30000)).astype(np.int16)) for _ in range(2)]
    amounts = Amounts.neutral(1, 3)
    amounts.gains[...] = [[0.5, -2, 1]]
    amounts.swaps[...] = [[True, False, True]]
    mixture, targets = make(tracks, starts, amounts, numbers=[1, 0, 1])
    expected = np.zeros((3, 2, INPUT))
    for k, (start, number) in enumerate(zip(starts, [1, 0, 1], strict=True)):
        padded = np.pad(tracks[number][k], ((0, 0), (LEFT, INPUT)))[:, start : start + INPUT]
        expected[k] = amounts.gains[0, k] * (padded[::-1] if amounts.swaps[0, k] else padded)
    assert (mixture == expected.sum(0)).all()
    assert (targets == expected[:, :, LEFT : LEFT + OUTPUT]).all()


def test_targets_are_the_sums_of_their_stems():
    rng = np.random.default_rng(0)
    track = read_only(rng.integers(-99, 99, (5, 2, 30000)).astype(np.int16))
    amounts, starts = Amounts.neutral(1, 5), [5000] * 5
    amounts.gains[...] = [[1, -2, 3, 0.5, 1]]
    _, stems = make([track], starts, amounts)
    mixture, targets = make([track], starts, amounts, owners=[0, 0, 0, 1, 1])
    np.testing.assert_array_equal(targets, [stems[:3].sum(0), stems[3:].sum(0)])
    np.testing.assert_array_equal(mixture[:, LEFT : LEFT + OUTPUT], targets.sum(0))


@pytest.mark.parametrize("tempo", [0.88, 1.12])
def test_first_target_stays_in_place_at_another_tempo(tempo):
    track = np.zeros((1, 2, 60000), np.int16)
    track[..., 20000 + 1500] = 20000  # 1500 samples after the first target
    amounts = Amounts.neutral(1, 1)
    amounts.tempos[...] = tempo
    mixture, targets = make([read_only(track)], [20000], amounts)
    # A click is smeared over some samples; 16 are 1 ms.
    assert np.abs(targets[0, 0]).argmax() == pytest.approx(1500 / tempo, abs=16)
    np.testing.assert_array_equal(mixture[:, LEFT : LEFT + OUTPUT], targets[0])


@pytest.mark.parametrize("speeds", [(0.85, 1.2), (1.0, 1.1)])
def test_speed_moves_pitch_and_time_of_each_group(speeds):
    time = np.arange(60000) / RATE
    tone = 8000 * np.sin(2 * np.pi * 1000 * (time - 20000 / RATE))
    tone[:20000] = 0  # up to the first target
    track = read_only(np.tile(tone.astype(np.int16), (2, 2, 1)))
    amounts = Amounts.neutral(1, 2)
    amounts.speeds[...] = speeds
    mixture, targets = make([track], [20000, 20000], amounts)
    expected = 8000 * np.stack(
        [np.sin(2 * np.pi * 1000 * s * np.arange(OUTPUT) / RATE) for s in speeds]
    )
    inner = slice(100, OUTPUT)  # the tone's beginning rings
    assert np.abs(targets[:, 0] - expected)[:, inner].max() < 80
    np.testing.assert_allclose(mixture[:, LEFT : LEFT + OUTPUT], targets.sum(0), atol=1e-2)


def peak_frequency(samples: np.ndarray) -> float:
    """Return the frequency of the strongest partial, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * RATE / len(samples)


@pytest.mark.parametrize(("tempo", "pitch"), [(0.88, 2), (1.0, -2), (1.12, 0)])
def test_stretch_changes_tempo_and_pitch_independently(tempo, pitch):
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)[None]
    stretched = stretch(tone, RATE, tempo, pitch)
    assert stretched.shape == (1, round(RATE / tempo)) and stretched.dtype == np.float32
    middle = stretched[0, 4000:12000]
    assert peak_frequency(middle) == pytest.approx(440 * 2 ** (pitch / 12), rel=0.01)
    assert np.abs(middle).max() == pytest.approx(1, abs=0.3)


def test_stretch_scales_time_from_the_first_sample():
    click = np.zeros((2, RATE), np.float32)
    click[:, 10000] = 1
    for tempo in (0.88, 1.12):
        stretched = stretch(click, RATE, tempo, 0)
        assert np.abs(stretched[1]).argmax() == pytest.approx(10000 / tempo, abs=5)


def test_stretch_is_deterministic():
    noise = np.random.default_rng(0).normal(size=(2, 3000)).astype(np.float32)
    assert (stretch(noise, RATE, 1.1, 1) == stretch(noise, RATE, 1.1, 1)).all()


DOUBLED = "def doubled(x):\n    return 2 * x\n"


def test_machine_code_is_kept_for_the_next_process_where_it_can_be(tmp_path):
    """A second compilation of the same file stands for the next process."""
    module = tmp_path / "doubled.py"
    module.write_text(DOUBLED)
    hits = []
    for _ in range(2):
        names: dict = {}
        exec(compile(DOUBLED, str(module), "exec"), {"__name__": "doubled"}, names)
        function = mixing.compiled(names["doubled"])
        assert function(3) == 6
        hits.append(sum(function.stats.cache_hits.values()))
    assert hits == [0, 1]
    assert list(tmp_path.rglob("*.nbi"))


def test_function_without_a_place_for_its_machine_code_is_compiled():
    names: dict = {}
    exec(DOUBLED, {"__name__": "doubled"}, names)  # of no file
    function = mixing.compiled(names["doubled"])
    assert function(3) == 6 and function.stats.cache_path is None
