"""Tracks in MUSDB18's layout: listing, reading, and grouping of stems."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import mp4
from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.audio.stem_names import MUSDB_ORDER
from asteroid_waveunet.experiment.data import musdb, splits
from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.data.track import group_stems, stems_of
from helpers.songs import RATE, STEMS, noise, write_song, write_stem_file


def test_tracks_are_sorted_and_keep_dots_in_their_names(data):
    found = musdb.tracks(data)
    assert [t.name for t in found] == ["A - one", "B - two", "M.E.R.C. - Half 1.5", "T - test"]
    assert [t.subset for t in found] == ["train"] * 3 + ["test"]
    assert {t.stems for t in found} == {STEMS}
    assert [t.name for t in musdb.tracks(data, "test")] == ["T - test"]


def test_stem_files_and_folders_can_be_mixed(data):
    (data / "train" / "X. Y. - Z.stem.mp4").touch()
    (data / "train" / ".hidden.stem.mp4").touch()
    (data / "train" / "README.txt").touch()
    last = musdb.tracks(data, "train")[-1]
    assert (last.name, last.stems) == ("X. Y. - Z", STEMS)
    (data / "train" / "B - two.stem.mp4").touch()
    with pytest.raises(ValueError, match="B - two.*same track.*keep one"):
        musdb.tracks(data)


def test_missing_folders_are_named_with_the_expected_layout(tmp_path):
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


def test_missing_stems_and_test_mixtures_are_named(data):
    assert not musdb.tracks(data, "train")[0].has_mixture
    (data / "train" / "B - two" / "drums.wav").unlink()
    with pytest.raises(ValueError, match="1 of 3 tracks lack the stem 'drums'.*B - two"):
        musdb.tracks(data, "train")
    (data / "test" / "T - test" / "mixture.wav").unlink()
    with pytest.raises(ValueError, match="1 test tracks lack mixture.wav.*T - test"):
        musdb.tracks(data, "test")


def test_extent_is_read_from_the_headers(data):
    track = musdb.tracks(data, "test")[0]
    assert track.extent() == (2, track.read("mixture")[0].shape[-1], RATE)


def test_missing_mixture_is_the_sum_of_the_stems(data):
    mixture, groups, rate = musdb.tracks(data)[0].mixture_and_groups(["vocals"])
    assert list(groups) == ["vocals", "rest"] and rate == RATE
    torch.testing.assert_close(mixture, groups["vocals"] + groups["rest"])


def decoded(track, monkeypatch) -> list[str]:
    """Compare `mixture` with `mixture_and_groups`; return the files that it decodes."""
    whole, _, rate = track.mixture_and_groups(["vocals"])
    names = []
    read_all = musdb.MusdbTrack.read_all
    with monkeypatch.context() as patch:
        patch.setattr(
            musdb.MusdbTrack,
            "read_all",
            lambda self, wanted=None: names.extend(wanted or ["all"]) or read_all(self, wanted),
        )
        alone = track.mixture(["vocals"])
    assert alone[1] == rate
    assert torch.equal(alone[0], whole)
    return names


def test_mixture_is_decoded_alone_unless_the_stems_change_its_shape(data, stem_file, monkeypatch):
    assert decoded(musdb.tracks(data)[0], monkeypatch) == ["all"], "there is none"
    (track,) = musdb.tracks(data, "test")
    assert decoded(track, monkeypatch) == ["mixture"]
    audio_io.write(track.path / "bass.wav", noise(2, RATE + 300, 0), RATE)
    assert decoded(track, monkeypatch) == ["all"], "padded"
    audio_io.write(track.path / "bass.wav", noise(2, RATE, 0), RATE)
    audio_io.write(track.path / "mixture.wav", noise(1, RATE, 0), RATE)
    assert decoded(track, monkeypatch) == ["all"], "doubled"
    (stems,) = musdb.tracks(stem_file.parent.parent)
    assert decoded(stems, monkeypatch) == ["mixture"]


def test_slightly_shorter_stems_are_padded_and_mono_ones_duplicated(data):
    audio_io.write(data / "test" / "T - test" / "bass.wav", noise(1, RATE - 700, 0), RATE)
    samples, _ = musdb.tracks(data, "test")[0].read_all()
    assert {s.shape for s in samples.values()} == {(2, RATE)}
    assert not samples["bass"][:, -700:].any()
    assert (samples["bass"][0] == samples["bass"][1]).all()


def test_stems_of_other_lengths_or_rates_are_refused(data):
    (track,) = musdb.tracks(data, "test")
    with pytest.raises(ValueError, match="guitar.*bass, drums, other, vocals, mixture"):
        track.read("guitar")
    for length, rate, facts in (
        (RATE - 900, RATE, "more than 0.1 s.*bass 7100"),
        (2 * RATE, 2 * RATE, "rate.*bass 16000"),
    ):
        audio_io.write(data / "test" / "T - test" / "bass.wav", noise(2, length, 0), rate)
        with pytest.raises(ValueError, match=f"T - test.*{facts}"):
            track.read_all()


def test_missing_stems_count_as_silence_by_choice(data):
    (data / "train" / "B - two" / "drums.wav").unlink()
    (data / "train" / "B - two" / "bass.wav").unlink()
    with pytest.raises(ValueError, match="--missing-stems silence"):
        musdb.tracks(data)
    found = musdb.tracks(data, missing_stems="silence")
    assert {track.stems for track in found} == {STEMS}
    assert [track.silent for track in found] == [(), ("bass", "drums"), (), ()]
    assert musdb.notes(found) == [
        "1 of 4 tracks lack stems, which count as silence: train/B - two (bass, drums)"
    ]
    track = found[1]
    samples, rate = track.read_all(["drums", "vocals"])
    assert samples["drums"].shape == samples["vocals"].shape and not samples["drums"].any()
    assert (track.read("bass")[0] == 0).all() and track.read("bass")[0].shape[-1] == 2 * rate
    _, groups, _ = track.mixture_and_groups(["drums", "vocals"])
    assert not groups["drums"].any() and (groups["rest"] == track.read("other")[0]).all()


def test_stems_of_the_other_subset_count_as_missing_too(data):
    for name in ("A - one", "B - two", "M.E.R.C. - Half 1.5"):
        (data / "train" / name / "drums.wav").unlink()
    assert {t.silent for t in musdb.tracks(data, "train", "silence")} == {("drums",)}
    assert musdb.tracks(data, "train")[0].stems == ("bass", "other", "vocals")


def test_stems_of_one_name_in_two_unicode_forms_are_one(tmp_path):
    for song, name in (("a", "voix \u00e9"), ("b", "voix e\u0301")):
        write_song(tmp_path / "train" / song, stems=(name, "bass"))
    assert {track.stems for track in musdb.tracks(tmp_path)} == {("bass", "voix \u00e9")}
    assert splits.split(["e\u0301", "b"], ["\u00e9"]) == (["b"], ["e\u0301"])


def test_silence_is_not_taken_for_what_is_unknown(data):
    for path in (data / "train" / "B - two").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="B - two has no stems at all"):
        musdb.tracks(data, "train", "silence")
    write_song(data / "train" / "B - two", stems=("accompaniment", "vocals"))
    with pytest.raises(ValueError, match="A - one lacks the stem 'accompaniment'.*sum"):
        musdb.tracks(data, "train", "silence")
    with pytest.raises(ValueError, match="missing_stems is 'ignore'; expected one of error, sil"):
        musdb.tracks(data, "train", "ignore")


@pytest.mark.parametrize(("lengths", "expected"), [("pad", RATE + 4000), ("cut", RATE - 3000)])
def test_lengths_are_padded_or_cut_by_choice(data, lengths, expected):
    folder = data / "test" / "T - test"
    audio_io.write(folder / "bass.wav", noise(2, RATE - 3000, 0), RATE)
    audio_io.write(folder / "drums.wav", noise(2, RATE + 4000, 1), RATE)
    (strict,) = musdb.tracks(data, "test")
    with pytest.raises(ValueError, match="--lengths pad .*--lengths cut"):
        strict.check(2)
    (track,) = musdb.tracks(data, "test", lengths=lengths)
    track.check(2)
    samples, _ = track.read_all()
    assert {s.shape for s in samples.values()} == {(2, expected)}
    assert (samples["bass"][:, : RATE - 3000] == noise(2, RATE - 3000, 0)).all()
    assert not samples["bass"][:, RATE - 3000 :].any()
    (note,) = musdb.notes([track])
    assert "1 of 1 tracks have stems of different lengths" in note and "test/T - test" in note


@pytest.fixture
def stem_file(tmp_path) -> Path:
    return write_stem_file(tmp_path / "stems" / "train")


def test_stem_file_is_decoded_exactly_like_musdb(stem_file):
    """Scores depend on the rounding, because AAC leaves nothing above 16 kHz."""
    (track,) = musdb.tracks(stem_file.parent.parent)
    assert track.name == "The Easton Ellises - Falcon 69"
    samples, rate = track.read_all()
    import musdb as package

    (reference,) = package.DB(root=str(stem_file.parent.parent), subsets="train", is_wav=False)
    assert rate == reference.rate
    for stream, name in enumerate(("mixture", *MUSDB_ORDER)):
        assert (reference.stems[stream] == samples[name].numpy().T).all()
    assert (track.read("vocals")[0] == samples["vocals"]).all()
    assert all(x.is_contiguous() for x in samples.values()), "sums over channels are slow otherwise"
    assert track.extent() == (*samples["mixture"].shape, rate)


def test_truncated_stem_file_is_refused(stem_file):
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


def test_overlapping_sources_are_refused():
    for sources, twice in (
        (["vocals", "accompaniment", "drums"], "drums"),
        (["bass", "bass"], "bass"),
    ):
        with pytest.raises(ValueError, match=f"overlap: {twice}"):
            group_stems(sources, STEMS)


@given(st.lists(st.sampled_from(STEMS), unique=True, min_size=1))
@settings(max_examples=30)
def test_groups_contain_every_stem_once(sources):
    groups = group_stems(sources, STEMS)
    assert list(groups)[: len(sources)] == sources
    assert sorted(stem for stems in groups.values() for stem in stems) == sorted(STEMS)


def test_real_music_is_split_by_song_and_prepared(real_music, tmp_path):
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


def write_stems(path: Path, names: tuple[str, ...]) -> dict[str, float]:
    """Write constant streams, apart from AAC's edges, of different levels; return them by name."""
    levels = {name: 0.1 * (index + 1) for index, name in enumerate(names)}
    path.parent.mkdir(parents=True, exist_ok=True)
    time = torch.arange(30000) / 44100
    sine = torch.sin(2 * torch.pi * 440 * time).expand(2, -1)
    with mp4.open_stem_writer(path, names, 44100, 2) as write:
        write(torch.stack([level * sine for level in levels.values()]))
    return levels


