"""Tracks: found, named, decoded, their stems brought together."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.data import musdb, splits
from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.data.track import group_stems, stems_of
from helpers.songs import RATE, STEMS, noise, write_stem_file


def test_tracks_are_found_sorted_and_keep_the_dots_of_their_names(data):
    found = musdb.tracks(data)
    assert [t.name for t in found] == ["A - one", "B - two", "M.E.R.C. - Half 1.5", "T - test"]
    assert [t.subset for t in found] == ["train"] * 3 + ["test"]
    assert {t.stems for t in found} == {STEMS}
    assert [t.name for t in musdb.tracks(data, "test")] == ["T - test"]


def test_stem_files_and_folders_of_wavs_can_lie_side_by_side(data):
    (data / "train" / "X. Y. - Z.stem.mp4").touch()
    (data / "train" / ".hidden.stem.mp4").touch()
    (data / "train" / "README.txt").touch()
    last = musdb.tracks(data, "train")[-1]
    assert (last.name, last.stems) == ("X. Y. - Z", STEMS)


def test_a_missing_folder_is_named_with_the_layout_that_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*train/ and test/"):
        musdb.tracks(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no 'train' and no 'test' folder"):
        musdb.tracks(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="no tracks in"):
        musdb.tracks(tmp_path)
    with pytest.raises(FileNotFoundError, match="no 'test' folder"):
        musdb.tracks(tmp_path, "test")
    with pytest.raises(ValueError, match="unknown subset 'valid'"):
        musdb.tracks(tmp_path, "valid")


def test_a_song_without_a_stem_is_named(data):
    (data / "train" / "B - two" / "drums.wav").unlink()
    with pytest.raises(ValueError, match="1 of 3 tracks lack the stem 'drums'.*B - two"):
        musdb.tracks(data, "train")


def test_only_test_songs_need_a_mixture(data):
    assert not musdb.tracks(data, "train")[0].has_mixture
    (data / "test" / "T - test" / "mixture.wav").unlink()
    with pytest.raises(ValueError, match="lack mixture.wav.*T - test"):
        musdb.tracks(data)


def test_one_name_twice_is_refused(data):
    (data / "train" / "B - two.stem.mp4").touch()
    with pytest.raises(ValueError, match="B - two.*keep one"):
        musdb.tracks(data)


def test_the_extent_of_a_track_is_in_its_headers(data):
    track = musdb.tracks(data, "test")[0]
    assert track.extent() == (2, track.read("mixture")[0].shape[-1], RATE)


def test_a_mixture_that_is_not_there_is_the_sum_of_the_stems(data):
    mixture, groups, rate = musdb.tracks(data)[0].mixture_and_groups(["vocals"])
    assert list(groups) == ["vocals", "rest"] and rate == RATE
    torch.testing.assert_close(mixture, groups["vocals"] + groups["rest"])


def test_stems_that_differ_by_an_encoders_frames_are_padded_and_mono_ones_duplicated(data):
    audio_io.write(data / "test" / "T - test" / "bass.wav", noise(1, RATE - 700, 0), RATE)
    samples, _ = musdb.tracks(data, "test")[0].read_all()
    assert {s.shape for s in samples.values()} == {(2, RATE)}
    assert not samples["bass"][:, -700:].any()
    assert (samples["bass"][0] == samples["bass"][1]).all()


@pytest.mark.parametrize(
    ("length", "rate", "text"),
    [(RATE - 900, RATE, "more than 0.1 s.*bass 7100"), (2 * RATE, 2 * RATE, "rate.*bass 16000")],
)
def test_stems_of_other_lengths_or_rates_are_refused(data, length, rate, text):
    audio_io.write(data / "test" / "T - test" / "bass.wav", noise(2, length, 0), rate)
    with pytest.raises(ValueError, match=f"T - test.*{text}"):
        musdb.tracks(data, "test")[0].read_all()


def test_an_unknown_stem_is_refused_with_the_known_ones(data):
    with pytest.raises(ValueError, match="guitar.*bass, drums, other, vocals, mixture"):
        musdb.tracks(data, "test")[0].read("guitar")


@pytest.fixture
def stem_file(tmp_path) -> Path:
    return write_stem_file(tmp_path / "stems" / "train")


def test_a_stem_file_is_decoded_as_musdb_does(stem_file):
    """To the bit: what scores are made of, AAC's emptiness above 16 kHz, depends on rounding."""
    (track,) = musdb.tracks(stem_file.parent.parent)
    assert track.name == "The Easton Ellises - Falcon 69"
    samples, rate = track.read_all()
    import musdb as package

    (theirs,) = package.DB(root=str(stem_file.parent.parent), subsets="train", is_wav=False)
    assert rate == theirs.rate
    for stream, name in enumerate(musdb.STREAMS):
        assert (theirs.stems[stream] == samples[name].numpy().T).all()
    assert (track.read("vocals")[0] == samples["vocals"]).all()
    assert track.extent() == (*samples["mixture"].shape, rate)


def test_a_cut_off_stem_file_is_refused(stem_file):
    whole = stem_file.read_bytes()
    stem_file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="Falcon 69.*(truncated|cannot be decoded)"):
        musdb.tracks(stem_file.parent.parent)[0].read_all()


def test_accompaniment_is_every_stem_but_the_vocals():
    assert stems_of("accompaniment", STEMS) == ("bass", "drums", "other")
    assert stems_of("accompaniment", ("accompaniment", "vocals")) == ("accompaniment",)
    with pytest.raises(ValueError, match="'guitar'.*bass, drums, other, vocals"):
        stems_of("guitar", STEMS)
    with pytest.raises(ValueError, match="accompaniment"):
        stems_of("accompaniment", ("bass", "drums"))


@pytest.mark.parametrize("sources", [["vocals", "accompaniment", "drums"], ["bass", "bass"]])
def test_sources_that_overlap_are_refused(sources):
    with pytest.raises(ValueError, match="overlap"):
        group_stems(sources, STEMS)


@given(st.lists(st.sampled_from(STEMS), unique=True, min_size=1))
def test_groups_hold_every_stem_once(sources):
    groups = group_stems(sources, STEMS)
    assert list(groups)[: len(sources)] == sources
    assert sorted(stem for stems in groups.values() for stem in stems) == sorted(STEMS)


def test_real_music_is_found_split_by_song_and_decoded(real_music, tmp_path):
    found = musdb.tracks(real_music, "train")
    assert {track.stems for track in found} == {STEMS}
    train, valid = splits.split([track.name for track in found], 0.2, seed=0)
    assert not {splits.song_of(n) for n in train} & {splits.song_of(n) for n in valid}
    (tmp_path / "train").mkdir()
    os.symlink(found[0].path, tmp_path / "train" / found[0].path.name)
    sources = ["accompaniment", "vocals"]
    (prepared,) = prepare(tmp_path, tmp_path / "out", sources, 22050, 1, progress=False)
    settings = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert settings["tracks"][found[0].name]["length"] == prepared.length
    mixture, rate = found[0].read("mixture")
    assert prepared.length == round(mixture.shape[-1] * 22050 / rate)
    total = torch.from_numpy(prepared.load().sum(axis=0))
    expected = resample(to_channels(mixture, 1), rate, 22050)
    # AAC: the decoded mixture differs from the sum of the decoded stems by about -25 dB.
    assert (total - expected).square().mean() < 0.01 * expected.square().mean()
