"""The generated songs: MUSDB18-HQ's layout, honest stems, the same songs every time."""

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
        demo_songs.name(subset, index).split(" - ")[1]
        for subset in demo_songs.SUBSETS
        for index in range(98)
    }
    assert len(titles) == 2 * 98


def test_mixture_is_the_sum_of_the_stems_bit_for_bit(songs):
    for song in songs:
        stems = sum(song[stem].astype(np.int32) for stem in demo_songs.STEMS)
        np.testing.assert_array_equal(song["mixture"], stems)


def test_nothing_clips_and_no_second_is_silent(songs):
    for song in songs:
        assert max(np.abs(track.astype(int)).max() for track in song.values()) < 0.95 * 2**15
        for track in song.values():
            seconds = track.reshape(-1, RATE, 2) / 2.0**15
            assert (np.std(seconds, axis=(1, 2)) > 1e-3).all()


def test_stems_are_about_equally_loud(songs):
    for song in songs:
        loudness = [20 * np.log10(np.std(song[stem] / 2.0**15)) for stem in demo_songs.STEMS]
        assert np.ptp(loudness) < 4.1


def test_stems_are_stereo_and_overlap_in_frequency(songs):
    """No stem has a band of its own: each is heard where others are."""
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


def test_songs_differ(songs):
    for index, song in enumerate(songs):
        for other in songs[:index]:
            for stem in demo_songs.STEMS:
                a, b = song[stem].ravel() / 2.0**15, other[stem].ravel() / 2.0**15
                assert abs(np.corrcoef(a, b)[0, 1]) < 0.5


def test_same_arguments_same_bits_however_many_songs(root, tmp_path):
    generate(tmp_path, train_songs=1, test_songs=1)
    again = contents(tmp_path)
    assert len(again) == 10
    assert {path: contents(root)[path] for path in again} == again


def test_another_seed_is_another_song(songs):
    first, other = (
        composition.compose(int(RATE * SECONDS), RATE, demo_songs.dice("train", 0, seed))
        for seed in (0, 1)
    )
    assert all(not np.allclose(other[stem], first[stem]) for stem in demo_songs.STEMS)


def test_killed_run_goes_on(root, tmp_path, monkeypatch):
    """Killed in the middle of a song, it leaves no half one to be read, and keeps the others."""
    write, killed_song = soundfile.write, demo_songs.name("train", 1)

    def killed(path, *args, **kwargs):
        if path.parent.name == killed_song and path.stem == "other":
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    monkeypatch.setattr(soundfile, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, train_songs=2, test_songs=1)
    monkeypatch.undo()
    assert [folder.name for folder in tmp_path.glob("train/*")] == [demo_songs.name("train", 0)]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("t*/*/*")}
    generate(tmp_path, train_songs=2, test_songs=1)
    assert contents(tmp_path) == contents(root)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_songs_of_another_length_are_not_passed_off(root):
    with pytest.raises(ValueError, match=r"32000 samples at 8000 Hz; expected 40000 at 8000 Hz"):
        generate(root, seconds=5.0)


def test_incomplete_song_is_not_passed_off(tmp_path):
    (tmp_path / "train" / demo_songs.name("train", 0)).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"lacks drums, .*mixture\. Delete the folder"):
        generate(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_songs": 0}, "train_songs is 0; expected at least 1"),
        ({"test_songs": -2}, "test_songs is -2; expected at least 1"),
        ({"seconds": 0.5}, r"seconds is 0\.5; expected at least 2.*longer songs"),
        ({"seconds": float("nan")}, "seconds is nan; expected at least 2"),
        ({"rate": 4000}, "sample_rate is 4000 Hz; expected a whole number, at least 8000"),
        ({"seed": -1}, "seed is -1; expected a whole number, at least 0"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_harmonics_are_a_sum_of_sines():
    t = np.arange(200) / 200
    obvious = 0.5 * np.sin(2 * np.pi * t) - 0.2 * np.sin(6 * np.pi * t)
    clever = synthesis.harmonics(np.exp(2j * np.pi * t), [-0.2, 0.0, 0.5])
    np.testing.assert_allclose(clever, obvious, atol=1e-12)


@pytest.mark.parametrize("hz", [55.0, 441.0, 3000.0])
def test_instruments_sound_the_pitch_asked_for(hz):
    for instrument in (synthesis.String(), synthesis.Pad(detune=0.0), synthesis.Keys(index=0.5)):
        spectrum = np.abs(np.fft.rfft(instrument(hz, 2.0, 16000)))
        assert np.argmax(spectrum) / 2.0 == pytest.approx(hz, abs=0.6)
