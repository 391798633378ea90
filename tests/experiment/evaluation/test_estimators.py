"""Estimators: models, folders, the mixture, the ideal ratio mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.evaluation import separator
from asteroid_waveunet.experiment.evaluation.estimators import (
    Folder,
    IdealRatioMask,
    Mixture,
    TrackAudio,
    estimates_of_targets,
)
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import score_track
from asteroid_waveunet.experiment.evaluation.metrics.windows import window_sdr
from asteroid_waveunet.experiment.evaluation.separator import Separator
from asteroid_waveunet.separation.separate import separate_at_rate
from asteroid_waveunet.streaming.options import SeparationOptions
from helpers.models import randomize, tiny
from helpers.scores import RATE, SONGS, STEMS, TWO

SONG = SONGS[0]


def parts(sources=STEMS) -> TrackAudio:
    return TrackAudio(*SONG.mixture_and_groups(sources))


def test_mixture_is_the_estimate_of_every_source():
    whole = parts()
    given = Mixture()(SONG, whole)
    assert all(given[source] is whole.mixture for source in STEMS)


def test_oracle_estimates_sum_to_the_mixture():
    for sources in (STEMS, TWO, ("vocals",)):
        whole = parts(sources)
        given = IdealRatioMask()(SONG, whole)
        assert given.keys() == whole.references.keys()
        total = torch.stack([*given.values()]).sum(0)
        torch.testing.assert_close(total, whole.mixture, atol=1e-5, rtol=0)


def test_oracle_equals_its_definition_in_one_frame():
    """All bins of one frame, written out in NumPy."""
    whole = parts(TWO)
    n_fft = 2 ** round(np.log2(2048 / 44100 * RATE))  # 64 windows at 1000 Hz: 46 ms
    hop, window = n_fft // 4, np.hanning(n_fft + 1)[:-1]
    first = 20 * hop
    spectra = {
        name: np.fft.rfft(window * samples[1, first : first + n_fft].numpy())
        for name, samples in [*whole.references.items(), ("mixture", whole.mixture)]
    }
    power = {name: abs(spectra[name]) ** 2 for name in TWO}
    expected = spectra["mixture"] * power["vocals"] / sum(power.values())
    bins = _masked(whole, "vocals", channel=1)[:, 20 + n_fft // 2 // hop]
    np.testing.assert_allclose(bins, expected, rtol=0, atol=1e-4 * abs(expected).max())


def _masked(whole: TrackAudio, source: str, channel: int) -> np.ndarray:
    """Return the spectrum that the oracle passes to `istft`."""
    seen = []
    inverse = torch.istft
    try:
        torch.istft = lambda spectrum, *a, **k: seen.append(spectrum) or inverse(spectrum, *a, **k)
        IdealRatioMask()(SONG, whole)
    finally:
        torch.istft = inverse
    sources = list(whole.references)
    return seen[channel * len(sources) + sources.index(source)].numpy()


def test_oracle_beats_the_mixture_and_handles_silence():
    whole = parts(TWO)
    references = torch.stack([whole.references[source] for source in TWO])
    sdr = {}
    for estimator in (Mixture(), IdealRatioMask()):
        given = estimator(SONG, whole)
        estimates = torch.stack([given[source] for source in TWO])
        sdr[type(estimator)] = window_sdr(references, estimates, RATE)
    assert (sdr[IdealRatioMask] > sdr[Mixture] + 0.2).all()
    silence = torch.zeros(2, RATE)
    given = IdealRatioMask()(SONG, TrackAudio(silence, dict.fromkeys(TWO, silence), RATE))
    assert all((samples == 0).all() for samples in given.values())


def test_separator_keeps_its_latest_estimates(monkeypatch):
    separated = []

    def separate(mixture, rate):
        separated.append(mixture)
        return {source: mixture.clone() for source in TWO}

    size = 2 * parts().mixture.nbytes
    monkeypatch.setattr(separator, "RECENT", 2 * size)
    estimator, (a, b, c) = Separator(separate), SONGS
    first = estimator(a, parts())
    assert estimator(a, parts()) is first
    for song in (b, a, c, a):  # c drops b, the one asked for the longest ago
        estimator(song, parts())
    assert len(separated) == 3
    estimator(b, parts())
    assert len(separated) == 4
    monkeypatch.setattr(separator, "RECENT", size - 1)
    assert estimator(c, parts()).keys() == set(TWO) and not estimator._recent


@pytest.mark.parametrize("channels", [1, 2])
def test_separator_equals_separate_at_rate(channels):
    model = randomize(tiny(sources=TWO, in_channels=channels, sample_rate=RATE))
    mixture = parts().mixture
    given = Separator.from_model(model)(SONG, parts())
    expected_input = (
        mixture if channels == 2 else mixture.mean(0, keepdim=True)
    )  # the paper's mono models
    expected = separate_at_rate(model, expected_input, RATE)
    assert list(given) == list(TWO)
    torch.testing.assert_close(torch.stack([*given.values()]), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("channels", "rate"), [(1, RATE / 2), (2, RATE), (2, RATE / 2)])
def test_segment_wise_separator_equals_predict_track(channels, rate):
    model = randomize(tiny(sources=TWO, in_channels=channels, sample_rate=rate))
    given = Separator.segment_wise(model, 100)(SONG, parts())
    track = resample(parts().mixture, RATE, rate)
    found = model.predict_track(track, 100).reshape(2, channels, -1)
    back = resample(found, rate, RATE, parts().mixture.shape[-1])
    for source, samples in zip(TWO, back, strict=True):
        torch.testing.assert_close(given[source], samples.expand(2, -1))
        torch.testing.assert_close(given[source].shape, parts().mixture.shape)


def test_fitted_levels_recover_scale_and_sign():
    whole = parts(TWO)
    one, other = (whole.references[source] for source in TWO)
    wrong = Separator(lambda mixture, rate: {TWO[0]: -0.1 * one, TWO[1]: 7 * other})
    right = wrong.with_fitted_levels()(SONG, whole)
    torch.testing.assert_close(right[TWO[0]], one, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(right[TWO[1]], other, atol=1e-5, rtol=1e-4)


def test_fitted_levels_handle_silent_and_mono_estimates():
    whole = parts()
    mixture = whole.mixture
    mono = mixture.mean(0, keepdim=True)
    given = Separator(lambda mixture, rate: {"a": mono, "b": torch.zeros(1, mixture.shape[-1])})
    found = given.with_fitted_levels()(SONG, whole)
    assert (found["b"] == 0).all()
    # The gain of a single estimate is that of its projection.
    gain = (mono * mixture).sum() / (mono * mono).sum() / len(mixture)
    torch.testing.assert_close(found["a"], gain * mono, atol=1e-5, rtol=1e-4)


def test_fitted_levels_of_silence_are_zero_and_nan_estimates_are_refused():
    whole = parts(TWO)
    silent = torch.zeros_like(whole.mixture)
    found = Separator(lambda mixture, rate: dict.fromkeys(TWO, silent)).with_fitted_levels()(
        SONG, whole
    )
    assert all((samples == 0).all() for samples in found.values())
    broken = {TWO[0]: whole.mixture, TWO[1]: torch.full_like(silent, torch.nan)}
    found = Separator(lambda mixture, rate: broken).with_fitted_levels()(SONG, whole)
    with pytest.raises(ValueError, match="NaN or infinite"):
        score_track(whole.references, found, RATE, "song", fast=True)


def test_separator_passes_its_options_to_the_model():
    model = randomize(tiny(sources=TWO, in_channels=2, sample_rate=RATE, output="direct"))
    given = Separator.from_model(model, SeparationOptions(mixture_consistency=True))(SONG, parts())
    mixture = parts().mixture
    torch.testing.assert_close(sum(given.values()), mixture, atol=1e-5, rtol=0)


def test_estimates_of_targets_are_sums_of_sources():
    given = dict(zip(STEMS, torch.randn(4, 2, 100), strict=True))
    two = estimates_of_targets(given, TWO)
    torch.testing.assert_close(two["accompaniment"], sum(given[s] for s in STEMS[:3]))
    assert two["vocals"] is not None and torch.equal(two["vocals"], given["vocals"])
    assert estimates_of_targets({**given, "extra": given["bass"]}, ("bass",)).keys() == {"bass"}
    with pytest.raises(ValueError, match="no estimate of bass; there are accompaniment, vocals"):
        estimates_of_targets(dict.fromkeys(TWO, given["bass"]), ("bass", "vocals"))


# --- folders ---


@pytest.mark.parametrize(
    ("place", "suffix"),
    [("test/{}", ".flac"), ("{}", ".wav"), ("{}/mixture", ".flac"), ("test/{}/mixture", ".wav")],
)
def test_folder_finds_estimates(tmp_path, place, suffix):
    estimate = 0.1 * torch.randn(2, 4300)
    for source in TWO:
        audio_io.write(
            tmp_path / place.format(SONG.name) / f"{source}{suffix}", estimate, RATE, None
        )
    folder = Folder.find(tmp_path, SONGS)
    assert folder.sources == TWO
    given = folder(SONG, parts())
    torch.testing.assert_close(given["vocals"], estimate, atol=4e-5, rtol=0)


def test_folder_cuts_or_pads_an_encoders_padding(tmp_path):
    for length in (4250, 4350):
        write(tmp_path, "vocals", length)
        (given,) = Folder.find(tmp_path, SONGS)(SONG, parts()).values()
        assert given.shape == (2, 4300), length


def test_folder_refuses_missing_and_mismatched_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        Folder.find(tmp_path / "none", SONGS)
    with pytest.raises(FileNotFoundError, match="no estimates of these 3 tracks.*vocals.wav"):
        Folder.find(tmp_path, SONGS)
    write(tmp_path, "vocals", 4300)
    write(tmp_path, "mixture", 4300)
    folder = Folder.find(tmp_path, SONGS)
    assert folder.sources == ("vocals",)
    with pytest.raises(FileNotFoundError, match="no estimate of vocals in .*C - two/vocals.wav"):
        folder(SONGS[1], parts())
    write(tmp_path, "vocals", 3000)
    with pytest.raises(ValueError, match="3000 samples and the mixture 4300"):
        folder(SONG, parts())
    write(tmp_path, "vocals", 4300, rate=2000)
    with pytest.raises(ValueError, match="2000 Hz and the track 1000; resample"):
        folder(SONG, parts())


def test_folder_follows_the_mixtures_length_by_choice(tmp_path):
    for length in (3000, 5000):
        write(tmp_path, "vocals", length)
        (given,) = Folder.find(tmp_path, SONGS, lengths="cut")(SONG, parts()).values()
        assert given.shape == (2, 4300), length


def test_folder_finds_names_in_another_unicode_form(tmp_path):
    song = replace(SONG, name="voix \u00e9")
    audio_io.write(tmp_path / "voix e\u0301" / "chant e\u0301.wav", torch.zeros(2, 4300), RATE)
    assert Folder.find(tmp_path, [song]).sources == ("chant \u00e9",)
    assert len(Folder.find(tmp_path, [song])(song, parts())) == 1


def test_folder_lists_its_files_and_refuses_two_of_a_source(tmp_path):
    write(tmp_path, "vocals", 4300)
    write(tmp_path, "bass", 4300)
    folder = replace(Folder.find(tmp_path, SONGS), sources=("vocals",))
    assert folder.files(SONG) == [tmp_path / "test" / SONG.name / "vocals.wav"]
    assert folder.files(SONGS[1]) == []
    audio_io.write(tmp_path / "test" / SONG.name / "bass.flac", torch.zeros(2, 9), RATE, "PCM_16")
    with pytest.raises(ValueError, match="bass.flac and .*bass.wav are of the same source"):
        Folder.find(tmp_path, SONGS)


def write(root, source, length, rate=RATE):
    audio_io.write(root / "test" / SONG.name / f"{source}.wav", 0.1 * torch.randn(2, length), rate)
