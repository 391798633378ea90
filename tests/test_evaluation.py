"""Scores: museval's numbers, where museval gives some, and honest ones where it does not."""

import json
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment import aggregation, evaluation, musdb
from asteroid_waveunet.experiment.evaluation import METRICS, score_track, window_sdr

RATE = 1000  # museval's filters have 512 taps at any rate: low rates keep the tests fast


def music(n_src=2, channels=2, seconds=4.3, seed=0) -> np.ndarray:
    """Coloured noise whose level changes from second to second."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n_src, channels, int(seconds * RATE)))
    level = np.repeat(rng.uniform(0.05, 1.0, (n_src, 1, 10)), RATE, axis=-1)
    return (white + np.roll(white, 1, -1)) * level[..., : white.shape[-1]]


def degraded(references: np.ndarray, seed=1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bleed = 0.2 * references.sum(axis=0)
    return 0.9 * references + bleed + 0.05 * rng.standard_normal(references.shape)


def museval_scores(references, estimates) -> np.ndarray:
    """museval called directly: `(4, n_src, n_windows)` in the order of METRICS."""
    arguments = [x.transpose(0, 2, 1) for x in (references, estimates)]
    museval = evaluation._museval()
    sdr, isr, sir, sar = museval.evaluate(*arguments, win=RATE, hop=RATE)
    return np.stack([sdr, sir, isr, sar])


def named(samples: np.ndarray, names=("accompaniment", "vocals")) -> dict[str, np.ndarray]:
    return dict(zip(names, samples, strict=True))


def windows(scores: dict) -> np.ndarray:
    """`(4, n_src, n_windows)` from museval's json format."""
    return np.array(
        [
            [[f["metrics"][m] for f in target["frames"]] for target in scores["targets"]]
            for m in METRICS
        ]
    )


# --- window_sdr ---


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.6, 1.0, 1.4, 3.0, 3.9])
def test_window_sdr_is_musevals(channels, seconds):
    references = music(2, channels, seconds)
    estimates = degraded(references)
    expected = museval_scores(references, estimates)[0]
    result = window_sdr(references, estimates, RATE)
    assert result.shape == expected.shape == (2, max(1, int(seconds)))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


def test_window_sdr_leaves_out_the_windows_that_museval_leaves_out():
    references = music(3, seconds=6.0)
    estimates = degraded(references)
    references[0, :, :RATE] = 0  # a silent reference
    estimates[2, :, RATE : 2 * RATE] = 0  # a silent estimate
    references[1, 0, 2 * RATE : 3 * RATE] = 0  # one silent channel is no silence
    references[1, 1, 3 * RATE : 4 * RATE] = -references[1, 0, 3 * RATE : 4 * RATE]  # sums to zero
    references[0, :, 4 * RATE : 4 * RATE + 999] = 0  # one sample is no silence
    expected = museval_scores(references, estimates)[0]
    result = window_sdr(references, estimates, RATE)
    assert np.isnan(result).all(axis=0).tolist() == [True, True, False, True, False, False]
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


def test_a_perfect_window_is_infinite_as_in_museval():
    references = music(seconds=2.0)
    estimates = references.copy()
    estimates[1, :, RATE:] *= 0.9
    expected = museval_scores(references, estimates)[0]
    result = window_sdr(references, estimates, RATE)
    assert np.isposinf(result).tolist() == [[True, True], [True, False]]
    # museval adds and subtracts its projections: perfect is +inf or, to rounding, 300 dB.
    assert (expected[np.isinf(result)] > 250).all()
    assert abs(result[1, 1] - 20) < 1e-9


def test_window_sdr_takes_float32_tensors_and_computes_in_float64():
    references = music().astype(np.float32)
    estimates = degraded(references).astype(np.float32)
    result = window_sdr(torch.from_numpy(references), torch.from_numpy(estimates), RATE)
    assert result.dtype == np.float64
    expected = window_sdr(references.astype(np.float64), estimates.astype(np.float64), RATE)
    assert (result == expected).all()


