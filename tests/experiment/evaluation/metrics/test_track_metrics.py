"""Metrics of one track: equal to museval's where it has any, defined where it refuses."""

import json

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import aggregation
from asteroid_waveunet.experiment.evaluation.estimators import IdealRatioMask, TrackAudio
from asteroid_waveunet.experiment.evaluation.metrics import (
    museval_engine,
    track_metrics,
)
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import score_track
from asteroid_waveunet.experiment.evaluation.metrics.windows import window_sdr
from helpers.scores import RATE, STEMS, TWO, degraded, music, named, windows
from helpers.songs import write_stem_file


def museval_scores(references, estimates) -> np.ndarray:
    """Call museval directly: `(4, n_src, n_windows)` in the order of METRICS."""
    arguments = [x.transpose(0, 2, 1) for x in (references, estimates)]
    museval = museval_engine.museval()
    sdr, isr, sir, sar = museval.evaluate(*arguments, win=RATE, hop=RATE)
    return np.stack([sdr, sir, isr, sar])


# --- window_sdr ---


@pytest.mark.usefixtures("short_filters")
def test_window_sdr_equals_museval():
    for seconds, channels in ((0.6, 2), (1.0, 1), (1.4, 2), (3.0, 1), (2.9, 2)):
        references = music(2, channels, seconds)
        estimates = degraded(references)
        expected = museval_scores(references, estimates)[0]
        result = window_sdr(references, estimates, RATE)
        case = f"{seconds} s, {channels} channels"
        assert result.shape == expected.shape == (2, max(1, int(seconds))), case
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9, err_msg=case)


@pytest.mark.usefixtures("short_filters")
def test_window_sdr_is_nan_where_musevals_is():
    references = music(3, seconds=6.0)
    estimates = degraded(references)
    references[0, :, :RATE] = 0  # a silent reference
    estimates[2, :, RATE : 2 * RATE] = 0  # a silent estimate
    references[1, 0, 2 * RATE : 3 * RATE] = 0  # one silent channel: not silent
    references[1, 1, 3 * RATE : 4 * RATE] = -references[1, 0, 3 * RATE : 4 * RATE]  # sums to zero
    references[0, :, 4 * RATE : 4 * RATE + 999] = 0  # one sample is not zero: not silent
    expected = museval_scores(references, estimates)[0]
    result = window_sdr(references, estimates, RATE)
    assert np.isnan(result).all(axis=0).tolist() == [True, True, False, True, False, False]
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("short_filters")
def test_window_sdr_of_a_perfect_window_is_infinite():
    references = music(seconds=2.0)
    estimates = references.copy()
    estimates[1, :, RATE:] *= 0.9
    expected = museval_scores(references, estimates)[0]
    result = window_sdr(references, estimates, RATE)
    assert np.isposinf(result).tolist() == [[True, True], [True, False]]
    # museval adds and subtracts projections: +inf, or some 300 dB by rounding.
    assert (expected[np.isinf(result)] > 250).all()
    assert abs(result[1, 1] - 20) < 1e-9


def test_window_sdr_computes_in_float64():
    references = music().astype(np.float32)
    estimates = degraded(references).astype(np.float32)
    result = window_sdr(torch.from_numpy(references), torch.from_numpy(estimates), RATE)
    assert result.dtype == np.float64
    expected = window_sdr(references.astype(np.float64), estimates.astype(np.float64), RATE)
    assert (result == expected).all()


def test_window_sdr_refuses_unequal_or_two_dimensional_shapes():
    with pytest.raises(ValueError, match=r"\(2, 2, 4300\).*\(2, 1, 4300\)"):
        window_sdr(music(), music(channels=1), RATE)
    with pytest.raises(ValueError, match="n_src, channels, time"):
        window_sdr(music()[0], music()[0], RATE)


# --- score_track ---


@pytest.mark.usefixtures("short_filters")
def test_score_track_equals_museval_in_its_format():
    references = music(seconds=3.4)
    references[1, :, :RATE] = 0
    estimates = degraded(references)
    names = ("drums", "bass")
    scores = score_track(named(references, names), named(estimates, names), RATE, "song")
    np.testing.assert_allclose(
        windows(scores), museval_scores(references, estimates), rtol=0, atol=1e-9
    )
    assert scores["track"] == "song"
    assert [target["name"] for target in scores["targets"]] == list(names)
    frame = scores["targets"][1]["frames"][2]
    assert (frame["time"], frame["duration"]) == (2.0, 1.0)


