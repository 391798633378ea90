"""Where estimates come from: models, folders, the mixture, an oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.evaluation.bss_eval import score_track, window_sdr
from asteroid_waveunet.experiment.evaluation.estimators import (
    Folder,
    IdealRatioMask,
    Mixture,
    Parts,
    Separator,
    for_targets,
)
from asteroid_waveunet.separation.separate import separate_at_rate
from asteroid_waveunet.streaming.options import SeparationOptions
from helpers.models import drawn, tiny
from helpers.scores import RATE, SONGS, STEMS, TWO

SONG = SONGS[0]


def parts(sources=STEMS) -> Parts:
    return Parts(*SONG.mixture_and_groups(sources))


def test_the_mixture_stands_for_every_source():
    whole = parts()
    given = Mixture()(SONG, whole)
    assert all(given[source] is whole.mixture for source in STEMS)


@pytest.mark.parametrize("sources", [STEMS, TWO, ("vocals",)])
def test_the_oracles_estimates_sum_to_the_mixture(sources):
    whole = parts(sources)
    given = IdealRatioMask()(SONG, whole)
    assert given.keys() == whole.references.keys()
    total = torch.stack([*given.values()]).sum(0)
    torch.testing.assert_close(total, whole.mixture, atol=1e-5, rtol=0)


def test_the_oracle_is_the_definition():
    """One window, one bin, written out."""
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
    bins = _masked(whole, "vocals", n_fft, hop)[:, 20 + n_fft // 2 // hop]
    np.testing.assert_allclose(bins, expected, rtol=0, atol=1e-4 * abs(expected).max())


def _masked(whole: Parts, source: str, n_fft: int, hop: int) -> np.ndarray:
    """The spectrum that the oracle gives `istft`."""
    seen = []
    inverse = torch.istft
    try:
        torch.istft = lambda spectrum, *a, **k: seen.append(spectrum) or inverse(spectrum, *a, **k)
        IdealRatioMask()(SONG, whole)
    finally:
        torch.istft = inverse
    return seen[list(whole.references).index(source)][1].numpy()


def test_the_oracle_beats_the_mixture_and_survives_silence():
    whole = parts(TWO)
    references = torch.stack([whole.references[source] for source in TWO])
    sdr = {}
    for estimator in (Mixture(), IdealRatioMask()):
        given = estimator(SONG, whole)
        estimates = torch.stack([given[source] for source in TWO])
        sdr[type(estimator)] = window_sdr(references, estimates, RATE)
    assert (sdr[IdealRatioMask] > sdr[Mixture] + 0.2).all()
    silence = torch.zeros(2, RATE)
    given = IdealRatioMask()(SONG, Parts(silence, dict.fromkeys(TWO, silence), RATE))
    assert all((samples == 0).all() for samples in given.values())


@pytest.mark.parametrize("channels", [1, 2])
def test_a_model_separates_as_it_does_elsewhere(channels):
    model = drawn(tiny(sources=TWO, in_channels=channels, sample_rate=RATE))
    mixture = parts().mixture
    given = Separator.of(model)(SONG, parts())
    heard = mixture if channels == 2 else mixture.mean(0, keepdim=True)  # the paper's mono models
    expected = separate_at_rate(model, heard, RATE)
    assert list(given) == list(TWO)
    torch.testing.assert_close(torch.stack([*given.values()]), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [RATE, RATE / 2])
def test_in_segments_a_model_separates_as_the_reference_does(channels, rate):
    model = drawn(tiny(sources=TWO, in_channels=channels, sample_rate=rate))
    given = Separator.in_segments(model, 100)(SONG, parts())
    track = resample(parts().mixture, RATE, rate)
    found = model.predict_track(track, 100).reshape(2, channels, -1)
    back = resample(found, rate, RATE, parts().mixture.shape[-1])
    for source, samples in zip(TWO, back, strict=True):
        torch.testing.assert_close(given[source], samples.expand(2, -1))
        torch.testing.assert_close(given[source].shape, parts().mixture.shape)


def test_levels_and_signs_that_a_loss_left_open_are_found():
    whole = parts(TWO)
    one, other = (whole.references[source] for source in TWO)
    wrong = Separator(lambda mixture, rate: {TWO[0]: -0.1 * one, TWO[1]: 7 * other})
    right = wrong.fitted()(SONG, whole)
    torch.testing.assert_close(right[TWO[0]], one, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(right[TWO[1]], other, atol=1e-5, rtol=1e-4)


def test_fitted_levels_are_nearest_to_the_mixture_also_of_silence_and_mono_estimates():
    whole = parts()
    mixture = whole.mixture
    mono = mixture.mean(0, keepdim=True)
    given = Separator(lambda mixture, rate: {"a": mono, "b": torch.zeros(1, mixture.shape[-1])})
    found = given.fitted()(SONG, whole)
    assert (found["b"] == 0).all()
    # Of one estimate the gain is its projection's.
    gain = (mono * mixture).sum() / (mono * mono).sum() / len(mixture)
    torch.testing.assert_close(found["a"], gain * mono, atol=1e-5, rtol=1e-4)


def test_levels_are_fitted_to_silence_and_not_to_what_is_no_number():
    whole = parts(TWO)
    silent = torch.zeros_like(whole.mixture)
    found = Separator(lambda mixture, rate: dict.fromkeys(TWO, silent)).fitted()(SONG, whole)
    assert all((samples == 0).all() for samples in found.values())
    broken = {TWO[0]: whole.mixture, TWO[1]: torch.full_like(silent, torch.nan)}
    found = Separator(lambda mixture, rate: broken).fitted()(SONG, whole)
    with pytest.raises(ValueError, match="NaN or infinite"):
        score_track(whole.references, found, RATE, "song", fast=True)


def test_what_is_asked_of_a_model_reaches_it():
    model = drawn(tiny(sources=TWO, in_channels=2, sample_rate=RATE, output="direct"))
    given = Separator.of(model, SeparationOptions(mixture_consistency=True))(SONG, parts())
    mixture = parts().mixture
    torch.testing.assert_close(sum(given.values()), mixture, atol=1e-5, rtol=0)


def test_targets_are_sums_of_sources():
    given = dict(zip(STEMS, torch.randn(4, 2, 100), strict=True))
    two = for_targets(given, TWO)
    torch.testing.assert_close(two["accompaniment"], sum(given[s] for s in STEMS[:3]))
    assert two["vocals"] is not None and torch.equal(two["vocals"], given["vocals"])
    assert for_targets({**given, "extra": given["bass"]}, ("bass",)).keys() == {"bass"}
    with pytest.raises(ValueError, match="no estimate of bass; there are accompaniment, vocals"):
        for_targets(dict.fromkeys(TWO, given["bass"]), ("bass", "vocals"))


# --- folders ---


@pytest.mark.parametrize("place", ["test/{}", "{}", "{}/mixture", "test/{}/mixture"])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_folder_of_estimates(tmp_path, place, suffix):
    estimate = 0.1 * torch.randn(2, 4300)
    for source in TWO:
        audio_io.write(
            tmp_path / place.format(SONG.name) / f"{source}{suffix}", estimate, RATE, None
        )
    folder = Folder.of(tmp_path, SONGS)
    assert folder.sources == TWO
    given = folder(SONG, parts())
    torch.testing.assert_close(given["vocals"], estimate, atol=4e-5, rtol=0)


@pytest.mark.parametrize("length", [4250, 4350])
def test_an_encoders_padding_is_cut_or_filled(tmp_path, length):
    write(tmp_path, "vocals", length)
    (given,) = Folder.of(tmp_path, SONGS)(SONG, parts()).values()
    assert given.shape == (2, 4300)


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        Folder.of(tmp_path / "none", SONGS)
    with pytest.raises(FileNotFoundError, match="no estimates of these 3 tracks.*vocals.wav"):
        Folder.of(tmp_path, SONGS)
    write(tmp_path, "vocals", 4300)
    write(tmp_path, "mixture", 4300)
    folder = Folder.of(tmp_path, SONGS)
    assert folder.sources == ("vocals",)
    with pytest.raises(FileNotFoundError, match="no estimate of vocals in .*C - two/vocals.wav"):
        folder(SONGS[1], parts())
    write(tmp_path, "vocals", 3000)
    with pytest.raises(ValueError, match="3000 samples and the mixture 4300"):
        folder(SONG, parts())
    write(tmp_path, "vocals", 4300, rate=2000)
    with pytest.raises(ValueError, match="2000 Hz and the track 1000; resample"):
        folder(SONG, parts())


def test_a_folder_knows_its_files(tmp_path):
    write(tmp_path, "vocals", 4300)
    write(tmp_path, "bass", 4300)
    folder = replace(Folder.of(tmp_path, SONGS), sources=("vocals",))
    assert folder.files(SONG) == [tmp_path / "test" / SONG.name / "vocals.wav"]
    assert folder.files(SONGS[1]) == []
    audio_io.write(tmp_path / "test" / SONG.name / "bass.flac", torch.zeros(2, 9), RATE, "PCM_16")
    with pytest.raises(ValueError, match="bass.flac and .*bass.wav are of the same source"):
        Folder.of(tmp_path, SONGS)


def write(root, source, length, rate=RATE):
    audio_io.write(root / "test" / SONG.name / f"{source}.wav", 0.1 * torch.randn(2, length), rate)