def test_window_sdr_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(2, 2, 4300\).*\(2, 1, 4300\).*one shape"):
        window_sdr(music(), music(channels=1), RATE)
    with pytest.raises(ValueError, match="n_src, channels, time"):
        window_sdr(music()[0], music()[0], RATE)


# --- score_track ---


def test_scores_are_musevals_in_its_own_format():
    references = music(seconds=3.4)
    references[1, :, :RATE] = 0
    estimates = degraded(references)
    names = ("drums", "bass")
    scores = score_track(named(references, names), named(estimates, names), RATE, "song")
    np.testing.assert_allclose(
        windows(scores), museval_scores(references, estimates), rtol=0, atol=0.51e-5
    )
    assert scores["track"] == "song"
    assert [target["name"] for target in scores["targets"]] == list(names)
    frame = scores["targets"][1]["frames"][2]
    assert (frame["time"], frame["duration"]) == (2.0, 1.0)


def test_museval_reads_what_we_write(tmp_path):
    references = music(seconds=3.0)
    scores = score_track(named(references), named(degraded(references)), RATE, "A. B. - C")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "A. B. - C.json").write_text(json.dumps(scores))
    store = evaluation._museval().EvalStore()
    store.add_eval_dir(tmp_path)
    medians = store.agg_frames_scores()
    summary = aggregation.summarise([scores])
    assert medians["A. B. - C", "vocals", "SIR"] == summary["vocals"]["SIR"]["median"]


def test_mono_estimates_are_copied_to_both_channels():
    references = music(seconds=2.0)
    mono = degraded(references)[:, :1]
    copied = np.repeat(mono, 2, axis=1)
    assert score_track(named(references), named(mono), RATE, "song") == score_track(
        named(references), named(copied), RATE, "song"
    )


def test_a_silent_estimate_has_0_db_and_leaves_the_others_scores_alone():
    references = music(3, seconds=3.0)
    references[0, :, RATE : 2 * RATE] = 0
    estimates = degraded(references)
    full = museval_scores(references, estimates)
    estimates[1] = 0
    names = ("bass", "drums", "vocals")
    result = windows(score_track(named(references, names), named(estimates, names), RATE, "s"))
    assert np.isnan(result[:, :, 1]).all()
    scored = [0, 2]
    assert (result[0, 1, scored] == 0).all() and np.isnan(result[1:, 1]).all()
    np.testing.assert_allclose(result[:, 0], full[:, 0], atol=1e-5)
    np.testing.assert_allclose(result[:, 2], full[:, 2], atol=1e-5)


def test_a_silent_reference_leaves_the_track_without_scores_but_counted():
    references = music(seconds=3.0)
    references[1] = 0
    scores = score_track(named(references), named(degraded(references)), RATE, "song")
    assert np.isnan(windows(scores)).all()
    figures = aggregation.summarise([scores])["vocals"]["SDR"]
    assert (figures["windows"], figures["nan_windows"], figures["tracks"]) == (0, 3, 0)
    assert np.isnan(figures["median"])


def test_what_cannot_be_scored_is_refused_with_the_tracks_name():
    references = music()
    estimates = degraded(references)
    with pytest.raises(ValueError, match="song: museval needs two targets.*'vocals'"):
        score_track({"vocals": references[0]}, {"vocals": estimates[0]}, RATE, "song")
    with pytest.raises(ValueError, match="references are accompaniment, vocals but estimates voc"):
        score_track(named(references), {"vocals": estimates[1]}, RATE, "song")
    with pytest.raises(ValueError, match=r"song: the estimate of .*\(2, 4299\).*\(2, 4300\)"):
        score_track(named(references), named(estimates[..., 1:]), RATE, "song")
    with pytest.raises(ValueError, match="or 1 channel for the estimate"):
        score_track(named(references[:, :1]), named(estimates), RATE, "song")
    estimates[1, 0, 7] = np.nan
    with pytest.raises(ValueError, match="the estimate of vocals has NaN"):
        score_track(named(references), named(estimates), RATE, "song")


