"""Two systems' scores, paired by track: what differs, and how surely."""

import json

import numpy as np
import pytest

from asteroid_waveunet.experiment.evaluation import paired_comparison
from asteroid_waveunet.experiment.evaluation.paired_comparison import compare
from helpers.scores import STEMS, TWO, track_of


def folder_of(tracks, path):
    path.mkdir(parents=True)
    for track in tracks:
        (path / f"{track['track']}.json").write_text(json.dumps(track))
    return path


def system(*tracks, **how):
    return {f"t{i}": track_of(list(sdr), name=f"t{i}", **how) for i, sdr in enumerate(tracks)}


def test_figures_are_of_the_windows_that_both_have():
    first = system([1, 2, np.nan, 9], [0, 4], [np.nan])
    second = system([2, np.nan, 5, 9], [1, 7], [3])
    (found,) = compare(first, second)
    # both: t0 (1, 9) and (2, 9); t1 (0, 4) and (1, 7)
    assert (found.n_tracks, found.n_windows, found.n_nan) == (2, 4, 3)
    assert found.pooled == (2.5, 4.5) and found.by_track == (3.5, 4.75)
    assert found.pooled_difference[0] == 2.0 and found.by_track_difference[0] == 1.25
    assert found.n_better == 2


def test_a_constant_difference_is_certain_however_much_tracks_differ():
    rng = np.random.default_rng(0)
    tracks = [rng.normal(rng.normal(0, 10), 3, 20) for _ in range(12)]
    (found,) = compare(system(*tracks), system(*(track + 0.1 for track in tracks)))
    for difference in (found.pooled_difference, found.by_track_difference):
        np.testing.assert_allclose(difference, 0.1, atol=1e-12)


def test_no_difference_is_not_found_and_intervals_hold_as_often_as_they_say():
    """Of 20 comparisons of the same system's noise, 95 % intervals hold 0 nearly always."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(20):
        pair = [[rng.normal(level, 1, 5) for level in range(20)] for _ in range(2)]
        (found,) = compare(system(*pair[0]), system(*pair[1]))
        _, low, high = found.by_track_difference
        held += low <= 0 <= high
    assert held >= 17


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(2)
    first, second = (system(*rng.normal(size=(10, 6))) for _ in range(2))
    assert compare(first, second) == compare(first, second)
    assert compare(first, second, seed=1) != compare(first, second)


def test_protocols_are_never_compared():
    two = system([1.0], protocol=list(TWO))
    four = system([1.0], protocol=list(STEMS))
    with pytest.raises(ValueError, match="first is two-source .*; the second is four-source"):
        compare(two, four)
    with pytest.raises(ValueError, match="no track in common: the first has t0, the second x"):
        compare(two, {"x": two["t0"]})
    with pytest.raises(ValueError, match="t0 has 1 windows in one and 2 in the other"):
        compare(two, system([1.0, 2.0], protocol=list(TWO)))


def test_vocals_beside_accompaniment_in_musevals_files_are_the_two_source_ones():
    names = (*STEMS, "accompaniment")
    file = {"targets": [track_of([1.0], source=name)["targets"][0] for name in names]}
    two = system([3.0], protocol=["vocals", "accompaniment"])
    (found,) = compare({"t0": file}, two)
    assert found.protocol == TWO and found.target == "vocals"
    with pytest.raises(ValueError, match="not scored alike"):
        compare({"t0": file}, system([3.0], protocol=list(STEMS)))


def test_folders_of_ours_of_musevals_and_of_sisecs(tmp_path):
    tracks = [track_of([1.0, np.nan], name="A. B. - one"), track_of([2.0], name="C")]
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "summary.json").write_text("{}")
    folder_of(tracks, tmp_path / "ours" / "test")
    folder_of(tracks, tmp_path / "flat")
    (tmp_path / "flat" / "evaluation.json").write_text('{"fingerprint": "m"}')
    for name in ("ours", "flat"):
        assert list(paired_comparison.load(tmp_path / name)) == ["A. B. - one", "C"]


def test_two_subsets_are_not_mixed(tmp_path):
    for subset in ("train", "test"):
        folder_of([track_of([1.0])], tmp_path / subset)
    with pytest.raises(ValueError, match="scores of train and test; name one"):
        paired_comparison.load(tmp_path)
    assert list(paired_comparison.load(tmp_path / "test")) == ["t"]


def test_what_is_not_compared_is_said():
    first, second = system([1.0], [2.0], [3.0]), system([1.0])
    first["t0"]["targets"] += track_of([1.0], source="bass")["targets"]
    assert paired_comparison.not_compared(first, second) == [
        "2 tracks only in the first: t1, t2",
        "only in the first: vocals of 2-source (bass, vocals)",
        "only in the first: bass of 2-source (bass, vocals)",
        "only in the second: vocals of 1-source (vocals)",
    ]
    assert paired_comparison.not_compared(second, second) == []


def test_a_metric_that_is_not_there_is_said():
    fast, without = system([1.0]), system([1.0])
    with pytest.raises(ValueError, match="No window has the SIR of vocals in both; `--fast`"):
        compare(fast, fast, "SIR")
    del without["t0"]["targets"][0]["frames"][0]["metrics"]["SIR"]
    with pytest.raises(ValueError, match="t0 has no SIR of vocals"):
        compare(without, fast, "SIR")


def test_rounding_makes_nothing_better():
    first = system([1.0], [2.0])
    (found,) = compare(first, system([1.0 + 1e-9], [2.5]))
    assert found.n_better == 1


@pytest.mark.parametrize(
    "text", ['{"targets": [{"frames": []}]}', "[1", '{"targets": [1]}', '{"targets": []}']
)
def test_what_is_not_in_musevals_format_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match="x.json is not in museval's format"):
        paired_comparison.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no scores in"):
        paired_comparison.load(tmp_path / "none")


def test_the_table_says_what_it_compares():
    first, second = system([1, 2], [3, 4], protocol=TWO), system([2, 3], [4, 5], protocol=TWO)
    text = paired_comparison.table(compare(first, second), ("old", "new"))
    assert (
        "| target | tracks | windows | NaN | old, pooled | new, pooled | difference, pooled |"
        in text
    )
    assert "| vocals | 2 | 4 | 0 | 2.50 | 3.50 | +1.00 (+1.00 to +1.00) |" in text
    assert "| 2 of 2 |" in text
    assert "two-source (accompaniment, vocals)" in text and "95 %" in text
