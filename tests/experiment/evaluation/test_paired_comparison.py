"""Two systems' scores, paired by track: differences and their confidence intervals."""

import json

import numpy as np
import pytest

from asteroid_waveunet.experiment.evaluation import paired_comparison
from asteroid_waveunet.experiment.evaluation.paired_comparison import compare
from helpers.scores import STEMS, TWO, track_of


def write_scores(tracks, path):
    path.mkdir(parents=True)
    for track in tracks:
        (path / f"{track['track']}.json").write_text(json.dumps(track))
    return path


def system(*tracks, **how):
    return {f"t{i}": track_of(list(sdr), name=f"t{i}", **how) for i, sdr in enumerate(tracks)}


def test_figures_use_only_windows_scored_in_both():
    first = system([1, 2, np.nan, 9], [0, 4], [np.nan])
    second = system([2, np.nan, 5, 9], [1, 7], [3])
    (found,) = compare(first, second)
    # both: t0 (1, 9) and (2, 9); t1 (0, 4) and (1, 7)
    assert (found.n_tracks, found.n_windows, found.n_nan) == (2, 4, 3)
    assert found.pooled == (2.5, 4.5) and found.by_track == (3.5, 4.75)
    assert found.pooled_difference[0] == 2.0 and found.by_track_difference[0] == 1.25
    assert found.n_better == 2
    (rounded,) = compare(system([1.0], [2.0]), system([1.0 + 1e-9], [2.5]))
    assert rounded.n_better == 1, "a difference within rounding is not better"


def test_constant_difference_has_an_interval_of_zero_width():
    rng = np.random.default_rng(0)
    tracks = [rng.normal(rng.normal(0, 10), 3, 20) for _ in range(12)]
    (found,) = compare(system(*tracks), system(*(track + 0.1 for track in tracks)))
    for difference in (found.pooled_difference, found.by_track_difference):
        np.testing.assert_allclose(difference, 0.1, atol=1e-12)


def test_intervals_cover_zero_as_often_as_claimed(monkeypatch):
    """Nearly all 95 % intervals of 20 comparisons of pure noise contain 0."""
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 1000)
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(20):
        pair = [[rng.normal(level, 1, 5) for level in range(20)] for _ in range(2)]
        (found,) = compare(system(*pair[0]), system(*pair[1]))
        _, low, high = found.by_track_difference
        covered += low <= 0 <= high
    assert covered >= 17


def test_interval_holds_the_middle_95_percent():
    differences = np.linspace(0, 1, 1001)
    drawn = np.stack([np.full(1001, 3.0), 3.0 + differences], axis=1)
    found = paired_comparison._with_interval(np.array([3.0, 3.5]), drawn)
    assert found == pytest.approx((0.5, 0.025, 0.975))


def test_interval_depends_on_the_seed_only():
    rng = np.random.default_rng(2)
    first, second = (system(*rng.normal(size=(10, 6))) for _ in range(2))
    assert compare(first, second) == compare(first, second)
    assert compare(first, second, seed=1) != compare(first, second)


def test_compare_refuses_other_protocols_tracks_windows_and_metrics():
    two = system([1.0], protocol=list(TWO))
    four = system([1.0], protocol=list(STEMS))
    longer = system([1.0, 2.0], protocol=list(TWO))
    without = system([1.0])
    del without["t0"]["targets"][0]["frames"][0]["metrics"]["SIR"]
    for arguments, message in (
        ((two, four), "first is two-source .*; the second is four-source"),
        ((two, {"x": two["t0"]}), "the first has t0, the second x"),
        ((two, longer), "t0 has 1 windows .* 2 in"),
        ((two, two, "SIR"), "SIR of vocals .*--fast"),
        ((without, system([1.0]), "SIR"), "t0 has no SIR of vocals"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(*arguments)


def test_vocals_of_musevals_five_target_files_are_two_source():
    names = (*STEMS, "accompaniment")
    file = {"targets": [track_of([1.0], source=name)["targets"][0] for name in names]}
    two = system([3.0], protocol=["vocals", "accompaniment"])
    (found,) = compare({"t0": file}, two)
    assert found.protocol == TWO and found.target == "vocals"
    with pytest.raises(ValueError, match="two-source .* four-source"):
        compare({"t0": file}, system([3.0], protocol=list(STEMS)))


def test_load_reads_both_layouts_and_refuses_two_subsets(tmp_path):
    tracks = [track_of([1.0, np.nan], name="A. B. - one"), track_of([2.0], name="C")]
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "summary.json").write_text("{}")
    write_scores(tracks, tmp_path / "ours" / "test")
    write_scores(tracks, tmp_path / "flat")
    (tmp_path / "flat" / "evaluation.json").write_text('{"fingerprint": "m"}')
    for name in ("ours", "flat", "ours/test"):
        assert list(paired_comparison.load(tmp_path / name)) == ["A. B. - one", "C"], name
    write_scores(tracks, tmp_path / "ours" / "train")
    with pytest.raises(ValueError, match="train and test"):
        paired_comparison.load(tmp_path / "ours")
    with pytest.raises(FileNotFoundError, match="none/test"):
        paired_comparison.load(tmp_path / "none")
    for text in ('{"targets": [{"frames": []}]}', "[1", '{"targets": [1]}', '{"targets": []}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match="x.json is not in museval's format"):
            pytest.fail(f"read {text}: {paired_comparison.load(tmp_path)}")


def test_unmatched_tracks_and_targets_are_listed():
    first, second = system([1.0], [2.0], [3.0]), system([1.0])
    first["t0"]["targets"] += track_of([1.0], source="bass")["targets"]
    assert paired_comparison.unmatched(first, second) == [
        "2 tracks only in the first: t1, t2",
        "only in the first: vocals of 2-source (bass, vocals)",
        "only in the first: bass of 2-source (bass, vocals)",
        "only in the second: vocals of 1-source (vocals)",
    ]
    assert paired_comparison.unmatched(second, second) == []


def test_table_names_the_systems_and_the_protocol():
    first, second = system([1, 2], [3, 4], protocol=TWO), system([2, 3], [4, 5], protocol=TWO)
    text = paired_comparison.table(compare(first, second), ("old", "new"))
    assert "| windows | NaN | old, pooled | new, pooled | difference, pooled |" in text
    assert "| vocals | 2 | 4 | 0 | 2.50 | 3.50 | +1.00 (+1.00 to +1.00) |" in text
    assert "| 2 of 2 |" in text
    assert "two-source (accompaniment, vocals)" in text and "95 %" in text
