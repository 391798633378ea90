"""One table of several experiments."""

from __future__ import annotations

import dataclasses

import pytest

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.evaluation.model_cost import Costs
from asteroid_waveunet.experiment.report import benchmark_table
from asteroid_waveunet.experiment.settings import Training
from helpers import trained
from helpers.scores import TWO, track_of


def scores(vocals, rest, name="song"):
    """Return the scores of a track with these SDRs of two sources."""
    targets = [
        track_of(sdr, source)["targets"][0] for source, sdr in zip(TWO, (rest, vocals), strict=True)
    ]
    return {"track": name, "protocol": list(TWO), "targets": targets}


def entry(name, *tracks, costs=None, **changed):
    baselines = {"mixture": [scores([0.0], [1.0])], "ideal ratio mask": [scores([8.0], [9.0])]}
    found = Evaluation(name, "x", "model", TWO, True, list(tracks), baselines, {})
    return benchmark_table.Entry(
        name, **{"sample_rate": 22050.0, "channels": 2, "minutes": 12.0, **changed},
        evaluation=found, costs=costs,
    )  # fmt: skip


COSTS = Costs(512022, 3.3e9, 0.0123, 0.5, 0.125, "2 threads")


def test_table_has_both_aggregations_costs_and_baselines():
    first = entry("m4", scores([1, 2, 9], [5, 5, 5]), scores([-4], [7.0], "two"), costs=COSTS)
    second = entry(
        "m7", scores([0.0] * 3, [0] * 3), scores([0.0], [0], "two"),
        sample_rate=8192.0, channels=1, minutes=11.96,
    )  # fmt: skip
    lines = benchmark_table.table([first, second]).splitlines()
    assert lines[0] == (
        "SDR of BSS Eval v4, windows of 1 s, two-source (accompaniment, vocals), 2 tracks."
    )
    assert lines[2] == (
        "| system | audio | music, min | accompaniment, pooled | vocals, pooled "
        "| accompaniment, by track | vocals, by track "
        "| accompaniment, against m4 | vocals, against m4 | weights, M | multiply-adds, G / s "
        "| compute, s / s | memory, GB | of which for the track |"
    )
    # Vocals, pooled: of -4 1 2 9; by track: of 2 and -4.
    assert lines[4] == (
        "| m4 | 22050 Hz stereo | 12.0 | 5.00 | 1.50 | 6.00 | −1.00 |  |  "
        "| 0.51 | 3.30 | 0.0123 | 0.50 | 0.12 |"
    )
    # Resampled, two tracks are both the first, both the second (a quarter each), or one of each.
    assert lines[5] == (
        "| m7 | 8192 Hz mono | 12.0 | 0.00 | 0.00 | 0.00 | 0.00 "
        "| -6.00 (-7.00 to -5.00) | +1.00 (-2.00 to +4.00) | – | – | – | – | – |"
    )
    assert lines[6] == "| mixture |  |  | 1.00 | 0.00 | 1.00 | 0.00 |  |  |  |  |  |  |  |"
    assert lines[7].startswith("| ideal ratio mask |")
    assert "Measured on 2 threads." in lines[9]


def test_shared_remarks_appear_once_and_others_with_the_system_name():
    silent = {"unscored": {"vocals": {"silent_reference": 2}}}
    own = {"unscored": {"vocals": {"silent_reference": 2, "silent_throughout": 1}}}
    plain, odd = {**scores([1], [1]), **silent}, {**scores([1], [1]), **own}
    entries = [entry("m4", plain), entry("m5", odd, unusual=["in segments", "levels fitted"])]
    said = benchmark_table.table(entries).splitlines()[-3:]
    assert said[0].startswith("- vocals is silent in 2 windows")
    assert said[1] == "- m5: scored differently: in segments, levels fitted"
    assert said[2].startswith("- m5: the estimate of vocals is silent throughout 1 track")


def test_table_rejects_differing_tracks_and_no_entries():
    with pytest.raises(ValueError, match="m5 and m4.*same tracks"):
        benchmark_table.table(
            [entry("m4", scores([1], [1])), entry("m5", scores([1], [1], "other"))]
        )
    with pytest.raises(ValueError, match="nothing to compare"):
        benchmark_table.table([])


def test_epoch_length_covers_the_music_with_less_than_one_surplus_batch_per_epoch():
    for model, training in (
        ({"preset": "M4", "levels": 3}, Training(segment_length=4000, batch_size=7, max_epochs=3)),
        (
            {"architecture": "SpectrogramUNet", "initial_filters": 1},
            Training(segment_length=98048, batch_size=1, accumulate=2, max_epochs=2),
        ),
    ):
        configuration = Configuration(model, training=training)
        length = benchmark_table.epoch_length(configuration, minutes=5)
        batch = training.batch_size * training.accumulate
        made = configuration.make_model()
        seconds = made.geometry.fit(training.segment_length).output / made.sample_rate
        assert length % batch == 0, model
        surplus = length * training.max_epochs * seconds - 300
        assert -1e-6 <= surplus < batch * training.max_epochs * seconds, model


def test_entry_is_read_from_the_experiment(tmp_path):
    configuration, places = trained.experiment(tmp_path)
    assert benchmark_table.read("demo", configuration, places).minutes == 0, "no curves"
    places.curves.parent.mkdir(parents=True)
    places.curves.write_text("epoch,step,loss\n0,1,0.5\n1,3,0.4\n,3,\n")
    shorter = Training(segment_length=4096, epoch_length=6)
    read = benchmark_table.read(
        "demo", dataclasses.replace(configuration, training=shorter), places
    )
    assert read.unusual == []
    model = configuration.make_model()
    output = model.geometry.fit(4096).output
    assert read.minutes == pytest.approx(2 * 6 * output / model.sample_rate / 60)
    assert (read.sample_rate, read.channels) == (model.sample_rate, 2)
    assert "| demo |" in benchmark_table.table([read])
