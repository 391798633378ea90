"""Figures of a data set: two aggregations, never mixed; the table says which is which."""

import json

import numpy as np
import pytest

from asteroid_waveunet.experiment.evaluation import aggregation
from helpers.scores import TWO, track_of


def test_both_aggregations_leave_nan_windows_out_and_count_them():
    scores = [track_of([1, 2, np.nan, 9]), track_of([4]), track_of([np.nan]), track_of([0, 0])]
    figures = aggregation.summarise(scores)["vocals"]["SDR"]
    pooled = np.array([1, 2, 9, 4, 0, 0])
    assert figures == {
        "median": 1.5,
        "mad": 1.5,  # |pooled - 1.5| = .5 .5 7.5 2.5 1.5 1.5
        "mean": pooled.mean(),
        "sd": pooled.std(),
        "median_of_medians": 2,  # of 2, 4, 0
        "windows": 6,
        "nan_windows": 2,
        "tracks": 3,
    }


def test_two_and_four_source_scores_are_never_mixed():
    with pytest.raises(ValueError, match="cannot be compared"):
        aggregation.summarise([track_of([1]), track_of([1], source="bass")])
    with pytest.raises(ValueError, match="cannot be compared"):
        aggregation.summarise([track_of([1], protocol=TWO), track_of([1], protocol=("vocals",))])
    with pytest.raises(ValueError, match="scores"):
        aggregation.summarise([])


def test_the_table_has_a_row_a_source_and_their_average_for_each_system():
    summary = aggregation.summarise([track_of([1.234, 5, np.nan])])
    two = {**summary, "bass": aggregation.summarise([track_of([1.0])])["vocals"]}
    mixture = {name: aggregation.summarise([track_of([0.5])])["vocals"] for name in two}
    header, _, vocals, bass, average, *others = aggregation.table(
        {"these": two, "mixture": mixture}
    ).splitlines()
    assert header.startswith("| estimates | source | SDR | MAD | mean | SD | SDR by track |")
    assert vocals == ("| these | vocals | 3.12 | 1.88 | 3.12 | 1.88 | 3.12 | – | – | – | 2 | 1 |")
    assert bass.startswith("| these | bass | 1.00 |")
    assert average == ("| these | average | 2.06 | 0.94 | 2.06 | 0.94 | 2.06 | – | – | – | – | – |")
    assert others[0].startswith("| mixture | vocals | 0.50 |") and len(others) == 3
    assert len(aggregation.table({"these": summary}).splitlines()) == 3, "one needs no average"


def test_a_summary_without_a_figure_is_json():
    summary = aggregation.finite(aggregation.summarise([track_of([np.nan])]))
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text)["vocals"]["SDR"]["median"] is None


def test_what_has_no_score_is_said_once_for_all_tracks():
    counts = {"silent_reference": 2, "silent_throughout": 1, "silent_estimate": 0, "perfect": 1}
    track = {**track_of([1.0]), "unscored": {"vocals": counts}}
    (once, *_) = aggregation.remarks([{**track, "unscored": {"vocals": {"silent_estimate": 1}}}])
    assert once == "the estimate of vocals is silent in 1 window, which have no score in any source"
    said = aggregation.remarks([track, track, track_of([1.0], name="PR - Oh No")])
    assert said == [
        "vocals is silent in 4 windows, which have no score in any source",
        "the estimate of vocals is silent throughout 2 tracks; museval refuses that, and its SDR "
        "alone is given (0 dB for zeros)",
        "the estimate of vocals is the reference itself in 2 windows, which have no score of it",
        "in PR - Oh No the sources do not sum to the mixture in the left channel",
    ]
