"""Free songs: arrangements, phrases in tune and in time, exact stems, the same songs every time."""

from __future__ import annotations

import json
import os
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asteroid_waveunet.experiment.demo_songs.synthesis import Note, hertz
from asteroid_waveunet.experiment.free_songs import (
    arrangement,
    effects,
    generate,
    phrases,
    singing,
    soundfont,
    styles,
)

RATE = 8000
FONTS = ("TimGM6mb.sf2", "FluidR3_GM.sf2")
FONT_FOLDER = Path("/usr/share/sounds/sf2")


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """A folder of two choirs: steady tones of 1 s in A, 120 BPM, and a folder without a key."""
    root = tmp_path_factory.mktemp("voices")
    t = np.arange(RATE) / RATE
    for name, pitches in {"solo_am_120": (57, 60, 64), "takes": (50,)}.items():
        (root / name).mkdir()
        for pitch in pitches:
            tone = sum(np.sin(2 * np.pi * k * hertz(pitch) * t) / k for k in range(1, 6))
            soundfile.write(root / name / f"{pitch}.wav", 0.2 * tone, RATE)
    soundfile.write(root / "takes" / "silence.wav", np.zeros(RATE), RATE)
    return root


class Sines:
    """A stand-in for `Sampler`: each note is a sine."""

    rate = RATE

    def play(self, notes, bank, program, length):
        part = np.zeros(length)
        for note in notes:
            start, n = round(note.start * RATE), round(note.length * RATE)
            tone = np.sin(2 * np.pi * hertz(note.pitch) * np.arange(n) / RATE)
            part[start : start + n] += note.velocity * tone[: max(0, length - start)]
        return np.stack((part, part))


def compose(voices, seed, seconds=4):
    choirs = phrases.find_choirs([voices])
    return generate.compose(Sines(), choirs, seconds * RATE, RATE, np.random.default_rng(seed))


def test_stems_are_finite_stereo_and_never_clip(voices):
    instrumental = 0
    for seed in range(12):
        stems = compose(voices, seed)
        assert list(stems) == ["drums", "bass", "other", "vocals"]
        for x in (*stems.values(), sum(stems.values())):
            assert x.shape == (2, 4 * RATE) and np.isfinite(x).all() and np.abs(x).max() <= 0.9001
        assert np.std(stems["other"]) + np.std(stems["bass"]) + np.std(stems["drums"]) > 1e-3
        instrumental += not stems["vocals"].any()
    assert instrumental < 6, "most songs are sung"


def test_song_depends_on_its_random_numbers_only(voices):
    first, again, other = compose(voices, 1), compose(voices, 1), compose(voices, 2)
    assert all((first[stem] == again[stem]).all() for stem in first)
    assert any((first[stem] != other[stem]).any() for stem in first)


def test_folder_names_give_key_mode_and_tempo(voices):
    solo, takes = phrases.find_choirs([voices])
    assert (solo.key, solo.major, solo.tempo) == (9, False, 120.0) and len(solo.files) == 3
    assert (takes.key, takes.tempo) == (None, None)
    for name, expected in {
        "x_bb_90": (10, False, 90.0),
        "x_cj_100_lead": (0, True, 100.0),
        "x_cb_100": (11, False, 100.0),
        "beat_2000": (None, False, None),
    }.items():
        assert phrases.parse_name(name) == expected, name


def test_folder_without_phrases_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(FileNotFoundError, match=r"no sung phrases.*wav"):
        phrases.find_choirs([tmp_path])


def test_phrases_are_trimmed_and_silent_ones_left_out(voices, tmp_path):
    padded = np.concatenate([np.zeros(RATE), np.ones(RATE) * 0.1, np.zeros(RATE)])
    soundfile.write(tmp_path / "padded.wav", padded, RATE)
    phrase = phrases.read_phrase(tmp_path / "padded.wav", RATE)
    assert len(phrase) == pytest.approx(RATE, abs=2) and np.mean(phrase**2) == pytest.approx(1)
    assert phrases.read_phrase(voices / "takes" / "silence.wav", RATE) is None


