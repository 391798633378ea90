"""Figures of a data set: two aggregations, their table, remarks on the scores."""

import json

import numpy as np
import pytest

from asteroid_waveunet.experiment.evaluation import aggregation
from helpers.scores import TWO, track_of


def test_both_aggregations_count_nan_windows_and_leave_them_out():
    scores = [track_of([1, 2, np.nan, 9]), track_of([4]), track_of([np.nan]), track_of([0, 1])]
    figures = aggregation.summarise(scores)["vocals"]["SDR"]
    pooled = np.array([1, 2, 9, 4, 0, 1])
    assert figures == {
        "median": 1.5,
        "mad": 1.0,  # |pooled - 1.5| = .5 .5 7.5 2.5 1.5 .5
        "mean": pooled.mean(),
        "sd": pooled.std(),
        "median_of_medians": 2,  # of 2, 4, 0.5
        "windows": 6,
        "nan_windows": 2,
        "tracks": 3,
    }


def test_summarise_refuses_tracks_of_different_protocols():
    for scores in (
        [track_of([1]), track_of([1], source="bass")],
        [track_of([1], protocol=TWO), track_of([1], protocol=("vocals",))],
        [],
    ):
        with pytest.raises(ValueError, match="vocals|\\[\\]"):
            aggregation.summarise(scores)


def test_table_has_a_row_per_source_and_their_average():
    summary = aggregation.summarise([track_of([1.234, 5, np.nan])])
    two = {**summary, "bass": aggregation.summarise([track_of([1.0])])["vocals"]}
    mixture = {name: aggregation.summarise([track_of([0.5])])["vocals"] for name in two}
    header, _, vocals, bass, average, *others = aggregation.table(
        {"model": two, "mixture": mixture}
    ).splitlines()
    assert header.startswith("| estimates | source | SDR | MAD | mean | SD | SDR by track |")
    assert vocals == ("| model | vocals | 3.12 | 1.88 | 3.12 | 1.88 | 3.12 | – | – | – | 2 | 1 |")
    assert bass.startswith("| model | bass | 1.00 |")
    assert average == ("| model | average | 2.06 | 0.94 | 2.06 | 0.94 | 2.06 | – | – | – | – | – |")
    assert others[0].startswith("| mixture | vocals | 0.50 |") and len(others) == 3
    assert len(aggregation.table({"model": summary}).splitlines()) == 3, "no average of one source"


def test_missing_figures_are_null_in_json():
    summary = aggregation.nan_to_none(aggregation.summarise([track_of([np.nan])]))
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text)["vocals"]["SDR"]["median"] is None


def test_remarks_sum_the_reasons_over_tracks():
    counts = {"silent_reference": 2, "silent_throughout": 1, "silent_estimate": 0, "perfect": 1}
    track = {**track_of([1.0]), "unscored": {"vocals": counts}}
    (once, *_) = aggregation.remarks([{**track, "unscored": {"vocals": {"silent_estimate": 1}}}])
    assert "estimate of vocals is silent in 1 window:" in once
    silent, throughout, perfect, fault = aggregation.remarks(
        [track, track, track_of([1.0], name="PR - Oh No")]
    )
    assert silent.startswith("vocals is silent in 4 windows:")
    assert "silent throughout 2 tracks" in throughout and "0 dB" in throughout
    assert "equals the reference in 2 windows" in perfect
    assert fault.startswith("in PR - Oh No ") and "mixture" in fault