@pytest.mark.usefixtures("short_filters")
def test_engines_give_the_same_scores_and_say_which_made_them():
    references = music(3, seconds=4.0)
    references[0, :, :RATE] = 0
    estimates = degraded(references)
    estimates[1] = 0  # silent throughout
    estimates[2, :, 2 * RATE : 3 * RATE] = references[2, :, 2 * RATE : 3 * RATE]
    names = ("vocals", "drums", "bass")
    sides = named(references, names), named(estimates, names)
    found = {e: score_track(*sides, RATE, "song", engine=e) for e in track_metrics.ENGINES}
    np.testing.assert_allclose(*(windows(s) for s in found.values()), rtol=0, atol=1e-9)
    made_by = {engine: scores.pop("engine") for engine, scores in found.items()}
    assert made_by["museval"].startswith("museval 0.4")
    assert made_by["bss_eval"].startswith("asteroid-waveunet ")
    assert found["museval"].keys() == found["bss_eval"].keys()
    assert found["museval"]["unscored"] == found["bss_eval"]["unscored"]
    with pytest.raises(ValueError, match="engine='mir_eval' is unknown; expected.*bss_eval"):
        score_track(*sides, RATE, "song", engine="mir_eval")


@pytest.mark.usefixtures("short_filters")
def test_museval_reads_the_scores(tmp_path):
    references = music(seconds=3.0)
    scores = score_track(named(references), named(degraded(references)), RATE, "A. B. - C")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "A. B. - C.json").write_text(json.dumps(scores))
    store = museval_engine.museval().EvalStore()
    store.add_eval_dir(tmp_path)
    medians = store.agg_frames_scores()
    summary = aggregation.summarise([scores])
    assert medians["A. B. - C", "vocals", "SIR"] == summary["vocals"]["SIR"]["median"]


@pytest.mark.usefixtures("short_filters")
def test_mono_estimates_are_copied_to_both_channels():
    references = music(seconds=2.0)
    mono = degraded(references)[:, :1]
    copied = np.repeat(mono, 2, axis=1)
    fast = (score_track(named(references), named(e), RATE, "s", True) for e in (mono, copied))
    assert str(next(fast)) == str(next(fast))


@pytest.mark.usefixtures("short_filters")
def test_silent_estimate_has_0_db_and_does_not_change_other_scores():
    references = music(3, seconds=3.0)
    references[0, :, RATE : 2 * RATE] = 0
    estimates = degraded(references)
    full = museval_scores(references, estimates)
    estimates[1] = 0
    names = ("bass", "drums", "vocals")
    result = windows(score_track(named(references, names), named(estimates, names), RATE, "s"))
    assert np.isnan(result[:, :, 1]).all()
    scored = [0, 2]
    assert (abs(result[0, 1, scored]) < 1e-12).all() and np.isnan(result[1:, 1]).all()
    np.testing.assert_allclose(result[:, 0], full[:, 0], atol=1e-9)
    np.testing.assert_allclose(result[:, 2], full[:, 2], atol=1e-9)


def test_estimate_with_cancelling_channels_has_its_own_sdr():
    """museval calls it silent; for example the channel difference of a karaoke machine."""
    references = music(seconds=3.0)
    estimates = degraded(references)
    side = 0.5 * (references[0, 0] - references[0, 1])
    estimates[0] = [side, -side]
    result = score_track(named(references), named(estimates), RATE, "song", fast=True)
    energies = [
        (x**2).reshape(2, 3, RATE).sum(axis=(0, 2))
        for x in (references[0], references[0] - estimates[0])
    ]
    np.testing.assert_allclose(windows(result)[0, 0], 10 * np.log10(energies[0] / energies[1]))
    assert result["unscored"]["accompaniment"]["silent_throughout"] == 1


@pytest.mark.usefixtures("short_filters")
def test_silent_reference_makes_all_windows_nan_and_counts_them():
    references = music(seconds=3.0)
    references[1] = 0
    scores = score_track(named(references), named(degraded(references)), RATE, "song")
    assert np.isnan(windows(scores)).all()
    figures = aggregation.summarise([scores])["vocals"]["SDR"]
    assert (figures["windows"], figures["nan_windows"], figures["tracks"]) == (0, 3, 0)
    assert np.isnan(figures["median"])


def test_score_track_refuses_invalid_input_with_the_tracks_name():
    references = music()
    estimates = degraded(references)
    with pytest.raises(ValueError, match="song: .*two targets.*'vocals'"):
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