# --- evaluate ---


@dataclass(frozen=True)
class Song:
    """A track in memory with four stems."""

    name: str
    subset: str = "test"
    seed: int = 0

    def mixture_and_groups(self, sources):
        stems = dict(
            zip(("bass", "drums", "other", "vocals"), music(4, seed=self.seed), strict=True)
        )
        stems = {name: torch.from_numpy(samples).float() for name, samples in stems.items()}
        groups = musdb.sum_groups(stems, musdb.group_stems(sources, tuple(stems)))
        return sum(stems.values()), groups, RATE


SONGS = [Song("A. B. - one", seed=1), Song("C - two", seed=2), Song("D - three", seed=3)]
TWO = ("accompaniment", "vocals")


def half(mixture, rate):
    return dict.fromkeys(TWO, 0.5 * mixture)


def test_every_track_is_scored_once_and_kept(tmp_path):
    asked = []

    def separate(mixture, rate):
        asked.append(rate)
        return half(mixture, rate)

    run = partial(evaluation.evaluate, fingerprint="m", jobs=0, progress=False)
    first = run(SONGS[:2], separate, TWO, tmp_path)
    again = run(SONGS, separate, TWO, tmp_path)
    assert len(asked) == 3
    assert [s["track"] for s in again] == [song.name for song in SONGS]
    assert again[:2] == first
    mixture, groups, rate = SONGS[0].mixture_and_groups(TWO)
    expected = score_track(groups, half(mixture, rate), rate, SONGS[0].name)
    assert again[0] == expected
    assert json.loads((tmp_path / "test" / "A. B. - one.json").read_text()) == expected


def test_processes_give_the_same_scores(tmp_path):
    here = evaluation.evaluate(SONGS[:2], half, TWO, tmp_path / "a", jobs=0, progress=False)
    there = evaluation.evaluate(SONGS[:2], half, TWO, tmp_path / "b", jobs=1, progress=False)
    np.testing.assert_allclose(
        [windows(s) for s in here], [windows(s) for s in there], rtol=0, atol=1.1e-5
    )


def test_a_folder_of_another_models_scores_is_refused(tmp_path):
    evaluation.evaluate(SONGS[:1], half, TWO, tmp_path, fingerprint="old", jobs=0, progress=False)
    with pytest.raises(ValueError, match="fingerprint 'old', not 'new'"):
        evaluation.evaluate(
            SONGS[:1], half, TWO, tmp_path, fingerprint="new", jobs=0, progress=False
        )
    (tmp_path / evaluation.CLAIM).unlink()
    with pytest.raises(ValueError, match="fingerprint None"):
        evaluation.evaluate(SONGS[:1], half, TWO, tmp_path, jobs=0, progress=False)


def test_a_track_that_fails_is_named_and_the_others_are_scored(tmp_path):
    def separate(mixture, rate):
        estimates = half(mixture, rate)
        if mixture.equal(SONGS[1].mixture_and_groups(TWO)[0]):
            del estimates["vocals"]
        if mixture.equal(SONGS[2].mixture_and_groups(TWO)[0]):
            estimates["vocals"] = estimates["vocals"][:, 1:]
        return estimates

    with pytest.raises(ValueError, match="2 of 3 tracks could not be scored") as error:
        evaluation.evaluate(SONGS, separate, TWO, tmp_path, jobs=0, progress=False)
    assert "C - two: no estimate of vocals; the model gave accompaniment" in str(error.value)
    assert "D - three: the estimate of vocals has (channels, time) (2, 4299)" in str(error.value)
    assert [p.name for p in (tmp_path / "test").iterdir()] == ["A. B. - one.json"]