def pitch_of(x):
    """Return the frequency of the strongest partial in Hz."""
    middle = x[len(x) // 4 : -len(x) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    return spectrum.argmax() * RATE / (8 * len(middle))


def test_phrase_is_fitted_to_pitch_and_tempo(voices):
    phrase = phrases.read_phrase(voices / "solo_am_120" / "57.wav", RATE)
    fitted = phrases.fit(phrase, RATE, tempo=1.25, semitones=3)
    assert len(fitted) == pytest.approx(len(phrase) / 1.25, abs=2)
    assert pitch_of(fitted) == pytest.approx(hertz(60), rel=0.01)
    assert phrases.fit(phrase, RATE, 1.0, 0.0) is phrase


def test_song_is_in_the_key_and_tempo_of_its_singer(voices):
    (solo, _), rng = phrases.find_choirs([voices]), np.random.default_rng(0)
    singer = singing.Singer(solo, semitones=2, tempo=1.1, formants=1.0)
    assert singer.key == 11 and singer.beats_per_minute == pytest.approx(132)
    sheet = arrangement.draw_sheet(
        styles.STYLES["rock"], 8.0, rng, singer.beats_per_minute, singer.key, False
    )
    assert sheet.key % 12 == 11 and sheet.beat == pytest.approx(60 / 132)
    places = singing._places(singer, sheet, 8 * RATE, RATE, rng)
    beats = np.array([start for start, _ in places]) / RATE / sheet.beat
    assert len(places) >= 2 and np.abs(beats - beats.round()).max() < 0.15
    assert pitch_of(places[0][1]) == pytest.approx(
        min((hertz(p + 2) for p in (57, 60, 64)), key=lambda f: abs(f - pitch_of(places[0][1]))),
        rel=0.01,
    )


def test_phrases_end_within_the_song(voices):
    """The song ends one sample after a beat, on which some phrases begin late."""
    (solo, _), starts = phrases.find_choirs([voices]), np.random.default_rng(0)
    sheet = arrangement.draw_sheet(styles.STYLES["rock"], 2.0, starts, 120.0, 9, False)
    n = round(4 * sheet.beat * RATE) + 1
    singer = singing.Singer(solo, semitones=0, tempo=1.0, formants=1.0)
    for seed in range(60):
        places = singing._places(singer, sheet, n, RATE, np.random.default_rng(seed))
        assert all(start + len(sung) <= n for start, sung in places), seed


@pytest.mark.parametrize("style", styles.STYLES)
def test_every_style_plays_in_its_key_and_within_the_song(style):
    rng = np.random.default_rng(3)
    sheet = arrangement.draw_sheet(styles.STYLES[style], 10.0, rng)
    parts = arrangement.arrange(styles.STYLES[style], sheet, rng)
    assert {part.stem for part in parts} == {"drums", "bass", "other"}
    scale = {(sheet.key + step) % 12 for step in sheet.scale}
    chromatic = 0
    for part in parts:
        assert part.notes and (part.bank == soundfont.DRUM_BANK) == (part.stem == "drums")
        for note in part.notes:
            assert 0 <= note.start < sheet.bars * 4 * sheet.beat + 1 and 0 < note.velocity <= 1
        pitched = [note.pitch % 12 for note in part.notes if part.stem != "drums"]
        chromatic += sum(pitch not in scale for pitch in pitched)
    total = sum(len(part.notes) for part in parts if part.stem != "drums")
    assert chromatic < 0.2 * total, "only power chords leave the scale"


def test_formants_move_and_the_pitch_stays():
    t = np.arange(4 * RATE) / RATE
    partials = np.arange(1, 26) * 150.0
    gains = np.exp(-(((partials - 1000) / 300) ** 2))  # a formant at 1 kHz
    x = (gains[:, None] * np.sin(2 * np.pi * partials[:, None] * t)).sum(axis=0)

    def formant(y):
        """Return the mean frequency of the partials, by their amplitudes."""
        amplitudes = np.abs(np.fft.rfft(y * np.hanning(len(y))))[600:15001:600]
        return (amplitudes * partials).sum() / amplitudes.sum()

    moved = effects.shift_formants(x[None], 1.2)[0]
    assert formant(moved) == pytest.approx(1.2 * formant(x), rel=0.07)
    spectrum = np.abs(np.fft.rfft(moved * np.hanning(len(moved))))
    assert spectrum.argmax() % 600 in (0, 1, 599), "partials stay multiples of 150 Hz"
    assert effects.shift_formants(x[None], 1.0)[0] == pytest.approx(x, abs=1e-3)


def test_compressor_lowers_loud_passages_only():
    x = np.concatenate([0.1 * np.ones(RATE), np.ones(RATE), 0.1 * np.ones(RATE)])[None]
    gain = effects.compress(x, RATE, ratio=4.0, below_peak=12.0)
    assert gain[RATE // 2] == 1.0 and gain[-1] == 1.0
    # 12 dB above the threshold become 3 dB.
    assert 20 * np.log10(gain[3 * RATE // 2]) == pytest.approx(-9.0, abs=0.01)


def test_echo_repeats_on_alternating_sides():
    x = np.zeros((2, RATE))
    x[:, 0] = 1.0
    y = effects.echo(x, RATE, seconds=0.1, feedback=0.5, level=0.4)
    assert pytest.approx(np.array([[1.0, 1.0], [0.4, 0.2], [0.1, 0.2]])) == y[:, [0, 800, 1600]].T


@pytest.fixture(scope="module")
def font():
    """A real soundfont; required in CI, where one is installed."""
    found = [FONT_FOLDER / name for name in FONTS if (FONT_FOLDER / name).is_file()]
    missing = not found or find_library("fluidsynth") is None
    if missing and os.environ.get("WAVEUNET_TEST_SOUNDFONT") == "required":
        pytest.fail("FluidSynth or a soundfont is missing")
    if missing:
        pytest.skip("FluidSynth or a soundfont is not installed")
    return found[0]


def test_soundfont_plays_notes_at_their_time_and_pitch(font):
    with soundfont.Sampler(font, RATE) as sampler:
        note = Note(0.5, 1.0, pitch=69, velocity=0.8)
        x = sampler.play([note], bank=0, program=16, length=2 * RATE)  # an organ
        sampler.play([Note(0.0, 9.0, 40)], bank=0, program=48, length=999)
        again = sampler.play([note], bank=0, program=16, length=2 * RATE)
    assert x.shape == (2, 2 * RATE) and np.abs(x[:, : RATE // 2 - 50]).max() < 1e-3
    sounding = x[0, RATE // 2 : 3 * RATE // 2]
    harmonic = pitch_of(sounding) / 440.0
    assert harmonic == pytest.approx(max(1, round(harmonic)), abs=0.02) or harmonic == (
        pytest.approx(0.5, abs=0.02)
    )
    assert (x == again).all(), "a part does not depend on those before it"


def test_data_set_is_resumed_and_identical(font, voices, tmp_path):
    sources = generate.Sources(font, (voices,))

    def make(root, train_songs):
        generate.generate(root, sources, train_songs, 1, 2.0, RATE, progress=False, processes=1)

    make(tmp_path / "a", 1)
    make(tmp_path / "a", 2)
    make(tmp_path / "b", 2)
    songs = [sorted(p for p in (tmp_path / n).rglob("*.wav")) for n in "ab"]
    assert len(songs[0]) == len(songs[1]) == 3 * 5
    for first, second in zip(*songs, strict=True):
        assert first.read_bytes() == second.read_bytes(), first
    for song in {path.parent for path in songs[0]}:
        stems = {p.stem: soundfile.read(p, dtype="int16")[0] for p in song.glob("*.wav")}
        mixture = stems.pop("mixture")
        assert (sum(stems.values()) == mixture).all()
    record = json.loads((tmp_path / "a" / "sources.json").read_text())
    assert record["soundfont"] == font.name and len(record["files"]) == 1 + 5
    other = generate.Sources(font, (voices / "takes",))
    with pytest.raises(ValueError, match=r"other files.*sources\.json"):
        generate.generate(tmp_path / "a", other, 2, 1, 2.0, RATE, progress=False)


def test_missing_soundfont_names_free_ones(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.sf2.*fluid-soundfont-gm"):
        soundfont.Sampler(tmp_path / "none.sf2", RATE)