@pytest.mark.usefixtures("short_filters")
def test_scores_do_not_depend_on_the_order_of_the_targets():
    """museval solves its linear systems in its own order of targets."""
    references = music(3, seconds=2.0)
    estimates = degraded(references)
    expected = museval_scores(references, estimates)
    musevals, names = ("drums", "bass", "vocals"), ("vocals", "drums", "bass")
    order = [musevals.index(name) for name in names]
    result = score_track(
        named(references[order], names), named(estimates[order], names), RATE, "song"
    )
    np.testing.assert_allclose(windows(result), expected[:, order], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("short_filters")
def test_fast_scores_have_the_same_sdr_only():
    references = music(3, seconds=4.0)
    references[0, :, :RATE] = 0
    estimates = degraded(references)
    estimates[1, :, RATE : 2 * RATE] = 0
    estimates[2, :, 2 * RATE : 3 * RATE] = references[2, :, 2 * RATE : 3 * RATE]
    names = ("bass", "drums", "vocals")
    full, fast = (
        score_track(named(references, names), named(estimates, names), RATE, "song", fast)
        for fast in (False, True)
    )
    np.testing.assert_allclose(windows(fast)[0], windows(full)[0], rtol=0, atol=1e-9)
    assert np.isnan(windows(fast)[1:]).all()
    assert np.isnan(windows(fast)[0]).sum(axis=1).tolist() == [2, 2, 3]
    assert fast["unscored"] == full["unscored"]
    assert fast["protocol"] == list(names)


def test_unscored_windows_are_counted_by_reason():
    references = music(seconds=5.0)
    estimates = degraded(references)
    references[0, :, : 2 * RATE] = 0
    estimates[0, :, : 3 * RATE] = 0
    estimates[1, :, 4 * RATE :] = references[1, :, 4 * RATE :]
    scores = score_track(named(references), named(estimates), RATE, "song", fast=True)
    assert scores["unscored"] == {
        "accompaniment": {
            "silent_reference": 2, "silent_estimate": 3, "silent_throughout": 0, "perfect": 2
        },
        "vocals": {
            "silent_reference": 0, "silent_estimate": 0, "silent_throughout": 0, "perfect": 1
        },
    }  # fmt: skip


@pytest.mark.usefixtures("short_filters")
def test_perfect_estimate_is_nan_and_does_not_change_other_scores():
    references = music(seconds=2.0)
    estimates = degraded(references)
    estimates[0] = references[0]
    for fast in (False, True):
        scores = windows(score_track(named(references), named(estimates), RATE, "song", fast))
        assert np.isnan(scores[:, 0]).all() and not np.isnan(scores[0, 1]).any(), fast


def test_protocol_name_lists_the_targets():
    for targets, name in (
        (("vocals", "accompaniment"), "two-source (vocals, accompaniment)"),
        (("other", "bass", "drums", "vocals"), "four-source (other, bass, drums, vocals)"),
        (("piano", "rest"), "2-source (piano, rest)"),
    ):
        assert track_metrics.protocol_name(targets) == name


# --- real music ---


def test_scores_equal_museval_on_audio_read_by_musdb(tmp_path):
    """museval, called directly with its 512 taps on musdb's audio in musdb's order of targets."""
    write_stem_file(tmp_path / "test")
    ours = musdb.tracks(tmp_path, "test")[0]
    mixture, groups, rate = ours.mixture_and_groups(STEMS)
    estimates = IdealRatioMask()(ours, TrackAudio(mixture, groups, rate))
    targets = ("bass", "drums")  # museval's order is the other one
    museval = museval_engine.museval()
    import musdb as musdb_package

    (theirs,) = musdb_package.DB(root=str(tmp_path), subsets="test", is_wav=False)
    piece = np.s_[2 * rate : 3 * rate]
    names = [name for name in theirs.targets if name in targets]
    sdr, isr, sir, sar = museval.evaluate(
        [theirs.targets[name].audio[piece] for name in names],
        [estimates[name].T.numpy()[piece] for name in names],
        win=rate,
        hop=rate,
    )
    scores = score_track(
        {name: groups[name][:, piece] for name in targets},
        {name: estimates[name][:, piece] for name in targets},
        rate,
        ours.name,
    )
    order = [names.index(name) for name in targets]
    expected = np.stack([sdr, sir, isr, sar])[:, order]
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(windows(scores), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("short_filters")
def test_window_sdr_equals_museval_on_real_music(real_music):
    track = musdb.tracks(real_music, "train")[0]  # its bass is silent
    mixture, groups, rate = track.mixture_and_groups(TWO)
    references = torch.stack([groups[source] for source in TWO])[..., : 4 * rate].double().numpy()
    estimates = np.broadcast_to(mixture[:, : 4 * rate].numpy(), references.shape)
    pair = [x.transpose(0, 2, 1) for x in (references, estimates)]
    expected = museval_engine.museval().evaluate(*pair, win=rate, hop=rate)[0]
    result = window_sdr(references, estimates, rate)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)
