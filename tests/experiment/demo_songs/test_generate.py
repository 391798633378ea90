"""Generated songs: layout, exact stems, reproducibility and plausible music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asteroid_waveunet.experiment.demo_songs import composition, synthesis
from asteroid_waveunet.experiment.demo_songs import generate as demo_songs

RATE, SECONDS = 8000, 4.0


def generate(root: Path, train_songs=1, test_songs=1, seconds=SECONDS, rate=RATE, **others) -> None:
    demo_songs.generate(root, train_songs, test_songs, seconds, rate, progress=False, **others)


def read(folder: Path) -> dict[str, np.ndarray]:
    """Track -> `(time, 2)` 16-bit samples."""
    return {path.stem: soundfile.read(path, dtype="int16")[0] for path in folder.glob("*.wav")}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    generate(folder, train_songs=2, test_songs=1)
    return folder


@pytest.fixture(scope="module")
def songs(root) -> list[dict[str, np.ndarray]]:
    return [read(folder) for folder in sorted(root.glob("*/*"))]


def test_layout_and_format_are_those_of_musdb18_hq(root):
    assert sorted(path.name for path in root.iterdir()) == ["test", "train"]
    for subset, count in (("train", 2), ("test", 1)):
        folders = sorted((root / subset).iterdir())
        artists = [f"Demo {subset} {number:02d}" for number in range(1, count + 1)]
        assert [folder.name.split(" - ")[0] for folder in folders] == artists
        for folder in folders:
            tracks = {path.name for path in folder.iterdir()}
            assert tracks == {f"{stem}.wav" for stem in (*demo_songs.STEMS, "mixture")}
            for track in tracks:
                info = soundfile.info(folder / track)
                found = (info.samplerate, info.frames, info.channels, info.subtype)
                assert found == (RATE, RATE * SECONDS, 2, "PCM_16")


def test_titles_are_unique():
    titles = {
        demo_songs.song_name(subset, index).split(" - ")[1]
        for subset in demo_songs.SUBSETS
        for index in range(98)
    }
    assert len(titles) == 2 * 98


def test_mixture_is_exactly_the_sum_of_the_stems(songs):
    for song in songs:
        stems = sum(song[stem].astype(np.int32) for stem in demo_songs.STEMS)
        np.testing.assert_array_equal(song["mixture"], stems)


def test_levels_are_balanced_without_clipping_or_silence(songs):
    for song in songs:
        assert max(np.abs(track.astype(int)).max() for track in song.values()) < 0.95 * 2**15
        for track in song.values():
            seconds = track.reshape(-1, RATE, 2) / 2.0**15
            assert (np.std(seconds, axis=(1, 2)) > 1e-3).all()
        loudness = [20 * np.log10(np.std(song[stem] / 2.0**15)) for stem in demo_songs.STEMS]
        assert np.ptp(loudness) < 4.1


def test_stems_are_stereo_and_overlap_in_frequency(songs):
    for song in songs:
        spectra = {}
        for stem in demo_songs.STEMS:
            left, right = song[stem].T.astype(float)
            assert not np.array_equal(left, right)
            spectra[stem] = np.abs(np.fft.rfft(left)) ** 2
        total = sum(spectra.values())
        for spectrum in spectra.values():
            share = np.sum(spectrum * (total - spectrum) / total) / np.sum(spectrum)
            assert share > 0.03


def test_songs_differ_by_number_subset_and_seed(songs):
    samples = int(RATE * SECONDS)
    first, other = (
        composition.compose(samples, RATE, demo_songs.song_rng("train", 0, seed)) for seed in (0, 1)
    )
    assert all(not np.allclose(other[stem], first[stem]) for stem in demo_songs.STEMS)
    for index, song in enumerate(songs):
        for other in songs[:index]:
            for stem in demo_songs.STEMS:
                a, b = song[stem].ravel() / 2.0**15, other[stem].ravel() / 2.0**15
                assert abs(np.corrcoef(a, b)[0, 1]) < 0.5


def test_song_does_not_depend_on_the_number_of_songs(root, tmp_path):
    generate(tmp_path, train_songs=1, test_songs=1)
    again = contents(tmp_path)
    assert len(again) == 10
    assert {path: contents(root)[path] for path in again} == again


def test_interrupted_run_is_resumed(root, tmp_path, monkeypatch):
    """Interrupted within a song: no partial song is left, and finished songs are kept."""
    write, last_song = soundfile.write, demo_songs.song_name("train", 1)

    def interrupt(path, *args, **kwargs):
        if path.parent.name == last_song and path.stem == "other":
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(soundfile, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path, train_songs=2, test_songs=1)
    finished = [folder.name for folder in tmp_path.glob("train/*")]
    assert finished == [demo_songs.song_name("train", 0)]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("t*/*/*")}
    generate(tmp_path, train_songs=2, test_songs=1)
    assert contents(tmp_path) == contents(root)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_existing_song_of_another_length_or_incomplete_is_refused(root, tmp_path):
    with pytest.raises(ValueError, match=r"32000 samples at 8000 Hz; expected 40000 at 8000 Hz"):
        generate(root, seconds=5.0)
    (tmp_path / "train" / demo_songs.song_name("train", 0)).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"lacks drums, .*mixture\. Delete the folder"):
        generate(tmp_path)


def test_arguments_out_of_range_are_refused(tmp_path):
    for arguments, facts in (
        ({"train_songs": 0}, "train_songs is 0; expected at least 1"),
        ({"test_songs": -2}, "test_songs is -2; expected at least 1"),
        ({"seconds": 0.5}, r"seconds is 0\.5; expected at least 2"),
        ({"seconds": float("nan")}, "seconds is nan; expected at least 2"),
        ({"rate": 4000}, "sample_rate is 4000 Hz; expected .* at least 8000"),
        ({"seed": -1}, "seed is -1; expected .* at least 0"),
    ):
        with pytest.raises(ValueError, match=facts):
            generate(tmp_path / "new", **arguments)
        assert not (tmp_path / "new").exists(), arguments


def test_harmonics_equal_a_sum_of_sines():
    t = np.arange(200) / 200
    expected = 0.5 * np.sin(2 * np.pi * t) - 0.2 * np.sin(6 * np.pi * t)
    found = synthesis.harmonics(np.exp(2j * np.pi * t), [-0.2, 0.0, 0.5])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_held_note_swings_at_the_vibrato_rate():
    voice = synthesis.Voice(vibrato=5.0, depth=0.3)
    t = np.arange(0, 3, 0.005)
    note = synthesis.Note(0.0, 3.0, pitch=60)
    pitch, *_ = voice._gestures([note], t, np.random.default_rng(0))
    steady = pitch[200:600] - 60  # 2 s after the vibrato has set in: 10 swings
    spectrum = np.abs(np.fft.rfft(steady))
    assert spectrum.argmax() == 10 and np.abs(steady).max() == pytest.approx(0.3, abs=0.01)


def test_instruments_play_the_requested_pitch():
    for hz in (55.0, 441.0, 3000.0):
        for instrument in (
            synthesis.String(),
            synthesis.Pad(detune=0.0),
            synthesis.Keys(index=0.5),
        ):
            spectrum = np.abs(np.fft.rfft(instrument(hz, 2.0, 16000)))
            assert np.argmax(spectrum) / 2.0 == pytest.approx(hz, abs=0.6), instrument