def test_one_source_is_scored_beside_the_rest_of_the_mixture(tmp_path):
    song = SONGS[0]
    mixture, groups, rate = song.mixture_and_groups(["vocals"])
    (scores,) = evaluation.evaluate(
        [song], lambda m, r: {"vocals": 0.3 * m}, ["vocals"], tmp_path, jobs=0, progress=False
    )
    pair = {"vocals": 0.3 * mixture, "rest": mixture - 0.3 * mixture}
    expected = score_track(groups, pair, rate, song.name)
    assert [target["name"] for target in scores["targets"]] == ["vocals"]
    np.testing.assert_allclose(windows(scores)[:, 0], windows(expected)[:, 0], atol=1.1e-5)
    with pytest.raises(ValueError, match="estimate of vocals has 4299 samples, the mixture 4300"):
        evaluation.evaluate(
            [SONGS[1]], lambda m, r: {"vocals": m[:, 1:]}, ["vocals"], tmp_path, jobs=0
        )


def test_a_dead_process_is_replaced():
    with evaluation._scorers(1) as submit:
        assert isinstance(submit(os._exit, 1).exception(), BrokenProcessPool)
        assert submit(abs, -2).result() == 2


def test_processes_are_started_with_one_thread_and_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with evaluation._scorers(1) as submit:
        assert submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


# --- aggregation ---


def track_of(sdr: list[float], source="vocals") -> dict:
    frames = [{"metrics": dict.fromkeys(METRICS, np.nan) | {"SDR": value}} for value in sdr]
    return {"track": "t", "targets": [{"name": source, "frames": frames}]}


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
    with pytest.raises(ValueError, match="scores"):
        aggregation.summarise([])


@pytest.mark.parametrize("sources", [TWO, ("vocals",), ("bass", "drums", "other", "vocals")])
def test_the_baselines_are_the_mixtures_sdr_and_0_db(sources):
    result = evaluation.baselines(SONGS, sources, progress=False)
    per_song = []
    for song in SONGS:
        mixture, groups, rate = song.mixture_and_groups(sources)
        references = torch.stack([*groups.values()])
        per_song.append(window_sdr(references, mixture.expand_as(references), rate))
    for i, source in enumerate(sources):
        expected = np.median(np.concatenate([sdr[i] for sdr in per_song]))
        assert abs(result["mixture"][source]["SDR"]["median"] - expected) < 1e-5
        silence = result["silence"][source]["SDR"]
        assert silence["median"] == silence["mean"] == silence["sd"] == 0
        assert silence["windows"] == result["mixture"][source]["SDR"]["windows"] == 12
    assert set(result["mixture"]) == set(sources)


def test_the_table_has_a_row_a_source_and_their_average():
    summary = aggregation.summarise([track_of([1.234, 5, np.nan])])
    two = {**summary, "bass": aggregation.summarise([track_of([1.0])])["vocals"]}
    mixture = {name: aggregation.summarise([track_of([0.5])])["vocals"] for name in two}
    header, _, vocals, bass, average = aggregation.table(two, {"mixture": mixture}).splitlines()
    assert header.endswith("| windows | NaN | mixture's SDR |")
    assert vocals == "| vocals | 3.12 | 1.88 | 3.12 | 1.88 | 3.12 | – | – | – | 2 | 1 | 0.50 |"
    assert bass.startswith("| bass | 1.00 |")
    assert average == "| average | 2.06 | 0.94 | 2.06 | 0.94 | 2.06 | – | – | – | – | – | 0.50 |"
    assert len(aggregation.table(summary).splitlines()) == 3, "one source needs no average"


# --- real music ---


def test_window_sdr_is_musevals_on_real_music(real_music):
    track = musdb.tracks(real_music, "train")[0]  # its bass is silent
    mixture, groups, rate = track.mixture_and_groups(TWO)
    references = torch.stack([groups[source] for source in TWO])[..., : 4 * rate].double().numpy()
    estimates = np.broadcast_to(mixture[:, : 4 * rate].numpy(), references.shape)
    pair = [x.transpose(0, 2, 1) for x in (references, estimates)]
    expected = evaluation._museval().evaluate(*pair, win=rate, hop=rate)[0]
    result = window_sdr(references, estimates, rate)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)
