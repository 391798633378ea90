"""Nearly silent windows and their effect on mean and median."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.paper_figures import silent_windows

RATE = 100


@dataclass(frozen=True)
class Levels:
    """A track with these levels of the vocals in dBFS, one per second."""

    name: str
    levels: list[float] = field(default_factory=list)
    stems = ("bass", "drums", "vocals")

    def read_all(self, names=None):
        steps = torch.tensor([10 ** (level / 20) for level in self.levels])
        vocals = steps.repeat_interleave(RATE).repeat(2, 1)
        stems = {"vocals": vocals, "bass": 0.5 * vocals, "drums": 0.5 * vocals}
        return {name: stems[name] for name in names}, RATE


def scores_of(name, sdrs, targets=("vocals",)):
    frames = [
        {"time": float(t), "duration": 1.0, "metrics": {"SDR": sdr}} for t, sdr in enumerate(sdrs)
    ]
    return {"track": name, "targets": [{"name": target, "frames": frames} for target in targets]}


def test_scores_are_paired_with_the_level_of_their_window():
    tracks = [Levels("a", [-10, -80, -20]), Levels("b", [-30])]
    scores = {"a": scores_of("a", [5.0, -40.0, np.nan]), "b": scores_of("b", [4.0])}
    (found,) = silent_windows.measure(scores, [*tracks, Levels("not scored", [0])]).values()
    np.testing.assert_allclose(found.levels, [-10, -80, -30], atol=1e-4)
    assert found.sdrs.tolist() == [5.0, -40.0, 4.0]


def test_accompaniment_is_the_sum_of_its_stems():
    scores = {"a": scores_of("a", [5.0], ("accompaniment", "vocals"))}
    found = silent_windows.measure(scores, [Levels("a", [-10])])
    assert [*found] == ["accompaniment", "vocals"]
    np.testing.assert_allclose(found["accompaniment"].levels, found["vocals"].levels, atol=1e-5)


def test_windows_with_null_or_nan_scores_are_ignored():
    """Other programs write null for NaN, which JSON lacks."""
    found = silent_windows.measure({"a": scores_of("a", [5.0, None])}, [Levels("a", [-10, -80])])
    assert found["vocals"].sdrs.tolist() == [5.0]


def test_outlier_shifts_the_mean_and_hardly_the_median():
    sdrs = [3.0, 4.0, 5.0, 6.0, -96.0]
    scores = {"a": scores_of("a", sdrs)}
    found = silent_windows.measure(scores, [Levels("a", [-10, -10, -10, -10, -70])])
    windows = found["vocals"]
    assert (windows.figures["mean"], windows.figures["median"]) == (-15.6, 4.0)
    loud = windows.above(-50).figures
    assert (loud["mean"], loud["median"], loud["windows"]) == (4.5, 4.5, 4)
    text = silent_windows.table(found)
    assert "| vocals | 5 | -15.60 | 4.00 | 40.21 | 1.00 |" in text
    assert "| vocals, -50 dBFS or more | 4 | 4.50 | 4.50 | 1.12 | 1.00 |" in text
    assert "| vocals, change | -1 | +20.10 | +0.50 | -39.09 | +0.00 |" in text


def test_source_without_loud_windows_has_dashes():
    found = silent_windows.measure({"a": scores_of("a", [1.0])}, [Levels("a", [-70])])
    assert "| vocals, -50 dBFS or more | 0 | – | – | – | – |" in silent_windows.table(found)
    silent_windows.draw(found)


def test_scores_of_other_tracks_are_rejected():
    with pytest.raises(ValueError, match="scored tracks b"):
        silent_windows.measure({"b": scores_of("b", [1.0])}, [Levels("a", [0])])
    with pytest.raises(ValueError, match="vocals of a.* 1 s"):
        silent_windows.measure({"a": scores_of("a", [1.0, 2.0])}, [Levels("a", [0])])