@pytest.mark.parametrize(
    "names",
    [
        ("mixture", "drums", "bass", "other", "vocals"),
        ("mixture", "Vox", "bass", "Drums", "other"),
        ("mixture", "vocals", "accompaniment"),
    ],
)
def test_streams_are_read_by_their_names(tmp_path, names):
    path = tmp_path / "train" / "song.stem.mp4"
    levels = write_stems(path, names)
    (track,) = musdb.tracks(tmp_path, "train")
    plain = {"Vox": "vocals", "Drums": "drums"}
    assert track.stems == tuple(sorted(plain.get(name, name) for name in names[1:]))
    samples, _ = track.read_all()
    for name, level in levels.items():
        found = samples[plain.get(name, name)][:, 5000:25000].abs().max().item()
        assert found == pytest.approx(level, rel=0.02), name


def test_streams_without_names_are_in_musdbs_order(tmp_path):
    path = tmp_path / "train" / "song.stem.mp4"
    levels = write_stems(path, ("mixture", "Stem 1", "Stem 2", "Stem 3", "Stem 4"))
    (track,) = musdb.tracks(tmp_path, "train")
    found = track.read("vocals")[0][:, 5000:25000].abs().max().item()
    assert found == pytest.approx(levels["Stem 4"], rel=0.02)


def test_stems_of_any_format_and_a_mixture_in_capitals(tmp_path):
    song = tmp_path / "train" / "song"
    write_song(song, stems=("bass", "vocals"))
    (song / "mixture.wav").rename(song / "Mixture.WAV")
    samples, rate = audio_io.read(song / "bass.wav")
    audio_io.write(song / "bass.flac", samples, rate, "PCM_24")
    (song / "bass.wav").unlink()
    (song / "lyrics.txt").touch()
    (song / "._bass.wav").touch()
    for folder in ("@eaDir", "__MACOSX", ".Trash"):
        write_song(tmp_path / "train" / folder)
    (track,) = musdb.tracks(tmp_path)
    assert track.stems == ("bass", "vocals") and track.has_mixture
    read, _ = track.read_all()
    torch.testing.assert_close(read["bass"], samples, atol=1e-6, rtol=0)
    assert track.extent().frames == RATE
    write_song(song, stems=("bass",), mixture=False)
    with pytest.raises(ValueError, match=r"bass\.flac and .*bass\.wav are of the same stem"):
        musdb.tracks(tmp_path)
